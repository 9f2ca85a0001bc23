"""How much memory a job will take, before it takes any: bytes on each node, by kind.

Shapes: N nodes of a type, D destinations, S sources and E edges of a hop, F columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpignn.config import Config
from mpignn.dist.placement import trainer_rows
from mpignn.dist.service import Placement, is_structure
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import etype_key
from mpignn.mpi.layout import lay_out
from mpignn.roles import Role

# What processes take before they hold any data; jobs/bench/memory.py measures them (MPICH 5.0,
# torch 2.13, numba 0.68).  Pages of libraries are shared by the ranks of a node, and counted once.
_SERVER_BYTES = 55 << 20
_TRAINER_BYTES = 205 << 20
_SERVER_LIBRARIES_BYTES = 40 << 20
_TRAINER_LIBRARIES_BYTES = 160 << 20

INFERENCE_BATCH = 1000      # nodes that a trainer computes at a time where all are computed
_CLASSES = 256          # the labels are not read yet; a model's last layer is small beside the others


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes by kind.

    Attributes:
        ranks: For each rank what it holds for itself: process, splits, sampler, batches, model.
        nodes: For each node what its ranks share: structure, features, embeddings, other tensors of its trainers, libraries.
        roles: Of each rank.
        node_of_rank: Of each rank.
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
            rank: Of the world.
            taken: Bytes that the process holds already; more than its process base do not count.
        """
        kinds, node = self.ranks[rank], self.node_of_rank[rank]
        shared = sum(self.nodes[node].values()) if self.node_of_rank.index(node) == rank else 0
        return sum(kinds.values()) - min(kinds["process"], taken) + shared

    def lines(self) -> list[str]:
        """A table for people: kinds of nodes and of ranks, each with its bytes.  Not collective."""
        out = []
        for what, kinds in self._distinct():
            parts = ", ".join(f"{kind} {_mib(size)}" for kind, size in kinds.items() if size)
            out.append(f"{what:28s} {_mib(sum(kinds.values())):>12s}   {parts}")
        totals = [self.of_node(node) for node in range(len(self.nodes))]
        largest = max(range(len(totals)), key=totals.__getitem__)
        out.append(f"{'largest node in all':28s} {_mib(totals[largest]):>12s}   node {largest}")
        out.append(f"{'job in all':28s} {_mib(sum(totals)):>12s}")
        return out

    def _distinct(self) -> list[tuple[str, Mapping[str, int]]]:
        """Nodes and ranks, equal ones of a kind told once."""
        rows: dict[tuple, list[int]] = {}
        for node, kinds in enumerate(self.nodes):
            rows.setdefault(("node", tuple(kinds.items())), []).append(node)
        for rank, (role, kinds) in enumerate(zip(self.roles, self.ranks, strict=True)):
            name = "server" if role == Role.SERVER else "trainer" if role == Role.TRAINER else "server+trainer"
            rows.setdefault((f"{name} rank", tuple(kinds.items())), []).append(rank)
        return [(f"{what} {_spans(which)}", dict(kinds)) for (what, kinds), which in rows.items()]


