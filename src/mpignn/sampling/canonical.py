"""What was drawn, in a form that does not depend on who drew it.

The canonical form of a step is the union over the trainers of (hop, edge type, destination, its time if that matters,
ordered sources), in original ids.  It is a function of the global batch alone.

Shapes: R rows (destinations of all edge types), E sources in them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.block import Block
from mpignn.graph.types import EType
from mpignn.sampling.fetch import RowReader
from mpignn.store.published import PublishedGraph


@dataclass(frozen=True)
class CanonicalRows:
    """What was drawn in one hop, ordered by (edge type, destination, time), each once.

    Attributes:
        hop: 0 expands the seeds.
        etype: (R,) int64 number of the edge type.
        dst: (R,) int64 original id of the destination.
        indptr: (R + 1,) int64; row r drew ``src[indptr[r]:indptr[r + 1]]``.
        src: (E,) int64 original ids of the sources, in the order drawn.
        time: (R,) int64 time that each row was drawn for; 0 where time does not matter.  Floating-point times stand
            here as their bits, so their order is none.
    """

    hop: int
    etype: np.ndarray
    dst: np.ndarray
    indptr: np.ndarray
    src: np.ndarray
    time: np.ndarray

    def digest(self) -> str:
        """SHA-256 of everything above, as hexadecimal digits.  Not collective."""
        state = hashlib.sha256(np.array([self.hop, self.dst.size], "<i8").tobytes())
        for array in self.etype, self.dst, self.indptr, self.src, self.time:
            state.update(array.astype("<i8", copy=False).tobytes())
        return state.hexdigest()


def canonical_rows(graph: PublishedGraph, block: Block, hop: int) -> CanonicalRows:
    """The rows of one block.

    Args:
        graph: The graph that the block was drawn from.
        block: As from `NeighborSampler`.
        hop: Number of the block: 0 for the last one of a list of blocks.

    Not collective; sources' original ids that are not in the view are fetched.
    """
    reader, orig = RowReader(graph.transport), {}
    for ntype, ids in block.src_ids.items():
        orig[ntype] = np.empty((ids.shape[0], 1), np.int64)
        reader.read(graph.orig_ids(ntype), ids, orig[ntype])
    reader.finish()
    times = {t: np.zeros(n, np.int64) if block.src_times is None else block.src_times[t][:n].view(np.int64)
             for t, n in block.num_dst.items()}
    pieces = [(np.full(block.csc[e].num_dst, number, np.int64), block.dst_orig[e[2]], times[e[2]],
               np.diff(block.csc[e].indptr), orig[e[0]][block.csc[e].indices, 0])
              for number, e in enumerate(graph.schema.etypes)]
    return _in_order(hop, *map(np.concatenate, zip(*pieces, strict=True)))


def union(rows: Sequence[CanonicalRows]) -> CanonicalRows:
    """The rows of several trainers for one hop.  Not collective.

    Raises:
        DataError: Different hops, or two that expanded the same destination drew different sources.
    """
    if len({r.hop for r in rows}) != 1:
        raise DataError(f"a union is of one hop, not of {sorted({r.hop for r in rows})}")
    every = _in_order(rows[0].hop, np.concatenate([r.etype for r in rows]), np.concatenate([r.dst for r in rows]),
                      np.concatenate([r.time for r in rows]), np.concatenate([np.diff(r.indptr) for r in rows]),
                      np.concatenate([r.src for r in rows]))
    again = np.zeros(every.dst.size, bool)
    again[1:] = ((every.etype[1:] == every.etype[:-1]) & (every.dst[1:] == every.dst[:-1])
                 & (every.time[1:] == every.time[:-1]))
    counts = np.diff(every.indptr)
    for row in np.flatnonzero(again):
        before, this, after = every.indptr[row - 1:row + 2]
        if not np.array_equal(every.src[before:this], every.src[this:after]):
            raise DataError(f"hop {every.hop}: destination {every.dst[row]} of edge type {every.etype[row]} drew "
                            f"{every.src[before:this].tolist()} and {every.src[this:after].tolist()}")
    return CanonicalRows(every.hop, every.etype[~again], every.dst[~again], _starts(counts[~again]),
                         every.src[np.repeat(~again, counts)], every.time[~again])


def canonical_form(graph: PublishedGraph, blocks: Sequence[Block]) -> list[dict[EType, list[tuple[Any, ...]]]]:
    """What `canonical_rows` says, for reading: for each hop and edge type a list of (dst, (src, ...)).

    Where time matters, (dst, time, (src, ...)), with floating-point times as their bits.

    Args:
        graph: The graph.
        blocks: As from `NeighborSampler`; the last one is hop 0, the first of the result.

    Not collective.
    """
    hops = []
    for hop, block in enumerate(reversed(blocks)):
        rows = canonical_rows(graph, block, hop)
        times = [()] * rows.dst.size if block.src_times is None else rows.time.reshape(-1, 1).tolist()
        hops.append({etype: [(int(rows.dst[r]), *times[r], tuple(rows.src[rows.indptr[r]:rows.indptr[r + 1]].tolist()))
                             for r in np.flatnonzero(rows.etype == number)]
                     for number, etype in enumerate(graph.schema.etypes)})
    return hops


def _in_order(hop: int, etype: np.ndarray, dst: np.ndarray, time: np.ndarray, counts: np.ndarray,
              src: np.ndarray) -> CanonicalRows:
    order = np.lexsort((time, dst, etype))
    indptr = _starts(counts[order])
    places = np.arange(src.size) + np.repeat(_starts(counts)[:-1][order] - indptr[:-1], counts[order])
    return CanonicalRows(hop, etype[order], dst[order], indptr, src[places], time[order])


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
