"""What every benchmark prints first: machine, versions and command."""

import statistics
import sys
from collections.abc import Sequence

from mpignn.bench.machine import describe


def header() -> str:
    """Machine, versions and the command, to go with the figures."""
    found = describe()
    here, versions = found["machine"], ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return (f"machine: {here['cores']} cores of {here['processor']}, {here['memory_bytes'] / 2**30:.0f} GiB\n"
            f"versions: {versions}\ncommand: python {' '.join(sys.argv)}")


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """``median (min-max)``."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"
