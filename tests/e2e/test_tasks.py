"""Every task is learnt from the command line, and to the same end on any number of ranks."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import MPIS, missing, mpirun, run

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
    # The same with splits of the edges, which join nodes of a kind or not.
    src, dst = np.unique(np.stack([src[keep], dst[keep]]), axis=1)
    part = rng.integers(0, 8, src.size)
    key = "edge/node:to:node"
    np.savez(folder / "links.npz", **{
        "num_nodes/node": NODES, f"{key}/src": src, f"{key}/dst": dst, f"{key}/data/message": part > 1,
        f"{key}/data/when": np.random.default_rng(1).integers(0, 100, src.size),
        f"{key}/data/same": (kind[src] == kind[dst]) + 0, f"{key}/data/gap": (kind[src] - kind[dst]) + 0.0,
        "node/node/features": (1.5 * np.eye(4)[kind] + rng.standard_normal((NODES, 4))).astype(np.float32),
        "split/node:to:node/train": np.flatnonzero(part > 1)[::8], "split/node:to:node/val": np.flatnonzero(part == 0),
        "split/node:to:node/test": np.flatnonzero(part == 1)})
    # The same with labels of which some are not known, as NaN and as -1, and classes that some nodes lack.
    with np.load(folder / "planted.npz") as source:
        arrays = dict(source)
    known = rng.random((NODES, 2)) < 0.6
    none = arrays["train_mask"] & (rng.random(NODES) < 0.1)
    np.savez(folder / "holes.npz", **arrays | {
        "labels": np.where(known, arrays["two"], np.nan), "two": np.where(known, arrays["two"], -1),
        "three": 1 + arrays["two"], "kind": np.where(none, -1, kind)})
    for name in ("planted", "links", "holes"):
        for parts in (1, 3):
            partition_graph(folder / f"{name}.npz", folder / f"{name}-{parts}", parts, method="random")
    return folder


def train(graph, run_dir, np_, *words, mpi="mpich"):
    words = ["-m", "mpignn", "train", str(graph), "--run-dir", str(run_dir), "--precision", "fp64", "--hidden", "16",
             "--fanouts", "5,5", "--global-batch-size", "40", "--lr", "0.03", "--dropout", "0", *words]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    return done, json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize(("name", "words", "expected"), [
    ("links", ["--task", "link_prediction", "--num-negatives", "20"], {"mrr": (0.02, 1), "hits@10": (0.05, 1)}),
    ("links", ["--task", "link_prediction", "--decoder", "transe", "--link-loss", "margin", "--negatives", "in_batch",
               "--rank-among", "100", "--metrics", "hits@10"], {"hits@10": (0.2, 1)}),
    ("links", ["--task", "edge_classification", "--labels", "same", "--metrics", "acc,roc_auc"], {"roc_auc": (0.8, 1)}),
    ("links", ["--task", "edge_regression", "--labels", "gap"], {"rmse": (0, 1)}),
    ("links", ["--task", "edge_classification", "--labels", "same", "--edge-time", "when", "--epochs", "2"],
     {"acc": (0.5, 1)}),
    ("planted", ["--metrics", "acc,macro_f1,micro_f1,roc_auc,average_precision", "--class-weights", "balanced"],
     {"acc": (0.9, 1), "roc_auc": (0.95, 1)}),
    ("planted", ["--task", "node_multilabel", "--labels", "two", "--metrics", "micro_f1,acc,roc_auc"],
     {"micro_f1": (0.9, 1)}),
    ("planted", ["--task", "node_regression", "--labels", "level", "--metrics", "rmse,mae,mse"], {"rmse": (0, 0.7)}),
], ids=["links", "links by translation", "classes of edges", "numbers of edges", "classes by time", "classes",
        "labels", "numbers"])
def test_a_task_ends_the_same_on_five_ranks(planted, tmp_path, name, words, expected):
    words = ["--epochs", "5", *(["--edge-mask", "message"] if name == "links" else []), *words]
    _, alone = train(planted / f"{name}-1", tmp_path / "alone", 1, *words)
    _, shared = train(planted / f"{name}-3", tmp_path / "shared", 5, *words)
    for metric, (low, high) in expected.items():
        assert low <= alone[f"test_{metric}"] <= high, alone
    assert alone.keys() == shared.keys()
    for key in alone.keys() - {"event", "seconds"}:
        assert shared[key] == pytest.approx(alone[key], abs=1e-6), key


@pytest.mark.long
@pytest.mark.parametrize("phase", ["inference of layer 1 of 2", "evaluate val"])
def test_a_run_that_ranks_links_stops_where_it_does(planted, tmp_path, phase):
    """Asked in the middle of an evaluation, it leaves before this ends."""
    words = ["train", planted / "links-3", "--run-dir", tmp_path / "run", "--fanouts", "5,5", "--hidden", "16",
             "--task", "link_prediction", "--edge-mask", "message", "--epochs", "3"]
    done = mpirun([str(Path(__file__).with_name("stopping_job.py")), "2", phase, *map(str, words)], 3)
    assert done.returncode == 75 and "Traceback" not in done.stderr, str(done)
    assert done.stderr.count("mpignn: stopped: asked to stop after") == 1, str(done)
    assert '"event": "epoch"' not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_run_stops_early_with_the_best_parameters(planted, tmp_path):
    words = ["--epochs", "40", "--patience", "2", "--schedule", "cosine", "--warmup-steps", "3", "--clip", "1"]
    _, final = train(planted / "planted-1", tmp_path / "run", 1, *words)
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    reached = [event["val_acc"] for event in events if event["event"] == "epoch"]
    assert final["epochs"] == len(reached) < 40
    assert final["val_acc"] == max(reached) == reached[-3] and max(reached[-2:]) <= reached[-3]


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("task", "labels", "metric", "mpi"), [
    ("node_multilabel", "labels", "micro_f1", "openmpi"), ("node_multilabel", "two", "micro_f1", "mpich"),
    ("node_regression", "labels", "rmse", "mpich")])
def test_what_is_known_of_some_labels_is_learnt_the_same_on_three_ranks(planted, tmp_path, task, labels, metric, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    words = ["--task", task, "--labels", labels, "--epochs", "8"]
    words += ["--standardize-targets"] if task == "node_regression" else []
    _, alone = train(planted / "holes-1", tmp_path / "alone", 1, *words)
    _, shared = train(planted / "holes-3", tmp_path / "shared", 3, *words, mpi=mpi)
    low, high = {"micro_f1": (0.85, 1), "rmse": (0, 0.4)}[metric]
    assert low <= alone[f"test_{metric}"] <= high
    for key in alone.keys() - {"event", "seconds"}:
        assert shared[key] == pytest.approx(alone[key], abs=1e-9), key
    losses = [[event["loss"] for event in lines(tmp_path / run) if event["event"] == "step"]
              for run in ("alone", "shared")]
    assert losses[1] == pytest.approx(losses[0], abs=1e-9) and losses[0][-1] < losses[0][0]


@pytest.mark.parametrize(("words", "part"), [
    (["--labels", "kind"], "kind of _N {first} is -1, and so are {count} in all of split train: classes are 0 or more"),
    (["--task", "node_multilabel", "--labels", "three"], "entries are 0 or 1, and -1 or NaN where that is not known")])
def test_labels_that_are_none_are_counted(planted, tmp_path, words, part):
    with np.load(planted / "holes.npz") as source:
        none = np.flatnonzero(source["kind"] < 0)
    done = mpirun(["-m", "mpignn", "train", str(planted / "holes-3"), "--run-dir", str(tmp_path / "run"), *words], 3)
    assert done.returncode == 3 and done.stderr.count("error:") == 1 and "Traceback" not in done.stderr, str(done)
    assert part.format(first=none[0], count=none.size) in done.stderr, str(done)


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_metric_that_is_undefined_chooses_nothing_and_erases_no_other(planted, tmp_path, mpi):
    """ROC-AUC where val has one class."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    with np.load(planted / "planted.npz") as source:
        arrays = dict(source)
    arrays["val_mask"] &= arrays["labels"] == 0
    np.savez(tmp_path / "one.npz", **arrays)
    partition_graph(tmp_path / "one.npz", tmp_path / "one", 2, method="random")
    words = ["train", tmp_path / "one", "--run-dir", tmp_path / "run", "--fanouts", "5,5", "--hidden", "16",
             "--lr", "0.03", "--global-batch-size", "40", "--epochs", "3", "--patience", "1",
             "--metrics", "roc_auc,acc,micro_f1"]
    done = mpirun(["-m", "mpignn", *map(str, words)], 3, mpi)
    assert done.returncode == 0 and done.stderr.count("val_roc_auc is undefined") == 1, str(done)
    assert "the last ones are kept, and --patience ends nothing" in done.stderr, str(done)
    *_, last, _, final = (json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert (last["event"], last["epoch"], final["epochs"]) == ("epoch", 2, 3)
    assert final["val_roc_auc"] is None and 0.5 < final["test_roc_auc"] <= 1
    assert final["val_acc"] == last["val_acc"] > 0 and final["val_micro_f1"] == last["val_micro_f1"]
    job(1, "eval", tmp_path / "run", "--sampled")
    measured = json.loads((tmp_path / "run" / "eval" / "eval.json").read_text())
    assert measured == pytest.approx({key: final[key] for key in measured}, abs=1e-6) and len(measured) == 6


def job(np_, *words):
    words = ["-m", "mpignn", *map(str, words)]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_)
    assert done.returncode == 0, str(done)


