"""Published graphs in one process, for tests: any partitioning, any number of servers, any part of it in view.

Shapes: N nodes of a type, E edges of a type, P partitions.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mpignn.comm.local import LocalTransport
from mpignn.comm.transport import GraphArray
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.csc import CSC, csc_from_coo, in_edges
from mpignn.graph.csc import out_edges as out_edges_of
from mpignn.graph.types import ArrayInfo, GraphData, etype_key
from mpignn.store.cut import array_specs
from mpignn.store.published import PublishedGraph


class PartialTransport(LocalTransport):
    """Local rows of which the views show only those of the servers ``first`` to ``last - 1``.

    Attributes:
        calls: Number of `gather` calls.
        rows: Number of rows asked for in them, by array.
    """

    def __init__(self, specs, first, last):
        super().__init__(specs)
        self._first, self._last = first, last
        self.calls, self.rows = 0, {}

    def publish(self):
        super().publish()
        self._whole = self.arrays
        self.arrays = {name: self._narrow(array) for name, array in self._whole.items()}

    def _narrow(self, array):
        spec = array.spec
        lo, hi = spec.bounds[self._first], spec.bounds[self._last]
        size = spec.elements(self._first, self._last)
        return GraphArray(spec, lo, hi, array.flat[lo * spec.step:lo * spec.step + size], self)

    def gather(self, requests):
        self.calls += 1
        for request in requests:
            name, ids = request.array.spec.name, request.ids
            assert ids.size and not ((ids >= request.array.lo) & (ids < request.array.hi)).any(), \
                f"{name}: rows asked for that are in the view"
            self.rows[name] = self.rows.get(name, 0) + ids.size
        return super().gather([replace(r, array=self._whole[r.array.spec.name]) for r in requests])


class MixedTransport(PartialTransport):
    """The same for those who ask for rows in the view, too; others are fetched by the main thread.

    Attributes:
        threads: Names of those that fetched.
    """

    def __init__(self, specs, first, last):
        super().__init__(specs, first, last)
        self.threads = set()

    def gather(self, requests, on_main=None):
        far = any(((r.ids < r.array.lo) | (r.ids >= r.array.hi)).any() for r in requests)
        whole = [replace(r, array=self._whole[r.array.spec.name]) for r in requests]
        return on_main(lambda: self._fetch(whole)) if far and on_main else self._fetch(whole, far)

    def _fetch(self, requests, far=True):
        if far:
            self.calls += 1
            self.threads.add(threading.current_thread().name)
        return LocalTransport.gather(self, requests)


@dataclass(frozen=True)
class Served:
    """A published graph.

    Attributes:
        published: What the code under test is given.
        transport: Under it.
        new: (N,) id of each original id, for each node type.
        orig: (N,) original id of each id.
        orig_edges: (E,) original id of each edge id, for each edge type.
    """

    published: PublishedGraph
    transport: LocalTransport
    new: Mapping[str, np.ndarray]
    orig: Mapping[str, np.ndarray]
    orig_edges: Mapping[tuple, np.ndarray]


def serve(graph: GraphData, parts: int | Mapping[str, np.ndarray] = 1, servers: int = 1,
          visible: tuple[int, int] | None = None, index_dtype=np.int32, seed: int = 0,
          out_edges: bool = False, partial: type = PartialTransport) -> Served:
    """Publish a graph.

    Args:
        graph: In original ids.
        parts: (N,) partition of each node, for each type; or P, for a random one.
        servers: How many own the rows.
        visible: The views show only the servers ``first:last``; None for all, by a `LocalTransport`.
        index_dtype: Type of ``indices``.
        seed: Seed of the random partition.
        out_edges: Whether edges are there by source, too.
        partial: What carries the rows if not all are in view.
    """
    if isinstance(parts, int):
        rng = np.random.default_rng(seed)
        parts, num_parts = {t: rng.integers(0, parts, n) for t, n in graph.num_nodes.items()}, parts
    else:
        num_parts = max((int(p.max(initial=0)) for p in parts.values()), default=0) + 1
    orig = {t: np.argsort(part, kind="stable") for t, part in parts.items()}
    new = {t: np.argsort(order) for t, order in orig.items()}
    node_ranges = {t: _starts(np.bincount(part, minlength=num_parts)) for t, part in parts.items()}
    edges = {}
    for etype, csc in graph.csc.items():
        degree, src, order = in_edges(csc, orig[etype[2]])
        edges[etype] = CSC(_starts(degree), new[etype[0]][src].astype(index_dtype), order)
    out = {e: _by_source(graph.csc[e], csc.edge_ids, orig[e[0]], new[e[2]]) for e, csc in edges.items() if out_edges}
    book = RangePartitionBook(graph.schema, node_ranges,
                              {e: csc.indptr[node_ranges[e[2]]] for e, csc in edges.items()},
                              {e: csc.indptr[node_ranges[e[0]]] for e, csc in out.items()})
    arrays = {f"node/{t}/orig_id": order for t, order in orig.items()}
    for ntype, data in graph.node_data.items():
        arrays |= {f"node/{ntype}/data/{name}": rows[orig[ntype]] for name, rows in data.items()}
    for etype, csc in edges.items():
        base = f"edge/{etype_key(etype)}"
        arrays |= {f"{base}/indptr": csc.indptr, f"{base}/indices": csc.indices}
        arrays |= {f"{base}/data/{name}": rows[csc.edge_ids] for name, rows in graph.edge_data.get(etype, {}).items()}
    for etype, csc in out.items():
        base = f"out/{etype_key(etype)}"
        arrays |= {f"{base}/indptr": csc.indptr, f"{base}/indices": csc.indices.astype(index_dtype),
                   f"{base}/edge_id": csc.edge_ids}
    infos = {name: ArrayInfo(name, rows.dtype, rows.shape[1:]) for name, rows in arrays.items()}
    maps = {f"node/{t}/new_id": ids for t, ids in new.items()}
    served = [*infos.values(), *(ArrayInfo(name, np.dtype(np.int64), ()) for name in maps)]
    specs = array_specs(book, served, servers, lambda etype, row, direction="in":
                        (out if direction == "out" else edges)[etype].indptr[row])
    transport = LocalTransport(specs) if visible is None else partial(specs, *visible)
    for name, rows in (arrays | maps).items():
        transport.shard(name)[:] = rows.reshape(-1)
    transport.publish()
    return Served(PublishedGraph(book, infos, transport), transport, new, orig,
                  {e: csc.edge_ids for e, csc in edges.items()})


def _by_source(csc, new_edges, orig_src, new_dst) -> CSC:
    """The out-edges of the new sources in order: their places, destinations and edge ids, all new."""
    degree, dst, order = in_edges(out_edges_of(csc, orig_src.size), orig_src)
    return CSC(_starts(degree), new_dst[dst], np.argsort(new_edges)[order])


def make_graph(num_nodes: Mapping[str, int], edges: Mapping[tuple, tuple[np.ndarray, np.ndarray]]) -> GraphData:
    """A graph of (sources, destinations) for each edge type."""
    return GraphData(dict(num_nodes), {
        etype: csc_from_coo(np.asarray(src, np.int64), np.asarray(dst, np.int64), num_nodes[etype[2]])
        for etype, (src, dst) in edges.items()})


def _starts(counts):
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
