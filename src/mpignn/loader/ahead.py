"""Preparing batches while others are computed on, in a thread that makes no MPI call.

The thread runs kernels, which release the interpreter's lock, on memory of this node.  What needs messages it hands to
the main thread, which has the rank's MPI calls to itself: it issues requests before it computes on a batch, and
completes them after.
"""

import copy
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from mpignn.comm.sharded import Pending
from mpignn.comm.transport import GraphArray, Request, Transport
from mpignn.errors import CommError
from mpignn.store.published import PublishedGraph

_NAP_S = 200e-6         # between two looks at what other trainers have done
_PATIENCE_S = 5e-3      # between two looks at what a thread that shall end still asks for

Via = Callable[[PublishedGraph], PublishedGraph]
Prepare = Callable[[range, Via], list[Any]]


class InTurn:
    """Groups of batches, each prepared when it is wanted."""

    def __init__(self, prepare: Prepare, groups: Sequence[range]) -> None:
        """``prepare(group, via)`` makes a group's batches, of what ``via`` gives in the place of a graph."""
        self._prepare, self._groups = prepare, iter(groups)

    def next(self) -> list[Any]:
        """The next group.  Not collective."""
        return self._prepare(next(self._groups), lambda graph: graph)

    def meet(self) -> None:
        """Called before each batch is handed out.  Not collective."""

    def clock(self) -> float:
        """Seconds of a clock for who prepares.  Not collective."""
        return time.perf_counter()

    def stop(self) -> None:
        """End.  Not collective."""


class Ahead:
    """Groups of batches, each prepared in a thread while the one before is used.

    It belongs to the thread that made it, which alone uses it; ended by `stop`, at the latest with the program.
    """

    def __init__(self, prepare: Prepare, groups: Sequence[range]) -> None:
        """As `InTurn`; begins with the first group."""
        self._shared = _Shared()
        self._ready: list[list[Any]] = []
        self._error: BaseException | None = None
        thread = threading.Thread(target=_work, args=(self._shared, prepare, groups), name="mpignn-prepare",
                                  daemon=True)      # at the end of the program `stop` is called, rather than waited for
        self._finalizer = weakref.finalize(self, _stop, self._shared, thread)
        thread.start()

    def next(self) -> list[Any]:
        """The next group, once it is ready; until then its requests are served.  Not collective.

        Raises:
            CommError: The thread was stopped, since its graph is closed.
            Exception: What preparing the group raised.
        """
        while not self._ready:
            if self._error is not None:
                raise self._error
            self._take(self._shared.to_main.get())
        self._shared.room.release()
        return self._ready.pop(0)

    def meet(self) -> None:
        """Do what the thread has asked for by now.  Not collective."""
        while True:
            try:
                item = self._shared.to_main.get_nowait()
            except queue.Empty:
                return
            self._take(item)

    def clock(self) -> float:
        """As `InTurn.clock`."""
        return time.perf_counter()

    def stop(self) -> None:
        """End the thread; harmless when done already.  Not collective."""
        self._finalizer()

    def _take(self, item: "_Call | _Group | _End") -> None:
        if isinstance(item, _Call):
            item.run()
        elif isinstance(item, _Group):
            self._ready.append(item.batches)
        else:
            self._error = item.error or stopped()


class _Call:
    """A call that the main thread makes for the other one."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:      # raised where it was asked for
            self._error = error
        self.done.set()

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result


class _Group:
    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches


class _End:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Stopped(Exception):
    """Ends the preparing of a group that nobody wants any more."""


class _Shared:
    """What the two threads share.

    Attributes:
        main: The thread that uses the batches.
        to_main: Calls, groups and the end, from the preparing thread.
        room: One more group may be prepared.
        stopping: Nobody wants more groups.
        deserted: Nobody makes calls any more.
    """

    def __init__(self) -> None:
        self.main = threading.get_ident()
        self.to_main: queue.SimpleQueue[_Call | _Group | _End] = queue.SimpleQueue()
        self.room = threading.Semaphore(1)
        self.stopping = self.deserted = False

    def on_main(self, call: Callable[[], Any]) -> Any:
        """Run ``call`` in the main thread; see `Transport.gather`."""
        if threading.get_ident() == self.main:
            return call()
        asked = _Call(call)
        self.to_main.put(asked)
        while not asked.done.wait(0.1):
            if self.deserted:
                raise _Stopped
        return asked.result()


def relayed(graph: PublishedGraph, gather: Callable[[Sequence[Request]], Pending],
            until: Callable[[Pending], None]) -> PublishedGraph:
    """The graph for who prepares batches: other nodes are asked by ``gather``, and others waited for by ``until``."""
    found = copy.copy(graph)
    found.transport = cast(Transport, _Relay(graph.transport.arrays, gather, until))      # all of it that batches use
    return found


def stopped() -> CommError:
    """What is raised for another group, once a pass was stopped."""
    return CommError("this pass was stopped: its graph is closed")


class _Relay:
    """Stands for a transport."""

    def __init__(self, arrays: Mapping[str, GraphArray], gather: Callable[[Sequence[Request]], Pending],
                 until: Callable[[Pending], None]) -> None:
        self.arrays, self.gather, self.until = arrays, gather, until


def _work(shared: _Shared, prepare: Prepare, groups: Sequence[range]) -> None:
    """What the thread does."""
    def via(graph: PublishedGraph) -> PublishedGraph:
        def gather(requests: Sequence[Request]) -> Pending:
            if shared.stopping:
                raise _Stopped
            return graph.transport.gather(requests, shared.on_main)

        return relayed(graph, gather, partial(_until, shared, graph.transport))

    error: BaseException | None = None
    try:
        for group in groups:
            shared.room.acquire()
            if shared.stopping:
                break
            shared.to_main.put(_Group(prepare(group, via)))
    except _Stopped:
        pass
    except BaseException as raised:
        error = raised
    shared.to_main.put(_End(error))


def _until(shared: _Shared, transport: Transport, pending: Pending) -> None:
    """Wait in the thread; the main one, if it waits for the thread, lets others go on meanwhile."""
    asked: _Call | None = None
    while not pending.done():
        if shared.stopping:
            raise _Stopped
        if asked is None or asked.done.is_set():
            asked = _Call(transport.progress)
            shared.to_main.put(asked)
        time.sleep(_NAP_S)


def _stop(shared: _Shared, thread: threading.Thread) -> None:
    """End the thread, from the thread that uses the batches; from any other one, as the collector may, let it end."""
    shared.stopping = True
    shared.room.release()
    if threading.get_ident() != shared.main:
        shared.deserted = True
        return
    while thread.is_alive():
        while not shared.to_main.empty():
            item = shared.to_main.get()
            if isinstance(item, _Call):
                item.run()
        thread.join(_PATIENCE_S)
    shared.to_main.put(_End(None))      # for whoever asks for another group all the same
