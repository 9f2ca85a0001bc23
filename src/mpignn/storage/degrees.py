"""How many in-edges nodes have.

Shapes: N nodes of a type.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.graph.array_key import ArrayKey
from mpignn.graph.types import EType
from mpignn.storage.mapped import MappedRows
from mpignn.storage.read import GraphFile

_CHUNK_ROWS = 1 << 20       # in hand at a time


@dataclass(frozen=True)
class Degrees:
    """The in-degrees of an edge type.

    Attributes:
        counts: (K,) int64 how many nodes have none, 1, 2 to 3, 4 to 7, and so on; the last is not 0 unless it is the
            only one.
        largest: The most in-edges of a node.
    """

    counts: np.ndarray
    largest: int

    def text(self) -> str:
        """Each class of degrees that occurs, and how many nodes are in it."""
        names = ["0", "1", *(f"{1 << power}-{(2 << power) - 1}" for power in range(1, self.counts.size - 1))]
        classes = zip(names, self.counts.tolist(), strict=False)
        return ", ".join(f"{name}: {count:,}" for name, count in classes if count)


def in_degrees(graph: GraphFile, etype: EType) -> Degrees:
    """Count the in-degrees of an edge type, some rows at a time; checksums are not compared.  Not collective.

    Raises:
        DataError: A part file that is damaged.
    """
    rows, count = MappedRows(graph, ArrayKey.edge(etype, "indptr"), verified=False), graph.book.num_nodes(etype[2])
    counts, largest = np.zeros(64, np.int64), 0
    for begin in range(0, count, _CHUNK_ROWS):
        start, end = rows.read(np.arange(begin, min(count, begin + _CHUNK_ROWS))).T
        degree = end - start
        counts += np.bincount(np.frexp(degree)[1], minlength=64)        # 2**(power - 1) <= degree < 2**power
        largest = max(largest, int(degree.max()))
    return Degrees(counts[:1 + int(np.flatnonzero(counts).max(initial=0))], largest)
