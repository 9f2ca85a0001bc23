"""Graphs as users have them: what is read, and what is refused before anything is written."""

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import sparse

from graphs import edge_list, random_graph, random_hetero_graph
from mpignn.errors import ConfigError, DataError, ResourceError
from mpignn.graph.types import ETYPE, NTYPE, etype_key
from mpignn.storage.check import check
from mpignn.storage.source_id import source_id
from mpignn.storage.sources import forms, read_source
from mpignn.storage.write import partition_graph

INDPTR = np.array([0, 2, 2, 3, 5])
INDICES = np.array([1, 3, 0, 2, 2])
FLAT = {"indptr": INDPTR, "indices": INDICES, "features": np.ones((4, 2), np.float32), "labels": np.array([0, 1, 1, 0]),
        "train_mask": np.array([1, 0, 0, 1], bool), "test_mask": np.array([0, 1, 0, 0], np.uint8),
        "year": np.arange(4), "edge_prob": np.arange(5) / 4}
HETERO = {"num_nodes/user": 3, "num_nodes/item": 2,
          "edge/user:buys:item/src": np.array([2, 0, 2]), "edge/user:buys:item/dst": np.array([1, 1, 0]),
          "edge/user:buys:item/data/weight": np.array([0.5, 1, 2]),
          "edge/item:of:user/indptr": np.array([0, 1, 1, 3]), "edge/item:of:user/indices": np.array([1, 0, 1]),
          "node/user/features": np.eye(3), "split/user/train": np.array([2, 0]),
          "split/user:buys:item/val": np.array([False, True, True])}


def save(tmp_path, arrays, form):
    if form == "h5":
        with h5py.File(tmp_path / "graph.h5", "w") as file:
            for name, array in arrays.items():
                file[name] = array
        return tmp_path / "graph.h5"
    if form == "npz":
        np.savez(tmp_path / "graph.npz", **arrays)
        return tmp_path / "graph.npz"
    folder = tmp_path / "graph"
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    (folder / "meta.json").write_text("{}")
    return folder


@pytest.mark.parametrize("form", ["npy", "npz", "h5"])
def test_flat_arrays_become_a_homogeneous_graph(form, tmp_path):
    data = read_source(save(tmp_path, FLAT, form))
    assert data.num_nodes == {NTYPE: 4} and data.schema.etypes == (ETYPE,)
    assert np.array_equal(data.csc[ETYPE].indptr, INDPTR) and np.array_equal(data.csc[ETYPE].indices, INDICES)
    assert set(data.node_data[NTYPE]) == {"features", "labels", "year"} and set(data.edge_data[ETYPE]) == {"prob"}
    assert {name: ids.tolist() for name, ids in data.splits[NTYPE].items()} == {"train": [0, 3], "test": [1]}


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_edges_may_be_given_by_their_ends(form, tmp_path):
    src, dst = np.array([3, 1, 1, 3], np.int32), np.array([0, 2, 0, 0], np.int32)
    weight = np.array([0.0, 1, 2, 3])
    data = read_source(save(tmp_path, {"src": src, "dst": dst, "edge_weight": weight}, form))
    assert data.num_nodes == {NTYPE: 4}
    assert edge_list(data, ETYPE) == [(0, 1, 2), (0, 3, 0), (0, 3, 3), (2, 1, 1)]
    assert np.array_equal(data.edge_data[ETYPE]["weight"], weight)


def test_isolated_nodes_at_the_end_are_counted_by_what_else_is_given(tmp_path):
    ends = {"src": np.array([0]), "dst": np.array([1])}
    for number, more in enumerate(({"num_nodes": np.int64(7)}, {"labels": np.zeros(7, int)},
                                   {"train_mask": np.zeros(7, bool)})):
        (tmp_path / str(number)).mkdir()
        assert read_source(save(tmp_path / str(number), ends | more, "npy")).num_nodes == {NTYPE: 7}


