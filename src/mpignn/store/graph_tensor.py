"""The data of a published graph as a tensor, which is read only."""

from typing import NoReturn

import numpy as np
import torch

from mpignn.comm.sharded import ShardedArray
from mpignn.comm.writable import Delivered
from mpignn.errors import CommError
from mpignn.store.registry import TensorRegistry
from mpignn.store.tensor import DistTensor


class GraphTensor(DistTensor):
    """A `DistTensor` whose rows the servers own.

    `local` and `local_ids` are the rows that lie in this node's memory.  There is nothing to wait for, so `flush` and
    `sync` return at once; it lives as long as the graph.

    Raises:
        CommError: By all methods that write.
    """

    def __init__(self, array: ShardedArray, row_shape: tuple[int, ...], name: str, part_policy: str | None = None,
                 registry: TensorRegistry | None = None) -> None:
        """Not collective.

        Args:
            array: The rows, as `PublishedGraph.node_data` and `edge_data` give them.
            row_shape: Shape of a row.
            name: What it is called in messages.
            part_policy: The node type or key of the edge type.
            registry: Tensors of the graph's trainers; without it nothing collective can be asked of this one.
        """
        dtype = torch.from_numpy(np.empty(0, array.spec.dtype)).dtype
        self._set(array, registry, (array.spec.num_rows, *row_shape), dtype, name, part_policy, True)

    def to_owners(self, ids: np.ndarray, rows: torch.Tensor) -> Delivered:
        raise CommError(f"{self.name} is data of the graph, which no trainer owns")

    def flush(self) -> None:
        return

    def sync(self) -> None:
        return

    def free(self) -> None:
        return

    def _own(self) -> NoReturn:
        raise CommError(f"{self.name} is data of the graph, which is read only: make a DistTensor of your own "
                        "and fill it, for instance by init_func=lambda shape, dtype, ids: data[ids]")
