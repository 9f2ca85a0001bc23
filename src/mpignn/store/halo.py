"""The halo: nodes of other compute nodes that edges into this one's come from, and copies of their in-edges here.

A batch that begins with nodes of this compute node expands these first, and then their sources, which are of here or in
the halo.  So two hops are drawn from what is here.  What is drawn does not depend on that: a copy is read in the place
of a message.

It is found when a graph is opened, and not stored with the partitions: a compute node holds several partitions, or a
piece of one, and which nodes lie around these is not known before.

Shapes: N nodes of a type, H of them in the halo.
"""

import logging

import numpy as np

from mpignn.comm.copies import Runs
from mpignn.graph.array_key import ArrayKey
from mpignn.store.published import PublishedGraph

log = logging.getLogger(__name__)

_CHUNK = 1 << 22        # edges looked at at a time, or ends of rows in hand


def copy_halo(graph: PublishedGraph, tells: bool) -> None:
    """Copy original ids and in-edges of the halo's nodes here, without data of edges.  Collective over the trainers.

    Args:
        graph: Published.
        tells: Whether this trainer is to say what came of it.

    Raises:
        ResourceError: On all trainers: a machine has too little memory.
    """
    halo, transport = {ntype: halo_nodes(graph, ntype) for ntype in graph.schema.ntypes}, graph.transport
    ends = {ArrayKey.node(ntype, "orig_id").path: ids for ntype, ids in halo.items()}
    ends |= {ArrayKey.edge(etype, "indptr").path: halo[etype[2]] for etype in graph.schema.etypes}
    transport.keep(ends, "the halo")
    edges = {ArrayKey.edge(etype, "indices").path: Runs(graph.read(graph.adjacency(etype).rows, halo[etype[2]]))
             for etype in graph.schema.etypes}
    transport.keep(edges, "the halo")
    if tells:
        size = sum(ids.size * array.spec.width * array.spec.dtype.itemsize for rows in (ends, edges)
                   for array, ids in ((transport.arrays[name], ids) for name, ids in rows.items()))
        log.info("halo: copies of %d in-edges of %d nodes around those of this node, %.1f MB",
                 sum(runs.size for runs in edges.values()), sum(ids.size for ids in halo.values()), size / 1e6)


def halo_nodes(graph: PublishedGraph, ntype: str) -> np.ndarray:
    """(H,) int64 ids, ascending, of the nodes of a type that are not here and that an edge into a node here comes from.

    Not collective.
    """
    nodes, met = graph.orig_ids(ntype), np.zeros(graph.book.num_nodes(ntype), bool)
    for etype in graph.schema.etypes:
        if etype[0] == ntype:
            sources = graph.adjacency(etype).indices.flat
            for first in range(0, sources.size, _CHUNK):
                met[sources[first:first + _CHUNK]] = True
    met[nodes.lo:nodes.hi] = False
    return np.flatnonzero(met)
