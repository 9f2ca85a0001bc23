"""What the launcher says of this process: its rank and how many there are.

Launchers tell each process that they start by variables; this is the one place that reads them.  MPI itself knows
better, but starts later, and not at all where the launcher does not fit the library.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mpignn.schedulers import SCHEDULERS


@dataclass(frozen=True)
class Launched:
    """What a launcher says.

    Attributes:
        launcher: Its name, as a message tells it.
        library: The kind of MPI library that it can start, by vendor; None: several.
        rank: Rank of this process.
        size: How many processes it has started; None: it does not say.
    """

    launcher: str
    library: str | None
    rank: int
    size: int | None


# Name, kind of library, variables with rank and size.  The innermost launcher comes first: mpirun starts its daemons
# by srun, and other launchers set PMI's variables or Open MPI's beside their own.
_LAUNCHERS = (
    ("Open MPI's mpirun", "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MPICH's mpirun (or srun --mpi=pmi2)", "MPICH", "PMI_RANK", "PMI_SIZE"),
    ("srun", None, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("a launcher with PMIx", None, "PMIX_RANK", None),
)


def launched(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> Launched | None:
    """What the launcher of this process says; None if there is none, or none that makes sense.

    Args:
        environ: The variables.
        pid: Process that they belong to; None: this one.

    Not collective.
    """
    for name, library, rank_variable, size_variable in _LAUNCHERS:
        rank = environ.get(rank_variable, "")
        size = "" if size_variable is None else environ.get(size_variable, "")
        if not rank.isdigit() or name == "srun" and _in_shell_of_srun(environ, pid or os.getpid()):
            continue
        if size_variable is None:
            return Launched(name, library, int(rank), None)
        if size.isdigit() and int(rank) < int(size):    # a rank alone was left behind, as in a batch script
            return Launched(name, library, int(rank), int(size))
    return None


def is_first() -> bool:
    """Whether this is the first process of the job, as far as its launcher tells.  Not collective."""
    found = launched()
    return found is None or found.rank == 0


def count() -> int:
    """How many processes the launcher says it has started; 1 where it does not say.  Not collective."""
    found = launched()
    return 1 if found is None or found.size is None else found.size


def batch_job(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a scheduler says of the job of this process, by name; nothing outside of one.  Not collective."""
    for scheduler in SCHEDULERS.values():
        found = {name: environ.get(variable, "") for name, variable in scheduler.variables.items()}
        if found["id"]:
            return {"scheduler": scheduler.title, **{name: value for name, value in found.items() if value}}
    return {}


def _in_shell_of_srun(environ: Mapping[str, str], pid: int) -> bool:
    """Whether srun has started a shell at a terminal, and somebody in there this process: one, whatever srun counts."""
    return "SLURM_PTY_PORT" in environ and environ.get("SLURM_TASK_PID") != str(pid)
