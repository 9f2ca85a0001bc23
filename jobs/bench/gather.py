"""How fast are feature rows gathered, compared with a plain copy of as many bytes?

The table lies in shared memory on 4 KiB pages, as the arrays of a node do; results go to reused private memory,
as the loader's do.  Gather and copy alternate in one process, caches disturbed before each.

    python jobs/bench/gather.py --features GRAPH/features.npy [--rows 166000] [--repeats 15]
"""

import argparse
import mmap
import os
import platform
import statistics
import sys
import time

import numba
import numpy as np

from mpignn.buffers import Pool
from mpignn.kernels import gather


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", required=True, help="a .npy file of rows")
    parser.add_argument("--rows", type=int, default=166_000, help="rows of a batch")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    table = _shared(np.load(options.features, mmap_mode="r"))
    rng = np.random.default_rng(0)
    random = rng.choice(table.shape[0], options.rows, replace=options.rows > table.shape[0])
    jobs = {}
    for order, ids in (("ascending", np.sort(random)), ("random", random)):
        jobs[f"gather_rows, {order} ids"] = lambda out, ids=ids: gather.gather_rows(table, ids, 0, out)
        jobs[f"numpy.take, {order} ids"] = lambda out, ids=ids: np.take(table, ids, axis=0, out=out, mode="clip")
    print(f"$ {' '.join(sys.argv)}\npython {platform.python_version()}, numpy {np.__version__}, "
          f"numba {numba.__version__}, {platform.machine()}, one thread")
    print(f"{table.shape[0]} rows of {table.strides[0]} bytes, {options.rows} gathered, {options.repeats} repeats")
    for name, job in jobs.items():
        _compare(name, job, table, options.rows, options.repeats)


def _compare(name, job, table, rows, repeats) -> None:
    pool = Pool()
    out = pool.empty((rows, table.shape[1]), table.dtype)
    junk = np.zeros(96 << 20, np.uint8)
    job(out)
    speeds, ratios = [], []
    for _ in range(repeats):
        seconds = []
        for call in (job, lambda out: np.copyto(out, table[:rows])):
            junk += 1
            start = time.perf_counter()
            call(out)
            seconds.append(time.perf_counter() - start)
        speeds.append(2 * out.nbytes / seconds[0] / 1e9)
        ratios.append(seconds[1] / seconds[0])
    print(f"{name:28}  GB/s read + written: median {statistics.median(speeds):5.1f}, min {min(speeds):5.1f}   "
          f"of a copy: median {statistics.median(ratios):5.0%}, min {min(ratios):5.0%}")


def _shared(rows: np.ndarray) -> np.ndarray:
    file = os.memfd_create("rows")
    os.ftruncate(file, rows.nbytes)
    shared = np.frombuffer(mmap.mmap(file, rows.nbytes), rows.dtype).reshape(rows.shape)
    shared[:] = rows
    return shared


main()
