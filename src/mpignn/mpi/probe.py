"""Which way to the rows of other nodes is faster here, and whether RMA works at all: measured at start."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from mpignn.comm.group import Group
from mpignn.comm.sharded import ArraySpec, array_spec
from mpignn.comm.transport import Request
from mpignn.mpi.access import AUTO, BULK, OWNER, RMA, SMALL, Access, Measured, choose
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import wait_until
from mpignn.mpi.transport import MpiTransport
from mpignn.mpi.world import World

log = logging.getLogger(__name__)

_TABLE_ROWS = 10_000
_REPEATS, _IN_A_ROW, _BUDGET_S = 5, 3, 0.25
_ANSWER_S = 5.0         # a Get that takes longer than this never comes
_COMPUTE_S = 0.05       # how long the target of a Get plays dead
_TAG = 1


def choose_access(world: World, asked: str) -> tuple[World, Access]:
    """Decide how rows of other nodes come.  Collective over the world.

    Args:
        world: The job.
        asked: ``rma``, ``owner``, or ``auto`` to measure both ways: the trainers of each node ask a server of
            another one, all at the same time and the same way as in a job.  Owners are taken if they are faster.  A
            node whose servers also train is asked by ``owner`` unless a Get ends while they compute.

    Returns:
        The world, with its ``access`` set, and what led to them, the same on all ranks.
    """
    nodes = len(world.topology.nodes)
    if nodes == 1 or asked != AUTO:
        way = RMA if asked == AUTO else asked
        access = Access(asked, ((way,) * nodes,) * nodes)
    else:
        access = _measure(world)
    return replace(world, access=access.ways[world.node_id]), access


def _measure(world: World) -> Access:
    topology = world.topology
    target = _target(world)
    if all(of_rank is None for of_rank in world.all.allgather(target)):       # nobody ever asks another node
        return Access(AUTO, choose(topology, None, ()))
    blocked = [(group, group.blocks) for group in world.groups]
    bounds = np.arange(len(topology.server_ranks) + 1) * _TABLE_ROWS
    specs = [array_spec("bulk", np.uint8, BULK[1], bounds), array_spec("small", np.uint8, SMALL[1], bounds)]
    ways = {OWNER: _open(world, specs, OWNER), RMA: _open(world, specs, RMA)}
    passive = _try_get(world, ways[RMA].one_sided)
    if passive is None:
        if world.rank == 0:
            log.warning("a one-sided read was not answered within %g s: this MPI's RMA does not work here, rows will "
                        "come from their owners", _ANSWER_S)
        _abandoned.append(ways.pop(RMA))        # to free a window with a read under way would wait for ever
    mine = [] if world.trainers is None else _measure_as_trainer(world, world.trainers, ways, target)
    world.finish()      # servers serve meanwhile
    for transport in ways.values():
        transport.free()
    for group, blocks in blocked:       # whether that has to stop is up to the transports of the job
        group.blocks = blocks
    measured = _by_pair(m for of_rank in world.all.allgather(mine) for m in of_rank)
    return Access(AUTO, choose(topology, passive, measured), passive, measured)


def _measure_as_trainer(world: World, trainers: Group, ways: Mapping[str, MpiTransport],
                        target: int | None) -> list[Measured]:
    """Ask the target, while all trainers ask theirs.  Collective over the trainers."""
    bulk, small = (_time(world, trainers, ways, name, target, rows)
                   for name, (rows, _) in (("bulk", BULK), ("small", SMALL)))
    if target is None:
        return []
    return [Measured(world.node_id, target, *(found.get(way, np.inf) for found in (bulk, small)
                                              for way in (RMA, OWNER)))]


def _by_pair(measured: Iterable[Measured]) -> tuple[Measured, ...]:
    """One for each pair of nodes: the medians of what its trainers found."""
    of_pair: dict[tuple[int, int], list[Measured]] = {}
    for one in measured:
        of_pair.setdefault((one.origin, one.target), []).append(one)
    return tuple(Measured(*pair, *(median(getattr(one, name) for one in found)
                                   for name in ("rma_s", "owner_s", "rma_small_s", "owner_small_s")))
                 for pair, found in of_pair.items())


def _target(world: World) -> int | None:
    """The node that this rank measures, None unless it trains: each serving one is asked by about as many."""
    topology = world.topology
    serving = sorted({topology.node_of_rank[rank] for rank in topology.server_ranks})
    if world.trainers is None or serving == [world.node_id]:
        return None
    if world.node_id in serving:
        return serving[(serving.index(world.node_id) + 1) % len(serving)]
    return serving[world.node_id % len(serving)]


def _open(world: World, specs: list[ArraySpec], way: str) -> MpiTransport:
    transport = MpiTransport(world, specs, way)
    if world.server_index is not None:
        for spec in specs:
            transport.shard(spec.name)[:] = _rows(spec, world.server_index * _TABLE_ROWS + np.arange(_TABLE_ROWS)).flat
    transport.publish()
    return transport


def _rows(spec: ArraySpec, ids: np.ndarray) -> np.ndarray:
    """What the rows ``ids`` hold."""
    return (ids[:, None] * 31 + np.arange(spec.width)).astype(np.uint8)


def _time(world: World, trainers: Group, ways: Mapping[str, MpiTransport], name: str, node: int | None,
          rows: int) -> dict[str, float]:
    """Seconds of a request to a node by each way; all trainers take the same way at a time.  Collective over these.

    The ways take turns, since other work comes and goes.

    Args:
        world: The job.
        trainers: All that measure.
        ways: What carries the rows.
        name: Name of the array.
        node: Whom to ask; None: nobody.
        rows: Number of rows of a request.
    """
    requests = {} if node is None else {way: [_request(world, transport, name, node, rows)]
                                        for way, transport in ways.items()}
    for way, asked in requests.items():     # once untimed: makes connections, shows whether the bytes are right
        ways[way].gather(asked).wait()
    right = {way: (asked[0].out == _rows(asked[0].array.spec, asked[0].ids)).all() for way, asked in requests.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    began, rounds = time.perf_counter(), 0
    while rounds < 2 or rounds < _REPEATS and not any(trainers.allgather(time.perf_counter() - began > _BUDGET_S)):
        for way, transport in ways.items():
            trainers.barrier()
            asked_at = time.perf_counter()
            for _ in range(_IN_A_ROW if requests else 0):
                transport.gather(requests[way]).wait()
            times[way].append((time.perf_counter() - asked_at) / _IN_A_ROW)
        rounds += 1
    return {way: median(times[way]) if right[way] else np.inf for way in requests}


def _request(world: World, transport: MpiTransport, name: str, node: int, rows: int) -> Request:
    """Rows of the first server of a node, other ones for each rank."""
    first, array = world.topology.servers_of(node)[0], transport.arrays[name]
    # No two next to each other, as is usual in a large graph: RMA would fetch neighbors as one piece.
    chosen = np.random.default_rng(world.rank).permutation(_TABLE_ROWS // 2)[:rows]
    return Request(array, first * _TABLE_ROWS + 2 * chosen, np.empty((rows, array.spec.width), np.uint8))


_abandoned: list[Any] = []       # what an operation that never ended may still use


def _try_get(world: World, win: MPI.Win) -> bool | None:
    """Whether a Get ends while its target computes; None if it does not even while the target polls.

    Collective over the world.  The reads are of a few bytes and are polled for, so nothing here can hang.
    """
    topology = world.topology
    target, origin = next((s, t) for s in topology.server_ranks for t in topology.trainer_ranks
                          if topology.node_of_rank[s] != topology.node_of_rank[t])
    comm, passive = world.all.comm, None
    answered = True
    if world.rank == origin:
        first = _Get(win, target)
        answered = first.ends(_ANSWER_S)
    if not all(world.all.allgather(answered)):
        return None
    if world.rank == target:
        comm.Send(np.zeros(1), origin, _TAG)
        time.sleep(_COMPUTE_S)
    elif world.rank == origin:
        wait_until(comm.Irecv(np.empty(1), target, _TAG).Test, 0)
        second = _Get(win, target)
        passive = second.ends(_COMPUTE_S / 2)
        second.ends(_ANSWER_S)
    told: bool | None = world.all.bcast(passive, origin)
    return told


class _Get:
    """A one-sided read of a few bytes.  Kept if it does not end: its memory may still be written to."""

    def __init__(self, win: MPI.Win, target: int) -> None:
        self._request = win.Rget([np.empty(8, np.uint8), MPI.BYTE], target)

    def ends(self, within_s: float) -> bool:
        """Whether it ends in time."""
        end = time.perf_counter() + within_s
        while not self._request.Test():
            if time.perf_counter() > end:
                _abandoned.append(self)
                return False
            os.sched_yield()
        return True
