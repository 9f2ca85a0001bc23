"""What goes with figures that were measured: machine, versions, command."""

import os
import platform
import sys
from pathlib import Path
from typing import Any

from mpignn import launcher
from mpignn.version import version

_PACKAGES = ("mpignn", "numpy", "numba", "torch", "mpi4py")


def describe() -> dict[str, Any]:
    """The machine, the versions and the command of this process.  Not collective."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    ranks = launcher.count()
    return {"machine": {"processor": model, "cores": os.cpu_count(), "usable_cores": len(os.sched_getaffinity(0)),
                        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")},
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
            "command": " ".join([*(["mpirun", "-np", str(ranks)] if ranks > 1 else []), "python", "-m", "mpignn",
                                 *sys.argv[1:]])}
