"""A job to a rank of which, or all (-1), the disk is full from some phase on: no file may grow beyond some bytes.

    mpirun -np N python full_disk_job.py RANK PHASE BYTES ARGUMENTS OF mpignn...
"""

import resource
import sys
from contextlib import contextmanager

import mpignn.log


def main() -> int:
    victim, where, limit, phase = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), mpignn.log.phase

    @contextmanager
    def limiting(name, *how, **more):
        with phase(name, *how, **more):
            if name == where:
                from mpi4py import MPI
                if victim in (-1, MPI.COMM_WORLD.rank):
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            yield

    mpignn.log.phase = limiting       # before any module takes the name
    from mpignn.cli import main
    return main(sys.argv[4:])


if __name__ == "__main__":
    sys.exit(main())
