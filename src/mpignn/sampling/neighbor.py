"""Uniform neighbor sampling for mini-batches (Hamilton, Ying and Leskovec 2017, GraphSAGE).

Shapes: D destinations and S sources of a node type, E picks of an edge type.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpignn.buffers import Pool
from mpignn.dist.service import GraphService, array_specs
from mpignn.errors import ConfigError, IDError
from mpignn.graph.block import Block
from mpignn.graph.book import RangePartitionBook, checked_ids
from mpignn.graph.csc import CSC
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key
from mpignn.kernels.pick import pick_edges, pick_neighbors, plan_rows
from mpignn.kernels.relabel import look_up, mark, place_dst, place_new
from mpignn.kernels.rng import derive
from mpignn.sampling.fetch import RowReader
from mpignn.transport.api import Window
from mpignn.transport.local import LocalTransport

ALL = -1        # the fanout that keeps every in-edge

Ids = Mapping[str, np.ndarray]
Sample = tuple[Ids | np.ndarray, Ids | np.ndarray, list[Block]]
Names = Sequence[str] | Mapping[str, Sequence[str]]


class NeighborSampler:
    """Draws the blocks of mini-batches.

    What a destination draws is a function of (key, hop, edge type, its original id): the same for any partitioning,
    any number of ranks and any timing.  A sampler may be used by several threads at a time.

    Attributes:
        fanouts, prefetch_node_feats, prefetch_labels: As given.
    """

    def __init__(self, fanouts: Sequence[int | Mapping[EType, int]], replace: bool = False,
                 return_eids: bool = False, prefetch_node_feats: Names = (), prefetch_labels: Names = (),
                 source_info: bool = False):
        """Say how much to draw.

        Args:
            fanouts: In-edges kept of each destination, one entry a layer, in DGL's order: INPUT layer first, so the
                last entry is for the seeds.  -1 keeps all, once each; 0 none.  A mapping names every edge type.
            replace: Draw with replacement: exactly ``fanout`` picks of every destination that has in-edges.
                Without, a destination with ``fanout`` in-edges or fewer keeps all, in the order of the row.
            return_eids: Put global edge ids into the blocks.
            prefetch_node_feats: Node data that a loader puts into ``blocks[0].srcdata``: names, or names by node
                type; without types, of every node type that has such data.
            source_info: Put original ids and whole in-degrees of all sources into the blocks, of which only those
                of the input nodes are read for this alone.
            prefetch_labels: Node data that a loader puts into ``blocks[-1].dstdata``, whole numbers as int64: likewise;
                without types, of every node type that has seeds.

        Raises:
            ConfigError: No fanouts, or one that is no integer of -1 to 2**31 - 1.
        """
        if len(fanouts) == 0:
            raise ConfigError("fanouts is empty: give one per layer, input layer first")
        for entry in fanouts:
            for fanout in entry.values() if isinstance(entry, Mapping) else [entry]:
                if not isinstance(fanout, int | np.integer) or not ALL <= fanout < 1 << 31:
                    raise ConfigError(f"fanout {fanout!r} is none: -1 keeps all in-edges, 0 none, k > 0 at most k")
        self.fanouts = tuple(fanouts)
        self._replace = bool(replace)
        self._return_eids, self._source_info = bool(return_eids), bool(source_info)
        self.prefetch_node_feats, self.prefetch_labels = prefetch_node_feats, prefetch_labels
        self._idle: list[_Workspace] = []

    def sample(self, service: GraphService, seeds: Ids | np.ndarray, key: int) -> Sample:
        """Draw one mini-batch: `sample_many` of one."""
        return self.sample_many(service, [seeds], [key])[0]

    def sample_many(self, service: GraphService, seeds: Sequence[Ids | np.ndarray],
                    keys: Sequence[int]) -> list[Sample]:
        """Draw several mini-batches, with two round trips to other nodes per hop for all of them.

        Args:
            service: The graph.
            seeds: For each batch the (D,) ids of the seeds of each node type, unique; a type may be missing.  Where
                the graph has one node type, an array will do.
            keys: For each batch, what its draws depend on besides the graph: an integer such as
                ``derive(seed, epoch, step)``.

        Returns:
            For each batch (input_nodes, output_nodes, blocks): the ids of the sources of the first block, the seeds in
            the order given, and one `Block` a layer, input layer first.  Ids are dicts by node type, bare
            arrays where the graph has one node and one edge type.

        Raises:
            ConfigError: A mapping of fanouts leaves out an edge type.
            IDError: A seed is no integer, outside the graph or given twice; names the first.
            UnknownName: A node or edge type that the graph does not have.

        Not collective.  Nothing is sent where the view has all rows that are met.
        """
        schema = service.schema
        hops = [_by_etype(entry, schema) for entry in reversed(self.fanouts)]
        batches = [_Batch(key, _check_seeds(service, s)) for s, key in zip(seeds, keys, strict=True)]
        # Taken out and put back by single operations, so that threads never share one.  An exception loses it,
        # since its bitmaps may then hold marks.
        try:
            space = self._idle.pop()
        except IndexError:
            space = _Workspace()
        for hop, fanouts in enumerate(hops):
            self._draw_hop(service, space, batches, hop, fanouts)
        if self._source_info:
            reader = RowReader(service.transport)
            for batch in batches:
                self._read_rows(service, space, batch, hops[-1], reader)
            reader.finish()
            for batch in batches:
                _tell_sources(batch)
        self._idle.append(space)
        return [_result(schema, batch) for batch in batches]

    def _draw_hop(self, service: GraphService, space: "_Workspace", batches: "list[_Batch]", hop: int,
                  fanouts: Mapping[EType, int]) -> None:
        reader = RowReader(service.transport, hop)
        for batch in batches:
            self._read_rows(service, space, batch, fanouts, reader)
        reader.finish()
        draws = [[self._plan(service, space, batch, hop, number, etype, fanouts[etype], reader)
                  for number, etype in enumerate(service.schema.etypes)] for batch in batches]
        reader.finish()
        for batch, drawn in zip(batches, draws, strict=True):
            batch.blocks.append(_close_hop(service, space, batch, drawn, self._return_eids))

    def _read_rows(self, service: GraphService, space: "_Workspace", batch: "_Batch", fanouts: Mapping[EType, int],
                   reader: RowReader) -> None:
        """Read the original ids and the rows of the frontier.  It begins with the last one, not read again."""
        for ntype, nodes in batch.nodes.items():
            batch.orig[ntype] = _extend(service.orig_ids(ntype), nodes, batch.orig.get(ntype), space.pool, reader)
        for etype, fanout in fanouts.items():
            if fanout != 0 or self._source_info:
                batch.bounds[etype] = _extend(service.adjacency(etype).rows, batch.nodes[etype[2]],
                                              batch.bounds.get(etype), space.pool, reader)

    def _plan(self, service: GraphService, space: "_Workspace", batch: "_Batch", hop: int, number: int,
              etype: EType, fanout: int, reader: RowReader) -> "_Draw":
        """Lay out the picks of an edge type, and draw them if sources have to be fetched or edge ids are wanted."""
        window = service.adjacency(etype).indices
        indptr = space.pool.empty(batch.nodes[etype[2]].shape[0] + 1, np.int64)
        draw = _Draw(etype, np.uint64(derive(batch.key, hop, number)), self._replace and fanout != ALL, indptr)
        if fanout == 0:
            indptr[:] = 0
            draw.edge_ids, draw.neighbors = np.empty(0, np.int64), np.empty(0, window.spec.dtype)
            return draw
        bounds = batch.bounds[etype]
        draw.longest, outside = plan_rows(bounds, fanout, draw.replace, window.lo, window.hi, indptr)
        if outside or self._return_eids:
            draw.edge_ids = space.pool.empty(indptr[-1], np.int64)
            pick_edges(draw.key, draw.replace, batch.orig[etype[2]].reshape(-1), bounds, indptr,
                       space.bits(draw.longest), draw.edge_ids)
            draw.neighbors = space.pool.empty(indptr[-1], window.spec.dtype)
            reader.read(window, draw.edge_ids, draw.neighbors.reshape(-1, 1))
        return draw


def warm(index_dtypes: Iterable = (np.int32, np.int64)) -> None:
    """Compile every kernel of sampling for these types of ``indices``, or load it from the cache.

    It samples a graph of one node and one edge, so nothing is missed.  Not collective.
    """
    loop = ("node", "to", "node")
    ranges = np.array([0, 1], np.int64)
    book = RangePartitionBook(Schema(("node",), (loop,)), {"node": ranges}, {loop: ranges})
    for dtype in index_dtypes:
        arrays = {"node/node/orig_id": np.zeros(1, np.int64), f"edge/{etype_key(loop)}/indptr": ranges,
                  f"edge/{etype_key(loop)}/indices": np.zeros(1, dtype)}
        infos = {name: ArrayInfo(name, array.dtype, ()) for name, array in arrays.items()}
        transport = LocalTransport(array_specs(book, list(infos.values()), 1, lambda _, row: row))
        for name, array in arrays.items():
            transport.shard(name)[:] = array
        transport.publish()
        for return_eids in False, True:
            NeighborSampler([1], return_eids=return_eids).sample(GraphService(book, infos, transport), [0], 0)


@dataclass
class _Batch:
    """A mini-batch between two hops.

    Attributes:
        key: Of its draws.
        nodes: (D,) ids of the frontier of each node type: the sources of the hop before.
        orig: Original ids of the frontier of each node type, as far as read.
        bounds: (D, 2) start and end of the rows of the frontier for each edge type, as far as read.
        blocks: Hops done, that of the seeds first.
    """

    key: int
    nodes: dict[str, np.ndarray]

    def __post_init__(self):
        self.orig: dict[str, np.ndarray] = {}
        self.bounds: dict[EType, np.ndarray] = {}
        self.blocks: list[Block] = []


@dataclass
class _Draw:
    """The picks of one edge type in one hop; ``neighbors`` is None while they are still to be drawn from the view."""

    etype: EType
    key: np.uint64
    replace: bool
    indptr: np.ndarray
    longest: int = 0
    edge_ids: np.ndarray | None = None
    neighbors: np.ndarray | None = None


class _Workspace:
    """Memory that a call needs for itself: results' slabs, and bitmaps that are all 0 between uses."""

    def __init__(self):
        self.pool = Pool()
        self._bits = np.zeros(64, np.uint64)
        self._maps: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def bits(self, longest: int) -> np.ndarray:
        """A bit for each position of a row of ``longest`` in-edges."""
        if self._bits.shape[0] * 64 < longest:
            self._bits = np.zeros(2 * (longest // 64 + 1), np.uint64)
        return self._bits

    def maps(self, ntype: str, num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
        """A bit and an int32 position for each node of a type."""
        seen, slot = self._maps.get(ntype, (None, None))
        if slot is None or slot.shape[0] != num_nodes:
            seen, slot = np.zeros(-(-num_nodes // 64), np.uint64), np.empty(num_nodes, np.int32)
            self._maps[ntype] = seen, slot
        return seen, slot


def _extend(window: Window, nodes: np.ndarray, known: np.ndarray | None, pool: Pool, reader: RowReader) -> np.ndarray:
    rows = pool.empty((nodes.shape[0], window.spec.width), window.spec.dtype)
    have = 0 if known is None else known.shape[0]
    if have:
        rows[:have] = known
    reader.read(window, nodes[have:], rows[have:])
    return rows


def _close_hop(service: GraphService, space: _Workspace, batch: _Batch, draws: Sequence[_Draw],
               return_eids: bool) -> Block:
    """Make the block of a hop, and its sources the next frontier."""
    maps = {t: space.maps(t, service.book.num_nodes(t)) for t in service.schema.ntypes}
    for draw in draws:
        seen, _ = maps[draw.etype[0]]
        if draw.neighbors is None:
            window = service.adjacency(draw.etype).indices
            draw.neighbors = space.pool.empty(draw.indptr[-1], window.spec.dtype)
            pick_neighbors(draw.key, draw.replace, batch.orig[draw.etype[2]].reshape(-1), batch.bounds[draw.etype],
                           draw.indptr, space.bits(draw.longest), window.flat, window.lo, seen, draw.neighbors)
        else:
            mark(draw.neighbors, seen)
    src = {}
    for ntype, dst in batch.nodes.items():
        seen, slot = maps[ntype]
        num_dst = dst.shape[0]
        src[ntype] = space.pool.empty(num_dst + place_dst(dst, seen, slot), np.int64)
        src[ntype][:num_dst] = dst
        place_new(seen, slot, num_dst, src[ntype])
    csc = {}
    for draw in draws:
        ids = draw.neighbors
        indices = ids if ids.dtype == np.int32 else space.pool.empty(ids.shape[0], np.int32)
        look_up(ids, maps[draw.etype[0]][1], indices)
        csc[draw.etype] = CSC(draw.indptr, indices, draw.edge_ids if return_eids else None)
    block = Block(service.schema, src, {t: dst.shape[0] for t, dst in batch.nodes.items()},
                  {t: orig.reshape(-1) for t, orig in batch.orig.items()}, csc)
    batch.nodes = src
    return block


def _tell_sources(batch: _Batch) -> None:
    """Sources of a block are the first entries of the frontier that the last hop left."""
    orig = {t: ids.reshape(-1) for t, ids in batch.orig.items()}
    degrees = {etype: bounds[:, 1] - bounds[:, 0] for etype, bounds in batch.bounds.items()}
    for block in batch.blocks:
        block.src_orig = {t: ids[:block.num_src_nodes(t)] for t, ids in orig.items()}
        block.in_degrees = {e: degree[:block.num_src_nodes(e[2])] for e, degree in degrees.items()}


def _by_etype(entry: int | Mapping[EType, int], schema: Schema) -> dict[EType, int]:
    """The fanout of each edge type, in the schema's order."""
    if not isinstance(entry, Mapping):
        return {etype: int(entry) for etype in schema.etypes}
    given = {schema.etype(name): int(fanout) for name, fanout in entry.items()}
    for etype in schema.etypes:
        if etype not in given:
            raise ConfigError(f"fanouts: edge type {etype_key(etype)} is missing; 0 keeps none of its edges")
    return {etype: given[etype] for etype in schema.etypes}


def _check_seeds(service: GraphService, seeds: Ids | np.ndarray) -> dict[str, np.ndarray]:
    """The seeds of every node type, copied: contiguous and writable is the one kind the kernels are compiled for."""
    schema = service.schema
    if not isinstance(seeds, Mapping):
        seeds = {schema.ntype(): seeds}
    checked = {ntype: np.empty(0, np.int64) for ntype in schema.ntypes}
    for name, given in seeds.items():
        ntype = schema.ntype(name)
        ids = checked_ids(given, service.book.num_nodes(ntype), f"seed of type {ntype!r}").copy()
        order = np.argsort(ids, kind="stable")
        again = order[1:][ids[order[1:]] == ids[order[:-1]]]
        if again.size:
            raise IDError(f"seed of type {ntype!r}: {ids[again.min()]} is given twice; seeds must be unique")
        checked[ntype] = ids
    return checked


def _result(schema: Schema, batch: _Batch) -> Sample:
    blocks = batch.blocks[::-1]
    inputs = dict(batch.nodes)
    outputs = {t: ids[:blocks[-1].num_dst[t]] for t, ids in blocks[-1].src_ids.items()}
    if schema.is_homogeneous:
        return inputs[schema.ntype()], outputs[schema.ntype()], blocks
    return inputs, outputs, blocks
