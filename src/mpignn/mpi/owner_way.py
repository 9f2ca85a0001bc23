"""The two-sided way to rows of other nodes: the owner packs them and sends them back.  No RMA at all.

A question, after its head, is whole numbers: how many arrays it is about, for each of them its number and how many
rows, then all row numbers.  The replies are the rows in that order, whole ones, in as few messages as their limit
allows.

Shapes: P arrays that a question is about, K rows asked for.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mpignn.comm.sharded import ArraySpec
from mpignn.log import activity
from mpignn.mpi.layout import Layout, cut_rows
from mpignn.mpi.library import MPI
from mpignn.mpi.owners import Owners, wait_for
from mpignn.mpi.ways import Ask, Held, SplitRequest, Way
from mpignn.mpi.world import World
from mpignn.roles import BOTH, Role

_PIECE_BYTES = 1 << 20
_LEAVING = 2            # one piece is packed while another one leaves


class OwnerWay(Way):
    """The servers of all nodes, asked for rows of the graph."""

    def __init__(self, world: World, held: Held) -> None:
        """Start answering.  Collective over the world."""
        if BOTH in world.topology.roles:
            world.never_block()     # a rank inside a blocking call would not serve
        self._limit = min(held.chunk_bytes, _PIECE_BYTES)
        self._number = {spec.name: number for number, spec in enumerate(held.specs)}
        self._rank_of_server = world.topology.server_ranks
        serves = Role.SERVER in world.role
        self._shelves = [_Shelf(spec, held.segment, held.layout) for spec in held.specs] if serves else []
        self._owners = Owners(world.all, self._answer if serves else None, _LEAVING, in_order=False)

    def ask(self, server: int, splits: Sequence[SplitRequest], landed: int) -> Ask:
        head, ids, counts, sizes = [0, len(splits)], [], [], []
        for split in splits:
            rows = split.rows_of(server)
            split.land(server, landed + np.arange(rows.size) * split.row_bytes)
            landed += rows.size * split.row_bytes
            head += [self._number[split.request.array.spec.name], rows.size]
            ids.append(rows)
            counts.append(rows.size)
            sizes.append(split.row_bytes)
        replies = [sum(rows * sizes[p] for p, _, rows in piece) for piece in cut_rows(counts, sizes, self._limit)]
        return _Exchange(self._owners, self._rank_of_server[server], np.concatenate([head, *ids]), replies)

    def free(self) -> None:
        self._owners.free()

    def _answer(self, question: np.ndarray) -> Iterator[np.ndarray]:
        """The rows that a question asks for, piece by piece."""
        asked = question.view(np.int64)
        arrays = int(asked[1])
        numbers, counts = asked[2:2 + 2 * arrays:2], asked[3:2 + 2 * arrays:2].tolist()
        shelves = [self._shelves[number] for number in numbers]
        sizes = [shelf.row_bytes for shelf in shelves]
        ids = np.split(asked[2 + 2 * arrays:], np.cumsum(counts)[:-1])
        for piece in cut_rows(counts, sizes, self._limit):
            packed, end = np.empty(sum(rows * sizes[p] for p, _, rows in piece), np.uint8), 0
            for p, first, rows in piece:
                begin, end = end, end + rows * sizes[p]
                shelves[p].pack(ids[p][first:first + rows], packed[begin:end])
            yield packed


class _Shelf:
    """The rows of one array that this node has.  (NumPy alone: a server needs no compiled kernel.)"""

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
    """One question to a server, and its replies."""

    calls = 1

    def __init__(self, owners: Owners, server: int, question: np.ndarray, replies: list[int]) -> None:
        self._owners, self._server = owners, server
        self._question, self._replies = question.view(np.uint8), replies
        self._under_way: list[MPI.Request] = []
        self.nbytes = sum(replies)

    def start(self, landing: np.ndarray) -> None:
        pieces, end = [], 0
        for size in self._replies:
            begin, end = end, end + size
            pieces.append(landing[begin:end])
        self._under_way = self._owners.ask(self._server, self._question, pieces)

    def done(self) -> bool:
        return MPI.Request.Testall(self._under_way)

    def wait(self) -> None:
        activity.waits_for = f"rows of world rank {self._server}"
        wait_for(self._under_way)
        activity.waits_for = ""
        self._under_way = []
