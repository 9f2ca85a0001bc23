"""Positions for node ids."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.kernels.relabel import look_up, mark, place_dst, place_new


def relabel(num_nodes, dst, neighbors, seen, slot):
    """All the kernels, as a hop uses them."""
    mark(neighbors, seen)
    src = np.empty(dst.size + place_dst(dst, seen, slot), np.int64)
    src[:dst.size] = dst
    place_new(seen, slot, dst.size, src)
    out = np.empty(neighbors.size, np.int32)
    look_up(neighbors, slot, out)
    return src, out


@settings(deadline=None, derandomize=True)     # the first call compiles
@given(st.data(), st.integers(1, 300), st.sampled_from([np.int32, np.int64]))
def test_destinations_come_first_and_new_nodes_ascend(data, num_nodes, dtype):
    node = st.integers(0, num_nodes - 1)
    seen, slot = np.zeros(-(-num_nodes // 64), np.uint64), np.full(num_nodes, -1, np.int32)
    for _ in range(2):      # the second time on what the first one left
        dst = np.array(data.draw(st.lists(node, unique=True)), np.int64)
        neighbors = np.array(data.draw(st.lists(node)), dtype)
        src, out = relabel(num_nodes, dst, neighbors, seen, slot)
        expected = [*dst.tolist(), *sorted(set(neighbors.tolist()) - set(dst.tolist()))]
        assert src.tolist() == expected
        assert out.tolist() == [expected.index(v) for v in neighbors.tolist()]
        assert not seen.any()


@pytest.mark.parametrize("num_nodes", [1, 63, 64, 65, 127, 128, 129])
def test_every_bit_of_a_word_is_a_node(num_nodes):
    seen, slot = np.zeros(-(-num_nodes // 64), np.uint64), np.empty(num_nodes, np.int32)
    every = np.arange(num_nodes)
    src, out = relabel(num_nodes, np.empty(0, np.int64), every[::-1].copy(), seen, slot)
    assert np.array_equal(src, every) and np.array_equal(out, every[::-1])


def test_looking_up_may_overwrite_the_ids():
    ids, slot = np.array([2, 0, 2], np.int32), np.array([5, 6, 7], np.int32)
    look_up(ids, slot, ids)
    assert ids.tolist() == [7, 5, 7]
