"""How often batches hold a node, as it is told and as it is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import make_graph, serve

from mpignn.comm.group import LocalGroup
from mpignn.roles import BOTH, Topology
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.visits import Visits, seed_chances

LOOP = ("node", "to", "node")
ALONE = Topology((0,), (BOTH,))


def visits(published):
    return Visits(published, ALONE, LocalGroup())


def drawn(fanout, degrees):
    return np.minimum(1, (np.inf if fanout < 0 else fanout) / np.maximum(1, degrees))


def told(published, seeds, fanouts):
    """By the formula, for a batch of these seeds; fanouts of the seeds' hop first."""
    chance = {t: np.zeros(published.book.num_nodes(t)) for t in published.schema.ntypes}
    for ntype, ids in seeds.items():
        chance[ntype][ids] = 1
    return visits(published).chances(chance, fanouts, drawn)


def met(published, seeds, fanouts, batches):
    """How often batches of these seeds hold each node."""
    found = {t: np.zeros(published.book.num_nodes(t)) for t in published.schema.ntypes}
    sampler = NeighborSampler(fanouts[::-1])
    for key in range(batches):
        blocks = sampler.sample(published, seeds, key)[2]
        for ntype, ids in blocks[0].src_ids.items():
            found[ntype][ids] += 1
    return {ntype: count / batches for ntype, count in found.items()}


def check(got, expected, batches, more=0.0):
    for ntype, chance in got.items():
        spread = 5 * np.sqrt(chance * (1 - chance) / batches) + 2 / batches
        assert (np.abs(expected[ntype] - chance) <= spread + more).all()


@pytest.mark.parametrize("fanout", [0, 1, 3, -1])
@pytest.mark.parametrize("seed", range(4))
def test_one_hop_is_exact(seed, fanout):
    rng = np.random.default_rng(seed)
    sizes, batches = {"a": 12, "b": 6}, 300
    ends = {("a", "to", "a"): ("a", "a"), ("b", "of", "a"): ("b", "a"), ("a", "in", "b"): ("a", "b")}
    # Each pair once: of edges that join the same nodes, one that is drawn makes another one less likely.
    pairs = {e: np.unique(rng.integers(0, [[sizes[src]], [sizes[dst]]], (2, 40)), axis=1)
             for e, (src, dst) in ends.items()}
    published = serve(make_graph(sizes, pairs), 3, 3).published
    seeds = {"a": np.unique(rng.integers(0, 12, 4)), "b": np.unique(rng.integers(0, 6, 2))}
    check(told(published, seeds, [fanout]), met(published, seeds, [fanout], batches), batches)


def test_several_hops_are_exact_in_a_tree():
    """Where paths do not meet, what they depend on does not either."""
    parent = (np.arange(1, 121) - 1) // 3       # of nodes 1 to 120
    published = serve(make_graph({"node": 121}, {LOOP: (np.arange(1, 121), parent)})).published
    seeds, fanouts = {"node": np.array([0])}, [2, 1, 2]
    found = told(published, seeds, fanouts)
    # A child is met in each hop that expands its parent, drawn anew each time; so the formula does know that.
    by_hop = [2 / 3, 1 / 3, 2 / 3]
    assert found["node"][1] == pytest.approx(1 - np.prod([1 - chance for chance in by_hop]))
    check({"node": found["node"][:4]}, {"node": met(published, seeds, fanouts, 2000)["node"][:4]}, 2000)


def test_several_hops_are_close():
    rng = np.random.default_rng(0)
    weights = (np.arange(300) + 1.0) ** -0.7
    src = rng.choice(300, 3000, p=weights / weights.sum())
    published = serve(make_graph({"node": 300}, {LOOP: (src, rng.integers(0, 300, 3000))})).published
    seeds, fanouts = {"node": np.arange(0, 300, 40)}, [3, 2, 2]
    found, expected = told(published, seeds, fanouts)["node"], met(published, seeds, fanouts, 500)["node"]
    assert np.corrcoef(found, expected)[0, 1] > 0.97
    assert np.abs(found - expected).mean() < 0.05


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 30))
def test_out_degrees_are_those_of_all_types(seed):
    rng = np.random.default_rng(seed)
    sizes = {"a": 9, "b": 4}
    edges = {("a", "to", "a"): ("a", "a"), ("a", "in", "b"): ("a", "b"), ("b", "of", "b"): ("b", "b")}
    pairs = {e: tuple(rng.integers(0, sizes[t], 30) for t in both) for e, both in edges.items()}
    served = serve(make_graph(sizes, pairs), 2, 2, seed=seed)
    found = visits(served.published).out_degrees()
    for ntype, count in sizes.items():
        expected = sum(np.bincount(src, minlength=count) for e, (src, _) in pairs.items() if e[0] == ntype)
        np.testing.assert_array_equal(found[ntype], expected[served.orig[ntype]])


def test_the_chance_of_a_seed_is_its_share_of_the_batch():
    np.testing.assert_array_equal(seed_chances(np.array([1, 3]), 0.5, 4), [0, 0.25, 0, 0.25])
    np.testing.assert_array_equal(seed_chances(np.array([1, 3]), 5, 4), [0, 1, 0, 1])
    np.testing.assert_array_equal(seed_chances(np.empty(0, int), 5, 2), [0, 0])
