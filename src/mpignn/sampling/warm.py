"""Making the kernels that batches need ready before the first batch."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from mpignn.comm.local import LocalTransport
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema, array_part, etype_key
from mpignn.kernels import gather, match, permute
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.service import GraphService, array_specs

_LOOP = ("node", "to", "node")


def warming(services: Sequence[GraphService], chosen_by: Collection[str] | None = ()) -> Iterator[Callable[[], object]]:
    """Calls that compile every kernel which drawing batches of these graphs needs, or load it from the cache.

    A graph of one node and one edge with data of the same types is sampled in every way that these allow.

    Args:
        services: The graphs.
        chosen_by: Names of the edge and node data that edges will be chosen by, as weights, marks or times; None: any
            that they have.  Kernels for what is not named are left out: they take seconds to compile.

    Not collective.
    """
    index = {array.spec.dtype for s in services for name, array in s.transport.arrays.items()
             if array_part(name) == "indices"}
    columns = [info for s in services for info in s.infos.values() for what, _, name in
               [array_part(info.name).partition("/")] if what == "data" and info.width == 1
               and (chosen_by is None or name in chosen_by)]
    edges, nodes = ({info.dtype for info in columns if info.name.startswith(what)} for what in ("edge/", "node/"))
    if chosen_by is None and any(s.book.out_ranges for s in services):
        edges.add(np.dtype(np.bool_))       # an excluded out-edge is one without a mark
    yield from (gather.warm, permute.warm, partial(match.warm, index))
    for dtype in index:
        service = _small_graph(dtype, edges, nodes)
        for sampler, *more in _samplers(edges, nodes):
            yield partial(sampler.sample, service, [0], 0, *more)


def _small_graph(index_dtype: np.dtype, edge_dtypes: Collection[np.dtype],
                 node_dtypes: Collection[np.dtype]) -> GraphService:
    """One node and one edge, with data named by their types."""
    ranges = np.array([0, 1], np.int64)
    book = RangePartitionBook(Schema(("node",), (_LOOP,)), {"node": ranges}, {_LOOP: ranges})
    edge = f"edge/{etype_key(_LOOP)}"
    arrays = {"node/node/orig_id": np.zeros(1, np.int64), f"{edge}/indptr": ranges,
              f"{edge}/indices": np.zeros(1, index_dtype)}
    arrays |= {f"{edge}/data/{dtype}": np.zeros(1, dtype) for dtype in edge_dtypes}
    arrays |= {f"node/node/data/{dtype}": np.zeros(1, dtype) for dtype in node_dtypes}
    infos = {name: ArrayInfo(name, array.dtype, ()) for name, array in arrays.items()}
    transport = LocalTransport(array_specs(book, list(infos.values()), 1, lambda _, row: row))
    for name, array in arrays.items():
        transport.shard(name)[:] = array
    transport.publish()
    return GraphService(book, infos, transport)


def _samplers(edge_dtypes: Collection[np.dtype], node_dtypes: Collection[np.dtype]) -> Iterator[tuple[Any, ...]]:
    """Samplers that between them run every kernel, with edges to exclude and times where these matter."""
    for return_eids in False, True:
        yield NeighborSampler([1], return_eids=return_eids), {_LOOP: np.zeros(1, np.int64)}
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
