"""One hop of a mini-batch: a bipartite graph from its inputs (src) to its outputs (dst).

Shapes: S sources and D destinations of a node type, E edges of an edge type.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from mpignn.graph.csc import CSC
from mpignn.graph.types import ByEType, EType, Kind, Schema, etype_key, short

if TYPE_CHECKING:
    import torch

    from mpignn.nn import passing

Frame = dict[str, Any]
NID = "_ID"     # names of the ids in the frames, DGL's
EID = "_ID"
TIME = "_TIME"      # of the times under which nodes are seen


@dataclass
class Block:
    """A message-flow graph.  The first ``num_dst[t]`` sources of a type are its destinations.

    Attributes:
        schema: Types of the whole graph; every type has an entry below, possibly empty.
        src_ids: (S,) int64 ids of the sources of each node type, unique; with ``src_times``, pairs of both are unique.
        num_dst: D of each node type.
        dst_orig: (D,) int64 original ids of the destinations.
        csc: Sampled in-edges of each edge type: (D + 1,) int64 ``indptr`` over the destinations, (E,) int32
            ``indices`` as positions in the sources, in the order they were drawn, and ``edge_ids`` as
            global edge ids if the sampler was asked for them.
        src_frames, dst_frames: Named rows of each node type, (S, ...) and (D, ...).  A loader puts ids under `NID`,
            and times, if there are any, under `TIME`.
        edge_frames: Named rows of each edge type, (E, ...).  A loader puts ids under `EID` if there are any.
        src_orig: (S,) original ids of the sources, if the sampler was asked for them, else None.
        in_degrees: (S,) int64 in-degrees in the whole graph of the sources of each edge type's DESTINATION type, of
            which the first D are the destinations; they count the edges that may be drawn.  Empty unless the sampler
            was asked for them.
        out_degrees: (S,) int64 the same of the sources themselves, of edge types between two node types whose
            out-edges the graph holds.
        key: 64 bits that what is random on this batch (dropout) is derived from; the loader sets it anew for
            every global batch, equal on all trainers.
        dst_ids: (D,) int64 ids of the destinations where they are not the first sources, see `to_block`; else None.
        src_times: (S,) int64 or float64 time of the seeds that each source is there for, where edges were chosen by
            their times; else None.
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
    out_degrees: Mapping[EType, np.ndarray] = field(default_factory=dict)
    key: int = 0
    dst_ids: Mapping[str, np.ndarray] | None = None
    src_times: Mapping[str, np.ndarray] | None = None

    def __repr__(self) -> str:
        sources = {ntype: ids.shape[0] for ntype, ids in self.src_ids.items()}
        edges = {etype_key(etype): csc.num_edges for etype, csc in self.csc.items()}
        return f"Block(sources={short(sources)}, destinations={short(dict(self.num_dst))}, edges={short(edges)})"

    def num_src_nodes(self, ntype: str | None = None) -> int:
        """Sources of a type; without a type, of the only one."""
        return self.src_ids[self.schema.ntype(ntype)].size

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
        return self.srcnodes[self.schema.ntype()].data

    @property
    def dstdata(self) -> Frame:
        """Named rows of the destinations, of a graph with one node type."""
        return self.dstnodes[self.schema.ntype()].data

    @property
    def edata(self) -> Frame:
        """Named rows of the edges, of a graph with one edge type."""
        return self.edges[self.schema.etype()].data

    @property
    def srcnodes(self) -> "Parts[str]":
        """``srcnodes[ntype].data``: named rows of the sources of a type."""
        return Parts(self.src_frames, self.schema.ntype)

    @property
    def dstnodes(self) -> "Parts[str]":
        """``dstnodes[ntype].data``: named rows of the destinations of a type."""
        return Parts(self.dst_frames, self.schema.ntype)

    @property
    def edges(self) -> "Parts[EType]":
        """``edges[etype].data``: named rows of the edges of a type."""
        return Parts(self.edge_frames, self.schema.etype)

    def __getitem__(self, etype: str | EType) -> "Block":
        """The part of one edge type, with the frames of this block."""
        etype = self.schema.etype(etype)
        ntypes = tuple(dict.fromkeys((etype[0], etype[2])))
        return replace(self, schema=Schema(ntypes, (etype,)), csc={etype: self.csc[etype]})

    def local_var(self) -> "Block":
        """The same block with frames of its own: fields set there do not show here, and the rows are shared."""
        return self.with_frames(dict)

    def with_frames(self, change: Callable[[Frame], Frame]) -> "Block":
        """The same block with what ``change`` makes of each of its frames.  Not collective."""
        return replace(self, src_frames={t: change(frame) for t, frame in self.src_frames.items()},
                       dst_frames={t: change(frame) for t, frame in self.dst_frames.items()},
                       edge_frames={e: change(frame) for e, frame in self.edge_frames.items()})

    # What moves rows needs torch, which this layer is read without: these methods bring it in when they are called.

    def update_all(self, message_func: "passing.MessageFunction", reduce_func: "passing.ReduceFunction",
                   apply_node_func: "passing.ApplyFunction | None" = None, etype: str | EType | None = None) -> None:
        """Make a message on every edge, and reduce those of each destination to a field of ``dst_frames``.

        Args:
            message_func: A built-in of `mpignn.function`, or a function of an `mpignn.nn.passing.EdgeBatch` that
                returns named (E, ...) messages.
            reduce_func: A built-in, or a function of a `mpignn.nn.passing.NodeBatch` that returns named rows.
                Destinations without in-edges get zeros.
            apply_node_func: Is given all destinations as a ``NodeBatch`` afterwards, and returns fields to set.
            etype: Type of the edges; without it, the only one.

        Not collective.  Differentiable.

        Raises:
            UnknownName: No such type, field or message.
            DataError: A field that does not have a row for each source, destination or edge, or is of another type
                than float32 or float64.
        """
        from mpignn.nn import passing
        passing.update_all(self, message_func, reduce_func, apply_node_func, etype)

    def multi_update_all(self, etype_dict: ByEType[Sequence[Any]], cross_reducer: str,
                         apply_node_func: "passing.ApplyFunction | None" = None) -> None:
        """`update_all` along several edge types, and reduce fields of one name across the types.

        Args:
            etype_dict: By edge type ``(message_func, reduce_func)``, or these two and an ``apply_node_func``.
            cross_reducer: sum, mean, max, min, or stack: (D, types, ...) in the order of ``etype_dict``.
            apply_node_func: Is given all destinations of a type afterwards, and returns fields to set.

        Not collective.  Differentiable.

        Raises:
            ConfigError: No such cross reducer.
            UnknownName, DataError: As `update_all`.
        """
        from mpignn.nn import passing
        passing.multi_update_all(self, etype_dict, cross_reducer, apply_node_func)

    def apply_edges(self, func: "passing.MessageFunction", etype: str | EType | None = None) -> None:
        """Set fields of the edges of a type: what a message function, as of `update_all`, makes.  Not collective."""
        from mpignn.nn import passing
        passing.apply_edges(self, func, etype)

    def to(self, device: "torch.device | str") -> "Block":
        """The same block with its frames on a device, by way of pinned memory.  Not collective.

        Ids and edges stay on the CPU: `mpignn.nn` sends along what it needs of them.
        """
        from mpignn.nn import passing
        return passing.to_device(self, device)

    @property
    def edge_index(self) -> Any:
        """(2, E) int64 tensor of sources and destinations by position, of a block with one edge type."""
        return self.to_pyg()["edge_index"]

    def to_pyg(self, etype: str | EType | None = None) -> dict[str, Any]:
        """What layers of PyTorch Geometric take of a bipartite graph: ``conv((x_src, x_dst), **block.to_pyg())``.

        Returns:
            ``edge_index``, (2, E) int64, and ``size``, (S, D).  Not collective.
        """
        from mpignn.nn import passing
        etype = self.schema.etype(etype)
        return {"edge_index": passing.edge_index(self.csc[etype]),
                "size": (self.num_src_nodes(etype[0]), self.num_dst[etype[2]])}


@dataclass(frozen=True)
class Part:
    """The nodes or edges of a type, as DGL shows them."""

    data: Frame


class Parts(Generic[Kind]):
    """Frames by type, made when they are asked for."""

    def __init__(self, frames: dict[Kind, Frame], resolve: Callable[[Any], Kind]) -> None:
        self._frames: dict[Kind, Frame] = frames
        self._resolve: Callable[[Any], Kind] = resolve

    def __getitem__(self, name: str | EType) -> Part:
        return Part(self._frames.setdefault(self._resolve(name), {}))
