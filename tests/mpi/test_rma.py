"""Rows over MPI: what every transport does, for all shapes of a job."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from mpignn.roles import BOTH, Role, Topology
from transport_suite import CHECKS, NUM_ROWS, Request, ask, fill, specs

SHAPES = {"ranks_per_node": (None, 1, 2)}


@contextmanager
def opened(world, **options):
    """A published transport; servers serve until the block has ended on all ranks."""
    from mpignn.mpi.rma import MpiTransport
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


@pytest.mark.ranks(1, 2, 3, 4, **SHAPES)
def test_transport(world):
    check_all(world)


@pytest.mark.ranks(4, **SHAPES)
def test_several_servers_on_a_node(world):
    from mpignn.mpi.world import initialize
    per_node = min(map(world.topology.node_of_rank.count, world.topology.node_of_rank))
    check_all(initialize(0, per_node))
    if per_node > 2:
        check_all(initialize(2, per_node))


@pytest.mark.ranks(3, 4, ranks_per_node=(2,))
def test_a_node_without_servers(world):
    nodes = world.topology.node_of_rank
    roles = tuple(Role.TRAINER if node else BOTH for node in nodes)
    world = replace(world, topology=Topology(nodes, roles))
    with opened(world) as transport:
        window = transport.windows["wide"]
        assert (window.lo, window.hi) == ((0, NUM_ROWS) if world.node_id == 0 else (NUM_ROWS, NUM_ROWS))
        for check in CHECKS.values():
            check(transport, np.random.default_rng(world.rank))


@pytest.mark.ranks(3, **SHAPES)
def test_shared_memory_of_the_mpi_library_serves_too(world):
    check_all(world, segment="window")


@pytest.mark.ranks(3, ranks_per_node=(1, 2))
def test_reads_longer_than_the_limit_are_cut(world):
    check_all(world, chunk_bytes=1000)


class Forbidden:
    """Stands where MPI is, and lets nobody use it."""

    def __getattr__(self, name):
        raise AssertionError(f"{name} was used")


@pytest.mark.ranks(2, 3)
def test_on_one_node_gathering_makes_no_mpi_call(world):
    from mpignn.mpi import rma
    with opened(world) as transport:
        assert transport._win is None
        mpi, rma.MPI, transport._win, transport._world = rma.MPI, Forbidden(), Forbidden(), Forbidden()
        try:
            if Role.TRAINER in world.role:
                for check in CHECKS.values():
                    check(transport, np.random.default_rng(0))
        finally:
            rma.MPI, transport._win, transport._world = mpi, None, world
        assert transport.stats == {"gets": 0, "rows": 0, "bytes": 0}


@pytest.mark.ranks(2, 3, ranks_per_node=(1,))
def test_one_read_for_each_owner(world):
    with opened(world) as transport:
        rng = np.random.default_rng(0)
        ids = np.concatenate([rng.integers(0, NUM_ROWS, 200), np.arange(0, NUM_ROWS, 900)])
        ask(transport, [("wide", ids), ("narrow", ids), ("pairs", ids), ("wide", ids[:3])])
        assert transport.stats["gets"] == world.size - 1
        window = transport.windows["wide"]
        distinct = np.unique(ids[(ids < window.lo) | (ids >= window.hi)])
        again = np.unique(ids[:3][(ids[:3] < window.lo) | (ids[:3] >= window.hi)])
        assert transport.stats["rows"] == 3 * distinct.size + again.size


@pytest.mark.ranks(2, ranks_per_node=(1,))
def test_rows_of_others_need_an_open_transport(world):
    from mpignn.errors import CommError
    with opened(world) as transport:
        windows = dict(transport.windows)
    wide = windows["wide"]
    other = np.array([NUM_ROWS - 1 if world.rank == 0 else 0])
    with pytest.raises(CommError, match="not published or already freed"):
        transport.gather([Request(wide, other, np.empty((1, 100), np.float32))])
