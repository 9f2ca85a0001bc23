"""A class of the user's own is trained, resumed, measured and used from the command line as a built-in model is."""

import inspect
import json
import re
import shutil
import sys

import h5py
import numpy as np
import pytest

from mpignn.nn import sage
from mpirun import MPIS, ROOT, missing, mpirun, run

SETTINGS = ["--fanouts", "4,4", "--hidden", "16", "--global-batch-size", "240", "--precision", "fp64", "--lr", "0.01"]
BARE = """
import torch
from mpignn.nn import SAGEConv

class Bare(torch.nn.Module):
    def __init__(self, in_feats, hidden, num_classes):
        super().__init__()
        self.first, self.last = SAGEConv(in_feats, hidden), SAGEConv(hidden, num_classes)

    def forward(self, blocks, x):
        return self.last(blocks[1], torch.relu(self.first(blocks[0], x)))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files with models: the one of the docs, one without layers, the source of a built-in one, and bad ones."""
    made = tmp_path_factory.mktemp("own")
    (net,) = re.findall(r"```python\n(# net\.py\n.*?)```", (ROOT / "docs/guide/own-model.md").read_text(), re.DOTALL)
    (made / "net.py").write_text(net)
    (made / "bare.py").write_text(BARE)
    (made / "bad.py").write_text("import torch\nx = 1 / 0\n")
    (made / "starts.py").write_text(f"{BARE}\nimport mpignn as mg\nmg.run(print, 'graph')\n")
    shutil.copy(inspect.getfile(sage), made / "copied.py")
    return made


def mpignn(np_, folder, *words, mpi="mpich", code=0):
    if missing(mpi):
        pytest.skip(missing(mpi))
    words = ["-m", "mpignn", *map(str, words)]
    done = run([sys.executable, *words], cwd=folder) if np_ == 1 else mpirun(words, np_, mpi, cwd=folder)
    assert done.returncode == code, str(done)
    return done


def train(np_, folder, graphs, model, name, *more, mpi="mpich"):
    """Losses of all steps, and what the run ends with."""
    graph = graphs["one" if np_ == 1 else "metis4"]
    mpignn(np_, folder, "train", graph, "--model", model, "--run-dir", name, *SETTINGS, *more, mpi=mpi)
    events = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
    return [event["loss"] for event in events if event["event"] == "step"], events[-1]


def predictions(path):
    with h5py.File(path) as file:
        return {name: file[f"node/_N/{name}"][:] for name in file["node/_N"]}


def test_a_copy_of_a_model_learns_what_the_model_learns_to_the_last_bit(folder, graphs):
    for np_ in 1, 3:
        losses, final = train(np_, folder, graphs, "sage", f"sage-{np_}", "--epochs", "1", "--aggregator", "sum")
        same, also = train(np_, folder, graphs, "copied.py:GraphSAGE", f"copied-{np_}", "--epochs", "1", "--aggregator",
                           "sum")
        assert same == losses and len(losses) == 10
        assert {name: value for name, value in also.items() if "acc" in name} == {
            name: value for name, value in final.items() if "acc" in name}


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_run_goes_on_and_is_used(folder, graphs, mpi, tmp_path):
    net, args = "net.py:Net", ("--model-args", "skip=true")
    alone, _ = train(1, folder, graphs, net, f"alone-{mpi}", "--epochs", "2", *args)
    train(3, folder, graphs, net, f"three-{mpi}", "--epochs", "1", *args, mpi=mpi)
    shutil.copy(folder / "net.py", tmp_path / "net.py")
    losses, final = train(3, folder, graphs, tmp_path / net, f"three-{mpi}", "--epochs", "2", "--resume",
                          f"three-{mpi}", *args, mpi=mpi)
    assert len(alone) == 20 and alone[-1] < 0.7 * alone[0]
    np.testing.assert_allclose(losses, alone, rtol=1e-9)
    assert f'model = "{tmp_path / net}"' in (folder / f"three-{mpi}" / "config.toml").read_text()

    mpignn(3, folder, "eval", f"three-{mpi}", mpi=mpi)
    measured = json.loads((folder / f"three-{mpi}" / "eval" / "eval.json").read_text())
    assert measured["test_acc"] > 0.4
    for more in (), ("--sampled",):
        for np_, name in (1, f"alone-{mpi}"), (3, f"three-{mpi}"):
            mpignn(np_, folder, "infer", name, "--out", f"{name}.h5", *more, mpi=mpi)
        there, here = predictions(folder / f"alone-{mpi}.h5"), predictions(folder / f"three-{mpi}.h5")
        assert np.mean(there["prediction"] == here["prediction"]) > 0.99


