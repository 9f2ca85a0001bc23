"""The two-sided way to rows of other nodes: the owner packs them and sends them back.  No RMA at all.

A request is one message of whole numbers: the tag of its reply, how many windows it is about, for each of them its
number and how many rows, then all row numbers.  The reply is the rows in that order, whole ones, in as few messages
as their limit allows.

A server answers whenever it waits for anything, see `sync.serve_while_waiting`; a rank that serves and trains
therefore does so while it waits for its own rows, too, and two such ranks cannot wait for each other for ever.

Shapes: P windows that a request is about, K rows asked for.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpignn.log import activity
from mpignn.mpi.layout import Layout, cut_rows
from mpignn.mpi.library import MPI
from mpignn.mpi.parts import Ask, Part, Path
from mpignn.mpi.sync import serve_while_waiting, stop_serving, wait_until
from mpignn.mpi.world import World
from mpignn.roles import Role
from mpignn.transport.api import ArraySpec

_REQUEST = 0            # tag; replies have those above it
_REPLY_TAGS = 16_000    # MPI promises tags up to 32767; nobody has as many requests under way
_PIECE_BYTES = 1 << 20
_NAP_S = 100e-6


class OwnerPath(Path):
    """Requests and replies on a communicator of their own."""

    def __init__(self, world: World, segment: np.ndarray, layout: Layout, specs: Sequence[ArraySpec],
                 chunk_bytes: int) -> None:
        """Start answering.  Collective over the world.

        Args:
            world: The job.
            segment: (bytes,) uint8 memory of this node.
            layout: Where rows lie in it.
            specs: The arrays, in the same order on all ranks.
            chunk_bytes: No reply is longer, unless a single row is.
        """
        self._world = world
        self.comm = world.world.comm.Dup()
        self._limit = min(chunk_bytes, _PIECE_BYTES)
        self._number = {spec.name: number for number, spec in enumerate(specs)}
        self._rank_of_server = world.topology.server_ranks
        self._serial = 0
        self._answers: list[Iterator[None]] = []
        self._serves = Role.SERVER in world.role
        if self._serves:
            self._shelves = [_Shelf(spec, segment, layout) for spec in specs]
            serve_while_waiting(self._serve)

    def ask(self, server: int, parts: Sequence[Part], landed: int) -> Ask:
        head, ids, counts, sizes = [], [], [], []
        for part in parts:
            rows = part.rows_of(server)
            part.land(server, landed + np.arange(rows.size) * part.row_bytes)
            landed += rows.size * part.row_bytes
            head += [self._number[part.request.window.spec.name], rows.size]
            ids.append(rows)
            counts.append(rows.size)
            sizes.append(part.row_bytes)
        self._serial = self._serial % _REPLY_TAGS + 1
        message = np.concatenate([[self._serial, len(ids)], head, *ids])
        replies = [sum(rows * sizes[p] for p, _, rows in piece) for piece in cut_rows(counts, sizes, self._limit)]
        return _Exchange(self.comm, self._rank_of_server[server], self._serial, message, replies)

    def free(self) -> None:
        self._world.world.barrier()     # serving: what was asked for and never waited for is answered, too
        if self._serves:
            wait_until(lambda: not self._answers, _NAP_S)
            stop_serving(self._serve)
        self.comm.Free()

    def _serve(self) -> None:
        """Take on new requests, and go on with the answers under way.  Never blocks."""
        while (message := self.comm.Improbe(status=_STATUS, tag=_REQUEST)) is not None:
            self._answers.append(self._answer(message, _STATUS.source, _STATUS.Get_count(MPI.INT64_T)))
        if self._answers:
            self._answers = [answer for answer in self._answers if next(answer, _DONE) is not _DONE]

    def _answer(self, message: MPI.Message, client: int, size: int) -> Iterator[None]:
        """Receive a request and send what it asks for; yields where it would have to wait."""
        asked = np.empty(size, np.int64)
        arrived = message.Irecv([asked, MPI.INT64_T])
        while not arrived.Test():
            yield
        tag, parts = int(asked[0]), int(asked[1])
        numbers, counts = asked[2:2 + 2 * parts:2], asked[3:2 + 2 * parts:2].tolist()
        shelves = [self._shelves[number] for number in numbers]
        sizes = [shelf.row_bytes for shelf in shelves]
        ids = np.split(asked[2 + 2 * parts:], np.cumsum(counts)[:-1])
        under_way: list[MPI.Request] = []
        for piece in cut_rows(counts, sizes, self._limit):
            if len(under_way) == 2:         # one piece is packed while another one leaves
                while not under_way[0].Test():
                    yield
                del under_way[0]
            packed, end = np.empty(sum(rows * sizes[p] for p, _, rows in piece), np.uint8), 0
            for p, first, rows in piece:
                begin, end = end, end + rows * sizes[p]
                shelves[p].pack(ids[p][first:first + rows], packed[begin:end])
            under_way.append(self.comm.Isend([packed, MPI.BYTE], client, tag))
        while not MPI.Request.Testall(under_way):
            yield


_DONE = object()
_STATUS = MPI.Status()


class _Shelf:
    """The rows of one window that this node has.  (NumPy alone: a server needs no compiled kernel.)"""

    def __init__(self, spec: ArraySpec, segment: np.ndarray, layout: Layout) -> None:
        size = spec.dtype.itemsize
        self.row_bytes, step = spec.width * size, spec.step * size
        self._lo = spec.bounds[layout.first]
        num_rows = spec.bounds[layout.last] - self._lo
        offset = layout.offsets[spec.name]
        if spec.step == spec.width:
            self._rows = np.ndarray((num_rows, self.row_bytes), np.uint8, segment, offset)
        else:       # rows overlap; `take` would first copy all of them apart
            self._rows = np.ndarray((num_rows,), np.dtype((np.void, self.row_bytes)), segment, offset, (step,))

    def pack(self, ids: np.ndarray, out: np.ndarray) -> None:
        """Lay the rows end to end.  Args: (K,) ids; (K * row_bytes,) uint8."""
        if self._rows.ndim == 2:
            self._rows.take(ids - self._lo, axis=0, out=out.reshape(-1, self.row_bytes), mode="clip")
        else:
            out.view(self._rows.dtype)[:] = self._rows[ids - self._lo]


class _Exchange(Ask):
    """One request to a server, and its replies."""

    calls = 1

    def __init__(self, comm: MPI.Intracomm, server: int, tag: int, message: np.ndarray, replies: list[int]) -> None:
        self._comm, self._server, self._tag = comm, server, tag
        self._message, self._replies = message, replies
        self._under_way: list[MPI.Request] = []
        self.nbytes = sum(replies)

    def start(self, landing: np.ndarray) -> None:
        begin = 0
        for size in self._replies:      # receives first: replies that come unexpected would be copied once more
            piece = [landing[begin:begin + size], size, MPI.BYTE]
            self._under_way.append(self._comm.Irecv(piece, self._server, self._tag))
            begin += size
        self._under_way.append(self._comm.Isend([self._message, MPI.INT64_T], self._server, _REQUEST))

    def wait(self) -> None:
        activity.waits_for = f"rows of world rank {self._server}"
        wait_until(lambda: MPI.Request.Testall(self._under_way), _NAP_S)
        activity.waits_for = ""
        self._under_way = []
