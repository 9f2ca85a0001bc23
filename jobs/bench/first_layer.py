"""What would the first layer gain if it read features where they lie, and not gathered rows?

    python jobs/bench/first_layer.py GRAPH [--batches 9] [--fanouts 5,10,15]

In one process, whose memory holds all rows.  Gathered: the rows of a batch's sources are copied side by side, then
summed along the edges, as a batch of the loader is.  In place: positions of sources become rows of the graph's own
array, along whose edges is summed, next to a copy of the destinations' rows.  Both give the two halves of what the
layer's matrix product reads, with the same bits.  Beside them the whole step of a 3-layer GraphSAGE of 256 columns:
sampling, gathering, forward, backward, update.  All alternate, one thread.
"""

import argparse
import time

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import mpignn as mg
from machine import header, spread
from mpignn.buffers import Pool
from mpignn.kernels import threads
from mpignn.kernels.gather import gather_rows
from mpignn.kernels.segment import segment_sum
from mpignn.train.optimizer import Adam, FlatParameters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--batches", type=int, default=9)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    options = parser.parse_args()
    print(f"{header()}\none thread, {options.batches} batches; ms: median (min-max)", flush=True)
    mg.run(lambda g, world: _measure(g, options), options.graph, log="warning")


def _measure(g, options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    threads.set_num_threads(1)
    fanouts = [int(fanout) for fanout in options.fanouts.split(",")]
    table = g.ndata["features"].local.numpy()
    sampler = mg.NeighborSampler(fanouts, prefetch_node_feats=["features"], prefetch_labels=["labels"])
    loader = mg.NodeDataLoader(g, g.split("train"), sampler, batch_size=1000, shuffle=True, prefetch=1)
    model = mg.nn.GraphSAGE(table.shape[1], 256, 64, len(fanouts), dropout=0.5)
    parameters = FlatParameters(model.parameters())
    optimizer, pool = Adam(parameters, 0.003), Pool()
    times: dict[str, list[float]] = {"gathered": [], "in place": [], "step": []}
    began = time.perf_counter()
    for number, (_, _, blocks) in enumerate(loader):
        parameters.grad.zero_()
        logits = model(blocks, blocks[0].srcdata["features"])
        cross_entropy(logits, blocks[-1].dstdata["labels"] % 64).backward()
        optimizer.step()
        stepped = time.perf_counter()
        (ntype,), (csc,) = blocks[0].src_ids, blocks[0].csc.values()
        ids, columns = blocks[0].src_ids[ntype], table.shape[1]
        found = {}
        for name, way in (("gathered", _gathered), ("in place", _in_place)):
            both = pool.empty((csc.num_dst, 2 * columns), np.float32)
            start = time.perf_counter()
            way(table, ids, csc, both[:, :columns], both[:, columns:], pool)
            times[name].append(time.perf_counter() - start)
            found[name] = both
        assert np.array_equal(found["gathered"], found["in place"])
        times["step"].append(stepped - began)
        if number == options.batches:
            break
        began = time.perf_counter()
    print(f"{ids.size} sources, {csc.num_dst} destinations, {csc.num_edges} edges, {columns} columns")
    for name, of_name in times.items():
        print(f"{name:10} {spread([1e3 * t for t in of_name[1:]], '.1f')}")
    gains = [100 * (a - b) / c for a, b, c in zip(*(times[name][1:] for name in times), strict=True)]
    print(f"in place saves of the step, %: {spread(gains, '.1f')}")


def _gathered(table, ids, csc, own, total, pool) -> None:
    rows = pool.empty((ids.size, table.shape[1]), np.float32)
    gather_rows(table, ids, 0, rows)
    segment_sum(csc.indptr, csc.indices, rows, total, own=own, mean=True)


def _in_place(table, ids, csc, own, total, pool) -> None:
    segment_sum(csc.indptr, ids[csc.indices], table, total, mean=True)
    segment_sum(np.arange(csc.num_dst + 1), ids[:csc.num_dst], table, own)


if __name__ == "__main__":
    main()
