"""Rows from everywhere: those of this node are memory, those of other nodes come by one-sided reads.

Shapes: S servers, N rows asked for, K distinct rows of them, B pieces of memory that they lie in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpignn.buffers import Pool
from mpignn.errors import CommError
from mpignn.kernels.gather import gather_rows, scatter_rows
from mpignn.mpi.layout import Layout, chunks, lay_out, merge
from mpignn.mpi.library import MPI
from mpignn.mpi.segment import Segment
from mpignn.mpi.sync import CHUNK_BYTES
from mpignn.mpi.world import World
from mpignn.roles import Role
from mpignn.transport.api import ArraySpec, Pending, Request, Transport, Window, check_request

# Unwanted bytes between two rows that cost less to fetch than a further piece: Open MPI sends each piece of a Get as
# a message of its own (10 to 25 us), MPICH packs them (1 us).
_GAP_BYTES = {"Open MPI": 1024}
_GAP_BYTES_ELSEWHERE = 128


class MpiTransport(Transport):
    """The rows of all servers: one segment on each node, opened to the other nodes by one RMA window.

    A job on one node makes no window, and its gathers make no MPI call.

    Attributes:
        stats: What was fetched from other nodes: ``gets`` (calls), ``rows`` (distinct) and ``bytes``.
    """

    def __init__(self, world: World, specs: Sequence[ArraySpec], segment: str | None = None,
                 chunk_bytes: int = CHUNK_BYTES):
        """Allocate.  Collective over the world.

        Args:
            world: The job.
            specs: The arrays, the same on all ranks.
            segment: Kind of shared memory, see `Segment`.
            chunk_bytes: No single read is longer.

        Raises:
            ResourceError: On all ranks: a machine has too little memory.
        """
        self._world = world
        topology = world.topology
        self._layouts = [lay_out(specs, topology, node) for node in range(topology.num_nodes)]
        self._layout_of_server = [layout for layout in self._layouts for _ in range(layout.first, layout.last)]
        self._rank_of_server = topology.server_ranks
        self._chunk_bytes = chunk_bytes
        self._gap_bytes = _GAP_BYTES.get(MPI.get_vendor()[0], _GAP_BYTES_ELSEWHERE)
        self._pool = Pool()
        self._win: MPI.Win | None = None
        self._segment = Segment(world, self._layouts[world.node_id].nbytes, segment)
        self.windows = {spec.name: self._window(spec) for spec in specs}
        self.stats = {"gets": 0, "rows": 0, "bytes": 0}

    def _window(self, spec: ArraySpec) -> Window:
        layout = self._layouts[self._world.node_id]
        start = layout.offsets[spec.name]
        stop = start + spec.elements(layout.first, layout.last) * spec.dtype.itemsize
        return Window(spec, spec.bounds[layout.first], spec.bounds[layout.last],
                      self._segment.bytes[start:stop].view(spec.dtype))

    def shard(self, name: str) -> np.ndarray:
        server = self._world.server_index
        assert server is not None, "only servers own rows"
        window = self.windows[name]
        spec = window.spec
        start = (spec.bounds[server] - window.lo) * spec.step
        return window.flat[start:start + spec.elements(server, server + 1)]

    def publish(self) -> None:
        frozen = {}
        for name, window in self.windows.items():
            flat = window.flat.view()
            flat.flags.writeable = False
            frozen[name] = replace(window, flat=flat)
        self.windows = frozen
        self._world.world.barrier()
        if self._world.topology.num_nodes > 1:
            exposed = self._segment.bytes if Role.SERVER in self._world.role else np.empty(0, np.uint8)
            self._win = MPI.Win.Create(exposed if exposed.size else None, 1, comm=self._world.world.comm)
            self._win.Lock_all(MPI.MODE_NOCHECK)
            self._win.Sync()        # MPICH refuses it outside an access epoch
            self._world.world.barrier()

    def gather(self, requests: Sequence[Request]) -> Pending:
        for request in requests:
            check_request(request)
        parts = [_Part(request) for request in requests]
        remote = [part for part in parts if part.remote.size]
        fetch = _Fetch([], [], remote)
        if remote:
            fetch = self._fetch(remote)
        for part in parts:      # while the others are under way
            part.copy_local()
        return fetch

    def free(self) -> None:
        if self._win is not None:
            self._win.Unlock_all()
            self._win.Free()
            self._win = None
        self.windows = {}
        self._segment.free()

    def _fetch(self, parts: "list[_Part]") -> "_Fetch":
        """Start reading the remote rows of all parts, all of a server's in one call."""
        if self._win is None:
            raise CommError("rows of other nodes were asked for, but the transport is not published or already freed")
        fetched = 0
        reads: list[tuple[int, np.ndarray, np.ndarray]] = []
        for server, layout in enumerate(self._layout_of_server):
            pieces = []
            for part in parts:
                pieces.append(part.pieces(server, layout, fetched, self._gap_bytes))
                fetched += int(pieces[-1][1].sum())
            starts, sizes = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
            if starts.size:
                reads.append((server, starts, sizes))
        landing = self._pool.empty(fetched, np.uint8)
        types, targets, begin = [], [], 0
        for server, starts, sizes in reads:
            target = self._rank_of_server[server]
            for piece_starts, piece_sizes in chunks(starts, sizes, self._chunk_bytes):
                size = int(piece_sizes.sum())
                datatype = _datatype(piece_starts, piece_sizes)
                self._win.Get([landing[begin:begin + size], size, MPI.BYTE], target, [0, 1, datatype])
                begin += size
                types.append(datatype)
                self.stats["gets"] += 1
            targets.append(target)
        self.stats["rows"] += sum(part.rows.size for part in parts)
        self.stats["bytes"] += fetched
        for part in parts:
            part.landing = landing
        return _Fetch([(self._win, target) for target in targets], types, parts)


