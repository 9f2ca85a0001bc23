"""Clusters on this machine: several hosts, and a real Slurm.  See tests/testbed/README.md."""

import os
import sys
from pathlib import Path

import pytest
from beds import Mpi, bed

from mpignn.storage.synth import make_graph


@pytest.fixture(params=["mpich", "openmpi"], scope="module")
def mpi(request) -> Mpi:
    """Each MPI in turn: MPICH where these tests run, Open MPI in the environment beside it."""
    bin_dir = Path(sys.prefix + ("" if request.param == "mpich" else "-openmpi")) / "bin"
    if not (bin_dir / "mpirun").exists():
        pytest.skip(f"{bin_dir} has no mpirun: `make test` sets both environments up")
    return Mpi(request.param, bin_dir)


@pytest.fixture(scope="session")
def hosts(tmp_path_factory):
    """State directory of three hosts for two ranks each; a job of four ranks is on two of them."""
    yield from bed("hosts", tmp_path_factory.mktemp("bed"), HOSTS_COUNT="3", HOSTS_SLOTS="2")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """State directory of a Slurm with two nodes of four CPUs."""
    # Several test runs on one machine must not meet at the same ports.
    port = str(20_000 + os.getpid() % 1000 * 10)
    yield from bed("slurm", tmp_path_factory.mktemp("bed"), SLURM_NODES="2", SLURM_CPUS="4", SLURM_PORT=port,
                   SLURM_PMIX="1")


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A small graph that `mpignn partition` reads."""
    folder = tmp_path_factory.mktemp("source") / "graph"
    make_graph(folder, 3000, 12, classes=6, feat_dim=20, train=0.3, val=0.1)
    return folder
