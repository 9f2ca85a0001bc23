"""Edges drawn for some nodes, by themselves: what a sampler of one's own is made of.

Shapes: D nodes of a type to expand, E edges drawn of an edge type, X excluded edges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpignn.errors import ConfigError
from mpignn.graph.array_key import DIRECTIONS, IN, OUT
from mpignn.graph.types import EType, etype_key, short
from mpignn.sampling.draw import Draw, Edges, Front, Ids, Workspace, by_ntype, check_exclude, draw_hop
from mpignn.sampling.out import draw_out
from mpignn.sampling.rule import ALL, Fanout, Named, check_fanout, make_rules
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.published import PublishedGraph


@dataclass(frozen=True)
class FrontierEdges:
    """Edges of one type, in the order of the nodes that they were drawn for, and of the draws.

    Attributes:
        nodes: (D,) int64 ids, as given: destinations where ``edge_dir`` is "in", else sources.
        indptr: (D + 1,) int64; those drawn for node i are ``indptr[i]:indptr[i + 1]``.
        neighbors: (E,) ids of the other ends.
        eid: (E,) int64 global edge ids.
        edge_dir: "in" or "out".
    """

    nodes: np.ndarray
    indptr: np.ndarray
    neighbors: np.ndarray
    eid: np.ndarray
    edge_dir: str = IN

    def __repr__(self) -> str:
        return f"FrontierEdges({self.edge_dir}: {self.nodes.shape[0]} nodes, {self.eid.shape[0]} edges)"

    @property
    def src(self) -> np.ndarray:
        """(E,) source of each edge."""
        return self.neighbors if self.edge_dir == IN else self._repeated()

    @property
    def dst(self) -> np.ndarray:
        """(E,) destination of each edge."""
        return self._repeated() if self.edge_dir == IN else self.neighbors

    def without(self, eids: np.ndarray) -> "FrontierEdges":
        """The same without some edges.

        Args:
            eids: (X,) int64 global edge ids.
        """
        return self.where(~np.isin(self.eid, eids))

    def where(self, keep: np.ndarray) -> "FrontierEdges":
        """The edges where ``keep``, (E,) booleans, is True."""
        kept = np.concatenate([np.zeros(1, np.int64), np.cumsum(keep, dtype=np.int64)])
        return replace(self, indptr=kept[self.indptr], neighbors=self.neighbors[keep], eid=self.eid[keep])

    def _repeated(self) -> np.ndarray:
        return np.repeat(self.nodes, np.diff(self.indptr))


@dataclass(frozen=True)
class Frontier:
    """Edges drawn from a graph; ``frontier[etype]`` are the `FrontierEdges` of a type, of which every one is there.

    What is asked of the frontier itself is that of the only edge type.

    Attributes:
        graph: The graph.
        edges: By edge type.
    """

    graph: PublishedGraph
    edges: Mapping[EType, FrontierEdges]

    def __repr__(self) -> str:
        return f"Frontier(edges={short({etype_key(e): edges.eid.shape[0] for e, edges in self.edges.items()})})"

    def __getitem__(self, etype: str | EType | None) -> FrontierEdges:
        """The edges of a type; None is the only one."""
        return self.edges[self.graph.schema.etype(etype)]

    @property
    def src(self) -> np.ndarray:
        """(E,) source of each edge."""
        return self[None].src

    @property
    def dst(self) -> np.ndarray:
        """(E,) destination of each edge."""
        return self[None].dst

    @property
    def eid(self) -> np.ndarray:
        """(E,) int64 global edge ids."""
        return self[None].eid

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all."""
        edges = self.edges.values() if etype is None else [self[etype]]
        return sum(of_type.eid.size for of_type in edges)


def sample_neighbors(g: DistGraph | PublishedGraph, nodes: Ids, fanout: Fanout, edge_dir: str = IN, prob: Named = None,
                     replace: bool = False, exclude_edges: Edges | None = None,
                     key: int | Sequence[int] = 0, mask: Named = None) -> Frontier:
    """Draw edges of some nodes.

    What a node draws is a function of (key, edge type, its original id, how often it stood in ``nodes`` before): the
    same on every rank and for any partitioning.

    Args:
        g: The graph.
        nodes: (D,) ids of the nodes by node type, repeats allowed; where there is one node type, an array will do.
        fanout: Edges kept of each node: -1 all, once each, 0 none; a mapping names every edge type.
        edge_dir: "in" for edges that end in the nodes, "out" for those that leave them.
        prob: Edge data that edges are drawn in proportion to: one number an edge, of any sum; one name for all edge
            types that have such data, or a name by edge type.  An edge of 0 is never drawn, with fanout -1 neither.
        replace: Draw with replacement: exactly ``fanout`` edges of every node that has any that may be drawn.
            Without, a node that has no more keeps them all, in the order of its row.
        exclude_edges: (X,) edges by edge type never drawn, ascending, each once.
        key: What the draws depend on: an integer, or several such as (seed, epoch, step, hop).
        mask: Edge data, one boolean an edge, named as ``prob``: only edges where it is True are drawn.

    Returns:
        The edges, in the order of the nodes and for each in the order drawn.

    Not collective; two round trips to other nodes at most, three where `draw_out` says so.

    Raises:
        ConfigError: A fanout is no integer of -1 to 2**31 - 1, or a mapping leaves out an edge type.
        IDError: A node or edge is outside the graph; names the first.
        UnknownName: A type or data that the graph does not have.
        DataError: A weight is negative, infinite or not a number: names the edge.  Or out-edges are asked for of a
            graph that was partitioned without ``--out-edges``.
    """
    graph = published_graph(g)
    fanout = check_fanout(fanout)
    if edge_dir not in DIRECTIONS:
        raise ConfigError(f"edge_dir is {edge_dir!r}; it is 'in' or 'out'")
    rules = make_rules(graph, fanout, replace, prob, mask)
    key = tuple(key) if isinstance(key, Sequence) else (int(key),)
    front = Front(key, by_ntype(graph, nodes, "node"), check_exclude(graph, exclude_edges), repeats=True)
    if edge_dir == OUT:
        return Frontier(graph, {e: FrontierEdges(front.nodes[e[0]], *drawn, OUT)
                                  for e, drawn in draw_out(graph, front, rules).items()})
    (draws,) = draw_hop(graph, Workspace(), [front], rules, return_eids=True)
    return Frontier(graph, {draw.etype: _edges(front, draw) for draw in draws})


def in_subgraph(g: DistGraph | PublishedGraph, nodes: Ids) -> Frontier:
    """All in-edges of some nodes: `sample_neighbors` with fanout -1.  Not collective."""
    return sample_neighbors(g, nodes, ALL)


def _edges(front: Front, draw: Draw) -> FrontierEdges:
    assert draw.neighbors is not None and draw.edge_ids is not None, "both are drawn where ids are asked for"
    return FrontierEdges(front.nodes[draw.etype[2]], draw.indptr, draw.neighbors, draw.edge_ids)
