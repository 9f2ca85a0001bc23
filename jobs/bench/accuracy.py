"""How accurate is the model, over several seeds?

    python jobs/bench/accuracy.py [GRAPH] [--np 3] [--seeds 5] [--metric acc] [FLAGS OF train ...]

Runs `mpirun -np N python -m mpignn train` once per seed and prints the mean and spread of a metric on the test split.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import header, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--np", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--metric", default="acc")
    arguments, words = parser.parse_known_args()
    print(header())
    tests, seconds = [], []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            command = [str(Path(sys.executable).parent / "mpirun"), "-np", str(arguments.np), sys.executable, "-m",
                       "mpignn", "train", *words, "--seed", str(seed), "--run-dir", str(run_dir)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            final = json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])
        val, test = (final[f"{split}_{arguments.metric}"] for split in ("val", "test"))
        tests.append(test)
        seconds.append(final["seconds"])
        print(f"seed {seed}: validation {val:.4f}, test {test:.4f}, {final['seconds']:.1f} s", flush=True)
    print(f"test {arguments.metric}: mean {statistics.mean(tests):.4f}, median (min-max) {spread(tests, '.4f')}; "
          f"seconds {spread(seconds)}")


if __name__ == "__main__":
    main()
