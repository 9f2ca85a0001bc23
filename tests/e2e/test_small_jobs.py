"""Jobs with less to do than there are ranks."""

import json
import sys

import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import mpirun, run


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """30 nodes, three of them for training, one for validation, none for test; five partitions, some empty."""
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(0)
    mask = np.arange(30)
    np.savez(folder / "source.npz", src=rng.integers(0, 30, 90), dst=rng.integers(0, 20, 90),
             features=rng.random((30, 4), np.float32), labels=rng.integers(0, 3, 30), train_mask=mask < 3,
             val_mask=mask == 3, test_mask=mask > 99)
    (folder / "assignment").write_text("".join(f"{part}\n" for part in np.minimum(mask // 3, 2)))
    partition_graph(folder / "source.npz", folder / "graph", 5, method=folder / "assignment")
    return folder / "graph"


def losses(small, folder, np_, *more):
    words = ["-m", "mpignn", "train", str(small), "--fanouts", "2,2", "--hidden", "4", "--epochs", "4", "--precision",
             "fp64", "--global-batch-size", "2", "--run-dir", str(folder), *more]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_)
    assert done.returncode == 0, str(done)
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert events[-1]["test_acc"] is None and events[-1]["val_acc"] is not None
    assert [sum(e["seeds_per_trainer"]) for e in events if e["event"] == "epoch"] == [3] * 4
    return [e["loss"] for e in events if e["event"] == "step"]


@pytest.mark.parametrize(("np_", "more"), [(5, ()), (6, ("--ranks-per-node", "2")), (4, ("--ranks-per-node", "1"))])
def test_fewer_seeds_than_trainers(small, tmp_path, np_, more):
    alone = losses(small, tmp_path / "alone", 1)
    assert len(alone) == 8
    np.testing.assert_allclose(losses(small, tmp_path / "many", np_, *more), alone, rtol=1e-9)


def test_no_epoch_at_all(small, tmp_path):
    done = mpirun(["-m", "mpignn", "train", str(small), "--fanouts", "2,2", "--epochs", "0", "--run-dir",
                   str(tmp_path / "run")], 2)
    assert done.returncode == 0, str(done)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["event"] == "final"
