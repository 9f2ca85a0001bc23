"""One hop of a mini-batch: a bipartite graph from its inputs (src) to its outputs (dst).

Shapes: S sources and D destinations of a node type, E edges of an edge type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, Schema

Frame = dict[str, Any]
NID = "_ID"     # names of the ids in the frames, DGL's
EID = "_ID"


@dataclass
class Block:
    """A message-flow graph.  The first ``num_dst[t]`` sources of a type are its destinations.

    Attributes:
        schema: Of the whole graph; every type has an entry below, possibly empty.
        src_ids: (S,) int64 ids of the sources of each node type, unique.
        num_dst: D of each node type.
        dst_orig: (D,) int64 original ids of the destinations.
        csc: Sampled in-edges of each edge type: (D + 1,) int64 ``indptr`` over the destinations, (E,) int32
            ``indices`` as positions in the sources, in the order they were drawn, and ``edge_ids`` as
            global edge ids if the sampler was asked for them.
        src_frames, dst_frames: Named rows of each node type, (S, ...) and (D, ...).  A loader puts ids under `NID`.
        edge_frames: Named rows of each edge type, (E, ...).  A loader puts ids under `EID` if there are any.
        src_orig: (S,) original ids of the sources, if the sampler was asked for them, else None.
        in_degrees: (S,) in-degrees in the whole graph of the sources of each edge type's DESTINATION type, of which
            the first D are the destinations; empty unless the sampler was asked for them.
        key: 64 bits that what is random on this batch (dropout) is derived from; the loader sets it anew for
            every global batch, equal on all trainers.
        dst_ids: (D,) int64 ids of the destinations where they are not the first sources, see `to_block`; else None.
    """

    schema: Schema
    src_ids: Mapping[str, np.ndarray]
    num_dst: Mapping[str, int]
    dst_orig: Mapping[str, np.ndarray]
    csc: Mapping[EType, CSC]
    src_frames: dict[str, Frame] = field(default_factory=dict)
    dst_frames: dict[str, Frame] = field(default_factory=dict)
    edge_frames: dict[EType, Frame] = field(default_factory=dict)
    src_orig: Mapping[str, np.ndarray] | None = None
    in_degrees: Mapping[EType, np.ndarray] = field(default_factory=dict)
    key: int = 0
    dst_ids: Mapping[str, np.ndarray] | None = None

    def num_src_nodes(self, ntype: str | None = None) -> int:
        """Sources of a type; without a type, of the only one."""
        return self.src_ids[self.schema.ntype(ntype)].shape[0]

    def num_dst_nodes(self, ntype: str | None = None) -> int:
        """Destinations of a type; without a type, of the only one."""
        return self.num_dst[self.schema.ntype(ntype)]

    def num_edges(self, etype: str | EType | None = None) -> int:
        """Edges of a type; without a type, of all."""
        if etype is None:
            return sum(csc.num_edges for csc in self.csc.values())
        return self.csc[self.schema.etype(etype)].num_edges

    @property
    def num_src_total(self) -> int:
        """Sources of all types."""
        return sum(ids.shape[0] for ids in self.src_ids.values())

    @property
    def num_dst_total(self) -> int:
        """Destinations of all types."""
        return sum(self.num_dst.values())

    @property
    def srcdata(self) -> Frame:
        """Named rows of the sources, of a graph with one node type."""
        return self.src_frames.setdefault(self.schema.ntype(), {})

    @property
    def dstdata(self) -> Frame:
        """Named rows of the destinations, of a graph with one node type."""
        return self.dst_frames.setdefault(self.schema.ntype(), {})

    @property
    def edata(self) -> Frame:
        """Named rows of the edges, of a graph with one edge type."""
        return self.edge_frames.setdefault(self.schema.etype(), {})
