"""How long does it take to give the nodes of one hop their positions in a block, by the number of nodes of the graph?

Edges are drawn at random from all nodes, the worst case.  Bitmaps are taken up to 4 M nodes, sorting beyond; what is
timed lies outside the caches before.  All sizes take turns.

    python jobs/bench/positions.py [--edges 200000] [--dst 20000] [--nodes 2.4e6 16e6 111e6 500e6] [--repeats 21]
"""

import argparse
import time

import numpy as np

from machine import header, spread
from mpignn.buffers import Pool
from mpignn.kernels.relabel import mark
from mpignn.sampling.positions import positions

_CACHES = 8 << 20       # numbers of 8 bytes, more than all caches hold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edges", type=int, default=200_000)
    parser.add_argument("--dst", type=int, default=20_000, help="destinations of the hop")
    parser.add_argument("--nodes", type=float, nargs="+", default=[2.4e6, 16e6, 111e6, 500e6], help="of the graph")
    parser.add_argument("--repeats", type=int, default=21)
    options = parser.parse_args()
    print(header())
    rng, pool, other = np.random.default_rng(0), Pool(), np.empty(_CACHES)
    made = {int(nodes): positions(int(nodes)) for nodes in options.nodes}
    seconds = {nodes: [] for nodes in made}
    for repeat in range(options.repeats + 1):
        for nodes, found in made.items():
            dst = rng.permutation(np.unique(rng.integers(0, nodes, options.dst)))
            neighbors = rng.integers(0, nodes, options.edges).astype(np.int32)
            other[:] = repeat
            began = time.perf_counter()
            mark(neighbors, found.seen[0])
            found.place(dst, [neighbors], pool)
            if repeat:      # the first one compiles
                seconds[nodes].append(time.perf_counter() - began)
    first = np.median(next(iter(seconds.values())))
    for nodes, taken in seconds.items():
        print(f"{nodes:>13,} nodes: {spread([1e3 * t for t in taken])} ms, {np.median(taken) / first:.2f} of the first")


if __name__ == "__main__":
    main()
