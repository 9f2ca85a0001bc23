"""Arrays that trainers own and write, row by row, from anywhere.

Shapes: T trainers, N rows asked for or given, W elements in a row.
"""

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from mpignn.comm.sharded import Pending, ShardedArray
from mpignn.errors import CommError, MpignnError
from mpignn.graph.book import checked_ids

REDUCTIONS: dict[str, np.ufunc] = {"add": np.add, "min": np.minimum, "max": np.maximum}
"""How `WritableArray.accumulate` may join what is there and what is given."""


@dataclass(frozen=True)
class Delivered:
    """Rows that the trainers sent to the owner of each.

    Attributes:
        ids: (K,) int64 rows of the array that this trainer owns; in order of the trainer that sent them, then as it
            gave them; repeats allowed.
        places: (K,) int64 where row i lies: in ``mine``, or, counted on from its end, in ``received``.
        mine: What this trainer gave itself, no copy; not all of it need be for this trainer.
        received: What came from the others.
    """

    ids: np.ndarray
    places: np.ndarray
    mine: np.ndarray
    received: np.ndarray


class WritableArray(ShardedArray):
    """An array that trainers own, and that every trainer may write.

    Which writes a reader sees is said in ``docs/concepts/memory-model.md``.  Rows lie one after the other, ``step`` is
    ``width``.  Ids are those of rows, any integers of one dimension, in any order, repeats and none at all allowed.

    Attributes:
        spec: The whole array; the owners of its ``bounds`` are the trainers.
        lo, hi: This trainer owns the rows ``lo:hi``.
        local: (hi - lo, W) these rows, writable, no copy.

    Raises (all methods that take ids):
        IDError: An id that is no row; the first is named.
        CommError: ``out`` or ``rows`` of the wrong shape or dtype, or the array is freed.
    """

    _freed = False

    def gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        """As `ShardedArray.gather`: after this trainer's own writes.  Not collective."""
        ids = self._checked(ids, out, "out")
        return self._gather(ids, out)

    def gather_together(self, ids: np.ndarray, out: np.ndarray) -> None:
        """As `ShardedArray.gather_together`.  Collective over the trainers.

        `gather` may wait for a busy owner's next MPI call.  Here the owners are in the same call, and send what lies
        on other nodes.

        Raises:
            IDError, CommError: On all trainers, if rows are sent at all.
        """
        ids, problem = self._tried(ids, out, "out")
        self._gather_together(ids, out, problem)

    def to_owners(self, ids: np.ndarray, rows: np.ndarray) -> Delivered:
        """Send ``rows[i]`` to the owner of row ``ids[i]``, and get what is sent here.  Collective over the trainers.

        The array itself stays as it is.  Arguments as for `put`, but every repeat is sent.

        Raises:
            IDError, CommError: On all trainers.
        """
        ids, problem = self._tried(ids, rows, "rows")
        return self._to_owners(ids, rows, problem)

    def put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Replace row ``ids[i]`` by ``rows[i]``; of repeated ids the last counts.  Not collective.

        Args:
            ids: (N,) rows.
            rows: (N, W), C-contiguous, dtype of the array; may be changed once this returns.
        """
        ids, rows = last_of_each(self._checked(ids, rows, "rows"), rows)
        if ids.size:
            self._put(ids, rows)

    def accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        """Join ``rows[i]`` to row ``ids[i]``, exact to the element whoever else does the same.  Not collective.

        Args:
            ids: (N,) rows.
            rows: (N, W), C-contiguous, dtype of the array; may be changed once this returns.
            how: One of `REDUCTIONS`.
        """
        ids, rows = combined(self._checked(ids, rows, "rows"), rows, how)
        if ids.size:
            self._accumulate(ids, rows, how)

    @abstractmethod
    def flush(self) -> None:
        """Return when this trainer's writes have reached the owners.  Not collective."""

    @abstractmethod
    def sync(self) -> None:
        """Return when the writes of all trainers are there for all to read.  Collective over the trainers."""

    def free(self) -> None:
        """Give the memory back; what refers to ``local`` keeps it alive.  Collective over the trainers."""
        if not self._freed:
            self._freed = True
            self._free()

    @abstractmethod
    def _free(self) -> None: ...

    @abstractmethod
    def _gather(self, ids: np.ndarray, out: np.ndarray) -> Pending: ...

    @abstractmethod
    def _gather_together(self, ids: np.ndarray, out: np.ndarray, problem: MpignnError | None) -> None:
        """With a problem: let all trainers raise it."""

    @abstractmethod
    def _to_owners(self, ids: np.ndarray, rows: np.ndarray, problem: MpignnError | None) -> Delivered:
        """With a problem: let all trainers raise it."""

    @abstractmethod
    def _put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """``ids`` ascend strictly; there is at least one."""

    @abstractmethod
    def _accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        """``ids`` ascend strictly; there is at least one."""

    def _tried(self, ids: np.ndarray, rows: np.ndarray, what: str) -> tuple[np.ndarray, MpignnError | None]:
        """As `_checked`; with what is wrong, no ids."""
        try:
            return self._checked(ids, rows, what), None
        except MpignnError as error:
            return np.empty(0, np.int64), error

    def _checked(self, ids: np.ndarray, rows: np.ndarray, what: str) -> np.ndarray:
        spec = self.spec
        if self._freed:
            raise CommError(f"{spec.name}: already freed")
        ids = checked_ids(ids, spec.num_rows, f"row of {spec.name}")
        if rows.shape != (ids.size, spec.width) or rows.dtype != spec.dtype or not rows.flags.c_contiguous:
            raise CommError(f"{spec.name}: {what} is {rows.dtype} {rows.shape}, not contiguous {spec.dtype} "
                            f"{(ids.size, spec.width)}")
        return ids


def last_of_each(ids: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ``ids`` in ascending order, and the last of the rows of each.  Not collective."""
    if (ids[1:] > ids[:-1]).all():
        return ids, rows
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    return ordered[last], rows[order[last]]


def combined(ids: np.ndarray, rows: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct ``ids`` in ascending order, and the rows of each joined in their order.  Not collective."""
    if (ids[1:] > ids[:-1]).all():
        return ids, rows
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[first], REDUCTIONS[how].reduceat(rows[order], first, axis=0, dtype=rows.dtype)
