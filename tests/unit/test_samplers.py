"""The record of samplers says what their classes take, and what they cannot do is refused before anything is loaded."""

import importlib
import inspect
import json

import numpy as np
import pytest
from services import make_graph, serve
from test_plan_memory import plan

from mpignn.config import Config, SamplingConfig
from mpignn.errors import ConfigError
from mpignn.options import load_config
from mpignn.samplers import SAMPLERS, USUAL, find_sampler
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.frontier import sample_neighbors
from mpignn.sampling.named import make_sampler
from mpignn.sampling.neighbor import NeighborSampler

LOOP = ("node", "to", "node")


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_the_class_takes_the_arguments_of_the_record(sampler):
    module, _, name = sampler.made_by.partition(":")
    kind = getattr(importlib.import_module(module), name)
    taken = inspect.signature(kind).parameters
    assert issubclass(kind, BlockSampler) and set(sampler.arguments) <= set(taken)
    assert sampler.takes_mask == ("mask" in taken)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_keeps_as_many_as_the_plan_expects(sampler):
    """Rows of one length, where what is kept on average and what is kept of an average row are the same."""
    rng, degree, fanout = np.random.default_rng(0), 20, 5
    graph = make_graph({"node": 400}, {LOOP: (rng.integers(0, 400, 400 * degree), np.repeat(np.arange(400), degree))})
    published = serve(graph).published
    made = make_sampler(SamplingConfig(sampler=sampler), [fanout])
    found = np.mean([made.sample(published, np.arange(400), key)[2][0].num_edges() for key in range(20)])
    assert 0.9 < found / (400 * find_sampler(sampler).kept(fanout, degree, {})) < 1.1


@pytest.mark.parametrize(("sampler", "arguments"), [
    *((name, {}) for name in SAMPLERS), ("neighbor", {"replace": True}), ("hub", {"degree": 6, "keep": 1})])
def test_an_edge_is_kept_with_the_chance_that_the_record_says(sampler, arguments):
    """Of a node of each degree."""
    degrees, fanout, batches = np.arange(1, 13), 4, 600
    src, dst = np.concatenate([np.arange(d) for d in degrees]), np.repeat(degrees - 1, degrees)
    published = serve(make_graph({"node": 12}, {LOOP: (src, dst)})).published
    said = tuple(f"{name}={json.dumps(value)}" for name, value in arguments.items()) or None
    made, found = make_sampler(SamplingConfig(sampler=sampler, sampler_args=said), [fanout]), np.zeros((12, 12))
    for key in range(batches):
        csc = made.sample(published, np.arange(12), key)[2][0].csc[LOOP]
        drawn = np.zeros((12, 12), bool)
        drawn[np.repeat(np.arange(12), np.diff(csc.indptr)), csc.indices] = True
        found += drawn
    for row, degree in enumerate(degrees.tolist()):
        chance = find_sampler(sampler).chance(fanout, degree, arguments)
        assert np.abs(found[row, :degree] / batches - chance).max() <= 5 * np.sqrt(chance * (1 - chance) / batches)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_block_does_not_depend_on_how_nodes_get_their_positions(sampler, monkeypatch):
    rng = np.random.default_rng(1)
    ends = {("a", "to", "a"): (300, 300), ("b", "of", "a"): (50, 300), ("a", "in", "b"): (300, 50)}
    graph = make_graph({"a": 300, "b": 50}, {etype: tuple(rng.integers(0, size, 2_000) for size in sizes)
                                             for etype, sizes in ends.items()})
    published, seeds = serve(graph).published, {"a": np.arange(0, 300, 7), "b": np.arange(10)}
    found = []
    for most in (1 << 22, 0):       # by bitmaps, by sorting
        monkeypatch.setattr("mpignn.sampling.positions.MOST_IN_BITMAPS", most)
        blocks = make_sampler(SamplingConfig(sampler=sampler), [4, 3, 2]).sample(published, seeds, 5)[2]
        found.append([[*block.src_ids.values(), *(part for etype in ends for part in (
            block.csc[etype].indptr, block.csc[etype].indices))] for block in blocks])
    for marked, by_sorting in zip(*found, strict=True):
        for one, other in zip(marked, by_sorting, strict=True):
            np.testing.assert_array_equal(one, other, strict=True)


def test_what_settings_ask_for_is_made():
    settings = load_config(None, {"sampler_args": "replace=true"}).sampling
    found = make_sampler(settings, [2, 3], "kept", return_eids=True)
    assert isinstance(found, NeighborSampler) and (found.fanouts, found.return_eids) == ((2, 3), True)
    assert make_sampler(SamplingConfig(sampler="labor"), [2], None).num_layers == 1
    assert Config().sampling.sampler == USUAL


def test_what_a_sampler_cannot_do_is_refused():
    with pytest.raises(ConfigError, match="--edge-mask kept: sampler labor draws from all edges; .* neighbor"):
        load_config(None, {"sampler": "labor", "edge_mask": "kept"})
    with pytest.raises(ConfigError, match="'labour' is not one of: neighbor, labor"):
        find_sampler("labour")


def test_whole_rows_are_in_the_memory_plan():
    of = {name: plan([0], config=load_config(None, {"fanouts": "5,5"} | given))[0].ranks[0]
          for name, given in {"usual": {}, "labor": {"sampler": "labor"}, "all": {"fanouts": "-1,-1"},
                              "again": {"sampler_args": "replace=true", "fanouts": "99,99"},
                              "once": {"fanouts": "99,99"}}.items()}
    assert of["labor"]["sampler"] > of["usual"]["sampler"] and of["labor"]["batches"] == of["usual"]["batches"]
    assert of["again"]["batches"] > of["once"]["batches"] == of["all"]["batches"]


class Declared(BlockSampler, in_thread=True, takes_excluded=True):
    """Says what it can."""

    def sample_frontier(self, block_id, g, nodes, key, exclude_edges=None):
        return sample_neighbors(g, nodes, 2, key=key, exclude_edges=exclude_edges)


class Below(Declared):
    """Draws as the class above, and says nothing of what else it does."""


class Other(NeighborSampler):
    def sample_frontier(self, block_id, g, nodes, key):
        return sample_neighbors(g, nodes, 1, key=key)


class Aside:
    sample_frontier = Other.sample_frontier


class Mixed(Aside, NeighborSampler):
    """Has its way to draw from a class that is no sampler."""


def test_what_a_sampler_can_is_declared_and_holds_for_its_own_way_to_draw():
    found = {kind: (kind.in_thread, kind.takes_excluded, kind.draws_together)
             for kind in (BlockSampler, NeighborSampler, Declared, Below, Other, Mixed)}
    assert found == {BlockSampler: (False, False, False), NeighborSampler: (True, True, True),
                     Declared: (True, True, False), Below: (False, True, False), Other: (False, False, False),
                     Mixed: (False, False, False)}


def test_excluded_edges_are_taken_out_before_or_after_the_draw():
    graph = make_graph({"node": 3}, {LOOP: (np.array([0, 1, 2]), np.zeros(3, np.int64))})
    published = serve(graph).published
    gone, sizes = {LOOP: np.array([1])}, {Declared: set(), Below: set(), Other: set()}
    for key in range(20):
        for kind, found in sizes.items():
            _, _, (block,) = kind([1] if kind is Other else 1).sample(published, [0], key, gone)
            found.add(block.num_edges())
    assert sizes == {Declared: {2}, Below: {2}, Other: {0, 1}}
