"""Predictions come out under the ids and names that users gave, the same bytes on any number of ranks."""

import csv
import gzip
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyarrow import parquet

from graphs import random_graph, random_hetero_graph
from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.write import partition_graph
from mpirun import mpirun, run

NODES = 40_000      # three blocks of a table: two trainers go two rounds, the last one with one block
CLASSES = ("Theory", "Neural, Networks", "Größe", 'say "no"')
TEXTS = [f"paper-{i}" if i % 3 else f"Größe, {i}" for i in range(NODES)]
BUYS, KNOWS, BOUGHT = ("user", "buys", "item"), ("user", "knows", "user"), ("item", "bought", "user")
ITEMS = [(1 << 63) + 7 * i for i in range(50)]
USERS = [f"user {i}" for i in range(60)]

PROGRAM = """
import sys
import torch
import mpignn as mg

TASKS = {"nodes": {"NodeClassification": "labels", "NodeMultilabel": "tags", "NodeRegression": "size"},
         "edges": {"EdgeClassification": "kind", "EdgeRegression": "price", "LinkPrediction": "none"}}

def main(g, world):
    which = "edges" if len(g.ntypes) > 1 else "nodes"
    if which == "nodes":
        assert g.class_names() == g.class_names("labels", g.ntypes[0]) == CLASSES and g.class_names("size") == ()
        ids = g.new_nids([30000, 0, 30000])
        assert g.user_ids(ids) == ["Größe, 30000", "Größe, 0", "Größe, 30000"]
    for kind, labels in TASKS[which].items():
        changes = {} if kind == "LinkPrediction" or which == "nodes" else {"target_etype": "buys"}
        config = mg.settings(labels=labels, run_dir="run", fanouts=(5, 5), epochs=1, hidden=6, precision="fp64",
                             model="sage" if which == "nodes" else "rgcn", **changes)
        torch.manual_seed(0)
        task = getattr(mg, kind)(g, config)
        network = mg.make_network(g, task, config)
        for ending in ("csv", "parquet", "h5", "tsv.gz"):
            mg.infer(g, network, task, f"{kind}.{ending}")
        if which == "nodes":
            few = [g.user_ids([g.new_nids([i])[0]])[0] for i in (30000, 0, 30000, 7)]
            mg.infer(g, network, task, f"few-{kind}.csv", nodes=few)

mg.run(main, graph=sys.argv[1])
"""


def named_nodes() -> GraphData:
    rng = np.random.default_rng(0)
    src, dst = rng.integers(0, NODES, (2, 2 * NODES))
    data = {"features": rng.standard_normal((NODES, 4)).astype(np.float32), "labels": np.arange(NODES) % 4,
            "tags": rng.integers(0, 2, (NODES, 3)), "size": rng.random(NODES).astype(np.float32)}
    return GraphData({NTYPE: NODES}, {ETYPE: csc_from_coo(src, dst, NODES)}, {NTYPE: data},
                     splits={NTYPE: {"train": np.arange(100)}}, user_ids={NTYPE: UserIds.of_texts(TEXTS)},
                     class_names={NTYPE: {"labels": CLASSES, "tags": ("old", "new", "a,b")}})


