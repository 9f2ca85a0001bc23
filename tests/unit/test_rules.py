"""What the program promises not to need."""

import re
from pathlib import Path

import pytest

SOURCES = sorted((Path(__file__).parents[2] / "src").rglob("*.py"))


@pytest.mark.parametrize("word", ["(import|from) socket", "ssh", "MASTER_ADDR", "MASTER_PORT", "ip_config"])
def test_no_address_port_or_remote_shell(word):
    assert SOURCES
    found = [path for path in SOURCES if re.search(rf"\b{word}\b", path.read_text(encoding="utf-8"))]
    assert not found


@pytest.mark.parametrize("word", [r"os\.fork", "multiprocessing", "subprocess"])
def test_no_process_is_started_where_mpi_may_run(word):
    # `mpignn data` alone runs pip and apt; it refuses to start under mpirun.  A child that METIS runs in is forked
    # only in a process that has not loaded MPI.  `mpignn bench startup` and `scale` start jobs, and refuse mpirun, too,
    # as does `mpignn slurm --submit`.  `mpignn warmup` starts processes where no launcher has started several.
    allowed = {"datasets_packages.py", "child.py", "jobs.py", "cli_batch.py", "warm_up.py"}
    assert {path.name for path in SOURCES if re.search(word, path.read_text(encoding="utf-8"))} <= allowed
