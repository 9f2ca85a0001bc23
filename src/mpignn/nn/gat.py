"""Graph attention: GAT (Velickovic et al. 2018) and GATv2 (Brody, Alon and Yahav 2022).

Shapes: S sources, D destinations, E edges, F columns in, H heads, K columns of a head.
"""

from abc import ABC, abstractmethod
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import elu, leaky_relu

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC, with_self_loops
from mpignn.kernels.rng import derive
from mpignn.nn import edges
from mpignn.nn.dense import Linear
from mpignn.nn.stack import ByItself, Ends, Rows, Stack, of_one_type, widths

_ATTENTION = -1         # sets keys of attention dropout apart from those of rows


class _Attention(nn.Module, ABC):
    """What both layers share: ``sum of softmax(e_uv) z_u`` over the in-neighbors u of v, per head."""

    def __init__(self, in_feats: int | tuple[int, int], out_feats: int, num_heads: int, attn_drop: float,
                 negative_slope: float, residual: bool, self_loops: bool, residual_bias: bool,
                 edge_feats: int | None) -> None:
        super().__init__()
        self.fc_edge = None if edge_feats is None else Linear(edge_feats, num_heads * out_feats, bias=False)
        if not 0 <= attn_drop <= 1:
            raise ConfigError(f"attention dropout {attn_drop} is not a probability")
        self.num_heads, self.out_feats, self.negative_slope = num_heads, out_feats, negative_slope
        self.attn_drop, self.self_loops = attn_drop, self_loops
        dst_feats = in_feats[1] if isinstance(in_feats, tuple) else in_feats
        self.res_fc: nn.Module | None = None
        if residual:
            same = dst_feats == num_heads * out_feats
            self.res_fc = nn.Identity() if same else Linear(dst_feats, num_heads * out_feats, bias=residual_bias)

    def _heads(self, x: torch.Tensor) -> torch.Tensor:
        """(N, H, K) of (N, H * K), of 16 bits as float32: attention is not computed in less."""
        x = x.float() if x.dtype.itemsize == 2 else x
        return x.view(x.shape[0], self.num_heads, self.out_feats)

    @abstractmethod
    def _project(self, csc: CSC, x: Ends, own: torch.Tensor,
                 on_edges: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(S, H, K) ``z``, and (E, H) what the softmax is taken of, with (E, H, K) rows of the edges if any."""

    def forward(self, block: Block, x: Ends, key: int | None = None, edge_feat: torch.Tensor | None = None,
                edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch, of a graph with one edge type.
            x: (S, F) rows of the sources, or a pair of these and the (D, F) rows of the destinations.
            key: What attention dropout is drawn from, with the original id of the destination and the position of
                the edge in its row; the block's own if not given.
            edge_feat: (E, ``edge_feats``) features of the edges, in the order of ``block.csc``.
            edge_weight: (E,) what the share of each edge is multiplied by, after the softmax, as in DGL; loops have 1.

        Returns:
            (D, H, K), float32 or float64; D may be 0.  Without in-edges (and loops), what a sum of nothing gives.
        """
        out = self.neighbors(block, x, key, edge_feat, edge_weight)
        own = x[1] if isinstance(x, tuple) else x[:out.shape[0]]
        return out if self.res_fc is None else out + self._heads(self.res_fc(own))

    def neighbors(self, block: Block, x: Ends, key: int | None = None, edge_feat: torch.Tensor | None = None,
                  edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        """The sum alone, with the arguments and errors of `forward`.  Not collective."""
        etype = block.schema.etype()
        csc = block.csc[etype]
        own = x[1] if isinstance(x, tuple) else x[:csc.num_dst]
        if (edge_feat is None) != (self.fc_edge is None):
            raise ConfigError("the layer was made without edge_feats, but is given some" if self.fc_edge is None else
                              "the layer was made with edge_feats, and is given no edge_feat")
        for rows in (edge_feat, edge_weight):
            if rows is not None:
                edges.check_edges(csc, rows)
        on_edges = None if self.fc_edge is None else self._heads(self.fc_edge(edge_feat))
        if self.self_loops:
            if edge_weight is not None:
                edge_weight = _with_loops(csc, edge_weight.reshape(-1), 1)
            if on_edges is not None:
                on_edges = _with_loops(csc, on_edges, 0)
            csc = with_self_loops(csc)
        z, logits = self._project(csc, x, own, on_edges)
        attention = edges.edge_softmax(csc, logits)
        if self.training:
            key = derive(block.key if key is None else key, _ATTENTION)
            attention = edges.edge_dropout(csc, attention, self.attn_drop, key, block.dst_orig[etype[2]])
        if edge_weight is not None:
            attention = attention * edge_weight.to(attention.dtype).reshape(-1, 1)
        return edges.weighted_sum(csc, z, attention)


class GATConv(_Attention):
    """``e_uv = LeakyReLU(a_l z_u + a_r z_v)`` with ``z = W x``, with the formulas, names and initial distributions of
    DGL's layer of that name.

    Args:
        in_feats: F, or a pair where sources and destinations differ in it and have a W each.
        out_feats: K.
        num_heads: H.
        attn_drop: Chance of dropping an edge's share of a head.
        negative_slope: Negative slope of LeakyReLU.
        residual: Add ``x_v``, through a matrix if it has not H * K columns.
        bias: Learn one, which starts at 0.
        self_loops: v counts as one more in-neighbor of its own; needs sources and destinations of one kind.
        edge_feats: Columns of the edges' features; ``a_e W_e e_uv`` is added before LeakyReLU, as in PyTorch Geometric;
            loops have features of 0, its ``fill_value=0.0``.
    """

    bias: nn.Parameter | None

    def __init__(self, in_feats: int | tuple[int, int], out_feats: int, num_heads: int, attn_drop: float = 0.0,
                 negative_slope: float = 0.2, residual: bool = False, bias: bool = True,
                 self_loops: bool = False, edge_feats: int | None = None) -> None:
        super().__init__(in_feats, out_feats, num_heads, attn_drop, negative_slope, residual, self_loops, False,
                         edge_feats)
        width = num_heads * out_feats
        if isinstance(in_feats, tuple):
            self.fc_src = Linear(in_feats[0], width, bias=False)
            self.fc_dst = Linear(in_feats[1], width, bias=False)
        else:
            self.fc = Linear(in_feats, width, bias=False)
        self.attn_l = nn.Parameter(torch.empty(1, num_heads, out_feats))
        self.attn_r = nn.Parameter(torch.empty(1, num_heads, out_feats))
        if edge_feats is not None:
            self.attn_e = nn.Parameter(torch.empty(1, num_heads, out_feats))
        self.register_parameter("bias", nn.Parameter(torch.zeros(width)) if bias else None)
        _normal_(self)

    def forward(self, block: Block, x: Ends, key: int | None = None, edge_feat: torch.Tensor | None = None,
                edge_weight: torch.Tensor | None = None) -> torch.Tensor:
        out = super().forward(block, x, key, edge_feat, edge_weight)
        return out if self.bias is None else out + self._heads(self.bias[None])

    def _project(self, csc: CSC, x: Ends, own: torch.Tensor,
                 on_edges: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if isinstance(x, tuple):
            src, dst = (self.fc_src, self.fc_dst) if hasattr(self, "fc_src") else (self.fc, self.fc)
            z, z_own = self._heads(src(x[0])), self._heads(dst(own))
        else:
            z = self._heads(self.fc(x))
            z_own = z[:csc.num_dst]
        left, right = (z * self.attn_l).sum(-1), (z_own * self.attn_r).sum(-1)
        logits = edges.from_src(csc, left) + edges.from_dst(csc, right)
        if on_edges is not None:
            logits = logits + (on_edges * self.attn_e).sum(-1)
        return z, leaky_relu(logits, self.negative_slope)


class GATv2Conv(_Attention):
    """``e_uv = a LeakyReLU(z_u + y_v)`` with ``z = W_src x + b_src`` and ``y = W_dst x + b_dst``, with the names and
    initial distributions of DGL's layer of that name.

    DGL's layer ignores W_dst on blocks whose sources and destinations share their rows; this one does not.

    Args:
        in_feats, out_feats, num_heads, attn_drop, negative_slope, residual, self_loops: As for `GATConv`.
        edge_feats: Columns of the edges' features; ``W_e e_uv`` is added before LeakyReLU, as in PyTorch Geometric.
        bias: Learn b_src and b_dst, which start at 0.
        share_weights: W_dst and b_dst are W_src and b_src.
    """

    def __init__(self, in_feats: int | tuple[int, int], out_feats: int, num_heads: int, attn_drop: float = 0.0,
                 negative_slope: float = 0.2, residual: bool = False, bias: bool = True, share_weights: bool = False,
                 self_loops: bool = False, edge_feats: int | None = None) -> None:
        super().__init__(in_feats, out_feats, num_heads, attn_drop, negative_slope, residual, self_loops, bias,
                         edge_feats)
        src_feats, dst_feats = in_feats if isinstance(in_feats, tuple) else (in_feats, in_feats)
        if share_weights and src_feats != dst_feats:
            raise ConfigError(f"weights cannot be shared: {src_feats} and {dst_feats} columns differ")
        self.fc_src = Linear(src_feats, num_heads * out_feats, bias=bias)
        self.fc_dst = self.fc_src if share_weights else Linear(dst_feats, num_heads * out_feats, bias=bias)
        self.attn = nn.Parameter(torch.empty(1, num_heads, out_feats))
        _normal_(self)

    def _project(self, csc: CSC, x: Ends, own: torch.Tensor,
                 on_edges: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        z = self._heads(self.fc_src(x[0] if isinstance(x, tuple) else x))
        y = self._heads(self.fc_dst(own))
        both = edges.from_src(csc, z) + edges.from_dst(csc, y)
        both = leaky_relu(both if on_edges is None else both + on_edges, self.negative_slope)
        return z, (both * self.attn).sum(-1)


def _with_loops(csc: CSC, x: torch.Tensor, of_loop: float) -> torch.Tensor:
    """(E + D, ...) rows of edges, and a row of equal numbers for a loop after those of each destination."""
    rows = np.concatenate([np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr)), np.arange(csc.num_dst)])
    order = torch.from_numpy(np.argsort(rows, kind="stable")).to(x.device)
    return torch.cat([x, x.new_full((csc.num_dst, *x.shape[1:]), of_loop)])[order]


class GAT(Stack):
    """Attention layers, loops included, with ELU and keyed dropout between them.

    Heads are concatenated between layers and averaged at the end.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between (of all its heads together), and
            of the output.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        heads, out_heads: Heads of the layers between, and of the last one; None: as many, which are not averaged.
        attention_dropout: Chance of dropping an edge's share of a head.
        edge_feats: Columns of the features of edges; None: layers read none.
    """

    _layer: type[GATConv] | type[GATv2Conv] = GATConv

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 input_dropout: float = 0.0, heads: int = 4, out_heads: int | None = 1,
                 attention_dropout: float = 0.0, edge_feats: int | None = None) -> None:
        if hidden % heads:
            raise ConfigError(f"{hidden} hidden columns cannot be shared out among {heads} heads")
        layers, self._averages = [], out_heads is not None
        for number, (before, after) in enumerate(widths(in_feats, hidden, num_classes, num_layers)):
            last = out_heads is not None and number == num_layers - 1
            size, count = (after, out_heads or 1) if last else (after // heads, heads)
            layers.append(self._layer(before, size, count, attention_dropout, self_loops=True,
                                      edge_feats=edge_feats))
        super().__init__(layers, dropout, input_dropout, elu)

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> torch.Tensor:
        ends = x if isinstance(x, tuple) else of_one_type(x)
        rows = ends[0] if isinstance(ends, tuple) else ends
        more = self.edge_arguments(block, ends)
        return self._joined(number, self.layers[number](block, ends, derive(key, number), **more).to(rows.dtype))

    def by_itself(self, number: int) -> ByItself | None:
        layer = cast(_Attention, self.layers[number])
        bias: torch.Tensor | None = getattr(layer, "bias", None)
        if bias is not None:
            bias = self._joined(number, bias.view(1, layer.num_heads, layer.out_feats))[0]
        return None if layer.self_loops else ByItself(bias=bias, edges_read_own=True)

    def by_edges(self, number: int, block: Block, x: tuple[torch.Tensor, torch.Tensor], key: int) -> torch.Tensor:
        layer = cast(_Attention, self.layers[number])
        found = layer.neighbors(block, x, derive(key, number), **self.edge_arguments(block, x))
        return self._joined(number, found.to(x[0].dtype))

    def _joined(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """(N, G) of (N, H, K): the mean over heads in the last layer, else these side by side."""
        return x.mean(1) if self._averages and number == self.num_layers - 1 else x.flatten(1)


class GATv2(GAT):
    """As `GAT`, of `GATv2Conv` layers."""

    _layer = GATv2Conv


def _normal_(layer: nn.Module) -> None:
    """Xavier's normal distribution with the gain of ReLU for what multiplies, 0 for what is added."""
    for name, value in layer.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(value)
        else:
            nn.init.xavier_normal_(value, gain=nn.init.calculate_gain("relu"))
