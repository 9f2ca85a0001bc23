"""The MPI library: loaded, fitting the launcher, initialised once.

Importing this module loads the library and does not initialise it.
"""

from warnings import catch_warnings, simplefilter

import mpi4py

from mpignn.errors import ConfigError
from mpignn.launcher import Launched, launched

mpi4py.rc(initialize=False, finalize=True)      # `start` initialises, with the thread level that is needed

try:
    from mpi4py import MPI as MPI  # for the modules beside this one
except (ImportError, RuntimeError) as error:
    raise ConfigError(f"no MPI library can be loaded ({error}); load your cluster's MPI module, or install one "
                      "beside Python: pip install 'mpignn[mpich]'") from error


def reads_tell_their_end(vendor: tuple[str, tuple[int, ...]], described: str) -> bool:
    """Whether `Rget` of scattered memory can be trusted: its request ends when the bytes are there.  Not collective.

    MPICH over UCX before 5.0.2 ends it at once (MPICH's issue 7896), so that rows would be read that have not come.  A
    job of Open MPI 5.0.11 that read so died in its memory.

    Args:
        vendor: Name and version of the library, as ``MPI.get_vendor`` has it.
        described: What ``MPI.Get_library_version`` says.
    """
    name, version = vendor
    return name == "MPICH" and (version >= (5, 0, 2) or "ucx" not in described)


def start() -> None:
    """Initialise MPI, unless that is done already.  Collective over the job.

    Raises:
        ConfigError: The launcher started several ranks, but the library does not know of the others.
    """
    library, launcher = MPI.get_vendor()[0], launched()
    if launcher is not None and launcher.rank == 0 and (launcher.size is None or launcher.size <= 1):
        launcher = None         # then a rank that sees itself alone may well be
    if not MPI.Is_initialized():
        if launcher is not None and launcher.library == "Open MPI" and library == "MPICH":
            raise _mismatch(launcher, library)      # MPICH would end the process inside MPI_Init
        with catch_warnings():
            simplefilter("ignore", RuntimeWarning)      # of a launcher that does not fit, which is told below
            MPI.Init_thread(MPI.THREAD_FUNNELED)
    if launcher is not None and MPI.COMM_WORLD.size == 1:
        raise _mismatch(launcher, library)


def _mismatch(launcher: Launched, library: str) -> ConfigError:
    mend = f"start the job with the mpirun of {library}, or use a Python whose MPI library is {launcher.library}"
    if launcher.library is None:
        interface = "pmi2" if library == "MPICH" else "pmix"
        mend = f"try srun --mpi={interface}, if srun --mpi=list has it, or the mpirun of {library}"
    return ConfigError(f"{launcher.launcher} started {launcher.size or 'several'} ranks, but each of them sees itself "
                       f"alone: this Python loads {library}, which is not what the launcher serves; {mend} "
                       "(`python -m mpignn info` shows the library)")
