"""Edges drawn by source, where the graph's files hold out-edges.

A place in the list of out-edges is not an edge id, so what is known of an edge by its id (weight, mark, exclusion)
takes a round trip more.

Shapes: D nodes of a type to expand, E picks, A out-edges of the nodes.
"""

from collections.abc import Mapping

import numpy as np

from mpignn.comm.transport import GraphArray
from mpignn.errors import DataError
from mpignn.graph.array_key import OUT
from mpignn.graph.types import EType
from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, pick_edges, plan_rows
from mpignn.kernels.rng import derive, number_repeats
from mpignn.kernels.simd import read_only
from mpignn.kernels.weigh import NO_MARKS, NO_WEIGHTS, close_gaps, pick_weighted
from mpignn.sampling.draw import Front
from mpignn.sampling.fetch import RowReader
from mpignn.sampling.rule import Rule
from mpignn.store.published import PublishedGraph

_EVERYWHERE = 1 << 62


def draw_out(graph: PublishedGraph, front: Front,
             rules: Mapping[EType, Rule]) -> dict[EType, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Draw out-edges of the nodes: for each edge type ``indptr``, destinations and global edge ids.

    Not collective; two round trips to other nodes at most, three where edges have weights or marks or are excluded.

    Raises:
        DataError: No out-edges were stored, or a weight is negative, infinite or not a number: the edge is named.
    """
    reader = RowReader(graph.transport)
    rows = {etype: _OutRows(graph, front, rule, etype, reader) for etype, rule in rules.items() if rule.fanout != 0}
    reader.finish()
    for number, etype in enumerate(rules):
        if etype in rows:
            rows[etype].plan(np.uint64(derive(*front.key, number, 1)), reader)
    reader.finish()
    for found in rows.values():
        found.look(reader)
    reader.finish()
    nothing = np.empty(0, np.int64)
    return {e: rows[e].pick() if e in rows else (np.zeros(front.nodes[e[0]].size + 1, np.int64), nothing, nothing)
            for e in rules}


class _OutRows:
    """The out-edges of one edge type, in the order in which they become known."""

    def __init__(self, graph: PublishedGraph, front: Front, rule: Rule, etype: EType, reader: RowReader):
        self._adjacency, self._rule = graph.adjacency(etype, OUT), rule
        self._gone = front.exclude.get(etype)
        self._looks = rule.looks or self._gone is not None
        self._nodes = front.nodes[etype[0]]
        self._orig = _read(reader, self._adjacency.orig, self._nodes)
        self._bounds = _read(reader, self._adjacency.rows, self._nodes)

    def plan(self, key: np.uint64, reader: RowReader) -> None:
        """Draw places, or ask for all there are if their edges have to be looked at."""
        rule, bounds = self._rule, self._bounds
        self._key, self._numbers = key, number_repeats(self._orig.reshape(-1))
        self._indptr = np.empty(bounds.shape[0] + 1, np.int64)
        degree = bounds[:, 1] - bounds[:, 0]
        self._longest = int(degree.max(initial=0))
        plan_rows(bounds, NONE_TAKEN, rule.fanout, rule.replace, 0, _EVERYWHERE, self._indptr)
        if self._looks:
            self._first = np.cumsum(degree) - degree
            places = np.repeat(bounds[:, 0] - self._first, degree) + np.arange(degree.sum())
        else:
            places = np.empty(self._indptr[-1], np.int64)
            bits = np.zeros(self._longest // 64 + 1, np.uint64)
            pick_edges(key, rule.replace, self._numbers, bounds, NONE_GONE, NONE_TAKEN, self._indptr, bits, places)
        self._ends = _read(reader, self._adjacency.indices, places)
        assert self._adjacency.edge_ids is not None, "out-edges have ids of their own"
        self._ids = _read(reader, self._adjacency.edge_ids, places)

    def look(self, reader: RowReader) -> None:
        """Ask for weights and marks."""
        if self._looks:
            ids = np.ascontiguousarray(self._ids[:, 0])
            self._weights = None if self._rule.weights is None else _read(reader, self._rule.weights, ids)
            self._marks = None if self._rule.marks is None else _read(reader, self._rule.marks, ids)

    def pick(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``indptr``, destinations and edge ids of what is kept."""
        ends, ids = self._ends.reshape(-1), self._ids.reshape(-1)
        if not self._looks:
            return self._indptr, ends, ids
        weights = NO_WEIGHTS if self._weights is None else read_only(self._weights.reshape(-1))
        marks = np.ones(ids.size, bool) if self._marks is None else self._marks.reshape(-1)
        if self._gone is not None:
            marks &= ~np.isin(ids, self._gone)
        marks = read_only(marks)
        places, counts = np.empty(self._indptr[-1], np.int64), np.empty(self._nodes.size, np.int64)
        bad = pick_weighted(
            self._key, self._rule.fanout, self._rule.replace, self._numbers, self._bounds, NONE_GONE, NONE_TAKEN,
            self._indptr, weights[:0], weights, self._weights is not None, NO_MARKS, marks, True, 0, self._first,
            self._first, self._longest, places, counts)
        if bad >= 0:
            row = np.flatnonzero((self._bounds[:, 0] <= bad) & (bad < self._bounds[:, 1]))[0]
            at = self._first[row] + bad - self._bounds[row, 0]
            assert self._rule.weights is not None, "without weights none is bad"
            raise DataError(f"{self._rule.weights.spec.name} of edge {ids[at]}, an out-edge of {self._orig[row, 0]} "
                            f"(original id), is {weights[at]}; weights are finite and not negative")
        close_gaps(counts, self._indptr, places)
        at = places[:self._indptr[-1]] + np.repeat(self._first - self._bounds[:, 0], np.diff(self._indptr))
        return self._indptr, ends[at], ids[at]


def _read(reader: RowReader, array: GraphArray, ids: np.ndarray) -> np.ndarray:
    rows = np.empty((ids.shape[0], array.spec.width), array.spec.dtype)
    reader.read(array, ids, rows)
    return rows
