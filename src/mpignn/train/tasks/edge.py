"""Predicting something of edges.

Shapes: E seed edges of a type, F columns of a node's row.
"""

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mpignn.config import Config
from mpignn.errors import ConfigError
from mpignn.graph.types import EType, etype_key
from mpignn.loader.edge import EdgeDataLoader
from mpignn.nn.decoder import EdgeMLP
from mpignn.nn.stack import Rows
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.negative import NegativeSampler
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.tensor import DistTensor
from mpignn.train.network import Network, rows_of
from mpignn.train.tasks.base import Batch, Labelled, Task
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.kinds import Classes, Numbers
from mpignn.train.tasks.labels import LabelData
from mpignn.train.tasks.reverse import check_exclude, find_reverses


class EdgeTask(Task):
    """Something of each edge of some types, from the rows that the model gives both ends.

    The edges of a batch are no messages in it, nor are those that lead back, as far as ``exclude`` says.
    """

    negative_sampler: NegativeSampler | None = None

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        """As `Task`; with ``exclude="reverse_types"``, find the types that lead back.  Collective over the trainers.

        Raises:
            ConfigError: On all trainers: ``exclude`` does not fit the graph.
        """
        super().__init__(g, config, goal)
        with g.trainers.all_or_none():
            check_exclude(config.task, g.book, self.goal.etypes)
        self._reverse_etypes = (find_reverses(g, config.task, self.goal.etypes)
                                if config.task.exclude == "reverse_types" else None)

    @property
    def ntypes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(t for src, _, dst in self.goal.etypes for t in (src, dst)))

    @abstractmethod
    def judge(self, network: Network, etype: EType, src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
        """(E, ...) what the network says of edges, by the (E, F) rows of both ends.  Not collective."""

    def seeds(self, g: DistGraph, split: str) -> dict[EType, np.ndarray]:
        return {etype: g.splits[etype_key(etype)][split] for etype in self.goal.etypes
                if split in g.splits.get(etype_key(etype), {})}

    def loader(self, g: DistGraph, config: Config, split: str, sampler: BlockSampler, seed: int,
               shuffle: bool) -> EdgeDataLoader:
        exclude = config.task.exclude
        return EdgeDataLoader(g, self.seeds(g, split), sampler, shuffle=shuffle, seed=seed,
                              input_time=self.seed_time,
                              exclude=None if exclude == "none" else exclude, reverse_etypes=self._reverse_etypes,
                              negative_sampler=self.negative_sampler if shuffle else None,
                              global_batch_size=config.global_batch_size(g.trainers.size),
                              prefetch=config.loader.prefetch, device=config.world.device)

    def model_columns(self, hidden: int) -> int:
        return hidden

    def ends_of(self, rows: Rows, etype: EType,
                ends: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(E, F) rows of the sources and of the destinations of pairs.  Not collective.

        Args:
            rows: What the model says of the output nodes.
            etype: Type of the pairs.
            ends: (E,) positions of both in the output nodes.
        """
        return rows_of(rows, etype[0])[ends[0]], rows_of(rows, etype[2])[ends[1]]

    @property
    def label_names(self) -> dict[EType, list[str]]:
        return {} if self.goal.labels is None else {etype: [self.goal.labels] for etype in self.goal.etypes}


class LabelledEdges(EdgeTask, Labelled):
    """What both ends of an edge say of it, by a small network of its own, held against the edge's label."""

    def make_head(self, columns: int) -> nn.Module:
        return EdgeMLP(columns, self.outputs)

    def outputs_of(self, network: Network, batch: Batch) -> torch.Tensor:
        (etype,), pairs = self.goal.etypes, batch[1]
        return self.judge(network, etype, *self.ends_of(network(batch[-1]), etype, pairs.edges(etype)))

    def judge(self, network: Network, etype: EType, src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
        if network.head is None:
            raise ConfigError("the network has no head, which the task reads edges by: take it from make_network")
        said: torch.Tensor = network.head(network.sent(src), network.sent(dst))
        return said

    def label_data(self, g: DistGraph, goal: Goal) -> LabelData:
        (etype,) = goal.etypes
        data, _ = published_graph(g).edge_data(etype, goal.label_data)
        return LabelData(goal.label_data, data, etype_key(etype), g.num_edges(etype))

    def judge_all(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], name: EType,
                  ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        src, dst = g.find_edges(ids, name)
        outputs = self.judge(network, name, rows[name[0]].read_together(src), rows[name[2]].read_together(dst))
        return outputs, self.shaped(g.edges[name].data[self.goal.label_data][ids])

    def labels_of(self, batch: Batch) -> torch.Tensor:
        (etype,) = self.goal.etypes
        return self.shaped(batch[1].edge_frames[etype][self.goal.labels])


class EdgeClassification(Classes, LabelledEdges):
    """One class for each edge of a type: softmax and cross-entropy of what both ends say."""

    kind = "edge_classification"


class EdgeRegression(Numbers, LabelledEdges):
    """One number for each edge of a type, or several: squared error, averaged over the numbers."""

    kind = "edge_regression"
