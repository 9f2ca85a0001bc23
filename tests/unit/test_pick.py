"""Neighbors picked from rows.

False alarms: each statistical test would fail for 1 in 10^6 keys; the keys are fixed, so a failure means a change.
"""

import itertools

import numpy as np
import pytest
import reference_sampling as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, pick_edges, pick_neighbors, plan_rows
from mpignn.kernels.rng import derive

ALARM = 1e-6


def pick(key, orig, bounds, fanout, replace):
    """Edge ids picked: flat, and the start of each row's."""
    orig, bounds = np.asarray(orig, np.int64), np.asarray(bounds, np.int64).reshape(-1, 2)
    indptr = np.empty(orig.size + 1, np.int64)
    longest, _ = plan_rows(bounds, NONE_TAKEN, fanout, replace, 0, 1 << 62, indptr)
    bits, out = np.zeros(longest // 64 + 1, np.uint64), np.empty(indptr[-1], np.int64)
    pick_edges(np.uint64(key), replace, orig, bounds, NONE_GONE, NONE_TAKEN, indptr, bits, out)
    assert not bits.any()
    return out, indptr


def draws(key, degree, fanout, count, replace=False):
    """(count, fanout) positions picked by destinations 0, 1, ... with rows of ``degree`` edges."""
    out, _ = pick(key, np.arange(count), np.tile([0, degree], (count, 1)), fanout, replace)
    return out.reshape(count, fanout)


ROWS = st.lists(st.tuples(st.integers(0, 2**40), st.sampled_from([0, 1, 2, 3, 5, 63, 64, 65, 66, 128, 129, 500])),
                max_size=20)
FANOUTS = st.sampled_from([-1, 0, 1, 2, 3, 5, 63, 64, 65, 127])


@settings(deadline=None, derandomize=True)     # the first call compiles
@given(ROWS, FANOUTS, st.booleans(), st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_picks_are_the_reference_bit_for_bit(rows, fanout, replace, key, first_edge):
    replace = replace and fanout >= 0
    orig, degree = [o for o, _ in rows], [d for _, d in rows]
    starts = first_edge + np.cumsum([0, *degree])
    bounds = np.stack([starts[:-1], starts[1:]], axis=1)
    out, indptr = pick(key, orig, bounds, fanout, replace)
    expected = [[start + p for p in reference.pick_row(key, o, d, fanout, replace)]
                for (o, d), start in zip(rows, starts.tolist(), strict=False)]
    assert [out[a:b].tolist() for a, b in itertools.pairwise(indptr)] == expected


@settings(deadline=None, derandomize=True)     # the first call compiles
@given(ROWS, FANOUTS, st.booleans(), st.sampled_from([np.int32, np.int64]), st.integers(0, 2**40), st.data())
def test_both_kernels_pick_the_same(rows, fanout, replace, dtype, first_edge, data):
    replace = replace and fanout >= 0
    starts = first_edge + np.cumsum([0, *[d for _, d in rows]])
    bounds, orig = np.stack([starts[:-1], starts[1:]], axis=1), np.array([o for o, _ in rows], np.int64)
    order = np.array(data.draw(st.permutations(range(len(rows)))), np.int64)
    bounds, orig = np.ascontiguousarray(bounds[order]), orig[order]
    num_nodes = 777
    indices = np.random.default_rng(0).integers(0, num_nodes, starts[-1] - first_edge).astype(dtype)
    edges, indptr = pick(5, orig, bounds, fanout, replace)
    seen, bits = np.zeros(num_nodes // 64 + 1, np.uint64), np.zeros(8, np.uint64)
    out = np.empty(indptr[-1], dtype)
    pick_neighbors(np.uint64(5), replace, orig, bounds, NONE_GONE, NONE_TAKEN, indptr, bits, indices, first_edge,
                   seen, out)
    assert np.array_equal(out, indices[edges - first_edge])
    assert np.flatnonzero(np.unpackbits(seen.view(np.uint8), bitorder="little")).tolist() == np.unique(out).tolist()
    assert not bits.any()


def test_rows_are_planned_by_degree_and_view():
    bounds = np.array([[10, 10], [10, 13], [13, 20], [20, 20], [20, 21]])
    for fanout, replace, counts in ((3, False, [0, 3, 3, 0, 1]), (3, True, [0, 3, 3, 0, 3]), (0, False, [0] * 5),
                                    (-1, False, [0, 3, 7, 0, 1]), (0, True, [0] * 5)):
        indptr = np.empty(6, np.int64)
        assert plan_rows(bounds, NONE_TAKEN, fanout, replace, 11, 20, indptr) == (7, 2)
        assert np.diff(indptr).tolist() == counts
        assert plan_rows(bounds, NONE_TAKEN, fanout, replace, 10, 21, indptr) == (7, 0)


def test_a_destination_draws_the_same_wherever_it_stands():
    degree = np.array([80, 7, 300, 64])
    alone = [pick(3, [v], [0, d], 5, False)[0] for v, d in enumerate(degree)]
    order = [2, 0, 3, 1]
    together, _ = pick(3, order, [[1000, 1000 + degree[v]] for v in order], 5, False)
    assert np.array_equal(together.reshape(4, 5) - 1000, np.array(alone)[order])


@pytest.mark.parametrize("degree, fanout", [
    (2, 1), (3, 2), (10, 3), (64, 10), (65, 10), (200, 25), (4000, 25), (100_000, 25)])
def test_every_position_is_picked_equally_often(degree, fanout):
    # Picks of one row exclude each other, which makes the statistic smaller by (d - k) / (d - 1).
    count = 1_000_000 // fanout
    seen = np.bincount(draws(derive(1), degree, fanout, count).ravel(), minlength=degree)
    expected = count * fanout / degree
    statistic = ((seen - expected)**2).sum() / expected * (degree - 1) / (degree - fanout)
    assert stats.chi2.sf(statistic, degree - 1) > ALARM


@pytest.mark.parametrize("degree", [2, 10, 64, 65, 200])
def test_with_replacement_every_position_is_drawn_equally_often(degree):
    seen = np.bincount(draws(derive(2), degree, 7, 20_000, replace=True).ravel(), minlength=degree)
    assert stats.chisquare(seen).pvalue > ALARM


@pytest.mark.parametrize("degree, fanout", [(7, 3), (5, 4), (6, 1)])
def test_every_subset_is_picked_equally_often(degree, fanout):
    picked = np.sort(draws(derive(3), degree, fanout, 35_000), axis=1)
    code = (picked * degree**np.arange(fanout)).sum(1)
    subsets = [sum(p * degree**i for i, p in enumerate(s)) for s in itertools.combinations(range(degree), fanout)]
    assert set(code.tolist()) == set(subsets)
    assert stats.chisquare([(code == s).sum() for s in subsets]).pvalue > ALARM


def test_every_subset_of_a_long_row_is_picked_equally_often():
    # 3 of 66, told apart by which of 6 stretches of 11 they fall into: hypergeometric.
    stretches = np.sort(draws(derive(4), 66, 3, 40_000) // 11, axis=1)
    total = 66 * 65 * 64 // 6
    one, two = stretches[:, 0] == stretches[:, 1], stretches[:, 1] == stretches[:, 2]
    kinds = {"all": 6 * 165, "pair": 30 * 55 * 11, "none": 20 * 1331}
    found = {"all": (one & two).sum(), "pair": (one ^ two).sum(), "none": (~one & ~two).sum()}
    assert sum(kinds.values()) == total
    assert stats.chisquare(list(found.values()), [40_000 * k / total for k in kinds.values()]).pvalue > ALARM


@pytest.mark.parametrize("other", ["node", "hop", "edge type", "step", "epoch", "seed", "draw"])
def test_what_differs_in_one_thing_is_independent(other):
    count = 50_000
    seed, epoch, step, hop, etype = (int(name == other) for name in ("seed", "epoch", "step", "hop", "edge type"))
    this = draws(derive(derive(0, 2, 0, 0), 0, 0), 10, 2, count + 1, replace=True)
    that = draws(derive(derive(seed, 2, epoch, step), hop, etype), 10, 2, count + 1, replace=True)
    pairs = {"node": (this[:-1, 0], this[1:, 0]), "draw": (this[:-1, 0], this[:-1, 1])}
    a, b = pairs.get(other, (this[:-1, 0], that[:-1, 0]))
    table = np.bincount(a * 10 + b, minlength=100).reshape(10, 10)
    assert stats.chi2_contingency(table).pvalue > ALARM
