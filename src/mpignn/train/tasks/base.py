"""What a task is: which rows a batch brings, what the loss of a batch is, and by what a model is judged.

Shapes: B seeds of a batch, C classes, labels or numbers of each.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from mpignn import stop
from mpignn.config import Config, SamplingConfig
from mpignn.errors import ConfigError
from mpignn.kernels.rng import derive
from mpignn.loader.base import DistDataLoader
from mpignn.log import beat
from mpignn.progress import each
from mpignn.sampling.block_sampler import BlockSampler
from mpignn.sampling.named import make_sampler
from mpignn.sampling.rule import ALL
from mpignn.shown import Shown
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.tensor import DistTensor
from mpignn.tasks import TASKS, check_metrics
from mpignn.train.class_counts import ClassCounts
from mpignn.train.inference import DrawnRows, by_samples, layerwise
from mpignn.train.metrics import Metric, make_metric
from mpignn.train.network import Network
from mpignn.train.tasks.goal import Goal, find_goal
from mpignn.train.tasks.labels import LabelData

EVALUATION = 3         # stream of randomness, beside those of training

Batch = Any     # whatever the loader of the task yields


class Task(Shown, ABC):
    """What is learnt.  The loop and the learner know nothing else of it.

    Attributes:
        kind: Its name in the configuration, one of `mpignn.tasks.TASKS`.
        goal: What the graph was asked for.
        metrics: Names of what is measured; the first one chooses the best parameters.
    """

    SHOWN = ("goal", "metrics")

    kind: str

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        """Find in a graph what the settings ask for.  Collective over the trainers.

        Args:
            g: The graph.
            config: Settings, such as ``labels`` and ``features``; whatever ``task`` they name, it is this one.
            goal: What was found before, in this graph or another one, whose labels are not looked at before they are
                needed.

        Raises:
            DataError: On all trainers: the graph does not offer it, or a label in a split is none.
            UnknownName: On all trainers: no such data or type.
            ConfigError: On all trainers: metrics that do not fit.
        """
        self.metrics = config.task.metrics or TASKS[self.kind].usual
        self._sampling = config.sampling
        self._samplers: dict[tuple[str, tuple[int, ...], bool], BlockSampler] = {}      # with memory that passes share
        with g.trainers.all_or_none():
            check_metrics(self.kind, config.task.metrics)
            if goal is None:
                own = replace(config, task=replace(config.task, task=self.kind))
                goal = find_goal(own, g.schema, published_graph(g).infos, g.splits, g.names.classes)
        self.goal: Goal = replace(goal, outputs=self._num_outputs(g, goal))

    @property
    def seed_time(self) -> str | None:
        """The data of the seeds that has their times; None: edges are not chosen by time."""
        asked = self._sampling
        return None if asked.edge_time is None else asked.seed_time or asked.edge_time

    @property
    def outputs(self) -> int:
        """Columns of what the model shall say of a seed."""
        return self.goal.outputs

    def _num_outputs(self, g: DistGraph, goal: Goal) -> int:
        """The outputs of a goal that may not know them.  Collective over the trainers."""
        return goal.outputs

    def new_metrics(self) -> list[Metric]:
        """Metrics that have seen nothing.  Not collective."""
        return [make_metric(name) for name in self.metrics]

    def sampler(self, fanouts: Sequence[int], network: Network | None) -> BlockSampler:
        """Draws the blocks that a network reads, as the settings say, and says which rows come with them.

        Not collective.

        Args:
            fanouts: Neighbors of a node to draw, input layer first.
            network: It may need more of the sources of a block; None: nothing reads the blocks.
        """
        return self._sampler(self._sampling, fanouts, network)

    def _sampler(self, settings: SamplingConfig, fanouts: Sequence[int], network: Network | None) -> BlockSampler:
        key = settings.sampler, tuple(fanouts), network is not None and network.needs_source_info
        if key not in self._samplers:
            goal = self.goal
            reads = {ntype: [goal.features] for ntype, width in goal.columns.items() if width}
            self._samplers[key] = make_sampler(
                settings, key[1], goal.edge_mask, prefetch_node_feats=reads, prefetch_labels=self.label_names,
                source_info=key[2], prefetch_edge_feats={key: told.names for key, told in goal.on_edges.items()})
        return self._samplers[key]

    def model_columns(self, hidden: int) -> int:
        """Columns of what the model says of a node, if its layers have ``hidden``.  Not collective."""
        return self.outputs

    def make_head(self, columns: int) -> nn.Module | None:
        """What is read off the model's rows, with parameters from torch's generator; None: nothing else is needed.

        Not collective.
        """
        return None

    @abstractmethod
    def seeds(self, g: DistGraph, split: str) -> dict[Any, np.ndarray]:
        """The seeds of a split by type, as the loader takes them; empty if there is no such split.  Not collective."""

    @abstractmethod
    def loader(self, g: DistGraph, config: Config, split: str, sampler: BlockSampler, seed: int,
               shuffle: bool) -> DistDataLoader[Any]:
        """Batches of a split, whose blocks a `sampler` draws.  Not collective.

        Returns:
            Like a `NodeDataLoader`: it can be iterated, has a length, ``set_epoch``, ``scale``, ``global_size``
            and ``stats``.
        """

    @abstractmethod
    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        """The loss, *summed* over this trainer's seeds, which may be none.  Not collective."""

    @property
    @abstractmethod
    def ntypes(self) -> tuple[str, ...]:
        """The node types whose rows the seeds are judged by."""

    def all_rows(self, g: DistGraph, network: Network, fanouts: Sequence[int] | None = None) -> dict[str, DistTensor]:
        """What the model says of all nodes of `ntypes`.  Collective over the trainers.

        Layer after layer with all neighbors, or by sampled ones, of each layer as many as ``fanouts`` say.
        """
        if fanouts is not None:
            return by_samples(g, network, self.sampler(fanouts, network), self.ntypes, EVALUATION,
                              seed_time=self.seed_time)
        if self.seed_time is not None:
            g.trainers.agree(ConfigError("edges are chosen by time, so rows depend on who is asked about, and are not "
                                         "computed layer after layer: go by sampled neighbors"))
        return layerwise(g, network, self._sampler(SamplingConfig(), (ALL,), network), self.ntypes)

    def drawn_rows(self, g: DistGraph, network: Network, fanouts: Sequence[int]) -> dict[str, DrawnRows]:
        """The same by sampled neighbors, of those nodes that are read.  Not collective."""
        sampler = self.sampler(fanouts, network)
        return {ntype: DrawnRows(g, network, sampler, ntype, EVALUATION, self.seed_time) for ntype in self.ntypes}

    @abstractmethod
    def measure(self, g: DistGraph, network: Network, config: Config, split: str, whole: bool = False,
                counts: ClassCounts | None = None) -> list[Metric]:
        """The metrics, told of all that the network says of this trainer's share of a split.

        Collective over the trainers.

        Args:
            whole: By `all_rows`, with all neighbors, and not by sampling; links are always ranked so.
            counts: Told of it, too, where there are labels.

        Raises:
            Stopped: On all trainers: one of them was asked to stop.
        """

    @abstractmethod
    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        """The prediction that outputs stand for, a row of each.  Not collective."""

    def in_unit(self, outputs: torch.Tensor) -> torch.Tensor:
        """(B, C) outputs in the unit of the labels, in which they are measured and written.  Not collective."""
        return outputs

    def probability(self, outputs: torch.Tensor) -> torch.Tensor | None:
        """(B,) or (B, C) how probable outputs say that a prediction is; None: they do not say.  Not collective."""
        return None

    @property
    @abstractmethod
    def label_names(self) -> Mapping[Any, Sequence[str]]:
        """Names of the data of the seeds that comes with a batch, by their types."""


