"""What moving rows means: row-sharded arrays that every rank can read by global row number.

Shapes: S servers, N rows asked for, W elements in a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from mpignn.errors import CommError
from mpignn.transport.stats import Stats

if TYPE_CHECKING:
    from mpignn.transport.table import Table


@dataclass(frozen=True)
class ArraySpec:
    """One array of a graph, cut by rows over the servers.

    Attributes:
        name: Unique within the transport.
        dtype: Type of an element.
        width: Elements in a row, W.
        bounds: (S + 1,) row numbers, ascending; server s owns rows ``bounds[s]:bounds[s + 1]``.
        step: Elements between the starts of two rows.  Less than ``width`` where rows overlap: with
            width 2 and step 1, row v of an ``indptr`` is the pair (start, end) of v's in-edges.
        kind: What `Stats` counts its rows as when they are read.
    """

    name: str
    dtype: np.dtype
    width: int
    bounds: tuple[int, ...]
    step: int
    kind: str = "feature"

    @property
    def num_rows(self) -> int:
        return self.bounds[-1]

    def elements(self, first: int, last: int) -> int:
        """Elements that hold the rows of servers ``first`` to ``last - 1``; 0 if there are no servers."""
        if first == last:
            return 0
        return (self.bounds[last] - self.bounds[first]) * self.step + self.width - self.step


def array_spec(name: str, dtype: DTypeLike, width: int, bounds: Iterable[int], step: int | None = None,
               kind: str = "feature") -> ArraySpec:
    """An `ArraySpec` whose rows do not overlap unless ``step`` says so."""
    return ArraySpec(name, np.dtype(dtype), int(width), tuple(int(b) for b in bounds),
                     int(width if step is None else step), kind)


@dataclass(frozen=True)
class GraphArray:
    """A row-sharded array as one rank sees it.

    Attributes:
        spec: The whole array.
        lo, hi: The rows that this rank can address directly are ``lo:hi``.
        flat: Their elements, 1-D, read-only once published.
    """

    spec: ArraySpec
    lo: int
    hi: int
    flat: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether this rank can address every row directly."""
        return self.lo == 0 and self.hi == self.spec.num_rows

    @property
    def view(self) -> np.ndarray:
        """(hi - lo, W) view of the rows ``lo:hi``; overlapping rows share memory."""
        size = self.spec.dtype.itemsize
        return np.lib.stride_tricks.as_strided(self.flat, (self.hi - self.lo, self.spec.width),
                                               (self.spec.step * size, size), writeable=False)


@dataclass(frozen=True)
class Request:
    """Rows to fetch: row ``ids[i]`` of ``array`` into ``out[i]``.

    Attributes:
        ids: (N,) int64 global row numbers, any order, repeats and N = 0 allowed.
        out: (N, W), C-contiguous, dtype of the array.
        hop: Number of the hop of the sampler that asks, for `Stats`; None for all else.
    """

    array: GraphArray
    ids: np.ndarray
    out: np.ndarray
    hop: int | None = None


OnMain = Callable[[Callable[[], Any]], Any]


class Pending(ABC):
    """Rows under way."""

    @abstractmethod
    def wait(self) -> None:
        """Return when every ``out`` of the requests is filled.  Not collective."""


class Transport(ABC):
    """The arrays of one graph, spread over the servers and readable everywhere.

    Life: construct (collective), fill `shard` on the servers, `publish` (collective), `gather` at will,
    `free` (collective).
    """

    arrays: Mapping[str, GraphArray]

    def __init__(self) -> None:
        self._stats = Stats()

    def stats(self, reset: bool = False) -> Stats:
        """What was moved for this rank by `gather` and by tables, up to now.  Not collective.

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

    @abstractmethod
    def table(self, spec: ArraySpec) -> "Table":
        """An array of zeros that the trainers own: ``spec.bounds`` are theirs.  Collective over the trainers.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """

    @abstractmethod
    def free(self) -> None:
        """Give the memory back, once the trainers have freed their tables.  Collective over the world."""


def read_only(arrays: Mapping[str, GraphArray]) -> dict[str, GraphArray]:
    """The same arrays, through which nothing can be written any more."""
    frozen = {}
    for name, array in arrays.items():
        flat = array.flat.view()
        flat.flags.writeable = False
        frozen[name] = replace(array, flat=flat)
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
