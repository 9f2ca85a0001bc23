"""How fast are a mean over in-edges and attention, forward and backward, compared with torch's embedding_bag?

Mean, two shapes: first and second block of a three-layer job on a graph of 2.4 million nodes.  Attention, one shape:
edge softmax and weighted sum of 4 heads of 64 columns, compared with the mean of as many columns and with torch
operators.  In each: sources are drawn uniformly, fixed number of in-edges.  All alternate in one process, one thread,
caches disturbed before each.

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
from mpignn.kernels import threads
from mpignn.nn import edges
from mpignn.nn.message import copy_u_mean, self_and_mean

SHAPES = ((150_000, 600_000, 5, 100), (16_000, 150_000, 10, 256))       # destinations, sources, in-edges, columns
ATTENTION = 14_200, 87_000, 10, 4, 64       # destinations, sources, in-edges, heads, columns of a head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threads.set_num_threads(1)
    print(f"$ {' '.join(sys.argv)}\npython {platform.python_version()}, torch {torch.__version__}, "
          f"numba {numba.__version__}, {platform.machine()}, one thread, {options.repeats} repeats")
    for shape in SHAPES:
        _measure(*shape, options.repeats)
    _attention(*ATTENTION, options.repeats)


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


def _attention(num_dst: int, num_src: int, degree: int, heads: int, columns: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    csc = CSC(np.arange(num_dst + 1, dtype=np.int64) * degree,
              rng.integers(0, num_src, num_dst * degree).astype(np.int32))
    x = torch.from_numpy(rng.standard_normal((num_src, heads, columns), np.float32)).requires_grad_()
    left = torch.from_numpy(rng.standard_normal((num_src, heads), np.float32)).requires_grad_()
    right = torch.from_numpy(rng.standard_normal((num_dst, heads), np.float32)).requires_grad_()
    grad = torch.from_numpy(rng.standard_normal((num_dst, heads, columns), np.float32))
    src = torch.from_numpy(csc.indices).long()
    dst = torch.arange(num_dst).repeat_interleave(degree)

    def ours():
        logits = torch.nn.functional.leaky_relu(edges.from_src(csc, left) + edges.from_dst(csc, right), 0.2)
        return edges.weighted_sum(csc, x, edges.edge_softmax(csc, logits))

    def plain():
        logits = torch.nn.functional.leaky_relu(left[src] + right[dst], 0.2)
        top = torch.zeros_like(right).index_reduce(0, dst, logits.detach(), "amax", include_self=False)
        power = (logits - top[dst]).exp()
        share = power / torch.zeros_like(right).index_add(0, dst, power)[dst]
        return torch.zeros_like(grad).index_add(0, dst, x[src] * share[:, :, None])

    def mean():
        own, neigh = self_and_mean(csc, x.view(num_src, -1))
        return (own + neigh).view_as(grad)
    jobs = {"mean": mean, "attention": ours, "torch": plain}
    torch.testing.assert_close(ours(), plain(), rtol=1e-4, atol=1e-4)
    junk = torch.zeros(96 << 20, dtype=torch.uint8)
    times = {name: [] for name in jobs}
    for _ in range(repeats + 1):
        for name, job in jobs.items():
            junk += 1
            start = time.perf_counter()
            job().backward(grad)
            times[name].append(time.perf_counter() - start)
    print(f"{num_dst} destinations, {num_src} sources, {num_dst * degree} edges, {heads} heads of {columns} columns")
    for name in ("mean", "torch"):
        ratios = [a / b for a, b in zip(times["attention"][1:], times[name][1:], strict=True)]
        print(f"  forward + backward  attention {_ms(times['attention'][1:])}   {name} {_ms(times[name][1:])}   "
              f"ratio: median {statistics.median(ratios):.2f}, max {max(ratios):.2f}")


def _ms(seconds: list[float]) -> str:
    return f"median {statistics.median(seconds) * 1e3:6.1f}, min {min(seconds) * 1e3:6.1f} ms"


main()
