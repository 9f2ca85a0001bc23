"""`train --dry-run`: the first steps of a job, of which nothing is left but what it tells."""

import re
import sys

import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import MPIS, missing, mpirun, run

SETTINGS = ["--fanouts", "2,2", "--batch-size", "4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A graph of 200 nodes, 120 of them for training, and a run on it; the features of another one are not finite."""
    folder = tmp_path_factory.mktemp("dry")
    rng = np.random.default_rng(0)
    place = np.arange(200)
    arrays = {"src": rng.integers(0, 200, 900), "dst": rng.integers(0, 200, 900), "labels": rng.integers(0, 3, 200),
              "train_mask": place < 120, "val_mask": place >= 160}
    for name, features in (("graph", rng.random((200, 4), np.float32)), ("odd", np.full((200, 4), 3e38, np.float32))):
        np.savez(folder / f"{name}.npz", features=features, **arrays)
        partition_graph(folder / f"{name}.npz", folder / name, 2, method="random")
    done = train(folder, "--epochs", "1", "--run-dir", "run")
    assert done.returncode == 0, str(done)
    return folder


def train(folder, *more):
    return run([sys.executable, "-m", "mpignn", "train", "graph", *SETTINGS, *more], cwd=folder)


def left_in(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def check(done, trainers: int, epochs: int) -> None:
    assert done.returncode == 0, str(done)
    told = done.stdout
    steps, length, ms = re.search(r"^dry run: (\d+) of (\d+) steps of an epoch, ([\d.e+]+) ms each", told,
                                  re.M).groups()
    assert int(length) == 120 // (4 * trainers) and 0 < int(steps) <= 8
    epoch, all_ = re.search(rf"^an epoch takes about ([\d.]+) s, {epochs} epochs ([\d.]+) s", told, re.M).groups()
    assert float(epoch) == pytest.approx(float(ms) / 1000 * int(length), abs=0.06)
    assert float(all_) == pytest.approx(float(ms) / 1000 * int(length) * epochs, rel=0.02, abs=0.06)


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.by_turns
@pytest.mark.parametrize(("np_", "trainers", "more"), [
    (3, 2, ()), (2, 2, ("--servers-per-node", "0", "--prefetch", "5")), (2, 1, ("--data-path-only",)),
    (2, 1, ("--run-dir", "new/run"))])
def test_it_tells_what_an_epoch_takes_and_writes_nothing(made, mpi, np_, trainers, more, request):
    only = request.config.getoption("--mpi")
    if only not in (None, mpi) or missing(mpi):
        pytest.skip(missing(mpi) or f"--mpi {only}")
    before = left_in(made)
    words = ["-m", "mpignn", "train", "graph", *SETTINGS, "--dry-run", "--epochs", "7", *more]
    done = mpirun(words, np_, mpi, cwd=made)
    check(done, trainers, 7)
    assert left_in(made) == before


def test_a_run_is_gone_on_with_in_thought_only(made):
    before = left_in(made)
    done = train(made, "--dry-run", "--resume", "run", "--epochs", "3")
    check(done, 1, 3)
    assert left_in(made) == before


@pytest.mark.parametrize(("more", "code", "told"), [
    (("--run-dir", "run"), 2, "holds the metrics of another run"),
    (("--hidden", "0"), 2, "less than 1"),
    (("--features", "none"), 3, "none")])
def test_it_refuses_what_the_job_would_refuse(made, more, code, told):
    real = train(made, *more)
    dry = train(made, "--dry-run", *more)
    assert (real.returncode, dry.returncode) == (code, code), str(dry)
    assert told in dry.stderr and real.stderr.splitlines()[-1] == dry.stderr.splitlines()[-1]


def test_it_tells_of_numbers_that_are_not_finite(made):
    before = left_in(made)
    done = run([sys.executable, "-m", "mpignn", "train", "odd", *SETTINGS, "--dry-run"], cwd=made)
    assert done.returncode == 1 and "not finite" in done.stderr and "Traceback" not in done.stderr, str(done)
    assert left_in(made) == before
