"""How much memory a job will take, before it takes any: bytes on each node, by kind.

Shapes: N nodes of a type, D destinations, S sources and E edges of a hop, F columns.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.comm.turns import turns_ahead
from mpignn.config import SCHEDULE, Config, SamplingConfig
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.on_edges import find_on_edges
from mpignn.graph.types import EType, etype_key, parse_etype
from mpignn.models import Hop
from mpignn.mpi.cores import spans
from mpignn.mpi.layout import lay_out
from mpignn.roles import Role
from mpignn.samplers import find_sampler, positions_bytes, values_of
from mpignn.store.cache import cache_bytes, fill_bytes
from mpignn.store.cut import HALO, Placement, server_rows
from mpignn.store.placement import trainer_rows
from mpignn.store.sizes import INFERENCE_BATCH, LINK_CANDIDATES, LINK_SOURCES, head_size, layer_sizes, row_columns

# What processes take before they hold any data; jobs/bench/memory.py measures them (MPICH 5.0,
# torch 2.13, numba 0.68).  Pages of libraries are shared by the ranks of a node, and counted once.
_SERVER_BYTES = 55 << 20
_TRAINER_BYTES = 205 << 20
_SERVER_LIBRARIES_BYTES = 40 << 20
_TRAINER_LIBRARIES_BYTES = 160 << 20

# Times what is in use: glibc keeps freed memory at the heap's top, up to twice its largest block that was not mapped.
_KEPT_FREE = 1.15

_CLASSES = 256          # the labels are not read yet; a model's last layer is small beside the others
# Parameters, their gradients, two moments, the best ones; two more while a step, a checkpoint or a test is under way.
_COPIES = 7
_LEARNT_COPIES = 4      # of the rows that a batch has met: as read, their gradients, sent to their owners and received
_LOOKED_AT_BYTES = 40    # of an edge that a sampler looks at to see whether it keeps it
_RANKED_BYTES = 8192 * 10       # of a link that is ranked: scores of candidates and comparisons of these


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by kind.

    Attributes:
        ranks: For each rank what it holds for itself: process, sampler, batches, model.
        nodes: For each node what its ranks share: splits, structure, features, copies of in-edges and of features of
            other nodes, embeddings, other tensors of its trainers, libraries.
        roles: Roles of each rank.
        node_of_rank: Node of each rank.
    """

    ranks: tuple[Mapping[str, int], ...]
    nodes: tuple[Mapping[str, int], ...]
    roles: tuple[Role, ...]
    node_of_rank: tuple[int, ...]

    def of_node(self, node: int) -> int:
        """Bytes on a node: what is shared there and what its ranks hold.  Not collective."""
        own = (sum(kinds.values()) for kinds, where in zip(self.ranks, self.node_of_rank, strict=True) if where == node)
        return sum(self.nodes[node].values()) + sum(own)

    def to_come(self, rank: int, taken: int) -> int:
        """Bytes that a rank is still to take, with the shared ones of its node if it is the first there.

        Args:
            rank: Number in the world.
            taken: Bytes that the process holds already; more than its process base do not count.
        """
        kinds, node = self.ranks[rank], self.node_of_rank[rank]
        shared = sum(self.nodes[node].values()) if self.node_of_rank.index(node) == rank else 0
        return sum(kinds.values()) - min(kinds["process"], taken) + shared

    def lines(self) -> list[str]:
        """A table for people: kinds of nodes and of ranks, each with its bytes.  Not collective."""
        out = []
        for what, kinds in self.distinct():
            parts = ", ".join(f"{kind} {_mib(size)}" for kind, size in kinds.items() if size)
            out.append(f"{what:28s} {_mib(sum(kinds.values())):>12s}   {parts}")
        totals = [self.of_node(node) for node in range(len(self.nodes))]
        largest = max(range(len(totals)), key=totals.__getitem__)
        out.append(f"{'largest node in all':28s} {_mib(totals[largest]):>12s}   node {largest}")
        out.append(f"{'job in all':28s} {_mib(sum(totals)):>12s}")
        return out

    def distinct(self) -> list[tuple[str, Mapping[str, int]]]:
        """Nodes and ranks, equal ones of a kind told once.  Not collective."""
        rows: dict[tuple[str, tuple[tuple[str, int], ...]], list[int]] = {}
        for node, kinds in enumerate(self.nodes):
            rows.setdefault(("node", tuple(kinds.items())), []).append(node)
        for rank, (role, kinds) in enumerate(zip(self.roles, self.ranks, strict=True)):
            name = "server" if role == Role.SERVER else "trainer" if role == Role.TRAINER else "server+trainer"
            rows.setdefault((f"{name} rank", tuple(kinds.items())), []).append(rank)
        return [(f"{what} {_spans(which)}", dict(kinds)) for (what, kinds), which in rows.items()]


