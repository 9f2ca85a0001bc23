"""Mini-batches of seed edges, for link prediction and for learning about edges.

Shapes: E seed edges, G of them in a global batch, k negative pairs for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from mpignn.comm.turns import Course
from mpignn.errors import ConfigError
from mpignn.graph.block import EID, TIME, Block
from mpignn.graph.pairs import PairGraph
from mpignn.graph.types import ByEType, EType, etype_key
from mpignn.kernels.rng import derive
from mpignn.loader.ahead import Via
from mpignn.loader.base import DistDataLoader
from mpignn.loader.fetch import Fetch, names_by_etype, names_by_ntype, names_on_edges, put_ids, tensors
from mpignn.loader.share import Share
from mpignn.loader.times import SeedTimes
from mpignn.sampling.block_sampler import BlockSampler, SamplerInput
from mpignn.sampling.exclude import Exclusion, ReverseTypes, joined
from mpignn.sampling.negative import NegativeSampler, SeedEdges, seed_keys
from mpignn.sampling.timed import Pairs
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.lookup import find_edges
from mpignn.store.published import PublishedGraph
from mpignn.store.tensor import DistTensor
from mpignn.unique import unique

_NEGATIVES = 4      # stream of randomness under the key of a step, beside the hops


class EdgeDataLoader(DistDataLoader[EType]):
    """Blocks for the ends of seed edges, in an order that does not depend on the number of ranks.

    Iterating yields ``(input_nodes, pair_graph, blocks)``, with negative pairs ``(input_nodes, pos_graph, neg_graph,
    blocks)``: DGL's tuples.  The pair graphs (`PairGraph`) hold this trainer's edges of the step and the pairs drawn
    for them, as positions in the output nodes of the blocks: their ends, each once.  For the rest see `DistDataLoader`.
    """

    def __init__(self, g: DistGraph, eids: ArrayLike | ByEType[ArrayLike], sampler: BlockSampler, *,
                 batch_size: int | None = None, exclude: str | None = None, reverse_eids: Any = None,
                 reverse_etypes: ReverseTypes | None = None,
                 negative_sampler: NegativeSampler | None = None, g_sampling: DistGraph | None = None,
                 input_time: ArrayLike | ByEType[ArrayLike] | None = None, **options: Any) -> None:
        """Plan the passes.  Collective over the trainers if not ``use_ddp``, else not collective.

        Args:
            g: The graph that has the edges.
            eids: (E,) global ids of all seed edges, the same on all trainers, in an order that does not depend on the
                partitioning (such as `DistGraph.split`); a dict by edge type where there are several.
            sampler: Draws the neighbors.  ``prefetch_node_feats`` come with the blocks; ``prefetch_labels`` are edge
                data and come with the pair graph.
            batch_size: Seed edges of a step per trainer.
            exclude: Edges of the global batch that are taken out before neighbors are drawn, in every hop: None,
                ``self``, ``reverse_id`` or ``reverse_types``, see `Exclusion`.
            reverse_eids: For ``reverse_id``: id of each edge's reverse, by id; without, these are found by their ends.
            reverse_etypes: For ``reverse_types``: the edge type that leads back, by edge type.
            negative_sampler: Draws pairs for each edge.
            g_sampling: Graph to draw neighbors from in the place of ``g``, with the same nodes by original id;
                ``exclude`` has then no effect.  Input nodes and blocks are of that graph.
            input_time: (E,) time of each seed edge, for a sampler that chooses edges by time, a dict by edge type, or
                the name of edge data; both ends have it, and those of the pairs drawn for the edge.  None: what the
                edges have under the sampler's ``edge_timestamp_attr_name``, so that none of them is drawn for itself.
                An output node is then a node at one time.
            options: Those of `DistDataLoader`, but ``collate_fn``.

        Raises:
            ConfigError: As `DistDataLoader` and `Exclusion`, or a ``g_sampling`` of other node types or sizes; or the
                sampler asks for times and there are none, or the other way round.
            DataError: Not one time for each seed.
            IDError: A seed is outside the graph.
            UnknownName: A type that the graph has not, or no data of a name that the sampler asks for.
        """
        self._g, self._sampler, self._negative = g, sampler, negative_sampler
        self._from = g if g_sampling is None else g_sampling
        super().__init__(eids, batch_size, None, g=g, **options)
        exclusion = Exclusion(g.schema, exclude, reverse_eids, reverse_etypes)
        for etype in self._ids:
            exclusion.check(etype)
        by_type = reverse_eids.values() if isinstance(reverse_eids, Mapping) else [reverse_eids]
        self._exclusion_reads_tensors = any(isinstance(ids, DistTensor) for ids in by_type)     # which fetch rows
        self._exclusion = exclusion if exclude is not None and g_sampling is None else None
        for ntype in {t for etype in self._ids for t in (etype[0], etype[2])}:
            if self._from.num_nodes(ntype) != g.num_nodes(ntype):
                raise ConfigError(f"g_sampling has {self._from.num_nodes(ntype)} {ntype} nodes and g has "
                                  f"{g.num_nodes(ntype)}: they must be the same nodes")
        self._node_feats = names_by_ntype(self._from, sampler.prefetch_node_feats)
        self._labels = names_by_etype(g, sampler.prefetch_labels, self._ids)
        self._edge_feats = names_on_edges(self._from, sampler.prefetch_edge_feats)
        self._times = SeedTimes(sampler, self._ids, input_time, self._kind, published_graph(g),
                                sampler.edge_timestamp_attr_name, PublishedGraph.edge_data)

    def _kind(self, kind: str | EType | None) -> EType:
        return self._g.schema.etype(kind)

    def _checked(self, kind: EType, ids: Any) -> np.ndarray:
        return self._in_graph(ids, self._g.num_edges(kind), etype_key(kind))

    def _home(self, kind: EType, ids: np.ndarray) -> np.ndarray:
        return self._g.home_of_edges(kind, ids)

    def _graphs(self) -> tuple[DistGraph, ...]:
        return self._g, self._from

    def _course(self) -> Course | None:
        return self._course_over(self._from)

    def _in_thread(self) -> bool:
        return (self._sampler.in_thread and (self._negative is None or self._negative.in_thread)
                and (self._exclusion is None or not self._exclusion_reads_tensors))

    def _blocks(self, batch: tuple[Any, ...]) -> Sequence[Block]:
        blocks: list[Block] = batch[-1]
        return blocks

    def _make(self, shares: Sequence[Share[EType]], via: Via) -> tuple[list[tuple[Any, ...]], list[Fetch]]:
        started = self._clock()
        graph, drawn_from = via(published_graph(self._g)), via(published_graph(self._from))
        found = [self._find(etype, shares, graph, drawn_from) for etype in self._ids]
        times = self._times.of(graph, shares)
        outputs = [_Outputs(found, b, None if times is None else times[b]) for b in range(len(shares))]
        exclude: list[dict[EType, np.ndarray]] = [{} for _ in shares]
        if self._exclusion is not None:
            exclude = [joined([of_type.excluded[b] for of_type in found]) for b in range(len(shares))]
        sampled = self._sampler.sample_many(drawn_from, [
            SamplerInput(ends.ids, share.key, gone, None if times is None else ends.times)
            for ends, share, gone in zip(outputs, shares, exclude, strict=True)])
        nodes, edges = Fetch(drawn_from), Fetch(graph)
        batches = []
        for b, (share, (inputs, _, blocks)) in enumerate(zip(shares, sampled, strict=True)):
            for block in blocks:
                block.key = share.key
                put_ids(block)
            for ntype, names in self._node_feats.items():
                nodes.nodes(blocks[0].src_frames[ntype], ntype, names, blocks[0].src_ids[ntype])
            nodes.of_blocks(blocks, self._edge_feats)
            graphs = [PairGraph(self._g.schema, ends, tensors(outputs[b].ids), key=share.key)
                      for ends in outputs[b].positions]
            for etype, ids in share.ids.items():
                frame = graphs[0].edge_frames[etype] = {EID: torch.from_numpy(ids)}
                if times is not None:
                    frame[TIME] = torch.from_numpy(times[b][etype])
                edges.edges(frame, etype, self._labels.get(etype, ()), ids, label=True)
            batches.append((tensors(inputs), *graphs, blocks))
        self.stats.sample_s += self._clock() - started
        return batches, [nodes, edges]

    def _find(self, etype: EType, shares: Sequence[Share[EType]], graph: PublishedGraph,
              drawn_from: PublishedGraph) -> "_Found":
        """The ends of the edges of one type, what is drawn for these edges, and what shall not be seen."""
        negative, exclusion = self._negative, self._exclusion
        whole, mine = [share.whole[etype] for share in shares], [share.mine[etype] for share in shares]
        own = np.concatenate([share.ids[etype] for share in shares])
        counts = [places.size for places in mine]
        starts = np.cumsum([0, *(ids.size for ids in whole)])
        whole_ends = None
        if exclusion is not None and exclusion.needs_ends or negative is not None and negative.whole_batch:
            whole_ends = find_edges(graph, etype, np.concatenate(whole))
            at = np.concatenate([start + places for start, places in zip(starts[:-1], mine, strict=True)])
            src, dst = (ends[at] for ends in whole_ends)
        else:
            src, dst = find_edges(graph, etype, own)
        found = _Found(etype, _cut(_renumbered(graph, drawn_from, etype, src, dst), counts))
        if exclusion is not None:
            found.excluded = exclusion.edges(graph, etype, whole, whole_ends)
        if negative is not None:
            number = self._g.schema.etypes.index(etype)
            keys = [np.uint64(derive(share.key, _NEGATIVES, number)) for share in shares]
            whole_dst = np.split(whole_ends[1], starts[1:-1]) if whole_ends and negative.whole_batch else ()
            pairs = negative.draw(graph, SeedEdges(
                etype, src, dst, seed_keys(graph, etype, own, dst, keys, counts),
                np.repeat(np.arange(len(shares)), counts), np.concatenate(mine), whole_dst))
            found.negative = _cut(_renumbered(graph, drawn_from, etype, *pairs), [negative.k * n for n in counts])
        return found


_Ends = tuple[np.ndarray, np.ndarray]


@dataclass
class _Found:
    """What is known of the seed edges of one type before neighbors are drawn.

    Attributes:
        etype: Their type.
        positive, negative: For each batch the ends of the edges, and of the pairs drawn for them.
        excluded: For each batch the edges that it must not see.
    """

    etype: EType
    positive: list[_Ends]
    negative: list[_Ends] | None = None
    excluded: list[dict[EType, list[np.ndarray]]] = field(default_factory=list)


def _renumbered(known: PublishedGraph, wanted: PublishedGraph, etype: EType, src: np.ndarray,
                dst: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sources and destinations in the ids of another graph of the same nodes."""
    if known.book is wanted.book:
        return src, dst
    ends = []
    for ntype, ids in (etype[0], src), (etype[2], dst):
        orig = known.read(known.orig_ids(ntype), ids).reshape(-1)
        ends.append(wanted.read(wanted.new_ids(ntype), orig).reshape(-1))
    return ends[0], ends[1]


