"""Message passing of rows that are not on the CPU, by torch's operators.

The kernels stay on the CPU, and so does the structure of blocks: positions of ends are sent along.  Sums of gradients
over out-edges add in no fixed order there, unless torch is told to be deterministic.

Shapes: S sources, D destinations, E edges; ``...`` is any shape of a row.
"""

import numpy as np
import torch

from mpignn.graph.csc import CSC
from mpignn.kernels.rng import GOLDEN

_A, _B = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB     # of the finaliser of splitmix64


def elsewhere(x: torch.Tensor) -> bool:
    """Whether the rows are where no kernel reaches."""
    return x.device.type != "cpu"


def from_src(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """(E, ...) the row of each edge's source."""
    return x.index_select(0, _sent(csc.indices.astype(np.int64), x))


def from_dst(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """(E, ...) the row of each edge's destination."""
    return x.index_select(0, _sent(np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr)), x))


def reduce_edges(csc: CSC, x: torch.Tensor, how: str) -> torch.Tensor:
    """(D, ...) sum, mean, max or min of the rows of each destination's in-edges; 0 without any."""
    wide = x.float() if x.dtype.itemsize == 2 else x
    if csc.num_edges == 0:
        return x.new_zeros(csc.num_dst, *x.shape[1:]) + 0 * x.sum()
    out = torch.segment_reduce(wide, how, offsets=_sent(csc.indptr, x), axis=0, unsafe=True)
    none = _sent(np.diff(csc.indptr) == 0, x).view(-1, *[1] * (x.ndim - 1))
    return out.masked_fill(none, 0).to(x.dtype)


def edge_softmax(csc: CSC, x: torch.Tensor) -> torch.Tensor:
    """As `mpignn.nn.edges.edge_softmax`."""
    power = (x - from_dst(csc, reduce_edges(csc, x.detach(), "max"))).exp()
    return power / from_dst(csc, reduce_edges(csc, power, "sum"))


def keyed_dropout(x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    """As `mpignn.nn.dropout.keyed_dropout`, with the same mask."""
    return _masked(x, p, _draw(key, _sent(rows, x)), 1 + torch.arange(x.shape[1], device=x.device))


def edge_dropout(csc: CSC, x: torch.Tensor, p: float, key: int, rows: np.ndarray) -> torch.Tensor:
    """As `mpignn.nn.edges.edge_dropout`, with the same mask, of (E, H)."""
    degrees = np.diff(csc.indptr)
    place = np.arange(csc.num_edges) - np.repeat(csc.indptr[:-1], degrees)
    columns = torch.arange(1, x.shape[1] + 1, device=x.device)
    return _masked(x, p, _draw(key, _sent(np.repeat(rows, degrees), x)),
                   _sent(place, x)[:, None] * x.shape[1] + columns)


def _masked(x: torch.Tensor, p: float, word: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Element ``number`` of a stream draws 32 bits and stays if they are not below p 2^32."""
    bits = _logical_shift(_mix(word[:, None] + number * _signed(GOLDEN)), 32)
    return torch.where(bits >= round(p * 2**32), x * (1 / (1 - p) if p < 1 else 0), 0)


def _draw(key: int, counter: torch.Tensor) -> torch.Tensor:
    """Word number ``counter`` of the stream ``key``, as of `mpignn.kernels.rng.draw`, in 64-bit words with a sign."""
    return _mix(_mix(counter * _signed(GOLDEN) + _signed(GOLDEN)) ^ _signed(key))


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _logical_shift(x, 30)) * _signed(_A)
    x = (x ^ _logical_shift(x, 27)) * _signed(_B)
    return x ^ _logical_shift(x, 31)


def _logical_shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << 64 - bits) - 1)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >= 1 << 63 else word


def sent(x: torch.Tensor, where: torch.device | str) -> torch.Tensor:
    """``x`` on a device, differentiable; what needs no gradient goes by way of pinned memory to a GPU.

    Not collective.
    """
    if torch.device(where).type == "cuda" and x.device.type == "cpu" and not x.requires_grad:
        return x.pin_memory().to(where, non_blocking=True)
    return x.to(where)


def _sent(array: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return sent(torch.from_numpy(np.ascontiguousarray(array)), like.device)
