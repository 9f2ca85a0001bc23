"""Partitioning by label propagation, against loops and against a library."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from test_stream import cut_of

from graphs import graphs
from mpignn.kernels.propagate import join, most_common, move
from mpignn.partition.metis import cut_by_metis
from mpignn.partition.neighbors import Neighbors
from mpignn.partition.propagation import cut_by_propagation
from mpignn.partition.union import union_graph


def seen(indptr, indices, nodes, labels, told):
    found, counts = np.empty((nodes.size, told), np.int64), np.empty((nodes.size, told), np.int32)
    most_common(indptr, indices, nodes, labels, found, counts)
    return found, counts


@given(graphs(max_nodes=14), st.integers(1, 4), st.integers(1, 6), st.integers(0, 9))
def test_the_most_common_labels_are_those_of_sorted_counts(data, told, num_labels, seed):
    indptr, indices = union_graph(data)
    draws = np.random.default_rng(seed)
    labels, nodes = draws.integers(0, num_labels, indptr.size - 1), draws.permutation(indptr.size - 1)[:9]
    found, counts = seen(indptr, indices, nodes, labels, told)
    for node, of_node, how_often in zip(nodes, found, counts, strict=True):
        there = np.bincount(labels[indices[indptr[node]:indptr[node + 1]]], minlength=num_labels)
        wanted = sorted((-count, label) for label, count in enumerate(there) if count)[:told]
        wanted += [(0, -1)] * (told - len(wanted))
        assert [(-int(count), int(label)) for count, label in zip(how_often, of_node, strict=True)] == wanted


@given(graphs(max_nodes=14), st.integers(2, 5), st.integers(0, 9))
def test_labels_grow_up_to_their_limit_and_nothing_is_lost(data, limit, seed):
    indptr, indices = union_graph(data)
    count = indptr.size - 1
    labels, sizes, nodes = np.arange(count), np.ones(count, np.int64), np.random.default_rng(seed).permutation(count)
    for _ in range(3):
        before = labels.copy()
        moved = join(nodes, *seen(indptr, indices, nodes, labels, 3), limit, sizes, labels)
        assert np.array_equal(sizes, np.bincount(labels, minlength=count)) and sizes.max() <= limit
        assert np.count_nonzero(before != labels) == moved


@given(graphs(max_nodes=14), st.integers(2, 4), st.integers(0, 9))
def test_moves_cut_less_or_make_room_where_there_is_too_much(data, num_parts, seed):
    indptr, indices = union_graph(data)
    count, draws = indptr.size - 1, np.random.default_rng(seed)
    parts = draws.integers(0, num_parts, count)
    sizes, limit = np.bincount(parts, minlength=num_parts), -(-count // num_parts)
    for node in draws.permutation(count):
        one = np.array([node])
        over, cut, own = sizes[parts[node]] > limit, cut_of(indptr, indices, parts), parts[node]
        moved = move(one, *seen(indptr, indices, one, parts, 8), limit, sizes, parts)
        assert np.array_equal(sizes, np.bincount(parts, minlength=num_parts))
        assert moved == (parts[node] != own) and (moved or not over)
        assert not moved or sizes[parts[node]] <= limit
        assert not moved or over or cut_of(indptr, indices, parts) < cut


@given(graphs(max_nodes=20, max_edges=40), st.integers(2, 5), st.integers(0, 3))
def test_no_partition_has_more_than_three_percent_or_one_node_above_the_mean(data, num_parts, seed):
    parts = cut_by_propagation(Neighbors.of(data), num_parts, seed)
    count = sum(data.num_nodes.values())
    assert parts.shape == (count,) and set(parts) <= set(range(num_parts))
    assert np.bincount(parts).max() <= max(int(1.03 * count / num_parts), -(-count // num_parts))


def test_weights_are_what_metis_balances_and_cuts():
    """Two heavy nodes on a path of four: each goes with a light one, and the heavy edge is not cut."""
    indptr, indices = np.array([0, 1, 3, 5, 6]), np.array([1, 0, 2, 1, 3, 2])
    parts = cut_by_metis(indptr, indices, 2, 0, np.array([50, 1, 1, 50]), np.array([9, 9, 1, 1, 9, 9]))
    assert parts[0] == parts[1] != parts[2] == parts[3]
