"""Accuracy on public splits, the mean of five seeds.  Needs the packages; Cora's split is not in them."""

import json
import statistics
from pathlib import Path

import pytest

from mpignn.errors import MpignnError
from mpignn.storage.datasets import prepare
from mpignn.storage.write import partition_graph
from mpirun import mpirun

CONFIG = Path(__file__).parents[2] / "jobs" / "configs" / "citation.toml"


@pytest.mark.long
@pytest.mark.parametrize(("name", "at_least"), [("pubmed", 0.76), ("citeseer", 0.67)])
def test_public_split(tmp_path, name, at_least):
    try:
        prepare(name, tmp_path / f"{name}.npz")
    except MpignnError as error:
        pytest.skip(f"the package cannot be had: {error}")
    partition_graph(tmp_path / f"{name}.npz", tmp_path / "graph", 2)
    accuracies = []
    for seed in range(5):
        run_dir = tmp_path / f"run-{seed}"
        done = mpirun(["-m", "mpignn", "train", str(tmp_path / "graph"), "--config", str(CONFIG), "--seed", str(seed),
                       "--run-dir", str(run_dir)], 3)
        assert done.returncode == 0, str(done)
        accuracies.append(json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])["test_acc"])
    assert statistics.mean(accuracies) >= at_least, accuracies