@pytest.mark.parametrize("form", ["npy", "npz", "h5", "csv", "dict", "graph"])
@pytest.mark.parametrize("option", [{"keep_dtype": True}, {"on_unknown": "drop"}, {"like": "graph"}])
def test_an_option_has_an_effect_or_is_refused(form, option, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("graph.toml").write_text(
        '[nodes.n]\nfiles="n.csv"\nid="id"\nfeatures="x"\n[edges."n:to:n"]\nfiles="e.csv"\nsrc="src"\ndst="dst"\n')
    Path("n.csv").write_text("id,x\n1,0.1\n2,0.2\n")
    Path("e.csv").write_text("src,dst\n1,2\n1,1\n")
    partition_graph("graph.toml", "graph", 1, keep_dtype=True)
    arrays = FLAT | {"features": np.full((4, 2), 0.1)}
    if form == "csv":
        source = "graph.toml"
        Path("e.csv").write_text("src,dst\n1,2\n1,3\n")        # no node is called 3
    elif form in ("dict", "graph"):
        source = arrays if form == "dict" else "graph"
    else:
        (tmp_path / "given").mkdir()
        source = save(tmp_path / "given", arrays, form)
    heeded = {"csv": {"on_unknown"}, "graph": set()}.get(form, {"keep_dtype"})
    if form != "csv" and option.keys() - heeded:
        with pytest.raises(ConfigError, match=rf"\({next(iter(option))}\) has no effect for .*; leave it out"):
            read_source(source, **option)
    elif form == "csv" and option.keys() - heeded:
        with pytest.raises(DataError, match="3"):
            read_source(source, **option)
        Path("e.csv").write_text("src,dst\n1,2\n")
        assert features(read_source(source, **option)).dtype == np.float64
        assert features(read_source(source)).dtype == np.float32
    elif form == "csv":
        assert read_source(source, **option).csc["n", "to", "n"].num_edges == 1
    else:
        assert features(read_source(source, **option)).dtype == np.float64
        assert features(read_source(source)).dtype == np.float32


@pytest.mark.parametrize(("arrays", "what"), [
    ({"src": [0], "dst": [1], "num_nodes": 10**15}, "num_nodes is 1000000000000000"),
    ({"src": [0, 10**15], "dst": [1, 0]}, "the number of nodes, one more than the largest id, is 1000000000000001"),
    ({"num_nodes/a": 10**18, "edge/a:to:a/src": [0], "edge/a:to:a/dst": [0]}, "num_nodes/a is 1000000000000000000")])
def test_more_nodes_than_memory_holds_are_refused(arrays, what, tmp_path):
    with pytest.raises(ResourceError, match=f"graph.npz: {what}: 8 bytes for each"):
        read_source(save(tmp_path, {name: np.array(array) for name, array in arrays.items()}, "npz"))


def test_what_is_wrong_with_arrays_is_told_with_the_path(tmp_path):
    for number, wrong in enumerate(({"indptr": np.array([0, 2, 1, 3, 5])}, {"features": np.full((4, 1), np.inf)},
                                    {"labels": np.array(["a", "b", "c", "d"])})):
        (tmp_path / str(number)).mkdir()
        path = save(tmp_path / str(number), FLAT | wrong, "npz")
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: (?!{re.escape(str(path))})"):
            read_source(path)


def features(data):
    (of_type,) = data.node_data.values()
    return of_type["features"]


@pytest.mark.parametrize("form", ["npz", "h5"])
def test_typed_arrays_become_a_heterogeneous_graph(form, tmp_path):
    data = read_source(save(tmp_path, HETERO, form))
    buys, of = ("user", "buys", "item"), ("item", "of", "user")
    assert data.num_nodes == {"user": 3, "item": 2}
    assert edge_list(data, buys) == [(0, 2, 2), (1, 0, 1), (1, 2, 0)]
    assert edge_list(data, of) == [(0, 1, 0), (2, 0, 1), (2, 1, 2)]
    assert data.edge_data[buys]["weight"].tolist() == [0.5, 1, 2]
    assert data.splits["user"]["train"].tolist() == [0, 2]
    assert data.splits[etype_key(buys)]["val"].tolist() == [1, 2]


def test_rows_in_no_order_and_parallel_edges_keep_their_data(tmp_path):
    arrays = {"indptr": np.array([0, 4, 5]), "indices": np.array([1, 0, 1, 0, 1]),
              "edge_weight": np.array([10.0, 11, 12, 13, 14])}
    partition_graph(save(tmp_path, arrays, "npy"), tmp_path / "g", 1, "range")
    from mpignn.storage.read import GraphFile
    with GraphFile(tmp_path / "g") as graph:
        weight, indices = np.empty(5), np.empty(5, np.int32)
        graph.read("edge/_N:_E:_N/data/weight", 0, 5, weight)
        graph.read("edge/_N:_E:_N/indices", 0, 5, indices)
    assert indices.tolist() == [0, 0, 1, 1, 1] and weight.tolist() == [11, 13, 10, 12, 14]


def test_a_bundled_data_set_is_read_by_its_name():
    data = read_source("wordnet")
    (etype,) = data.schema.etypes
    assert data.num_nodes[etype[0]] > 100_000 and set(data.splits[etype[0]]) == {"train", "val", "test"}


def changed(base, changes):
    """``base`` with some arrays replaced, and those that are None left out."""
    return {name: array for name, array in (base | changes).items() if array is not None}


BAD_FLAT = {
    "indices[2] = 4 but there are 4 sources": {"indices": np.array([1, 3, 4, 2, 2])},
    "indices[0] = -1 but there are 4 sources": {"indices": np.array([-1, 3, 4, 2, 2])},
    "indptr falls from 3 to 2 at row 1": {"indptr": np.array([0, 3, 2, 3, 5])},
    "indptr goes from 0 to 6, expected from 0 to the 5 entries": {"indptr": np.array([0, 2, 2, 3, 6])},
    "indptr goes from 1 to 5": {"indptr": np.array([1, 2, 2, 3, 5])},
    "indices must be integers in one dimension, got float64": {"indices": np.ones(5)},
    "labels has shape (3,), expected one row for each of 4 nodes": {"labels": np.zeros(3, int)},
    "train_mask: expected one entry for each of 4, got shape (5,)": {"train_mask": np.zeros(5, bool)},
    "train_mask: expected booleans, or 0 and 1": {"train_mask": np.array([0, 1, 2, 0])},
    "_N/features: node 2 has nan, which is not finite": {"features": np.array([[1, 2], [3, 4], [5, np.nan], [7, 8]])},
    "_N/features: node 0 has inf": {"features": np.array([np.inf, 0, 0, 0])},
    "_N:_E:_N/prob: edge 3 has nan, which is not finite": {"edge_prob": np.array([0, 1, 1, np.nan, 1])},
    "_N:_E:_N/prob: edge 1 has -0.5, which is negative": {"edge_prob": np.array([0, -0.5, 1, 1, 1])},
    "node 3 is in a split but has the label -1": {"labels": np.array([0, 1, -1, -1])},
    "edge_prob has shape (3,), expected one row for each of 4 nodes or 5 edges": {"edge_prob": np.ones(3)},
    "_N/year: data of type complex128 cannot be stored": {"year": np.ones(4, complex)},
    "_N/year: data of type <U1 cannot be stored": {"year": np.array(list("abcd"))},
    "_N/year: a row must have at least one element": {"year": np.ones((4, 0))},
    "no edges found; expected indptr and indices, or src and dst": {"indptr": None},
    "one dimension, got int64 of shape (5, 1)": {"indices": INDICES[:, None]},
}


@pytest.mark.parametrize("why", BAD_FLAT)
def test_a_flat_source_that_is_not_sound_is_refused_and_nothing_written(why, tmp_path):
    source = save(tmp_path, changed(FLAT, BAD_FLAT[why]), "npy")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=re.escape(why)):
        partition_graph(source, tmp_path / "g", 2, "range")
    assert sorted(tmp_path.rglob("*")) == before


