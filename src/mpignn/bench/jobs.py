"""Starting jobs to measure them from outside."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mpignn.errors import ConfigError, ResourceError

_LOOK_S = 0.01


def mpirun(ranks: int) -> list[str]:
    """The launcher beside this Python, for so many ranks, which may be more than there are cores.  Not collective.

    Raises:
        ConfigError: There is none.
    """
    beside = Path(sys.executable).parent / "mpirun"
    launcher = str(beside) if beside.exists() else "mpirun"
    try:
        told = subprocess.run([launcher, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError as error:
        raise ConfigError(f"{launcher} cannot be started: {error.strerror}: load the module of the MPI "
                          "library") from error
    crowded = ["--oversubscribe", "--bind-to", "none"] if "Open MPI" in told or "Open RTE" in told else []
    return [launcher, *crowded, "-np", str(ranks)]


def library() -> str:
    """What that launcher says of its version.  Not collective."""
    told = subprocess.run([mpirun(1)[0], "--version"], capture_output=True, text=True, check=False).stdout
    return " ".join(" ".join(told.splitlines()[:2]).split())


def run(command: Sequence[str], look: Callable[[], object] = lambda: None) -> None:
    """Run a command to its end.  Not collective.

    Args:
        command: Its words.
        look: Called every hundredth of a second meanwhile.

    Raises:
        ResourceError: It has failed.
    """
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        job = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        try:
            while job.poll() is None:
                look()
                time.sleep(_LOOK_S)
        finally:
            if job.poll() is None:
                job.terminate()
                job.wait()
        said.seek(0)
        if job.returncode:
            last = (said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise ResourceError(f"{' '.join(command)} ended with exit code {job.returncode}: {last}")
