"""How long does a job take from its launch to its first step, and to its end?

Whole jobs of an epoch, started by the mpirun beside this Python, as a user does it.  Beside them as many processes that
start MPI, import torch and do nothing.
"""

import sys
import tempfile
import time
from pathlib import Path

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.jobs import mpirun, run
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.comm.group import LocalGroup
from mpignn.config import METRICS

_IMPORTS = "MPI and torch alone"


def measure(graph: str, asked: Asked) -> list[Figure]:
    """Start jobs, one after the other.  Not collective.

    Raises:
        ConfigError, ResourceError: There is no launcher; or a job has failed.
    """
    launcher, firsts = mpirun(asked.np), list[float]()
    fanouts = ",".join(map(str, asked.config.sampling.fanouts))

    def job(_: int) -> float:
        with tempfile.TemporaryDirectory(prefix="mpignn-bench-") as folder:
            metrics, began, seen = Path(folder, "run", METRICS), time.perf_counter(), list[float]()

            def look() -> None:
                if not seen and metrics.exists() and b'"step"' in metrics.read_bytes():
                    seen.append(time.perf_counter() - began)

            run([*launcher, sys.executable, "-m", "mpignn", "train", graph, "--epochs", "1", "--fanouts", fanouts,
                 "--hidden", str(asked.config.model.hidden), "--run-dir", str(metrics.parent)], look)
            firsts.append(seen[0] if seen else time.perf_counter() - began)     # it has ended since the last look
        return 1

    def imports(_: int) -> float:
        run([*launcher, sys.executable, "-c", "import mpi4py.MPI, torch"])
        return 1

    whole, alone = time_in_turn(LocalGroup(), [Timed("launch to end, an epoch", "s", job, _IMPORTS),
                                               Timed(_IMPORTS, "s", imports)], asked.repeats)
    return [Figure("launch to first step", "s", tuple(firsts[1:]), _IMPORTS), whole, alone]
