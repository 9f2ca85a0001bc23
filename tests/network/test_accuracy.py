"""Accuracy on public splits.  Needs the packages; Cora's split is not in them."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path

import pytest

from mpignn.errors import MpignnError
from mpignn.storage.datasets import prepare
from mpignn.storage.write import partition_graph
from mpirun import python, run

CONFIGS = Path(__file__).parents[2] / "jobs" / "configs"


@pytest.mark.long
@pytest.mark.parametrize(("name", "preset", "more", "at_least"), [
    ("pubmed", "citation", "", 0.76), ("citeseer", "citation", "", 0.67), ("pubmed", "citation-gcn", "", 0.775),
    ("citeseer", "citation-gcn", "", 0.688), ("citeseer", "citation-gat", "", 0.71),
    ("pubmed", "citation-gat", "--lr 0.01 --out-heads 8 --epochs 100", 0.775)])
def test_public_split(tmp_path, name, preset, more, at_least):
    accuracies = reached(tmp_path, name, preset, "acc", 5, more.split())
    assert statistics.mean(accuracies) >= at_least, accuracies


@pytest.mark.long
@pytest.mark.parametrize(("name", "at_least"), [("nations", 0.70), ("kinships", 0.75), ("umls", 0.85)])
def test_missing_triples(tmp_path, name, at_least):
    assert reached(tmp_path, name, "knowledge", "mrr", 1)[0] >= at_least


def reached(folder, name: str, preset: str, metric: str, seeds: int, more: Sequence[str] = ()) -> list[float]:
    """A metric on the test split, of one run for each seed: in one process, as ranks change nothing."""
    try:
        prepare(name, folder / f"{name}.npz")
    except MpignnError as error:
        pytest.skip(f"the package cannot be had: {error}")
    partition_graph(folder / f"{name}.npz", folder / "graph", 2)
    found = []
    for seed in range(seeds):
        run_dir = folder / f"run-{seed}"
        done = run([python(), "-m", "mpignn", "train", str(folder / "graph"), "--config",
                    str(CONFIGS / f"{preset}.toml"), "--seed", str(seed), "--run-dir", str(run_dir), *more])
        assert done.returncode == 0, str(done)
        found.append(json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])[f"test_{metric}"])
    return found
