"""Partitioning by passes over the nodes, against loops and against a library."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import graphs
from mpignn.graph.types import NTYPE
from mpignn.kernels.stream import find_leads, refine, stream
from mpignn.partition.assign import assign
from mpignn.partition.loads import Loads
from mpignn.partition.union import union_graph
from mpignn.storage.sources import read_source
from mpignn.storage.synth import make_graph


def cut_of(indptr, indices, parts):
    return np.mean(np.repeat(parts, np.diff(indptr)) != parts[indices]) if indices.size else 0.0


def neighbors_in(indptr, indices, parts, node, num_parts):
    there = parts[indices[indptr[node]:indptr[node + 1]]]
    return np.bincount(there[there >= 0], minlength=num_parts)


@given(graphs(max_nodes=12), st.integers(2, 5), st.integers(0, 9))
def test_a_pass_gives_what_a_loop_gives(data, num_parts, seed):
    indptr, indices = union_graph(data)
    count, draws = indptr.size - 1, np.random.default_rng(seed)
    order, room = draws.permutation(count), -(-count // num_parts)
    for before in (np.full(count, -1), draws.integers(0, num_parts, count)):
        expected, sizes = before.copy(), np.zeros(num_parts, np.int64)
        for node in order:
            gain = neighbors_in(indptr, indices, expected, node, num_parts) * (1 - sizes / room)
            gain[sizes == room] = -1
            best = np.flatnonzero(gain == gain.max())
            expected[node] = best[sizes[best].argmin()]
            sizes[expected[node]] += 1
        found = before.copy()
        stream(indptr, indices, order, room, num_parts, found)
        assert np.array_equal(found, expected)


@given(graphs(max_nodes=12), st.integers(2, 5), st.integers(0, 9))
def test_leads_are_those_of_sorted_counts(data, num_parts, seed):
    indptr, indices = union_graph(data)
    parts = np.random.default_rng(seed).integers(0, num_parts, indptr.size - 1)
    leads = np.empty_like(parts)
    find_leads(indptr, indices, num_parts, parts, leads)
    for node in range(parts.size):
        there = np.sort(neighbors_in(indptr, indices, parts, node, num_parts))
        assert leads[node] == there[-1] - there[-2]


@given(graphs(max_nodes=12), st.integers(2, 4), st.integers(0, 9))
def test_refining_cuts_less_and_loads_none_above_its_limit(data, num_parts, seed):
    indptr, indices = union_graph(data)
    count, draws = indptr.size - 1, np.random.default_rng(seed)
    parts = draws.integers(0, num_parts, count)
    first = np.arange(0, 2 * count + 1, 2)
    columns, amounts = np.tile(np.array([0, 1], np.int32), count), draws.integers(0, 4, 2 * count)
    loads = np.array([np.bincount(parts, amounts[c::2], num_parts) for c in range(2)]).astype(np.int64)
    limits, before, cut = loads.max(1), loads.copy(), cut_of(indptr, indices, parts)
    moved = refine(indptr, indices, draws.permutation(count), first, columns, amounts, limits, loads, parts)
    again = np.array([np.bincount(parts, amounts[c::2], num_parts) for c in range(2)])
    assert np.array_equal(loads, again)
    assert (loads.max(1) <= limits).all()
    assert cut_of(indptr, indices, parts) < cut if moved else np.array_equal(loads, before)


@pytest.mark.parametrize("count, most", [(1000, 257), (10, 3)])
def test_partitions_are_up_to_three_percent_or_one_node_larger_than_the_mean(count, most):
    hub, leaves = count - 1, np.arange(count - 1)       # where all leaves would go
    indptr, indices = np.append(np.arange(count), 2 * hub), np.concatenate([np.full(hub, hub), leaves])
    loads = Loads(np.arange(count) % 4, 4, [("nodes", np.ones(count, np.int64))])
    loads.allow(0.03)
    loads.refine(indptr, indices)
    assert np.bincount(loads.parts).max() == np.bincount(loads.parts)[loads.parts[hub]] == most


@pytest.mark.parametrize("method", ["ldg", "propagation"])
@pytest.mark.parametrize("num_parts", [4, 16])
def test_methods_of_ours_cut_at_most_half_as_much_again_as_a_library(tmp_path, num_parts, method):
    make_graph(tmp_path / "graph", 4000, 20, block_size=100)
    data = read_source(tmp_path / "graph")
    indptr, indices = union_graph(data)
    parts = {name: assign(data, num_parts, name)[NTYPE] for name in (method, "kaminpar", "random")}
    cuts = {name: cut_of(indptr, indices, of) for name, of in parts.items()}
    assert cuts[method] <= 1.5 * cuts["kaminpar"] < 1.5 * cuts["random"]
    assert np.bincount(parts[method]).max() <= 1.03 * parts[method].size / num_parts
