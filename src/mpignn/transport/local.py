"""Rows in one process: every row is in the view, and nothing is ever sent."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpignn.kernels.gather import gather_rows
from mpignn.transport.api import ArraySpec, Pending, Request, Transport, Window, check_request


class LocalTransport(Transport):
    """All servers' rows as private arrays of this process."""

    def __init__(self, specs: Sequence[ArraySpec]):
        self.windows = {s.name: Window(s, 0, s.num_rows, np.empty(s.elements(0, len(s.bounds) - 1), s.dtype))
                        for s in specs}

    def shard(self, name: str) -> np.ndarray:
        return self.windows[name].flat

    def publish(self) -> None:
        frozen = {}
        for name, window in self.windows.items():
            flat = window.flat.view()
            flat.flags.writeable = False
            frozen[name] = replace(window, flat=flat)
        self.windows = frozen

    def gather(self, requests: Sequence[Request]) -> Pending:
        for request in requests:
            check_request(request)
            gather_rows(request.window.view, request.ids, 0, request.out)
        return _Done()

    def free(self) -> None:
        self.windows = {}


class _Done(Pending):
    def wait(self) -> None:
        return