def test_what_was_learnt_is_measured_and_used_on_any_number_of_ranks(planted, tmp_path):
    folder = tmp_path / "run"
    _, final = train(planted / "planted-3", folder, 3, "--epochs", "1", "--lr", "0.003", "--eval-fanouts=-1,-1")
    assert 0.3 < final["test_acc"] < 1
    measured = []
    for np_, parts, more in ((1, 1, []), (5, 3, []), (1, 3, ["--sampled"])):
        job(np_, "eval", folder, planted / f"planted-{parts}", *more)
        measured.append(json.loads((folder / "eval" / "eval.json").read_text()))
    assert measured[0] == measured[1] == measured[2] == {key: final[key] for key in ("val_acc", "test_acc")}

    job(5, "infer", folder, planted / "planted-1", "--out", tmp_path / "pred.h5")
    with h5py.File(tmp_path / "pred.h5") as file, np.load(planted / "planted.npz") as source:
        said, logits = file["node/_N/prediction"][:], file["node/_N/logits"][:]
        assert np.array_equal(logits.argmax(1), said) and said.shape == (NODES,)
        test = source["test_mask"]
        assert np.mean(said[test] == source["labels"][test]) == final["test_acc"]
    job(3, "infer", folder, planted / "planted-3", "--out", tmp_path / "sampled.h5", "--sampled")
    with h5py.File(tmp_path / "sampled.h5") as file:
        np.testing.assert_allclose(file["node/_N/logits"][:], logits, rtol=1e-5, atol=1e-5)


