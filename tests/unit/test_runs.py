import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.kernels.runs import MOST_RUNS, in_order, part

FEW = st.lists(st.integers(0, 300), max_size=200)


def runs_of(lists):
    return np.array([i for run in lists for i in sorted(run)], np.int64)


def picks_of_rows(rows, of_each, degree):
    rng = np.random.default_rng(0)
    return np.concatenate([row * degree + rng.permutation(degree)[:of_each] for row in range(rows)])


CASES = {"nothing": np.empty(0, np.int64), "in order": np.arange(100), "all alike": np.zeros(50, np.int64),
         "backwards": np.arange(500)[::-1].copy(), "picks of rows": picks_of_rows(300, 15, 60),
         "picks of hubs": picks_of_rows(20, 200, 1000), "two batches of them": np.tile(picks_of_rows(90, 5, 9), 2),
         "as many runs as are merged": np.tile(np.arange(200), MOST_RUNS),
         "one more": np.tile(np.arange(200), MOST_RUNS + 1), "random": np.random.default_rng(1).permutation(3000)}


@pytest.mark.parametrize("ids", CASES.values(), ids=CASES.keys())
def test_ids_of_every_kind_come_in_order_with_their_places(ids):
    check_order(ids)


@given(st.lists(FEW, max_size=20))
def test_runs_come_in_order_with_their_places(lists):
    check_order(runs_of(lists))


def check_order(ids):
    before = ids.copy()
    places, found = in_order(ids)
    np.testing.assert_array_equal(ids, before)
    np.testing.assert_array_equal(found, np.sort(ids))
    np.testing.assert_array_equal(ids[places], found)
    np.testing.assert_array_equal(np.sort(places), np.arange(ids.size))


@given(FEW, st.integers(-1, 301), st.integers(-1, 301))
def test_ids_are_parted_by_where_they_are(ids, lo, hi):
    ids = np.array(ids, np.int64)
    near = (ids >= lo) & (ids < hi)
    for found, expected in zip(part(ids, lo, hi), [np.flatnonzero(near), ids[near], np.flatnonzero(~near), ids[~near]],
                               strict=True):
        np.testing.assert_array_equal(found, expected)
