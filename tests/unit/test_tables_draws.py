"""Splits by shares that are drawn without holding all."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.kernels.rng import derive, units
from mpignn.tables.alike import Alike, EdgeEnds, each_alone
from mpignn.tables.draws import drawn, messages
from mpignn.tables.room import Room

SHARES = (0.6, 0.2, 0.1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 2)), max_size=80), st.booleans(),
       st.integers(0, 3))
def test_edges_that_join_the_same_nodes_share_a_split_and_each_relation_has_its_shares(edges, both_ways, seed):
    src, dst, kinds = np.array(edges, np.int64).reshape(-1, 3).T
    ends = EdgeEnds(src, dst, kinds.astype(np.int16))
    alike = Alike(ends, 3, (5, 5), both_ways, Room())
    numbers = drawn(alike.some, SHARES, seed, 3, src.size, Room())
    of_pairs = {}
    for one, other, kind, number in zip(src, dst, kinds, numbers, strict=True):
        pair = (min(one, other), max(one, other)) if both_ways else (one, other)
        assert of_pairs.setdefault((kind, *pair), number) == number
    for kind in range(3):
        of_kind = np.array([number for key, number in of_pairs.items() if key[0] == kind], int)
        for place, share in enumerate(np.cumsum(SHARES)):
            drawn_so_far = np.count_nonzero((of_kind >= 0) & (of_kind <= place))
            assert drawn_so_far == np.rint(share * of_kind.size + 1e-9)
    assert np.array_equal(messages(numbers, src.size, alike, Room()), (numbers != 1) & (numbers != 2))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4095, 4096, 100_003])
def test_the_lowest_numbers_of_the_stream_are_for_training(count):
    ends = EdgeEnds(np.zeros(count, np.int64), np.zeros(count, np.int64), None)
    numbers = drawn(partial(each_alone, ends, Room()), (0.25, 0.25, 0.5), 7, 1, count, Room())
    order = np.argsort(units(derive(7), np.arange(count)))
    wanted = np.rint(np.cumsum([0.25, 0.25, 0.5]) * count + 1e-9)
    assert numbers[order].tolist() == np.searchsorted(wanted, np.arange(count), side="right").tolist()


def test_seeds_draw_different_splits_of_which_none_has_its_place_in_the_table():
    ends = EdgeEnds(np.zeros(1000, np.int64), np.zeros(1000, np.int64), None)
    some = [drawn(partial(each_alone, ends, Room()), (0.5, 0.2, 0.3), seed, 1, 1000, Room()) for seed in (0, 1)]
    assert not np.array_equal(*some)
    for numbers in some:
        of_stretches = (numbers.reshape(10, 100) == 0).sum(axis=1)
        assert (abs(of_stretches - 50) < 25).all()
