"""Models for one edge type on graphs with several: a network of layers for each, whose results are combined.

Shapes: S sources and D destinations of a node type, R edge types that lead to it, F columns in, G columns out.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.functional import linear

from mpignn.graph.block import Block
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.kernels.rng import derive
from mpignn.models import ATTENTION
from mpignn.nn import relations
from mpignn.nn.dense import Linear, product
from mpignn.nn.names import module_key
from mpignn.nn.passing import ACROSS
from mpignn.nn.stack import ByItself, Ends, Rows, Stack, widths
from mpignn.nn.typed import TypedStack, columns_in, of_types

_OF_TYPE = -2       # sets keys of edge types apart from those of layers


class TypeAttention(nn.Module):
    """``sum of b_r z_r`` over edge types r, where b is the softmax of ``q tanh(W z_r + c)`` over them.

    The attention of HAN (Wang et al. 2019) across meta-paths, but of each node by itself: that of a batch would depend
    on who else is in it.

    Args:
        columns: G.
    """

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.project = Linear(columns, columns)
        self.query = nn.Parameter(torch.empty(columns, 1))
        nn.init.xavier_uniform_(self.query)

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """(D, G) of (D, G) rows by each edge type.  Not collective."""
        scores = torch.stack([product(torch.tanh(self.project(part)), self.query) for part in parts])
        return torch.stack(list(parts)).mul(scores.softmax(0)).sum(0)


class AcrossTypes(nn.Module):
    """What edge types bring to a node type, combined, and what its own rows add to that.

    ``W_t x_v + b_t`` is added where the layers do not read own rows, and for node types that no edge type leads to.

    Args:
        schema: Types of the graph.
        columns: F and G.
        combine: One of `mpignn.models.COMBINED_BY`.
        reads_own: Whether the layers read own rows.
    """

    def __init__(self, schema: Schema, columns: tuple[int, int], combine: str, reads_own: bool) -> None:
        super().__init__()
        reached = {dst for _, _, dst in schema.etypes}
        self.own = nn.ModuleDict({str(number): Linear(*columns) for number, ntype in enumerate(schema.ntypes)
                                  if not reads_own or ntype not in reached})
        self.attention = TypeAttention(columns[1]) if combine == ATTENTION else None
        self._ntypes, self._combine = schema.ntypes, combine

    def forward(self, parts: Mapping[str, Sequence[torch.Tensor]],
                own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One hop.  Not collective.

        Args:
            parts: By node type, (D, G) rows of each edge type that leads to it.
            own: (D, F) rows of the destinations of each node type.
        """
        out = {}
        for number, ntype in enumerate(self._ntypes):
            found = [self._combined(parts[ntype])] if ntype in parts else []
            if str(number) in self.own:
                found.append(self.own[str(number)](own[ntype]))
            out[ntype] = found[0] + found[1] if len(found) > 1 else found[0]
        return out

    def _combined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        if len(parts) == 1:
            return parts[0]
        if self.attention is not None:
            combined: torch.Tensor = self.attention(parts)
            return combined
        return ACROSS[self._combine](torch.stack(list(parts)))


