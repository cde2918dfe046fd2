"""Three brokers that serve all tests of a file, and are whole again when each of them begins.

    from tests.system.cluster_fixture import cluster, ensemble, whole

    __all__ = ["cluster", "ensemble", "whole"]
    CLUSTER = {"proxies": True}

`CLUSTER`, where a file has it, is what its brokers have that is not as usual: arguments of `ClusterProcesses`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.cluster import ClusterProcesses
from tests.system.ensemble import Ensemble
from tests.system.ensemble_fixture import ensemble
from tests.system.processes import Programs

__all__ = ["cluster", "ensemble", "whole"]


@pytest.fixture(scope="module")
def cluster(ensemble: Ensemble, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[ClusterProcesses]:
    """Started, and whole for the first time."""
    directory: Path = tmp_path_factory.mktemp(request.module.__name__.rpartition("test_cluster_")[2])
    with Programs() as programs, ClusterProcesses(programs, ensemble, directory, **getattr(request.module, "CLUSTER", {})) as started:
        started.start()
        started.wait_whole()
        yield started


@pytest.fixture
def whole(cluster: ClusterProcesses) -> Iterator[ClusterProcesses]:
    """Whole again when the test begins, with all brokers running and nothing cut when it has ended."""
    cluster.wait_whole()
    yield cluster
    cluster.mend()
    cluster.check_no_traceback()
    cluster.start()
