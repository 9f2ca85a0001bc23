"""Preparing batches between other work of the same thread, so that their rows travel while others are computed on.

A group is prepared in a coroutine (of the package greenlet: whatever prepares it is written as if it waited).  Where it
would wait for rows of other nodes, the work that it was called from goes on, and it is gone on with when these rows are
here and that work has a moment: before the next batch, between two layers, or in a wait of its own.
"""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import greenlet
import torch

from mpignn.comm.sharded import Pending
from mpignn.comm.transport import Request, Transport
from mpignn.duties import serve_while_waiting, stop_serving
from mpignn.loader.ahead import Prepare, relayed, stopped


class Between:
    """Groups of batches, each prepared between other work while the one before is used.

    It belongs to the thread that made it, which alone uses it; ended by `stop`.
    """

    def __init__(self, prepare: Prepare, groups: Sequence[range]) -> None:
        """As `mpignn.loader.ahead.InTurn`."""
        self._prepare, self._groups = prepare, iter(groups)
        self._thread = threading.get_ident()
        self._made: list[Any] | Exception | None = None
        self._awaited: Pending | None = None
        self._may_wait = self._stopped = False
        self._away_s = 0.0
        self._coroutine = self._begin()
        serve_while_waiting(self.meet)

    def next(self) -> list[Any]:
        """The next group; what is left of preparing it is done now.  Not collective.

        Raises:
            CommError: This was stopped, since its graph is closed.
            Exception: What preparing the group raised.
        """
        if self._stopped:
            raise stopped()
        self._may_wait = True
        self._go_on()
        self._may_wait = False
        made = self._made
        if isinstance(made, Exception):
            raise made
        assert made is not None, "prepared to its end"
        self._made, self._coroutine = None, self._begin()
        return made

    def meet(self) -> None:
        """Go on as far as nothing has to be waited for.  Not collective."""
        if (not self._may_wait and greenlet.getcurrent() is not self._coroutine
                and threading.get_ident() == self._thread and (self._awaited is None or self._awaited.done())):
            self._go_on()

    def stop(self) -> None:
        """End; harmless when done already.  Not collective."""
        if self._stopped:
            return
        self._stopped = True
        stop_serving(self.meet)
        # The collector may be another thread; then the transport waits for the rows, when it is freed.
        if self._awaited is not None and self._coroutine is not None and threading.get_ident() == self._thread:
            self._awaited.leave()
            self._coroutine.parent = greenlet.getcurrent()
            self._coroutine.throw(greenlet.GreenletExit)

    def clock(self) -> float:
        """Seconds of a clock that stands still while others work than the coroutine, which asks.  Not collective."""
        return time.perf_counter() - self._away_s

    def _begin(self) -> greenlet.greenlet | None:
        group = next(self._groups, None)
        return None if group is None else greenlet.greenlet(partial(self._run, group))

    def _run(self, group: range) -> None:
        try:
            self._made = self._prepare(group, lambda graph: relayed(
                graph, partial(self._gather, graph.transport), self.wait_for))
        except Exception as error:      # raised where the group is asked for, not in another one's wait
            self._made = error

    def _go_on(self) -> None:
        """Let the coroutine run until it ends or has to wait."""
        coroutine = self._coroutine
        if coroutine is None or coroutine.dead:
            return
        grad = torch.is_grad_enabled()      # of the thread, whichever of the two runs
        coroutine.parent = greenlet.getcurrent()
        coroutine.switch()
        torch.set_grad_enabled(grad)

    def _gather(self, transport: Transport, requests: Sequence[Request]) -> Pending:
        return _Awaited(self, transport.gather(requests))

    def wait_for(self, rows: Pending) -> None:
        """Return when rows are there; until then the coroutine, which calls it, lets others work."""
        grad = torch.is_grad_enabled()
        self._awaited = rows
        while not self._may_wait and not rows.done():
            coroutine = greenlet.getcurrent()
            assert coroutine.parent is not None, "not the thread's own"
            left_s = time.perf_counter()
            coroutine.parent.switch()
            self._away_s += time.perf_counter() - left_s
            torch.set_grad_enabled(grad)
        self._awaited = None
        rows.wait()


class _Awaited(Pending):
    def __init__(self, between: Between, rows: Pending) -> None:
        self._between, self._rows = between, rows

    def wait(self) -> None:
        self._between.wait_for(self._rows)
