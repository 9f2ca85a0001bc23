"""Sampling that draws little of hubs."""

import numpy as np
import pytest
from services import make_graph, serve
from test_neighbor import CITES, hetero

from mpignn.errors import ConfigError
from mpignn.options import load_config
from mpignn.sampling.canonical import canonical_form
from mpignn.sampling.hub import HubSampler
from mpignn.sampling.named import make_sampler
from mpignn.sampling.neighbor import ALL, NeighborSampler

LOOP = ("node", "to", "node")
DEGREES = np.array([0, 3, 7, 8, 9, 100])


def star():
    """Nodes with the degrees above."""
    dst = np.repeat(np.arange(DEGREES.size), DEGREES)
    return make_graph({"node": 200}, {LOOP: (np.arange(dst.size) % 200, dst)})


def drawn(graph, sampler, seeds, parts=1, visible=None, exclude=None):
    served = serve(graph, parts, 2, visible)
    _, _, blocks = sampler.sample(served.published, {t: served.new[t][ids] for t, ids in seeds.items()}, 3, exclude)
    return canonical_form(served.published, blocks)


@pytest.mark.parametrize(("fanout", "expected"), [(5, [0, 3, 5, 5, 2, 2]), (ALL, [0, 3, 7, 8, 2, 2]),
                                                  (1, [0, 1, 1, 1, 1, 1]), (0, [0] * 6)])
def test_of_a_hub_few_are_drawn(fanout, expected):
    published = serve(star()).published
    _, _, (block,) = HubSampler([fanout], degree=8).sample(published, np.arange(DEGREES.size), 0)
    assert np.diff(block.csc[LOOP].indptr).tolist() == expected


def test_others_draw_as_by_the_usual_sampler():
    seeds = {"node": np.array([1, 5, 3])}
    (hub,), (usual,) = (drawn(star(), kind, seeds) for kind in (HubSampler([5], degree=8), NeighborSampler([5])))
    assert [row for row in hub[LOOP] if row[0] != 5] == [row for row in usual[LOOP] if row[0] != 5]
    assert len(dict(hub[LOOP])[5]) == 2


@pytest.mark.parametrize(("parts", "visible"), [(3, None), (3, (0, 1)), (1, (1, 2))])
def test_partitions_and_what_is_in_view_change_nothing(parts, visible):
    graph, seeds = hetero(40, 10, 300, seed=1), {"paper": np.array([7, 3, 39, 0]), "author": np.array([9])}
    sampler = HubSampler([4, ALL], degree=5, keep=3)
    assert drawn(graph, sampler, seeds, parts, visible) == drawn(graph, sampler, seeds)
    assert max(len(row) for _, row in drawn(graph, sampler, seeds)[0][CITES]) <= 5


def test_excluded_edges_are_taken_out_before_the_draw():
    published, gone = serve(star()).published, {LOOP: np.arange(27, 126)}
    _, _, (block,) = HubSampler([5], degree=8, return_eids=True).sample(published, [5], 0, gone)
    assert block.num_edges() == 1 and 126 in block.csc[LOOP].edge_ids


def test_settings_make_one():
    settings = load_config(None, {"sampler": "hub", "sampler_args": "degree=8,keep=1"}).sampling
    _, _, (block,) = make_sampler(settings, [5]).sample(serve(star()).published, [5, 3], 0)
    assert np.diff(block.csc[LOOP].indptr).tolist() == [1, 5]
    for args, part in (("keep=-1", "keep=-1: it must be a whole number of at least 0"),
                       ("degree=x", "degree=x: it must be a whole number of at least 1")):
        with pytest.raises(ConfigError, match=part):
            load_config(None, {"sampler": "hub", "sampler_args": args})
