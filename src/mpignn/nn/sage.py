"""GraphSAGE (Hamilton, Ying and Leskovec 2017).

Shapes: S sources, D destinations, F columns in.
"""

from typing import cast

import numpy as np
import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.nn import device, edges, message
from mpignn.nn.dense import Linear
from mpignn.nn.fused import sage_linear
from mpignn.nn.stack import ByItself, Ends, Rows, Stack, widths

AGGREGATORS = ("mean", "sum", "gcn", "pool")


class SAGEConv(nn.Module):
    """``W_self x_v + b + W_neigh AGG(x_u)`` over the in-neighbors u of v, with the formulas, names and initial
    distributions of DGL's layer of that name.

    AGG is their mean, their sum, or for ``pool`` the greatest of ``relu(W_pool x_u + b_pool)``; 0 without
    in-neighbors.  ``gcn`` has no W_self: v counts as one more in-neighbor of the mean.
    Where F is larger than ``out_feats``, W_neigh is applied before the aggregation: the same result from less data.

    Args:
        in_feats: F, or a pair where sources and destinations differ in it.
        out_feats: Columns out.
        aggregator_type: mean, sum, gcn or pool.
        bias: Learn b, which starts at 0 for gcn.
    """

    def __init__(self, in_feats: int | tuple[int, int], out_feats: int, aggregator_type: str = "mean",
                 bias: bool = True) -> None:
        super().__init__()
        if aggregator_type not in AGGREGATORS:
            raise ConfigError(f"aggregator {aggregator_type!r} is not one of: {', '.join(AGGREGATORS)}")
        src_feats, dst_feats = in_feats if isinstance(in_feats, tuple) else (in_feats, in_feats)
        if aggregator_type == "gcn" and src_feats != dst_feats:
            raise ConfigError(f"gcn adds rows of sources and destinations: {src_feats} and {dst_feats} columns differ")
        self.aggregator_type = aggregator_type
        self.linear_first = src_feats > out_feats and aggregator_type != "pool"
        if aggregator_type == "pool":
            self.fc_pool = Linear(src_feats, src_feats)
        self.fc_neigh = Linear(src_feats, out_feats, bias=False)
        if aggregator_type != "gcn":
            self.fc_self = Linear(dst_feats, out_feats, bias=bias)
        elif bias:
            self.bias = nn.Parameter(torch.zeros(out_feats))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier's uniform distribution for the weights, with the gain of ReLU, from torch's generator."""
        for name, weight in self.named_parameters():
            if name.endswith("weight"):
                nn.init.xavier_uniform_(weight, gain=nn.init.calculate_gain("relu"))

    def forward(self, block: Block, x: Ends, edge_weight: torch.Tensor | None = None,
                relu: bool = False) -> torch.Tensor:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch, of a graph with one edge type.
            x: (S, F) rows of the sources, or a pair of these and the (D, F) rows of the destinations; float32 or
                float64, or for all but ``pool`` bfloat16.
            edge_weight: (E,) times which a source counts; a mean still divides by the number of edges.  Not for
                ``pool``.
            relu: Set what is below 0 to 0.

        Returns:
            (D, out_feats); D may be 0.
        """
        csc = block.csc[block.schema.etype()]
        fused = not self.linear_first and edge_weight is None and self.aggregator_type in ("mean", "sum")
        if fused and isinstance(x, torch.Tensor) and not device.elsewhere(x):
            return sage_linear(csc, message.checked(csc, x, csc.num_dst), self.fc_self.weight, self.fc_neigh.weight,
                               self.fc_self.bias, self.aggregator_type == "mean", relu)
        if self.aggregator_type == "gcn":
            out = self._gcn(csc, x, edge_weight)
        elif self.linear_first or self.aggregator_type == "pool":
            src, own = x if isinstance(x, tuple) else (x, x[:csc.num_dst])
            out = self.fc_self(own) + self.neighbors(csc, src, edge_weight)
        else:
            own, neigh = self._aggregate(csc, x, edge_weight)
            out = self.fc_self(own) + self.fc_neigh(neigh)
        return torch.relu_(out) if relu else out

    def neighbors(self, csc: CSC, x: torch.Tensor, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """(D, out_feats) ``W_neigh AGG(x_u)`` of (S, F) rows of the sources; not for ``gcn``.  Not collective."""
        if self.aggregator_type == "pool":
            if edge_weight is not None:
                raise ConfigError("aggregator pool takes no edge weights: choose another one, or leave them out")
            found: torch.Tensor = self.fc_neigh(message.copy_u_max(csc, torch.relu_(self.fc_pool(x))))
        elif self.linear_first:
            found = self._aggregate(csc, (self.fc_neigh(x), x[:0]), edge_weight)[1]
        else:
            found = self.fc_neigh(self._aggregate(csc, (x, x[:0]), edge_weight)[1])
        return found

    def _gcn(self, csc: CSC, x: Ends, edge_weight: torch.Tensor | None) -> torch.Tensor:
        if self.linear_first:
            x = (self.fc_neigh(x[0]), self.fc_neigh(x[1])) if isinstance(x, tuple) else self.fc_neigh(x)
        own, neigh = self._aggregate(csc, x, edge_weight)
        neigh = (own + neigh) / (message.in_degrees(csc, neigh) + 1)
        if not self.linear_first:
            neigh = self.fc_neigh(neigh)
        return neigh if self.bias is None else neigh + self.bias.to(neigh.dtype)

    def _aggregate(self, csc: CSC, x: Ends, edge_weight: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The destinations' own rows, and what their in-neighbors amount to."""
        mean = self.aggregator_type == "mean"
        if edge_weight is not None:
            src, own = x if isinstance(x, tuple) else (x, x[:csc.num_dst])
            neigh = edges.weighted_rows(csc, src, edge_weight)
            return own, neigh / message.in_degrees(csc, neigh).clamp_(min=1) if mean else neigh
        if isinstance(x, tuple):
            return x[1], (message.copy_u_mean if mean else message.copy_u_sum)(csc, x[0])
        return (message.self_and_mean if mean else message.self_and_sum)(csc, x)


class GraphSAGE(Stack):
    """`SAGEConv` layers with ReLU and keyed dropout between them.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        aggregator: As for `SAGEConv`.
        input_dropout: Chance of dropping an element of the input.
    """

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 aggregator: str = "mean", input_dropout: float = 0.0) -> None:
        super().__init__([SAGEConv(*pair, aggregator) for pair in
                          widths(in_feats, hidden, num_classes, num_layers)], dropout, input_dropout)

    def by_itself(self, number: int) -> ByItself | None:
        layer = cast(SAGEConv, self.layers[number])
        return None if layer.aggregator_type == "gcn" else ByItself(layer.fc_self.weight, layer.fc_self.bias)

    def by_edges(self, number: int, block: Block, x: tuple[torch.Tensor, torch.Tensor], key: int) -> torch.Tensor:
        layer = cast(SAGEConv, self.layers[number])
        return layer.neighbors(block.csc[block.schema.etype()], x[0], **self.edge_arguments(block, x))

    # ReLU goes with the layer, which is faster.

    def _call(self, number: int, block: Block, x: Rows, key: int) -> torch.Tensor:
        more = self.edge_arguments(block, x)
        out: torch.Tensor = self.layers[number](block, x, relu=number < self.num_layers - 1, **more)
        return out

    def _between(self, x: torch.Tensor, key: int, orig: np.ndarray) -> torch.Tensor:
        dropped: torch.Tensor = self.dropout(x, key, orig)
        return dropped
