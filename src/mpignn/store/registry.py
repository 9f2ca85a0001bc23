"""The tensors that the trainers of a graph make at run time, by name.

Shapes: N rows.
"""

import logging
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpignn.arguments import whole_number
from mpignn.comm.group import Group
from mpignn.comm.sharded import array_spec
from mpignn.comm.transport import Transport
from mpignn.comm.writable import WritableArray
from mpignn.errors import ConfigError, DataError, MpignnError
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import EType
from mpignn.roles import Topology
from mpignn.store.conflicts import Conflicts
from mpignn.store.placement import is_even, resolve_policy, trainer_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Description:
    """What makes two tensors the same.

    Attributes:
        name: None for one that only its maker knows.
        shape: (N, ...).
        dtype: Name of the type of an element.
        policy: A node type, the key of an edge type, or ``even``.
        persistent: Whether it lives until the graph is closed, though nobody refers to it.
    """

    name: str | None
    shape: tuple[int, ...]
    dtype: str
    policy: str
    persistent: bool

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape} by {self.policy}{', persistent' if self.persistent else ''}"


@dataclass(eq=False)
class Entry:
    """A tensor with all who use it in this process.

    Attributes:
        description: What it is.
        array: Its rows.
        conflicts: Who wrote what, for `Conflicts.check`; None where nobody asks.
        users: The objects that stand for it.
        ready: Whether its first values are there.
    """

    description: Description
    array: WritableArray
    conflicts: Conflicts | None
    users: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)
    ready: bool = False

    def note(self, kind: str, ids: np.ndarray) -> None:
        """Keep in mind that rows were written, if anybody asks.  Not collective."""
        if self.conflicts is not None:
            self.conflicts.note(kind, ids)