BAD_HETERO = {
    "src[1] = 3 but there are 3 nodes": {"edge/user:buys:item/src": np.array([2, 3, 2])},
    "dst[0] = -1 but there are 2 nodes": {"edge/user:buys:item/dst": np.array([-1, 1, 0])},
    "src has 2 entries and dst 3": {"edge/user:buys:item/src": np.array([2, 1])},
    "num_nodes/item is missing, but there are edges": {"num_nodes/item": None},
    "'edge/x/y/z/w' has no meaning": {"edge/x/y/z/w": np.ones(1)},
    "is not of the form source:relation:destination": {"edge/buys/src": np.ones(1, int)},
    "node data is given for 'users'": {"node/users/features": np.ones(3)},
    "split 'train' of 'user': id 3 is not in 0..2": {"split/user/train": np.array([3, 1])},
    "split 'train' of 'user': id 1 is not above the one before it": {"split/user/train": np.array([1, 1])},
    "a split is given for 'shop'": {"split/shop/train": np.array([0])},
    "user:buys:item/weight: edge 0 has -1.0, which is negative": {
        "edge/user:buys:item/data/weight": np.array([-1.0, 1, 2])},
    "indptr has 3 entries, expected 4": {"edge/item:of:user/indptr": np.array([0, 1, 3])},
    "num_nodes/item must be one integer": {"num_nodes/item": np.array([2, 2])},
}


