"""The one-sided way to rows of other nodes: one `Get` for each owner, in which the owner takes no part.

Shapes: B pieces of memory that the rows of a request lie in.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.log import activity
from mpignn.mpi.layout import chunks, merge
from mpignn.mpi.library import MPI, reads_tell_their_end
from mpignn.mpi.sync import wait_until
from mpignn.mpi.ways import Ask, Held, SplitRequest, Way
from mpignn.mpi.world import World
from mpignn.roles import Role

# Unwanted bytes between two rows that cost less to fetch than a further piece: Open MPI sends each piece of a Get as
# a message of its own (10 to 25 us), MPICH packs them (1 us).
_GAP_BYTES = {"Open MPI": 1024}
_GAP_BYTES_ELSEWHERE = 128
_NAP_S = 100e-6
_TELLS_THE_END = reads_tell_their_end(MPI.get_vendor(), MPI.Get_library_version())     # and so `Rget` is used


class RmaWay(Way):
    """The segments of all nodes as one RMA window, in one access epoch until `free`.

    Attributes:
        win: The window.
        chunk_bytes: No single read is longer.
    """

    def __init__(self, world: World, held: Held) -> None:
        """Open the window: servers expose the segment of their node.  Collective over the world."""
        exposed = held.segment if Role.SERVER in world.role else np.empty(0, np.uint8)
        self._rank_of_server = world.topology.server_ranks
        self._layouts = held.layouts
        self.chunk_bytes = held.chunk_bytes
        self._gap_bytes = _GAP_BYTES.get(MPI.get_vendor()[0], _GAP_BYTES_ELSEWHERE)
        self.win = MPI.Win.Create(exposed if exposed.size else None, 1, comm=world.all.comm)
        self.win.Lock_all(MPI.MODE_NOCHECK)
        self.win.Sync()        # MPICH refuses it outside an access epoch
        world.all.barrier()

    def ask(self, server: int, splits: Sequence[SplitRequest], landed: int) -> Ask:
        layout, pieces = self._layouts.of_server(server), []
        for split in splits:
            spec, rows = split.request.array.spec, split.rows_of(server)
            step = spec.step * spec.dtype.itemsize
            starts = layout.offsets[spec.name] + (rows - spec.bounds[layout.first]) * step
            starts, sizes, at = merge(starts, split.row_bytes, landed, self._gap_bytes)
            split.land(server, at)
            pieces.append((starts, sizes))
            landed += int(sizes.sum())
        starts, sizes = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
        return self.reads(self._rank_of_server[server], starts, sizes)

    def reads(self, target: int, starts: np.ndarray, sizes: np.ndarray) -> Ask:
        """How stretches of the memory that a rank exposes are read, one after the other.  Not collective.

        Args:
            target: World rank that exposes them.
            starts: (B,) first byte of each stretch in its memory.
            sizes: (B,) bytes of each.
        """
        return Gets(self.win, target, list(chunks(starts, sizes, self.chunk_bytes)))

    def free(self) -> None:
        self.win.Unlock_all()
        self.win.Free()


class Gets(Ask):
    """Reads of one server, each of (B,) stretches of its memory: first byte and bytes."""

    def __init__(self, win: MPI.Win, target: int, reads: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._win, self._target, self._reads = win, target, reads
        self._types: list[MPI.Datatype] = []
        self._under_way: list[MPI.Request] = []
        self.calls = len(reads)
        self.nbytes = sum(int(sizes.sum()) for _, sizes in reads)

    def start(self, landing: np.ndarray) -> None:
        begin = 0
        for starts, sizes in self._reads:
            size = int(sizes.sum())
            if sizes.size == 1:
                there = int(starts[0]), size, MPI.BYTE
            else:
                self._types.append(_datatype(starts, sizes))
                there = 0, 1, self._types[-1]
            where = [landing[begin:begin + size], size, MPI.BYTE], self._target, there
            if _TELLS_THE_END:
                self._under_way.append(self._win.Rget(*where))
            else:
                self._win.Get(*where)
            begin += size

    def done(self) -> bool:
        return _TELLS_THE_END and MPI.Request.Testall(self._under_way)

    def wait(self) -> None:
        activity.waits_for = f"rows of world rank {self._target}"
        if _TELLS_THE_END:
            wait_until(self.done, _NAP_S)
        else:
            self._win.Flush(self._target)
        activity.waits_for = ""
        for datatype in self._types:
            datatype.Free()
        self._types = []
        self._under_way = []


def _datatype(starts: np.ndarray, sizes: np.ndarray) -> MPI.Datatype:
    """The bytes at the given stretches, committed.  (mpi4py reads lists faster than arrays.)"""
    if (sizes == sizes[0]).all():
        datatype = MPI.BYTE.Create_hindexed_block(int(sizes[0]), starts.tolist())
    else:
        datatype = MPI.BYTE.Create_hindexed(sizes.tolist(), starts.tolist())
    return datatype.Commit()
