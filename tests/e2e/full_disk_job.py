"""A job to a rank of which, or all (-1), the disk is full from some phase on: no file may grow beyond some bytes.

    mpirun -np N python full_disk_job.py RANK PHASE BYTES ARGUMENTS OF mpignn...
"""

import resource
import sys

from phases import on_entering


def main() -> int:
    victim, where, limit = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

    def fill() -> None:
        from mpi4py import MPI
        if victim in (-1, MPI.COMM_WORLD.rank):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    on_entering(where, fill)
    from mpignn.cli import main
    return main(sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
