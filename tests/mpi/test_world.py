"""Ranks find each other, their nodes and their roles."""

import numpy as np
import pytest

from mpignn.roles import Role, assign_roles, group_nodes

pytestmark = pytest.mark.each_library


@pytest.mark.ranks(1, 2, 3, 4, ranks_per_node=(None, 1, 2))
def test_roles_follow_from_nodes(world):
    nodes = world.topology.node_of_rank
    assert world.topology.roles == assign_roles(nodes)
    assert world.role == world.topology.roles[world.rank]
    assert world.node_id == nodes[world.rank]
    assert (world.server_index is not None) == (Role.SERVER in world.role)
    assert (world.trainers is not None) == (world.trainer_index is not None) == (Role.TRAINER in world.role)


@pytest.mark.ranks(1, 2, 3, 4, ranks_per_node=(None, 1, 2))
def test_groups_hold_the_ranks_they_name(world):
    ranks = range(world.size)
    assert world.all.allgather(world.rank) == list(ranks)
    assert world.node.allgather(world.rank) == [r for r in ranks if world.topology.node_of_rank[r] == world.node_id]
    assert world.host.allgather(world.rank) == list(ranks)      # the tests run on one machine
    if world.trainers is not None:
        assert world.trainers.allgather(world.rank) == list(world.topology.trainer_ranks)
        assert world.trainers.rank == world.trainer_index
    assert (world.servers is not None) == world.is_server
    if world.servers is not None:
        assert world.servers.allgather(world.rank) == list(world.topology.server_ranks)
        assert world.servers.rank == world.server_index


@pytest.mark.ranks(3, ranks_per_node=(None, 1, 2))
def test_nodes_are_cut_in_order_of_rank(world):
    groups = {1: 1, 2: 2, 3: None}[max(map(world.topology.node_of_rank.count, world.topology.node_of_rank))]
    assert world.topology.node_of_rank == group_nodes([0] * world.size, groups)


@pytest.mark.ranks(1, 2, 3)
def test_all_sum_adds_up_over_the_ranks(world):
    for shape in ((), (0,), (5,), (3, 4), (1 << 17,)):
        array = np.full(shape, world.rank + 1.0)
        assert world.all.all_sum(array) is array
        assert (array == world.size * (world.size + 1) / 2).all()


@pytest.mark.ranks(3)
def test_long_arrays_go_in_pieces(world):
    from mpignn.mpi import sync
    whole, sync.CHUNK_BYTES = sync.CHUNK_BYTES, 64
    try:
        array = world.all.all_sum(np.arange(101, dtype=np.int64))
        copy = np.arange(50.0) if world.rank == 1 else np.zeros(50)
        world.all.broadcast(copy, 1)
    finally:
        sync.CHUNK_BYTES = whole
    assert (array == world.size * np.arange(101)).all()
    assert (copy == np.arange(50)).all()


@pytest.mark.ranks(1, 3)
def test_a_value_of_one_rank_is_told_to_all(world):
    for root in range(world.size):
        value = {"root": root, "array": np.arange(100_000)} if world.rank == root else None
        told = world.all.bcast(value, root)
        assert told["root"] == root and (told["array"] == np.arange(100_000)).all()
        told["array"][0] = 5        # it is everybody's own, and writable


@pytest.mark.ranks(2, 3)
def test_a_problem_of_one_rank_is_raised_on_all(world):
    from mpignn.errors import DataError
    problem = DataError("the file is torn") if world.rank == world.size - 1 else None
    with pytest.raises(DataError, match=f"rank {world.size - 1}: the file is torn") as raised:
        world.all.agree(problem)
    assert raised.value.agreed


@pytest.mark.ranks(1, 2, 4)
def test_a_block_succeeds_on_all_ranks_or_fails_on_all(world):
    from mpignn.errors import DataError
    done = []
    with world.all.all_or_none():
        done.append(world.rank)
    for faulty in {0, world.size - 1}:
        with pytest.raises(DataError, match="the file is torn") as raised, world.all.all_or_none():
            if world.rank == faulty:
                raise DataError("the file is torn")
            done.append(world.rank)
        assert raised.value.agreed
    assert done == [world.rank] * (1 + sum(world.rank != faulty for faulty in {0, world.size - 1}))


@pytest.mark.ranks(1, 2, 4)
def test_the_first_rank_acts_for_all(world):
    from mpignn.errors import DataError
    acted = []

    def act():
        acted.append(world.rank)
        if len(acted) == 2:
            raise DataError("the file is torn")
        return {"rank": world.rank}

    assert world.all.by_first(act) == {"rank": 0}
    with pytest.raises(DataError, match="the file is torn"):
        world.all.by_first(act)
    assert acted == [0, 0] * (world.rank == 0)


@pytest.mark.ranks(1, 2, 4)
def test_finish_waits_for_the_last(world):
    import time
    began = time.monotonic()
    if world.rank == world.size - 1:
        time.sleep(0.3)
    world.finish()
    assert time.monotonic() - began > 0.25


@pytest.mark.ranks(2)
def test_a_group_made_from_another_blocks_as_long_as_that_one_does(world):
    from mpignn.mpi.sync import MpiGroup
    first = MpiGroup(world.all.comm, True)
    second = MpiGroup(world.all.comm, MpiGroup(world.all.comm, first))
    assert second.blocks
    first.blocks = False
    assert not second.blocks and second.all_sum(np.ones(1)) == 2
