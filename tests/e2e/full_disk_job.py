"""A job to whose ranks the disk is full from some phase on.

    mpirun -np N python full_disk_job.py PHASE ARGUMENTS OF mpignn...

No file may grow beyond `LIMIT_BYTES` then, which is more than the metrics take and less than a checkpoint.
"""

import resource
import sys
from contextlib import contextmanager

import mpignn.log

LIMIT_BYTES = 200 << 10


def main() -> int:
    where, phase = sys.argv[1], mpignn.log.phase

    @contextmanager
    def limiting(name, *how, **more):
        with phase(name, *how, **more):
            if name == where:
                resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))
            yield

    mpignn.log.phase = limiting       # before any module takes the name
    from mpignn.cli import main
    return main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