class Labelled(Task):
    """A task whose seeds have labels, which what the network says is held against."""

    @abstractmethod
    def outputs_of(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B, C) what the network says of the seeds.  Not collective."""

    @abstractmethod
    def labels_of(self, batch: Batch) -> torch.Tensor:
        """(B, ...) what it should say, as `shaped` gives it.  Not collective."""

    @abstractmethod
    def shaped(self, labels: torch.Tensor) -> torch.Tensor:
        """(B, ...) labels of the graph, as the loss and the metrics take them, NaN for unknown.  Not collective."""

    @abstractmethod
    def label_data(self, g: DistGraph, goal: Goal) -> LabelData:
        """Where a graph has the labels of a goal.  Not collective."""

    @abstractmethod
    def check_labels(self, g: DistGraph) -> None:
        """Raise `DataError` if labels of a graph cannot be held against the outputs.  Collective over the trainers."""

    @abstractmethod
    def loss_of(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of outputs against labels, *summed* over the seeds.  Not collective."""

    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        return self.loss_of(self.outputs_of(network, batch), self.labels_of(batch))

    @abstractmethod
    def judge_all(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], name: Any,
                  ids: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs and labels of some seeds, by the rows of all nodes.  Collective over the trainers.

        Args:
            name: Type of the seeds, as `seeds` has it.
            ids: (B,) this trainer's.
        """

    def measure(self, g: DistGraph, network: Network, config: Config, split: str, whole: bool = False,
                counts: ClassCounts | None = None) -> list[Metric]:
        metrics = self.new_metrics()
        for outputs, labels in (self._judged if whole else self._sampled)(g, network, config, split):
            outputs, labels = self.in_unit(outputs.cpu()), labels.cpu()
            for metric in metrics:
                metric.add(outputs, labels)
            if counts is not None:
                counts.add(outputs, labels)
            beat()
            stop.check(g.trainers)
        return metrics

    def _sampled(self, g: DistGraph, network: Network, config: Config,
                 split: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        seed, sampler = derive(config.train.seed, EVALUATION), self.sampler(config.eval_fanouts, network)
        for batch in each(self.loader(g, config, split, sampler, seed, shuffle=False), "batch"):
            yield self.outputs_of(network, batch), self.labels_of(batch)

    def _judged(self, g: DistGraph, network: Network, config: Config,
                split: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        rows = self.all_rows(g, network)
        for name, ids in self.seeds(g, split).items():
            yield self.judge_all(g, network, rows, name, ids[g.trainers.rank::g.trainers.size])
        for tensor in rows.values():
            tensor.free()
