"""Rows in one process: every row is in the view, and nothing is ever sent."""

from collections.abc import Sequence

import numpy as np

from mpignn.comm.sharded import ArraySpec, Pending
from mpignn.comm.stats import Stats
from mpignn.comm.transport import GraphArray, OnMain, Request, Transport, check_request, read_only
from mpignn.comm.writable import REDUCTIONS, Delivered, WritableArray
from mpignn.errors import MpignnError
from mpignn.kernels.gather import gather_rows


class LocalTransport(Transport):
    """All servers' rows as private arrays of this process."""

    def __init__(self, specs: Sequence[ArraySpec]) -> None:
        super().__init__()
        self.arrays = {s.name: GraphArray(s, 0, s.num_rows, np.empty(s.elements(0, len(s.bounds) - 1), s.dtype), self)
                        for s in specs}

    def shard(self, name: str) -> np.ndarray:
        return self.arrays[name].flat

    def publish(self) -> None:
        self.arrays = read_only(self.arrays, self)

    def gather(self, requests: Sequence[Request], on_main: OnMain | None = None) -> Pending:
        for request in requests:
            check_request(request)
            gather_rows(request.array.local, request.ids, 0, request.out)
            spec = request.array.spec
            self._stats.count(spec.kind, request.hop, "self", request.ids.size, spec.width * spec.dtype.itemsize)
        return _Done()

    def zeros(self, spec: ArraySpec) -> WritableArray:
        return LocalArray(spec, self._stats)

    def free(self) -> None:
        self.arrays = {}


class LocalArray(WritableArray):
    """All rows as a private array of this process, zero at first; a write is there at once."""

    def __init__(self, spec: ArraySpec, stats: Stats | None = None) -> None:
        self.spec = spec
        self._stats = Stats() if stats is None else stats
        self.lo, self.hi = 0, spec.num_rows
        self.local = np.zeros((spec.num_rows, spec.width), spec.dtype)

    def flush(self) -> None:
        return

    def sync(self) -> None:
        return

    def _free(self) -> None:
        self.local = self.local[:0]

    def _gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        self._count("tensor", ids)
        gather_rows(self.local, ids, 0, out)
        return _Done()

    def _gather_together(self, ids: np.ndarray, out: np.ndarray, problem: MpignnError | None) -> None:
        if problem is not None:
            raise problem
        gather_rows(self.local, ids, 0, out)

    def _to_owners(self, ids: np.ndarray, rows: np.ndarray, problem: MpignnError | None) -> Delivered:
        if problem is not None:
            raise problem
        return Delivered(ids, np.arange(ids.size), rows, rows[:0])

    def _put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        self._count("write", ids)
        self.local[ids] = rows

    def _accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        self._count("write", ids)
        self.local[ids] = REDUCTIONS[how](self.local[ids], rows)

    def _count(self, kind: str, ids: np.ndarray) -> None:
        self._stats.count(kind, None, "self", ids.size, self.spec.width * self.spec.dtype.itemsize)


class _Done(Pending):
    def wait(self) -> None:
        return

    def done(self) -> bool:
        return True
