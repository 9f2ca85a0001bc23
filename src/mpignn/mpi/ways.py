"""Requests split by who holds the rows, and the ways to those of other nodes.

Shapes: N rows asked for, K distinct rows of them that other nodes hold.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.comm.copies import Copies
from mpignn.comm.sharded import ArraySpec
from mpignn.comm.transport import Request
from mpignn.kernels.gather import gather_rows, scatter_rows
from mpignn.kernels.runs import in_order, part
from mpignn.mpi.layout import Layout, Layouts
from mpignn.mpi.world import World
from mpignn.unique import unique
from mpignn.ways import WAYS

_SORTED_SHARE = 64      # a mark for each of so many copies costs more than to sort one

Places = np.ndarray | slice


class SplitRequest:
    """One request, split into the rows that are here, those that this node has copies of, and those to be fetched.

    Attributes:
        request: What is asked for.
        here: Places in the request of the rows that this rank can address; ``slice(None)`` if that is all.
        copied: Places in the request of others that there are copies of, beside those that come `later`.
        remote: Places in the request of the rest.
        rows: (K,) these, each once, ascending.
    """

    def __init__(self, request: Request, copies: Copies | None = None) -> None:
        """Not collective.  ``copies`` are those that there are, if the request names no others."""
        copies = copies if request.copies is None else request.copies
        self.request, self._copies = request, copies
        array, ids = request.array, request.ids
        self.copied = self._slots = self.remote = self.rows = self._near = np.empty(0, np.int64)
        self._which: Places
        if array.whole:
            self.here: Places = slice(None)
            return
        self.here, self._near, far, asked = part(ids, array.lo, array.hi)
        order, asked = in_order(asked)
        self.remote = far[order]
        if copies is not None:
            slots = copies.find(asked)
            found = slots >= 0
            self.copied, self._slots = self.remote[found], slots[found]
            self.remote, asked = self.remote[~found], asked[~found]
        if request.later is not None:
            wanted = request.later.find(asked) < 0
            self.remote, asked = self.remote[wanted], asked[wanted]
        new = asked[1:] != asked[:-1]
        if new.all():
            self.rows, self._which = asked, slice(None)
        else:
            new = np.concatenate([[True], new])
            self.rows, self._which = asked[new], np.cumsum(new) - 1
        self._cuts = np.searchsorted(self.rows, array.spec.cuts)
        self._at = np.empty(self.rows.size, np.int64)

    @property
    def row_bytes(self) -> int:
        spec = self.request.array.spec
        return spec.width * spec.dtype.itemsize

    @property
    def servers(self) -> list[int]:
        """Those that have rows to fetch, ascending."""
        found: list[int] = np.flatnonzero(np.diff(self._cuts)).tolist()
        return found

    def rows_of(self, server: int) -> np.ndarray:
        """The rows to fetch from a server, ascending.  Not collective."""
        return self.rows[self._cuts[server]:self._cuts[server + 1]]

    def land(self, server: int, starts: np.ndarray) -> None:
        """Say where `rows_of` a server arrive.  Not collective.

        Args:
            server: Whose rows.
            starts: First byte of each in the memory that `copy_landed` will be given.
        """
        self._at[self._cuts[server]:self._cuts[server + 1]] = starts

    def copy_local(self) -> None:
        """Fill ``out`` with what is here.  Not collective."""
        array, ids, out = self.request.array, self.request.ids, self.request.out
        if isinstance(self.here, slice):
            gather_rows(array.local, ids, 0, out)
        elif self.here.size:
            scatter_rows(array.local, self._near, array.lo, self.here, out)
        if self._copies is not None and self.copied.size:
            scatter_rows(self._copies.rows, self._slots, 0, self.copied, out)

    @property
    def num_copied(self) -> int:
        """Distinct rows among those that there are copies of.  Not collective."""
        if self._copies is None or not self.copied.size:
            return 0
        if self._slots.size < len(self._copies.rows) / _SORTED_SHARE:
            return int(unique(self._slots).size)
        met = np.zeros(len(self._copies.rows), bool)
        met[self._slots] = True
        return int(met.sum())

    def copy_landed(self, landing: np.ndarray) -> None:
        """Fill ``out`` with what was fetched.  Not collective.

        Args:
            landing: uint8 memory with all rows, where `land` said.
        """
        spec, out = self.request.array.spec, self.request.out
        # Every byte may start a row: rows are addressed by their first byte.
        rows = np.ndarray((landing.size - self.row_bytes + 1, spec.width), spec.dtype, landing,
                          strides=(1, spec.dtype.itemsize))
        scatter_rows(rows, self._at[self._which], 0, self.remote, out)


class Ask(ABC):
    """The rows that one gather wants of one server.

    Attributes:
        nbytes: That will arrive.
        calls: Messages, or one-sided reads, that it takes.
    """

    nbytes: int
    calls: int

    @abstractmethod
    def start(self, landing: np.ndarray) -> None:
        """Ask for them, to be put into ``landing``, (nbytes,) uint8.  Not collective."""

    @abstractmethod
    def done(self) -> bool:
        """Whether they are there; this rank makes progress for others.  Not collective."""

    @abstractmethod
    def wait(self) -> None:
        """Return when they are there.  Not collective."""


@dataclass(frozen=True)
class Held:
    """What nodes hold of a graph.

    Attributes:
        specs: The arrays, in the same order on all ranks.
        segment: (bytes,) uint8 memory of this node.
        layout: Where rows lie in it.
        layouts: Where rows lie in the memory of each server's node.
        chunk_bytes: No single read is longer, and no reply, unless a single row is.
    """

    specs: Sequence[ArraySpec]
    segment: np.ndarray
    layout: Layout
    layouts: Layouts
    chunk_bytes: int


class Way(ABC):
    """A way to the rows of other nodes."""

    @abstractmethod
    def __init__(self, world: World, held: Held) -> None:
        """Open it: from now on this rank may ask, and servers are asked.  Collective over the world."""

    @abstractmethod
    def ask(self, server: int, splits: Sequence[SplitRequest], landed: int) -> Ask:
        """Plan to fetch what ``splits`` want of a server, and tell them where it lands.

        Args:
            server: Whose rows.
            splits: Those of one gather; each wants some.
            landed: Bytes that arrive before these.

        Not collective.
        """

    @abstractmethod
    def free(self) -> None:
        """Give resources back.  Collective over the world; nothing is under way."""


def open_way(name: str, world: World, held: Held) -> Way:
    """The way of a name, one of `mpignn.ways.WAYS`.  Collective over the world."""
    module, _, kind = WAYS[name].made_by.partition(":")
    way: Way = getattr(importlib.import_module(module), kind)(world, held)
    return way
