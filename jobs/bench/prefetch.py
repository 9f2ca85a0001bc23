"""How long does a step wait for other nodes if k batches are prepared together, and how many round trips does it make?

    mpirun -np N python jobs/bench/prefetch.py GRAPH [--prefetch 1,2,4] [--hidden 256]
    HOSTS_DELAY=1ms jobs/bench/on-hosts.sh mpich jobs/bench/prefetch.py GRAPH

The second is on two hosts whose messages take a millisecond more each way.  Every round goes through the same steps
with each k in turn, with and without a thread beside; with --hidden each step is one of training GraphSAGE.  Figures
are of the slowest trainer.
"""

import argparse
import time

import numpy as np
import torch

import mpignn as mg
from machine import header, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--prefetch", default="1,2,4")
    parser.add_argument("--hidden", type=int, default=0, help="width of the model; 0: data only")
    parser.add_argument("--fanouts", default="10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--access", default="rma")
    options = parser.parse_args()
    mg.run(lambda g, _: measure(g, options), graph=options.graph, access=options.access)


def measure(g, options) -> None:
    fanouts = [int(f) for f in options.fanouts.split(",")]
    seeds = g.split("train")[:options.steps * options.batch_size * g.trainers.size]
    sampler = mg.NeighborSampler(fanouts, prefetch_node_feats=["features"])
    ways = [(int(k), thread) for k in options.prefetch.split(",") for thread in (False, True)]
    loaders = {way: mg.NodeDataLoader(g, seeds, sampler, batch_size=options.batch_size, shuffle=True, prefetch=way[0],
                                      thread=way[1]) for way in ways}
    times = {way: [] for way in ways}
    model = None
    if options.hidden:
        model = mg.nn.GraphSAGE(g.ndata["features"].shape[1], options.hidden, 47, num_layers=len(fanouts))
    trips = {}
    for turn in range(options.rounds + 1):
        for way, loader in loaders.items():
            g.trainers.barrier()
            g.stats(reset=True)
            seconds = _pass(loader, model)
            calls = g.stats().calls(target="remote") / len(loader) / max(1, len(g.topology.nodes) - 1)
            slowest = max(g.trainers.allgather(seconds))
            trips[way] = max(g.trainers.allgather(calls))
            if turn:        # the first warms up
                times[way].append(slowest / len(loader) * 1e3)
    if g.trainers.rank:
        return
    print(header())
    print(f"{len(g.topology.nodes)} nodes, {g.trainers.size} trainers, {options.steps} steps of {options.batch_size} "
          f"seeds each, fanouts {options.fanouts}, hidden {options.hidden}, {torch.get_num_threads()} threads")
    base = np.median(times[ways[0]])
    for (k, thread), of_way in times.items():
        print(f"prefetch {k}, {'thread' if thread else 'in turn'}: {spread(of_way)} ms a step, "
              f"{np.median(of_way) / base:.2f} x prefetch {ways[0][0]}; {trips[k, thread]:.2f} round trips a step and "
              f"node, at most ({2 * len(fanouts)} + 1)/{k} = {(2 * len(fanouts) + 1) / k:.2f}")


def _pass(loader, model) -> float:
    started = time.perf_counter()
    for _, _, blocks in loader:
        if model is not None:
            model(blocks, blocks[0].srcdata["features"]).sum().backward()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
