"""Rows of several arrays: read at once where the view has them, fetched together where it has not.

Shapes: N rows asked for, W elements in a row.
"""

from functools import partial

import numpy as np

from mpignn.comm.transport import GraphArray, Request, Transport
from mpignn.kernels import threads
from mpignn.kernels.view import read_view

_READ = 1 / 2       # what a row costs, in picks


class RowReader:
    """Collects rows to be read, and those of them that other nodes hold, for one round trip."""

    def __init__(self, transport: Transport, hop: int | None = None):
        """Not collective.  ``hop`` is what the transport's `Stats` shall count the rows under."""
        self._transport, self._hop = transport, hop
        self._reads: list[tuple[GraphArray, np.ndarray, np.ndarray, np.ndarray]] = []

    def read(self, array: GraphArray, ids: np.ndarray, out: np.ndarray) -> None:
        """Have row ``ids[i]`` in ``out[i]`` when `finish` returns.

        Args:
            array: Where the rows are.
            ids: (N,) int64 rows of the array; not checked if in the view.
            out: (N, W), dtype of the array.

        Not collective.
        """
        self._reads.append((array, ids, out, np.empty(ids.shape[0], np.int64)))

    def finish(self) -> None:
        """Read what the view has, and fetch what it has not; without such, the transport is not called.

        Not collective.
        """
        reads, self._reads = self._reads, []
        found = threads.run_all([(partial(_read, *read), threads.stretches(read[1].shape[0], _READ)) for read in reads])
        requests, targets = [], []
        for (array, ids, out, _), places in zip(reads, found, strict=True):
            missing = np.concatenate(places)
            if missing.size:
                rows = np.empty((missing.size, array.spec.width), array.spec.dtype)
                requests.append(Request(array, ids[missing], rows, self._hop))
                targets.append((out, missing))
        if requests:
            self._transport.gather(requests).wait()
        for request, (out, missing) in zip(requests, targets, strict=True):
            out[missing] = request.out


def _read(array: GraphArray, ids: np.ndarray, out: np.ndarray, missing: np.ndarray, number: int, first: int,
          last: int) -> np.ndarray:
    """Read some rows; return the places of those that are not in the view."""
    found = missing[first:last]
    count = read_view(array.flat, array.spec.step, array.lo, array.hi, ids[first:last], out[first:last], found)
    return found[:count] + first


def read_at_once(transport: Transport, array: GraphArray, ids: np.ndarray) -> np.ndarray:
    """(N, W) rows of one array, fetched in a round trip if the view lacks any.  Not collective.

    Args:
        transport: Transport of the array.
        array: Where the rows are.
        ids: (N,) int64 rows of it.
    """
    rows, reader = np.empty((ids.shape[0], array.spec.width), array.spec.dtype), RowReader(transport)
    reader.read(array, ids, rows)
    reader.finish()
    return rows
