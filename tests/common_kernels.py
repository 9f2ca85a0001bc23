"""The kernels that jobs of the common types run: loaded, or compiled if nobody has done so on this machine.

``python common_kernels.py GROUP`` does so for one of `GROUPS`, which share no kernel.
"""

import sys

from mpignn.job.warm_up import groups


def sampling() -> None:
    """Those that draw neighbors, which take as long as all others."""
    for call in groups()["sampling"]:
        call()


def others() -> None:
    """Those that gather rows, and those of layers and optimizers."""
    for name, calls in groups().items():
        for call in calls if name != "sampling" else ():
            call()


GROUPS = {"sampling": sampling, "others": others}


if __name__ == "__main__":
    GROUPS[sys.argv[1]]()
