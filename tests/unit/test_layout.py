"""Where rows lie in a node's memory, and what is read for some of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.mpi.layout import ALIGN, Layouts, chunks, cut_rows, lay_out, merge
from mpignn.roles import Topology, assign_roles
from transport_suite import specs

rows_and_size = st.tuples(st.lists(st.integers(0, 300), min_size=1, max_size=40, unique=True).map(sorted),
                          st.sampled_from([(4, 4), (16, 8), (12, 12)]))


@given(rows_and_size, st.integers(0, 100), st.integers(0, 50))
def test_stretches_bring_every_row_to_its_place(rows, landed, gap):
    rows, (size, step) = rows
    memory = np.random.default_rng(0).integers(0, 256, 300 * 16 + 16).astype(np.uint8)
    starts = np.array(rows) * step
    begins, sizes, places = merge(starts, size, landed, gap)
    stretches = [memory[b:b + n] for b, n in zip(begins, sizes, strict=True)]
    landing = np.concatenate([np.zeros(landed, np.uint8), *stretches])
    for start, place in zip(starts, places, strict=True):
        assert (landing[place:place + size] == memory[start:start + size]).all()
    ends = begins + sizes
    assert (begins[1:] - ends[:-1] > gap).all()         # what is nearer has been joined
    assert sizes.sum() <= len(rows) * size + (len(rows) - begins.size) * gap


def test_no_rows_need_no_stretch():
    none = np.empty(0, np.int64)
    assert [a.size for a in merge(none, 8, 0, 100)] == [0, 0, 0]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 60))
def test_chunks_keep_the_bytes_and_the_limit(sizes, limit):
    sizes = np.array(sizes)
    starts = np.cumsum(sizes) * 3
    cut = list(chunks(starts, sizes, limit))
    assert all(0 < part.sum() <= limit and (part > 0).all() for _, part in cut)
    assert len(cut) == -(-sizes.sum() // limit)
    listed = [np.arange(b, b + n) for begins, part in cut for b, n in zip(begins, part, strict=True)]
    whole = [np.arange(b, b + n) for b, n in zip(starts, sizes, strict=True)]
    assert (np.concatenate(listed) == np.concatenate(whole)).all()


@pytest.mark.parametrize("nodes, servers_per_node", [([0], None), ([0, 0, 1, 1], None), ([0, 0, 1, 1, 2], 0)])
def test_arrays_of_a_node_are_aligned_and_apart(nodes, servers_per_node):
    topology = Topology(tuple(nodes), assign_roles(nodes, servers_per_node))
    arrays = specs(len(topology.server_ranks))
    for node in topology.nodes:
        layout = lay_out(arrays, topology, node)
        assert (layout.first, layout.last) == topology.servers_of(node)
        end = 0
        for spec in arrays:
            offset = layout.offsets[spec.name]
            assert offset % ALIGN == 0 and offset >= end
            end = offset + spec.elements(layout.first, layout.last) * spec.dtype.itemsize
        assert end <= layout.nbytes < end + ALIGN


@pytest.mark.parametrize("nodes, servers_per_node", [([0], None), ([0, 0, 1, 1, 3], 1), ([0, 0, 1, 1, 2], 0)])
def test_the_layout_of_a_server_is_that_of_its_node(nodes, servers_per_node):
    topology = Topology(tuple(nodes), assign_roles(nodes, servers_per_node))
    arrays = specs(len(topology.server_ranks))
    layouts = Layouts(arrays, topology)
    for server, rank in enumerate(topology.server_ranks):
        node = topology.node_of_rank[rank]
        assert layouts.of_server(server) == lay_out(arrays, topology, node)
        assert layouts.of_server(server) is layouts.of_node(node)


def test_a_node_without_servers_holds_nothing():
    topology = Topology((0, 0, 1), assign_roles([0, 0, 0]))
    assert lay_out(specs(1), topology, node=1).nbytes == 0


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=5), st.integers(1, 50))
def test_rows_are_cut_into_full_messages(lists, limit):
    counts, sizes = [c for c, _ in lists], [s for _, s in lists]
    messages = list(cut_rows(counts, sizes, limit))
    rows = [(p, first + i) for message in messages for p, first, count in message for i in range(count)]
    assert rows == [(p, i) for p, count in enumerate(counts) for i in range(count)]
    lengths = [sum(count * sizes[p] for p, _, count in message) for message in messages]
    for message, length in zip(messages, lengths, strict=True):
        assert length <= limit or sum(count for _, _, count in message) == 1
    for length, after in zip(lengths, messages[1:], strict=False):
        assert length + sizes[after[0][0]] > limit      # its first row would not have fitted
