"""Mini-batches of ids that another loader chooses: what its ``collate_fn`` makes of them, as in DGL.

Shapes: N ids of the data set, n ids of a batch.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic

import numpy as np
import torch
from numpy.typing import ArrayLike

from mpignn.arguments import whole_number
from mpignn.errors import ConfigError
from mpignn.graph.types import ByEType
from mpignn.loader.base import DistDataLoader
from mpignn.loader.edge import EdgeDataLoader
from mpignn.loader.node import NodeDataLoader
from mpignn.loader.share import K
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.exclude import ReverseTypes
from mpignn.sampling.negative import NegativeSampler
from mpignn.shown import Shown
from mpignn.store.graph import DistGraph


class Collator(Shown, Generic[K]):
    """Makes batches of the ids that it is given; `NodeCollator` and `EdgeCollator` say of what.

    What a batch draws is a function of the seed, the epoch, how many batches were made in it before, and the ids: a
    `mpignn.DistDataLoader` with this ``collate`` yields what a `NodeDataLoader` or `EdgeDataLoader` of the same seed
    yields, one batch at a time.

    Attributes:
        dataset: (N,) the ids, as given: what such a loader takes its ids from.
    """

    SHOWN = ("_loader",)

    def __init__(self, dataset: Any, loader: DistDataLoader[K]) -> None:
        """Not collective.

        Args:
            dataset: (N,) ids.
            loader: What makes batches of such ids; it is not iterated.
        """
        self.dataset = dataset
        self._loader, self._epoch, self._step = loader, 0, 0

    def set_epoch(self, epoch: int, step: int = 0) -> None:
        """Choose the draws of the next batch: that of a step of an epoch, both whole numbers from 0 on."""
        self._epoch, self._step = whole_number(epoch, "epoch"), whole_number(step, "step")

    def collate(self, items: Any) -> Any:
        """Make the next batch.

        Args:
            items: (n,) ids: a tensor, an array or a list of integers; by type a dict of these, or a list of
                (type, id) pairs.

        Returns:
            What the loader of nodes or of edges yields.

        Not collective; all trainers call it equally often where other ranks own rows.

        Raises:
            IDError: An id outside the graph.
            UnknownName: A type that the graph has not.
            ConfigError: A type that the data set has no ids of.
        """
        batch = self._loader.make_one(_by_type(items), self._epoch, self._step)
        self._step += 1
        return batch


class NodeCollator(Collator[str]):
    """Blocks, features and labels for the seed nodes that it is given, as `NodeDataLoader` makes them."""

    def __init__(self, g: DistGraph, nids: ArrayLike | Mapping[str, ArrayLike], sampler: BlockSampler, *,
                 seed: int = 0) -> None:
        """Not collective.

        Args:
            g: The graph.
            nids: (N,) global ids, or a dict of them by node type.
            sampler: Draws the neighbors, and says which node data comes with them.
            seed: Seed of the draws.

        Raises:
            ConfigError, IDError, UnknownName: As `NodeDataLoader`.
        """
        super().__init__(nids, NodeDataLoader(g, nids, sampler, batch_size=1, seed=seed))


class EdgeCollator(Collator[Any]):
    """Blocks for the ends of the seed edges that it is given, and pairs drawn for them, as `EdgeDataLoader` makes them.

    Edges that ``exclude`` takes out are those of the batch of this trainer; the loader takes out those of all trainers.
    """

    def __init__(self, g: DistGraph, eids: ArrayLike | ByEType[ArrayLike], sampler: BlockSampler, *,
                 g_sampling: DistGraph | None = None, exclude: str | None = None, reverse_eids: Any = None,
                 reverse_etypes: ReverseTypes | None = None, negative_sampler: NegativeSampler | None = None,
                 seed: int = 0) -> None:
        """Not collective.

        Args:
            g: The graph.
            eids: (N,) global ids, or a dict of them by edge type.
            sampler: Draws the neighbors.
            g_sampling, exclude, reverse_eids, reverse_etypes, negative_sampler: As of `EdgeDataLoader`.
            seed: Seed of the draws.

        Raises:
            ConfigError, IDError, UnknownName: As `EdgeDataLoader`.
        """
        super().__init__(eids, EdgeDataLoader(
            g, eids, sampler, batch_size=1, seed=seed, g_sampling=g_sampling, exclude=exclude,
            reverse_eids=reverse_eids, reverse_etypes=reverse_etypes, negative_sampler=negative_sampler))


def _by_type(items: Any) -> Mapping[Any, Any]:
    """Ids by type; those without types have the type None."""
    if isinstance(items, Mapping):
        return items
    if isinstance(items, torch.Tensor | np.ndarray):
        return {None: items}
    listed = list(items) if isinstance(items, Iterable) else [items]
    if not any(isinstance(item, tuple) for item in listed):
        return {None: listed or np.empty(0, np.int64)}
    if not all(isinstance(item, tuple) and len(item) == 2 for item in listed):
        raise ConfigError("collate takes ids, a dict of them by type, or (type, id) pairs, and no mixture of these")
    found: dict[Any, list[Any]] = {}
    for kind, number in listed:
        found.setdefault(kind, []).append(number)
    return found
