"""Edges drawn by weight, mark and exclusion: how often.

False alarms: each statistical test would fail for 1 in 10^6 keys; the keys are fixed, so a failure means a change.
"""

import itertools

import numpy as np
import pytest
from scipy import stats

from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, find_excluded, pick_edges, plan_rows
from mpignn.kernels.rng import derive
from mpignn.kernels.simd import read_only
from mpignn.kernels.weigh import NO_MARKS, NO_WEIGHTS, pick_weighted

ALARM = 1e-6


def draws(key, row, fanout, count, replace=False, marks=None):
    """(count, fanout) positions drawn by nodes 0, 1, ... that all have the row of these weights."""
    size = len(row if marks is None else marks)
    bounds = np.tile([0, size], (count, 1))
    weights = NO_WEIGHTS if row is None else read_only(np.asarray(row))
    marked = NO_MARKS if marks is None else read_only(np.asarray(marks))
    indptr = np.empty(count + 1, np.int64)
    plan_rows(bounds, NONE_TAKEN, fanout, replace, 0, size, indptr)
    out, counts = np.empty(indptr[-1], np.int64), np.empty(count, np.int64)
    bad = pick_weighted(np.uint64(key), fanout, replace, np.arange(count), bounds, NONE_GONE, NONE_TAKEN, indptr,
                        weights, weights[:0], row is not None, marked, marked[:0], marks is not None, 0,
                        np.full(count, -1), np.full(count, -1), size, out, counts)
    assert bad == -1 and (counts == fanout).all()
    return out.reshape(count, fanout)