def make_plan(placement: Placement, num_seeds: Mapping[str, int], config: Config, split_ids: int = 0,
              model: bool = True, features: Sequence[str] | None = None) -> MemoryPlan:
    """What a training job takes.  Not collective: a pure function, the same on all ranks.

    A hop's sources are counted as if all nodes were equally often neighbours; where some are more popular, fewer are
    met, so the batches' share is an upper estimate.

    Args:
        placement: Arrays and roles.
        num_seeds: Training nodes by node type.
        config: Settings.
        split_ids: Ids in all splits together; every rank keeps them.
        model: Whether a model is trained, and not only its data moved.
        features: Names of the node data that come with each input row; None: the one that the configuration names.
    """
    topology, book = placement.topology, placement.book
    trainers = len(topology.trainer_ranks)
    batch = min(config.global_batch_size(trainers), max(1, sum(num_seeds.values()))) / trainers
    names = [config.graph.features] if features is None else features
    row_bytes = {ntype: sum(info.width * info.dtype.itemsize for name, info in placement.infos.items()
                            if name in [f"node/{ntype}/data/{f}" for f in names]) for ntype in book.ntypes}
    work: dict[str, int] = {}
    for fanouts in {config.sampling.fanouts, config.eval_fanouts if model else config.sampling.fanouts}:
        hops = _hops(book, fanouts, {t: batch * n / max(1, sum(num_seeds.values())) for t, n in num_seeds.items()})
        sizes = {"sampler": _sampler_bytes(book),
                 "batches": _batch_bytes(placement, hops, row_bytes, config.loader.prefetch),
                 "model": _model_bytes(placement, config, hops) if model else 0}
        work = {kind: max(size, work.get(kind, 0)) for kind, size in sizes.items()}
    embeddings = [_embedding_bytes(placement, config, node) if model else 0 for node in range(topology.num_nodes)]
    return _assemble(placement, split_ids, work, embeddings, dict.fromkeys(book.ntypes, _tensor_row_bytes(config, model)))


