"""The command line where trainers share the first GPU, which jobs refuse: it is all that some machines have.

    mpirun -np N python shared_gpu_job.py ARGUMENTS OF mpignn...
"""

import os
import sys

if __name__ == "__main__":
    os.environ["NCCL_HOSTID"] = f"host {os.getpid()}"       # NCCL shares a GPU between hosts only
    from mpignn.cli import main
    from mpignn.train import gpus
    gpus.deal = lambda seen: [0] * len(seen)
    sys.exit(main(sys.argv[1:]))
