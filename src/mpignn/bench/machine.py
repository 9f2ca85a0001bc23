"""What goes with figures that were measured: machine, versions, command."""

import os
import platform
import sys
from typing import Any

from mpignn import launcher, machine
from mpignn.version import version

_PACKAGES = ("mpignn", "numpy", "numba", "torch", "mpi4py")


def describe() -> dict[str, Any]:
    """The machine, the versions and the command of this process.  Not collective."""
    here, ranks = machine.describe(), launcher.count()
    return {"machine": {"processor": here["cpu"], "cores": here["cores"],
                        "usable_cores": len(os.sched_getaffinity(0)), "memory_bytes": here["memory_bytes"]},
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
            "command": " ".join([*(["mpirun", "-np", str(ranks)] if ranks > 1 else []), "python", "-m", "mpignn",
                                 *sys.argv[1:]])}
