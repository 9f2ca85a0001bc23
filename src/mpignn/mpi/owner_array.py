"""Arrays of the trainers without one-sided MPI: they answer each other, in whatever they wait for.

A question, after its head, is three whole numbers, of which the first says what to do, then the row numbers, then what
to write.  The questions of a trainer are done in the order in which it asked them; so an answer to the last one means
that all before are done.

Each row has one process that reduces into it, its owner's, which does one question after the other: that makes
reductions exact.

Shapes: N rows asked for or given.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mpignn.comm.sharded import ArraySpec
from mpignn.comm.writable import REDUCTIONS
from mpignn.mpi.library import MPI
from mpignn.mpi.owners import Owners, wait_for
from mpignn.mpi.sync import CHUNK_BYTES, MpiGroup
from mpignn.mpi.trainer_array import HELD_BYTES, TrainerArray, TrainerGroups

_GET, _PUT, _FLUSH, *_ = _KINDS = ("get", "put", "flush", *REDUCTIONS)
_HEAD = 4               # tag, kind, array, rows
_PIECE_BYTES = 4 << 20  # of a message
_LEAVING = 4            # replies to one trainer that may be on their way before the next one is made


class TrainerOwners:
    """The trainers, asked to read and write rows that they own."""

    def __init__(self, trainers: MpiGroup) -> None:
        """Start answering.  Collective over the trainers."""
        trainers.blocks = False         # a trainer inside a blocking call would not answer
        self._rows: dict[int, tuple[np.ndarray, int]] = {}      # of each array: those owned here, number of the first
        self._made = 0
        self._owners = Owners(trainers, self._answer, _LEAVING, in_order=True)

    def enter(self, rows: np.ndarray, lo: int) -> int:
        """Answer for an array; returns its number, the same on all trainers.

        Args:
            rows: (N, W) those that this trainer owns.
            lo: Number of the first.

        All trainers call it, in the same order, and meet before the first question.
        """
        number, self._made = self._made, self._made + 1
        self._rows[number] = rows, lo
        return number

    def leave(self, number: int) -> None:
        """Answer for an array no more.  Not collective; no question is under way."""
        del self._rows[number]

    def ask(self, owner: int, kind: str, array: int, ids: np.ndarray, rows: np.ndarray | None = None,
            reply: np.ndarray | None = None) -> list[MPI.Request]:
        """Send a question.  Not collective.

        Args:
            owner: Owner of the rows.
            kind: One of `_KINDS`.
            array: Its number.
            ids: (N,) int64 rows.
            rows: (N, W) to write; may be changed once this returns.
            reply: (bytes,) uint8 memory for what comes back; None if nothing does.

        Returns:
            What to wait for.
        """
        head = np.array([0, _KINDS.index(kind), array, ids.size])
        parts = [head, ids] if rows is None else [head, ids, rows]
        question = np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts])
        return self._owners.ask(owner, question, () if reply is None else (reply,))

    def free(self) -> None:
        """Answer no more.  Collective over the trainers."""
        self._owners.free()

    def _answer(self, question: np.ndarray) -> Sequence[np.ndarray]:
        """Do what a question says."""
        _, number, array, count = question[:8 * _HEAD].view(np.int64).tolist()
        kind = _KINDS[number]
        if kind == _FLUSH:
            return (np.empty(0, np.uint8),)
        rows, lo = self._rows[array]
        end = 8 * (_HEAD + count)
        places = question[8 * _HEAD:end].view(np.int64) - lo
        if kind == _GET:
            return (rows[places],)
        given = question[end:].view(rows.dtype).reshape(count, rows.shape[1])
        rows[places] = given if kind == _PUT else REDUCTIONS[kind](rows[places], given)
        return ()


class OwnerArray(TrainerArray):
    """Rows that their owner reads, replaces and reduces for trainers of other nodes; it reduces for all."""

    def __init__(self, groups: TrainerGroups, owners: TrainerOwners, spec: ArraySpec, segment: str | None = None,
                 chunk_bytes: int = CHUNK_BYTES) -> None:
        """As `TrainerArray`.  Collective over the trainers.

        Args:
            groups, spec, segment: As there.
            owners: Those of the same trainers.
            chunk_bytes: No message has more, unless a row is larger.
        """
        row_bytes = spec.width * spec.dtype.itemsize
        super().__init__(groups, spec, segment, max(1, min(chunk_bytes, _PIECE_BYTES) // (8 + row_bytes)))
        self._owners = owners
        self._number = owners.enter(self.local, self.lo)
        self._near = range(self._first, self._first + groups.node.size)
        self._written: set[int] = set()     # owners that have not yet said that they have done all
        self._under_way: list[MPI.Request] = []
        self._held_bytes = 0
        groups.all.barrier()

    def flush(self) -> None:
        if not self._written:
            return
        acknowledged = [self._owners.ask(owner, _FLUSH, self._number, _NO_ROWS, reply=np.empty(0, np.uint8))
                        for owner in sorted(self._written)]
        with self._waiting():
            wait_for([*self._under_way, *(request for requests in acknowledged for request in requests)])
        self._written, self._under_way, self._held_bytes = set(), [], 0

    def sync(self) -> None:
        self.flush()
        self._groups.all.barrier()      # a message after each store in the node's memory, and before each load

    def _free(self) -> None:
        self._finish_readings()
        self.flush()
        self._groups.all.barrier()      # nobody still asks for what is taken away
        self._owners.leave(self._number)
        self._free_memory()

    def _settle(self) -> None:
        """Owners of other nodes keep the order; memory of this node is read and written without asking its owners."""
        if not self._written.isdisjoint(self._near):
            self.flush()

    def _fetch(self, rows: np.ndarray, landing: np.ndarray) -> Callable[[], None]:
        asked: list[MPI.Request] = []
        for owner, begin, end in self._calls("tensor", rows):
            memory = landing[begin:end].reshape(-1).view(np.uint8)
            asked += self._owners.ask(owner, _GET, self._number, rows[begin:end], reply=memory)
        return partial(wait_for, asked)

    def _send(self, ids: np.ndarray, rows: np.ndarray) -> None:
        self._write(_PUT, ids, rows)

    def _accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        self._count("write", ids)
        first, last = np.searchsorted(ids, [self.lo, self.hi])
        mine = ids[first:last] - self.lo
        self.local[mine] = REDUCTIONS[how](self.local[mine], rows[first:last])
        for others in slice(0, first), slice(last, ids.size):
            self._write(how, ids[others], rows[others])

    def _write(self, kind: str, ids: np.ndarray, rows: np.ndarray) -> None:
        """Let owners replace or reduce rows."""
        for owner, begin, end in self._calls("write", ids):
            self._under_way += self._owners.ask(owner, kind, self._number, ids[begin:end], rows[begin:end])
            self._written.add(owner)
            self._held_bytes += rows[begin:end].nbytes
        if self._held_bytes > HELD_BYTES:
            self.flush()


_NO_ROWS = np.empty(0, np.int64)