class PerEdgeType(TypedStack):
    """Layers of a model for one edge type, others for each edge type, and `AcrossTypes` after each of them.

    No node counts as its own in-neighbor, which most edge types could not say.

    Attributes:
        stacks: A model by edge type, of which only the layers are used.

    Args:
        make: Makes a model for one edge type, that one, whose input has so many columns.
        schema, in_feats, hidden: As for `TypedStack`.
        num_classes: Columns of the output.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        combine, reads_own: As for `AcrossTypes`.
    """

    def __init__(self, make: Callable[[int, EType], Stack], schema: Schema, in_feats: Mapping[str, int], hidden: int,
                 num_classes: int, num_layers: int, dropout: float, input_dropout: float, combine: str,
                 reads_own: bool) -> None:
        first = columns_in(schema, in_feats, hidden)
        columns = widths(first, hidden, num_classes, num_layers)
        stacks = {etype: make(first, etype) for etype in schema.etypes}
        one = next(iter(stacks.values()))
        super().__init__(schema, in_feats, hidden, [AcrossTypes(schema, pair, combine, reads_own) for pair in columns],
                         dropout, input_dropout, one.activation)
        self.stacks = nn.ModuleDict({module_key(etype_key(etype)): stack for etype, stack in stacks.items()})
        self._columns = [after for _, after in columns]
        self._etypes, self._adds = schema.etypes, combine if combine in ("sum", "mean") else None
        layers: list[Any] = [layer for stack in stacks.values() for layer in stack.layers]
        for layer in () if reads_own else layers:
            layer.self_loops = False

    @property
    def needs_source_info(self) -> bool:
        return self.input_dropout.p > 0 or any(stack.needs_source_info for stack in self.stacks.values())

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> Rows:
        rows, keys = of_types(x), [derive(key, _OF_TYPE, place) for place in range(len(self._etypes))]
        own = {ntype: of_type[:block.num_dst[ntype]] for ntype, of_type in rows.items()}
        stacks = dict(zip(self._etypes, (cast(Stack, stack) for stack in self.stacks.values()), strict=True))
        alone = {etype: found for etype, stack in stacks.items() if (found := stack.by_itself(number)) is not None}
        parts: dict[str, list[torch.Tensor]] = {}
        if self._adds and len(alone) == len(stacks):
            brought = self._brought(number, block, rows, dict(zip(stacks, keys, strict=True)), alone)
            for ntype in {etype[2]: None for etype in stacks}:
                of_type = [found for etype, found in alone.items() if etype[2] == ntype]
                parts[ntype] = [self._added(own[ntype], brought.get(ntype), of_type, self._columns[number])]
        else:
            for (etype, stack), drawn in zip(stacks.items(), keys, strict=True):
                part = stack.convolve(number, block[etype], (rows[etype[0]], own[etype[2]]), drawn)
                assert isinstance(part, torch.Tensor), "a model for one edge type gives rows of one node type"
                parts.setdefault(etype[2], []).append(part)
        out: Rows = self.layers[number](parts, own)
        return out

    def _brought(self, number: int, block: Block, rows: Mapping[str, torch.Tensor], keys: Mapping[EType, int],
                 alone: Mapping[EType, ByItself]) -> dict[str, torch.Tensor]:
        """(D, G) the sum of what edges of all types bring to each node type that has some."""
        reached = {etype: relations.reach(block, etype) for etype in keys if block.csc[etype].num_edges}
        lists: dict[str, list[np.ndarray]] = {ntype: [] for ntype in rows}
        for etype, found in reached.items():
            lists[etype[0]].append(found.sources)
            if alone[etype].edges_read_own:
                lists[etype[2]].append(found.destinations)
        given = {ntype: iter(relations.taken(rows[ntype], of_type)) for ntype, of_type in lists.items()}
        parts: dict[str, list[tuple[torch.Tensor, np.ndarray]]] = {}
        for etype, found in reached.items():
            src = next(given[etype[0]])
            own = next(given[etype[2]]) if alone[etype].edges_read_own else rows[etype[2]][:0]
            stack = cast(Stack, self.stacks[module_key(etype_key(etype))])
            part = stack.by_edges(number, found.block, (src, own), keys[etype])
            parts.setdefault(etype[2], []).append((part, found.destinations))
        return {ntype: relations.brought(of_type, block.num_dst[ntype])
                for ntype, of_type in parts.items()}

    def _added(self, own: torch.Tensor, brought: torch.Tensor | None, alone: Sequence[ByItself],
               columns: int) -> torch.Tensor:
        """(D, G) the sum or mean over edge types; what all give a node by itself is one product."""
        weights = [one.weight for one in alone if one.weight is not None]
        biases = [one.bias for one in alone if one.bias is not None]
        bias = torch.stack(biases).sum(0).to(own.dtype) if biases else own.new_zeros(columns)
        if weights:
            out = linear(own, torch.stack(weights).sum(0).to(own.dtype), bias)
        else:
            out = bias.expand(own.shape[0], columns)
        if brought is not None:
            out = out + brought
        return out / len(alone) if self._adds == "mean" else out
