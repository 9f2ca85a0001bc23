"""Data of a graph, seen as tensors that are read only."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from services import make_graph, serve

from mpignn.errors import CommError, ConfigError, IDError
from mpignn.store.graph_tensor import GraphTensor


@pytest.fixture(scope="module")
def served():
    nodes = np.arange(10)
    graph = make_graph({"_N": 10}, {("_N", "_E", "_N"): (nodes, nodes[::-1])})
    features = np.arange(60, dtype=np.float32).reshape(10, 3, 2)
    return serve(replace(graph, node_data={"_N": {"x": features, "y": nodes}}), parts=3, servers=2)


@pytest.fixture
def x(served):
    return GraphTensor(*served.published.node_data("_N", "x"), name="x", part_policy="_N")


def test_rows_come_in_the_order_asked_for_in_the_shape_of_a_row(served, x):
    whole = np.arange(60, dtype=np.float32).reshape(10, 3, 2)[served.orig["_N"]]
    assert (x.shape, x.dtype, len(x), x.part_policy, x.name) == ((10, 3, 2), torch.float32, 10, "_N", "x")
    for index in ([3, 3, 0], slice(None), slice(8, 1, -3), whole[:, 0, 0] > 25, 4, np.arange(0)):
        np.testing.assert_array_equal(x[index], whole[index])
    assert x[[3, 3]].is_contiguous() and x[[]].shape == (0, 3, 2)
    labels = GraphTensor(*served.published.node_data("_N", "y"), name="y")
    np.testing.assert_array_equal(labels[:], served.orig["_N"])


def test_what_is_read_is_a_copy(x):
    before = x[[1]].clone()
    x[[1]].zero_()
    torch.testing.assert_close(x[[1]], before)


@pytest.mark.parametrize("write", [lambda x: x.__setitem__([0], 1.0), lambda x: x.__setitem__([], 1.0),
                                   lambda x: x.add_([0], 1.0), lambda x: x.max_([0], 1.0)])
def test_writing_is_refused(x, write):
    with pytest.raises(CommError, match="x is data of the graph, which is read only"):
        write(x)


@pytest.mark.parametrize("make", [lambda x: x | x, lambda x: x.beside("mark")])
def test_a_tensor_without_trainers_makes_no_other(x, make):
    with pytest.raises(ConfigError, match="x does not know the trainers"):
        make(x)


def test_the_first_bad_row_is_named(x):
    with pytest.raises(IDError, match="10 is not in 0..9"):
        x[[0, 10, 11]]


@pytest.mark.filterwarnings("error")
def test_rows_of_the_node_are_seen_in_place(x):
    assert x.local_ids.tolist() == list(range(10))
    torch.testing.assert_close(x.local, x[x.local_ids])
    assert x.local.data_ptr() == x.local.data_ptr()
