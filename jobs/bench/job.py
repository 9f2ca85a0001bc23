"""How soon does a job deliver its first batch, how fast is its data path, and how much memory do all ranks take?

    python jobs/bench/job.py GRAPH [--np 2] [--runs 5] [--with-model]

GRAPH is a partitioned graph.  Every run is a whole `mpirun`; the first, which may compile kernels, is not counted.
First batch: from starting mpirun until the first step stands in metrics.jsonl.  Memory: the peak of the summed
PSS of all ranks, read every 50 ms.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from machine import header, spread
from mpignn.storage.read import GraphFile
from processes import children, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--np", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--with-model", action="store_true", help="train instead of only moving the data")
    arguments = parser.parse_args()
    print(header())
    with GraphFile(arguments.graph) as file:
        size = sum(part.stat().st_size for part in file.path.parent.glob("part-*.h5"))
        width = file.infos[f"node/{file.schema.ntypes[0]}/data/features"]
    row_bytes = width.width * width.dtype.itemsize
    runs = [_run(arguments, row_bytes) for _ in range(arguments.runs + 1)][1:]
    print(f"graph: {size / 2**20:.0f} MiB")
    for key, unit in (("first batch", "s"), ("sampling + relabelling", "M edges/s"), ("feature fetch", "GB/s"),
                      ("plain copy beside it", "GB/s"), ("fetch / copy", ""), ("epoch", "s"), ("whole job", "s"),
                      ("peak PSS of all ranks", "MiB")):
        print(f"{key:24s} {spread([run[key] for run in runs])} {unit}")
    servers, trainers = 1, max(1, arguments.np - 1)
    limit = 1.6 * size / 2**20 + 150 * servers + 450 * trainers
    print(f"{'1.6 x graph + 150 MiB per server + 450 MiB per trainer':24s} {limit:.0f} MiB")


def _run(arguments: argparse.Namespace, row_bytes: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        command = ["mpirun", "-np", str(arguments.np), sys.executable, "-m", "mpignn", "train", str(arguments.graph),
                   "--fanouts", arguments.fanouts, "--batch-size", str(arguments.batch_size),
                   "--epochs", str(arguments.epochs), "--run-dir", str(run_dir)]
        if not arguments.with_model:
            command.append("--data-path-only")
        command[0] = str(Path(sys.executable).parent / "mpirun")
        started, first, peak = time.perf_counter(), None, 0
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while job.poll() is None:
            if first is None and b'"step"' in _read(run_dir / "metrics.jsonl"):
                first = time.perf_counter() - started
            peak = max(peak, sum(memory(pid) for pid in children(job.pid)))
            time.sleep(0.01 if first is None else 0.05)
        seconds = time.perf_counter() - started
        if job.returncode:
            sys.exit(f"{' '.join(command)} ended with {job.returncode}")
        events = [json.loads(line) for line in _read(run_dir / "metrics.jsonl").splitlines()]
    last = [event for event in events if event["event"] == "epoch"][-1]
    trainers = len(last["seeds_per_trainer"])
    fetch = 2 * last["rows"] / trainers * row_bytes / last["fetch_s"] / 1e9
    copy = _copy_speed(int(last["rows"] / trainers / (last["seeds"] / trainers / arguments.batch_size)) * row_bytes)
    return {"first batch": first, "sampling + relabelling": last["edges"] / trainers / last["sample_s"] / 1e6,
            "feature fetch": fetch, "plain copy beside it": copy, "fetch / copy": fetch / copy,
            "epoch": last["seconds"], "whole job": seconds, "peak PSS of all ranks": peak / 2**20}


def _copy_speed(size: int) -> float:
    """GB/s, read and written, of copying ``size`` bytes between two arrays that no cache holds."""
    source, target, other = np.ones(size // 8), np.ones(size // 8), np.ones(64 << 17)
    times = []
    for _ in range(5):
        other += 1
        started = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - started)
    return 2 * source.nbytes / sorted(times)[2] / 1e9


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


if __name__ == "__main__":
    main()
