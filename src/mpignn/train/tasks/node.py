"""Predicting something of nodes.

Shapes: B seeds of a batch, C columns of what the model says of each.
"""

from collections.abc import Mapping

import numpy as np
import torch

from mpignn.config import Config
from mpignn.loader.node import NodeDataLoader
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.tensor import DistTensor
from mpignn.train.network import Network, rows_of
from mpignn.train.tasks.base import Batch, Labelled
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.kinds import Classes, Labels, Numbers
from mpignn.train.tasks.labels import LabelData


class NodeTask(Labelled):
    """Something of each node of a type, with the nodes of a split as seeds."""

    @property
    def ntypes(self) -> tuple[str, ...]:
        return (self.goal.node_type,)

    def seeds(self, g: DistGraph, split: str) -> dict[str, np.ndarray]:
        splits = g.splits[self.goal.node_type]
        return {self.goal.node_type: splits[split]} if split in splits else {}

    def loader(self, g: DistGraph, config: Config, split: str, sampler: BlockSampler, seed: int,
               shuffle: bool) -> NodeDataLoader:
        return NodeDataLoader(g, self.seeds(g, split), sampler, shuffle=shuffle, seed=seed,
                              input_time=self.seed_time,
                              global_batch_size=config.global_batch_size(g.trainers.size),
                              prefetch=config.loader.prefetch, device=config.world.device)

    @property
    def label_names(self) -> dict[str, list[str]]:
        return {self.goal.node_type: [self.goal.label_data]}

    def outputs_of(self, network: Network, batch: Batch) -> torch.Tensor:
        return rows_of(network(batch[2]), self.goal.node_type)

    def labels_of(self, batch: Batch) -> torch.Tensor:
        return self.shaped(batch[2][-1].dst_frames[self.goal.node_type][self.goal.label_data])

    def label_data(self, g: DistGraph, goal: Goal) -> LabelData:
        data, _ = published_graph(g).node_data(goal.node_type, goal.label_data)
        return LabelData(goal.label_data, data, goal.node_type, g.num_nodes(goal.node_type))

    def judge_all(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], name: str,
                  ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return rows[name].read_together(ids), self.shaped(g.nodes[name].data[self.goal.label_data][ids])


class NodeClassification(Classes, NodeTask):
    """One class for each node of a type: softmax and cross-entropy."""

    kind = "node_classification"


class NodeMultilabel(Labels, NodeTask):
    """Several labels for each node: of each whether it applies, by its logistic loss, averaged over the labels."""

    kind = "node_multilabel"


class NodeRegression(Numbers, NodeTask):
    """One number for each node, or several: squared error, averaged over the numbers."""

    kind = "node_regression"
