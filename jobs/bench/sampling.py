"""How many edges a second does one thread sample from rows in its view?

The structure lies in shared memory on 4 KiB pages, as a node's segment does.  "one hop" is picking the neighbors of
20,000 random nodes, without relabelling; "blocks" is all of `NeighborSampler.sample`: checks, picks and
relabelling of every hop.

    python jobs/bench/sampling.py GRAPH [--fanouts 5,10,15] [--batch-size 1000] [--repeats 15]

GRAPH is a folder of indptr.npy and indices.npy, or a partitioned graph.
"""

import argparse
import mmap
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from machine import header
from mpignn.dist.service import GraphService, array_specs
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema, etype_key
from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, pick_neighbors, plan_rows
from mpignn.kernels.rng import derive
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.transport.local import LocalTransport


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    service = load(options.graph)
    book = service.book
    print(header())
    print(f"one thread, {book.num_nodes()} nodes, {book.num_edges()} edges, {options.repeats} repeats after a warm-up")
    for fanout in 10, 25:
        report(f"one hop, 20,000 seeds, fanout {fanout}", one_hop(service, fanout), options.repeats)
    fanouts = [int(f) for f in options.fanouts.split(",")]
    name = f"blocks, {options.batch_size} seeds, fanouts {','.join(map(str, fanouts[::-1]))} in hop order"
    report(name, blocks(service, fanouts, options.batch_size), options.repeats)


def report(name, call, repeats) -> None:
    """Time ``call(repeat) -> (seconds, edges)``."""
    timed = [call(repeat) for repeat in range(repeats + 2)][2:]
    speeds = [edges / seconds / 1e6 for seconds, edges in timed]
    print(f"{name}: {min(s for s, _ in timed) * 1e3:.2f} ms at best, {statistics.median(speeds):.1f} M edges/s "
          f"[{min(speeds):.1f}-{max(speeds):.1f}], {timed[-1][1]} edges")


def one_hop(service, fanout):
    """Pick the neighbors of random nodes of the first edge type."""
    etype = service.schema.etypes[0]
    adjacency, num_nodes = service.adjacency(etype), service.book.num_nodes(etype[2])
    size = min(20_000, num_nodes)
    bits, seen = np.zeros(1 << 16, np.uint64), np.zeros(service.book.num_nodes(etype[0]) // 64 + 1, np.uint64)
    indptr = np.empty(size + 1, np.int64)
    out = np.empty(size * fanout, adjacency.indices.spec.dtype)

    def call(repeat):
        seeds = np.random.default_rng(repeat).choice(num_nodes, size, replace=False)
        start = time.perf_counter()
        bounds, orig = adjacency.rows.view[seeds], adjacency.orig.flat[seeds]
        plan_rows(bounds, NONE_TAKEN, fanout, False, 0, adjacency.indices.hi, indptr)
        pick_neighbors(np.uint64(derive(repeat)), False, orig, bounds, NONE_GONE, NONE_TAKEN, indptr, bits,
                       adjacency.indices.flat, 0, seen, out[:indptr[-1]])
        return time.perf_counter() - start, int(indptr[-1])
    return call


def blocks(service, fanouts, batch_size):
    """Sample and relabel all hops for random seeds of the first node type."""
    sampler, ntype = NeighborSampler(fanouts), service.schema.ntypes[0]

    def call(repeat):
        seeds = np.random.default_rng(repeat).choice(service.book.num_nodes(ntype), batch_size, replace=False)
        start = time.perf_counter()
        _, _, made = sampler.sample(service, {ntype: seeds}, repeat)
        return time.perf_counter() - start, sum(block.num_edges() for block in made)
    return call


class SharedTransport(LocalTransport):
    """Arrays in shared memory, which has no huge pages here: what a node's segment is."""

    def __init__(self, specs):
        super().__init__(specs)
        self.windows = {name: replace(w, flat=_shared(w.flat)) for name, w in self.windows.items()}


def _shared(array):
    handle = os.memfd_create("bench")
    os.ftruncate(handle, max(array.nbytes, 1))
    memory = mmap.mmap(handle, max(array.nbytes, 1))
    os.close(handle)
    return np.frombuffer(memory, array.dtype, array.size)


def load(path: Path) -> GraphService:
    """The structure of a graph."""
    if (path / "indptr.npy").exists():
        loop = ("node", "to", "node")
        indptr, indices = np.load(path / "indptr.npy"), np.load(path / "indices.npy")
        schema, num_nodes, csc = Schema(("node",), (loop,)), {"node": indptr.size - 1}, {loop: (indptr, indices)}
        orig = {"node": np.arange(indptr.size - 1)}
    else:
        schema, num_nodes, orig, csc = _read_parts(path / "graph.h5" if path.is_dir() else path)
    book = RangePartitionBook(schema, {t: np.array([0, n]) for t, n in num_nodes.items()},
                              {e: np.array([0, indices.size]) for e, (_, indices) in csc.items()})
    arrays = {f"node/{t}/orig_id": ids for t, ids in orig.items()}
    for etype, (indptr, indices) in csc.items():
        small = num_nodes[etype[0]] < 1 << 31
        arrays[f"edge/{etype_key(etype)}/indptr"] = indptr
        arrays[f"edge/{etype_key(etype)}/indices"] = indices.astype(np.int32 if small else np.int64, copy=False)
    infos = {name: ArrayInfo(name, array.dtype, ()) for name, array in arrays.items()}
    transport = SharedTransport(array_specs(book, list(infos.values()), 1, lambda etype, row: csc[etype][0][row]))
    for name, array in arrays.items():
        transport.shard(name)[:] = array
    transport.publish()
    return GraphService(book, infos, transport)


def _read_parts(path):
    with h5py.File(path) as graph:
        ntypes = tuple(t.decode() for t in graph["types/ntype"][:])
        etypes = tuple(tuple(part.decode() for part in e) for e in graph["types/etype"][:])
        num_nodes = {t: int(graph[f"ranges/node/{t}"][-1]) for t in ntypes}
    parts = [h5py.File(p) for p in sorted(path.parent.glob("part-*.h5"))]
    orig = {t: np.concatenate([p[f"node/{t}/orig_id"][:] for p in parts]) for t in ntypes}
    csc = {}
    for etype in etypes:
        base = f"edge/{etype_key(etype)}"
        indptr = np.concatenate([[0], *[p[f"{base}/indptr"][1:] for p in parts]]).astype(np.int64)
        csc[etype] = indptr, np.concatenate([p[f"{base}/indices"][:] for p in parts])
    for part in parts:
        part.close()
    return Schema(ntypes, etypes), num_nodes, orig, csc


if __name__ == "__main__":
    main()
