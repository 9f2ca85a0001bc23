"""The best new links: for each source the destinations that score highest and that no edge joins it to yet.

All destinations are scored, some at a time, so the answer is exact, and memory does not grow with the graph.

Shapes: Q sources, C candidates at a time, k links of a source, F columns of a row.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from mpignn import stop
from mpignn.errors import TrainingError
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType
from mpignn.nn.decoder import Decoder
from mpignn.progress import each
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.sizes import LINK_CANDIDATES
from mpignn.store.tensor import DistTensor
from mpignn.train.finite import is_finite

_CHUNK_EDGES = 1 << 22      # read at a time


@dataclass(frozen=True)
class TopLinks:
    """Which links are wanted.

    Attributes:
        k: How many of each source.
        sources: By edge type, (Q,) int64 original ids of the sources, each once.
    """

    k: int
    sources: Mapping[EType, np.ndarray]


@torch.no_grad()
def best_links(g: DistGraph, rows: Mapping[str, DistTensor], decoder: Decoder, etype: EType, sources: np.ndarray,
               k: int, candidates: int = LINK_CANDIDATES) -> tuple[np.ndarray, np.ndarray]:
    """The links of the highest scores that are no edges, nor lead from a node to itself.  Collective over the trainers.

    Args:
        g: The graph.
        rows: (N, F) of all nodes of the types of both ends.
        decoder: Scores.
        etype: Type of the links.
        sources: (Q,) int64 original ids of this trainer's sources, each once; may be none.
        k: How many links of each.
        candidates: C.

    Returns:
        (Q, k) int64 original ids of the destinations, by falling score and, of equal ones, by id, -1 where there are no
        more; and (Q, k) float32 scores.  k is at most the number of destinations.

    Raises:
        TrainingError: A score was not finite; once all trainers have done their part.
        Stopped: On all trainers: one of them was asked to stop.
    """
    count = g.num_nodes(etype[2])
    src = g.new_nids(sources, etype[0]).numpy()
    asked = decoder.ask_dst(rows[etype[0]].read_together(src), g.schema.etypes.index(etype))
    ids, best = torch.empty((src.size, 0), dtype=torch.int64), asked.new_empty((src.size, 0))
    finite = True
    # In order of original id: of equal scores the first ones are kept.
    for first in each(range(0, count, candidates), "candidates"):
        dst = g.new_nids(np.arange(first, min(first + candidates, count)), etype[2]).numpy()
        scores = decoder.similarities(asked, rows[etype[2]].read_together(dst))
        if not is_finite(scores):
            finite = False
            scores = torch.zeros_like(scores)
        for row, column in _known(g, etype, src, dst):
            scores[row, column] = -torch.inf
        best, ids = _merged(best, ids, scores, first, k)
        stop.check(g.trainers)
    if not finite:
        raise TrainingError("scores: what the network says is not finite: it has diverged, or features are not finite")
    best, order = best.sort(dim=1, descending=True, stable=True)
    ids = ids.gather(1, order).masked_fill(best == -torch.inf, -1)
    return ids.numpy(), best.float().numpy()


def _merged(best: torch.Tensor, ids: torch.Tensor, scores: torch.Tensor, first: int, k: int
            ) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best so far, in order of id, when (Q, C) scores of the ids from ``first`` on are seen, too."""
    kept, columns = ids.shape[1], torch.arange(scores.shape[1])
    if kept == k:       # the more was seen, the fewer are better: sorting all takes ten times as long as scoring them
        columns = columns[(scores > best.amin(1, keepdim=True)).any(0)]
        if not columns.numel():
            return best, ids
        scores = scores[:, columns]
    best = torch.cat([best, scores], 1)
    places = _highest(best, k)
    later = first + columns[(places - kept).clamp(min=0)]
    if kept:
        later = torch.where(places < kept, ids.gather(1, places.clamp(max=kept - 1)), later)
    return best.gather(1, places), later


def _highest(scores: torch.Tensor, k: int) -> torch.Tensor:
    """(Q, k) ascending places of the k highest scores of each row, and of equal ones of the first."""
    if scores.shape[1] <= k:
        return torch.arange(scores.shape[1]).expand(len(scores), -1)
    least = scores.topk(k, dim=1).values[:, -1:]
    above, equal = scores > least, scores == least
    wanted = k - above.sum(1, keepdim=True)
    if (equal.sum(1, keepdim=True) > wanted).any():
        equal &= equal.cumsum(1, dtype=torch.int32) <= wanted
    return (above | equal).nonzero()[:, 1].view(len(scores), k)


def _known(g: DistGraph, etype: EType, src: np.ndarray, dst: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places among some sources, and among some destinations, of pairs that are no new links.  Not collective."""
    if not src.size:
        return
    order = np.argsort(src)
    ascending = src[order]

    def found(sources: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.minimum(np.searchsorted(ascending, sources), ascending.size - 1)
        here = ascending[at] == sources
        return order[at[here]], columns[here]

    if etype[0] == etype[2]:
        yield found(dst, np.arange(dst.size))
    graph = published_graph(g)
    adjacency = graph.adjacency(etype)
    bounds = graph.read(adjacency.rows, dst)
    degree = bounds[:, 1] - bounds[:, 0]
    indptr = np.append(0, np.cumsum(degree))
    for lo, hi in row_chunks(indptr, 0, dst.size, _CHUNK_EDGES):
        places = np.repeat(bounds[lo:hi, 0] - indptr[lo:hi], degree[lo:hi]) + np.arange(indptr[lo], indptr[hi])
        yield found(graph.read(adjacency.indices, places).reshape(-1), np.repeat(np.arange(lo, hi), degree[lo:hi]))
