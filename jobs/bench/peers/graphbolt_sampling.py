"""Draws neighbors with GraphBolt, in DGL's environment, as often as it is asked on standard input.

`jobs/bench/vs_graphbolt.py` starts it: GRAPH THREADS BATCH_SIZE FANOUTS.  A line asks for one kind of work and has the
number of the repeat; the answer is a line of JSON: seconds, CPU seconds, edges.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dgl.graphbolt as gb
import numpy as np
import torch
from arrays import read

SEEDS = 20_000      # of one hop


def main() -> None:
    folder, threads, batch_size, given = sys.argv[1:]
    torch.set_num_threads(int(threads))
    fanouts = [int(fanout) for fanout in given.split(",")]
    indptr, indices = read(Path(folder), "indptr"), read(Path(folder), "indices")
    weights = torch.from_numpy(np.random.default_rng(0).random(len(indices), np.float32))
    graph = gb.fused_csc_sampling_graph(indptr, indices.int(), edge_attributes={"weight": weights})
    typed, size = _two_types(indptr, indices), int(batch_size)
    half = [torch.full((4,), -(-fanout // 2)) for fanout in fanouts]
    kinds: dict[str, Callable[[int], int]] = {
        **{f"one hop, fanout {fanout}": _one_hop(graph, fanout) for fanout in (10, 25)},
        "batches": _batches(graph, fanouts, size), "weighted batches": _batches(graph, fanouts, size, "weight"),
        "batches of two node types": _batches(typed, half, size)}
    for line in sys.stdin:
        repeat, kind = line.strip().split(" ", 1)
        began, cpu = time.perf_counter(), time.process_time()
        edges = kinds[kind](int(repeat))
        print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, edges]), flush=True)


def _one_hop(graph: gb.FusedCSCSamplingGraph, fanout: int) -> Callable[[int], int]:
    def call(repeat: int) -> int:
        return len(graph.sample_neighbors(_seeds(graph.total_num_nodes, SEEDS, repeat),
                                          torch.tensor([fanout])).sampled_csc.indices)
    return call


def _batches(graph: gb.FusedCSCSamplingGraph, fanouts: list, size: int, prob: str | None = None
             ) -> Callable[[int], int]:
    """Draw and compact all hops of one batch, with as many seeds of each node type."""
    def call(repeat: int) -> int:
        count = graph.num_nodes
        if isinstance(count, int):
            seeds = gb.ItemSet(_seeds(count, size, repeat), names="seed_nodes")
        else:
            seeds = gb.ItemSetDict({ntype: gb.ItemSet(_seeds(n, size // len(count), repeat), names="seed_nodes")
                                    for ntype, n in count.items()})
        pipe = gb.ItemSampler(seeds, batch_size=size).sample_neighbor(graph, fanouts, prob_name=prob)
        (batch,) = gb.DataLoader(pipe, num_workers=0)
        return sum(_count(layer.sampled_csc) for layer in batch.sampled_subgraphs)
    return call


def _count(csc: gb.CSCFormatBase | dict[str, gb.CSCFormatBase]) -> int:
    return sum(len(part.indices) for part in (csc.values() if isinstance(csc, dict) else (csc,)))


def _seeds(num_nodes: int, count: int, repeat: int) -> torch.Tensor:
    found = np.random.default_rng(repeat).choice(num_nodes, min(count, num_nodes), replace=False)
    return torch.from_numpy(found.astype(np.int32))


def _two_types(indptr: torch.Tensor, indices: torch.Tensor) -> gb.FusedCSCSamplingGraph:
    """The same edges among even and odd nodes, each row's by type, as GraphBolt wants them."""
    nodes = len(indptr) - 1
    even = -(-nodes // 2)
    degree = np.diff(indptr.numpy())
    dst, src = np.repeat(np.arange(nodes), degree), indices.numpy()
    new_dst, odd = dst // 2 + dst % 2 * even, src % 2
    order = np.lexsort((odd, new_dst))
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([degree[::2], degree[1::2]]))])
    types = (dst % 2 * 2 + odd)[order].astype(np.uint8)
    return gb.fused_csc_sampling_graph(
        torch.from_numpy(bounds), torch.from_numpy((src // 2 + odd * even)[order].astype(np.int32)),
        node_type_offset=torch.tensor([0, even, nodes]), type_per_edge=torch.from_numpy(types),
        node_type_to_id={"even": 0, "odd": 1},
        edge_type_to_id={f"{s}:to:{d}": number for number, (d, s) in enumerate(
            (d, s) for d in ("even", "odd") for s in ("even", "odd"))})


if __name__ == "__main__":
    main()
