"""How many rows of other nodes does an epoch fetch, by what each node holds copies of?

    python jobs/bench/cache.py GRAPH [--np 4] [--cache 10%] [--batch-size 1000]

Starts a job on simulated nodes for each policy, which samples and fetches, without a model.  All make the same passes;
rows are those of the last one, of all trainers together, times are of the slowest trainer, without the first pass.
"""

import argparse
import json
import subprocess
import sys
import time

import mpignn as mg
from machine import header, spread

POLICIES = ("none", "degree", "vip", "schedule")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--np", type=int, default=4, help="ranks")
    parser.add_argument("--ranks-per-node", type=int, default=1)
    parser.add_argument("--servers-per-node", type=int, default=0)
    parser.add_argument("--cache", default="10%")
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--prefetch", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--access", default="owner")
    parser.add_argument("--mpirun", default="mpirun")
    parser.add_argument("--policies", default=",".join(POLICIES))
    parser.add_argument("--policy", help="what is measured in this process, as a rank of a job")
    options = parser.parse_args()
    if options.policy is not None:
        measure(options)
        return
    print(header())
    print(f"{options.np} ranks, {options.ranks_per_node} a node, {options.servers_per_node} of them servers; fanouts "
          f"{options.fanouts}, batches of {options.batch_size} a trainer, {options.prefetch} prepared together; cache "
          f"{options.cache}")
    base = None
    for policy in options.policies.split(","):
        done = subprocess.run([options.mpirun, "-np", str(options.np), sys.executable, *sys.argv, "--policy", policy],
                              stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        base = found["remote"] if base is None else base
        share = found["cache"] / max(1, found["cache"] + found["remote"])
        print(f"{policy:8s} {found['remote']:12,d} rows of other nodes an epoch, {base / max(1, found['remote']):.2f} "
              f"x fewer than the first; {100 * share:.1f} % from copies; epochs {spread(found['epochs'])} s",
              flush=True)


def measure(options) -> None:
    settings = {} if options.policy == "none" else {"cache": options.cache, "cache_policy": options.policy}

    def work(g, world) -> None:
        sampler = mg.NeighborSampler([int(f) for f in options.fanouts.split(",")], prefetch_node_feats=["features"])
        loader = mg.NodeDataLoader(g, g.split("train"), sampler, batch_size=options.batch_size, shuffle=True,
                                   prefetch=options.prefetch)
        seconds = []
        for epoch in range(options.epochs):
            loader.set_epoch(epoch)
            g.trainers.barrier()
            g.stats(reset=True)
            started = time.perf_counter()
            for _ in loader:
                pass
            seconds.append(max(g.trainers.allgather(time.perf_counter() - started)))
        moved = g.trainers.allgather([g.stats().rows("feature", target=target) for target in ("remote", "cache")])
        if world.trainer_index == 0:
            print(json.dumps({"remote": sum(rows for rows, _ in moved), "cache": sum(rows for _, rows in moved),
                              "epochs": seconds[1:]}), flush=True)

    mg.run(work, graph=options.graph, ranks_per_node=options.ranks_per_node, access=options.access, log="warning",
           servers_per_node=options.servers_per_node, batch_size=options.batch_size, prefetch=options.prefetch,
           fanouts=options.fanouts, **settings)


if __name__ == "__main__":
    main()
