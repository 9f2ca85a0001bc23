"""What every benchmark prints first: machine, versions and command."""

import importlib.metadata
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path


def header() -> str:
    """Machine, versions and the command, to go with the figures."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba", "torch", "mpi4py"))
    return (f"machine: {os.cpu_count()} cores of {model}, {memory:.0f} GiB\nversions: Python "
            f"{sys.version.split()[0]}, {versions}\ncommand: python {' '.join(sys.argv)}")


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """``median (min-max)``."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"
