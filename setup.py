"""Packaging: the client needs pyzmq and msgspec only; everything else is an extra.

    pip install zmqmq             clients and devices
    pip install 'zmqmq[cli]'      and the `zmqmq` command
    pip install 'zmqmq[broker]'   and the broker
    pip install -e '.[dev]'       and what the tests need
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^VERSION = "([^"]+)"', (HERE / "zmqmq" / "version.py").read_text(encoding="utf-8"), re.MULTILINE)[1]  # type: ignore[index]
README = HERE / "README.md"

CLI = ["typer>=0.20", "rich>=13", "pyyaml>=6"]
BROKER = [*CLI, "kazoo>=2.10", "sqlite-utils>=3.36", "structlog>=24", "prometheus-client>=0.20"]
TESTS = ["pytest>=8", "pytest-timeout>=2.3", "pytest-xdist>=3.5", "hypothesis>=6.100", "psutil>=5.9", "trustme>=1.1"]
DEV = [*BROKER, *TESTS, "mypy>=1.10", "ruff>=0.6", "types-PyYAML>=6", "types-psutil>=5.9"]

setup(
    name="zmqmq",
    version=VERSION,
    description="A durable message queue on ZeroMQ and SQLite: brokers, producers, competing consumers",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["zmqmq", "zmqmq.*", "devices", "devices.*"]),
    package_data={"zmqmq": ["py.typed"]},
    data_files=[
        (f"share/zmqmq/{folder}", sorted(str(path.relative_to(HERE)) for path in (HERE / folder).glob("*.yaml"))) for folder in ("configs", "configs/cluster")
    ],
    install_requires=["pyzmq>=26", "msgspec>=0.19"],
    extras_require={"cli": CLI, "broker": BROKER, "dev": DEV},
    entry_points={"console_scripts": ["zmqmq = zmqmq.__main__:main"]},
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Typing :: Typed",
    ],
)
