"""The MPI library: loaded, fitting the launcher, initialised once.

Importing this module loads the library and does not initialise it.
"""

import os

import mpi4py

from mpignn.errors import ConfigError

mpi4py.rc(initialize=False, finalize=True)      # `start` initialises, with the thread level that is needed

try:
    from mpi4py import MPI
except (ImportError, RuntimeError) as error:
    raise ConfigError(f"no MPI library can be loaded ({error}); load your cluster's MPI module, or install one "
                      "beside Python: pip install 'mpignn[mpich]'") from error

# The number of ranks that each kind of launcher says it started, and the kind of library it can start.
_LAUNCHERS = (
    ("OMPI_COMM_WORLD_SIZE", "Open MPI's mpirun", "Open MPI"),
    ("PMI_SIZE", "MPICH's mpirun (or srun --mpi=pmi2)", "MPICH"),
    ("SLURM_STEP_NUM_TASKS", "srun", None),
)


def start() -> None:
    """Initialise MPI, unless that is done already.  Collective over the job.

    Raises:
        ConfigError: The launcher started several ranks, but the library does not know of the others.
    """
    library = MPI.get_vendor()[0]
    launcher = _launcher()
    if not MPI.Is_initialized():
        if launcher is not None and launcher[1] == "Open MPI" and library == "MPICH":
            raise _mismatch(*launcher, library)     # MPICH would end the process inside MPI_Init
        MPI.Init_thread(MPI.THREAD_FUNNELED)
    if launcher is not None and MPI.COMM_WORLD.size == 1:
        raise _mismatch(*launcher, library)


def _launcher() -> tuple[str, str | None, int] | None:
    """The launcher that started several ranks, the library it is made for, and how many; None if there is none."""
    for variable, name, library in _LAUNCHERS:
        count = os.environ.get(variable, "")
        if count.isdigit():     # the innermost launcher decides: mpirun starts its daemons by srun
            return (name, library, int(count)) if int(count) > 1 else None
    return None


def _mismatch(launcher: str, made_for: str | None, count: int, library: str) -> ConfigError:
    mend = "srun --mpi=list shows the interfaces it has" if made_for is None else (
        f"start the job with the mpirun of {library}, or use a Python whose MPI library is {made_for}")
    return ConfigError(f"{launcher} started {count} ranks, but each of them sees itself alone: this Python loads "
                       f"{library}, which is not what the launcher serves; {mend} "
                       "(`python -m mpignn info` shows the library)")
