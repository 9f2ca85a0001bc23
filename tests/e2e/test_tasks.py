"""Every task is learnt from the command line, and to the same end on any number of ranks."""

import json
import sys

import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import mpirun, run

NODES = 600


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Nodes of four kinds that know their kind badly, linked within their kind; in one partition and in three."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, NODES)
    src, dst = rng.integers(0, NODES, (2, 60 * NODES))
    keep = (kind[src] == kind[dst]) | (rng.random(src.size) < 0.02)
    part = rng.integers(0, 3, NODES)
    np.savez(folder / "planted.npz", src=src[keep], dst=dst[keep],
             features=(1.5 * np.eye(4)[kind] + rng.standard_normal((NODES, 4))).astype(np.float32),
             labels=kind, two=np.stack([kind % 2, kind // 2], axis=1), level=kind + 0.0,
             train_mask=part == 0, val_mask=part == 1, test_mask=part == 2)
    for parts in (1, 3):
        partition_graph(folder / "planted.npz", folder / f"parts-{parts}", parts, method="random")
    return folder


def train(graph, run_dir, np_, *words):
    words = ["-m", "mpignn", "train", str(graph), "--run-dir", str(run_dir), "--precision", "fp64", "--hidden", "16",
             "--fanouts", "5,5", "--global-batch-size", "40", "--lr", "0.03", "--dropout", "0", *words]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_)
    assert done.returncode == 0, str(done)
    return done, json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize(("words", "expected"), [
    (["--metrics", "acc,macro_f1,micro_f1,roc_auc,average_precision"], {"acc": (0.9, 1), "roc_auc": (0.95, 1)}),
    (["--task", "node_multilabel", "--labels", "two", "--metrics", "micro_f1,acc,roc_auc"], {"micro_f1": (0.9, 1)}),
    (["--task", "node_regression", "--labels", "level", "--metrics", "rmse,mae,mse"], {"rmse": (0, 0.7)}),
], ids=["classes", "labels", "numbers"])
def test_a_task_ends_the_same_on_five_ranks(planted, tmp_path, words, expected):
    _, alone = train(planted / "parts-1", tmp_path / "alone", 1, "--epochs", "5", *words)
    _, shared = train(planted / "parts-3", tmp_path / "shared", 5, "--epochs", "5", *words)
    for metric, (low, high) in expected.items():
        assert low <= alone[f"test_{metric}"] <= high, alone
    assert alone.keys() == shared.keys()
    for key in alone.keys() - {"event", "seconds"}:
        assert shared[key] == pytest.approx(alone[key], abs=1e-6), key


def test_a_run_stops_early_with_the_best_parameters(planted, tmp_path):
    words = ["--epochs", "40", "--patience", "2", "--schedule", "cosine", "--warmup-steps", "3", "--clip", "1"]
    _, final = train(planted / "parts-1", tmp_path / "run", 1, *words)
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    reached = [event["val_acc"] for event in events if event["event"] == "epoch"]
    assert final["epochs"] == len(reached) < 40
    assert final["val_acc"] == max(reached) == reached[-3] and max(reached[-2:]) <= reached[-3]
