"""Blocks made of edges that were drawn.

Shapes: D destinations and S sources of a node type, E edges of an edge type.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from mpignn.dist.service import IN, GraphService
from mpignn.errors import IDError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, etype_key
from mpignn.kernels import threads
from mpignn.kernels.pick import pick_neighbors
from mpignn.kernels.relabel import look_up, mark, merge, place_dst, place_new
from mpignn.sampling import timed
from mpignn.sampling.draw import Draw, Front, Ids, Workspace, by_ntype, check_unique
from mpignn.sampling.fetch import read_at_once
from mpignn.sampling.frontier import Frontier, FrontierEdges
from mpignn.transport.api import Window


def close_hop(service: GraphService, space: Workspace, front: Front, draws: Sequence[Draw], return_eids: bool) -> Block:
    """The block of a hop; draws that the view has all rows for are made on the way.  Not collective."""
    if front.times is not None:
        return timed.assemble(service.schema, front.nodes, front.times, *_drawn(front, draws, return_eids))
    for draw in draws:
        seen, _ = space.maps(draw.etype[0], service.book.num_nodes(draw.etype[0]))
        if draw.neighbors is None:
            window = service.adjacency(draw.etype).indices
            draw.neighbors = space.pool.empty(draw.indptr[-1], window.spec.dtype)
            _pick_neighbors(draw, window, space.bits(draw.longest), seen)
        else:
            threads.run(lambda number, first, last, seen=seen, ids=draw.neighbors: mark(ids[first:last], seen[number]),
                        threads.stretches(draw.neighbors.shape[0]))
    return _assemble(service, space, front.nodes, *_drawn(front, draws, return_eids))


def _drawn(front: Front, draws: Sequence[Draw], return_eids: bool) -> tuple[dict, dict]:
    """Original ids of the destinations by type, and the edges by type, sources being global ids."""
    return ({t: orig.reshape(-1) for t, orig in front.orig.items()},
            {draw.etype: CSC(draw.indptr, draw.neighbors, draw.edge_ids if return_eids else None) for draw in draws})


def _pick_neighbors(draw: Draw, window: Window, bits: np.ndarray, seen: np.ndarray) -> None:
    threads.run(lambda number, *piece: pick_neighbors(
        draw.key, draw.rule.replace, *draw.rows(*piece), bits[number], window.flat, window.lo, seen[number],
        draw.neighbors), threads.cut(draw.indptr))


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
    service, space = frontier.service, Workspace()
    nodes = by_ntype(service, dst_nodes, "destination")
    for ntype, ids in nodes.items():
        check_unique(ids, f"destinations of type {ntype!r}")
    orig = {t: read_at_once(service.transport, service.orig_ids(t), ids)[:, 0] for t, ids in nodes.items()}
    edges = {}
    for etype, drawn in frontier.edges.items():
        edges[etype] = _by_destination(etype, drawn, nodes[etype[2]])
        ids = edges[etype].indices
        mark(ids, space.maps(etype[0], service.book.num_nodes(etype[0]))[0][0])
    return _assemble(service, space, nodes, orig, edges, include_dst_in_src)


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


def _assemble(service: GraphService, space: Workspace, nodes: Mapping[str, np.ndarray], orig: Mapping[str, np.ndarray],
              edges: Mapping[EType, CSC], include_dst: bool = True) -> Block:
    """Give sources their positions; ``edges`` have global ids, which are marked in the maps of ``space``."""
    maps = {t: space.maps(t, service.book.num_nodes(t)) for t in service.schema.ntypes}
    src = {}
    for ntype, dst in nodes.items():
        seen, slot = maps[ntype]
        first = dst if include_dst else dst[:0]
        num_dst = first.shape[0]
        merge(seen)
        src[ntype] = space.pool.empty(num_dst + place_dst(first, seen[0], slot), np.int64)
        src[ntype][:num_dst] = first
        place_new(seen[0], slot, num_dst, src[ntype])
    csc = {}
    for etype, by_id in edges.items():
        ids = by_id.indices
        indices = ids if ids.dtype == np.int32 else space.pool.empty(ids.shape[0], np.int32)
        slot = maps[etype[0]][1]
        threads.run(partial(_look_up, ids, slot, indices), threads.stretches(ids.shape[0], 4 * threads.GRAIN))
        csc[etype] = CSC(by_id.indptr, indices, by_id.edge_ids)
    return Block(service.schema, src, {t: dst.shape[0] for t, dst in nodes.items()}, orig, csc,
                 dst_ids=None if include_dst else dict(nodes))


def _look_up(ids: np.ndarray, slot: np.ndarray, out: np.ndarray, number: int, first: int, last: int) -> None:
    look_up(ids[first:last], slot, out[first:last])
