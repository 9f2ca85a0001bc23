"""How many edges a second does one thread sample from rows in its view?

The structure lies in shared memory on 4 KiB pages, as a node's segment does.  "one hop" is picking the neighbors of
20,000 random nodes, without relabelling; "blocks" is all of `NeighborSampler.sample`: checks, picks and
relabelling of every hop.  What is compared runs alternately, on the same seeds.

- weighted: float32 weights; the edge ids are drawn, then their sources read.
- excluded: 2,000 edges of the seeds' rows, against the same without.
- heterogeneous: the same edges among two node types, even and odd nodes, so four edge types with half the fanout each;
  against the one type, in edges a second.
- by times: each edge has one, each seed another, and sees older edges alone; against the same without.
- two threads, against one.

Where other processes want the cores, edges per CPU second say more than edges a second: they leave out the time that
this process did not run in, but not what others do to caches and memory.

    python jobs/bench/sampling.py GRAPH [--fanouts 5,10,15] [--batch-size 1000] [--repeats 15]

GRAPH is a folder of indptr.npy and indices.npy, or a partitioned graph of one edge type.
"""

import argparse
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from machine import header, spread
from mpignn.comm.local import LocalTransport
from mpignn.comm.transport import GraphArray
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema, etype_key
from mpignn.kernels import threads
from mpignn.kernels.pick import NONE_GONE, NONE_TAKEN, plan_rows
from mpignn.kernels.rng import derive
from mpignn.kernels.simd import read_only
from mpignn.kernels.weigh import NO_MARKS, pick_weighted, take
from mpignn.sampling.draw import Front, Workspace, draw_hop, draw_in_view
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.sampling.rule import make_rules
from mpignn.store.cut import array_specs
from mpignn.store.published import PublishedGraph

