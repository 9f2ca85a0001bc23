"""Rows of in-edges that have to be looked at edge by edge: weights, marks and times say which may be picked.

Shapes: D rows, L edges of all of them, X excluded edges.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.comm.transport import GraphArray
from mpignn.graph.types import EType
from mpignn.kernels import threads
from mpignn.kernels.older import mark_older
from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, find_excluded
from mpignn.kernels.simd import read_only
from mpignn.kernels.weigh import NO_MARKS, NO_WEIGHTS, count_allowed, take
from mpignn.sampling.fetch import RowReader
from mpignn.sampling.rule import Rule
from mpignn.store.published import PublishedGraph


def excluded(bounds: np.ndarray, gone: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """``gone`` and ``taken`` as kernels want them, of `kernels.pick.find_excluded`.

    Args:
        bounds: (D, 2) int64 start and end of each row.
        gone: (X,) int64 excluded edges, ascending, each once; None if there are none.
    """
    if gone is None:
        return NONE_GONE, NONE_TAKEN
    gone, taken = read_only(gone), np.empty((bounds.shape[0], 2), np.int32)
    find_excluded(bounds, gone, taken)
    return gone, taken


class WholeRows:
    """What is known of every edge of some rows; asked for when this is made, there once the reader has finished.

    Attributes:
        lo: First edge in the view.
        away: (D,) int64 where a row that was fetched begins in what was; -1 for one in the view.
    """

    def __init__(self, graph: PublishedGraph, etype: EType, rule: Rule, bounds: np.ndarray, times: np.ndarray | None,
                 reader: RowReader, more: Sequence[GraphArray] = ()):
        """Ask for what the rule looks at.

        Args:
            graph: The graph.
            etype: Type of the edges.
            rule: Says which edges may be picked.
            bounds: (D, 2) int64 start and end of each row.
            times: (D,) time of each row, where the rule has times.
            reader: What reads rows that are elsewhere.
            more: What else is wanted of the edges.
        """
        self._rule, self._bounds = rule, bounds
        self._indices = graph.adjacency(etype).indices
        looked_at = [rule.weights, rule.marks, rule.edge_times, self._indices if rule.node_times is not None else None]
        arrays = {a.spec.name: a for a in (*looked_at, *more) if a is not None}.values()
        self.lo, self._hi = max(a.lo for a in arrays), max(max(a.lo for a in arrays), min(a.hi for a in arrays))
        first, degree = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        away = np.flatnonzero((degree > 0) & ((first < self.lo) | (first + degree > self._hi)))
        ends = np.cumsum(degree[away])
        self.away = np.full(first.shape[0], -1, np.int64)
        self.away[away] = ends - degree[away]
        ids = np.repeat(first[away] - self.away[away], degree[away]) + np.arange(ends[-1] if ends.size else 0)
        self._fetched = {}
        for array in arrays:
            self._fetched[array.spec.name] = rows = np.empty((ids.size, 1), array.spec.dtype)
            reader.read(array, ids, rows)
        if rule.timed:
            assert times is not None, "edges are chosen by time"
            self._limits = times
            self._node_times: np.ndarray | None = None
            self._first = np.zeros(first.shape[0] + 1, np.int64)
            np.cumsum(degree, out=self._first[1:])

    def ask_times(self, reader: RowReader) -> None:
        """Ask for the times of all neighbors, which are known now."""
        array = self._rule.node_times
        if array is not None:
            neighbors = self._of_all(self._indices).astype(np.int64)
            self._node_times = np.empty((neighbors.size, 1), array.spec.dtype)
            reader.read(array, neighbors, self._node_times)

    def looked_at(self) -> tuple[tuple[np.ndarray, np.ndarray, bool, np.ndarray, np.ndarray, bool], np.ndarray]:
        """Weights and marks as kernels want them, and where the marks of each row begin."""
        marks, marks_at = self._if_any(self._rule.marks, NO_MARKS), self.away
        if self._rule.timed:
            marks, marks_at = (NO_MARKS, read_only(self._older()), True), self._first
        return (*self._if_any(self._rule.weights, NO_WEIGHTS), *marks), marks_at

    def count(self, gone: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """(D,) int64 how many edges of each row may be picked.  Not collective.

        Args:
            gone, taken: As of `excluded`.
        """
        counts = np.empty(self._bounds.shape[0], np.int64)
        values, marks_at = self.looked_at()
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._bounds[:, 1] - self._bounds[:, 0])])
        threads.run(lambda _, a, b: count_allowed(
            self._bounds[a:b], gone, taken[a:b], *values, self.lo, self.away[a:b], marks_at[a:b], counts[a:b]),
            threads.cut(indptr, 1 / 4))
        return counts

    def values(self, array: GraphArray) -> tuple[np.ndarray, np.ndarray]:
        """Values in the view from edge ``lo`` on, and values fetched."""
        flat = array.flat[self.lo - array.lo:self._hi - array.lo]
        return read_only(flat), read_only(self._fetched[array.spec.name][:, 0])

    def _if_any(self, array: GraphArray | None, none: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
        """`values`, and whether there are any."""
        return (none, none, False) if array is None else (*self.values(array), True)

    def _older(self) -> np.ndarray:
        """(L,) which edges are marked, and older than what they would be picked for."""
        rule, first = self._rule, self._first
        marks = np.ones(first[-1], bool) if rule.marks is None else self._of_all(rule.marks)
        sources = []
        if rule.edge_times is not None:
            sources.append((*self.values(rule.edge_times), self.away))
        if self._node_times is not None:
            times = read_only(self._node_times[:, 0])
            sources.append((times[:0], times, first[:-1]))
        for times, fetched, away in sources:
            self._mark(times, fetched, away, marks)
        return marks

    def _mark(self, times: np.ndarray, fetched: np.ndarray, away: np.ndarray, marks: np.ndarray) -> None:
        """Take the marks of edges that are not older by these times."""
        first = self._first
        threads.run(lambda _, a, b: mark_older(times, fetched, self.lo, away[a:b], self._bounds[a:b],
                                               self._limits[a:b], first[a:b], marks), threads.cut(first, 1 / 4))

    def _of_all(self, array: GraphArray) -> np.ndarray:
        """(L,) what an array has of every edge of the rows."""
        first, bounds = self._first, self._bounds
        ids = np.repeat(bounds[:, 0] - first[:-1], np.diff(first)) + np.arange(first[-1])
        (flat, fetched), found = self.values(array), np.empty(first[-1], array.spec.dtype)
        threads.run(lambda _, a, b: take(flat, fetched, self.lo, self.away[a:b], bounds[a:b], first[a:b + 1], ids,
                                         found), threads.cut(first, 1 / 4))
        return found
