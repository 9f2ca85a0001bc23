"""Heterogeneous graph transformer (Hu, Dong, Wang and Sun 2020).

Shapes: S sources and D destinations of a node type, E edges, R edge types, F columns in, H heads, K columns of a head.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn.functional import gelu

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import Schema
from mpignn.nn import edges, relations
from mpignn.nn.dense import Linear
from mpignn.nn.stack import Ends, Rows, widths
from mpignn.nn.typed import TypedStack, columns_in


class HGTConv(nn.Module):
    """``W_out gelu(sum of softmax(q_v A_r k_u p_r / sqrt(K)) M_r v_u)``, mixed with ``x_v``, with the formulas and
    initial distributions of PyTorch Geometric's layer of that name.

    q, k and v are matrices of the node types times x; A, M and p are of the edge type r; the softmax goes over the
    in-edges of all types of v together, per head.  Where F is H * K, the result is ``a out + (1 - a) x_v``, a being the
    sigmoid of a number of the node type.  Node types that no edge type leads to have a sum of 0.

    Args:
        schema: Types of the graph.
        in_feats: F, of all node types.
        out_feats: H * K.
        num_heads: H.
    """

    def __init__(self, schema: Schema, in_feats: int, out_feats: int, num_heads: int) -> None:
        super().__init__()
        if out_feats % num_heads:
            raise ConfigError(f"{out_feats} hidden columns cannot be shared out among {num_heads} heads")
        self.num_heads, self.size = num_heads, out_feats // num_heads
        numbers = [str(number) for number in range(len(schema.ntypes))]       # names may hold dots
        self.kv_lin = nn.ModuleDict({number: Linear(in_feats, 2 * out_feats) for number in numbers})
        self.q_lin = nn.ModuleDict({number: Linear(in_feats, out_feats) for number in numbers})
        self.out_lin = nn.ModuleDict({number: Linear(out_feats, out_feats) for number in numbers})
        self.skip = nn.ParameterDict({number: nn.Parameter(torch.ones(1)) for number in numbers})
        shape = len(schema.etypes), num_heads, self.size, self.size
        self.k_rel, self.v_rel = nn.Parameter(torch.empty(shape)), nn.Parameter(torch.empty(shape))
        self.p_rel = nn.Parameter(torch.ones(len(schema.etypes), num_heads))
        for weight in self.k_rel, self.v_rel:
            nn.init.uniform_(weight, -1 / max(self.size, 1)**0.5, 1 / max(self.size, 1)**0.5)

    def forward(self, block: Block, x: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """One hop.  Not collective.

        Args:
            block: A hop of a batch.
            x: (S, F) rows of the sources of each node type.

        Returns:
            (D, H * K) of each node type.
        """
        schema, out = block.schema, {}
        both = {t: self._heads(self.kv_lin[str(n)](x[t]), 2) for n, t in enumerate(schema.ntypes)}
        k_rel = (self.k_rel * (self.p_rel / max(self.size, 1)**0.5)[:, :, None, None]).unbind()
        v_rel = self.v_rel.unbind()     # an index would give each a gradient as large as all of them
        reached = {etype: relations.reach(block, etype) for etype in schema.etypes if block.csc[etype].num_edges}
        given = {t: iter(relations.taken(both[t].flatten(1), [found.sources for etype, found in reached.items()
                                                              if etype[0] == t])) for t in schema.ntypes}
        rows_of = {etype: self._heads(next(given[etype[0]]), 2) for etype in reached}
        for n, ntype in enumerate(schema.ntypes):
            own = x[ntype][:block.num_dst[ntype]]
            csc, keys, values = _CSCs(block.num_dst[ntype]), [], []
            for r, etype in enumerate(schema.etypes):
                if etype[2] == ntype and etype in reached:
                    csc.add(reached[etype])
                    rows = rows_of[etype]
                    keys.append(_by_head(rows[:, :self.num_heads], k_rel[r]))
                    values.append(_by_head(rows[:, self.num_heads:], v_rel[r]))
            if keys:
                summed = self._attend(csc.merged(), self._heads(self.q_lin[str(n)](own)), torch.cat(keys),
                                      torch.cat(values)).flatten(1).to(own.dtype)
            else:
                summed = own.new_zeros(own.shape[0], self.num_heads * self.size)
            out[ntype] = self._mixed(str(n), self.out_lin[str(n)](gelu(summed)), own)
        return out

    def _heads(self, x: torch.Tensor, times: int = 1) -> torch.Tensor:
        """(N, times * H, K) of (N, times * H * K), of 16 bits as float32: attention is not computed in less."""
        x = x.float() if x.dtype.itemsize == 2 else x
        return x.view(x.shape[0], times * self.num_heads, self.size)

    def _attend(self, csc: CSC, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        logits = (edges.from_dst(csc, q) * edges.from_src(csc, k)).sum(-1)
        return edges.weighted_sum(csc, v, edges.edge_softmax(csc, logits))

    def _mixed(self, number: str, out: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        if out.shape[1] != own.shape[1]:
            return out
        share = self.skip[number].sigmoid().to(out.dtype)
        mixed: torch.Tensor = share * out + (1 - share) * own
        return mixed


class HGT(TypedStack):
    """`HGTConv` layers with keyed dropout between them, and a matrix that brings the last one's rows to the output.

    Args:
        schema, in_feats, hidden: As for `TypedStack`; all layers have ``hidden`` columns.
        num_classes: Columns of the output; None: there is no such matrix, and the last layer's rows come out.
        num_layers: Layers, as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: Chance of dropping an element of the input.
        heads: H.
    """

    def __init__(self, schema: Schema, in_feats: Mapping[str, int], hidden: int, num_classes: int | None,
                 num_layers: int, dropout: float = 0.5, input_dropout: float = 0.0, heads: int = 4) -> None:
        first = columns_in(schema, in_feats, hidden)
        super().__init__(schema, in_feats, hidden, [HGTConv(schema, *pair, heads) for pair in
                                                    widths(first, hidden, hidden, num_layers)],
                         dropout, input_dropout, activation=None)
        self.last = None if num_classes is None else Linear(hidden, num_classes)

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> Rows:
        rows = {block.schema.ntype(): x} if isinstance(x, torch.Tensor) else x
        out: dict[str, torch.Tensor] = self.layers[number](block, rows)
        if self.last is not None and number == self.num_layers - 1:
            out = {ntype: self.last(of_type) for ntype, of_type in out.items()}
        return out[block.schema.ntype()] if isinstance(x, torch.Tensor) else out


class _CSCs:
    """In-edges of several types with the same destinations, as those of one type whose sources are all that they have.

    Args:
        num_dst: D.
    """

    def __init__(self, num_dst: int) -> None:
        self._degrees, self._all, self._sources = np.zeros(num_dst, np.int64), list[tuple[relations.Reach, int]](), 0

    def add(self, found: relations.Reach) -> None:
        """Put the sources that an edge type has edges from behind those of the types before."""
        self._all.append((found, self._sources))
        self._degrees[found.destinations] += np.diff(found.csc.indptr)
        self._sources += found.sources.size

    def merged(self) -> CSC:
        """Edges by destination, those of one in the order of the types."""
        indptr = np.append(0, np.cumsum(self._degrees))
        indices, begin = np.empty(indptr[-1], np.int32), indptr[:-1].copy()
        for found, first in self._all:
            csc, some = found.csc, found.destinations
            degrees = np.diff(csc.indptr)
            indices[np.repeat(begin[some] - csc.indptr[:-1], degrees) + np.arange(csc.num_edges)] = csc.indices + first
            begin[some] += degrees
        return CSC(indptr, indices)


def _by_head(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """(N, H, K) of (N, H, K) rows, each head times its own of (H, K, K) matrices."""
    return torch.bmm(x.transpose(0, 1), weights.to(x.dtype)).transpose(0, 1)
