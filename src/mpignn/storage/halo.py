"""What `--replicate halo` would copy of other partitions, before there is a job.

Shapes: N nodes of a type, H of them in the halo of a partition.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.storage.mapped import MappedRows
from mpignn.storage.read import GraphFile

_CHUNK = 1 << 22        # edges or rows in hand at a time


@dataclass(frozen=True)
class Halo:
    """The in-edges of the nodes around a partition's own: of those from which edges into these come.

    Attributes:
        nodes: How many such nodes there are, of all types together.
        edges: In-edges of these, of all types together.
        nbytes: What original ids, ends of rows and sources take.
    """

    nodes: int
    edges: int
    nbytes: int


def halos(graph: GraphFile) -> list[Halo]:
    """What a compute node copies that holds one partition, for each partition.  Not collective.

    In memory are a byte for each node of a type, and some MiB of edges.  Checksums are not compared.

    Raises:
        DataError: A part file that is damaged.
    """
    etypes, found = graph.schema.etypes, []
    rows = {e: MappedRows(graph, ArrayKey.edge(e, "indptr"), verified=False) for e in etypes}
    sources = {e: MappedRows(graph, ArrayKey.edge(e, "indices"), verified=False) for e in etypes}
    for part in range(graph.num_parts):
        nodes = edges = nbytes = 0
        for ntype in graph.schema.ntypes:
            halo = _nodes(graph, ntype, [sources[e].part(part) for e in etypes if e[0] == ntype], part)
            nodes, nbytes = nodes + halo.size, nbytes + halo.nbytes
            for etype in (e for e in etypes if e[2] == ntype):
                count = sum(int(np.diff(rows[etype].read(halo[first:first + _CHUNK])).sum())
                            for first in range(0, halo.size, _CHUNK))
                edges, nbytes = edges + count, nbytes + 16 * halo.size + sources[etype].dtype.itemsize * count
        found.append(Halo(nodes, edges, nbytes))
    return found


def _nodes(graph: GraphFile, ntype: str, sources: list[np.ndarray], part: int) -> np.ndarray:
    """(H,) int64 nodes of a type that are of other partitions, and among these sources."""
    met = np.zeros(graph.book.num_nodes(ntype), bool)
    for of_type in sources:
        for first in range(0, of_type.shape[0], _CHUNK):
            met[of_type[first:first + _CHUNK]] = True
    lo, hi = graph.book.node_ranges[ntype][part:part + 2]
    met[lo:hi] = False
    return np.flatnonzero(met)
