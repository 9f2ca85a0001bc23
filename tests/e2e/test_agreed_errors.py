"""An error that only the trainers share ends the servers, too: one line, its exit code, soon."""

import time
from pathlib import Path

import pytest

from mpirun import MPIS, missing, mpirun

JOB = str(Path(__file__).with_name("agreeing_job.py"))
WITHIN_S = 30           # a rank that waits in vain finds out in three seconds; the machine may be busy
TRAIN = ["--servers-per-node", "1", "--epochs", "1", "--fanouts", "3", "--hidden", "8", "--run-dir"]


def ended(folder: Path, mpi: str, how: str, *words: str) -> str:
    """Run the job on a server and two trainers; check that it ended in time, and return what it said."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    done = mpirun([JOB, str(folder / "stamp"), how, *words], 3, mpi)
    assert not done.timed_out and time.time() - float((folder / "stamp").read_text()) < WITHIN_S, str(done)
    assert done.stderr.count("mpignn: error: ") == 1 and "Traceback" not in done.stderr, str(done)
    return f"{done.returncode} {done.stderr.partition('mpignn: error: ')[2]}"


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize("how", ["main", "inside", "outside"])
def test_a_program_of_ones_own(graphs, tmp_path, how, mpi):
    words = [str(graphs["one"]), *([str(tmp_path / "run")] if how == "main" else [])]
    assert ended(tmp_path, mpi, how, *words).startswith("3 rank 1: injected: mend the data\n")


@pytest.mark.parametrize("mpi", MPIS)
def test_a_process_group_of_ones_own(graphs, tmp_path, mpi):
    found = ended(tmp_path, mpi, "group", str(graphs["one"]), str(tmp_path / "run"))
    assert found.startswith("2 the program has made torch's default process group itself")


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize("phase", ["set up training", "epoch 0", "evaluate val", "write checkpoint"])
def test_a_command(graphs, tmp_path, phase, mpi):
    found = ended(tmp_path, mpi, phase, "train", str(graphs["one"]), *TRAIN, str(tmp_path / "run"))
    assert found.startswith("3 rank 1: injected: mend the data\n")
