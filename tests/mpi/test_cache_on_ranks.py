"""Copies of rows of other nodes: read in the place of messages, the same rows, and counted."""

import numpy as np
import pytest
from test_calls import DEGREE, NODES, publish
from test_ways import each_way, opened

from mpignn.roles import Role
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
        transport.keep(kept)
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
