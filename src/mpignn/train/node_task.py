"""Predicting something of nodes.

Shapes: B seeds of a batch, C columns of what the model says of each.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.dist.tensor import DistTensor
from mpignn.loader.node import NodeDataLoader
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.train.goal import Goal
from mpignn.train.labels import num_classes
from mpignn.train.network import Network, rows_of
from mpignn.train.task import Batch, Classes, Labelled, Labels, Numbers


class NodeTask(Labelled):
    """Something of each node of a type, with the nodes of a split as seeds."""

    @property
    def ntypes(self) -> tuple[str, ...]:
        return (self.goal.ntype,)

    def seeds(self, g: DistGraph, split: str) -> dict[str, np.ndarray] | None:
        ids = g.splits[self.goal.ntype].get(split)
        return None if ids is None else {self.goal.ntype: ids}

    def loader(self, g: DistGraph, config: Config, split: str, fanouts: Sequence[int], seed: int,
               shuffle: bool) -> NodeDataLoader:
        return NodeDataLoader(g, self.seeds(g, split), self.sampler(fanouts), shuffle=shuffle, seed=seed,
                              global_batch_size=config.global_batch_size(g.trainers.size),
                              prefetch=config.loader.prefetch, device=config.world.device)

    def _new_sampler(self, fanouts: Sequence[int]) -> NeighborSampler:
        goal = self.goal
        reads = {ntype: [goal.features] for ntype, width in goal.columns.items() if width}
        return NeighborSampler(fanouts, mask=goal.edge_mask, prefetch_node_feats=reads,
                               prefetch_labels={goal.ntype: [goal.labels]}, source_info=self.source_info)

    def outputs_of(self, network: Network, batch: Batch) -> torch.Tensor:
        return rows_of(network(batch[2]), self.goal.ntype)

    def labels_of(self, batch: Batch) -> torch.Tensor:
        return self.shaped(batch[2][-1].dst_frames[self.goal.ntype][self.goal.labels])

    def judge_all(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], name: str,
                  ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return rows[name].read_together(ids), self.shaped(g.nodes[name].data[self.goal.labels][ids])


class NodeClassification(Classes, NodeTask):
    """One class for each node of a type: softmax and cross-entropy."""

    kind = "node_classification"

    def count_classes(self, g: DistGraph, goal: Goal) -> int:
        data, _ = g.service.node_data(goal.ntype, goal.labels)
        return num_classes(g, goal.labels, data, goal.ntype, g.num_nodes(goal.ntype))


class NodeMultilabel(Labels, NodeTask):
    """Several labels for each node: of each whether it applies, by its logistic loss, averaged over the labels."""

    kind = "node_multilabel"


class NodeRegression(Numbers, NodeTask):
    """One number for each node, or several: squared error, averaged over the numbers."""

    kind = "node_regression"
