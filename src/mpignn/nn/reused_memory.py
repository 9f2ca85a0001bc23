"""Tensors in memory that was used before, and as the kernels see them."""

import ctypes

import numpy as np
import torch

from mpignn.buffers import Pool

_pool = Pool()
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1       # of glibc's mallopt
_MOST_BYTES = (32 << 20, 2**31 - 1)             # that these take
_AS = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}       # NumPy or numba know not all types


def empty(rows: int, like: torch.Tensor) -> torch.Tensor:
    """An uninitialised tensor of so many rows of the shape and dtype of those of ``like``.  Not collective.

    torch gives large tensors fresh pages every time, and touching these costs more than the kernel that writes them.
    """
    kind = torch.empty(0, dtype=_AS.get(like.dtype, like.dtype)).numpy().dtype
    return torch.from_numpy(_pool.empty((rows, *like.shape[1:]), kind)).view(like.dtype)


def keep_freed() -> None:
    """Let the C library keep the memory of tensors that are freed, for the next ones.  Not collective.

    glibc maps large blocks, or gives the end of its heap back, depending on what was freed before: then each step
    touches fresh pages, which takes 4 ms for 10 MB where filling them takes 1, and of two equal jobs one is slower.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)       # other C libraries have none
    if mallopt is not None:
        for option, value in zip((_MMAP_THRESHOLD, _TRIM_THRESHOLD), _MOST_BYTES, strict=True):
            mallopt(option, value)


def stored(x: torch.Tensor) -> np.ndarray:
    """The rows of a tensor as the kernels read and write them: bfloat16 as uint16, float16 as int16."""
    return x.detach().contiguous().view(_AS.get(x.dtype, x.dtype)).numpy()