def left_of(key, size, gone, fanout, count):
    """(count, fanout) positions drawn by nodes that all have a row of ``size`` edges without some."""
    bounds, gone = np.tile([100, 100 + size], (count, 1)), read_only(100 + np.asarray(gone))
    taken, indptr = np.empty((count, 2), np.int32), np.empty(count + 1, np.int64)
    find_excluded(bounds, gone, taken)
    longest, _ = plan_rows(bounds, taken, fanout, False, 0, 1 << 40, indptr)
    out = np.empty(indptr[-1], np.int64)
    pick_edges(np.uint64(key), False, np.arange(count), bounds, gone, taken, indptr,
               np.zeros(longest // 64 + 1, np.uint64), out)
    return out.reshape(count, fanout) - 100


def in_turn(weights, fanout):
    """Probability of each ordered draw without replacement."""
    found = {}
    for order in itertools.permutations(np.flatnonzero(weights), fanout):
        left, chance = sum(weights), 1.0
        for position in order:
            chance *= weights[position] / left
            left -= weights[position]
        found[tuple(map(int, order))] = chance
    return found


@pytest.mark.parametrize("weights, fanout", [
    ([1.0, 2, 3, 4, 5], 3), ([1.0, 1, 1, 1], 2), ([0.1, 0, 7, 1, 0, 0.5], 3), ([5.0, 1, 1, 1, 1, 1], 1),
    ([1e-3, 1, 1e3], 2), ([3e-300, 1e-300, 2e-300], 2), ([2e300, 1e300, 3e300], 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_order_comes_as_often_as_drawing_one_after_the_other(weights, fanout, dtype):
    if dtype == np.float32 and not 1e-30 < max(weights) < 1e30:
        pytest.skip("no such number in single precision")
    count = 250_000
    chances = in_turn([float(dtype(w)) / max(weights) for w in weights], fanout)
    codes = np.array(list(chances)) @ len(weights)**np.arange(fanout)
    drawn = draws(derive(1), np.array(weights, dtype), fanout, count) @ len(weights)**np.arange(fanout)
    found = np.array([(drawn == code).sum() for code in codes])
    assert found.sum() == count
    expected = count * np.array(list(chances.values()))
    often = expected >= 5
    found, expected = (np.append(x[often], x[~often].sum()) for x in (found, expected))
    if expected[-1] < 5:        # too rare to be told from never; its excess is told by all others
        found, expected = found[:-1], expected[:-1] * found[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(found, expected).pvalue > ALARM


@pytest.mark.parametrize("fanout", [5, 33])      # kept as they come, and sorted
def test_of_two_kinds_of_weights_as_many_are_kept_as_wallenius_says(fanout):
    # Drawing one after the other from two kinds of balls: the noncentral hypergeometric distribution of Wallenius.
    count = 60_000
    weights = np.where(np.arange(40) % 2, 3.0, 1.0).astype(np.float32)
    heavy = (draws(derive(2), weights, fanout, count) % 2).sum(1)
    law = stats.nchypergeom_wallenius(40, 20, fanout, 3.0)
    values = np.arange(fanout + 1)
    found, expected = np.bincount(heavy, minlength=fanout + 1), count * law.pmf(values)
    often = expected >= 5
    assert expected[~often].sum() < 5 and found[~often].sum() < 30
    assert stats.chisquare(found[often], expected[often] * found[often].sum() / expected[often].sum()).pvalue > ALARM


@pytest.mark.parametrize("size, fanout", [(2, 1), (10, 3), (65, 25), (200, 40), (5000, 10)])
def test_equal_weights_are_drawn_equally_often(size, fanout):
    count = 1_000_000 // size // 2 * 2
    seen = np.bincount(draws(derive(3), np.full(size, 0.3, np.float32), fanout, count).ravel(), minlength=size)
    expected = count * fanout / size
    statistic = ((seen - expected)**2).sum() / expected * (size - 1) / (size - fanout)
    assert stats.chi2.sf(statistic, size - 1) > ALARM


def test_keys_near_zero_are_told_apart():
    # Of 100,000 equal edges the least keys are near 1e-5: steps of 2^-24 would make the first of equal ones win.
    first = draws(derive(4), np.ones(100_000, np.float32), 1, 400).ravel()
    assert stats.kstest(first / 100_000, "uniform").pvalue > ALARM


@pytest.mark.parametrize("weights", [[1.0, 2, 3, 4], [0.5, 0, 1e-3, 8, 0]])
def test_with_replacement_each_draw_is_in_proportion(weights):
    drawn = draws(derive(5), np.array(weights), 5, 100_000, replace=True)
    found = np.bincount(drawn.ravel(), minlength=len(weights))
    expected = np.array(weights) / sum(weights) * 500_000
    kinds, keep = len(weights), expected > 0
    assert stats.chisquare(found[keep], expected[keep]).pvalue > ALARM and not found[~keep].any()
    table = np.bincount(drawn[:, 0] * kinds + drawn[:, 1], minlength=kinds**2).reshape(kinds, kinds)
    assert stats.chi2_contingency(table[keep][:, keep]).pvalue > ALARM


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("size, fanout", [(12, 2), (300, 20)])
def test_marked_edges_are_drawn_equally_often(size, fanout, replace):
    marks = np.random.default_rng(0).random(size) < 0.5
    seen = np.bincount(draws(derive(6), None, fanout, 20_000, replace, marks).ravel(), minlength=size)
    assert not seen[~marks].any()
    left, expected = marks.sum(), 20_000 * fanout / marks.sum()
    statistic = ((seen[marks] - expected)**2).sum() / expected
    statistic *= 1 if replace else (left - 1) / (left - fanout)
    assert stats.chi2.sf(statistic, left - 1) > ALARM


@pytest.mark.parametrize("size, gone, fanout", [
    (7, [0, 3], 3), (7, [6], 4), (64, [5, 6, 7, 63], 10), (70, [0, 1, 68, 69], 10), (500, list(range(0, 500, 3)), 25)])
def test_what_exclusion_leaves_is_drawn_equally_often(size, gone, fanout):
    seen = np.bincount(left_of(derive(7), size, gone, fanout, 40_000).ravel(), minlength=size)
    left = np.setdiff1d(np.arange(size), gone)
    assert not seen[gone].any()
    expected = 40_000 * fanout / left.size
    statistic = ((seen[left] - expected)**2).sum() / expected * (left.size - 1) / (left.size - fanout)
    assert stats.chi2.sf(statistic, left.size - 1) > ALARM


@pytest.mark.parametrize("other", ["node", "hop", "edge type", "step", "epoch", "seed", "draw"])
def test_what_differs_in_one_thing_is_independent(other):
    weights = np.arange(1.0, 9)
    names = ("seed", "epoch", "step", "hop", "edge type")
    parts = [int(name == other) for name in names]
    this = draws(derive(derive(0, 2, 0, 0), 0, 0), weights, 2, 60_001, replace=other == "draw")
    that = draws(derive(derive(parts[0], 2, *parts[1:3]), *parts[3:]), weights, 2, 60_001)
    a, b = {"node": (this[:-1, 0], this[1:, 0]), "draw": this.T}.get(other, (this[:, 0], that[:, 0]))
    assert stats.chi2_contingency(np.bincount(a * 8 + b, minlength=64).reshape(8, 8)).pvalue > ALARM
