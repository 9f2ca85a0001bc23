"""How soon is a job gone that is asked to stop, at whatever moment?

    python jobs/bench/stop.py GRAPH [--np 3] [--moments 1,2,3,5,8,13] [--cold] [ARGUMENTS OF mpignn train]

One job after the other on GRAPH; each gets SIGUSR1, by way of its launcher, so many seconds after it was started, and
its end is timed.  ``--cold``: with an empty cache of kernels, so that early moments meet the compiler.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import header, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--np", type=int, default=3)
    parser.add_argument("--moments", default="1,2,3,5,8,13", help="seconds after the start")
    parser.add_argument("--cold", action="store_true")
    arguments, more = parser.parse_known_args()
    print(header())
    took = []
    for moment in map(float, arguments.moments.split(",")):
        seconds, code, doing = _stop(arguments, moment, more)
        took.append(seconds)
        print(f"asked after {moment:5.1f} s: gone {seconds:5.2f} s later, exit code {code}; {doing}", flush=True)
    print(f"all: {spread(took)} s")


def _stop(arguments: argparse.Namespace, moment: float, more: list[str]) -> tuple[float, int, str]:
    """One job; returns the seconds that it took to end, its exit code, and what it said last."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"NUMBA_CACHE_DIR": f"{folder}/kernels"} if arguments.cold else {}
        launched = subprocess.Popen(
            [Path(sys.executable).parent / "mpirun", "-np", str(arguments.np), sys.executable, "-m", "mpignn", "train",
             arguments.graph, "--run-dir", f"{folder}/run", "--epochs", "100000", *more],
            env=os.environ | variables, stderr=subprocess.PIPE, text=True, errors="replace")
        time.sleep(moment)
        asked = time.perf_counter()
        launched.send_signal(signal.SIGUSR1)
        _, said = launched.communicate()
        seconds = time.perf_counter() - asked
    found = re.findall(r"mpignn: (stopped: [^;]*|error: .*)", said)
    return seconds, launched.returncode, found[-1] if found else (said.strip().splitlines() or ["nothing said"])[-1]


if __name__ == "__main__":
    main()