@pytest.mark.parametrize("why", BAD_HETERO)
def test_a_typed_source_that_is_not_sound_is_refused(why, tmp_path):
    with pytest.raises(DataError, match=re.escape(why)):
        read_source(save(tmp_path, changed(HETERO, BAD_HETERO[why]), "npz"))


def test_what_cannot_be_read_at_all_is_refused_with_what_could(tmp_path):
    with pytest.raises(DataError, match="no such file or folder, .*expected .*an .mtx file; a folder of .*wordnet"):
        read_source(tmp_path / "nothing")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(DataError, match="not an .npz file that can be read"):
        read_source(tmp_path / "text.npz")
    np.save(tmp_path / "single.npy", np.ones(3))
    with pytest.raises(DataError, match="a single array is not a graph"):
        read_source(tmp_path / "single.npy")
    (tmp_path / "graph.xml").write_text("text")
    with pytest.raises(DataError, match="graph.xml: no form of a graph has such a name; expected"):
        read_source(tmp_path / "graph.xml")
    with pytest.raises(DataError, match="nothing in this folder says .* expected"):
        (tmp_path / "empty").mkdir()
        read_source(tmp_path / "empty")
    folder = save(tmp_path, FLAT, "npy")
    with open(folder / "features.npy", "r+b") as file:
        file.truncate(100)
    with pytest.raises(DataError, match="features.npy: not an array that can be read"):
        read_source(folder)


def test_a_damaged_or_pickled_array_is_refused(tmp_path):
    source = save(tmp_path, FLAT | {"names": np.array(["a", 1, None, 2], object)}, "npy")
    with pytest.raises(DataError, match="names.npy: not an array that can be read"):
        read_source(source)
    np.savez(tmp_path / "g.npz", **FLAT)
    raw = bytearray((tmp_path / "g.npz").read_bytes())
    place = raw.index(FLAT["features"].tobytes())
    raw[place] ^= 1
    (tmp_path / "g.npz").write_bytes(raw)
    with pytest.raises(DataError, match="g.npz: features: not an array that can be read: Bad CRC-32"):
        read_source(tmp_path / "g.npz")


@pytest.mark.parametrize("offset, value", [(6, 1), (8, 99)])        # of a zip's local header: encrypted; how compressed
@pytest.mark.parametrize("arrays, why", [
    (FLAT, "not an array that can be read"),
    ({"format": np.array(b"coo"), "shape": np.array([3, 3]), "data": np.ones(3), "row": np.arange(3),
      "col": np.arange(3)}, "not a sparse matrix that can be read")])
def test_an_npz_file_that_is_locked_or_compressed_in_another_way_is_refused(arrays, why, offset, value, tmp_path):
    np.savez(tmp_path / "g.npz", **arrays)
    raw = bytearray((tmp_path / "g.npz").read_bytes())
    for mark, place in ((b"PK\3\4", offset), (b"PK\1\2", offset + 2)):
        for found in re.finditer(re.escape(mark), bytes(raw)):
            raw[found.start() + place] = value
    (tmp_path / "g.npz").write_bytes(raw)
    with pytest.raises(DataError, match=f"g.npz: .*{why}|g.npz: {why}"):
        read_source(tmp_path / "g.npz")
    (tmp_path / "g.npz").rename(tmp_path / "src.npy")
    with pytest.raises(DataError, match="src.npy: not an array that can be read: it holds several"):
        read_source(tmp_path)


@pytest.mark.parametrize("labels", [np.array([0.5, np.nan, 1, 2]), np.array([[0, 1], [-1, 1], [0, -1], [1, 1]]),
                                    np.array([[0, 1], [np.nan, 1], [0, np.nan], [1, 1]])])
def test_entries_of_labels_that_are_not_known_are_taken_in_splits_too(tmp_path, labels):
    data = read_source(save(tmp_path, FLAT | {"labels": labels, "train_mask": np.ones(4, bool)}, "npy"))
    assert np.array_equal(data.node_data[NTYPE]["labels"], labels, equal_nan=labels.dtype.kind == "f")


