"""Copies of rows of other nodes: read in the place of messages, the same rows, and counted."""

from dataclasses import replace

import numpy as np
import pytest
from test_calls import DEGREE, NODES, publish
from test_dist_graph import opened as opened_graph
from test_ways import each_way, opened

import mpignn as mg
from graphs import random_graph
from mpignn.roles import BOTH, Role
from mpignn.store.graph import published_graph
from transport_suite import NUM_ROWS, Request


@pytest.mark.ranks(2, 3, 4, ranks_per_node=(1, 2))
@each_way
@pytest.mark.parametrize("segment", [None, pytest.param("window", marks=pytest.mark.long)])
def test_rows_are_the_same_and_come_from_here(world, access, segment):
    with opened(world, access=access, segment=segment) as transport:
        if Role.TRAINER not in world.role:
            return
        rng, kept = np.random.default_rng(world.node_id), {}
        for name, array in transport.arrays.items():
            away = np.concatenate([np.arange(array.lo), np.arange(array.hi, array.spec.num_rows)])
            kept[name] = np.sort(rng.permutation(away)[:away.size // 3])
        ids = np.random.default_rng(world.rank).integers(0, NUM_ROWS, 500)

        def read(array):
            rows = np.empty((500, array.spec.width), array.spec.dtype)
            transport.gather([Request(array, ids, rows)]).wait()
            return rows

        arrays = [array for array in transport.arrays.values() if array.spec.num_rows == NUM_ROWS]
        before, count = [read(array) for array in arrays], transport.stats(reset=True)
        transport.keep(kept, "some rows")
        filled = transport.stats(reset=True)
        assert filled.rows(target="cache") == 0
        after, count_after = [read(array) for array in arrays], transport.stats()
        for one, other in zip(before, after, strict=True):
            np.testing.assert_array_equal(one, other)
        asked = np.unique(ids)
        cached = sum(np.isin(asked, kept[array.spec.name]).sum() for array in arrays)
        assert count_after.rows(target="cache") == cached
        assert count_after.rows(target="remote") == count.rows(target="remote") - cached
        assert count_after.rows(target="self") == count.rows(target="self")
        assert count_after.rows(target="node") == count.rows(target="node")


@pytest.mark.ranks(2, 3, 4, ranks_per_node=(1, 2))
@pytest.mark.parametrize("all_serve", [True, False])
def test_ranks_count_the_edges_of_the_graph_together(world, all_serve):
    from mpignn.mpi.world import initialize
    from mpignn.store.visits import Visits
    if not all_serve:       # the edges are cut for the trainers otherwise than for the servers
        world = initialize(0, max(map(world.topology.node_of_rank.count, world.topology.node_of_rank)), 1)
    published, arrays = publish(world, "owner", "none")
    if Role.TRAINER in world.role:
        visits = Visits(published, world.topology, world.trainers)
        sources = arrays["edge/node:to:node/indices"]
        np.testing.assert_array_equal(visits.out_degrees()["node"], np.bincount(sources, minlength=NODES))
        seeds = (np.arange(NODES) % 5 == 0).astype(float)
        found = visits.chances({"node": seeds}, [4], lambda fanout, degrees: fanout / degrees)["node"]
        of_seeds = np.bincount(sources, np.repeat(seeds, DEGREE), NODES)
        np.testing.assert_allclose(found, 1 - (1 - seeds) * 0.5 ** of_seeds)
    world.finish()
    published.transport.free()


def batches(loader, most=None):
    """(ids, rows, labels) of the batches of a pass, or of the first ones."""
    found = []
    for _, _, blocks in loader:
        found.append((blocks[0].srcdata[mg.NID].numpy().copy(), blocks[0].srcdata["features"].numpy().copy(),
                      blocks[-1].dstdata["labels"].numpy().copy()))
        if len(found) == most:
            break
    return found


@pytest.mark.ranks(3, 4, ranks_per_node=(1, 2, 3))
@each_way
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("thread", [False, True])
def test_batches_are_the_same_by_turns(world, access, prefetch, thread):
    """Whole passes, one that all leave, and one inside another one."""
    if thread and access == "owner" and BOTH in world.topology.roles:
        pytest.skip("a rank that computes does not serve")
    with opened_graph(replace(world, access=access), random_graph(5, 200, 1200)) as g:
        if world.trainers is None:
            return
        sampler = mg.NeighborSampler([3, 3], prefetch_node_feats=["features"], prefetch_labels=["labels"])

        def passes():
            loader = mg.NodeDataLoader(g, np.arange(200), sampler, global_batch_size=20, shuffle=True,
                                       prefetch=prefetch, thread=thread)
            inner = mg.NodeDataLoader(g, np.arange(60), sampler, global_batch_size=30, thread=False)
            found = batches(loader)
            loader.set_epoch(1)
            found += batches(loader, 4)
            loader.set_epoch(2)
            for one, _ in zip(loader, range(3), strict=False):
                found += batches(inner)
                found.append((one[0].numpy().copy(), one[2][0].srcdata["features"].numpy().copy()))
            loader.set_epoch(3)
            return found + batches(loader)

        expected, before = passes(), g.stats(reset=True)
        features = published_graph(g).node_data("_N", "features")[0]
        away = 0 if features.whole else 200 - (features.hi - features.lo)
        published_graph(g).transport.keep_by_turns({features.spec.name: away // 4}, 2)
        assert (published_graph(g).transport.turns is None) == (away == 0)
        got, after = passes(), g.stats()
        for one, other in zip(expected, got, strict=True):
            for rows, same in zip(one, other, strict=True):
                np.testing.assert_array_equal(rows, same)
        if away:
            assert after.rows("feature", target="cache") > 0
            moved = after.rows("feature", target="cache") + after.rows("feature", target="remote")
            # What was under way when a pass was left counts as far as it came.
            assert moved == pytest.approx(before.rows("feature", target="remote"), rel=0.2)
