"""Graphs that a program has in memory: what they become, and what is refused."""

import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from torch_geometric.data import Data, HeteroData

from graphs import as_stored, edge_list, ends, graphs, masks, random_graph, random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, NTYPE, etype_key
from mpignn.storage.check import check
from mpignn.storage.source_id import source_id
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

SRC = Path(__file__).parents[2] / "src"


def tensors(named) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in named.items()}


def as_data(data) -> Data:
    made = Data(edge_index=torch.tensor(np.stack(ends(data, ETYPE))), num_nodes=data.num_nodes[NTYPE])
    made.x, made.y = (torch.tensor(data.node_data[NTYPE][name]) for name in ("features", "labels"))
    made.edge_weight = torch.tensor(data.edge_data[ETYPE]["weight"])
    for name, mask in masks(data, NTYPE, data.num_nodes[NTYPE]).items():
        made[name] = torch.tensor(mask)
    return made


def as_hetero_data(data) -> HeteroData:
    made = HeteroData()
    for ntype, count in data.num_nodes.items():
        made[ntype].num_nodes = count
        made[ntype].x, made[ntype].y = (torch.tensor(data.node_data[ntype][name]) for name in ("features", "labels"))
        for name, mask in masks(data, ntype, count).items():
            made[ntype][name] = torch.tensor(mask)
    for etype in data.csc:
        made[etype].edge_index = torch.tensor(np.stack(ends(data, etype)))
        made[etype].edge_weight = torch.tensor(data.edge_data[etype]["weight"])
        for name, mask in masks(data, etype_key(etype), data.csc[etype].num_edges).items():
            made[etype][name] = torch.tensor(mask)
    return made


class View(dict):
    """``g.nodes`` or ``g.edges`` of a `DGLGraph`: by type, something with ``data``; called, the ends of edges."""

    def __init__(self, by_type, ends=None):
        super().__init__({key: type("Data", (), {"data": data})() for key, data in by_type.items()})
        self._ends = ends

    def __call__(self, form="uv", order="eid", etype=None):
        assert form == "uv" and order == "eid"
        return self._ends[etype]


class DGLGraph:
    """A stand-in with the name, the methods and the attributes of DGL's class that are read, and no others."""

    __module__ = "dgl.heterograph"

    def __init__(self, data):
        self.ntypes, self.canonical_etypes = list(data.num_nodes), list(data.csc)
        self.num_nodes = data.num_nodes.__getitem__
        self.nodes = View({t: tensors({"feat": named["features"], "label": named["labels"]}
                                      | masks(data, t, data.num_nodes[t])) for t, named in data.node_data.items()})
        self.edges = View({e: tensors(named | masks(data, etype_key(e), data.csc[e].num_edges))
                           for e, named in data.edge_data.items()},
                          {e: tuple(map(torch.tensor, ends(data, e))) for e in data.csc})


@given(graphs(max_nodes=12, max_edges=30))
def test_all_of_a_pyg_or_dgl_graph_comes_back(data):
    assert source_id(read_source(DGLGraph(data))) == source_id(as_stored(data))
    if NTYPE in data.num_nodes:     # a Data has one mask of each name, which is one of nodes here
        data = replace(data, splits={NTYPE: data.splits[NTYPE]})
    made = (as_data if NTYPE in data.num_nodes else as_hetero_data)(data)
    assert source_id(read_source(made)) == source_id(as_stored(data))


def test_a_pyg_graph_is_partitioned_as_its_arrays_are(tmp_path):
    data = random_hetero_graph(2)
    partition_graph(as_hetero_data(data), tmp_path / "pyg", 2, "range")
    partition_graph(as_stored(data), tmp_path / "own", 2, "range")
    assert check(tmp_path / "pyg") == []
    for path in (tmp_path / "own").iterdir():
        assert path.read_bytes() == (tmp_path / "pyg" / path.name).read_bytes()


def small_data(**named) -> Data:
    return Data(edge_index=torch.tensor([[0, 1, 2], [1, 2, 2]]), x=torch.ones(4, 2), **named)


def test_what_else_a_data_has_for_each_node_or_edge_is_data_and_the_rest_is_named(caplog):
    made = small_data(pos=torch.arange(4), edge_attr=torch.ones(3, 5), time=torch.arange(3), name="a graph",
                      train_idx=torch.tensor([3, 0]), edge_label_index=torch.zeros(3, 2), seven=torch.ones(7))
    with caplog.at_level(logging.WARNING):
        data = read_source(made)
    assert set(data.node_data[NTYPE]) == {"features", "pos"}
    assert data.splits.keys() == {NTYPE} and data.splits[NTYPE]["train"].tolist() == [0, 3]
    assert {name: array.shape for name, array in data.edge_data[ETYPE].items()} == {"attr": (3, 5), "time": (3,)}
    text = caplog.text
    assert all(name in text for name in ("name", "edge_label_index", "seven")) and "pos" not in text


