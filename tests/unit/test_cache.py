"""Which rows a node keeps copies of, and how much memory that takes."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from services import make_graph, serve
from test_plan_memory import FEATURES, N, plan

from mpignn.arguments import share_or_bytes
from mpignn.comm.group import LocalGroup
from mpignn.comm.sharded import array_spec
from mpignn.comm.transport import GraphArray
from mpignn.config import LoaderConfig
from mpignn.errors import ConfigError
from mpignn.options import check_effects, load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.cache import cache_bytes, fill_bytes, most_visited, num_copies
from mpignn.store.visits import Visits, seed_chances


@pytest.mark.parametrize(("text", "meant"), [
    ("5%", (0.05, None)), (" 12.5 % ", (0.125, None)), ("100%", (1.0, None)), ("500M", (None, 500 << 20)),
    ("1.5G", (None, 3 << 29)), ("7", (None, 7))])
def test_a_size_is_a_share_or_bytes(text, meant):
    assert share_or_bytes(text, "cache") == meant


@pytest.mark.parametrize("text", ["", "0", "0%", "101%", "5 per cent", "-5%", "1e9", "%", "9999T9", "nan%", "9" * 30])
def test_other_sizes_are_refused_with_the_flag(text):
    with pytest.raises(ConfigError, match="--cache"):
        load_config(None, {"cache": text})


def test_a_policy_without_a_cache_has_no_effect():
    with pytest.raises(ConfigError, match=r"--cache-policy has no effect with no --cache"):
        check_effects(load_config(None, {"cache_policy": "degree"}), ["cache_policy"])
    check_effects(load_config(None, {"cache_policy": "degree", "cache": "5%"}), ["cache_policy", "cache"])


SPECS = [array_spec("wide", np.float32, 10, [0, 30, 100]), array_spec("narrow", np.int16, 1, [0, 0, 50])]


def test_bytes_are_dealt_to_arrays_by_what_is_elsewhere():
    def copies(size, last=1):
        return num_copies(LoaderConfig(cache=size), SPECS, 0, last)

    assert copies("10%") == {"wide": 7, "narrow": 5}
    whole = 70 * 40 + 50 * 2
    assert copies(str(whole)) == {"wide": 70, "narrow": 50}
    assert copies(str(whole // 2)) == {"wide": 35, "narrow": 25}
    assert copies("1T") == {"wide": 70, "narrow": 50}
    assert copies("10%", 2) == {"wide": 0, "narrow": 0}
    assert cache_bytes(LoaderConfig(cache="10%"), SPECS, 0, 1, 2) == 7 * 40 + 5 * 2


@pytest.mark.parametrize("trainers", [1, 4])
@pytest.mark.parametrize("prefetch", [1, 2, 9])
def test_lists_of_what_is_read_next_fit_the_bytes_that_are_given(trainers, prefetch):
    specs = [array_spec("wide", np.float32, 100, [0, 10**6, 4 * 10**6])]
    loader = LoaderConfig(cache="200M", cache_policy="schedule", prefetch=prefetch)
    assert 0.95 < cache_bytes(loader, specs, 0, 1, trainers) / (200 << 20) < 1.00001
    assert cache_bytes(replace(loader, cache="10%"), specs, 0, 1, trainers) <= 1.25 * 3 * 10**5 * 400 + 10**5


@settings(deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 30))
def test_the_rows_read_most_are_chosen(seed, count):
    rng = np.random.default_rng(seed)
    lo, hi = np.sort(rng.integers(0, 21, 2)).tolist()
    how_often = rng.integers(0, 4, 20).astype(float)
    spec = array_spec("rows", np.int8, 1, [0, 20])
    array = GraphArray(spec, lo, hi, np.zeros(hi - lo, np.int8), None)
    found = most_visited(how_often, array, count)
    away = [row for row in range(20) if not lo <= row < hi and how_often[row] > 0]
    assert found.tolist() == sorted(set(found.tolist())) and set(found.tolist()) <= set(away)
    assert sorted(how_often[found]) == sorted(sorted(how_often[away])[max(0, len(away) - count):])


def test_the_plan_counts_the_copies():
    made, _ = plan([0, 0, 1, 1], config=load_config(None, {"cache": "10%"}))
    assert [kinds["cache"] for kinds in made.nodes] == [FEATURES // 20] * 2
    assert any("cache" in line for line in made.lines())
    without, _ = plan([0, 0, 1, 1])
    assert [kinds["cache"] for kinds in without.nodes] == [0, 0]
    ahead, _ = plan([0, 0, 1, 1], config=load_config(None, {"cache": "10%", "cache_policy": "schedule"}))
    assert 1 < ahead.nodes[0]["cache"] / made.nodes[0]["cache"] < 1.26
    assert ahead.ranks[1]["batches"] > made.ranks[1]["batches"]
    whole, _ = plan([0, 0, 1, 1], config=load_config(None, {"cache": "10%"}), replicate="all")
    assert [kinds["cache"] for kinds in whole.nodes] == [0, 0]


@pytest.mark.parametrize("policy", ["vip", "degree"])
def test_choosing_rows_takes_what_the_plan_says(policy):
    rng, size = np.random.default_rng(0), 1 << 20
    published = serve(make_graph({"node": size}, {("node", "to", "node"): rng.integers(0, size, (2, size))})).published
    visits = Visits(published, Topology((0,), (BOTH,)), LocalGroup())
    rows = GraphArray(array_spec("rows", np.int8, 1, [0, size]), 0, 9, np.zeros(9, np.int8), None)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        if policy == "degree":
            chances = visits.out_degrees()
        else:
            seeds = {"node": seed_chances(np.arange(size), size / 4, size)}
            chances = visits.chances(seeds, [9, 9], lambda fanout, degrees: fanout / np.maximum(fanout, degrees))
            del seeds
        most_visited(chances["node"], rows, size // 10)
        taken = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    told = fill_bytes(LoaderConfig(cache="10%", cache_policy=policy), {"node": size})
    assert 0.5 * told < taken < 1.05 * told


def test_the_plan_counts_what_choosing_rows_takes_beyond_batches():
    small = {"cache": "10%", "batch_size": 10}
    made, _ = plan([0, 0, 1, 1], config=load_config(None, small))
    trainer = made.ranks[1]
    assert trainer["cache_filling"] + trainer["batches"] == fill_bytes(LoaderConfig(cache="10%"), {"n": N}) > 40 * N
    assert any("cache_filling" in line for line in made.lines())
    for nodes, flags in ([0, 0], small), ([0, 0, 1, 1], {"batch_size": 10}), (
            [0, 0, 1, 1], small | {"cache_policy": "schedule"}), ([0, 0, 1, 1], small | {"batch_size": 10**6}):
        other, _ = plan(nodes, config=load_config(None, flags))
        assert other.ranks[1].get("cache_filling", 0) == 0
