"""Every seed once, equal steps, even shares, and seeds where they are owned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.errors import ConfigError
from mpignn.loader.seed_order import BatchPlan, deal


@pytest.mark.parametrize("trainers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seeds", [0, 1, "T-1", "T", "T+1", 4097])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_seed_exactly_once(seeds, trainers, shuffle):
    count = eval(seeds, {"T": trainers}) if isinstance(seeds, str) else seeds
    plan = BatchPlan(count, 100 * trainers, shuffle)
    got = [plan.positions(7, step) for step in range(plan.steps)]
    assert sorted(np.concatenate([*got, np.empty(0, np.int64)])) == list(range(count))
    assert plan.steps == -(-count // (100 * trainers))


def test_drop_last_leaves_only_full_batches():
    plan = BatchPlan(250, 100, shuffle=True, drop_last=True)
    assert plan.steps == 2
    assert all(plan.positions(1, step).size == 100 for step in range(2))


def test_keys_give_different_orders():
    plan = BatchPlan(1000, 1000, shuffle=True)
    assert not np.array_equal(plan.positions(1, 0), plan.positions(2, 0))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ConfigError):
        BatchPlan(10, 0, shuffle=False)


@given(st.lists(st.integers(0, 4), max_size=60), st.lists(st.integers(0, 4), min_size=1, max_size=6), st.data())
def test_deal_is_even_and_prefers_the_owner(home, nodes, data):
    home, nodes = np.asarray(home, np.int64), np.sort(np.asarray(nodes, np.int64))
    order, bounds = deal(home, nodes)
    assert sorted(order) == list(range(home.size))
    shares = np.diff(bounds)
    assert shares.sum() == home.size
    assert shares.max() - shares.min() <= 1
    # No seed is away from home while its home computes a stranger's.
    node_of_seed = np.empty(home.size, np.int64)
    node_of_seed[order] = np.repeat(nodes, shares)
    for node in set(home.tolist()):
        away = (home == node) & (node_of_seed != node)
        strangers = (home != node) & (node_of_seed == node)
        assert not (away.any() and strangers.any())


def test_extra_seats_go_to_the_node_with_most_seeds():
    order, bounds = deal(np.asarray([1, 1, 1, 0]), np.asarray([0, 1, 1]))
    shares = [sorted(order[bounds[t]:bounds[t + 1]].tolist()) for t in range(3)]
    assert shares[0] == [3]
    assert sorted(shares[1] + shares[2]) == [0, 1, 2]
