"""What the tests on clusters share: the two MPIs, and starting and ending a bed of tests/testbed."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from forks import FORKS
from mpirun import OPEN_MPI, environment

ROOT = Path(__file__).parents[2]
TESTBED = ROOT / "tests" / "testbed"
UNAVAILABLE = 3         # exit code of the up scripts where the machine does not allow the bed


@dataclass(frozen=True)
class Mpi:
    """An MPI and the interpreter whose mpi4py loads it."""

    name: str
    bin: Path

    @property
    def python(self) -> str:
        return str(self.bin / "python")

    def environment(self, **more: str) -> dict[str, str]:
        """What a user sets: the environment's folder in the path, and that root may run Open MPI."""
        root = {f"{who}_ALLOW_RUN_AS_ROOT{confirm}": "1" for who in ("OMPI", "PRTE") for confirm in ("", "_CONFIRM")}
        return {**os.environ, **root, **OPEN_MPI, "PATH": f"{self.bin}:{os.environ['PATH']}", **more}

    def forked(self) -> list[str]:
        """Words for a Python whose processes are forked; see `forks`."""
        return FORKS.words(self.python, environment())

    def forked_on(self, hosts: Path, number: int) -> list[str]:
        """The same on the first hosts of a bed, of which a job uses so many."""
        names = [line.split()[0] for line in (hosts / "hostfile").read_text().splitlines()][:number]
        return FORKS.words_on({name: [str(hosts / "on"), name] for name in names}, self.python, environment())

    def over_hosts(self, hosts: Path, ranks: int) -> list[str]:
        """A launcher that starts ranks on the hosts in turn, two on each."""
        if self.name == "openmpi":
            # Each host counts the cores of the whole machine as its own: bound ranks would share them.
            command = [self.bin / "mpirun", "--prtemca", "plm_ssh_agent", hosts / "rsh", "--hostfile",
                       hosts / "hostfile", "-np", ranks, "--bind-to", "none", "--mca", "osc", "^ucx"]
        else:
            command = [self.bin / "mpiexec", "-launcher", "ssh", "-launcher-exec", hosts / "rsh", "-f",
                       hosts / "machinefile", "-n", ranks]
        return [str(word) for word in (hosts / "on", "h1", *command)]


def bed(name: str, folder: Path, **options: str) -> Iterator[Path]:
    """Start a bed in ``folder``, and end it when the generator is closed."""
    folder.chmod(0o755)     # munged wants a folder that all may pass through
    state = folder / name
    up = subprocess.run([TESTBED / f"{name}-up.sh", state], env={**os.environ, **options}, text=True,
                        capture_output=True, stdin=subprocess.DEVNULL, timeout=300)
    if up.returncode == UNAVAILABLE:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    try:
        assert up.returncode == 0, up.stderr
        yield state
    finally:
        subprocess.run([TESTBED / f"{name}-down.sh", state], check=True, timeout=60)


def run(command, seconds: int, **options) -> subprocess.CompletedProcess:
    """Run a launcher, which may not end on SIGTERM, for some time at most; the output is text."""
    return subprocess.run(["timeout", "-k", "5", str(seconds), *map(str, command)], text=True, cwd=ROOT,
                          capture_output=True, stdin=subprocess.DEVNULL, **options)
