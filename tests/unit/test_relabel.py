"""Positions for node ids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.buffers import Pool
from mpignn.kernels.relabel import find_new, look_up, mark, place_dst, place_new
from mpignn.sampling.positions import positions


def relabel(dst, neighbors, seen, known, slot):
    """All the kernels, as a hop uses them, by as many threads as ``seen`` has rows."""
    for bitmap, piece in zip(seen, np.array_split(neighbors, len(seen)), strict=True):
        mark(piece, bitmap)
    place_dst(dst, known, slot)
    return place(dst, neighbors, seen, known, slot)


def place(dst, neighbors, seen, known, slot):
    src = np.empty(dst.size + find_new(seen, known), np.int64)
    src[:dst.size] = dst
    place_new(seen[0], slot, dst.size, src)
    out = np.empty(neighbors.size, np.int32)
    look_up(neighbors, slot, out)
    return src, out


def maps(num_nodes, num_threads=1):
    words = -(-num_nodes // 64)
    return np.zeros((num_threads, words), np.uint64), np.full(words, 5, np.uint64), np.full(num_nodes, -1, np.int32)


@settings(deadline=None, derandomize=True)     # the first call compiles
@given(st.data(), st.integers(1, 300), st.sampled_from([np.int32, np.int64]), st.integers(1, 3))
def test_destinations_come_first_and_new_nodes_ascend(data, num_nodes, dtype, num_threads):
    node = st.integers(0, num_nodes - 1)
    seen, known, slot = maps(num_nodes, num_threads)
    for _ in range(2):      # the second time on what the first one left
        dst = np.array(data.draw(st.lists(node, unique=True)), np.int64)
        neighbors = np.array(data.draw(st.lists(node)), dtype)
        src, out = relabel(dst, neighbors, seen, known, slot)
        expected = [*dst.tolist(), *sorted(set(neighbors.tolist()) - set(dst.tolist()))]
        assert src.tolist() == expected
        assert out.tolist() == [expected.index(v) for v in neighbors.tolist()]
        assert not seen.any()


@settings(deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 300))
def test_sources_keep_their_positions_as_destinations_of_the_next_hop(data, num_nodes):
    node = st.integers(0, num_nodes - 1)
    dst = np.array(data.draw(st.lists(node, unique=True)), np.int64)
    first, second = (np.array(data.draw(st.lists(node)), np.int64) for _ in range(2))
    left = maps(num_nodes)
    src, _ = relabel(dst, first, *left)
    mark(second, left[0][0])
    kept = place(src, second, *left)
    anew = relabel(src, second, *maps(num_nodes))
    assert all(np.array_equal(a, b) for a, b in zip(kept, anew, strict=True))


@pytest.mark.parametrize("num_nodes", [1, 63, 64, 65, 127, 128, 129])
def test_every_bit_of_a_word_is_a_node(num_nodes):
    every = np.arange(num_nodes)
    src, out = relabel(np.empty(0, np.int64), every[::-1].copy(), *maps(num_nodes))
    assert np.array_equal(src, every) and np.array_equal(out, every[::-1])


def test_looking_up_may_overwrite_the_ids():
    ids, slot = np.array([2, 0, 2], np.int32), np.array([5, 6, 7], np.int32)
    look_up(ids, slot, ids)
    assert ids.tolist() == [7, 5, 7]


@settings(deadline=None, derandomize=True)
@given(st.data(), st.sampled_from([2**22 + 1, 2**31 - 1, 2**31, 2**45]), st.sampled_from([np.int32, np.int64]))
def test_nodes_that_are_too_many_for_bitmaps_get_the_same_positions(data, num_nodes, dtype):
    dtype = dtype if num_nodes < 2**31 else np.int64
    node = st.one_of(st.integers(0, num_nodes - 1), st.integers(0, 20))
    by_sorting, pool = positions(num_nodes), Pool()
    assert by_sorting.seen.size == 0
    dst = np.array(data.draw(st.lists(node, unique=True)), np.int64)
    for _ in range(2):      # the second time the sources of the first block are the destinations
        of_types = [np.array(data.draw(st.lists(node)), dtype) for _ in range(data.draw(st.integers(0, 3)))]
        src, found = by_sorting.place(dst, of_types, pool)
        met = {v for ids in of_types for v in ids.tolist()}
        expected = [*dst.tolist(), *sorted(met - set(dst.tolist()))]
        assert src.dtype == np.int64 and src.tolist() == expected
        for ids, places in zip(of_types, found, strict=True):
            assert places.dtype == np.int32 and places.tolist() == [expected.index(v) for v in ids.tolist()]
        dst = src