def named_edges() -> GraphData:
    rng, sizes = np.random.default_rng(1), {"user": 60, "item": 50}
    csc = {e: csc_from_coo(*(rng.integers(0, sizes[t], 400) for t in (e[0], e[2])), sizes[e[2]])
           for e in (BUYS, KNOWS, BOUGHT)}
    splits = {etype_key(e): {"train": np.arange(0, 300), "test": np.arange(300, 400)} for e in (BUYS, BOUGHT)}
    edge_data = {BUYS: {"kind": np.arange(400) % 2, "price": rng.random((400, 2)).astype(np.float32)}}
    node_data = {t: {"features": rng.standard_normal((n, 4)).astype(np.float32)} for t, n in sizes.items()}
    return GraphData(sizes, csc, node_data, edge_data, splits,
                     {"user": UserIds.of_texts(USERS), "item": UserIds(np.array(ITEMS, np.uint64))},
                     {etype_key(BUYS): {"kind": ("gift", "own")}})


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    """What programs write of both graphs, by one rank and by three, whose files are compared; the folders of one."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "program.py").write_text(PROGRAM.replace("CLASSES", repr(CLASSES)))
    for name, data in (("nodes", named_nodes()), ("edges", named_edges())):
        for np_, parts in (1, 1), (3, 3):
            out = folder / f"{name}-{np_}"
            out.mkdir()
            partition_graph(data, out / "graph", parts, "random")
            words = [str(folder / "program.py"), "graph"]
            done = run([sys.executable, *words], cwd=out) if np_ == 1 else mpirun(words, np_, cwd=out)
            assert done.returncode == 0, str(done)
        made = sorted(path.name for path in (folder / f"{name}-1").iterdir() if path.is_file())
        assert len(made) == 12 + 3 * (name == "nodes")
        for file in made:
            alone, shared = ((folder / f"{name}-{np_}" / file).read_bytes() for np_ in (1, 3))
            assert alone == shared, file
    return {name: folder / f"{name}-1" for name in ("nodes", "edges")}


def table(path: Path) -> dict[str, list]:
    """The columns of a table, after all of its forms have been compared."""
    found = parquet.read_table(path.with_suffix(".parquet")).to_pydict()
    with open(path.with_suffix(".csv"), newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    with gzip.open(path.with_suffix(".tsv.gz"), "rt", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file, delimiter="\t")) == lines
    assert lines[0] == list(found) and len(lines) == 1 + len(next(iter(found.values())))
    for name, texts in zip(found, zip(*lines[1:], strict=True), strict=True):
        kind = type(found[name][0])
        values = list(map(kind, texts)) if kind is not float else [float(np.float32(text)) for text in texts]
        assert values == found[name], name
    return found


def softmax(logits):
    shares = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def test_classes_of_nodes_have_names(written):
    found = table(written["nodes"] / "NodeClassification")
    with h5py.File(written["nodes"] / "NodeClassification.h5") as file:
        base = file["node/_N"]
        logits, ids, names = base["logits"][:], base["id"].asstr()[:], tuple(base["class_names"].asstr()[:])
    assert found["id"] == ids.tolist() == TEXTS and names == CLASSES
    assert found["prediction"] == [CLASSES[c] for c in logits.argmax(1)] and len(set(found["prediction"])) > 1
    assert np.allclose(found["probability"], softmax(logits).max(1), atol=1e-6)


@pytest.mark.parametrize("kind", ["NodeClassification", "NodeMultilabel", "NodeRegression"])
def test_nodes_that_are_asked_for_have_the_lines_that_they_have_among_all(written, kind):
    lines, few = ((written["nodes"] / f"{name}{kind}.csv").read_text().splitlines() for name in ("", "few-"))
    assert few == [lines[0], *(lines[1 + place] for place in (30000, 0, 30000, 7))]


def test_several_labels_have_a_column_each(written):
    found = table(written["nodes"] / "NodeMultilabel")
    assert list(found) == ["id", *(f"{what}_{tag}" for what in ("prediction", "probability")
                                   for tag in ("old", "new", "a,b"))]
    with h5py.File(written["nodes"] / "NodeMultilabel.h5") as file:
        logits, names = file["node/_N/logits"][:], file["node/_N/class_names"].asstr()[:].tolist()
    assert names == ["old", "new", "a,b"] and found["id"] == TEXTS
    for place, tag in enumerate(names):
        assert found[f"prediction_{tag}"] == (logits[:, place] > 0).tolist()
        assert np.allclose(found[f"probability_{tag}"], 1 / (1 + np.exp(-logits[:, place].astype(float))), atol=1e-6)


def test_a_number_of_a_node_is_its_prediction(written):
    found = table(written["nodes"] / "NodeRegression")
    with h5py.File(written["nodes"] / "NodeRegression.h5") as file:
        assert "class_names" not in file["node/_N"]
        assert found == {"id": TEXTS, "prediction": file["node/_N/logits"][:, 0].tolist()}


def test_edges_have_the_ids_of_both_ends(written):
    data = named_edges()
    for kind, names in (("EdgeClassification", ["prediction", "probability"]),
                        ("EdgeRegression", ["prediction_0", "prediction_1"])):
        found = table(written["edges"] / kind)
        with h5py.File(written["edges"] / f"{kind}.h5") as file:
            edges = {name: rows[:] for name, rows in file["edge/user:buys:item"].items()}
            assert file["node/user/id"].asstr()[:].tolist() == USERS and file["node/item/id"][:].tolist() == ITEMS
        assert list(found) == ["src", "dst", *names]
        assert found["src"] == [USERS[i] for i in edges["src"]] and found["dst"] == [ITEMS[i] for i in edges["dst"]]
        assert len(found["src"]) == data.splits["user:buys:item"]["test"].size
        if kind == "EdgeClassification":
            assert found["prediction"] == [("gift", "own")[c] for c in edges["logits"].argmax(1)]
            assert np.allclose(found["probability"], softmax(edges["logits"]).max(1), atol=1e-6)
        else:
            assert np.array_equal(np.stack([found[name] for name in names], 1), edges["logits"])


def test_links_of_several_types_stand_in_one_table(written):
    found = table(written["edges"] / "LinkPrediction")
    keys = [etype_key(e) for e in (BUYS, BOUGHT)]
    assert list(found) == ["type", "src", "dst", "score"] and found["type"] == [key for key in keys for _ in range(100)]
    called = {"user": USERS, "item": list(map(str, ITEMS))}         # a column has one type
    with h5py.File(written["edges"] / "LinkPrediction.h5") as file:
        for first, key in zip((0, 100), keys, strict=True):
            src, _, dst = key.split(":")
            edges = file[f"edge/{key}"]
            assert found["src"][first:first + 100] == [called[src][i] for i in edges["src"]]
            assert found["dst"][first:first + 100] == [called[dst][i] for i in edges["dst"]]
            assert found["score"][first:first + 100] == edges["score"][:].tolist()


# From the command line.

TRAIN = ["--fanouts", "2", "--hidden", "4", "--epochs", "1", "--precision", "fp64", "--run-dir", "run"]


def mpignn(folder, *words):
    return run([sys.executable, "-m", "mpignn", *words], cwd=folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = random_graph(0, 200, 900)
    partition_graph(replace(data, class_names={NTYPE: {"labels": CLASSES}}), folder / "graph", 2, "random")
    done = mpignn(folder, "train", "graph", *TRAIN)
    assert done.returncode == 0 and 'labels int64, 4 classes (Theory, Neural, Networks, ' in done.stderr, str(done)
    return folder


def test_names_are_those_that_were_learnt_whatever_the_graph_knows(trained):
    data = random_graph(0, 200, 900)
    bare = replace(data, node_data={NTYPE: {"features": data.node_data[NTYPE]["features"]}}, splits={})
    partition_graph(bare, trained / "bare", 3, "random")
    for graph, out in ("graph", "own.csv"), ("bare", "bare.csv"):
        done = mpignn(trained, "infer", "run", graph, "--out", out)
        assert done.returncode == 0, str(done)
    text = (trained / "own.csv").read_text()
    assert text == (trained / "bare.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["id"] for row in rows] == list(map(str, range(200)))        # original ids, where there are no others
    assert {row["prediction"] for row in rows} <= set(CLASSES)


def test_few_nodes_by_samples_have_the_lines_that_they_have_among_all(trained):
    (trained / "ids.txt").write_text("150\n7\n150\n")
    for out, words in ("all.csv", []), ("few.csv", ["--nodes", "ids.txt"]):
        done = mpignn(trained, "infer", "run", "--sampled", "--out", out, *words)
        assert done.returncode == 0, str(done)
    lines, few = ((trained / name).read_text().splitlines() for name in ("all.csv", "few.csv"))
    assert few == [lines[0], lines[151], lines[8], lines[151]]


@pytest.mark.parametrize(("words", "code", "part"), [
    (["--nodes", "ids.txt", "--out", "few.h5"], 2, "--nodes writes a table"),
    (["--nodes", "none.txt", "--out", "few.csv"], 2, "none.txt: cannot be read"),
    (["--nodes", "ids.txt", "--out", "ids.txt.csv"], 3, "no node of type _N is called 'x', number 2 of these 2")])
def test_nodes_that_cannot_be_told_are_refused(trained, tmp_path, words, code, part):
    (tmp_path / "ids.txt").write_text("150\nx\n")
    done = mpignn(tmp_path, "infer", str(trained / "run"), str(trained / "graph"), *words)
    assert done.returncode == code and done.stderr.count("mpignn: error:") == 1 and part in done.stderr, str(done)
    assert [path.name for path in tmp_path.iterdir()] == ["ids.txt"]


def test_a_graph_whose_classes_have_another_order_is_not_measured(trained):
    data = replace(random_graph(0, 200, 900), class_names={NTYPE: {"labels": CLASSES[::-1]}})
    partition_graph(data, trained / "turned", 2, "random")
    done = mpignn(trained, "eval", "run", "turned")
    assert done.returncode == 2 and done.stderr.count("mpignn: error:") == 1, str(done)
    assert "class 0 of labels is 'Theory' to the network, and 'say \"no\"' in this graph" in done.stderr


@pytest.mark.parametrize(("out", "code", "part"), [
    ("pred", 2, "must be one of: .h5, .hdf5, .csv, .tsv, .csv.gz, .tsv.gz, .parquet"),
    ("pred.xlsx", 2, "must be one of"), ("none/pred.csv", 2, "No such file or directory"),
    ("graph/graph.h5", 2, "is read by")])
def test_what_cannot_be_written_is_refused_before_the_work(trained, out, code, part):
    done = mpignn(trained, "infer", "run", "--out", out)
    assert done.returncode == code and done.stderr.count("mpignn: error:") == 1 and part in done.stderr, str(done)
    assert "loaded and verified" not in done.stderr, str(done)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_full_disk_keeps_the_table_that_was_there(trained, tmp_path, ending):
    out, job = tmp_path / f"pred.{ending}", str(Path(__file__).with_name("full_disk_job.py"))
    out.write_text("precious")
    done = mpirun([job, "1", "write predictions", "100", "infer", "run", "--out", str(out)], 3, cwd=trained)
    assert done.returncode == 4 and done.stderr.count("mpignn: error:") == 1, str(done)
    assert "cannot be written: File too large" in done.stderr and "Traceback" not in done.stderr, str(done)
    assert [path.name for path in tmp_path.iterdir()] == [out.name] and out.read_text() == "precious"


@pytest.mark.parametrize("ending", ["csv", "h5"])
def test_damaged_ids_are_named_by_all_ranks_together(trained, tmp_path, ending):
    data = replace(random_graph(0, 200, 900), user_ids={NTYPE: UserIds.of_texts([f"node {i}" for i in range(200)])})
    partition_graph(data, tmp_path / "graph", 2, "random")
    raw = bytearray((tmp_path / "graph" / "graph.h5").read_bytes())
    raw[raw.index(b"node 77")] ^= 1
    (tmp_path / "graph" / "graph.h5").write_bytes(raw)
    words = ["-m", "mpignn", "infer", str(trained / "run"), "graph", "--out", f"pred.{ending}"]
    done = mpirun(words, 3, cwd=tmp_path)
    assert done.returncode == 3 and done.stderr.count("mpignn: error:") == 1, str(done)
    assert "ids/_N/values: rows 0..1489 are damaged" in done.stderr, str(done)
    assert [path.name for path in tmp_path.iterdir()] == ["graph"]


def test_links_without_a_split_are_no_table(tmp_path):
    data = random_hetero_graph(2, 40)
    key = etype_key(list(data.csc)[-1])
    partition_graph(replace(data, splits={key: {"train": data.splits[key]["train"]}}), tmp_path / "graph", 2, "random")
    done = mpignn(tmp_path, "train", "graph", *TRAIN, "--task", "link_prediction", "--model", "rgcn")
    assert done.returncode == 0, str(done)
    done = mpignn(tmp_path, "infer", "run", "--out", "pred.csv")
    assert done.returncode == 2 and "no split named 'test'; there are: train: choose with --split" in done.stderr
    done = mpignn(tmp_path, "infer", "run", "--out", "pred.csv", "--split", "train")
    assert done.returncode == 0 and (tmp_path / "pred.csv").read_text().startswith("src,dst,score\n"), str(done)
