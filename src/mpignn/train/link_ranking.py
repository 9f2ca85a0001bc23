"""The rank of true links among all that share one of their ends.

Shapes: Q links of this trainer, K known links, C candidates at a time, N candidates in all, F columns of a row.
"""

from collections.abc import Mapping

import numpy as np
import torch

from mpignn import stop
from mpignn.graph.csc import row_chunks
from mpignn.graph.types import EType
from mpignn.kernels.permute import permute
from mpignn.nn.decoder import Decoder
from mpignn.progress import each
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.lookup import find_edges
from mpignn.store.tensor import DistTensor
from mpignn.train.finite import is_finite
from mpignn.unique import unique

_CHUNK = 8192           # candidates scored at a time
_CHUNK_ROWS = 1 << 16   # destinations whose edges are read at a time
_CLOSE = 1e-6           # scores that differ by no more than this part count as equal

Known = tuple[np.ndarray, np.ndarray]       # (K,) number of the link, and (K,) candidate that is no competitor


def rank_links(g: DistGraph, rows: Mapping[str, DistTensor], decoder: Decoder, etype: EType, eids: np.ndarray,
               filtered: bool, among: int | None, key: int) -> torch.Tensor:
    """The rank of each link among other destinations, then among other sources.  Collective over the trainers.

    A rank is 1 plus the number of candidates with a higher score, plus half the number of those with an equal one
    (Sun et al. 2020), so that a decoder that scores all alike gains nothing.

    Args:
        g: The graph.
        rows: (N, F) of all nodes of the types of both ends.
        decoder: Scores.
        etype: Type of the links.
        eids: (Q,) int64 this trainer's links, edges of the graph; may be none.
        filtered: Leave out candidates that are true links too, of whatever split (Bordes et al. 2013).
        among: How many candidates are drawn, once for all links; None: all nodes.
        key: Key of that draw.

    Returns:
        (2 Q,) float64; NaN for all of this trainer's links if a score was not finite.

    Raises:
        Stopped: On all trainers: one of them was asked to stop.
    """
    return ranks_and_rivals(g, rows, decoder, etype, eids, filtered, among, key)[0]


@torch.no_grad()
def ranks_and_rivals(g: DistGraph, rows: Mapping[str, DistTensor], decoder: Decoder, etype: EType, eids: np.ndarray,
                     filtered: bool, among: int | None, key: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ranks of `rank_links`, and (2 Q,) int64 how many candidates each link was held against.

    Arguments and errors are those of `rank_links`.  Collective over the trainers.
    """
    relation = g.schema.etypes.index(etype)
    src, dst = find_edges(published_graph(g), etype, eids)
    src_rows, dst_rows = rows[etype[0]].read_together(src), rows[etype[2]].read_together(dst)
    sides = [(etype[2], decoder.ask_dst(src_rows, relation), dst_rows,
              _known_destinations(g, etype, src) if filtered else _same(dst)),
             (etype[0], decoder.ask_src(dst_rows, relation), src_rows,
              _known_sources(g, etype, dst) if filtered else _same(src))]
    found = []
    for ntype, asked, true, known in sides:
        candidates = np.arange(g.num_nodes(ntype))
        if among is not None and among < candidates.size:
            candidates = np.sort(g.new_nids(permute(key, candidates.size, 0, among), ntype).numpy())
        found.append(_rank(g, rows[ntype], candidates, decoder, asked, decoder.similarity(asked, true), known))
    ranks, rivals = zip(*found, strict=True)
    return torch.cat(ranks), torch.cat(rivals)


def _rank(g: DistGraph, rows: DistTensor, candidates: np.ndarray, decoder: Decoder, asked: torch.Tensor,
          true: torch.Tensor, known: Known) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q,) float64 ranks, and (Q,) int64 numbers of rivals; candidates ascend.  Collective over the trainers."""
    rivals = torch.full((len(asked),), candidates.size)
    greater, equal = torch.zeros(len(asked), dtype=torch.int64), torch.zeros(len(asked), dtype=torch.int64)
    links, others = known
    order = np.argsort(others, kind="stable")
    links, others = links[order], others[order]
    margin, finite = _CLOSE * true.abs().clamp(min=1), is_finite(true)
    for first in each(range(0, candidates.size, _CHUNK), "candidates"):
        ids = candidates[first:first + _CHUNK]
        scores = decoder.similarities(asked, rows.read_together(ids))
        finite = finite and is_finite(scores)
        lo, hi = np.searchsorted(others, [ids[0], ids[-1] + 1])
        place = np.searchsorted(ids, others[lo:hi])
        here = ids[place] == others[lo:hi]      # of those drawn
        scores[links[lo:hi][here], place[here]] = -torch.inf
        left_out = np.unique(np.stack([links[lo:hi][here], place[here]]), axis=1)[0]    # parallel edges count once
        rivals -= torch.from_numpy(np.bincount(left_out, minlength=len(asked)))
        above = scores > (true + margin)[:, None]
        greater += above.sum(1)
        equal += (scores >= (true - margin)[:, None]).sum(1) - above.sum(1)
        stop.check(g.trainers)
    ranks = 1 + greater + equal.double() / 2
    return ranks if finite else torch.full_like(ranks, torch.nan), rivals


def _same(own: np.ndarray) -> Known:
    """Only what is to be ranked is no competitor of itself."""
    return np.arange(own.size), own


def _known_sources(g: DistGraph, etype: EType, dst: np.ndarray) -> Known:
    """The sources of all edges to the destination of each link.  Not collective."""
    nodes, which = np.unique(dst, return_inverse=True)
    bounds = published_graph(g).read(published_graph(g).adjacency(etype).rows, nodes)[which]
    degree = bounds[:, 1] - bounds[:, 0]
    before = np.cumsum(degree) - degree
    places = np.repeat(bounds[:, 0] - before, degree) + np.arange(degree.sum())
    found = published_graph(g).read(published_graph(g).adjacency(etype).indices, places).reshape(-1)
    return np.repeat(np.arange(dst.size), degree), found.astype(np.int64)


def _known_destinations(g: DistGraph, etype: EType, src: np.ndarray) -> Known:
    """The destinations of all edges from the source of each link.  Not collective.

    A graph holds in-edges, so all of them are read once.
    """
    adjacency, nodes = published_graph(g).adjacency(etype), unique(src)
    pairs = [np.empty((2, 0), np.int64)]
    for first in range(0, g.num_nodes(etype[2]), _CHUNK_ROWS):
        dst = np.arange(first, min(first + _CHUNK_ROWS, g.num_nodes(etype[2])))
        bounds = published_graph(g).read(adjacency.rows, dst)
        indptr = np.append(bounds[:, 0], bounds[-1:, 1])
        for lo, hi in row_chunks(indptr, 0, dst.size, 1 << 22):
            sources = published_graph(g).read(adjacency.indices, np.arange(indptr[lo], indptr[hi])).reshape(-1)
            to = np.repeat(dst[lo:hi], np.diff(indptr[lo:hi + 1]))
            wanted = np.isin(sources, nodes)
            pairs.append(np.stack([sources[wanted], to[wanted]]))
    sources, to = np.concatenate(pairs, axis=1)
    order = np.argsort(sources, kind="stable")
    sources, to = sources[order], to[order]
    start, end = np.searchsorted(sources, src, side="left"), np.searchsorted(sources, src, side="right")
    degree = end - start
    places = np.repeat(start - (np.cumsum(degree) - degree), degree) + np.arange(degree.sum())
    return np.repeat(np.arange(src.size), degree), to[places]
