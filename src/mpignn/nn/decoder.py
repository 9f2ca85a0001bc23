"""How well two nodes fit a relation, from what a model says of each.

Every score is a similarity of one end to what the other end and the relation ask for.  So all candidates for an end
are scored by one product of matrices, or one table of distances.

Shapes: P pairs, C candidates, k candidates of a pair, F columns of a node's row, R relations.
"""

import math

import torch
from torch import nn

from mpignn.errors import ConfigError

Relation = int | torch.Tensor       # the number of one for all pairs, or (P,) int64 of one for each


class Decoder(nn.Module):
    """A score for triples of source, relation and destination; higher is likelier.

    Args:
        num_rels: R.
        columns: F.
    """

    # `picked` makes a table of all candidates while these are at most so many times k: a product of matrices is that
    # much cheaper, for each number, than rows gathered for each pair (measured: 16 to 32 times).
    _table_pays = 16

    def __init__(self, num_rels: int, columns: int) -> None:
        super().__init__()
        self.num_rels, self.columns = num_rels, columns

    def forward(self, src: torch.Tensor, relation: Relation, dst: torch.Tensor) -> torch.Tensor:
        """(P,) scores.  Not collective.

        Args:
            src, dst: (P, F) rows of the ends.
            relation: Number of the relation, or (P,) int64 of that of each pair.
        """
        return self.similarity(self.ask_dst(src, relation), dst)

    def ask_dst(self, src: torch.Tensor, relation: Relation) -> torch.Tensor:
        """(P, F) what a destination should be like.  Not collective."""
        return src

    def ask_src(self, dst: torch.Tensor, relation: Relation) -> torch.Tensor:
        """(P, F) what a source should be like.  Not collective."""
        return dst

    def similarity(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(P,) of each asked row and the row beside it.  Not collective."""
        return (asked * rows).sum(-1)

    def similarities(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(P, C) of each asked row and each of the candidates.  Not collective."""
        return asked @ rows.T

    def picked(self, asked: torch.Tensor, rows: torch.Tensor, picks: torch.Tensor) -> torch.Tensor:
        """(P, k) similarities of each asked row and the rows picked for it.  Not collective.

        Args:
            asked: (P, F).
            rows: (N, F) of nodes.
            picks: (P, k) int64 which of them.
        """
        candidates, places = picks.unique(return_inverse=True)
        if candidates.numel() <= self._table_pays * picks.shape[1]:
            return self.similarities(asked, rows[candidates]).gather(1, places)
        return self.similarity(asked[:, None], rows[picks])


class Dot(Decoder):
    """The inner product of both ends; the relation does not matter."""


class _Weighted(Decoder):
    """Has a vector for each relation, at first from Xavier's uniform distribution.

    So no relation begins as the inner product of both ends, for which each node is what fits itself best.
    """

    def __init__(self, num_rels: int, columns: int) -> None:
        super().__init__(num_rels, columns)
        self.weight = nn.Parameter(torch.empty(num_rels, self._width()))
        self.reset_parameters()

    def _width(self) -> int:
        return self.columns

    def reset_parameters(self) -> None:
        """Draw the vectors anew from torch's generator."""
        nn.init.xavier_uniform_(self.weight)

    def _weights(self, relation: Relation) -> torch.Tensor:
        """(F,) or (P, F) of one relation or of that of each pair."""
        return self.weight[relation] if isinstance(relation, int) else self.weight.index_select(0, relation)


class DistMult(_Weighted):
    """``sum of s r d``: Yang et al. 2015."""

    def ask_dst(self, src: torch.Tensor, relation: Relation) -> torch.Tensor:
        return src * self._weights(relation)

    def ask_src(self, dst: torch.Tensor, relation: Relation) -> torch.Tensor:
        return dst * self._weights(relation)


class ComplEx(_Weighted):
    """``Re sum of s r conj(d)`` of complex numbers, the first half of a row their real parts: Trouillon et al. 2016.

    Raises:
        ConfigError: F is odd.
    """

    def __init__(self, num_rels: int, columns: int) -> None:
        _check_even(columns)
        super().__init__(num_rels, columns)

    def ask_dst(self, src: torch.Tensor, relation: Relation) -> torch.Tensor:
        return _times(src, *self._weights(relation).chunk(2, -1))

    def ask_src(self, dst: torch.Tensor, relation: Relation) -> torch.Tensor:
        real, imaginary = self._weights(relation).chunk(2, -1)
        return _times(dst, real, -imaginary)


class TransE(_Weighted):
    """``12 - |s + r - d|`` with the sum of absolute values: Bordes et al. 2013.

    The constant lets a logistic loss tell near from far.
    """

    gamma = 12.0
    _table_pays = 1

    def ask_dst(self, src: torch.Tensor, relation: Relation) -> torch.Tensor:
        return src + self._weights(relation)

    def ask_src(self, dst: torch.Tensor, relation: Relation) -> torch.Tensor:
        return dst - self._weights(relation)

    def similarity(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self.gamma - (asked - rows).abs().sum(-1)

    def similarities(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return self.gamma - torch.cdist(asked, rows, p=1.0)


class RotatE(_Weighted):
    """``12 - |s r - d|`` of complex numbers, r a rotation of each, with the sum of moduli: Sun et al. 2019.

    Raises:
        ConfigError: F is odd.
    """

    gamma = 12.0
    _table_pays = 1
    _CHUNK = 1 << 21        # numbers in a table of differences: larger ones leave the cache

    def __init__(self, num_rels: int, columns: int) -> None:
        _check_even(columns)
        super().__init__(num_rels, columns)

    def _width(self) -> int:
        return self.columns // 2

    def reset_parameters(self) -> None:
        """Any angle, equally likely."""
        nn.init.uniform_(self.weight, -math.pi, math.pi)

    def ask_dst(self, src: torch.Tensor, relation: Relation) -> torch.Tensor:
        angle = self._weights(relation)
        return _times(src, angle.cos(), angle.sin())

    def ask_src(self, dst: torch.Tensor, relation: Relation) -> torch.Tensor:
        angle = self._weights(relation)
        return _times(dst, angle.cos(), -angle.sin())

    def similarity(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        real, imaginary = (asked - rows).chunk(2, -1)
        # Its slope at 0 has no limit: a number that is too small to matter keeps it finite.
        return self.gamma - (real.square() + imaginary.square() + 1e-12).sqrt().sum(-1)

    def similarities(self, asked: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        step = max(1, self._CHUNK // max(1, rows.numel()))
        # Made first: results made one by one, among the tables that are freed, would keep the C library's heap growing.
        out = asked.new_empty(len(asked), len(rows))
        for first in range(0, len(asked), step):
            out[first:first + step] = self.similarity(asked[first:first + step, None], rows)
        return out


DECODERS: dict[str, type[Decoder]] = {
    "dot": Dot, "distmult": DistMult, "complex": ComplEx, "transe": TransE, "rotate": RotatE}


def make_decoder(name: str, num_rels: int, columns: int) -> Decoder:
    """A decoder with parameters drawn from torch's generator.  Not collective.

    Args:
        name: One of `DECODERS`.
        num_rels, columns: R and F.

    Raises:
        ConfigError: No such decoder, or it does not take so many columns.
    """
    if name not in DECODERS:
        raise ConfigError(f"decoder {name!r} is not one of: {', '.join(DECODERS)}")
    return DECODERS[name](num_rels, columns)


class EdgeMLP(nn.Module):
    """Two linear layers on the rows of both ends of an edge, with ReLU between them.

    Args:
        columns: F.
        outputs: Columns of the output.
    """

    def __init__(self, columns: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2 * columns, columns), nn.Linear(columns, outputs)

    def forward(self, src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
        """(P, outputs) of (P, F) rows of the ends.  Not collective."""
        out: torch.Tensor = self.second(torch.relu(self.first(torch.cat([src, dst], 1))))
        return out


def _times(rows: torch.Tensor, real: torch.Tensor, imaginary: torch.Tensor) -> torch.Tensor:
    """Products of complex numbers, whose real parts are the first half of a row."""
    a, b = rows.chunk(2, -1)
    return torch.cat([a * real - b * imaginary, a * imaginary + b * real], -1)


def _check_even(columns: int) -> None:
    if columns % 2:
        raise ConfigError(f"{columns} columns cannot be halves of complex numbers: choose an even number")
