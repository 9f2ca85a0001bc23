"""What does a job cost before its first step: seconds, CPU of each role, and calls to the file system?

    python jobs/bench/start.py GRAPH [--np 3] [--runs 5] [--cold | --fresh] [ARGUMENTS OF mpignn train]

GRAPH is a small partitioned graph, trained for an epoch with the mpirun beside this Python.  The first step counts when
it stands in metrics.jsonl; CPU and calls are those of whole ranks.  The first run, which may compile kernels, is not
counted.  ``--cold``: each has an empty cache of kernels.  ``--fresh``: each is the first job of a new installation of
the program, after `mpignn warmup`, whose time is told as well.  Calls that take a path are counted by strace in a run
of its own, if it is installed.
"""

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from machine import header, spread

# Starts a rank and notes what it has used.  By itself it takes a hundredth of a second.
_RANK = """import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
rank = os.environ.get("PMI_RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or "0"
open(f"{sys.argv[1]}/cpu.{rank}", "w").write(str(used.ru_utime + used.ru_stime))
sys.exit(os.waitstatus_to_exitcode(status))
"""
_COUNTED = """exec strace -f -qq -c -e trace=%%file -o %s/calls.${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}} "$@" """


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph")
    parser.add_argument("--np", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    new = parser.add_mutually_exclusive_group()
    new.add_argument("--cold", action="store_true")
    new.add_argument("--fresh", action="store_true")
    arguments, more = parser.parse_known_args()
    print(header())
    unwarmed = not arguments.cold and not arguments.fresh
    runs = [_timed(arguments, more) for _ in range(arguments.runs + unwarmed)][-arguments.runs:]
    for key in runs[0]:
        print(f"{key:24s} {spread([run[key] for run in runs])} s", flush=True)
    if shutil.which("strace") and unwarmed:
        for role, (all_calls, looks) in _counted(arguments, more).items():
            print(f"calls of a {role:13s} {all_calls}, of these {looks} of the kind of stat")


def _timed(arguments: argparse.Namespace, more: Sequence[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = _command(arguments, more, folder, [sys.executable, "-S", "-E", "-c", _RANK, folder])
        environment = _environment(arguments, folder)
        warmed = {"warmup": _warm_up(environment)} if arguments.fresh else {}
        metrics, first, started = Path(folder, "run", "metrics.jsonl"), None, time.perf_counter()
        job = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while job.poll() is None:
            if first is None and metrics.exists() and b'"step"' in metrics.read_bytes():
                first = time.perf_counter() - started
            time.sleep(0.01)
        seconds = time.perf_counter() - started
        if job.returncode or first is None:
            sys.exit(f"{' '.join(command)} ended with {job.returncode}")
        server, *trainers = [float(Path(folder, f"cpu.{rank}").read_text()) for rank in range(arguments.np)]
    return {**warmed, "first step": first, "whole job": seconds, "CPU of the server": server,
            "CPU of a trainer": mean(trainers)}


def _warm_up(environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mpignn", "warmup"], env=environment, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def _counted(arguments: argparse.Namespace, more: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Calls with a path, and those that only look at a file, by role."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(_command(arguments, more, folder, ["sh", "-c", _COUNTED % folder, "sh"]), check=True,
                       env=_environment(arguments, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        counts = [_read(Path(folder, f"calls.{rank}").read_text()) for rank in range(arguments.np)]
    return {"server": counts[0], "trainer": counts[-1]}


def _read(table: str) -> tuple[int, int]:
    calls = {line.split()[-1]: int(line.split()[3]) for line in table.splitlines() if re.match(r" *\d", line)}
    return (sum(number for name, number in calls.items() if name != "total"),
            sum(number for name, number in calls.items() if "stat" in name))


def _command(arguments: argparse.Namespace, more: Sequence[str], folder: str, before: Sequence[str]) -> list[str]:
    launcher = [str(Path(sys.executable).parent / "mpirun"), "-np", str(arguments.np)]
    if "Open MPI" in subprocess.run([launcher[0], "--version"], capture_output=True, text=True).stdout:
        launcher += ["--oversubscribe", "--bind-to", "none"]
    return [*launcher, *before, sys.executable, "-m", "mpignn", "train", arguments.graph, "--epochs", "1",
            "--fanouts", "5,5", "--run-dir", f"{folder}/run", *more]


def _environment(arguments: argparse.Namespace, folder: str) -> dict[str, str]:
    """That of a user: what Python compiles is kept."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    own["OMP_NUM_THREADS"] = "1"
    if arguments.cold:
        own["NUMBA_CACHE_DIR"] = f"{folder}/kernels"
    if arguments.fresh:
        (package,) = importlib.util.find_spec("mpignn").submodule_search_locations
        shutil.copytree(package, f"{folder}/lib/mpignn", ignore=shutil.ignore_patterns("__pycache__"))
        own["PYTHONPATH"] = f"{folder}/lib"
        own.pop("NUMBA_CACHE_DIR", None)
    return own


if __name__ == "__main__":
    main()
