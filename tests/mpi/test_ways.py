"""Rows over MPI: what every transport does, for all shapes of a job and each way to rows of other nodes."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mpignn.roles import BOTH, Role, Topology
from mpignn.ways import WAYS
from transport_suite import CHECKS, NUM_ROWS, Request, ask, fill, specs

SHAPES = {"ranks_per_node": (None, 1, 2)}
each_way = pytest.mark.parametrize("access", [*WAYS])
# rma-runs differs from rma in how stretches are read alone, and its many reads take long.
most_ways = pytest.mark.parametrize("access", [
    pytest.param(way, marks=pytest.mark.long) if way == "rma-runs" else way for way in WAYS])


@contextmanager
def opened(world, **options):
    """A published transport; servers serve until the block has ended on all ranks."""
    from mpignn.mpi.transport import MpiTransport
    transport = MpiTransport(world, specs(len(world.topology.server_ranks)), **options)
    if world.server_index is not None:
        fill(transport, world.server_index)
    transport.publish()
    yield transport
    world.finish()
    transport.free()


def check_all(world, **options):
    with opened(world, **options) as transport:
        if Role.TRAINER in world.role:
            for number, check in enumerate(CHECKS.values()):
                check(transport, np.random.default_rng((number, world.rank)))


@pytest.mark.each_library
@pytest.mark.ranks(1, 2, 3, 4, **SHAPES)
@each_way
def test_transport(world, access):
    check_all(world, access=access)


@pytest.mark.each_library
@pytest.mark.ranks(4, **SHAPES)
@most_ways
def test_several_servers_on_a_node(world, access):
    from mpignn.mpi.world import initialize
    per_node = min(map(world.topology.node_of_rank.count, world.topology.node_of_rank))
    check_all(initialize(0, per_node), access=access)
    if per_node > 2:
        check_all(initialize(2, per_node), access=access)


@pytest.mark.each_library
@pytest.mark.ranks(3, 4, ranks_per_node=(2,))
@most_ways
def test_a_node_without_servers(world, access):
    nodes = world.topology.node_of_rank
    roles = tuple(Role.TRAINER if node else BOTH for node in nodes)
    world = replace(world, topology=Topology(nodes, roles))
    with opened(world, access=access) as transport:
        array = transport.arrays["wide"]
        assert (array.lo, array.hi) == ((0, NUM_ROWS) if world.node_id == 0 else (NUM_ROWS, NUM_ROWS))
        for check in CHECKS.values():
            check(transport, np.random.default_rng(world.rank))


@pytest.mark.each_library
@pytest.mark.ranks(3, **SHAPES)
def test_shared_memory_of_the_mpi_library_serves_too(world):
    check_all(world, segment="window")


@pytest.mark.ranks(3, ranks_per_node=(1, 2))
@most_ways
@pytest.mark.parametrize("chunk_bytes", [300, pytest.param(1000, marks=pytest.mark.long), 4321])    # of a row: 400
def test_what_is_longer_than_the_limit_is_cut(world, access, chunk_bytes):
    check_all(world, access=access, chunk_bytes=chunk_bytes)


@pytest.mark.each_library
@pytest.mark.ranks(4, ranks_per_node=(1,))
def test_each_node_has_its_way(world):
    check_all(world, access=["rma", "owner", "rma", "owner"] if world.rank < 2 else ["owner", "rma", "owner", "rma"])


class Forbidden:
    """Stands where MPI is, and lets nobody use it."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was used")


@pytest.mark.each_library
@pytest.mark.ranks(2, 3)
def test_on_one_node_gathering_makes_no_mpi_call(world):
    with opened(world) as transport:
        assert transport._ways == {}
        transport._segment.bytes, memory = Forbidden(), transport._segment.bytes
        try:
            if Role.TRAINER in world.role:
                for check in CHECKS.values():
                    check(transport, np.random.default_rng(0))
        finally:
            transport._segment.bytes = memory
        assert not transport.stats().calls()


