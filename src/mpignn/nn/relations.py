"""What edge types take from the rows of a node type, and what they bring to it: one gather and one sum for all of them.

With many edge types a node has edges of few.  Only rows that an edge type has edges from, or to, are computed for it.
One by one, each edge type would also make a gradient of all rows of the node type.

Shapes: S sources and D destinations of a node type, N rows, F columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import EType
from mpignn.kernels.segment import transpose
from mpignn.nn import message


@dataclass(frozen=True)
class Reach:
    """The ends of the edges of a type, and the block of these alone.

    Attributes:
        sources, destinations: Positions, ascending, among the S and D of the node types.
        block: Its sources are those, and so are its destinations, which are not the first of the sources.
    """

    sources: np.ndarray
    destinations: np.ndarray
    block: Block

    @property
    def csc(self) -> CSC:
        return self.block.csc[self.block.schema.etype()]


def reach(block: Block, etype: EType) -> Reach:
    """What edges of a type lead from and to.  Not collective."""
    csc, dst = block.csc[etype], etype[2]
    met = np.zeros(block.num_src_nodes(etype[0]), bool)
    met[csc.indices] = True
    sources, destinations = np.flatnonzero(met), np.flatnonzero(np.diff(csc.indptr))
    places = np.empty(met.size, np.int32)
    places[sources] = np.arange(sources.size, dtype=np.int32)
    small = CSC(np.append(csc.indptr[destinations], csc.num_edges), places[csc.indices])
    degrees = {etype: block.in_degrees[etype][destinations]} if etype in block.in_degrees else {}
    return Reach(sources, destinations, replace(
        block[etype], csc={etype: small}, in_degrees=degrees, num_dst={**block.num_dst, dst: destinations.size},
        dst_orig={**block.dst_orig, dst: block.dst_orig[dst][destinations]}))


def taken(x: torch.Tensor, lists: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """The rows of ``x`` at each of several lists of positions.  Not collective.

    Args:
        x: (N, F) of a type that `mpignn.nn.message` sums.
        lists: (n,) positions below N each.
    """
    if not lists:
        return []
    ids = np.concatenate(lists).astype(np.int32)
    return list(message.copy_u_sum(CSC(np.arange(ids.size + 1), ids), x).split([part.size for part in lists]))


def brought(parts: Sequence[tuple[torch.Tensor, np.ndarray]], num_rows: int) -> torch.Tensor:
    """(num_rows, F) sums of the rows that each position is brought; 0 where none are.

    Args:
        parts: At least one pair of (N, F) rows and (N,) positions below ``num_rows``.
        num_rows: How many positions there are.

    Not collective.
    """
    ids = np.concatenate([positions for _, positions in parts]).astype(np.int32)
    csc = CSC(*transpose(np.arange(ids.size + 1), ids, num_rows))
    return message.copy_u_sum(csc, torch.cat([rows for rows, _ in parts]))
