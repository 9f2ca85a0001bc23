"""The record of samplers says what their classes take, and what they cannot do is refused before anything is loaded."""

import importlib
import inspect

import numpy as np
import pytest
from services import make_graph, serve
from test_plan_memory import plan

from mpignn.config import Config, SamplingConfig
from mpignn.errors import ConfigError
from mpignn.options import load_config
from mpignn.samplers import SAMPLERS, USUAL, find_sampler
from mpignn.sampling.named import make_sampler
from mpignn.sampling.neighbor import BlockSampler, NeighborSampler

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
    service = serve(graph).service
    made = make_sampler(SamplingConfig(sampler=sampler), [fanout])
    found = np.mean([made.sample(service, np.arange(400), key)[2][0].num_edges() for key in range(20)])
    assert 0.9 < found / (400 * find_sampler(sampler).kept(fanout, degree, {})) < 1.1


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