def test_unknown_labels_outside_the_splits_are_taken(tmp_path):
    for number, labels in enumerate((np.array([0, 1, -1, 0]), np.array([0, 1, np.nan, 0]))):
        (tmp_path / str(number)).mkdir()
        data = read_source(save(tmp_path / str(number), FLAT | {"labels": labels}, "npy"))
        assert data.node_data[NTYPE]["labels"].tolist() == [0, 1, -1, 0]


@pytest.mark.parametrize("where, why", [("num_nodes", "cannot be the name"), ("node_data", "cannot be the name"),
                                        ("csc", "'ghost' is not a node type"), ("edge_ids", "each of 0..159 once")])
def test_graphs_in_memory_are_checked_too(where, why, tmp_path):
    from dataclasses import replace
    data = random_graph() if where != "csc" else random_hetero_graph()
    if where == "num_nodes":
        data = replace(data, num_nodes={"a/b": 40})
    elif where == "node_data":
        data.node_data[NTYPE]["a/b"] = np.ones(40)
    elif where == "csc":
        data.csc[("ghost", "cites", "paper")] = data.csc[("author", "writes", "paper")]
    else:
        data.csc[ETYPE] = replace(data.csc[ETYPE], edge_ids=np.zeros(160, np.int64))
    with pytest.raises(DataError, match=why):
        partition_graph(data, tmp_path / "g", 2, "range")


def test_a_graph_may_be_a_dict_of_arrays_of_any_kind():
    for arrays in (FLAT, HETERO):
        as_lists = {name: np.asarray(array).tolist() for name, array in arrays.items()}
        assert source_id(read_source(as_lists)) == source_id(read_source(arrays))


def test_an_object_that_is_no_graph_is_refused_with_what_could_be():
    with pytest.raises(DataError, match=r"builtins.list is no graph that can be read; expected .*a dict of arrays"):
        read_source([[0, 1], [1, 0]])


def test_the_documentation_lists_every_form():
    text = (Path(__file__).parents[2] / "docs/guide/data.md").read_text()
    tables = re.findall(r"^\| source \|.*\n.*\n((?:\|.*\n)*)", text, re.MULTILINE)
    listed = [row.split(" | ")[0].removeprefix("| ").replace("`", "") for table in tables for row in table.splitlines()]
    assert sorted(listed) == sorted(form.words for form in forms())


def test_an_hdf5_file_that_is_no_graph_is_refused(tmp_path):
    path = save(tmp_path, FLAT | {"names": [b"a", b"b", b"c", b"d"]}, "h5")
    with pytest.raises(DataError, match="_N/names: data of type object cannot be stored"):
        read_source(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="graph.h5: cannot be read, the file is damaged .*; write it again, in HDF5"):
        read_source(path)


def test_a_damaged_hdf5_file_is_refused_or_read_and_never_a_traceback(tmp_path):
    path = save(tmp_path, HETERO, "h5")
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(300):
        raw = np.frombuffer(whole, np.uint8).copy()
        raw[rng.integers(len(raw), size=12)] ^= rng.integers(1, 256, 12).astype(np.uint8)
        path.write_bytes(raw.tobytes())
        try:
            read_source(path)
        except DataError:
            refused += 1
    assert refused > 100


def test_an_hdf5_array_of_several_names_counts_by_each(tmp_path):
    path = save(tmp_path, {"src": np.array([0, 1]), "dst": np.array([1, 2]), "year": np.arange(3)}, "h5")
    with h5py.File(path, "a") as file:
        file["time"], file["labels"] = file["year"], h5py.SoftLink("/year")
    found = {name: array.tolist() for name, array in read_source(path).node_data[NTYPE].items()}
    assert found == dict.fromkeys(("year", "time", "labels"), [0, 1, 2])


@pytest.mark.parametrize("link, why", [
    (h5py.SoftLink("/nowhere"), "more is a link to /nowhere, which is not there"),
    (h5py.ExternalLink("other.h5", "/year"), "more is a link into another file, other.h5"),
    (h5py.SoftLink("/"), "more is a link to a group that holds it")])
def test_an_hdf5_link_that_leads_to_no_array_of_the_file_is_refused(link, why, tmp_path):
    path = save(tmp_path, FLAT, "h5")
    with h5py.File(path, "a") as file:
        file["more"] = link
    with pytest.raises(DataError, match=f"graph.h5: {why}"):
        read_source(path)


