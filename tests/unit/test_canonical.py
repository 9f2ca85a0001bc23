"""The form in which numbers are stored, whatever form they come in."""

import re

import numpy as np
import pytest
import torch

from graphs import random_graph
from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.graph.types import ETYPE, NTYPE, GraphData
from mpignn.storage.canonical import canonical
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

INTEGERS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u2", ">i4", ">i8", ">u8")
FLAT = {"src": np.array([0, 1, 2, 3, 0]), "dst": np.array([1, 2, 3, 0, 2]), "labels": np.array([0, 1, 1, 0]),
        "features": np.array([[1, 0], [0, 1], [1, 1], [0, 0]], np.float32), "train_mask": np.array([1, 0, 0, 1], bool)}


def cut(folder, **changes):
    """The bytes of a flat source's partitions, some of its arrays replaced."""
    np.savez(folder / "source.npz", **(FLAT | changes))
    out = folder / f"graph{len(list(folder.iterdir()))}"
    partition_graph(folder / "source.npz", out, 2, "range")
    return {path.name: path.read_bytes() for path in out.iterdir()}


def stored(splits=None, keep_dtype=False, **data):
    """Node data of a graph of four nodes, in canonical form."""
    found = canonical(GraphData({NTYPE: 4}, {ETYPE: CSC(np.zeros(5, int), np.empty(0, int))}, {NTYPE: data}, {},
                                {NTYPE: splits or {}}), keep_dtype)
    return {name: np.asarray(array) for name, array in found.node_data[NTYPE].items()}


def refused(**data):
    with pytest.raises(DataError) as caught:
        stored(**data)
    return str(caught.value)


def test_equal_numbers_of_any_type_and_layout_give_equal_bytes(tmp_path):
    wanted = cut(tmp_path)
    for dtype in (*INTEGERS, "f2", "f4", "f8", ">f8", "g"):
        assert cut(tmp_path, labels=FLAT["labels"].astype(dtype)) == wanted, dtype
        assert cut(tmp_path, train_mask=FLAT["train_mask"].astype(dtype)) == wanted, dtype
        assert dtype == "f2" or cut(tmp_path, features=FLAT["features"].astype(dtype)) == wanted, dtype
    for name in ("labels", "train_mask"):
        assert cut(tmp_path, **{name: FLAT[name][:, None]}) == wanted
    assert cut(tmp_path, features=FLAT["features"].astype(bool)) == wanted
    assert cut(tmp_path, features=np.asfortranarray(FLAT["features"].astype(float))) == wanted
    assert cut(tmp_path, num_nodes=np.float64(4)) == wanted
    for dtype in ("u4", "u8", ">i8", ">u8", ">u4"):        # those of two bytes and less are as int32
        assert cut(tmp_path, src=FLAT["src"].astype(dtype), dst=FLAT["dst"].astype(dtype)) == wanted, dtype


@pytest.mark.parametrize("dtype", INTEGERS)
def test_edges_of_any_integers_are_the_same_edges(dtype, tmp_path):
    np.savez(tmp_path / "g.npz", **(FLAT | {end: FLAT[end].astype(dtype) for end in ("src", "dst")}))
    found = read_source(tmp_path / "g.npz").csc[ETYPE]
    assert found.indptr.tolist() == [0, 1, 2, 4, 5] and found.indices.tolist() == [3, 0, 0, 1, 2]
    in_memory = CSC(found.indptr.astype(dtype), found.indices.astype(dtype), np.arange(5).astype(dtype))
    data = canonical(GraphData({NTYPE: np.uint8(4)}, {ETYPE: in_memory}))
    assert all(getattr(data.csc[ETYPE], name).dtype in (np.int32, np.int64)
               for name in ("indptr", "indices", "edge_ids"))


@pytest.mark.parametrize(("labels", "wanted"), [
    ([0, 1, np.nan, 2], [0, 1, -1, 2]), ([0, 1, -1, 2], [0, 1, -1, 2]), ([[0], [1], [-1], [2]], [0, 1, -1, 2]),
    ([np.nan] * 4, [-1] * 4), ([True, False, True, True], [1, 0, 1, 1]), (torch.tensor([0, 1, -1, 2]), [0, 1, -1, 2]),
    (torch.tensor([[0.0], [1], [torch.nan], [2]]), [0, 1, -1, 2]),
])
def test_classes_are_int64_and_minus_1_where_unknown(labels, wanted):
    found = stored(labels=labels)["labels"]
    assert found.dtype == np.int64 and found.tolist() == wanted


@pytest.mark.parametrize("labels", [[0.5, 1, 2, 3], [-1.0, 1, 2, 3], [1e30, 0, 0, 0], [0.5, np.nan, 0, 1],
                                    [[0.0, 1]] * 4])
def test_numbers_to_predict_stay_numbers(labels):
    found = stored(labels=np.array(labels, np.float32))["labels"]
    assert found.dtype == np.float32 and np.array_equal(found, np.array(labels, np.float32), equal_nan=True)
    assert stored(labels=np.array([[0.5]] * 4))["labels"].shape == (4,)


