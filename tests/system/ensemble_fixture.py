"""A ZooKeeper ensemble of three servers for all tests of a run that want one; each takes a cluster name of its own.

    from tests.system.ensemble_fixture import ensemble

A test that breaks servers starts an `Ensemble` of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.ensemble import Ensemble

__all__ = ["ensemble"]


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three servers, ready."""
    directory: Path = tmp_path_factory.mktemp("zookeeper")
    with Ensemble(directory, servers=3) as servers:
        servers.wait_ready()
        yield servers
