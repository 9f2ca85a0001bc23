"""Tensors in memory that was used before, and as the kernels see them."""

import numpy as np
import torch

from mpignn.buffers import Pool

_pool = Pool()
_AS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}       # NumPy or numba know not all types


def empty(rows: int, like: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor of so many rows of the shape and dtype of those of ``like``.  Not collective.

    torch gives large tensors fresh pages every time, and touching these costs more than the kernel that writes them.
    """
    kind = torch.empty(0, dtype=_AS.get(like.dtype, like.dtype)).numpy().dtype
    return torch.from_numpy(_pool.empty((rows, *like.shape[1:]), kind)).view(like.dtype)


def stored(x: torch.Tensor) -> np.ndarray:
    """The rows of a tensor as the kernels read and write them: bfloat16 as uint16, float16 as int16."""
    return x.detach().contiguous().view(_AS.get(x.dtype, x.dtype)).numpy()
