"""Rows of several windows: read at once where the view has them, fetched together where it has not.

Shapes: N rows asked for, W elements in a row.
"""

import numpy as np

from mpignn.kernels import threads
from mpignn.kernels.view import read_view
from mpignn.transport.api import Request, Transport, Window


class RowReader:
    """Collects the rows that other nodes hold, for one round trip."""

    def __init__(self, transport: Transport, hop: int | None = None):
        """Not collective.  ``hop`` is what the transport's `Stats` shall count the rows under."""
        self._transport, self._hop = transport, hop
        self._requests: list[Request] = []
        self._targets: list[tuple[np.ndarray, np.ndarray]] = []

    def read(self, window: Window, ids: np.ndarray, out: np.ndarray) -> None:
        """Put row ``ids[i]`` into ``out[i]``: now if it is in the view, else when `finish` returns.

        Args:
            window: Where the rows are.
            ids: (N,) int64 rows of the window; not checked if in the view.
            out: (N, W), dtype of the window.

        Not collective.
        """
        missing = np.empty(ids.shape[0], np.int64)

        def piece(number: int, first: int, last: int) -> np.ndarray:
            found = missing[first:last]
            count = read_view(window.flat, window.spec.step, window.lo, window.hi, ids[first:last], out[first:last],
                              found)
            return found[:count] + first

        found = threads.run(piece, threads.stretches(ids.shape[0]))
        count = sum(places.shape[0] for places in found)
        if count:
            missing = np.concatenate(found)
            rows = np.empty((count, window.spec.width), window.spec.dtype)
            self._requests.append(Request(window, ids[missing], rows, self._hop))
            self._targets.append((out, missing))

    def finish(self) -> None:
        """Fetch what is missing; without anything missing, the transport is not called.  Not collective."""
        if not self._requests:
            return
        self._transport.gather(self._requests).wait()
        for request, (out, places) in zip(self._requests, self._targets, strict=True):
            out[places] = request.out
        self._requests, self._targets = [], []


def read_at_once(transport: Transport, window: Window, ids: np.ndarray) -> np.ndarray:
    """(N, W) rows of one window, fetched in a round trip if the view lacks any.  Not collective.

    Args:
        transport: Of the window.
        window: Where the rows are.
        ids: (N,) int64 rows of it.
    """
    rows, reader = np.empty((ids.shape[0], window.spec.width), window.spec.dtype), RowReader(transport)
    reader.read(window, ids, rows)
    reader.finish()
    return rows
