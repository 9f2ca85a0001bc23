"""Blocks made of edges that were drawn.

Shapes: D destinations and S sources of a node type, E edges of an edge type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpignn.errors import IDError
from mpignn.graph.array_key import IN
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, etype_key
from mpignn.kernels.relabel import mark
from mpignn.sampling import timed
from mpignn.sampling.draw import Draw, Front, Ids, Workspace, by_ntype, check_unique, draw_in_view
from mpignn.sampling.fetch import read_at_once
from mpignn.sampling.frontier import Frontier, FrontierEdges
from mpignn.store.published import PublishedGraph


def close_hop(graph: PublishedGraph, space: Workspace, front: Front, draws: Sequence[Draw], return_eids: bool) -> Block:
    """The block of a hop; draws that the view has all rows for are made on the way.  Not collective."""
    if front.times is not None:
        return timed.assemble(graph.schema, front.nodes, front.times, *_drawn(front, draws, return_eids))
    draw_in_view(graph, space, draws)
    return _assemble(graph, space, front.nodes, *_drawn(front, draws, return_eids))


def _drawn(front: Front, draws: Sequence[Draw], return_eids: bool) -> tuple[dict[str, np.ndarray], dict[EType, CSC]]:
    """Original ids of the destinations by type, and the edges by type, sources being global ids."""
    edges = {}
    for draw in draws:
        assert draw.neighbors is not None, "all is drawn"
        edges[draw.etype] = CSC(draw.indptr, draw.neighbors, draw.edge_ids if return_eids else None)
    return {t: orig.reshape(-1) for t, orig in front.orig.items()}, edges


def to_block(frontier: Frontier, dst_nodes: Ids, include_dst_in_src: bool = True) -> Block:
    """Make a block of a frontier, for layers to compute on.

    Args:
        frontier: The edges; several rows of the same destination become one, in their order.
        dst_nodes: (D,) ids of the destinations, unique, by node type: every destination in ``frontier``, and any
            others, which get no edges.  Where the graph has one node type, an array will do.
        include_dst_in_src: Put the destinations before the other sources.  Without, sources are only what edges come
            from, ascending, and `Block.dst_ids` tells the destinations.

    Returns:
        The block; edges of a destination in the order of ``frontier``, with their ids.

    Not collective.

    Raises:
        IDError: An id outside the graph or given twice, or a destination of the frontier that is not among them.
    """
    graph, space = frontier.graph, Workspace()
    nodes = by_ntype(graph, dst_nodes, "destination")
    for ntype, ids in nodes.items():
        check_unique(ids, f"destinations of type {ntype!r}")
    orig = {t: read_at_once(graph.transport, graph.orig_ids(t), ids)[:, 0] for t, ids in nodes.items()}
    edges = {}
    for etype, drawn in frontier.edges.items():
        edges[etype] = _by_destination(etype, drawn, nodes[etype[2]])
        ids = edges[etype].indices
        mark(ids, space.positions(etype[0], graph.book.num_nodes(etype[0])).seen[0])
    return _assemble(graph, space, nodes, orig, edges, include_dst_in_src)


def _by_destination(etype: EType, drawn: FrontierEdges, dst: np.ndarray) -> CSC:
    """Edges grouped by the destinations, neighbors and edge ids global."""
    if drawn.edge_dir == IN and np.array_equal(drawn.nodes, dst):
        return CSC(drawn.indptr, drawn.neighbors, drawn.eid)
    order = np.argsort(dst, kind="stable")
    place = np.minimum(np.searchsorted(dst, drawn.dst, sorter=order), max(dst.size - 1, 0))
    place = order[place] if dst.size else place
    missing = np.flatnonzero(dst[place] != drawn.dst) if dst.size else np.arange(drawn.dst.size)
    if missing.size:
        raise IDError(f"to_block: {etype_key(etype)!r} edges lead to {etype[2]} {drawn.dst[missing[0]]}, which is not "
                      "among the destinations given")
    by_dst = np.argsort(place, kind="stable")
    indptr = np.zeros(dst.size + 1, np.int64)
    np.cumsum(np.bincount(place, minlength=dst.size), out=indptr[1:])
    return CSC(indptr, drawn.src[by_dst], drawn.eid[by_dst])


def _assemble(graph: PublishedGraph, space: Workspace, nodes: Mapping[str, np.ndarray], orig: Mapping[str, np.ndarray],
              edges: Mapping[EType, CSC], include_dst: bool = True) -> Block:
    """Give sources their positions; ``edges`` have global ids, which are marked in the positions of ``space``."""
    src, csc = {}, dict(edges)
    for ntype, dst in nodes.items():
        of_type = [etype for etype in edges if etype[0] == ntype]
        src[ntype], indices = space.positions(ntype, graph.book.num_nodes(ntype)).place(
            dst if include_dst else dst[:0], [edges[etype].indices for etype in of_type], space.pool)
        csc |= {etype: replace(edges[etype], indices=found) for etype, found in zip(of_type, indices, strict=True)}
    return Block(graph.schema, src, {t: dst.shape[0] for t, dst in nodes.items()}, orig, csc,
                 dst_ids=None if include_dst else dict(nodes))
