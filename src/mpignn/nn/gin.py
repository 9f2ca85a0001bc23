"""Graph isomorphism network (Xu, Hu, Leskovec and Jegelka 2019).

Shapes: S sources, D destinations, E edges, F columns in.
"""

import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.nn import edges, message
from mpignn.nn.dense import Linear
from mpignn.nn.stack import Ends, Stack, widths


class GINConv(nn.Module):
    """``h((1 + eps) x_v + sum of x_u)`` over the in-neighbors u of v, as in PyTorch Geometric and DGL.

    Args:
        apply_func: h, called with (D, F) rows; None: the rows as they are.
        eps: Its value, or its first one.
        train_eps: Learn it.
    """

    def __init__(self, apply_func: nn.Module | None = None, eps: float = 0.0, train_eps: bool = False):
        super().__init__()
        self.apply_func = apply_func
        value = torch.tensor([float(eps)])
        if train_eps:
            self.eps = nn.Parameter(value)
        else:
            self.register_buffer("eps", value)

    def forward(self, block: Block, x: Ends, edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """One hop.  Not collective.

        Args:
            block: One hop of a graph with one edge type.
            x: (S, F) rows of the sources, or a pair of these and the (D, F) rows of the destinations.
            edge_weight: (E,) times which a source counts.

        Returns:
            (D, ...) what h makes of its rows; D may be 0.
        """
        csc = block.csc[block.schema.etype()]
        if edge_weight is None and not isinstance(x, tuple):
            own, summed = message.self_and_sum(csc, x)
        else:
            src, own = x if isinstance(x, tuple) else (x, x[:csc.num_dst])
            summed = message.copy_u_sum(csc, src) if edge_weight is None else edges.weighted_rows(csc, src, edge_weight)
        out = own * (1 + self.eps).to(own.dtype) + summed
        return out if self.apply_func is None else self.apply_func(out)


class GINEConv(GINConv):
    """``h((1 + eps) x_v + sum of relu(x_u + e_uv))`` over the in-edges of v (Hu et al. 2020), as in PyTorch Geometric.

    Args:
        apply_func, eps, train_eps: As for `GINConv`.
        edge_feats: Columns of the edges' features, which a matrix brings to F; None: they have F.
        in_feats: F; needed with ``edge_feats``.
    """

    def __init__(self, apply_func: nn.Module | None = None, eps: float = 0.0, train_eps: bool = False,
                 edge_feats: int | None = None, in_feats: int | None = None) -> None:
        super().__init__(apply_func, eps, train_eps)
        if edge_feats is not None and in_feats is None:
            raise ConfigError(f"edge_feats={edge_feats}: a matrix brings them to the columns of nodes: give in_feats")
        self.fc_edge = None if edge_feats is None or in_feats is None else Linear(edge_feats, in_feats)

    def forward(self, block: Block, x: Ends, edge_feat: torch.Tensor | None = None) -> torch.Tensor:
        """One hop.  Not collective.

        Args:
            block, x: As for `GINConv`.
            edge_feat: (E, ...) features of the edges, in the order of ``block.csc``.

        Returns:
            (D, ...) what h makes of its rows; D may be 0.

        Raises:
            ConfigError: There are no features of edges.
            DataError: Not one row for each edge.
        """
        if edge_feat is None:
            raise ConfigError("GINEConv reads features of edges: give edge_feat, or take GINConv")
        csc = block.csc[block.schema.etype()]
        edges.check_edges(csc, edge_feat)
        src, own = x if isinstance(x, tuple) else (x, x[:csc.num_dst])
        rows, src = edge_feat if self.fc_edge is None else self.fc_edge(edge_feat), edges.wide(src)
        summed = edges.reduce_edges(csc, torch.relu_(edges.from_src(csc, src) + rows.to(src.dtype)), "sum")
        out = own * (1 + self.eps).to(own.dtype) + summed.to(own.dtype)
        return out if self.apply_func is None else self.apply_func(out)


class GIN(Stack):
    """`GINConv` layers, of which h has two linear layers with ReLU between, and ReLU and keyed dropout between them.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output; ``hidden`` is
            also the width in the middle of each h.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        train_eps: As for `GINConv`.
    """

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 input_dropout: float = 0.0, train_eps: bool = False):
        super().__init__([self._layer(a, nn.Sequential(Linear(a, hidden), nn.ReLU(inplace=True), Linear(hidden, b)),
                                      train_eps) for a, b in widths(in_feats, hidden, num_classes, num_layers)],
                         dropout, input_dropout)

    def _layer(self, columns: int, h: nn.Module, train_eps: bool) -> GINConv:
        return GINConv(h, train_eps=train_eps)


class GINE(GIN):
    """As `GIN`, of `GINEConv` layers, each with a matrix for the features of edges.

    Args:
        in_feats, hidden, num_classes, num_layers, dropout, input_dropout, train_eps: As for `GIN`.
        edge_feats: Columns of the features of edges; None: these edges have none, and the layers are `GINConv`.
    """

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 input_dropout: float = 0.0, train_eps: bool = False, edge_feats: int | None = None):
        self._columns = edge_feats
        super().__init__(in_feats, hidden, num_classes, num_layers, dropout, input_dropout, train_eps)

    def _layer(self, columns: int, h: nn.Module, train_eps: bool) -> GINConv:
        if self._columns is None:
            return super()._layer(columns, h, train_eps)
        return GINEConv(h, train_eps=train_eps, edge_feats=self._columns, in_feats=columns)
