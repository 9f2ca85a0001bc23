"""A run whose numbers overflow says so, and keeps nothing of them."""

import json
import sys

import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import missing, mpirun, run

NODES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A graph of links, and two of nodes with numbers, one of which has only nodes for training."""
    folder = tmp_path_factory.mktemp("diverging")
    rng = np.random.default_rng(0)
    src, dst = np.unique(rng.integers(0, NODES, (2, 500)), axis=1)
    part = rng.integers(0, 4, src.size)
    np.savez(folder / "links.npz", **{
        "num_nodes/node": NODES, "edge/node:r:node/src": src, "edge/node:r:node/dst": dst,
        **{f"split/node:r:node/{split}": np.flatnonzero(chosen)
           for split, chosen in (("train", part > 1), ("val", part == 0), ("test", part == 1))}})
    nodes = {"src": src, "dst": dst, "features": rng.standard_normal((NODES, 4)).astype(np.float32),
             "labels": rng.standard_normal(NODES).astype(np.float32), "train_mask": np.arange(NODES) < 40}
    np.savez(folder / "train.npz", **nodes)
    np.savez(folder / "val.npz", **nodes, val_mask=np.arange(NODES) >= 40)
    for name in "links", "train", "val":
        partition_graph(folder / f"{name}.npz", folder / name, 2, method="random")
    return folder


LINKS = ("links", "--task", "link_prediction", "--decoder", "distmult", "--model", "none", "--embed-dim", "8",
         "--hidden", "8", "--target-etype", "r", "--fanouts", "0")
NUMBERS = ("--task", "node_regression", "--dropout", "0", "--hidden", "8", "--fanouts", "3")


def job(folder, np_, mpi, *words):
    words = ["-m", "mpignn", *map(str, words)]
    return run([sys.executable, *words], cwd=folder) if np_ == 1 else mpirun(words, np_, mpi, cwd=folder)


def train(folder, run_dir, np_, mpi, graph, *words):
    return job(folder, np_, mpi, "train", graph, "--run-dir", run_dir, "--batch-size", "1000", "--epochs", "1",
               *words)


def expect(done, run_dir, part):
    """One line, exit code 1, and nothing that could be used."""
    text = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in text, str(done)
    assert text.count("mpignn: error:") == 1 and part in done.stderr and "lower --lr" in done.stderr, str(done)
    assert not (run_dir / "trained").exists() and not list(run_dir.glob("checkpoints/step-*"))
    *steps, last = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert {event["event"] for event in steps} == {"step"}
    assert last["event"] == "diverged" and last["steps"] == len(steps) and part in last["problem"]


SCORES = ((*LINKS, "--lr", "1e30"), "val_mrr")                                  # finite rows of infinite scores
OUTPUTS = (("val", *NUMBERS[:-1], "3,3", "--lr", "1e30"), "val_rmse")
PARAMETERS = (("train", *NUMBERS, "--lr", "1e300"), "its parameters")           # no other loss is computed
ROWS = (("train", *NUMBERS, "--lr", "1e-3", "--embed", "all", "--embed-lr", "1e300"), "its parameters")


@pytest.mark.parametrize(("np_", "mpi", "words", "part"), [
    (3, "mpich", *SCORES), (3, "openmpi", *SCORES), (1, "mpich", *OUTPUTS), (3, "mpich", *PARAMETERS),
    (3, "openmpi", *ROWS)], ids=["scores", "scores-openmpi", "outputs", "parameters", "rows-openmpi"])
def test_a_last_step_that_leads_nowhere(folder, tmp_path, np_, mpi, words, part):
    if missing(mpi):
        pytest.skip(missing(mpi))
    expect(train(folder, tmp_path / "run", np_, mpi, *words), tmp_path / "run", part)


def test_a_checkpoint_holds_no_such_numbers(folder, tmp_path):
    done = train(folder, tmp_path / "run", 1, "mpich", "train", *NUMBERS, "--lr", "1e300", "--checkpoint-steps", "1")
    expect(done, tmp_path / "run", "its parameters")


def test_no_file_holds_numbers_that_it_cannot(folder, tmp_path):
    done = train(folder, tmp_path / "run", 1, "mpich", "val", *NUMBERS, "--lr", "1e45", "--precision", "fp64")
    assert done.returncode == 0, str(done)
    done = job(folder, 1, "mpich", "infer", tmp_path / "run", "--out", tmp_path / "pred.h5")
    assert done.returncode == 1 and done.stderr.count("mpignn: error:") == 1 and "not finite" in done.stderr, str(done)
    assert "Traceback" not in done.stderr and list(tmp_path.iterdir()) == [tmp_path / "run"], str(done)