def make_plan(placement: Placement, num_seeds: Mapping[str, int], config: Config, split_ids: int = 0,
              model: bool = True, features: Sequence[str] | None = None, ranked: int = 0) -> MemoryPlan:
    """What a training job takes.  Not collective: a pure function, the same on all ranks.

    A hop's sources are counted as if all nodes were equally often neighbors; where some are more popular, fewer are
    met, so the batches' share is an upper estimate.

    Args:
        placement: Arrays and roles.
        num_seeds: Training nodes by node type, or training edges by edge type key.
        config: Settings.
        split_ids: Ids in all splits together; every node that trains has them.
        model: Whether a model is trained, and not only its data moved.
        features: Names of the node data that come with each input row; None: the one that the configuration names.
        ranked: Links that are ranked at a time, where links are predicted: those of the largest split of a type.
    """
    topology, book = placement.topology, placement.book
    trainers, all_seeds = len(topology.trainer_ranks), max(1, sum(num_seeds.values()))
    share = min(config.global_batch_size(trainers), all_seeds) / trainers / all_seeds
    seeds = {key: share * count for key, count in num_seeds.items()}
    names = [config.graph.features] if features is None else features
    row_bytes = _row_bytes(placement, names)
    work: dict[str, int] = {}
    for fanouts in {config.sampling.fanouts, config.eval_fanouts if model else config.sampling.fanouts}:
        hops = _hops(placement, config, config.sampling, fanouts, _nodes_of(seeds, config, book.ntypes))
        sizes = {"sampler": _sampler_bytes(book, config.sampling, fanouts, hops),
                 "batches": _batch_bytes(placement, hops, row_bytes, config.loader.prefetch, _drawn_ahead(config)),
                 "model": _model_bytes(placement, config, hops, sum(seeds.values())) if model else 0}
        work = _larger(work, sizes)
    if model and config.task.task == "link_prediction":
        work = _larger(work, _inference_work(placement, config, config.model.hidden, (-1,), False))
        work["ranking"] = -(-ranked // trainers) * _RANKED_BYTES
    if any(_cache_bytes(placement, config, node) for node in topology.nodes):       # before there is any batch
        filling = fill_bytes(config.loader, {t: book.num_nodes(t) for t in book.ntypes})
        work["cache_filling"] = max(0, filling - work["batches"])
    embeddings = [_embedding_bytes(placement, config, node) if model else 0 for node in topology.nodes]
    rows = dict.fromkeys(book.ntypes, _tensor_row_bytes(placement, config, model))
    return _assemble(placement, split_ids, work, embeddings, rows, config)


def plan_inference(placement: Placement, config: Config, ntype: str | None = None, outputs: int | None = None,
                   split_ids: int = 0, fanouts: Sequence[int] | None = None, top_k: int | None = None) -> MemoryPlan:
    """What a job takes that computes the rows of all nodes.  Not collective: a pure function.

    Args:
        placement: Arrays and roles.
        config: Settings of the run.
        ntype: Node type that the task is about, and that alone gets the last layer; None: all get it.
        outputs: Columns of that for a node; None: as many as a task about nodes can have.
        split_ids: Ids in all splits together.
        fanouts: How many neighbors are sampled; None: layer by layer, with all.
        top_k: How many new links of each source are looked for; None: none.
    """
    book, item = placement.book, _item_bytes(config)
    classes = _CLASSES if outputs is None else outputs
    columns = classes if config.task.task.startswith("node") else config.model.hidden
    pairs = row_columns(config, _inputs(placement, config), columns)
    work = _inference_work(placement, config, columns, (-1,) if fanouts is None else fanouts, fanouts is not None)
    if top_k is not None:       # scores, those before, both beside the best, and comparisons; measured: 80 MiB
        work["ranking"] = LINK_SOURCES * (LINK_CANDIDATES + top_k) * (4 * item + 8)
    # The rows of two layers are there at a time: the moment of the largest ones counts.  By samples only the last are.
    kept = pairs if fanouts is None else pairs[-1:]
    moments = [{t: item * ((a if n else 0) + (b if n < len(kept) - 1 or ntype in (None, t) else 0))
                for t in book.ntypes} for n, (a, b) in enumerate(kept)]
    rows = max(moments, key=lambda of_type: sum(size * book.num_nodes(t) for t, size in of_type.items()))
    embeddings = [_embedding_bytes(placement, config, node) for node in placement.topology.nodes]
    return _assemble(placement, split_ids, work, embeddings, rows)


def _inference_work(placement: Placement, config: Config, outputs: int, fanouts: Sequence[int],
                    sampled: bool) -> dict[str, int]:
    """What a trainer holds while it computes the rows of all nodes, `INFERENCE_BATCH` at a time."""
    book, item = placement.book, _item_bytes(config)
    inputs = _inputs(placement, config)
    read = _row_bytes(placement, [config.graph.features])
    whole = max(1, sum(book.num_nodes(t) for t in book.ntypes))
    share = min(INFERENCE_BATCH, -(-whole // len(placement.topology.trainer_ranks)))
    sampling = config.sampling if sampled else SamplingConfig()
    hops = _hops(placement, config, sampling, fanouts, {t: share * book.num_nodes(t) / whole for t in book.ntypes})
    columns = row_columns(config, inputs, outputs)
    of_layers = list(reversed(hops)) if sampled else hops * len(columns)
    sizes = layer_sizes(config, inputs, outputs, of_layers)
    # A layer's rows of the sources, as they are read and on their way here; what they are made to; what comes out.
    arrives = max(2 * hop.num_src * a for hop, (a, _) in zip(of_layers, columns, strict=False))
    return {"sampler": _sampler_bytes(book, sampling, fanouts, hops),
            "batches": _batch_bytes(placement, hops, read, 1),
            "model": int((2 * sum(size.parameters for size in sizes) + max(size.forward for size in sizes) + arrives)
                         * item * _KEPT_FREE)}


def _assemble(placement: Placement, split_ids: int, work: Mapping[str, int], embeddings: Sequence[int],
              row_bytes: Mapping[str, int], caching: Config | None = None) -> MemoryPlan:
    """A plan of what each trainer holds for itself, what each node's trainers own of embeddings, and what tensors take
    for each node of a type; with what ``caching`` says of a cache."""
    topology, book = placement.topology, placement.book
    tensors = {t: trainer_rows(book, topology, t, book.num_nodes(t)) for t in book.ntypes}
    ranks, nodes = [], []
    for role in topology.roles:
        trains = Role.TRAINER in role
        ranks.append({"process": _TRAINER_BYTES if trains else _SERVER_BYTES,
                      **(work if trains else {})})
    for node in topology.nodes:
        specs = placement.specs(node)
        first, last = topology.servers_of(node)
        held = {s.name: s.elements(first, last) * s.dtype.itemsize for s in specs}
        structure = sum(size for name, size in held.items() if ArrayKey.parse(name).is_structure)
        begin, end = topology.trainers_of(node)
        nodes.append({"splits": 8 * split_ids if begin < end else 0, "structure": structure,
                      "features": lay_out(specs, topology, node).nbytes - structure,
                      "halo": _halo_bytes(placement, node) if placement.replicate == HALO and begin < end else 0,
                      "cache": _cache_bytes(placement, caching, node) if caching is not None and begin < end else 0,
                      "embeddings": embeddings[node],
                      "tensors": sum(row_bytes[t] * int(cuts[end] - cuts[begin]) for t, cuts in tensors.items()),
                      "libraries": _TRAINER_LIBRARIES_BYTES if begin < end else _SERVER_LIBRARIES_BYTES})
    return MemoryPlan(tuple(ranks), tuple(nodes), topology.roles, topology.node_of_rank)


def _tensor_row_bytes(placement: Placement, config: Config, model: bool) -> int:
    """For each node of the graph: what a program says that its own tensors take, and rows that are inferred.

    Links are ranked by the rows that the model gives all nodes; two layers of these are there at a time.
    """
    if not model or config.task.task != "link_prediction":
        return config.graph.tensor_bytes
    pairs = row_columns(config, _inputs(placement, config), config.model.hidden)
    return config.graph.tensor_bytes + max(a * (n > 0) + b for n, (a, b) in enumerate(pairs)) * _item_bytes(config)


def _hops(placement: Placement, config: Config, sampling: SamplingConfig, fanouts: Sequence[int],
          seeds: Mapping[str, float]) -> list[Hop]:
    """What a batch of so many seeds grows to, the seeds' hop first."""
    book, graph = placement.book, config.graph
    read = find_on_edges(book.schema, placement.infos, graph.edge_feats, graph.edge_weight)
    edge_columns = {key: told.columns for key, told in read.items() if told.columns}
    sampler, values = find_sampler(sampling.sampler), values_of(sampling)
    hops, dst = [], {t: min(seeds.get(t, 0.0), book.num_nodes(t)) for t in book.ntypes}
    for fanout in reversed(fanouts):
        edges, drawn = {}, dict.fromkeys(book.ntypes, 0.0)
        for etype in book.canonical_etypes:
            degree = _degree(book, etype)
            kept = degree if fanout < 0 else sampler.kept(fanout, degree, values)
            edges[etype_key(etype)] = dst[etype[2]] * kept
            drawn[etype[0]] += edges[etype_key(etype)]
        src = {t: n + (book.num_nodes(t) - n) * -math.expm1(-drawn[t] / max(1, book.num_nodes(t)))
               for t, n in dst.items()}
        hops.append(Hop(dst, src, edges, edge_columns))
        dst = src
    return hops


def _degree(book: RangePartitionBook, etype: EType) -> float:
    """In-edges of a node, on average."""
    return book.num_edges(etype) / max(1, book.num_nodes(etype[2]))


def _sampler_bytes(book: RangePartitionBook, sampling: SamplingConfig, fanouts: Sequence[int],
                   hops: Sequence[Hop]) -> int:
    """What gives nodes their positions, and the edges of a hop that are looked at."""
    looked_at = 0.0
    if find_sampler(sampling.sampler).whole_rows or sampling.edge_time is not None:
        looked_at = max(sum(hop.dst[e[2]] * _degree(book, e) for e in book.canonical_etypes) if fanout != 0 else 0.0
                        for hop, fanout in zip(hops, reversed(fanouts), strict=True))
    ids = {t: max((hop.dst[t] + sum(hop.edges[etype_key(e)] for e in book.canonical_etypes if e[0] == t)
                   for hop in hops), default=0.0) for t in book.ntypes}
    return int(sum(positions_bytes(book.num_nodes(t), ids[t]) for t in book.ntypes) + _LOOKED_AT_BYTES * looked_at)


def _drawn_ahead(config: Config) -> int:
    """Batches whose neighbors are drawn before they are prepared."""
    by_turns = config.loader.cache is not None and config.loader.cache_policy == SCHEDULE
    return (turns_ahead(config.loader.prefetch) + 1) * config.loader.prefetch if by_turns else 0


def _batch_bytes(placement: Placement, hops: Sequence[Hop], row_bytes: Mapping[str, int], prefetch: int,
                 drawn: int = 0) -> int:
    """Features and blocks: of the batches that are prepared together, and of as many that are still in use; blocks of
    ``drawn`` more, where there are other nodes.

    Where all rows are on one node, each is prepared by itself.
    """
    together = prefetch if len(placement.topology.nodes) > 1 else 1
    features = sum(hops[-1].src[t] * size for t, size in row_bytes.items())
    features += sum(8 * hop.edges[key] * (1 + columns) for hop in hops for key, columns in hop.edge_columns.items())
    blocks = sum(8 * sum(hop.src.values()) + 32 * sum(hop.dst.values()) + 4 * sum(hop.edges.values()) for hop in hops)
    serving = len({placement.topology.node_of_rank[rank] for rank in placement.topology.server_ranks})
    landing = features * (1 - 1 / serving) if placement.replicate != "all" else 0       # rows of other nodes
    drawn = drawn if len(placement.topology.nodes) > 1 else 0
    return int(together * (2 * (features + blocks) + landing) + drawn * blocks)


def _model_bytes(placement: Placement, config: Config, hops: Sequence[Hop], edges: float) -> int:
    """Parameters and all that goes with them, and what the passes over a batch hold; ``edges`` are its seeds."""
    inputs, outputs = _inputs(placement, config), _CLASSES
    columns = outputs if config.task.task.startswith("node") else config.model.hidden
    sizes = [*layer_sizes(config, inputs, columns, list(reversed(hops))),
             head_size(config, outputs, edges, placement.book.schema)]
    cast = hops[-1].num_src * max(inputs.values(), default=0) if _item_bytes(config) == 8 else 0
    learnt = sum(hops[-1].src[t] * width for t, width in config.embedding_columns(_widths(placement, config)).items())
    elements = (_COPIES * sum(size.parameters for size in sizes) + sum(size.kept for size in sizes)
                + max(size.backward for size in sizes) + cast + _LEARNT_COPIES * learnt)
    return int(elements * _item_bytes(config))


def _nodes_of(seeds: Mapping[str, float], config: Config, ntypes: Sequence[str]) -> dict[str, float]:
    """The nodes of each type that seeds, nodes or edges, begin with: false links bring their destinations."""
    found = dict.fromkeys(ntypes, 0.0)
    false = config.task.num_negatives if config.task.task == "link_prediction" and (
        config.task.negatives != "in_batch") else 0
    for key, count in seeds.items():
        if key in found:
            found[key] += count
        else:
            src, _, dst = parse_etype(key)
            found[src] += count
            found[dst] += count * (1 + false)
    return found


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {kind: max(size, one.get(kind, 0)) for kind, size in other.items()}


def _inputs(placement: Placement, config: Config) -> dict[str, int]:
    """Columns of what the model reads of each node type: features, and what is learnt of each node."""
    widths = _widths(placement, config)
    learnt = config.embedding_columns(widths)
    return {t: width + learnt.get(t, 0) for t, width in widths.items()}


def _item_bytes(config: Config) -> int:
    return 8 if config.train.precision == "fp64" else 4


def _cache_bytes(placement: Placement, config: Config, node: int) -> int:
    """Copies that a node holds of features of other nodes."""
    if config.loader.cache is None:
        return 0
    names = {ArrayKey.node_data(t, config.graph.features).path for t in placement.book.ntypes}
    specs = [spec for spec in placement.specs(node) if spec.name in names]
    begin, end = placement.topology.trainers_of(node)
    return cache_bytes(config.loader, specs, *placement.topology.servers_of(node), end - begin)


def _halo_bytes(placement: Placement, node: int) -> int:
    """About what a node copies of the in-edges of nodes around its own, which have more of these than others have."""
    book, (first, last), size = placement.book, placement.topology.servers_of(node), 0.0
    for ntype in book.ntypes:
        ranges = book.node_ranges[ntype]
        lo, hi = server_rows(ranges, len(placement.topology.server_ranks))[[first, last]]
        parts = np.flatnonzero((ranges[:-1] < hi) & (ranges[1:] > lo))      # and what of these is elsewhere
        around = sum(placement.halos[ntype][part] for part in parts.tolist()) - int(hi - lo)
        away = int(ranges[-1] - (hi - lo))
        halo = min(around + int((ranges[parts + 1] - ranges[parts]).sum()), away)
        edges = away * (1 - (1 - halo / max(1, away))**2)       # in units of the mean degree; measured: 10 % less
        for etype in (e for e in book.canonical_etypes if e[2] == ntype):
            id_bytes = placement.infos[ArrayKey.edge(etype, "indices").path].dtype.itemsize
            size += 16 * halo + edges * _degree(book, etype) * id_bytes
        size += 8 * halo
    return int(size)


def _embedding_bytes(placement: Placement, config: Config, node: int) -> int:
    """Rows that the trainers of a node own: as they are, the best, a copy while these are tested, the optimizer's."""
    topology, half = placement.topology, config.embedding.embed_precision == "bf16"
    first, last = topology.trainers_of(node)
    item, kept_item = (2, 4) if half else (_item_bytes(config),) * 2
    column = 3 * item + {"sgd": 0, "adagrad": 1, "adam": 2}[config.embedding.embed_optimizer] * kept_item   # bytes
    steps = 4 if config.embedding.embed_optimizer == "adam" else 0      # bytes
    size = 0
    for ntype, width in config.embedding_columns(_widths(placement, config)).items():
        cuts = trainer_rows(placement.book, topology, ntype, placement.book.num_nodes(ntype))
        size += int(cuts[last] - cuts[first]) * (column * width + steps)
    return size


def _widths(placement: Placement, config: Config) -> dict[str, int]:
    """Columns of the features of each node type, 0 where it has none."""
    infos = {t: placement.infos.get(ArrayKey.node_data(t, config.graph.features).path) for t in placement.book.ntypes}
    return {t: 0 if info is None else info.width for t, info in infos.items()}


def _row_bytes(placement: Placement, names: Collection[str]) -> dict[str, int]:
    """Bytes of the data of some names that a node has, by type."""
    infos = {t: [placement.infos.get(ArrayKey.node_data(t, name).path) for name in {*names}]
             for t in placement.book.ntypes}
    return {t: sum(info.width * info.dtype.itemsize for info in of_type if info is not None)
            for t, of_type in infos.items()}


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _spans(numbers: Sequence[int]) -> str:
    """`spans`, without those in the middle where there are many."""
    words = spans(numbers).split(",")
    return ",".join(words if len(words) <= 6 else [*words[:5], f"... ({len(numbers)} in all)"])
