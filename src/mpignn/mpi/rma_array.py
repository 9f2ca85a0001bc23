"""Arrays of the trainers over one-sided MPI: each trainer opens its rows to all trainers by an RMA window.

Reductions go through the window, those of the node's own rows too, because only then they are atomic.

A read or write of another node's rows may wait until their owner's next MPI call; `sync` completes everything, since
all trainers are inside MPI then.

Shapes: N rows asked for or given, B stretches of rows that follow each other.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from mpignn.comm.sharded import ArraySpec
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import CHUNK_BYTES
from mpignn.mpi.trainer_array import HELD_BYTES, TrainerArray, TrainerGroups

# What MPI can reduce element by element.
_BASIC = {np.dtype(name): datatype for name, datatype in (
    ("float32", MPI.FLOAT), ("float64", MPI.DOUBLE), ("int8", MPI.INT8_T), ("int16", MPI.INT16_T),
    ("int32", MPI.INT32_T), ("int64", MPI.INT64_T), ("uint8", MPI.UINT8_T))}
_OPS = {"add": MPI.SUM, "min": MPI.MIN, "max": MPI.MAX}
_PUT = "put"

Memory = list[Any]      # as MPI takes it: an array or a displacement, a count, a datatype


class RmaArray(TrainerArray):
    """Rows that are read, replaced and reduced by one-sided calls, in one access epoch until `free`."""

    def __init__(self, groups: TrainerGroups, spec: ArraySpec, segment: str | None = None,
                 chunk_bytes: int = CHUNK_BYTES) -> None:
        """As `TrainerArray`.  Collective over the trainers.

        Args:
            groups, spec, segment: As there.
            chunk_bytes: No single call moves more, unless a row is larger.
        """
        row_bytes = spec.width * spec.dtype.itemsize
        super().__init__(groups, spec, segment, max(1, chunk_bytes // max(1, row_bytes)))
        self._pending: str | None = None        # kind of the writes that are not flushed
        self._held: list[np.ndarray] = []       # their rows
        self._win = MPI.Win.Create(self.local if self.local.nbytes else None, 1, comm=groups.all.comm)
        self._win.Lock_all(MPI.MODE_NOCHECK)
        self._win.Sync()
        groups.all.barrier()

    def flush(self) -> None:
        if self._held:
            with self._waiting():
                self._win.Flush_all()
            self._held = []
        self._pending = None

    def sync(self) -> None:
        self.flush()
        self._win.Sync()        # what this trainer stored in its node's memory, before the others read it
        self._groups.all.barrier()
        self._win.Sync()

    def _free(self) -> None:
        self._finish_readings()
        self.flush()
        self._groups.all.barrier()      # nobody still writes to what is taken away
        self._win.Unlock_all()
        self._win.Free()
        self._free_memory()

    def _settle(self) -> None:
        self.flush()

    def _fetch(self, rows: np.ndarray, landing: np.ndarray) -> Callable[[], None]:
        targets = self._each_target("tensor", rows, landing, self._win.Get, MPI.BYTE, self._row_bytes)

        def arrive() -> None:
            for target in targets:
                self._win.Flush(target)
        return arrive

    def _send(self, ids: np.ndarray, rows: np.ndarray) -> None:
        held = self._hold(rows, _PUT)
        self._each_target("write", ids, held, self._win.Put, MPI.BYTE, self._row_bytes)

    def _accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        assert self.spec.dtype in _BASIC, f"MPI does not reduce {self.spec.dtype}"
        if self._pending != how or sum(held.nbytes for held in self._held) > HELD_BYTES:
            self.flush()
        self._count("write", ids)
        held = self._hold(rows, how)
        op = _OPS[how]

        def accumulate(origin: Memory, target: int, where: Memory) -> None:
            self._win.Accumulate(origin, target, where, op)
        self._each_target("write", ids, held, accumulate, _BASIC[self.spec.dtype], self.spec.width)

    def _hold(self, rows: np.ndarray, kind: str) -> np.ndarray:
        """A copy of rows for MPI to read from, kept until the next flush."""
        self._pending = kind
        self._held.append(rows.copy())
        return self._held[-1]

    def _each_target(self, kind: str, ids: np.ndarray, rows: np.ndarray, move: Callable[[Memory, int, Memory], None],
                     basic: MPI.Datatype, per_row: int) -> list[int]:
        """Start moving rows between here and their owners.

        Args:
            kind: What the calls are counted as.
            ids: (N,) rows, strictly ascending.
            rows: (N, W) their memory here.
            move: Starts one call: origin, rank, target.
            basic: Type of the elements moved.
            per_row: How many of them a row has.

        Returns:
            Trainers called.
        """
        called: list[int] = []
        for trainer, begin, end in self._calls(kind, ids):
            if trainer not in called[-1:]:
                called.append(trainer)
            starts, lengths = _stretches(ids[begin:end] - self._bounds[trainer])
            origin = [rows[begin:end], (end - begin) * per_row, basic]
            if starts.size == 1:
                move(origin, trainer, [int(starts[0]) * self._row_bytes, (end - begin) * per_row, basic])
                continue
            datatype = basic.Create_hindexed((lengths * per_row).tolist(), (starts * self._row_bytes).tolist())
            datatype.Commit()
            move(origin, trainer, [0, 1, datatype])
            datatype.Free()     # MPI keeps it until the call is complete
        return called


def _stretches(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) first row and (B,) length of the stretches without gaps that ascending rows make."""
    first = np.flatnonzero(np.append(True, rows[1:] != rows[:-1] + 1))
    return rows[first], np.diff(np.append(first, rows.size))
