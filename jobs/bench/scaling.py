"""How much faster is an epoch with more trainers?

    python jobs/bench/scaling.py GRAPH [--trainers 1,2,4,8] [--global-batch-size 8000] [--runs 3] [-- OPTIONS OF train]

GRAPH is a partitioned graph.  One server and so many trainers, which have the cores of the machine between them, share
a global batch of one size, so all runs make the same steps.  The time of an epoch is that of the last of two, without
validation; the sums of edges and rows over the trainers tell what is drawn and fetched more than once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from machine import header


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--trainers", default="1,2,4,8")
    parser.add_argument("--global-batch-size", type=int, default=8000)
    parser.add_argument("--runs", type=int, default=3)
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:end])
    arguments.options = words[end + 1:]
    print(header())
    print(f"{arguments.graph.name}, global batches of {arguments.global_batch_size}, {' '.join(arguments.options)}")
    print(f"{'trainers':>8s} {'epoch s':>8s} {'of all runs':>14s} {'speed-up':>8s} {'sample':>7s} {'fetch':>7s} "
          f"{'compute':>7s} {'sync':>7s} {'edges':>6s} {'rows':>6s}")
    numbers, first = [int(number) for number in arguments.trainers.split(",")], None
    for number in numbers:
        runs = sorted((_run(arguments, number) for _ in range(arguments.runs)), key=lambda run: run["seconds"])
        middle = runs[len(runs) // 2]
        first = first or middle
        print(f"{number:8d} {middle['seconds']:8.3f} {runs[0]['seconds']:6.3f}-{runs[-1]['seconds']:.3f} "
              f"{first['seconds'] / middle['seconds']:8.2f} "
              + " ".join(f"{median(run[f'{what}_s'] for run in runs):7.3f}" for what in
                         ("sample", "fetch", "compute", "sync"))
              + "".join(f" {middle[what] / first[what]:6.2f}" for what in ("edges", "rows")), flush=True)


def _run(arguments: argparse.Namespace, trainers: int) -> dict[str, float]:
    """The last epoch's event of one job."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        beside = Path(sys.executable).parent / "mpirun"
        command = [str(beside) if beside.exists() else "mpirun", "-np", str(trainers + 1), sys.executable, "-m",
                   "mpignn", "train", str(arguments.graph), "--global-batch-size", str(arguments.global_batch_size),
                   "--epochs", "2", "--eval-every", "0", "--run-dir", str(run_dir), *arguments.options]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [event for event in events if event["event"] == "epoch"][-1]


if __name__ == "__main__":
    main()