@pytest.mark.each_library
@pytest.mark.ranks(2, 3, ranks_per_node=(1,))
@each_way
def test_one_request_for_each_owner(world, access):
    with opened(world, access=access) as transport:
        rng = np.random.default_rng(0)
        ids = np.concatenate([rng.integers(0, NUM_ROWS, 200), np.arange(0, NUM_ROWS, 900)])
        ask(transport, [("wide", ids), ("narrow", ids), ("pairs", ids), ("wide", ids[:3])])
        stats = transport.stats(reset=True)
        for server in range(world.size):
            calls = stats.calls("feature", None, "remote", server)
            assert (calls > 0) == (server != world.server_index)
            assert calls <= 1 or access == "rma-runs"       # which reads each run of rows by itself
        array = transport.arrays["wide"]
        here = (ids >= array.lo) & (ids < array.hi)
        distinct, again = np.unique(ids[~here]).size, np.unique(ids[:3][~here[:3]]).size
        assert stats.rows("feature", target="remote") == 3 * distinct + again
        assert stats.bytes("feature", target="remote") == distinct * (400 + 4 + 16) + again * 400
        assert stats.rows("feature", target="self") == 3 * here.sum() + here[:3].sum()
        assert stats.rows("feature", target="node") == 0 and stats.wait_s > 0
        assert not transport.stats().calls() and transport.stats().wait_s == 0


@pytest.mark.each_library
@pytest.mark.ranks(2, ranks_per_node=(1,))
def test_runs_of_rows_are_reads_of_their_own(world):
    """Rows beside each other are one read, and so are those with a small gap between them."""
    with opened(world, access="rma-runs") as transport:
        array = transport.arrays["wide"]
        first = array.hi if array.lo == 0 else 0      # of the other node
        ask(transport, [("wide", first + np.array([0, 1, 2, 50, 90, 91]))])
        assert transport.stats().calls("feature", None, "remote") == 3


@pytest.mark.each_library
@pytest.mark.ranks(1)
def test_ends_of_reads_are_believed_where_they_are_true(world):
    from mpignn.mpi.library import reads_tell_their_end
    over_ucx, over_ofi = "MPICH Device:       ch4:ucx ofi", "MPICH Device:       ch4:ofi"
    believed = {(version, device): reads_tell_their_end(("MPICH", version), device)
                for version in [(4, 3, 2), (5, 0, 1), (5, 0, 2), (5, 1, 0)] for device in (over_ucx, over_ofi)}
    assert {case for case, value in believed.items() if not value} == {((4, 3, 2), over_ucx), ((5, 0, 1), over_ucx)}
    assert not reads_tell_their_end(("Open MPI", (5, 0, 11)), "Open MPI v5.0.11")


@pytest.mark.each_library
@pytest.mark.ranks(3)
def test_rows_of_the_node_are_counted_by_owner(world):
    with opened(world) as transport:
        ask(transport, [("wide", np.arange(10))])
        mine = world.server_index is not None
        assert transport.stats().rows() == transport.stats().rows("feature", None, "self" if mine else "node") == 10


@pytest.mark.each_library
@pytest.mark.ranks(2, ranks_per_node=(1,))
@each_way
def test_rows_of_others_need_an_open_transport(world, access):
    from mpignn.errors import CommError
    with opened(world, access=access) as transport:
        arrays = dict(transport.arrays)
    wide = arrays["wide"]
    other = np.array([NUM_ROWS - 1 if world.rank == 0 else 0])
    with pytest.raises(CommError, match="not published or already freed"):
        transport.gather([Request(wide, other, np.empty((1, 100), np.float32))])


@pytest.mark.each_library
@pytest.mark.ranks(2, 4, ranks_per_node=(1, 2))
@each_way
def test_a_gather_that_nobody_waits_for_does_no_harm(world, access):
    with opened(world, access=access) as transport:
        if Role.TRAINER in world.role:
            wide = transport.arrays["wide"]
            ids = np.random.default_rng(world.rank).integers(0, NUM_ROWS, 3_000)
            transport.gather([Request(wide, ids, np.empty((ids.size, 100), np.float32))])
            ask(transport, [("wide", ids[:100])])


@pytest.mark.each_library
@pytest.mark.ranks(2, 3, ranks_per_node=(1,))
def test_ranks_that_serve_and_train_serve_while_they_wait(world):
    """The last one needs no rows and waits in collectives, where it must answer those who do."""
    world.trainers.blocks = True
    with opened(world, access="owner") as transport:
        for _ in range(10):
            if world.rank != world.size - 1:
                ask(transport, [("wide", np.arange(NUM_ROWS))])
            world.trainers.all_sum(np.ones(3))
            if world.rank != 0:
                ask(transport, [("wide", np.arange(NUM_ROWS))])
            world.trainers.barrier()
            assert world.trainers.allgather(world.rank) == list(range(world.size))
            ask(transport, [("wide", np.arange(NUM_ROWS))])
            assert world.trainers.bcast(world.rank) == 0