def _cut(ends: _Ends, counts: Sequence[int]) -> list[_Ends]:
    """Ends of pairs of several batches by batch."""
    cuts = np.cumsum(counts)[:-1]
    return list(zip(*(np.split(side, cuts) for side in ends), strict=True))


class _Outputs:
    """The ends of all pairs of a batch, each once: nodes, or pairs of a node and a time.

    Attributes:
        ids: Ids of each node type, ascending.
        times: The time of each; None where time does not matter.
        positions: Ends of the edges, and of the pairs drawn for them if there are any: positions of the sources and
            of the destinations by edge type, as tensors.
    """

    def __init__(self, found: Sequence[_Found], batch: int, times: Mapping[EType, np.ndarray] | None) -> None:
        pairs = None if times is None else Pairs(times.values())
        numbers: list[dict[EType, _Ends]] = []
        for kind in "positive", "negative":
            ends = {f.etype: getattr(f, kind)[batch] for f in found if getattr(f, kind) is not None}
            if pairs is not None and times is not None:
                ends = {e: (_numbers(pairs, src, times[e]), _numbers(pairs, dst, times[e]))
                        for e, (src, dst) in ends.items()}
            numbers += [ends] if ends else []
        sides: dict[str, list[np.ndarray]] = {}
        for ends in numbers:
            for etype, both in ends.items():
                for ntype, side in zip((etype[0], etype[2]), both, strict=True):
                    sides.setdefault(ntype, []).append(side)
        each = {ntype: unique(np.concatenate(parts)) for ntype, parts in sides.items()}
        self.ids = each
        self.times: dict[str, np.ndarray] | None = None
        if pairs is not None:
            split = {ntype: pairs.split(of_type) for ntype, of_type in each.items()}
            self.ids, self.times = ({ntype: part[side] for ntype, part in split.items()} for side in (0, 1))
        self.positions = [{e: (_positions(each[e[0]], src), _positions(each[e[2]], dst))
                           for e, (src, dst) in ends.items()}
                          for ends in numbers]


def _numbers(pairs: Pairs, side: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Numbers of one end of edges with their times, or of pairs: those drawn for an edge stand side by side."""
    return pairs.numbers(side, np.repeat(times, side.size // max(1, times.size)))


def _positions(each: np.ndarray, side: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.searchsorted(each, side))