def test_an_attribute_of_nodes_is_told_from_one_of_edges_by_its_name_where_there_are_as_many():
    made = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2, a=torch.arange(2), edge_a=torch.arange(2),
                knowledge=torch.arange(2))
    data = read_source(made)
    assert set(data.node_data[NTYPE]) == {"a", "knowledge"} and set(data.edge_data[ETYPE]) == {"a"}


def test_a_split_of_a_data_may_be_given_twice_if_it_is_the_same():
    mask = torch.tensor([True, False, False, True])
    data = read_source(small_data(train_mask=mask, train_idx=torch.tensor([3, 0])))
    assert data.splits[NTYPE]["train"].tolist() == [0, 3]


BAD_DATA = {
    "Data: train_mask has 1 of them, train_idx 2, and these are not the same": {
        "train_mask": torch.tensor([True, False, False, False]), "train_idx": torch.tensor([3, 0])},
    "Data: x has shape (3, 2), expected one row for each of 4 nodes": {"x": torch.ones(3, 2), "num_nodes": 4},
    "Data: y has shape (), expected one row": {"y": torch.tensor(1)},
    "Data: train_mask: expected one entry for each of 4": {"train_mask": torch.ones(5).bool()},
    "edge_index has shape (3,), expected (2, E)": {"edge_index": torch.arange(3)},
    "src[1] = 4 but there are 4 nodes": {"edge_index": torch.tensor([[0, 4, 2], [1, 2, 2]])},
    "edge_index is missing; torch_geometric.utils.to_edge_index": {"edge_index": None, "adj_t": torch.eye(4)},
    "one dimension, got float32": {"edge_index": torch.zeros(2, 3)},
    "split 'train' of '_N': id 4 is not in 0..3": {"train_idx": torch.tensor([4])},
    "_N/features: node 1 has nan": {"x": torch.tensor([[1.0], [torch.nan], [1], [1]])},
    "requires grad": {"x": torch.ones(4, 2, requires_grad=True)},
}


@pytest.mark.parametrize("why", BAD_DATA)
def test_a_data_that_is_not_sound_is_refused(why, tmp_path):
    made = small_data()
    for name, values in BAD_DATA[why].items():
        if values is None:
            del made[name]
        else:
            made[name] = values
    with pytest.raises(DataError, match=re.escape(why)):
        partition_graph(made, tmp_path / "g", 2, "range")
    assert not list(tmp_path.iterdir())


def test_a_dgl_graph_whose_data_has_another_length_is_refused():
    made = DGLGraph(random_graph())
    made.nodes[NTYPE].data["feat"] = torch.ones(3, 2)
    with pytest.raises(DataError, match=re.escape("DGLGraph: feat has shape (3, 2), expected one row for each of 40")):
        read_source(made)


@given(st.integers(0, 1 << 20), st.sampled_from(["coo", "csr", "csc", "lil", "dok", "bsr"]), st.booleans())
def test_a_sparse_matrix_has_an_edge_for_each_entry(seed, layout, as_array):
    rng = np.random.default_rng(seed)
    matrix = sparse.random_array((7, 7), density=0.3, rng=rng)
    made = (matrix if as_array else sparse.coo_matrix(matrix)).asformat(layout)
    data = read_source(made)
    src, dst = ends(data, ETYPE)
    dense = np.zeros((7, 7))
    dense[src, dst] = data.edge_data[ETYPE]["value"]
    assert data.num_nodes == {NTYPE: 7} and np.array_equal(dense, matrix.toarray()) and src.size == matrix.nnz


def test_a_matrix_of_booleans_has_edges_without_values_and_entries_that_are_there_twice_are_two():
    matrix = sparse.coo_array((np.ones(3, bool), ([0, 0, 1], [2, 2, 1])), shape=(3, 3))
    data = read_source(matrix)
    assert [(dst, src) for dst, src, _ in edge_list(data, ETYPE)] == [(1, 1), (2, 0), (2, 0)] and not data.edge_data


@pytest.mark.parametrize("matrix", [sparse.eye_array(3, 4), sparse.eye_array(3, dtype=complex)])
def test_a_matrix_that_is_no_graph_is_refused(matrix):
    with pytest.raises(DataError, match="SciPy matrix: a matrix of shape .* expected one with as many rows as columns"):
        read_source(matrix)


@given(st.integers(0, 1 << 20), st.booleans(), st.booleans())
def test_all_of_a_networkx_graph_comes_back(seed, directed, parallel):
    rng = np.random.default_rng(seed)
    kind = {(False, False): nx.Graph, (True, False): nx.DiGraph, (False, True): nx.MultiGraph,
            (True, True): nx.MultiDiGraph}[directed, parallel]
    made, names = kind(), [f"node {i}" for i in rng.permutation(6)]
    for name in names:
        made.add_node(name, features=rng.random(3).astype(np.float32), labels=int(rng.integers(3)))
    for src, dst in rng.integers(0, 6, (9, 2)):
        made.add_edge(names[src], names[dst], weight=rng.random())
    data = read_source(made)
    called = data.user_ids[NTYPE].of(0, 6)
    src, dst = ends(data, ETYPE)
    found = sorted((called[u], called[v], w) for u, v, w in zip(src, dst, data.edge_data[ETYPE]["weight"], strict=True))
    expected = [(u, v, w) for u, v, w in made.edges(data="weight")]
    expected += [] if directed else [(v, u, w) for u, v, w in expected if u != v]
    assert called == names and found == sorted(expected)
    for name in ("features", "labels"):
        stored = np.asarray(data.node_data[NTYPE][name])
        assert np.array_equal(stored, [made.nodes[node][name] for node in called])


