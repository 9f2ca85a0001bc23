"""How long does `partition` take of a graph in Parquet with hashed ids, beside the same graph in `.npy` files?

    mpignn synth ARRAYS --nodes 2400000 --avg-degree 51.6
    python jobs/bench/forms.py ARRAYS WORK [--rounds 3] [--core 1] [--parts 4] [--method random]

WORK keeps the Parquet form between runs, and takes 3 times the bytes of ARRAYS.  The forms run in turns, each process
on one core with one thread; told is CPU time of user and system, which other programs on the machine change less than
the time on the clock.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from machine import header, spread

_NODES_OF_A_GROUP = 100_000
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Taken:
    """What a run took: CPU seconds, and the most memory."""

    cpu_s: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arrays", type=Path, help="a graph that `mpignn synth` made")
    parser.add_argument("work", type=Path, help="a folder for files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--parts", default="4")
    parser.add_argument("--method", default="random")
    arguments = parser.parse_args()
    print(header())
    tables = arguments.work / "tables"
    if not tables.exists():
        _write_tables(arguments.arrays, tables)
    sources, taken = {".npy": arguments.arrays, "Parquet": tables}, dict[str, list[Taken]]()
    for _ in range(arguments.rounds):
        for form, source in sources.items():
            taken.setdefault(form, []).append(_partition(source, arguments))
    print(f"{'form':10s} {'CPU seconds':>24s} {'peak MiB':>10s}")
    for form, runs in taken.items():
        seconds, peak = spread([run.cpu_s for run in runs]), max(run.peak_bytes for run in runs)
        print(f"{form:10s} {seconds:>24s} {peak / 2**20:10.0f}")
    first, second = (statistics.median(run.cpu_s for run in runs) for runs in taken.values())
    print(f"Parquet takes {second / first:.2f} times as long")


def _partition(source: Path, arguments: argparse.Namespace) -> Taken:
    """Cut a graph, and remove what comes out."""
    out = arguments.work / "graph"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "mpignn", "partition", str(source), str(out), "--parts", arguments.parts,
               "--method", arguments.method]
    job = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
                           preexec_fn=lambda: os.sched_setaffinity(0, [arguments.core]))
    _, status, used = os.wait4(job.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    shutil.rmtree(out)
    return Taken(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def _write_tables(arrays: Path, out: Path) -> None:
    """The graph as two tables: nodes by ids that are hashes of their numbers, and edges between such ids."""
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)

    def mapped(name: str) -> np.ndarray:
        return np.load(arrays / f"{name}.npy", mmap_mode="r")

    bounds, num_nodes = mapped("indptr"), len(mapped("labels"))
    groups = [(first, min(num_nodes, first + _NODES_OF_A_GROUP)) for first in range(0, num_nodes, _NODES_OF_A_GROUP)]
    with pq.ParquetWriter(part / "edges.parquet", pa.schema([("src", pa.int64()), ("dst", pa.int64())])) as file:
        for first, last in groups:
            dst = np.repeat(np.arange(first, last), np.diff(bounds[first:last + 1]))
            file.write_table(pa.table({"src": _hashed(mapped("indices")[bounds[first]:bounds[last]]),
                                       "dst": _hashed(dst)}))
    split = np.select([mapped(f"{name}_mask") for name in ("train", "val", "test")], ["train", "val", "test"], "none")
    schema = pa.schema([("id", pa.int64()), ("label", pa.int64()), ("split", pa.string()),
                        ("features", pa.list_(pa.float32()))])
    with pq.ParquetWriter(part / "nodes.parquet", schema) as file:
        for first, last in groups:
            rows = mapped("features")[first:last]
            lists = pa.ListArray.from_arrays(
                pa.array(np.arange(len(rows) + 1, dtype=np.int32) * np.int32(rows.shape[1])),
                pa.array(rows.reshape(-1)))
            columns = [_hashed(np.arange(first, last)), mapped("labels")[first:last], split[first:last], lists]
            file.write_table(pa.table(columns, schema=schema))
    part.rename(out)


def _hashed(numbers: np.ndarray) -> np.ndarray:
    """Ids without order that fit int64; no two numbers get the same."""
    hashed: np.ndarray = (numbers.astype(np.uint64) * _GOLDEN >> np.uint64(1)).astype(np.int64)
    return hashed


if __name__ == "__main__":
    main()
