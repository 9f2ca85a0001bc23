"""The kernels that jobs of the common types run: loaded, or compiled if nobody has done so on this machine.

``python common_kernels.py GROUP`` does so for one of `GROUPS`.  The groups share no kernel: if two processes compile
the same one for two types at once, one of the two results may be lost.
"""

import importlib
import sys

import numpy as np


def sampling() -> None:
    """Those that draw and relabel neighbors, and gather rows."""
    from mpignn.sampling.warm import _small_graph, warming
    edges, nodes = {np.dtype(np.float32), np.dtype(np.bool_)}, {np.dtype(np.int64)}
    for warm in warming([_small_graph(np.dtype(index), edges, nodes) for index in (np.int32, np.int64)], None):
        warm()


def models() -> None:
    """Those of layers and optimizers."""
    from mpignn.kernels import segment, sparse
    from mpignn.models import MODELS
    by_dtype = {"segment", "dropout", *(name for model in MODELS.values() for name in model.kernels)}
    for dtype in np.float32, np.float64:
        for name in by_dtype:
            importlib.import_module(f"mpignn.kernels.{name}").warm(dtype)
        for optimizer in "sgd", "adagrad", "adam":
            sparse.warm(optimizer, dtype)
    segment.warm(np.uint16)         # bfloat16


GROUPS = {"sampling": sampling, "models": models}


if __name__ == "__main__":
    GROUPS[sys.argv[1]]()
