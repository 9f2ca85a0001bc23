"""Copies are those that are read soonest, and fewer rows cannot be fetched."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpignn.comm.belady import Held, plan_turn

NONE = np.empty(0, np.int64)
rows = st.sets(st.integers(0, 5), max_size=4)


def ids(some):
    return np.array(sorted(some), np.int64)


def fetched(turns, most, ahead):
    """Rows that one trainer fetches in all turns, when it knows so many of those to come."""
    held, total = Held(NONE, NONE), 0
    for number, turn in enumerate(turns):
        plan = plan_turn(held, [ids(turn)], [[ids(later)] for later in turns[number + 1:number + 1 + ahead]], most)
        total += len(turn - set(held.ids.tolist()))
        assert set(plan.fresh.ids.tolist()) <= turn - set(held.ids.tolist()) and not plan.fetcher.any()
        held = plan.held()
    return total


def fewest(turns, most):
    """By trying all that could be held after each turn."""
    costs = {frozenset(): 0}
    for turn in turns:
        after: dict[frozenset, int] = {}
        for held, cost in costs.items():
            known = sorted(held | turn)
            for count in range(min(most, len(known)) + 1):
                for kept in map(frozenset, itertools.combinations(known, count)):
                    after[kept] = min(after.get(kept, 1 << 30), cost + len(turn - held))
        costs = after
    return min(costs.values())


@settings(deadline=None)
@given(st.lists(rows, max_size=5), st.integers(1, 3))
def test_what_one_trainer_fetches_is_the_least_there_is(turns, most):
    assert fetched(turns, most, len(turns)) == fewest(turns, most)


@settings(deadline=None)
@given(st.lists(rows, max_size=8), st.integers(1, 3), st.integers(0, 3))
def test_who_sees_less_of_what_comes_fetches_no_more_than_without_copies(turns, most, ahead):
    assert fetched(turns, most, ahead) <= sum(map(len, turns))


@settings(deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(0, 6))
def test_copies_have_places_of_their_own_and_come_by_one_who_reads_them(data, trainers, most):
    """What holds after any turns."""
    several = st.lists(st.sets(st.integers(0, 12), max_size=8).map(ids), min_size=trainers, max_size=trainers)
    turns = data.draw(st.lists(several, max_size=6))
    held = Held(NONE, NONE)
    for number, now in enumerate(turns):
        plan = plan_turn(held, now, turns[number + 1:number + 3], most)
        before = dict(zip(held.ids.tolist(), held.slots.tolist(), strict=True))
        assert all(before[row] == slot for row, slot in zip(plan.kept.ids.tolist(), plan.kept.slots, strict=True))
        for row, trainer in zip(plan.fresh.ids.tolist(), plan.fetcher.tolist(), strict=True):
            assert row not in before and row in now[trainer]
        held = plan.held()
        assert (np.diff(held.ids) > 0).all() and held.ids.size <= most
        assert len(set(held.slots.tolist())) == held.ids.size and ((held.slots >= 0) & (held.slots < most)).all()


def test_rows_that_several_read_are_dealt_out_among_these():
    everyone = [np.arange(100)] * 3
    plan = plan_turn(Held(NONE, NONE), everyone, [], 100)
    assert np.bincount(plan.fetcher).tolist() == [34, 33, 33]
