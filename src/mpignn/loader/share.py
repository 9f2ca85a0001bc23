"""One step of a pass, what a trainer computes of it, and what it has done.

Shapes: G ids of a global batch, n of them this trainer's.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from mpignn.graph.block import Block

K = TypeVar("K", bound=Hashable)        # what ids are told apart by: types of nodes or edges


@dataclass
class LoaderStats:
    """What a trainer's loader did since the pass began.

    Attributes:
        sample_s: Wall seconds of choosing seeds and of picking and relabelling all hops.
        fetch_s: Wall seconds of gathering features and labels.
        seeds, edges, rows: Seeds, sampled edges and input rows delivered.
    """

    sample_s: float = 0.0
    fetch_s: float = 0.0
    seeds: int = 0
    edges: int = 0
    rows: int = 0

    def add(self, share: "Share[Any]", blocks: Sequence[Block]) -> None:
        """Count a batch that is delivered."""
        self.seeds += sum(places.size for places in share.mine.values())
        self.edges += sum(block.num_edges() for block in blocks)
        self.rows += blocks[0].num_src_total if blocks else 0


@dataclass(frozen=True)
class Share(Generic[K]):
    """One step, and what this trainer computes of it.

    Attributes:
        step: Step of the pass.
        size: Ids of the global batch.
        key: 64 bits that the step's draws derive from, equal on all trainers.
        whole: (G,) int64 ids of the global batch by type, in an order that does not depend on the partitioning.
        mine: (n,) int64 places in ``whole`` of this trainer's ids, which ascend.
        at: (G,) int64 places of ``whole`` among all ids of the pass, by type.
    """

    step: int
    size: int
    key: int
    whole: Mapping[K, np.ndarray]
    mine: Mapping[K, np.ndarray]
    at: Mapping[K, np.ndarray]

    @property
    def ids(self) -> dict[K, np.ndarray]:
        """(n,) int64 this trainer's ids of each type, ascending."""
        return {kind: ids[self.mine[kind]] for kind, ids in self.whole.items()}
