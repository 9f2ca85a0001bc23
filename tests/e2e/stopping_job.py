"""A job of which one rank is asked to stop as it enters a phase.

    mpirun -np N python stopping_job.py RANK PHASE ARGUMENTS OF mpignn...
"""

import os
import signal
import sys

from phases import on_entering

from mpignn import stop


def main() -> int:
    stop.listen()       # as `python -m mpignn` does
    victim, where = int(sys.argv[1]), sys.argv[2]

    def ask() -> None:
        from mpi4py import MPI
        if victim == MPI.COMM_WORLD.rank:
            os.kill(os.getpid(), signal.SIGUSR1)

    on_entering(where, ask)
    from mpignn.cli import main
    return main(sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