@pytest.mark.parametrize("names, ids", [
    ([0, 1, 2], None), ([2, 0, 1], [2, 0, 1]), ([-5, 7, 1 << 62], [-5, 7, 1 << 62]), ([0, 1, 1 << 63], [0, 1, 1 << 63]),
    ([0, 1, 1 << 64], ["0", "1", str(1 << 64)]), (["b", "a", "ä"], ["b", "a", "ä"]),
    ([1, "a", (2, 3)], ["1", "a", "(2, 3)"])])
def test_names_of_networkx_nodes_are_their_user_ids(names, ids):
    made = nx.DiGraph([names[:2]])
    made.add_nodes_from(names)
    data = read_source(made)
    assert (None if ids is None else data.user_ids[NTYPE].of(0, 3)) == ids and (ids is not None or not data.user_ids)


def test_labels_of_networkx_nodes_may_be_texts_and_may_be_missing(caplog):
    made = nx.path_graph(4)
    for node, label in enumerate(["red", None, "blue", "red"]):
        made.nodes[node].update({"labels": label} if label else {}, color="any", train_mask=node == 0)
    made.edges[0, 1]["labels"] = "near"
    with caplog.at_level(logging.WARNING):
        data = read_source(made)
    assert data.node_data[NTYPE]["labels"].tolist() == [1, -1, 0, 1] and data.splits[NTYPE]["train"].tolist() == [0]
    assert data.edge_data[ETYPE]["labels"].tolist() == [0, -1, -1, 0, -1, -1]
    assert data.class_names == {NTYPE: {"labels": ("blue", "red")}, etype_key(ETYPE): {"labels": ("near",)}}
    assert "attributes of nodes that are no numbers are left out: color" in caplog.text


@pytest.mark.parametrize("labels, codes, names", [
    (["red", float("nan"), "", None], [0, -1, -1, -1], ("red",)), ([1, None, np.nan, 0], [1, -1, -1, 0], None),
    (["1", "10", "", "2"], [0, 1, -1, 2], ("1", "10", "2"))])
def test_labels_of_networkx_nodes_that_are_missing_are_no_class(labels, codes, names):
    made = nx.path_graph(4)
    nx.set_node_attributes(made, dict(enumerate(labels)), "labels")
    data = read_source(made)
    assert data.node_data[NTYPE]["labels"].tolist() == codes
    assert data.class_names == ({} if names is None else {NTYPE: {"labels": names}})


@pytest.mark.parametrize("change, why", [
    (lambda g: (g.nodes["a"].update(labels="1"), g.nodes["b"].update(labels=1)),
     "node 'b' has the label 1, where another has a text: make all texts, or all numbers"),
    (lambda g: g.nodes["a"].update(labels="\udc80"), "node 'a' has the label '\\udc80', which cannot be written"),
    (lambda g: g.add_node("\udc80"), "there is a node '\\udc80', which cannot be written in UTF-8"),
    (lambda g: g.nodes["a"].update(age=3), "node 'b' has no 'age', where another has a number"),
    (lambda g: (g.nodes["a"].update(p=[1, 2]), g.nodes["b"].update(p=[1])), "node 'b' has [1] as 'p', where another"),
    (lambda g: (g.nodes["a"].update(p=1), g.nodes["b"].update(p="x")), "node 'b' has 'x' as 'p', where another has a"),
    (lambda g: g.edges["a", "b"].update(weight=-1), "weight: edge 0 has -1, which is negative"),
    (lambda g: g.add_nodes_from([1, "1"]), "nodes 1 and '1' are both written '1'")])
def test_a_networkx_graph_that_is_not_sound_is_refused(change, why):
    made = nx.Graph([("a", "b")])
    change(made)
    with pytest.raises(DataError, match=re.escape(why)):
        read_source(made)


def test_an_object_of_no_known_library_is_refused_with_all_that_are():
    class Data:
        """Of the same name as one of PyTorch Geometric, and nothing else."""

    with pytest.raises(DataError, match="Data is no graph that can be read; expected a dgl.DGLGraph; .*; a graph of Net"
                                        "workX; a Data of PyTorch Geometric; .*; a dict of arrays"):
        read_source(Data())


def test_no_library_is_imported_to_ask_whether_a_graph_is_of_it():
    program = ("import sys\nfrom mpignn.storage.sources import read_source\n"
               "read_source({'src': [0, 1], 'dst': [1, 0]})\n"
               "print(*{'torch', 'torch_geometric', 'networkx', 'dgl', 'pyarrow', 'pandas'} & set(sys.modules))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120,
                          env={"PYTHONPATH": str(SRC), "PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
