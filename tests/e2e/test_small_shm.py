"""A small /dev/shm, as containers have it, is no limit: the graph's memory has no name there."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mpignn.storage.synth import make_graph
from mpignn.storage.write import partition_graph
from mpirun import launcher, missing, python, run

SMALL = "mount -t tmpfs -o size=64m tmpfs /dev/shm && "


@pytest.fixture(scope="module")
def graph(tmp_path_factory) -> Path:
    """A graph whose parts have more than 80 MiB."""
    folder = tmp_path_factory.mktemp("large")
    make_graph(folder / "source", nodes=4000, avg_degree=12, classes=7, block_size=200, feat_dim=6000, train=0.1,
               val=0.1)
    partition_graph(folder / "source", folder / "graph", 2, method="range")
    assert sum(part.stat().st_size for part in (folder / "graph").glob("part-*.h5")) > 80 << 20
    return folder / "graph"


@pytest.mark.parametrize("mpi", ["mpich", "openmpi"])
def test_a_graph_larger_than_the_shared_folder(graph, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "sh", "-c", SMALL + "true"]).returncode:
        pytest.skip("this system lets us make no mount namespace")
    words = [*launcher(3, mpi), python(mpi), "-m", "mpignn", "train", str(graph), "--fanouts", "3,3",
             "--epochs", "1", "--batch-size", "100", "--data-path-only", "--run-dir", str(tmp_path / "run")]
    done = run(["unshare", "-m", "sh", "-c", SMALL + 'df /dev/shm; exec "$@"', "sh", *words])
    assert done.returncode == 0, str(done)
    assert " 65536 " in done.stdout, str(done)