def test_the_file_of_a_class_may_move(folder, graphs, tmp_path):
    shutil.copy(folder / "net.py", tmp_path / "first.py")
    train(1, folder, graphs, tmp_path / "first.py:Net", "moved", "--epochs", "1")
    mpignn(1, folder, "infer", "moved", "--out", "before.h5")
    (tmp_path / "first.py").rename(tmp_path / "second.py")
    for words in ("eval", "moved"), ("infer", "moved", "--out", "after.h5"):
        lost = mpignn(1, folder, *words, code=2)
        assert "first.py" in lost.stderr and "--model" in lost.stderr.splitlines()[-1], str(lost)
        mpignn(3, folder, *words, "--model", tmp_path / "second.py:Net")
        for other in "sage", "copied.py:GraphSAGE", "nothing":
            assert "mpignn: error: " in mpignn(1, folder, *words, "--model", other, code=2).stderr
    before, after = predictions(folder / "before.h5"), predictions(folder / "after.h5")
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_class_without_layers_goes_by_samples(folder, graphs):
    _, final = train(3, folder, graphs, "bare.py:Bare", "bare", "--epochs", "1")
    assert final["test_acc"] > 0.3
    for words in ("eval", "bare"), ("infer", "bare", "--out", "bare.h5"):
        refused = mpignn(3, folder, *words, code=2)
        assert "has no forward_layer" in refused.stderr and "give --sampled" in refused.stderr, str(refused)
        mpignn(3, folder, *words, "--sampled")


@pytest.mark.parametrize("np_", [1, 3])
@pytest.mark.parametrize(("model", "part", "lines"), [
    ("nosuch.py:Net", "no such file: .*nosuch.py", 1), ("net.py:Nix", "no such class; those of the file are: Net", 1),
    ("bad.py:Net", r"ZeroDivisionError: division by zero \(.*bad.py, line 2\)", 6),
    ("starts.py:Bare", "below `if __name__ == '__main__':`", None)])
def test_what_is_no_model_ends_the_job_at_once_on_all_ranks(folder, graphs, model, part, lines, np_):
    graph = graphs["one" if np_ == 1 else "metis4"]
    done = mpignn(np_, folder, "train", graph, "--model", model, "--run-dir", "none", *SETTINGS, code=2)
    told = done.stderr.splitlines()
    assert re.search(part, told[-1]) and told[-1].startswith("mpignn: error: "), str(done)
    assert lines in (None, len(told)) and not (folder / "none").exists(), str(done)


def test_a_class_that_learns_nothing_is_refused_unless_rows_are_learnt(folder, graphs):
    (folder / "empty.py").write_text("import torch\nclass Empty(torch.nn.Module):\n    def forward(self, blocks, x):\n"
                                     "        return x[:blocks[-1].num_dst_nodes()]\n")
    words = "train", graphs["metis4"], "--model", "empty.py:Empty", "--epochs", "1", *SETTINGS
    refused = mpignn(3, folder, *words, code=2)
    assert "learns nothing here" in refused.stderr.splitlines()[-1], str(refused)
    mpignn(3, folder, *words, "--embed", "all")