def test_links_are_scored_by_original_ids(planted, tmp_path):
    folder = tmp_path / "run"
    train(planted / "links-3", folder, 1, "--epochs", "1", "--task", "link_prediction", "--edge-mask", "message")
    job(3, "infer", folder, "--out", tmp_path / "pred.h5")
    with h5py.File(tmp_path / "pred.h5") as file, np.load(planted / "links.npz") as source:
        rows, links = file["node/node/embedding"][:], file["edge/node:to:node"]
        ids = source["split/node:to:node/test"]
        assert np.array_equal(links["src"], source["edge/node:to:node/src"][ids])
        assert np.array_equal(links["dst"], source["edge/node:to:node/dst"][ids])
        expected = (rows[links["src"][:]] * rows[links["dst"][:]]).sum(1)
        np.testing.assert_allclose(links["score"], expected, rtol=1e-4, atol=1e-4)


def test_a_folder_without_a_trained_network_is_refused(planted, tmp_path):
    done = run([sys.executable, "-m", "mpignn", "infer", str(tmp_path), "--out", str(tmp_path / "pred.h5")])
    assert done.returncode == 2 and "no run folder" in done.stderr, str(done)


def test_another_graph_of_the_kind_is_judged_by_what_was_learnt(planted, tmp_path):
    train(planted / "planted-1", tmp_path / "run", 1, "--epochs", "4")
    with np.load(planted / "planted.npz") as source:
        arrays = dict(source)
    order = np.random.default_rng(1).permutation(NODES)[:500]           # some of the nodes, in another order
    new = np.full(NODES, -1)
    new[order] = np.arange(500)
    src, dst = new[arrays["src"]], new[arrays["dst"]]
    keep = (src >= 0) & (dst >= 0)
    other = {"src": src[keep], "dst": dst[keep], "features": arrays["features"][order]}
    marked = other | {"labels": arrays["labels"][order], "test_mask": np.ones(500, bool)}
    for name, given in ("bare", other), ("marked", marked), ("strange", marked | {"labels": np.arange(500) % 7}):
        np.savez(tmp_path / f"{name}.npz", **given)
        partition_graph(tmp_path / f"{name}.npz", tmp_path / name, 2, method="random")

    job(1, "infer", tmp_path / "run", tmp_path / "bare", "--out", tmp_path / "pred.h5")
    with h5py.File(tmp_path / "pred.h5") as file:
        right = np.mean(file["node/_N/prediction"][:] == marked["labels"])
    job(3, "eval", tmp_path / "run", tmp_path / "marked")
    assert json.loads((tmp_path / "run" / "eval" / "eval.json").read_text()) == {"test_acc": pytest.approx(right)}
    assert right > 0.8

    done = mpirun(["-m", "mpignn", "eval", str(tmp_path / "run"), str(tmp_path / "strange")], 3)
    assert done.returncode == 3 and done.stderr.count("error:") == 1, str(done)
    assert "labels go up to 6, but the network tells 4 classes apart" in done.stderr, str(done)


