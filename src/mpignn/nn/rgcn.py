"""Relational graph convolution (Schlichtkrull et al. 2018).

Shapes: S sources and D destinations of a node type, R relations, B bases, F columns in, G columns out.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import Schema
from mpignn.nn import message, relations
from mpignn.nn.dense import product
from mpignn.nn.stack import Rows, widths
from mpignn.nn.typed import TypedStack, columns_in

REGULARIZERS = ("basis", "bdd")


class TypedLinear(nn.Module):
    """A matrix W_r for each relation r, with the names and initial distributions of DGL's class of that name.

    Args:
        in_size, out_size: F and G.
        num_types: R.
        regularizer: None: R free matrices.  ``basis``: weighted sums of B matrices.  ``bdd``: B blocks on the diagonal.
        num_bases: B; R if not given.
    """

    def __init__(self, in_size: int, out_size: int, num_types: int, regularizer: str | None = None,
                 num_bases: int | None = None) -> None:
        super().__init__()
        if regularizer not in (None, *REGULARIZERS):
            raise ConfigError(f"regularizer {regularizer!r} is not one of: {', '.join(REGULARIZERS)}")
        bases = num_types if num_bases is None else num_bases
        if regularizer == "bdd" and (in_size % bases or out_size % bases):
            raise ConfigError(f"a matrix of {in_size} x {out_size} cannot be cut into {bases} diagonal blocks: choose "
                              "a number of bases that divides both")
        self.in_size, self.out_size, self.regularizer, self.num_bases = in_size, out_size, regularizer, bases
        rows = in_size // bases if regularizer == "bdd" else in_size
        shape = {None: (num_types, in_size, out_size), "basis": (bases, in_size, out_size),
                 "bdd": (num_types, rows * out_size)}[regularizer]
        self.W = nn.Parameter(torch.empty(shape))
        nn.init.uniform_(self.W, -1 / max(rows, 1)**0.5, 1 / max(rows, 1)**0.5)
        if regularizer == "basis":
            self.coeff = nn.Parameter(torch.empty(num_types, bases))
            nn.init.xavier_uniform_(self.coeff, gain=nn.init.calculate_gain("relu"))

    def weights(self) -> torch.Tensor:
        """(R, F, G), or (R, B, F / B, G / B) for ``bdd``."""
        if self.regularizer == "basis":
            return (self.coeff @ self.W.flatten(1)).view(-1, self.in_size, self.out_size)
        if self.regularizer == "bdd":
            return self.W.view(-1, self.num_bases, self.in_size // self.num_bases, self.out_size // self.num_bases)
        return self.W

    def apply_to(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """(N, G) ``x W_r`` of (N, F) rows, with ``weight`` an entry of `weights`."""
        if self.regularizer != "bdd":
            return product(x, weight)
        parts = x.view(x.shape[0], self.num_bases, -1).transpose(0, 1)
        return torch.bmm(parts, weight.to(x.dtype)).transpose(0, 1).reshape(x.shape[0], self.out_size)


class RelGraphConv(nn.Module):
    """``sum of W_r AGG_r(x_u) + W_0 x_v + b`` over the relations r and the in-neighbors u of v by r, with the names
    and initial distributions of DGL's layer.

    AGG_r is the mean, as in the paper, or the sum, as in DGL where no ``norm`` is given.

    Args:
        in_feat, out_feat: F and G.
        num_rels: R: the edge types of the graph, in their order.
        regularizer, num_bases: As for `TypedLinear`.
        bias: Learn b, which starts at 0.
        self_loop: Learn W_0.
        norm: ``right`` for the mean, ``none`` for the sum.
    """

    def __init__(self, in_feat: int, out_feat: int, num_rels: int, regularizer: str | None = None,
                 num_bases: int | None = None, bias: bool = True, self_loop: bool = True, norm: str = "right") -> None:
        super().__init__()
        if norm not in ("right", "none"):
            raise ConfigError(f"norm {norm!r} is not one of: right, none")
        self.norm, self.num_rels = norm, num_rels
        self.linear_r = TypedLinear(in_feat, out_feat, num_rels, regularizer, num_bases)
        self.h_bias: nn.Parameter | None
        self.loop_weight: nn.Parameter | None
        self.register_parameter("h_bias", nn.Parameter(torch.zeros(out_feat)) if bias else None)
        self.register_parameter("loop_weight", nn.Parameter(torch.empty(in_feat, out_feat)) if self_loop else None)
        if self.loop_weight is not None:
            nn.init.xavier_uniform_(self.loop_weight, gain=nn.init.calculate_gain("relu"))

    def forward(self, block: Block, x: Rows) -> Rows:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch, of a graph with R edge types.
            x: (S, F) rows of the sources of each node type; a tensor where there are one node type and one edge type.

        Returns:
            (D, G) of each node type; a tensor if ``x`` is one.

        Raises:
            ConfigError: The graph has other than R edge types.
        """
        schema = block.schema
        if len(schema.etypes) != self.num_rels:
            raise ConfigError(f"the layer has {self.num_rels} relations, but the graph has {len(schema.etypes)}")
        rows = {schema.ntype(): x} if isinstance(x, torch.Tensor) else x
        out = {t: self._own(rows[t][:block.num_dst[t]]) for t in schema.ntypes}
        weights = self.linear_r.weights().unbind()      # an index would give each a gradient as large as all of them
        reached = {etype: relations.reach(block, etype) for etype in schema.etypes if block.csc[etype].num_edges}
        given = {t: iter(relations.taken(rows[t], [found.sources for etype, found in reached.items()
                                                   if etype[0] == t])) for t in schema.ntypes}
        parts: dict[str, list[tuple[torch.Tensor, np.ndarray]]] = {t: [] for t in schema.ntypes}
        for number, etype in enumerate(schema.etypes):
            if etype in reached:
                found = reached[etype]
                part = self._aggregate(found.csc, next(given[etype[0]]), weights[number])
                parts[etype[2]].append((part, found.destinations))
        for t, of_type in parts.items():
            if of_type:
                out[t] = out[t] + relations.brought(of_type, block.num_dst[t])
        return out[schema.ntype()] if isinstance(x, torch.Tensor) else out

    def _own(self, x: torch.Tensor) -> torch.Tensor:
        loop = self.loop_weight
        out = x.new_zeros(x.shape[0], self.linear_r.out_size) if loop is None else product(x, loop)
        return out if self.h_bias is None else out + self.h_bias.to(out.dtype)

    def _aggregate(self, csc: CSC, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        reduce = message.copy_u_mean if self.norm == "right" else message.copy_u_sum
        return self.linear_r.apply_to(reduce(csc, x), weight)


class RGCN(TypedStack):
    """`RelGraphConv` layers with ReLU and keyed dropout between them.

    Args:
        schema: Types of the graph.
        in_feats: Columns of the input of each node type that has any.
        hidden, num_classes: Columns of each layer between, and of the output.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        regularizer: As for `RelGraphConv`, where there are bases.
        bases: B; None: a free matrix for each relation.
    """

    def __init__(self, schema: Schema, in_feats: Mapping[str, int], hidden: int, num_classes: int, num_layers: int,
                 dropout: float = 0.5, input_dropout: float = 0.0, regularizer: str = "basis",
                 bases: int | None = None) -> None:
        first = columns_in(schema, in_feats, hidden)
        super().__init__(schema, in_feats, hidden,
                         [RelGraphConv(*pair, len(schema.etypes), None if bases is None else regularizer, bases)
                          for pair in widths(first, hidden, num_classes, num_layers)], dropout, input_dropout)
