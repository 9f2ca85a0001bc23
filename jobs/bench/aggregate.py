"""How fast is a mean over in-edges, forward and backward, compared with torch's embedding_bag?

Two shapes: first and second block of a three-layer job on a graph of 2.4 million nodes.  In each: sources are drawn
uniformly, fixed number of in-edges.  Both alternate in one process, one thread, caches disturbed before each.

    python jobs/bench/aggregate.py [--repeats 9]
"""

import argparse
import platform
import statistics
import sys
import time

import numba
import numpy as np
import torch
from torch.nn.functional import embedding_bag

from mpignn.graph.csc import CSC
from mpignn.nn.message import copy_u_mean

SHAPES = ((150_000, 600_000, 5, 100), (16_000, 150_000, 10, 256))       # destinations, sources, in-edges, columns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"$ {' '.join(sys.argv)}\npython {platform.python_version()}, torch {torch.__version__}, "
          f"numba {numba.__version__}, {platform.machine()}, one thread, {options.repeats} repeats")
    for shape in SHAPES:
        _measure(*shape, options.repeats)


def _measure(num_dst: int, num_src: int, degree: int, columns: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    csc = CSC(np.arange(num_dst + 1, dtype=np.int64) * degree,
              rng.integers(0, num_src, num_dst * degree).astype(np.int32))
    indices, offsets = torch.from_numpy(csc.indices).long(), torch.from_numpy(csc.indptr[:-1])
    x = torch.from_numpy(rng.standard_normal((num_src, columns), np.float32)).requires_grad_()
    grad = torch.from_numpy(rng.standard_normal((num_dst, columns), np.float32))
    jobs = {"ours": lambda: copy_u_mean(csc, x), "bag": lambda: embedding_bag(indices, x, offsets, mode="mean")}
    torch.testing.assert_close(*(job() for job in jobs.values()))
    junk = torch.zeros(96 << 20, dtype=torch.uint8)
    times = {(name, part): [] for name in jobs for part in ("forward", "both")}
    for _ in range(repeats + 1):
        for name, job in jobs.items():
            junk += 1
            x.grad = None
            start = time.perf_counter()
            out = job()
            middle = time.perf_counter()
            out.backward(grad)
            times[name, "forward"].append(middle - start)
            times[name, "both"].append(time.perf_counter() - start)
    print(f"{num_dst} destinations, {num_src} sources, {num_dst * degree} edges, {columns} float32 columns")
    for part, title in (("forward", "forward"), ("both", "forward + backward")):
        ours, bag = (times[name, part][1:] for name in ("ours", "bag"))
        ratios = [b / o for b, o in zip(bag, ours, strict=True)]
        print(f"  {title:18}  ours {_ms(ours)}   embedding_bag {_ms(bag)}   "
              f"ratio: median {statistics.median(ratios):.2f}, min {min(ratios):.2f}")


def _ms(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1e3:6.1f}, min {min(seconds) * 1e3:6.1f} ms"


main()
