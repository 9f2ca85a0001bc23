"""How fast do servers load a graph from a warm page cache, beside dd, and how much memory do they take at most?

    python jobs/bench/load.py GRAPH [--np 2] [--servers-per-node 1] [--runs 5]

GRAPH is a partitioned graph, best of 1 GB or more.  Every run is a whole `mpirun` that trains for no epoch; the
servers' own figures are read from its log, and their peak of resident memory (VmHWM) from /proc.  Between two
runs dd reads the same files: into nothing, where the data never leaves the cache of a core, and into /dev/shm, where,
as for a server, every page must be made first.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import header, spread
from processes import children, rank_of, status


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--np", type=int, default=2)
    parser.add_argument("--servers-per-node", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    print(header())
    files = sorted(arguments.graph.glob("part-*.h5"))
    size = sum(file.stat().st_size for file in files)
    rows: dict[str, list[float]] = {}
    for _ in range(arguments.runs + 1):     # the first warms the cache
        for key, value in (_load(arguments) | {
                "dd to /dev/null": size / _dd(files, "/dev/null") / 1e9,
                "dd to /dev/shm": size / _dd(files, "/dev/shm/mpignn-bench-load") / 1e9}).items():
            rows.setdefault(key, []).append(value)
    print(f"graph: {size / 1e6:.0f} MB")
    rows = {key: values[1:] for key, values in rows.items()}
    for key, unit in (("loading, all servers", "GB/s"), ("dd to /dev/null", "GB/s"), ("dd to /dev/shm", "GB/s"),
                      ("peak of a server", "MiB"), ("1.10 x its share + 300", "MiB")):
        print(f"{key:24s} {spread(rows[key])} {unit}")
    for key in ("dd to /dev/null", "dd to /dev/shm"):
        print(f"{'loading / ' + key:24s} "
              f"{spread([a / b for a, b in zip(rows['loading, all servers'], rows[key], strict=True)])}")


def _load(arguments: argparse.Namespace) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).parent / "mpirun"), "-np", str(arguments.np), sys.executable, "-m",
                   "mpignn", "train", str(arguments.graph), "--epochs", "0",
                   "--servers-per-node", str(arguments.servers_per_node),
                   "--data-path-only", "--log", "debug", "--run-dir", str(Path(folder) / "run")]
        with open(Path(folder) / "log", "w+") as log:
            job = subprocess.Popen(command, stdout=log, stderr=log)
            peaks: dict[int, int] = {}
            while job.poll() is None:
                for pid in children(job.pid):
                    rank = rank_of(pid)
                    if rank is not None and rank < arguments.servers_per_node:
                        peaks[pid] = max(peaks.get(pid, 0), status(pid).get("VmHWM", 0))
                time.sleep(0.02)
            log.seek(0)
            text = log.read()
        if job.returncode:
            sys.exit(f"{' '.join(command)} ended with {job.returncode}\n{text}")
    loads = re.findall(r"loaded and verified ([\d.]+) MB in ([\d.]+) s", text)
    assert len(loads) == arguments.servers_per_node, text
    share = max(float(mb) for mb, _ in loads) * 1e6
    return {"loading, all servers": sum(float(mb) for mb, _ in loads) / max(float(s) for _, s in loads) / 1e3,
            "peak of a server": max(peaks.values()) / 2**20, "1.10 x its share + 300": 1.1 * share / 2**20 + 300}


def _dd(files: list[Path], target: str) -> float:
    started = time.perf_counter()
    for file in files:
        subprocess.run(["dd", f"if={file}", f"of={target}", "bs=1M"], check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    if target != "/dev/null":
        Path(target).unlink()
    return seconds


if __name__ == "__main__":
    main()
