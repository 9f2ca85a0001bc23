"""Rows from everywhere: those of this node are memory, those of other nodes come by RMA or from their owners.

Shapes: S servers, N rows asked for.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.copies import Copies, Runs
from mpignn.comm.sharded import ArraySpec, Pending
from mpignn.comm.transport import GraphArray, OnMain, Request, Transport, check_request, read_only
from mpignn.comm.turns import Room, Turns, room_for, turns_bytes
from mpignn.duties import serve
from mpignn.errors import CommError
from mpignn.mpi.copies import CopiesMemory
from mpignn.mpi.layout import Layouts
from mpignn.mpi.library import MPI
from mpignn.mpi.owner_array import OwnerArray, TrainerOwners
from mpignn.mpi.rma_array import RmaArray
from mpignn.mpi.rma_way import RmaWay
from mpignn.mpi.segment import Segment, SharedMemory
from mpignn.mpi.sync import CHUNK_BYTES, wait_until
from mpignn.mpi.trainer_array import TrainerArray, TrainerGroups, check_memory
from mpignn.mpi.ways import Ask, Held, SplitRequest, Way, open_way
from mpignn.mpi.world import World
from mpignn.ways import WAYS

log = logging.getLogger(__name__)

_KEPT_BYTES = 16 << 20      # of copies, fetched at a time
_NAP_S = 100e-6


class MpiTransport(Transport):
    """The rows of all servers: one segment on each node, and for each other node one way to its rows.

    A job on one node makes no window and no communicator, and its gathers make no MPI call.
    """

    def __init__(self, world: World, specs: Sequence[ArraySpec], access: str | Sequence[str] | None = None,
                 segment: str | None = None, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Allocate.  Collective over the world.

        Args:
            world: The job.
            specs: The arrays, in the same order on all ranks.
            access: How rows of other nodes come, a name of `mpignn.ways.WAYS`; or one for each node.  None: as the
                world has it.
            segment: Kind of shared memory, see `Segment`.
            chunk_bytes: No single read or reply is longer.

        Raises:
            ResourceError: On all ranks: a machine has too little memory.
        """
        super().__init__()
        self._world, self._specs, self._chunk_bytes = world, tuple(specs), chunk_bytes
        topology = world.topology
        access = world.access if access is None else access
        self._access = (access,) * len(topology.nodes) if isinstance(access, str) else tuple(access)
        assert set(self._access) <= WAYS.keys() and len(self._access) == len(topology.nodes)
        self._layouts = Layouts(specs, topology)
        self._layout = self._layouts.of_node(world.node_id)
        self._node_of_server = [topology.node_of_rank[rank] for rank in topology.server_ranks]
        self._pool = Pool()
        self._ways: dict[str, Way] = {}
        self._unfinished: dict[int, _Fetch] = {}
        self._trainer_groups: TrainerGroups | None = None       # made when the trainers first share something
        self._by_owners: bool | None = None     # whether their arrays do without RMA; found when they first make one
        self._trainer_owners: TrainerOwners | None = None
        self._copies_memory: list[CopiesMemory] = []
        self._copies: dict[str, Copies] = {}
        self._turns_memory: SharedMemory | None = None
        self._segment = Segment(world, self._layout.nbytes, segment)
        self.arrays = {spec.name: self._array(spec) for spec in specs}

    def _array(self, spec: ArraySpec) -> GraphArray:
        layout = self._layout
        start = layout.offsets[spec.name]
        stop = start + spec.elements(layout.first, layout.last) * spec.dtype.itemsize
        return GraphArray(spec, spec.bounds[layout.first], spec.bounds[layout.last],
                      self._segment.bytes[start:stop].view(spec.dtype), self)

    def shard(self, name: str) -> np.ndarray:
        server = self._world.server_index
        assert server is not None, "only servers own rows"
        array = self.arrays[name]
        spec = array.spec
        start = (spec.bounds[server] - array.lo) * spec.step
        return array.flat[start:start + spec.elements(server, server + 1)]

    def store(self, out: np.ndarray, piece: np.ndarray) -> None:
        self._segment.store(out, piece)

    def publish(self) -> None:
        self.arrays = read_only(self.arrays, self)
        self._segment.seal()
        world = self._world
        if len(world.topology.nodes) == 1:
            world.all.barrier()
            return
        wanted = set().union(*world.all.allgather(set(self._access)))
        held = Held(self._specs, self._segment.bytes, self._layout, self._layouts, self._chunk_bytes)
        self._ways = {name: open_way(name, world, held) for name in sorted(wanted)}     # on all ranks in this order

    def gather(self, requests: Sequence[Request], on_main: OnMain | None = None) -> Pending:
        for request in requests:
            check_request(request)
        splits = [SplitRequest(request, self._copies.get(request.array.spec.name)) for request in requests]
        fetch = _Fetch(self, [split for split in splits if split.remote.size], on_main or _here)
        for split in splits:    # while the others are under way
            split.copy_local()
            self._count_local(split)
        return fetch

    def keep(self, rows: Mapping[str, np.ndarray | Runs], what: str) -> None:
        assert not rows.keys() & self._copies.keys() and self._world.trainers is not None, "trainers keep rows once"
        self._world.trainers.barrier()      # serving; in the blocking calls that come next a rank does not
        groups = self._sharing()
        memory = CopiesMemory(groups, self.arrays, rows, what)
        self._copies_memory.append(memory)
        for name, copies in memory.of.items():     # each trainer of the node fetches its part
            array = self.arrays[name]
            first, last = groups.node.share(copies.ids.size)
            step = max(1, _KEPT_BYTES // max(1, array.spec.width * array.spec.dtype.itemsize))
            for begin in range(first, last, step):
                some = slice(begin, min(last, begin + step))
                self.gather([Request(array, copies.ids[some], copies.rows[some])]).wait()
        groups.all.barrier()
        self._copies |= memory.of

    def keep_by_turns(self, copies: Mapping[str, int], ahead: int) -> None:
        assert self._turns_memory is None and self._world.trainers is not None, "trainers keep rows once"
        self._world.trainers.barrier()      # as in `keep`
        groups = self._sharing()
        me, trainers = groups.node.rank, groups.node.size
        rooms = [room_for(self.arrays[name].spec, count, trainers, ahead) for name, count in copies.items() if count]
        nbytes = turns_bytes(rooms, trainers, ahead) if rooms else 0
        check_memory(groups, nbytes, "the cache")
        self._turns_memory = SharedMemory(groups.node, groups.all, 0, nbytes, True)
        self._turns_memory.seal()       # written by `turns`

        def wait(done: Callable[[], bool]) -> None:
            def looked() -> bool:
                self.progress()
                return done()
            wait_until(looked, _NAP_S)

        def count(room: Room, rows: int) -> None:
            self._stats.count(room.spec.kind, None, "cache", rows, room.row_bytes)

        if rooms:
            self.turns = Turns(self._turns_memory.bytes, me, trainers, rooms, ahead, self.arrays, wait, count)

    def progress(self) -> None:
        self._world.all.comm.Iprobe()
        serve()

    def zeros(self, spec: ArraySpec) -> TrainerArray:
        groups = self._sharing()
        if self._by_owners is None:
            self._by_owners = self._owners_are_the_way(groups)
            if self._by_owners:
                self._trainer_owners = TrainerOwners(groups.all)
            log.info("tensors of the trainers: rows are %s", "read and written by one-sided calls"
                     if self._trainer_owners is None else "read and written by their owners, without one-sided calls")
        if self._trainer_owners is not None:
            return OwnerArray(groups, self._trainer_owners, spec)
        return RmaArray(groups, spec)

    def _sharing(self) -> TrainerGroups:
        """The trainers, and those of this node.  Collective over the trainers at first."""
        if self._trainer_groups is None:
            self._trainer_groups = TrainerGroups(self._world, self._stats)
        return self._trainer_groups

    def _owners_are_the_way(self, groups: TrainerGroups) -> bool:
        """Whether trainers' arrays do without one-sided calls: some trainer gets rows of some other node by a way
        that does, or these calls are not to be trusted.  Collective over the trainers.

        Between machines the accumulates of Open MPI, where it emulates them over messages (osc/rdma, seen in 5.0.11),
        can wait for each other for ever: the end of one, told by a message, waits in that message's handler for one.
        """
        ways = {way for node, way in enumerate(self._access) if node != self._world.node_id or len(self._access) == 1}
        emulated = MPI.get_vendor()[0] == "Open MPI" and groups.host.size < groups.all.size
        return emulated or not all(WAYS[way].one_sided for of_rank in groups.all.allgather(ways) for way in of_rank)

    def free(self) -> None:
        if self._trainer_owners is not None:
            self._trainer_owners.free()
        for fetch in list(self._unfinished.values()):
            fetch.wait()
        for memory in self._copies_memory:
            memory.free()
        if self._turns_memory is not None:
            self.turns = None
            self._turns_memory.free()
        if self._trainer_groups is not None:
            self._trainer_groups.free()
        self._trainer_groups = self._trainer_owners = self._turns_memory = None
        self._copies_memory, self._copies = [], {}
        for way in self._ways.values():
            way.free()
        self._ways = {}
        self.arrays = {}
        self._segment.free()

    @property
    def one_sided(self) -> MPI.Win:
        """The RMA window, for tests of it at start."""
        way = self._ways["rma"]
        assert isinstance(way, RmaWay)
        return way.win

    def _way_to(self, server: int) -> Way:
        way = self._ways.get(self._access[self._node_of_server[server]])
        if way is None:
            raise CommError("rows of other nodes were asked for, but the transport is not published or already freed")
        return way

    def _count_local(self, split: SplitRequest) -> None:
        array, ids = split.request.array, split.request.ids
        rows, mine, server = ids.size - split.copied.size - split.remote.size, 0, self._world.server_index
        if server is not None:
            lo, hi = array.spec.bounds[server:server + 2]
            mine = rows if (lo, hi) == (array.lo, array.hi) else int(((ids >= lo) & (ids < hi)).sum())
        for target, count in ("self", mine), ("node", rows - mine), ("cache", split.num_copied):
            self._stats.count(array.spec.kind, split.request.hop, target, count, split.row_bytes)


class _Fetch(Pending):
    """Rows of other nodes under way: all that a gather wants of a server in one message."""

    def __init__(self, transport: MpiTransport, splits: list[SplitRequest], on_main: OnMain) -> None:
        self._transport, self._splits, self._on_main = transport, splits, on_main
        self._asks: list[Ask] = []
        if splits:
            on_main(self._start)

    def _start(self) -> None:
        transport, splits = self._transport, self._splits
        stats, landed = transport._stats, 0
        wanted = defaultdict[int, list[SplitRequest]](list)
        for split in splits:
            for server in split.servers:
                wanted[server].append(split)
        for server, wanting in sorted(wanted.items()):
            ask = transport._way_to(server).ask(server, wanting, landed)
            landed += ask.nbytes
            self._asks.append(ask)
            first = wanting[0].request
            stats.count_calls(first.array.spec.kind, first.hop, "remote", server, ask.calls)
        self._landing = transport._pool.empty(landed, np.uint8)
        begin = 0
        for ask in self._asks:
            ask.start(self._landing[begin:begin + ask.nbytes])
            begin += ask.nbytes
        for split in splits:
            stats.count(split.request.array.spec.kind, split.request.hop, "remote", split.rows.size, split.row_bytes)
        transport._unfinished[id(self)] = self      # kept from being forgotten: memory is still written to

    def wait(self) -> None:
        if not self._splits:
            return
        self._on_main(self._finish)
        for split in self._splits:
            split.copy_landed(self._landing)
        self._asks, self._splits = [], []
        del self._landing, self._transport._unfinished[id(self)]

    def done(self) -> bool:
        return all(ask.done() for ask in self._asks)

    def _finish(self) -> None:
        with self._transport._stats.waiting():
            for ask in self._asks:
                ask.wait()


def _here(call: Callable[[], Any]) -> Any:
    return call()