def plan_inference(placement: Placement, config: Config, ntype: str | None = None, outputs: int | None = None,
                   split_ids: int = 0, fanouts: Sequence[int] | None = None) -> MemoryPlan:
    """What a job takes that computes the rows of all nodes.  Not collective: a pure function.

    Args:
        placement: Arrays and roles.
        config: Settings of the run.
        ntype: Node type that the task is about, and that alone gets the last layer; None: all get it.
        outputs: Columns of that for a node; None: as many as a task about nodes can have.
        split_ids: Ids in all splits together.
        fanouts: Of sampled neighbours; None: layer by layer, with all.
    """
    book, item = placement.book, 8 if config.train.precision == "fp64" else 4
    classes = _CLASSES if outputs is None else outputs
    pairs = _layer_widths(placement, config, classes if config.task.task.startswith("node") else config.model.hidden)
    names = {ntype: placement.infos.get(f"node/{ntype}/data/{config.graph.features}") for ntype in book.ntypes}
    read = {t: 0 if info is None else info.width * info.dtype.itemsize for t, info in names.items()}
    whole = max(1, sum(book.num_nodes(t) for t in book.ntypes))
    share = min(INFERENCE_BATCH, -(-whole // len(placement.topology.trainer_ranks)))
    hops = _hops(book, (-1,) if fanouts is None else fanouts, {t: share * book.num_nodes(t) / whole for t in book.ntypes})
    spread = config.model.model.startswith("gat")
    sizes = [[sum(of.values()) for of in (hop.src, hop.dst, hop.edges)] for hop in reversed(hops)]
    sizes = sizes * len(pairs) if fanouts is None else sizes
    # A layer's rows of the sources, as they are read and on their way here; what they are made to; what comes out.
    layers = [src * (2 * a + (b if b < a or spread else 0) + (a if config.model.aggregator == "pool" else 0))
              + dst * (2 * a + b) + (3 * edges * config.model.heads if spread else 0) for (a, b), (src, dst, edges) in zip(pairs, sizes, strict=True)]
    work = {"sampler": _sampler_bytes(book),
            "batches": _batch_bytes(placement, hops, read, 1),
            "model": int(sum(2 * a * b + b for a, b in pairs) * item * 2 + max(layers) * item)}
    # The rows of two layers are there at a time: the moment of the largest ones counts.  By samples only the last are.
    kept = pairs if fanouts is None else pairs[-1:]
    moments = [{t: item * ((a if n else 0) + (b if n < len(kept) - 1 or ntype in (None, t) else 0))
                for t in book.ntypes} for n, (a, b) in enumerate(kept)]
    rows = max(moments, key=lambda of_type: sum(size * book.num_nodes(t) for t, size in of_type.items()))
    embeddings = [_embedding_bytes(placement, config, node) for node in range(placement.topology.num_nodes)]
    return _assemble(placement, split_ids, work, embeddings, rows)


def _assemble(placement: Placement, split_ids: int, work: Mapping[str, int], embeddings: Sequence[int],
              row_bytes: Mapping[str, int]) -> MemoryPlan:
    """A plan of what each trainer holds for itself, what each node's trainers own of embeddings, and what tensors take
    for each node of a type."""
    topology, book = placement.topology, placement.book
    tensors = {t: trainer_rows(book, topology, t, book.num_nodes(t)) for t in book.ntypes}
    ranks, nodes = [], []
    for role in topology.roles:
        trains = Role.TRAINER in role
        ranks.append({"process": _TRAINER_BYTES if trains else _SERVER_BYTES, "splits": 8 * split_ids,
                      **(work if trains else {})})
    for node in range(topology.num_nodes):
        specs = placement.specs(node)
        first, last = topology.servers_of(node)
        held = {s.name: s.elements(first, last) * s.dtype.itemsize for s in specs}
        structure = sum(size for name, size in held.items() if is_structure(name))
        begin, end = topology.trainers_of(node)
        nodes.append({"structure": structure, "features": lay_out(specs, topology, node).nbytes - structure,
                      "embeddings": embeddings[node],
                      "tensors": sum(row_bytes[t] * int(cuts[end] - cuts[begin]) for t, cuts in tensors.items()),
                      "libraries": _TRAINER_LIBRARIES_BYTES if begin < end else _SERVER_LIBRARIES_BYTES})
    return MemoryPlan(tuple(ranks), tuple(nodes), topology.roles, topology.node_of_rank)


def _tensor_row_bytes(config: Config, model: bool) -> int:
    """For each node of the graph: what a program says that its own tensors take, and rows that are inferred.

    Links are ranked by the rows that the model gives all nodes; two layers of these are there at a time.
    """
    item = 8 if config.train.precision == "fp64" else 4
    inferred = 2 * config.model.hidden * item if model and config.task.task == "link_prediction" else 0
    return config.graph.tensor_bytes + inferred


@dataclass(frozen=True)
class _Hop:
    """Rows and edges of a block, by node type and edge type key."""

    dst: Mapping[str, float]
    src: Mapping[str, float]
    edges: Mapping[str, float]


def _hops(book: RangePartitionBook, fanouts: Sequence[int], seeds: Mapping[str, float]) -> list[_Hop]:
    """What a batch of so many seeds grows to, the seeds' hop first."""
    hops, dst = [], {t: min(seeds.get(t, 0.0), book.num_nodes(t)) for t in book.ntypes}
    for fanout in reversed(fanouts):
        edges, drawn = {}, dict.fromkeys(book.ntypes, 0.0)
        for etype in book.canonical_etypes:
            degree = book.num_edges(etype) / max(1, book.num_nodes(etype[2]))
            edges[etype_key(etype)] = dst[etype[2]] * (degree if fanout < 0 else min(fanout, degree))
            drawn[etype[0]] += edges[etype_key(etype)]
        src = {t: n + (book.num_nodes(t) - n) * -math.expm1(-drawn[t] / max(1, book.num_nodes(t)))
               for t, n in dst.items()}
        hops.append(_Hop(dst, src, edges))
        dst = src
    return hops


def _sampler_bytes(book: RangePartitionBook) -> int:
    """Two bits and a position for each node of the graph."""
    return sum(book.num_nodes(t) * 34 // 8 for t in book.ntypes)


def _batch_bytes(placement: Placement, hops: Sequence[_Hop], row_bytes: Mapping[str, int], prefetch: int) -> int:
    """Features and blocks: of the batches that are prepared together, and of as many that are still in use.

    Where all rows are on one node, each is prepared by itself.
    """
    together = prefetch if placement.topology.num_nodes > 1 else 1
    features = sum(hops[-1].src[t] * size for t, size in row_bytes.items())
    blocks = sum(8 * sum(hop.src.values()) + 32 * sum(hop.dst.values()) + 4 * sum(hop.edges.values()) for hop in hops)
    serving = len({placement.topology.node_of_rank[rank] for rank in placement.topology.server_ranks})
    landing = features * (1 - 1 / serving) if placement.replicate != "all" else 0       # rows of other nodes
    return int(together * (2 * (features + blocks) + landing))


def _model_bytes(placement: Placement, config: Config, hops: Sequence[_Hop]) -> int:
    """Parameters, their gradients, Adam's two moments and the best ones; and what the backward pass needs of a batch.

    The first layer's rows are most of it: what its sources amount to, its output, and two gradients of that; and the
    rows of embeddings with their gradients.
    """
    item = 8 if config.train.precision == "fp64" else 4
    embedded, pairs = config.embedding_columns(_widths(placement, config)), _layer_widths(placement, config, _CLASSES)
    width = pairs[0][0]
    parameters = sum(2 * a * b + b for a, b in pairs) * item * 5
    if config.model.model == "mlp":
        return int(parameters + sum(hops[0].dst.values()) * (width + sum(b for _, b in pairs)) * 4 * item)
    rows = [sum(hop.dst.values()) for hop in reversed(hops)]
    held = sum(n * 2 * (a + b) for n, (a, b) in zip(rows, pairs, strict=True)) * item
    cast = sum(hops[-1].src.values()) * width * item if item == 8 else 0
    pooled = 0
    if config.model.aggregator == "pool":
        pooled = 2 * sum(sum(hop.src.values()) * a for hop, (a, _) in zip(reversed(hops), pairs, strict=True)) * item
    if config.model.model.startswith("gat"):        # projected sources with their gradients, numbers on edges
        pooled = sum(2 * sum(hop.src.values()) * b + 6 * (n + sum(hop.edges.values())) * config.model.heads
                     for n, hop, (_, b) in zip(rows, reversed(hops), pairs, strict=True)) * item
    learnt = 2 * sum(hops[-1].src[t] * columns for t, columns in embedded.items()) * item
    return int(parameters + held + rows[0] * pairs[0][1] * item + cast + pooled + learnt)


def _layer_widths(placement: Placement, config: Config, outputs: int) -> list[tuple[int, int]]:
    """Columns into and out of each layer."""
    widths = _widths(placement, config)
    embedded = config.embedding_columns(widths)
    width = max(widths[t] + embedded.get(t, 0) for t in widths)
    sizes = [width] + [config.model.hidden] * (config.num_layers - 1) + [outputs]
    return list(zip(sizes, sizes[1:], strict=False))


def _embedding_bytes(placement: Placement, config: Config, node: int) -> int:
    """Rows that the trainers of a node own: as they are, the best, a copy while these are tested, the optimiser's."""
    topology, item = placement.topology, 8 if config.train.precision == "fp64" else 4
    first, last = topology.trainers_of(node)
    columns = {"sgd": 3, "adagrad": 4, "adam": 5}[config.embedding.embed_optimizer]
    steps = 4 if config.embedding.embed_optimizer == "adam" else 0      # bytes
    size = 0
    for ntype, width in config.embedding_columns(_widths(placement, config)).items():
        cuts = trainer_rows(placement.book, topology, ntype, placement.book.num_nodes(ntype))
        size += int(cuts[last] - cuts[first]) * (columns * width * item + steps)
    return size


def _widths(placement: Placement, config: Config) -> dict[str, int]:
    """Columns of the features of each node type, 0 where it has none."""
    infos = {t: placement.infos.get(f"node/{t}/data/{config.graph.features}") for t in placement.book.ntypes}
    return {t: 0 if info is None else info.width for t, info in infos.items()}


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _spans(numbers: Sequence[int]) -> str:
    """``0-3,7`` for 0, 1, 2, 3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    words = [str(a) if a == b else f"{a}-{b}" for a, b in spans]
    return ",".join(words) if len(words) <= 6 else f"{','.join(words[:5])},... ({len(numbers)} in all)"