class TensorRegistry:
    """The tensors of one graph that its trainers own.

    One that nobody on any trainer refers to any more is given back when the next one is made, unless it is
    persistent; the rest when the graph is closed.
    """

    def __init__(self, book: RangePartitionBook, topology: Topology, transport: Transport, trainers: Group) -> None:
        """Not collective.

        Args:
            book: Partition book of the graph.
            topology: Topology of the job.
            transport: What makes arrays.
            trainers: Those who own and write them.
        """
        self.book = book
        self.trainers = trainers
        self._topology = topology
        self._transport = transport
        self._entries: dict[int, Entry] = {}
        self._made = 0
        _OPEN.add(self)

    def open(self, description: Description | None, dtype: np.dtype | None, user: object,
             problem: MpignnError | None) -> Entry:
        """Make a tensor of zeros, or find the one of that name.  Collective over the trainers.

        Args:
            description: The same on all trainers; None where there is a problem.
            dtype: Type of an element in memory; likewise.
            user: Who wants it; the tensor lives at least as long.
            problem: What is wrong with it already, on this trainer.

        Raises:
            DataError: On all trainers: they ask for different things, or a tensor of that name is another one.
            ResourceError: On all trainers: not enough memory.
        """
        self.trainers.agree(problem)
        assert description is not None and dtype is not None, "without a problem there are both"
        facts = self.trainers.allgather((description, self._unused(), log.isEnabledFor(logging.DEBUG)))
        self._collect(set.intersection(*(fact[1] for fact in facts)))
        differing = next((rank for rank, fact in enumerate(facts) if fact[0] != description), None)
        self.trainers.agree(None if differing is None else DataError(
            f"the trainers make different tensors: {_called(description)} here, {_called(facts[differing][0])} on "
            f"trainer {differing}"))
        entry = self._named(description.name)
        if entry is None:
            entry = self._make(description, np.dtype(dtype), any(fact[2] for fact in facts))
        elif entry.description != description:      # the same on all trainers, who made the same tensors
            raise DataError(f"a tensor {description.name!r} exists and is another one: {entry.description}; asked "
                            f"for: {description}").on_all()
        entry.users.add(user)
        return entry

    def describe(self, shape: Sequence[int], dtype: str, name: str | None, policy: str | EType | None,
                 persistent: bool) -> Description:
        """What a tensor shall be, checked on this trainer.  Not collective.

        Args:
            shape: (N, ...).
            dtype: Name of the type of an element.
            name: None for one that only its maker knows.
            policy: As for `policy`.
            persistent: Whether it lives until the graph is closed.

        Raises:
            ConfigError: No such shape or name, or a persistent tensor without a name.
            DataError, UnknownName: As `policy`.
        """
        if persistent and name is None:
            raise ConfigError("a persistent tensor needs a name, or nobody could find it again")
        if not isinstance(name, str | None):
            raise ConfigError(f"name is {name!r}, not a string")
        sizes = tuple(shape)
        if not sizes:
            raise ConfigError(f"shape is {shape!r}, not at least one size")
        sizes = tuple(whole_number(size, f"a size of the shape {shape!r}", 0, 1 << 60) for size in sizes)
        return Description(name, sizes, dtype, self.policy(sizes[0], policy), bool(persistent))

    def policy(self, num_rows: int, policy: str | EType | None) -> str:
        """As `placement.resolve_policy`.  Not collective."""
        return resolve_policy(self.book, num_rows, policy)

    def original_ids(self, policy: str, rows: np.ndarray) -> np.ndarray:
        """(N,) int64 what rows stand for whatever the partitioning: the original ids of nodes; others are themselves.

        Args:
            policy: As `policy` returns it.
            rows: (N,) int64.

        Not collective.
        """
        if policy not in self.book.ntypes:
            return rows
        found = np.empty((rows.size, 1), np.int64)
        self._transport.arrays[ArrayKey.node(policy, "orig_id").path].gather(rows, found).wait()
        return found.reshape(-1)

    def rows_of(self, policy: str, first: int, last: int) -> np.ndarray:
        """(K,) int64 the rows that stand for ``first:last``, as `original_ids` has them.  Not collective.

        Raises:
            ConfigError: Rows that stand for edges, whose order says nothing in another cut of the graph.
        """
        ids = np.arange(first, last)
        if policy in self.book.ntypes:
            found = np.empty((ids.size, 1), np.int64)
            self._transport.arrays[ArrayKey.node(policy, "new_id").path].gather(ids, found).wait()
            return found.reshape(-1)
        if not is_even(self.book, policy):
            raise ConfigError(f"rows of {policy} stand for edges and have no file of their own: mpignn.checkpoint.save "
                              "keeps them")
        return ids

    def names(self) -> list[str]:
        """Names of the tensors there are, in the order in which they were made.  Not collective."""
        return [e.description.name for e in self._entries.values() if e.description.name is not None]

    def persistent(self) -> list[Entry]:
        """The tensors that live until the graph is closed, in the order in which they were made.  Not collective."""
        return [e for e in self._entries.values() if e.description.persistent]

    def free(self, entry: Entry) -> None:
        """Give one tensor back.  Collective over the trainers."""
        for number in [n for n, e in self._entries.items() if e is entry]:
            del self._entries[number]
        entry.array.free()

    def close(self) -> None:
        """Give all tensors back.  Collective over the trainers."""
        self._collect(sorted(self._entries))
        _OPEN.discard(self)

    def _make(self, description: Description, dtype: np.dtype, watched: bool) -> Entry:
        num_rows = description.shape[0]
        bounds = trainer_rows(self.book, self._topology, description.policy, num_rows)
        number, self._made = self._made, self._made + 1
        spec = array_spec(description.name or f"tensor #{number}", dtype,
                          int(np.prod(description.shape[1:], dtype=np.int64)), bounds)
        array = self._transport.zeros(spec)
        self._entries[number] = Entry(description, array, Conflicts(spec.name) if watched else None)
        return self._entries[number]

    def _named(self, name: str | None) -> Entry | None:
        return next((e for e in self._entries.values() if name is not None and e.description.name == name), None)

    def _unused(self) -> set[int]:
        return {number for number, e in self._entries.items() if not e.users and not e.description.persistent}

    def _collect(self, numbers: Iterable[int]) -> None:
        for number in sorted(numbers):      # in the same order on all trainers
            self._entries.pop(number).array.free()


_OPEN: "weakref.WeakSet[TensorRegistry]" = weakref.WeakSet()


def the_only_registry() -> TensorRegistry:
    """Those of the graph that is open, if it is the only one.  Not collective.

    Raises:
        ConfigError: No graph is open, or several are.
    """
    if len(_OPEN) != 1:
        raise ConfigError(f"{len(_OPEN)} graphs are open: say which one the tensor belongs to, g=...")
    return next(iter(_OPEN))


def _called(description: Description) -> str:
    return f"{description.name!r}: {description}"
