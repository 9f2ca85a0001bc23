"""Making the kernels that batches need ready before the first batch."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mpignn import stop
from mpignn.comm.local import LocalTransport
from mpignn.graph.array_key import EDGE, NODE, ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.kernels import gather, match, permute
from mpignn.samplers import MOST_IN_BITMAPS
from mpignn.sampling import positions
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.cut import array_specs
from mpignn.store.published import PublishedGraph

_LOOP = ("node", "to", "node")


def warming(graphs: Sequence[PublishedGraph], chosen_by: Collection[str] | None = (),
            only_nodes: bool = False) -> Iterator[Callable[[], object]]:
    """Calls that compile every kernel which drawing batches of these graphs needs, or load it from the cache.

    The first takes longest.  No two call the same kernel.

    A graph of one node and one edge with data of the same types is sampled in every way that these allow.  Kernels
    for what will not be done are left out: they take seconds to compile.

    Args:
        graphs: The graphs.
        chosen_by: Names of the edge and node data that edges will be chosen by, as weights, marks or times; None: any
            that they have.
        only_nodes: Whether neighbors of nodes will be drawn by `NeighborSampler` with no edge named or excluded.

    Not collective.
    """
    index = index_dtypes(graphs)
    dtypes: dict[str, set[np.dtype]] = {EDGE: set(), NODE: set()}
    for key, info in ((ArrayKey.parse(path), info) for s in graphs for path, info in s.infos.items()):
        if key.data_name is not None and info.width == 1 and (chosen_by is None or key.data_name in chosen_by):
            dtypes[key.kind].add(info.dtype)
    edges, nodes = dtypes[EDGE], dtypes[NODE]
    if chosen_by is None and any(s.book.out_ranges for s in graphs):
        edges.add(np.dtype(np.bool_))       # an excluded out-edge is one without a mark
    drawing: list[Callable[[], object]] = []
    if any(s.book.num_nodes(ntype) > MOST_IN_BITMAPS for s in graphs for ntype in s.book.ntypes):
        drawing.append(partial(positions.warm, index))
    for dtype in index:
        graph = small_graph(dtype, edges, nodes)
        drawing += [partial(sampler.sample, graph, [0], 0, *more)
                    for sampler, *more in (*_usual(only_nodes, all(map(_in_view, graphs))), *_choosing(edges, nodes))]
    yield partial(_call_all, drawing)
    yield from (gather.warm, permute.warm)
    if not only_nodes:
        yield partial(match.warm, index)


def _call_all(calls: Sequence[Callable[[], object]]) -> None:
    """Call one after the other, unless asked to stop meanwhile."""
    for call in calls:
        if stop.wish() is None:
            call()


def _in_view(graph: PublishedGraph) -> bool:
    """Whether this rank sees all edges."""
    return all(array.lo == 0 and array.hi == array.spec.num_rows for name, array in graph.transport.arrays.items()
               if ArrayKey.parse(name).what == "indices")


def index_dtypes(graphs: Iterable[PublishedGraph]) -> set[np.dtype]:
    """What types the ids of neighbors have.  Not collective."""
    return {array.spec.dtype for s in graphs for name, array in s.transport.arrays.items()
            if ArrayKey.parse(name).what == "indices"}


def small_graph(index_dtype: np.dtype, edge_dtypes: Collection[np.dtype],
                 node_dtypes: Collection[np.dtype]) -> PublishedGraph:
    """One node and one edge, with data named by their types."""
    ranges = np.array([0, 1], np.int64)
    book = RangePartitionBook(Schema(("node",), (_LOOP,)), {"node": ranges}, {_LOOP: ranges})
    keys = {ArrayKey.node("node", "orig_id"): np.zeros(1, np.int64), ArrayKey.edge(_LOOP, "indptr"): ranges,
            ArrayKey.edge(_LOOP, "indices"): np.zeros(1, index_dtype)}
    keys |= {ArrayKey.edge_data(_LOOP, str(dtype)): np.zeros(1, dtype) for dtype in edge_dtypes}
    keys |= {ArrayKey.node_data("node", str(dtype)): np.zeros(1, dtype) for dtype in node_dtypes}
    arrays = {key.path: array for key, array in keys.items()}
    infos = {path: ArrayInfo(path, array.dtype, ()) for path, array in arrays.items()}
    transport = LocalTransport(array_specs(book, list(infos.values()), 1, lambda _, row: row))
    for name, array in arrays.items():
        transport.shard(name)[:] = array
    transport.publish()
    return PublishedGraph(book, infos, transport)


def _usual(only_nodes: bool, in_view: bool) -> Iterator[tuple[Any, ...]]:
    """Samplers that draw any edges, and edges to exclude where these matter."""
    yield (NeighborSampler([1]),)
    for return_eids in False, True:
        if not only_nodes:
            yield NeighborSampler([1], return_eids=return_eids), {_LOOP: np.zeros(1, np.int64)}
        elif return_eids and not in_view:       # by edge ids
            yield (NeighborSampler([1], return_eids=True),)


def _choosing(edge_dtypes: Collection[np.dtype], node_dtypes: Collection[np.dtype]) -> Iterator[tuple[Any, ...]]:
    """Samplers that choose edges by data of these types, with times where these matter."""
    weights = [d for d in edge_dtypes if d.kind in "iuf" and d != np.float16]
    mask = str(np.dtype(np.bool_)) if np.dtype(np.bool_) in edge_dtypes else None
    for name in [None, *map(str, weights)]:
        if name is not None or mask is not None:
            # Its mark or weight is 0, so that a gap is closed.
            yield (NeighborSampler([1], name, mask=mask, source_info=True),)
    for what, dtypes in ("edge_timestamp_attr_name", weights), ("node_timestamp_attr_name", node_dtypes):
        for dtype in dtypes:
            if dtype.kind in "iuf" and dtype not in (np.float16, np.uint64):
                time = np.zeros(1, np.float64 if dtype.kind == "f" else np.int64)
                named: dict[str, Any] = {what: str(dtype)}
                yield NeighborSampler([1], mask=mask, source_info=True, **named), None, time
