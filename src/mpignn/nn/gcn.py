"""Graph convolution (Kipf and Welling 2017).

Shapes: S sources, D destinations, E edges, F columns in.
"""

from typing import cast

import numpy as np
import torch
from torch import nn

from mpignn.errors import ConfigError, DataError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType, etype_key
from mpignn.nn import edges, message
from mpignn.nn.dense import product
from mpignn.nn.stack import ByItself, Ends, Rows, Stack, widths

NORMS = ("both", "right", "none")


class GraphConv(nn.Module):
    """``sum of c_uv W x_u + b`` over the in-neighbors u of v, with the names and initial distributions of DGL's layer.

    ``c_uv`` is ``1 / sqrt(d_u d_v)`` for ``both``, ``1 / d_v`` for ``right`` and 1 for ``none``, where a degree of 0
    counts as 1.  Degrees are in-degrees in the *whole* graph if the block knows them (`NeighborSampler` with
    ``source_info``), so d_u takes the graph to be symmetric; between two node types d_u is the out-degree, which the
    graph must hold for ``both``.  An edge that may not be drawn (mask, weight 0, time, exclusion) does not count.  A
    row of which k edges were sampled then stands for all d_v: its sum is scaled by d_v / k, which is 1 for all
    neighbors.  Without ``source_info`` they are degrees in the block, as in DGL: d_v its in-degree, d_u its
    out-degree.

    Where F is larger than ``out_feats``, W is applied before the aggregation: the same result from less data.

    Args:
        in_feats: F, or a pair, equal if ``self_loops``, where sources and destinations differ in it.
        out_feats: Columns out.
        norm: both, right or none.
        bias: Learn b, which starts at 0.
        self_loops: v counts as one more in-neighbor of its own: degrees grow by one.
    """

    bias: nn.Parameter | None

    def __init__(self, in_feats: int | tuple[int, int], out_feats: int, norm: str = "both", bias: bool = True,
                 self_loops: bool = False) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ConfigError(f"norm {norm!r} is not one of: {', '.join(NORMS)}")
        src_feats = in_feats[0] if isinstance(in_feats, tuple) else in_feats
        self.norm, self.self_loops, self.linear_first = norm, self_loops, src_feats > out_feats
        self.weight = nn.Parameter(torch.empty(src_feats, out_feats))
        self.register_parameter("bias", nn.Parameter(torch.zeros(out_feats)) if bias else None)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, block: Block, x: Ends, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch, of a graph with one edge type.
            x: (S, F) rows of the sources, or a pair of these and the (D, F) rows of the destinations.
            edge_weight: (E,) times which a source counts; degrees stay numbers of edges, and loops weigh 1.

        Returns:
            (D, out_feats); D may be 0.

        Raises:
            DataError: For ``both``, between two node types: the block has in-degrees in the whole graph, but not the
                out-degrees.
        """
        out = self.neighbors(block, x, edge_weight)
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def neighbors(self, block: Block, x: Ends, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """What `forward` adds b to, with its arguments and errors.  Not collective."""
        etype = block.schema.etype()
        csc = block.csc[etype]
        src, own = x if isinstance(x, tuple) else (x, x[:csc.num_dst])
        before, after, fill = self._scales(block, etype, src)
        if before is not None and after is not None:
            loop = before[:csc.num_dst] if etype[0] == etype[2] else after
            src, own = src * before, own * loop if self.self_loops else own
        if self.linear_first:
            src, own = product(src, self.weight), product(own, self.weight) if self.self_loops else own
        out = _summed(csc, src, edge_weight)
        if fill is not None:
            out = out * fill
        if self.self_loops:
            out = out + own
        if not self.linear_first:
            out = product(out, self.weight)
        return out if after is None else out * after

    def _scales(self, block: Block, etype: EType,
                src: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """What rows are multiplied by: sources before the sum, the sum itself, destinations after it."""
        if self.norm == "none":
            return None, None, None
        csc, loops = block.csc[etype], int(self.self_loops)
        sampled = np.diff(csc.indptr)
        known = block.in_degrees.get(etype)
        whole = sampled if known is None else known[:csc.num_dst]
        fill = None
        if not np.array_equal(whole, sampled):
            fill = _column(whole / np.maximum(sampled, 1), src)
        if self.norm == "right":
            return None, _column(1 / np.maximum(whole + loops, 1), src), fill
        if known is None:
            known = np.bincount(csc.indices, minlength=src.shape[0])
        elif etype[0] != etype[2]:
            known = _known_out_degrees(block, etype)
        before, after = (_column(1 / np.sqrt(np.maximum(degree + loops, 1)), src) for degree in (known, whole))
        return before, after, fill


class GCN(Stack):
    """`GraphConv` layers of Kipf and Welling, loops included, with ReLU and keyed dropout between them.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        norm: As for `GraphConv`.
    """

    needs_source_info = True

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 input_dropout: float = 0.0, norm: str = "both") -> None:
        super().__init__([GraphConv(*pair, norm, self_loops=True) for pair in
                          widths(in_feats, hidden, num_classes, num_layers)], dropout, input_dropout)

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> Rows:
        _check_degrees(block)
        return super().convolve(number, block, x, key)

    def by_itself(self, number: int) -> ByItself | None:
        layer = cast(GraphConv, self.layers[number])
        return None if layer.self_loops or layer.norm == "both" else ByItself(bias=layer.bias)

    def by_edges(self, number: int, block: Block, x: tuple[torch.Tensor, torch.Tensor], key: int) -> torch.Tensor:
        _check_degrees(block)
        return cast(GraphConv, self.layers[number]).neighbors(block, x, **self.edge_arguments(block, x))


def _check_degrees(block: Block) -> None:
    if not block.in_degrees:    # degrees in the block would depend on who else is in it
        raise DataError("GCN takes its degrees from the whole graph: give the sampler source_info")


def _known_out_degrees(block: Block, etype: EType) -> np.ndarray:
    if etype not in block.out_degrees:
        raise DataError(f"GraphConv: norm 'both' divides by the out-degrees of {etype[0]} along {etype_key(etype)}, "
                        "which the block does not have: partition the graph with --out-edges, or choose norm 'right' "
                        "(where edges are chosen by time, only that)")
    return block.out_degrees[etype]


def _summed(csc: CSC, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    if weight is None:
        return message.copy_u_sum(csc, x)
    return edges.weighted_rows(csc, x, weight)


def _column(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(like.device, like.dtype)[:, None]