class _Part:
    """One request, split into the rows that are here and those that must be fetched."""

    def __init__(self, request: Request):
        self.request = request
        window, ids = request.window, request.ids
        if window.lo == 0 and window.hi == window.spec.num_rows:
            self.here = slice(None)
            self.remote = self.rows = np.empty(0, np.int64)
            return
        here = (ids >= window.lo) & (ids < window.hi)
        self.here = np.flatnonzero(here)
        self.remote = np.flatnonzero(~here)     # places in the request
        asked = ids[self.remote]
        if (asked[1:] > asked[:-1]).all():
            self.rows, self.which = asked, slice(None)
        else:
            self.rows, self.which = np.unique(asked, return_inverse=True)
        self.cuts = np.searchsorted(self.rows, window.spec.bounds)
        self.at = np.empty(self.rows.size, np.int64)     # byte of the landing memory where each row starts
        self.landing = np.empty(0, np.uint8)

    def copy_local(self) -> None:
        window, ids, out = self.request.window, self.request.ids, self.request.out
        if isinstance(self.here, slice):
            gather_rows(window.view, ids, 0, out)
        elif self.here.size:
            scatter_rows(window.view, ids[self.here], window.lo, self.here, out)

    def pieces(self, server: int, layout: Layout, landed: int, gap: int) -> tuple[np.ndarray, np.ndarray]:
        """The stretches of the segment at a server to read for this part.

        Args:
            server: Whose rows.
            layout: Of the server's node.
            landed: Bytes that arrive before these.
            gap: As in `merge`.

        Returns:
            (B,) first byte and (B,) size of each stretch.
        """
        spec = self.request.window.spec
        mine = slice(self.cuts[server], self.cuts[server + 1])
        size = spec.dtype.itemsize
        starts = layout.offsets[spec.name] + (self.rows[mine] - spec.bounds[layout.first]) * (spec.step * size)
        starts, sizes, self.at[mine] = merge(starts, spec.width * size, landed, gap)
        return starts, sizes

    def copy_landed(self) -> None:
        spec, out = self.request.window.spec, self.request.out
        size = spec.dtype.itemsize
        # Every byte may start a row: rows are addressed by their first byte.
        rows = np.ndarray((self.landing.size - spec.width * size + 1, spec.width), spec.dtype, self.landing,
                          strides=(1, size))
        scatter_rows(rows, self.at[self.which], 0, self.remote, out)


@dataclass
class _Fetch(Pending):
    """Reads under way.

    Attributes:
        open: Window and rank of each target that is still to be flushed.
        types: Datatypes in use.
        parts: Requests to complete.
    """

    open: list[tuple[MPI.Win, int]]
    types: list[MPI.Datatype]
    parts: list[_Part]

    def wait(self) -> None:
        for win, target in self.open:
            win.Flush(target)
        for datatype in self.types:
            datatype.Free()
        for part in self.parts:
            part.copy_landed()
        self.open, self.types, self.parts = [], [], []


def _datatype(starts: np.ndarray, sizes: np.ndarray) -> MPI.Datatype:
    """The bytes at the given stretches, committed.  (mpi4py reads lists faster than arrays.)"""
    if (sizes == sizes[0]).all():
        datatype = MPI.BYTE.Create_hindexed_block(int(sizes[0]), starts.tolist())
    else:
        datatype = MPI.BYTE.Create_hindexed(sizes.tolist(), starts.tolist())
    return datatype.Commit()
