"""Predicting something of nodes.

Shapes: B seeds of a batch, C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from mpignn.config import Config
from mpignn.dist.graph import DistGraph
from mpignn.dist.tensor import DistTensor
from mpignn.loader.node import NodeDataLoader
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.train.goal import Goal
from mpignn.train.labels import num_classes
from mpignn.train.network import Network
from mpignn.train.task import Batch, Labelled


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
                              prefetch=config.loader.prefetch)

    def _new_sampler(self, fanouts: Sequence[int]) -> NeighborSampler:
        goal = self.goal
        reads = {ntype: [goal.features] for ntype, width in goal.columns.items() if width}
        return NeighborSampler(fanouts, mask=goal.edge_mask, prefetch_node_feats=reads,
                               prefetch_labels={goal.ntype: [goal.labels]}, source_info=self.source_info)

    def outputs_of(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B, ...) what the model says of the seeds.  Not collective."""
        rows = network(batch[2])
        return rows[self.goal.ntype] if isinstance(rows, dict) else rows

    def labels_of(self, batch: Batch) -> torch.Tensor:
        """(B, ...) what it should say.  Not collective."""
        return self.shaped(batch[2][-1].dst_frames[self.goal.ntype][self.goal.labels])

    def judge_all(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], name: str,
                  ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return rows[name].read_together(ids), self.shaped(g.nodes[name].data[self.goal.labels][ids])

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        """(B, ...) labels, as the loss and the metrics take them.  Not collective."""
        return labels


class NodeClassification(NodeTask):
    """One class for each node: softmax and cross-entropy."""

    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        return cross_entropy(self.outputs_of(network, batch), self.labels_of(batch), reduction="sum")

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.long()

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.argmax(1)


class NodeMultilabel(NodeTask):
    """Several labels for each node: of each whether it applies, by its logistic loss, averaged over the labels."""

    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        outputs = self.outputs_of(network, batch)
        labels = self.labels_of(batch).to(outputs.dtype)
        return binary_cross_entropy_with_logits(outputs, labels, reduction="sum") / outputs.shape[1]

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return (outputs > 0).to(torch.uint8)


class NodeRegression(NodeTask):
    """One number for each node, or several: squared error, averaged over the numbers."""

    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        return labels.reshape(len(labels), self.outputs)

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs

    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        outputs = self.outputs_of(network, batch)
        return (outputs - self.labels_of(batch).to(outputs.dtype)).square().sum() / self.outputs


def make_node_task(goal: Goal, g: DistGraph, metrics: Sequence[str] | None = None) -> NodeTask:
    """The task of a goal, with as many outputs as its labels ask for.  Collective over the trainers.

    Args:
        goal: Of a kind that is about nodes.
        g: The graph.
        metrics: Names of what is measured; None: accuracy, micro F1 or root mean squared error.

    Raises:
        DataError: On all trainers: a label is negative, or larger than a class can be.
    """
    if goal.task == "node_regression":
        return NodeRegression(goal, goal.outputs, metrics or ("rmse",))
    if goal.task == "node_multilabel":
        return NodeMultilabel(goal, goal.outputs, metrics or ("micro_f1",))
    data, _ = g.service.node_data(goal.ntype, goal.labels)
    return NodeClassification(goal, num_classes(g, goal.labels, data, goal.ntype, g.num_nodes(goal.ntype)),
                              metrics or ("acc",))
