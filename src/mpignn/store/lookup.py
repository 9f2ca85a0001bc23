"""Questions about edges that the columns alone do not answer: where an edge lies, and which joins two nodes.

Shapes: N ids asked about, K edges found.
"""

from collections.abc import Callable

import numpy as np

from mpignn.errors import IDError
from mpignn.graph.array_key import OUT
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType, etype_key
from mpignn.kernels.match import match
from mpignn.store.published import PublishedGraph

_CHUNK_EDGES = 1 << 22      # read at a time
_STRIDE = 128               # rows of another node that are read to find one among them
_MOST_PIVOTS = 1 << 13      # read once for each edge type


def in_degrees(graph: PublishedGraph, etype: EType, nodes: np.ndarray) -> np.ndarray:
    """(N,) int64 number of in-edges of each destination.  Not collective."""
    bounds = graph.read(graph.adjacency(etype).rows, nodes)
    degrees: np.ndarray = bounds[:, 1] - bounds[:, 0]
    return degrees


def out_degrees(graph: PublishedGraph, etype: EType, nodes: np.ndarray) -> np.ndarray:
    """(N,) int64 number of out-edges of each source.  Not collective.

    Raises:
        DataError: No out-edges were stored.
    """
    bounds = graph.read(graph.adjacency(etype, OUT).rows, nodes)
    degrees: np.ndarray = bounds[:, 1] - bounds[:, 0]
    return degrees


def find_edges(graph: PublishedGraph, etype: EType, eids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) source and (N,) destination of each edge, int64.  Not collective.

    Edges are in order of their destinations, so these are searched for: in this node's memory at once, elsewhere by
    `RowPivots` and one round trip (one more for each time that the rows of a server exceed 2**20 twofold).
    """
    adjacency = graph.adjacency(etype)
    rows, indices = adjacency.rows, adjacency.indices
    src = graph.read(indices, eids).reshape(-1).astype(np.int64)
    dst = np.empty(eids.size, np.int64)
    here = (eids >= indices.lo) & (eids < indices.hi)
    # Of destinations that start at the same edge only the last has any: side="right" skips the others.
    dst[here] = rows.lo + np.searchsorted(rows.flat[:rows.hi - rows.lo], eids[here], side="right") - 1
    away = np.flatnonzero(~here)
    if away.size:
        wanted = eids[away]
        lo, hi = _pivots(graph, etype).around(wanted)
        lo, hi = _narrow(lambda which, nodes: graph.read(rows, nodes)[:, 0] <= wanted[which],
                         lo + 1, hi, _STRIDE)
        # The destination is one of lo - 1 ... hi - 1: the last that starts at the edge or before it.
        count = hi - lo + 1
        begin = np.cumsum(count) - count
        nodes = np.repeat(lo - 1 - begin, count) + np.arange(count.sum())
        before = (graph.read(rows, nodes)[:, 0] <= np.repeat(wanted, count)).astype(np.int64)
        dst[away] = lo - 2 + np.add.reduceat(before, begin)
    return src, dst


class RowPivots:
    """Where every so manieth row of other nodes starts, so that a row is found among few of them.

    Attributes:
        rows: (P,) int64 destinations, ascending: of each server the first, and then others evenly spaced.
        starts: (P,) first edge of each.
    """

    def __init__(self, graph: PublishedGraph, etype: EType) -> None:
        """Read them.  Not collective."""
        array = graph.adjacency(etype).rows
        bounds = array.spec.bounds
        stride = max(_STRIDE, -(-array.spec.num_rows // _MOST_PIVOTS))
        far = [(lo, hi) for lo, hi in zip(bounds, bounds[1:], strict=False) if hi <= array.lo or lo >= array.hi]
        self.rows = np.concatenate([np.arange(lo, hi, stride) for lo, hi in far])
        self._ends = np.concatenate([np.append(np.arange(lo, hi, stride)[1:], hi) for lo, hi in far if hi > lo])
        self.starts = graph.read(array, self.rows)[:, 0]

    def around(self, eids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) first and (N,) last + 1 of the destinations that each edge, of other nodes, may have."""
        at = np.searchsorted(self.starts, eids, side="right") - 1
        return self.rows[at], self._ends[at]


def _pivots(graph: PublishedGraph, etype: EType) -> RowPivots:
    if etype not in graph.pivots:
        graph.pivots[etype] = RowPivots(graph, etype)
    pivots: RowPivots = graph.pivots[etype]
    return pivots


def edge_ids(graph: PublishedGraph, etype: EType, src: np.ndarray,
             dst: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The edges from ``src[i]`` to ``dst[i]``, which lie side by side: (N,) first id and (N,) how many, int64.

    As `match_edges`.  Not collective.

    Raises:
        IDError: A pair that no edge joins; the first is named.
    """
    first, count = match_edges(graph, etype, src, dst)
    missing = np.flatnonzero(count == 0)
    if missing.size:
        at = missing[0]
        raise IDError(f"no {etype_key(etype)!r} edge joins {src[at]} to {dst[at]} (pair {at})")
    return first, count


def match_edges(graph: PublishedGraph, etype: EType, src: np.ndarray,
                dst: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `edge_ids`, but with a count of 0 for pairs that no edge joins.

    The rows of the destinations are read whole, each once, which takes two round trips: one for where they are, one
    for what is in them (several if that is very much).  Not collective.
    """
    adjacency = graph.adjacency(etype)
    nodes, row_of = np.unique(dst, return_inverse=True)
    bounds = graph.read(adjacency.rows, nodes)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(bounds[:, 1] - bounds[:, 0])])
    order = np.argsort(row_of, kind="stable")
    first, count = np.zeros(src.size, np.int64), np.zeros(src.size, np.int64)
    for lo, hi in row_chunks(starts, 0, nodes.size, _CHUNK_EDGES):
        indptr = starts[lo:hi + 1] - starts[lo]
        places = np.repeat(bounds[lo:hi, 0] - indptr[:-1], np.diff(indptr)) + np.arange(indptr[-1])
        sources = graph.read(adjacency.indices, places).reshape(-1)
        which = order[slice(*np.searchsorted(row_of[order], [lo, hi]))]
        place, found = np.empty(which.size, np.int64), np.empty(which.size, np.int64)
        match(indptr, sources, row_of[which] - lo, src[which], place, found)
        first[which], count[which] = bounds[row_of[which], 0] + place, found
    return first, count


def _narrow(before: Callable[[np.ndarray, np.ndarray], np.ndarray], lo: np.ndarray, hi: np.ndarray,
            enough: int) -> tuple[np.ndarray, np.ndarray]:
    """Search N stretches by halves, all at a time.

    Args:
        before: ``before(which, places)`` tells for each ``places[j]``, of stretch ``which[j]``, whether what is
            sought comes after it.
        lo, hi: (N,) the stretches ``lo:hi``.
        enough: Stop where no more places than that are left.

    Returns:
        (N,) the stretches that are left: what is before them is before, what is after them is not.
    """
    lo, hi = lo.copy(), hi.copy()
    while (which := np.flatnonzero(hi - lo > enough)).size:
        middle = (lo[which] + hi[which]) // 2
        yes = before(which, middle)
        lo[which[yes]] = middle[yes] + 1
        hi[which[~yes]] = middle[~yes]
    return lo, hi
