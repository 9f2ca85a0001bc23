"""The edges that a mini-batch is about: pairs of its output nodes.

Shapes: E pairs of an edge type, D output nodes of a node type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mpignn.errors import UnknownName
from mpignn.graph.block import Frame
from mpignn.graph.types import EType, Schema, etype_key, short


@dataclass
class PairGraph:
    """Pairs of output nodes by edge type, to be scored from what a model says of these nodes.

    Attributes:
        schema: Types of the whole graph.
        ends: (E,) int64 sources and (E,) int64 destinations of each edge type at hand, as positions in the output nodes
            of the type of each: row ``src[i]`` of a model's output belongs to the source of pair i.
        node_ids: (D,) int64 ids of the output nodes of each type.
        edge_frames: Named rows of each edge type, (E, ...).  Pairs that are edges of the graph have their global ids
            under `block.EID`.
        key: 64 bits that what is random on this batch is derived from, as of `Block`.
    """

    schema: Schema
    ends: Mapping[EType, tuple[Any, Any]]
    node_ids: Mapping[str, Any]
    edge_frames: dict[EType, Frame] = field(default_factory=dict)
    key: int = 0

    def __repr__(self) -> str:
        pairs = {etype_key(etype): src.shape[0] for etype, (src, _) in self.ends.items()}
        return f"PairGraph(nodes={short({t: len(ids) for t, ids in self.node_ids.items()})}, pairs={short(pairs)})"

    @property
    def canonical_etypes(self) -> tuple[EType, ...]:
        """The edge types at hand."""
        return tuple(self.ends)

    def edges(self, etype: str | EType | None = None) -> tuple[Any, Any]:
        """Positions of the sources and of the destinations; without a type, of the only one.

        Raises:
            UnknownName: No pairs of such a type are at hand.
        """
        return self.ends[self._etype(etype)]

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Pairs of a type; without a type, of all."""
        if etype is None:
            return sum(len(src) for src, _ in self.ends.values())
        return len(self.ends[self._etype(etype)][0])

    @property
    def edata(self) -> Frame:
        """Named rows of the pairs, where they are of one type."""
        return self.edge_frames.setdefault(self._etype(None), {})

    def _etype(self, name: str | EType | None) -> EType:
        etype = next(iter(self.ends)) if name is None and len(self.ends) == 1 else self.schema.etype(name)
        if etype not in self.ends:
            known = ", ".join(map(etype_key, self.ends))
            raise UnknownName(f"the batch has no pairs of the edge type {etype_key(etype)!r}; it has: {known}")
        return etype