@pytest.mark.parametrize("layout", ["coo", "csr", "csc", "bsr", "dia"])
def test_a_matrix_that_scipy_has_saved_is_read(layout, tmp_path):
    dense = np.array([[0, 2, 0], [0, 0, 0], [3, 0, 4.0]])
    sparse.save_npz(tmp_path / "graph.npz", sparse.csr_array(dense).asformat(layout))
    data = read_source(tmp_path / "graph.npz")
    found = [(src, dst, data.edge_data[ETYPE]["value"][edge]) for dst, src, edge in edge_list(data, ETYPE)]
    assert [entry for entry in sorted(found) if entry[2]] == [(0, 1, 2), (2, 0, 3), (2, 2, 4)]


@pytest.mark.parametrize("layout, pairs", [("coo", [(0, 0), (1, 1)]), ("csr", [(0, 0), (1, 1)]),
                                           ("csc", [(0, 0), (1, 1)]), ("dia", [(1, 1)]),
                                           ("bsr", [(0, 0), (0, 1), (1, 0), (1, 1)])])
def test_entries_of_a_matrix_that_are_zero_are_edges_as_the_layout_has_it(layout, pairs):
    made = sparse.coo_array((np.array([0.0, 1]), (np.arange(2), np.arange(2))), shape=(2, 2))
    made = made.tobsr((2, 2)) if layout == "bsr" else made.asformat(layout)
    assert sorted((src, dst) for dst, src, _ in edge_list(read_source(made), ETYPE)) == pairs


@pytest.mark.parametrize("change, why", [({"indices": None}, "not a sparse matrix that can be read"),
                                         ({"indices": np.array([0, 1, 9])}, "not a sparse matrix that is sound"),
                                         ({"indptr": np.array([0, 9, 2, 3])}, "not a sparse matrix that is sound"),
                                         ({"format": np.array(b"any")}, "not a sparse matrix that can be read"),
                                         ({"shape": np.array([3, 4])}, "expected one with as many rows as columns")])
def test_a_matrix_file_that_is_no_graph_is_refused(change, why, tmp_path):
    arrays = {"format": np.array(b"csr"), "shape": np.array([3, 3]), "data": np.ones(3), "indices": np.arange(3),
              "indptr": np.array([0, 1, 2, 3])}
    with pytest.raises(DataError, match=why):
        read_source(save(tmp_path, changed(arrays, change), "npz"))


def write_matrix(path, header: str, *lines: str):
    path.write_text("\n".join([f"%%MatrixMarket matrix {header}", "% a comment", *lines, ""]))
    return path


def test_a_sparse_matrix_is_read_and_partitioned(tmp_path):
    path = write_matrix(tmp_path / "graph.mtx", "coordinate real general", "4 4 3", "1 2 0.5", "4 2 2", "3 1 -1")
    data = read_source(path)
    assert data.num_nodes == {NTYPE: 4} and edge_list(data, ETYPE) == [(0, 2, 2), (1, 0, 0), (1, 3, 1)]
    assert data.edge_data[ETYPE]["value"].tolist() == [0.5, 2, -1]
    partition_graph(path, tmp_path / "out", 2)
    assert check(tmp_path / "out") == []


def test_a_symmetric_matrix_has_both_ways_and_a_pattern_no_values(tmp_path):
    data = read_source(write_matrix(tmp_path / "g.MTX", "coordinate pattern symmetric", "3 3 2", "2 1", "3 3"))
    assert [(dst, src) for dst, src, _ in edge_list(data, ETYPE)] == [(0, 1), (1, 0), (2, 2)] and not data.edge_data


@pytest.mark.parametrize(("header", "lines", "part"), [
    ("coordinate real general", ("2 3 1", "1 1 1"), "coordinate matrix of 2 x 3, real; expected a sparse one"),
    ("array real general", ("1 1", "1"), "array matrix of 1 x 1"),
    ("coordinate complex general", ("1 1 1", "1 1 1 0"), "complex; expected a sparse one"),
    ("coordinate real general", ("2 2 1", "1 3 1"), "not a Matrix Market file that can be read"),
    ("coordinate real general", ("2 2 2", "1 1 1"), "not a Matrix Market file that can be read"),
    ("coordinate real general", ("2 2 1", "1 1 x"), "not a Matrix Market file that can be read"),
    ("nothing", (), "not a Matrix Market file that can be read")])
def test_a_matrix_that_is_no_graph_is_refused(tmp_path, header, lines, part):
    with pytest.raises(DataError, match=part):
        read_source(write_matrix(tmp_path / "graph.mtx", header, *lines))