PROGRAM = """
import sys
import torch
import mpignn as mg

class Model(mg.nn.Stack):
    def __init__(self, columns, outputs):
        super().__init__([mg.nn.GATConv(columns, 8, 2), mg.nn.SAGEConv(16, outputs)], 0.0)

    def _call(self, number, block, x, key):
        return super()._call(number, block, x, key).flatten(1)

def main(g, world):
    for kind, labels in (("NodeClassification", "labels"), ("NodeMultilabel", "two"), ("NodeRegression", "level")):
        learn(g, "planted", getattr(mg, kind), labels=labels)

def edges(g, world):
    for kind, labels in (("EdgeClassification", "same"), ("EdgeRegression", "gap"), ("LinkPrediction", "none")):
        learn(g, "links", getattr(mg, kind), labels=labels, edge_mask="message")

def learn(g, name, kind, **changes):
    config = mg.settings(**changes, run_dir=f"{name}-{kind.__name__}", fanouts=(-1, -1), epochs=1, hidden=16,
                         global_batch_size=40, lr=0.03, precision="fp64", decoder="distmult", rank_among=50)
    task = kind(g, config)
    network = mg.make_network(g, task, config, Model(4, task.model_columns(config.model.hidden)))
    found = mg.fit(g, network, task, config)
    again = mg.evaluate(g, network, task, config, "test", whole=True)
    mg.infer(g, network, task, f"{kind.__name__}.h5")
    for key, value in again.items():
        assert abs(found[key] - value) < 1e-9, (key, found, value)
    if g.trainers.rank == 0:
        print("found", kind.__name__, *again.values(), flush=True)

which = edges if "links" in sys.argv[1] else main
mg.run(which, graph=sys.argv[1])
"""


@pytest.mark.long
@pytest.mark.parametrize("name", ["planted", "links"])
def test_programs_learn_every_task_the_same_on_any_number_of_ranks(planted, tmp_path, name):
    (tmp_path / "program.py").write_text(PROGRAM)
    found = []
    for np_, parts in (1, 1), (3, 3):
        folder = tmp_path / str(np_)
        folder.mkdir()
        words = [str(tmp_path / "program.py"), str(planted / f"{name}-{parts}")]
        done = run([sys.executable, *words], cwd=folder) if np_ == 1 else mpirun(words, np_, cwd=folder)
        assert done.returncode == 0, str(done)
        lines = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("found ")]
        found.append({kind: [float(value) for value in values] for kind, *values in lines})
        assert len(found[-1]) == 3 and len(list(folder.glob("*.h5"))) == 3
    for kind, values in found[0].items():
        assert found[1][kind] == pytest.approx(values, abs=1e-6), kind