def test_whole_numbers_of_which_a_split_lacks_some_are_numbers_to_predict(caplog):
    """A class of a seed is known; a number to predict need not be."""
    labels = np.array([3, np.nan, 1, np.nan])
    found = stored({"train": np.array([0]), "val": np.array([2, 3])}, labels=labels)["labels"]
    assert found.dtype == np.float32 and np.array_equal(found, labels, equal_nan=True)
    assert "_N/labels: 1 of split val are NaN, so these are stored as numbers to predict" in caplog.text
    assert stored({"train": np.array([0, 2])}, labels=labels)["labels"].tolist() == [3, -1, 1, -1]


def test_numbers_to_predict_are_float32_as_what_a_model_says_is():
    labels = np.array([0.1, np.nan, 1e9 + 1, -2])
    for given in (labels, labels[:, None], labels.astype(">f8"), labels.astype("g")):
        found = stored(labels=given)["labels"]
        assert found.dtype == np.float32 and np.array_equal(found, labels.astype(np.float32), equal_nan=True)
    assert stored(labels=np.array([0.5, 1, 2, 3], np.float16))["labels"].dtype == np.float16
    kept = stored(keep_dtype=True, labels=labels.astype(">f8"))["labels"]
    assert kept.dtype == np.float64 and np.array_equal(kept, labels, equal_nan=True)
    assert "_N/labels: node 1 has 1e+300, which float32 does not hold" in refused(labels=np.array([0, -1e300, 1, 2])
                                                                                  * -1)


def test_rows_are_float32_and_columns_keep_what_they_need():
    when = np.array([1.7e9, 1.7e9 + 1, 0, 1])
    found = stored(features=np.arange(4), more=np.eye(4), ids=np.arange(8, dtype="u4").reshape(4, 2), when=when,
                   half=np.ones((4, 2), np.float16), flags=np.ones((4, 2), bool))
    assert found["features"].dtype == np.float32 and found["features"].tolist() == [[0], [1], [2], [3]]
    assert {name: str(array.dtype) for name, array in found.items()} == {
        "features": "float32", "more": "float32", "ids": "int64", "when": "float64", "half": "float16", "flags": "bool"}
    assert np.array_equal(found["when"], when)


def test_what_cannot_be_stored_exactly_is_refused_with_its_row():
    assert "_N/labels[2] = 18446744073709551615 is more than int64 holds" in refused(
        labels=np.array([0, 1, 2**64 - 1, 0], np.uint64))
    assert "_N/labels: labels of type <U1 cannot be learnt: give each node the number" in refused(labels=list("abcd"))
    assert "node 3 has 16777217, which float32 does not hold" in refused(features=np.array([0, 1, 2, 2**24 + 1]))
    assert "node 1 has 1e+300, which float32 does not hold" in refused(more=np.array([[0], [1e300], [0], [0]]))
    assert "node 0 has 9223372036854775807, which" in refused(features=np.full((4, 1), 2**63 - 1))
    assert "_N/x: cannot be read as an array" in refused(x=[[1, 2], [3], [4], [5]])


BAD = {"src[4] = 18446744073709551615 is more than int64 holds": {"src": np.array([0, 1, 2, 3, 2**64 - 1], np.uint64)},
       "src must be integers in one dimension, got float64 of shape (5,): store": {"src": np.ones(5)},
       "train_mask: expected booleans, or 0 and 1, got nan at 1": {"train_mask": np.array([1, np.nan, 0, 0])},
       "shape (2,); ids are made a mask by": {"train_mask": np.array([0, 3])},
       "num_nodes must be one integer": {"num_nodes": np.array(4.5)},
       "it holds Python objects": {"names": np.array(["a", None, 1, 2], object)}}


@pytest.mark.parametrize("why", BAD)
def test_a_source_of_the_wrong_numbers_is_refused(why, tmp_path):
    with pytest.raises(DataError, match=re.escape(why)):
        cut(tmp_path, **BAD[why])


def test_a_graph_without_edges_may_have_lists_that_say_nothing(tmp_path):
    np.savez(tmp_path / "g.npz", **(FLAT | {"src": [], "dst": []}))
    assert read_source(tmp_path / "g.npz").csc[ETYPE].num_edges == 0


def test_types_are_kept_if_asked_but_those_of_labels(tmp_path):
    data = random_graph(1, 10, 20)
    data.node_data[NTYPE] |= {"features": np.eye(10, dtype=np.uint8), "labels": np.arange(10, dtype=np.uint8)}
    partition_graph(data, tmp_path / "g", 2, "range", keep_dtype=True)
    with GraphFile(tmp_path / "g") as graph:
        assert graph.infos["node/_N/data/features"].dtype == np.uint8
        assert graph.infos["node/_N/data/labels"].dtype == np.int64
