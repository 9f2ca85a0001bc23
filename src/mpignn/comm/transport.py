"""What moving rows means: the arrays of a published graph, readable by every rank.

Shapes: N rows asked for, W elements in a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpignn.comm.copies import Copies, Runs
from mpignn.comm.sharded import ArraySpec, Pending, ShardedArray
from mpignn.comm.stats import Stats
from mpignn.comm.writable import WritableArray
from mpignn.errors import CommError
from mpignn.graph.book import checked_ids

if TYPE_CHECKING:
    from mpignn.comm.turns import Turns


class GraphArray(ShardedArray):
    """An array of a published graph as one rank sees it.

    Attributes:
        lo, hi: The rows that this rank can address directly are ``lo:hi``.
        flat: Their elements, 1-D, read-only once published.
        local: (hi - lo, W) view of these rows, read-only; overlapping rows share memory.
    """

    def __init__(self, spec: ArraySpec, lo: int, hi: int, flat: np.ndarray, transport: "Transport") -> None:
        """Not collective.  Arguments are the attributes, and what brings the other rows."""
        self.spec, self.lo, self.hi, self.flat = spec, lo, hi, flat
        self._transport = transport
        size = spec.dtype.itemsize
        self.local = np.lib.stride_tricks.as_strided(flat, (hi - lo, spec.width), (spec.step * size, size),
                                                     writeable=False)

    def gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        """As `ShardedArray.gather`, in the main thread; `Transport.gather` is for several arrays and other threads."""
        ids = checked_ids(ids, self.spec.num_rows, f"row of {self.spec.name}")
        return self._transport.gather([Request(self, ids, out)])

    def gather_together(self, ids: np.ndarray, out: np.ndarray) -> None:
        self.gather(ids, out).wait()        # the owners serve while they wait


@dataclass(frozen=True)
class Request:
    """Rows to fetch: row ``ids[i]`` of ``array`` into ``out[i]``.

    Attributes:
        ids: (N,) int64 global row numbers, any order, repeats and N = 0 allowed.
        out: (N, W), C-contiguous, dtype of the array.
        hop: Number of the hop of the sampler that asks, for `Stats`; None for all else.
        copies: Rows of other nodes to read from here, in the place of those that the transport keeps; None: these.
        later: Rows of other nodes that whoever asks puts into ``out`` itself.
    """

    array: GraphArray
    ids: np.ndarray
    out: np.ndarray
    hop: int | None = None
    copies: Copies | None = None
    later: Copies | None = None


OnMain = Callable[[Callable[[], Any]], Any]


class Transport(ABC):
    """The arrays of one graph, spread over the servers and readable everywhere.

    Life: construct (collective), fill `shard` on the servers, `publish` (collective), `gather` at will,
    `free` (collective).

    Attributes:
        arrays: The arrays by name.
        turns: Copies of rows of other nodes that change as loaders read them; None: there are none.
    """

    arrays: Mapping[str, GraphArray]
    turns: "Turns | None" = None

    def __init__(self) -> None:
        self._stats = Stats()

    def stats(self, reset: bool = False) -> Stats:
        """What was moved for this rank, by `gather` and for arrays of the trainers, up to now.  Not collective.

        Args:
            reset: Count from 0 again.
        """
        return self._stats.taken(reset)

    @abstractmethod
    def shard(self, name: str) -> np.ndarray:
        """This server's own elements of an array, flat and writable.  Not collective; before `publish` only."""

    def store(self, out: np.ndarray, piece: np.ndarray) -> None:
        """Copy ``piece`` into ``out``, a part of a `shard` as bytes: the way to fill one that is fast.

        Args:
            out, piece: (bytes,) uint8.

        Not collective; several threads may.

        Raises:
            ResourceError: The machine has no memory left.
        """
        np.copyto(out, piece)

    @abstractmethod
    def publish(self) -> None:
        """Make what the servers wrote readable for all.  Collective over the world."""

    @abstractmethod
    def gather(self, requests: Sequence[Request], on_main: OnMain | None = None) -> Pending:
        """Start fetching rows, those of all requests together: one message to each owner that has any.

        Args:
            requests: What to fetch.
            on_main: In a thread other than the main one: ``on_main(call)`` lets the main thread run ``call`` and
                returns what it returns.  What needs messages goes that way, here and in ``wait()`` of the result; where
                all rows can be addressed directly, nothing does.

        Not collective: the owners take no part.

        Raises:
            CommError: A row is outside its array, or an ``out`` has the wrong shape or dtype.
        """

    def progress(self) -> None:
        """Let those who read rows from this rank go on.  Not collective; never blocks; in the main thread."""
        return

    def until(self, pending: Pending) -> None:
        """Return when something that was begun is done, as where rows are waited for.  Not collective."""
        pending.wait()

    @abstractmethod
    def zeros(self, spec: ArraySpec) -> WritableArray:
        """An array of zeros that the trainers own: ``spec.bounds`` are theirs.  Collective over the trainers.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """

    def keep(self, rows: Mapping[str, np.ndarray | Runs], what: str) -> None:
        """Copy rows of other nodes to this one, whose trainers read the copies from now on.

        Collective over the trainers; once for each array at most.

        Args:
            rows: (C,) int64 numbers of rows that are not here, ascending, each once, by name of the array; the same on
                the trainers of a node.
            what: What they are, for messages, such as "the cache".

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """
        assert not any(ids.size for ids in rows.values()), "all rows are here"

    def keep_by_turns(self, copies: Mapping[str, int], ahead: int) -> None:
        """Make `turns`.  Collective over the trainers.

        Args:
            copies: How many rows of each array there is room for; the same on the trainers of a node.
            ahead: How many turns shall be known beyond the one under way.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """
        assert not any(copies.values()), "all rows are here"

    @abstractmethod
    def free(self) -> None:
        """Give the memory back, once the trainers have freed their arrays.  Collective over the world."""


def read_only(arrays: Mapping[str, GraphArray], transport: Transport) -> dict[str, GraphArray]:
    """The same arrays of a transport, through which nothing can be written any more."""
    frozen = {}
    for name, array in arrays.items():
        flat = array.flat.view()
        flat.flags.writeable = False
        frozen[name] = GraphArray(array.spec, array.lo, array.hi, flat, transport)
    return frozen


def check_request(request: Request) -> None:
    """Raise what `Transport.gather` promises to raise for a request that cannot be served."""
    spec, ids, out = request.array.spec, request.ids, request.out
    if ids.dtype != np.int64 or ids.ndim != 1:
        raise CommError(f"array {spec.name}: row numbers are {ids.dtype} of {ids.ndim} dimensions, not int64 of one")
    if out.shape != (ids.size, spec.width) or out.dtype != spec.dtype or not out.flags.c_contiguous:
        raise CommError(f"array {spec.name}: out is {out.dtype} {out.shape}, not contiguous {spec.dtype} "
                        f"{(ids.size, spec.width)}")
    if ids.size and (ids.min() < 0 or ids.max() >= spec.num_rows):
        bad = ids[(ids < 0) | (ids >= spec.num_rows)][0]
        raise CommError(f"array {spec.name}: row {bad} asked for, of {spec.num_rows}")
