"""A job in which one rank raises in one phase.

    mpirun -np N python failing_job.py RANK PHASE ERROR STAMP ARGUMENTS OF mpignn...

ERROR is an exception of Python or torch.  STAMP is a file that gets the time at which the rank raised.
"""

import builtins
import importlib
import sys
import time
from pathlib import Path

from phases import on_entering


def main() -> int:
    victim, where, error, stamp = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])

    def fail() -> None:
        from mpi4py import MPI
        if victim == MPI.COMM_WORLD.rank:
            stamp.write_text(repr(time.time()))
            raise getattr(builtins if hasattr(builtins, error) else importlib.import_module("torch"), error)("injected")

    on_entering(where, fail)
    from mpignn.cli import main
    return main(sys.argv[5:])


if __name__ == "__main__":
    sys.exit(main())
