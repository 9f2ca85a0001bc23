"""Copies of the in-edges of the nodes around a node's own: those and no others, read in the place of messages."""

from dataclasses import replace

import numpy as np
import pytest
from test_dist_graph import GRAPHS, opened
from test_ways import each_way

from graphs import random_graph
from mpignn.graph.types import etype_key
from mpignn.sampling.block_sampler import SamplerInput
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import published_graph
from mpignn.store.halo import halo_nodes

LARGE = random_graph(6, 300, 900)
HOPS = 3


def own(graph):
    """Nodes of this node, by type, every second one."""
    return {t: np.arange(graph.orig_ids(t).lo, graph.orig_ids(t).hi, 2) for t in graph.schema.ntypes}


def drawn(g, fanout, prob):
    """Blocks of batches of nodes of this node; and what was read for them."""
    graph = published_graph(g)
    inputs = [SamplerInput(own(graph), key) for key in range(2)]
    g.stats(reset=True)
    found = []
    for _, _, blocks in NeighborSampler([fanout] * HOPS, prob=prob).sample_many(graph, inputs):
        for block in blocks:
            found += [*block.src_ids.values(), *block.dst_orig.values()]
            found += [array for csc in block.csc.values() for array in (csc.indptr, csc.indices)]
    return [array.copy() for array in found], g.stats()


@pytest.mark.ranks(2, 3, 5, ranks_per_node=(None, 1, 2))
@each_way
@pytest.mark.parametrize("name", [*GRAPHS, "large"])
def test_two_hops_are_drawn_from_what_is_here(world, access, name):
    data, world = (GRAPHS | {"large": LARGE})[name], replace(world, access=access)

    def all_drawn(**options):
        with opened(world, data, parts=5, **options) as g:
            return [] if world.trainers is None else [
                drawn(g, fanout, prob) for fanout, prob in ((2, None), (-1, None), (2, "weight"))]

    for (expected, without), (got, stats) in zip(all_drawn(), all_drawn(replicate="halo"), strict=True):
        for one, other in zip(expected, got, strict=True):
            np.testing.assert_array_equal(one, other)
        for hop in 0, 1:
            assert stats.rows("structure", hop, "remote") == 0
        last = stats.rows("structure", HOPS - 1, "remote")
        assert last <= without.rows("structure", HOPS - 1, "remote")
        if name == "large" and len(world.topology.nodes) > 1:
            assert stats.rows("structure", target="cache") > 0
            assert last < without.rows("structure", HOPS - 1, "remote")
            assert stats.calls("structure", 1) == 0 < without.calls("structure", 1)


@pytest.mark.ranks(2, 4, ranks_per_node=(None, 1, 2))
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_the_sources_of_edges_into_nodes_here(world, name):
    data = GRAPHS[name]
    with opened(world, data, parts=3, replicate="halo") as g:
        if world.trainers is None:
            return
        graph = published_graph(g)
        for ntype in graph.schema.ntypes:
            met = set()
            for etype in (e for e in data.csc if e[0] == ntype):
                src, dst = (ends.tolist() for ends in g.find_edges(np.arange(g.num_edges(etype)), etype))
                home = graph.orig_ids(etype[2])
                met |= {s for s, d in zip(src, dst, strict=True) if home.lo <= d < home.hi}
            here = graph.orig_ids(ntype)
            assert halo_nodes(graph, ntype).tolist() == sorted(s for s in met if not here.lo <= s < here.hi)
        for etype in data.csc:      # every row of it can be asked for, here or copied or neither
            rows = graph.read(graph.adjacency(etype).rows, np.arange(g.num_nodes(etype[2])))
            assert (np.diff(rows, axis=1) >= 0).all(), etype_key(etype)