SEEDS, EXCLUDED = 20_000, 2_000
Call = Callable[[int], tuple[float, float, int]]        # repeat -> seconds, CPU seconds, edges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    csc, orig = read(options.graph)
    (etype,) = csc
    published = serve(csc, orig)
    fanouts = [int(f) for f in options.fanouts.split(",")]
    print(header())
    print(f"{published.book.num_nodes()} nodes, {published.book.num_edges()} edges, {options.repeats} repeats")
    threads.set_num_threads(1)
    report({"one hop, fanout 10": OneHop(published, 10)}, options.repeats)
    report({"one hop, fanout 25": OneHop(published, 25),
            f"one hop, fanout 25, {EXCLUDED} excluded": OneHop(published, 25, exclude=True),
            "one hop, fanout 25, two threads": on_two(OneHop(published, 25))}, options.repeats)
    weights = np.random.default_rng(0).random(published.book.num_edges(), np.float32)
    report({"weighted, one hop, fanout 10": Weighted(published, 10, weights),
            "weighted, one hop, fanout 10, two threads": on_two(Weighted(published, 10, weights))}, options.repeats)
    name = f"blocks, {options.batch_size} seeds, fanouts {','.join(map(str, fanouts[::-1]))} in hop order"
    split = serve(*two_types(csc[etype], orig[etype[0]]))
    half = [-(-fanout // 2) for fanout in fanouts]
    whole = blocks(published, fanouts, options.batch_size)
    report({name: whole, f"{name}, two threads": on_two(whole),
            f"{name}, heterogeneous": blocks(split, half, options.batch_size),
            f"{name}, by times": blocks(serve(csc, orig, {etype: weights}), fanouts, options.batch_size,
                                        when="weight")}, options.repeats)


def report(calls: dict[str, Call], repeats: int) -> None:
    """Time each of what is compared with the first, alternately."""
    timed: dict[str, list[tuple[float, float, int]]] = {name: [] for name in calls}
    for repeat in range(repeats + 2):
        for name, call in calls.items():
            timed[name].append(call(repeat))
    first = [seconds / edges for seconds, _, edges in next(iter(timed.values()))[2:]]
    for name, runs in timed.items():
        wall, cpu = ([runs[i][2] / runs[i][clock] / 1e6 for i in range(2, len(runs))] for clock in (0, 1))
        ratio = [each * 1e6 * other for each, other in zip(wall, first, strict=True)]
        print(f"{name}: {spread(wall, '.1f')} M edges/s, {spread(cpu, '.1f')} per CPU second, {runs[-1][2]} edges"
              + (f", {spread(ratio, '.2f')} x the first" if runs is not timed[next(iter(timed))] else ""), flush=True)


def now() -> tuple[float, float]:
    """Seconds of the clock and of this process's CPU time."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> tuple[float, float]:
    """How much of both has passed."""
    seconds, cpu = now()
    return seconds - start[0], cpu - start[1]


def on_two(call: Call) -> Call:
    def both(repeat):
        threads.set_num_threads(2)
        try:
            return call(repeat)
        finally:
            threads.set_num_threads(1)
    return both


class OneHop:
    """Pick the neighbors of random nodes, as the sampler does."""

    def __init__(self, published: PublishedGraph, fanout: int, exclude: bool = False):
        self._published, self._rules, self._exclude = published, make_rules(published, fanout), exclude
        self._space = Workspace()

    def __call__(self, repeat: int) -> tuple[float, float, int]:
        (ntype,), (etype,) = self._published.schema.ntypes, self._published.schema.etypes
        num_nodes = self._published.book.num_nodes()
        seeds = np.random.default_rng(repeat).choice(num_nodes, min(SEEDS, num_nodes), replace=False)
        gone = {etype: some_edges(self._published.adjacency(etype).rows.local[seeds], repeat)} if self._exclude else {}
        start = now()
        front = Front((repeat,), {ntype: seeds}, gone)
        ((draw,),) = draw_hop(self._published, self._space, [front], self._rules, False)
        draw_in_view(self._published, self._space, [draw])
        return *since(start), int(draw.indptr[-1])


def some_edges(bounds: np.ndarray, repeat: int) -> np.ndarray:
    """Edges of some rows, ascending."""
    rng = np.random.default_rng((repeat, 1))
    rows = bounds[rng.integers(0, bounds.shape[0], EXCLUDED)]
    return np.unique((rows[:, 0] + rng.random(EXCLUDED) * (rows[:, 1] - rows[:, 0])).astype(np.int64))


class Weighted:
    """Pick neighbors of random nodes in proportion to weights."""

    def __init__(self, published: PublishedGraph, fanout: int, weights: np.ndarray):
        self._adjacency, self._fanout = published.adjacency(published.schema.etypes[0]), fanout
        self._num_nodes, self._weights = published.book.num_nodes(), read_only(_shared(weights))
        self._size = min(SEEDS, self._num_nodes)
        self._indptr, self._counts = np.empty(self._size + 1, np.int64), np.empty(self._size, np.int64)
        self._away = np.full(self._size, -1, np.int64)
        self._edges = np.empty(self._size * fanout, np.int64)
        self._out = np.empty(self._edges.size, self._adjacency.indices.spec.dtype)

    def __call__(self, repeat: int) -> tuple[float, float, int]:
        seeds = np.random.default_rng(repeat).choice(self._num_nodes, self._size, replace=False)
        rows, flat = self._adjacency.rows, self._adjacency.indices.flat
        start = now()
        bounds, orig = rows.local[seeds], self._adjacency.orig.flat[seeds]
        longest, _ = plan_rows(bounds, NONE_TAKEN, self._fanout, False, 0, flat.size, self._indptr)
        key, edges = np.uint64(derive(repeat)), self._edges[:self._indptr[-1]]

        def piece(_, first, last):
            rows, indptr, away = bounds[first:last], self._indptr[first:last + 1], self._away[first:last]
            pick_weighted(key, self._fanout, False, orig[first:last], rows, NONE_GONE, NONE_TAKEN, indptr,
                          self._weights, self._weights[:0], True, NO_MARKS, NO_MARKS, False, 0, away, away, longest,
                          edges, self._counts[first:last])
            take(flat, flat[:0], 0, away, rows, indptr, edges, self._out)

        threads.run(piece, threads.cut(self._indptr))
        return *since(start), int(self._indptr[-1])


def blocks(published: PublishedGraph, fanouts: list[int], batch_size: int, prob: str | None = None,
           when: str | None = None) -> Call:
    """Sample and relabel all hops for random seeds, as many of each node type.

    By weights ``prob``, if any; with times ``when`` of the edges, from 0 to 1, and such of the seeds.
    """
    sampler = NeighborSampler(fanouts, prob, edge_timestamp_attr_name=when)
    ntypes = published.schema.ntypes

    def call(repeat):
        rng = np.random.default_rng(repeat)
        seeds = {t: rng.choice(published.book.num_nodes(t), batch_size // len(ntypes), replace=False) for t in ntypes}
        times = None if when is None else {t: rng.random(ids.size) for t, ids in seeds.items()}
        start = now()
        _, _, made = sampler.sample(published, seeds, repeat, times=times)
        return *since(start), sum(block.num_edges() for block in made)
    return call


class SharedTransport(LocalTransport):
    """Arrays in shared memory, which has no huge pages here: what a node's segment is."""

    def __init__(self, specs):
        super().__init__(specs)
        self.arrays = {name: GraphArray(array.spec, array.lo, array.hi, _shared(array.flat), self)
                       for name, array in self.arrays.items()}


def _shared(array):
    handle = os.memfd_create("bench")
    os.ftruncate(handle, max(array.nbytes, 1))
    memory = mmap.mmap(handle, max(array.nbytes, 1))
    os.close(handle)
    shared = np.frombuffer(memory, array.dtype, array.size)
    shared[:] = array
    return shared


def serve(csc: dict, orig: dict, weights: dict | None = None) -> PublishedGraph:
    """Publish the structure of a graph.

    Args:
        csc: (indptr, indices) of each edge type.
        orig: Original ids of each node type.
        weights: Edge data named weight of each edge type that has some.
    """
    book = RangePartitionBook(Schema(tuple(orig), tuple(csc)), {t: np.array([0, ids.size]) for t, ids in orig.items()},
                              {e: np.array([0, indices.size]) for e, (_, indices) in csc.items()})
    arrays = {f"node/{t}/orig_id": ids for t, ids in orig.items()}
    for etype, (indptr, indices) in csc.items():
        small = orig[etype[0]].size < 1 << 31
        arrays[f"edge/{etype_key(etype)}/indptr"] = indptr
        arrays[f"edge/{etype_key(etype)}/indices"] = indices.astype(np.int32 if small else np.int64, copy=False)
    arrays |= {f"edge/{etype_key(etype)}/data/weight": of_type for etype, of_type in (weights or {}).items()}
    infos = {name: ArrayInfo(name, array.dtype, ()) for name, array in arrays.items()}
    transport = SharedTransport(array_specs(book, list(infos.values()), 1, lambda etype, row: csc[etype][0][row]))
    for name, array in arrays.items():
        transport.shard(name)[:] = array
    transport.publish()
    return PublishedGraph(book, infos, transport)


def two_types(csc: tuple[np.ndarray, np.ndarray], orig: np.ndarray) -> tuple[dict, dict]:
    """The same edges among even and odd nodes."""
    indptr, indices = csc
    names = ("even", "odd")
    found = {}
    for d, dst in enumerate(names):
        degree = np.diff(indptr)
        of_type = np.repeat(np.arange(degree.size) % 2 == d, degree)
        for s, src in enumerate(names):
            chosen = of_type & (indices % 2 == s)
            kept = np.concatenate([[0], np.cumsum(chosen)])[indptr]
            counts = np.diff(kept)[d::2]
            found[src, "to", dst] = np.concatenate([[0], np.cumsum(counts)]), (indices[chosen] // 2).astype(np.int32)
    return found, {name: np.arange(orig[t::2].size) for t, name in enumerate(names)}


def read(path: Path) -> tuple[dict, dict]:
    """(indptr, indices) of each edge type, and original ids of each node type."""
    if (path / "indptr.npy").exists():
        indptr, indices = np.load(path / "indptr.npy"), np.load(path / "indices.npy")
        small = indptr.size < 1 << 31
        return ({("node", "to", "node"): (indptr, indices.astype(np.int32 if small else np.int64))},
                {"node": np.arange(indptr.size - 1)})
    path = path / "graph.h5" if path.is_dir() else path
    with h5py.File(path) as graph:
        ntypes = tuple(t.decode() for t in graph["types/ntype"][:])
        etypes = tuple(tuple(part.decode() for part in e) for e in graph["types/etype"][:])
    parts = [h5py.File(p) for p in sorted(path.parent.glob("part-*.h5"))]
    orig = {t: np.concatenate([p[f"node/{t}/orig_id"][:] for p in parts]) for t in ntypes}
    csc = {}
    for etype in etypes:
        base = f"edge/{etype_key(etype)}"
        indptr = np.concatenate([[0], *[p[f"{base}/indptr"][1:] for p in parts]]).astype(np.int64)
        csc[etype] = indptr, np.concatenate([p[f"{base}/indices"][:] for p in parts])
    for part in parts:
        part.close()
    return csc, orig


if __name__ == "__main__":
    main()
