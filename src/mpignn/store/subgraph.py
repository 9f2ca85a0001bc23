"""Some edges of a graph as a graph of their own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import ArrayLike

from mpignn.graph.block import EID
from mpignn.graph.pairs import PairGraph
from mpignn.graph.types import ByEType

if TYPE_CHECKING:
    from mpignn.store.graph import DistGraph


def edge_subgraph(g: "DistGraph", edges: ArrayLike | ByEType[ArrayLike]) -> PairGraph:
    """What `DistGraph.edge_subgraph` returns.  Not collective."""
    by_type: Mapping[Any, Any] = edges if isinstance(edges, Mapping) else {None: edges}
    ends = {g.schema.etype(name): g.find_edges(ids, name) for name, ids in by_type.items()}
    sides: dict[str, list[torch.Tensor]] = {}
    for etype, (src, dst) in ends.items():
        sides.setdefault(etype[0], []).append(src)
        sides.setdefault(etype[2], []).append(dst)
    nodes = {ntype: torch.cat(of_type).unique() for ntype, of_type in sides.items()}
    places = {etype: (torch.searchsorted(nodes[etype[0]], src), torch.searchsorted(nodes[etype[2]], dst))
              for etype, (src, dst) in ends.items()}
    ids = {g.schema.etype(name): torch.as_tensor(given, dtype=torch.int64).reshape(-1)
           for name, given in by_type.items()}
    return PairGraph(g.schema, places, nodes, {etype: {EID: of_type} for etype, of_type in ids.items()})
