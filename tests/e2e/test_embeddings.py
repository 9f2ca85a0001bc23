"""Nodes without features are learnt by what is learnt of each, the same on any number of ranks."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from graphs import random_hetero_graph
from mpignn.storage.datasets import load_bundled
from mpignn.storage.synth import make_graph
from mpignn.storage.write import partition_graph
from mpirun import mpirun, run


def without_features(graph, ntypes):
    return replace(graph, node_data={t: {name: rows for name, rows in data.items() if name != "features" or
                                         t not in ntypes} for t, data in graph.node_data.items()})


def train(graph, run_dir, np_, *words, mpi="mpich"):
    """Losses of the steps, and the last event."""
    words = ["-m", "mpignn", "train", str(graph), "--run-dir", str(run_dir), *words]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return np.array([event["loss"] for event in events if event["event"] == "step"]), events[-1]


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """Papers with features, authors and venues without; in one partition and in three."""
    folder, graph = tmp_path_factory.mktemp("typed"), random_hetero_graph(0, 300, 1200)
    rng = np.random.default_rng(0)
    splits = map(np.sort, np.split(rng.permutation(300), [200, 250]))
    graph = replace(without_features(graph, ("author", "venue")),
                    splits={"paper": dict(zip(("train", "val", "test"), splits, strict=True))})
    for parts in (1, 3):
        partition_graph(graph, folder / f"typed-{parts}", parts, method="random")
    return folder


JOB = ("--model", "rgcn", "--precision", "fp64", "--hidden", "8", "--fanouts", "3,4", "--global-batch-size", "50",
       "--lr", "0.05", "--epochs", "4")
ROWS = ("--embed-dim", "6")


@pytest.fixture(scope="module")
def alone(typed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return {embed: train(typed / "typed-1", folder / embed, 1, *JOB, *rows, "--embed", embed)
            for embed, rows in (("auto", ROWS), ("all", ROWS), ("off", ()))}


def test_embeddings_learn_more_than_one_row_for_a_type(alone):
    assert alone["auto"][0][-1] < alone["off"][0][-1] - 0.02
    assert not np.isclose(alone["auto"][0], alone["all"][0]).all()


@pytest.mark.parametrize(("np_", "mpi", "embed", "words"), [
    (3, "mpich", "auto", []),
    (4, "openmpi", "auto", ["--ranks-per-node", "1", "--access", "owner"]),
    (4, "mpich", "all", ["--ranks-per-node", "2", "--access", "rma", "--embed-optimizer", "adam"])])
def test_losses_do_not_depend_on_the_ranks(typed, alone, tmp_path, np_, mpi, embed, words):
    losses, final = train(typed / "typed-3", tmp_path / "run", np_, *JOB, *ROWS, "--embed", embed, *words, mpi=mpi)
    np.testing.assert_allclose(losses, alone[embed][0], rtol=1e-9)
    for name in ("val_acc", "test_acc"):
        assert final[name] == pytest.approx(alone[embed][1][name], abs=1e-9)


def test_a_run_on_three_ranks_goes_on_on_one(typed, alone, tmp_path):
    """Rows, the optimizer's state and the best rows come from the checkpoint, whoever owned them."""
    train(typed / "typed-3", tmp_path / "run", 3, *JOB, *ROWS, "--epochs", "2")
    losses, final = train(typed / "typed-1", tmp_path / "run", 1, *JOB, *ROWS, "--resume", "auto")
    np.testing.assert_allclose(losses, alone["auto"][0], rtol=1e-9)
    for name in ("val_acc", "test_acc"):
        assert final[name] == pytest.approx(alone["auto"][1][name], abs=1e-9)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """4,000 nodes of one type in 7 classes, without features, in one partition and in three."""
    folder = tmp_path_factory.mktemp("bare")
    make_graph(folder / "source", nodes=4000, avg_degree=20, classes=7, block_size=200, train=0.6, val=0.1)
    (folder / "source" / "features.npy").unlink()
    for parts in (1, 3):
        partition_graph(folder / "source", folder / f"bare-{parts}", parts, method="random")
    return folder


def test_sage_learns_a_graph_of_one_type_without_features(bare, tmp_path):
    """The classes are equally large; neighbors are mostly of the same one."""
    words = ["--model", "sage", "--fanouts", "5,10", "--hidden", "32", "--embed-dim", "32", "--lr", "0.03", "--epochs",
             "4", "--global-batch-size", "200", "--precision", "fp64"]
    losses, final = train(bare / "bare-1", tmp_path / "one", 1, *words)
    others, same = train(bare / "bare-3", tmp_path / "four", 4, *words)
    np.testing.assert_allclose(others, losses, rtol=1e-9)
    assert final["test_acc"] == same["test_acc"] > 0.5


@pytest.mark.long
@pytest.mark.parametrize("np_", [4, 1])
def test_wordnet_without_features_is_learnt(tmp_path, np_):
    """Synsets and words by 27 relations; the largest class has 12.4 % of the test nodes."""
    graph = without_features(load_bundled("wordnet-hetero"), ("synset",))
    splits = graph.splits["synset"]
    test = splits["test"][::20]
    graph = replace(graph, splits={"synset": {"train": splits["train"], "test": test}})
    partition_graph(graph, tmp_path / "bare", 2, method="random")
    majority = np.bincount(graph.node_data["synset"]["labels"][test]).max() / test.size
    _, final = train(tmp_path / "bare", tmp_path / "run", np_, "--model", "rgcn", "--fanouts", "5,5", "--epochs", "2",
                     "--hidden", "32", "--global-batch-size", "1000", "--lr", "0.01", "--embed-dim", "32")
    assert final["test_acc"] > majority + 0.1
    assert final["test_acc"] == pytest.approx(0.5, abs=0.1)
