"""Predicting edges: which pairs of nodes a relation joins.

Shapes: E true links of a type in a batch, k false ones for each, F columns of a node's row.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import cast

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from mpignn import stop
from mpignn.config import Config
from mpignn.graph.types import EType
from mpignn.kernels.rng import derive
from mpignn.nn.decoder import Decoder, make_decoder
from mpignn.progress import each
from mpignn.sampling.negative import InBatch, Local, NegativeSampler, PerSourceUniform
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.train.class_counts import ClassCounts
from mpignn.train.link_ranking import ranks_and_rivals
from mpignn.train.metrics import Metric
from mpignn.train.network import Network, rows_of
from mpignn.train.tasks.base import EVALUATION, Batch
from mpignn.train.tasks.edge import EdgeTask
from mpignn.train.tasks.goal import Goal
from mpignn.train.top_links import best_links

_NEGATIVES: dict[str, type[NegativeSampler]] = {"uniform": PerSourceUniform, "in_batch": InBatch, "local": Local}


class LinkPrediction(EdgeTask):
    """Score true links higher than false ones.

    A false link has another destination; where both ends are of one type, the same node also takes the place of the
    source.  Validation ranks each link of a split among those with any other destination, and among those with any
    other source, by the rows that layer-wise inference gives all nodes.

    Attributes:
        settings: The configured task.
        relation_of: Number of each edge type, for the decoder.
    """

    kind = "link_prediction"

    def __init__(self, g: DistGraph, config: Config, goal: Goal | None = None) -> None:
        super().__init__(g, config, goal)
        self.settings, self.relation_of = config.task, {etype: n for n, etype in enumerate(g.schema.etypes)}
        self.negative_sampler: NegativeSampler = _NEGATIVES[config.task.negatives](config.task.num_negatives)

    def _num_outputs(self, g: DistGraph, goal: Goal) -> int:
        return 1

    def make_head(self, columns: int) -> Decoder:
        return make_decoder(self.settings.decoder, len(self.relation_of), columns)

    def loss(self, network: Network, batch: Batch) -> torch.Tensor:
        _, pos_graph, neg_graph, blocks = batch
        rows, head, k = network(blocks), _decoder(network), self.negative_sampler.k
        total: torch.Tensor | None = None
        for etypes in _by_types_of_ends(pos_graph.canonical_etypes):
            src, dst = (torch.cat(ends) for ends in zip(*map(pos_graph.edges, etypes), strict=True))
            others = torch.cat([neg_graph.edges(etype)[1] for etype in etypes]).view(-1, k)
            relation = torch.tensor([self.relation_of[etype] for etype in etypes]).repeat_interleave(
                torch.tensor([pos_graph.num_edges(etype) for etype in etypes])).to(src.device)
            src_rows, dst_rows = self.ends_of(rows, etypes[0], (src, dst))
            candidates = rows_of(rows, etypes[0][2])
            asked = head.ask_dst(src_rows, relation)
            true = head.similarity(asked, dst_rows)
            false = [head.picked(asked, candidates, others)]
            if etypes[0][0] == etypes[0][2]:
                false.append(head.picked(head.ask_src(dst_rows, relation), candidates, others))
            first, *more = (self._loss(true, of_side) for of_side in false)
            loss = sum(more, first) / len(false)
            total = loss if total is None else total + loss
        assert total is not None, "a batch is about some edge type"
        return total

    def _loss(self, true: torch.Tensor, false: torch.Tensor) -> torch.Tensor:
        """Summed over E links; (E,) scores of these and (E, k) of false ones."""
        if self.settings.link_loss == "margin":
            return (self.settings.margin + false - true[:, None]).relu().mean(1).sum()
        if self.settings.link_loss == "softmax":
            return -torch.cat([true[:, None], false], 1).log_softmax(1)[:, 0].sum()
        return -(logsigmoid(true) + logsigmoid(-false).mean(1)).sum()

    def judge(self, network: Network, etype: EType, src: torch.Tensor, dst: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = _decoder(network)(network.sent(src), self.relation_of[etype], network.sent(dst))
        return scores

    def best(self, g: DistGraph, network: Network, rows: Mapping[str, DistTensor], etype: EType, sources: np.ndarray,
             k: int) -> tuple[np.ndarray, np.ndarray]:
        """The best new links of some sources, as `best_links` finds them; arguments are those of it.

        Collective over the trainers.
        """
        return best_links(g, rows, _on_cpu(network), etype, sources, k)

    def decide(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs

    def measure(self, g: DistGraph, network: Network, config: Config, split: str, whole: bool = False,
                counts: ClassCounts | None = None) -> list[Metric]:
        rows, metrics, settings = self.all_rows(g, network), self.new_metrics(), self.settings
        head = _on_cpu(network)
        for etype, ids in each(self.seeds(g, split).items(), "edge type"):
            stop.check(g.trainers)
            relation = self.relation_of[etype]
            ranks, rivals = ranks_and_rivals(g, rows, head, etype, ids[g.trainers.rank::g.trainers.size],
                                             settings.ranks == "filtered", settings.rank_among,
                                             derive(config.train.seed, EVALUATION, relation))
            for metric in metrics:
                metric.add(ranks, rivals)
        for tensor in rows.values():
            tensor.free()
        return metrics


def _decoder(network: Network) -> Decoder:
    """The head of a network for this task: what `LinkPrediction.make_head` made, or the like."""
    return cast(Decoder, network.head)


def _on_cpu(network: Network) -> Decoder:
    """A copy of the head where the rows of all nodes are."""
    return deepcopy(_decoder(network)).cpu()


def _by_types_of_ends(etypes: Iterable[EType]) -> list[list[EType]]:
    """Relations between the same types of nodes side by side: their links are scored together."""
    found: dict[tuple[str, str], list[EType]] = {}
    for etype in etypes:
        found.setdefault((etype[0], etype[2]), []).append(etype)
    return list(found.values())
