"""NCCL between the GPUs of the trainers: reductions of what lies there, without a copy to the CPU.

torch's way to NCCL needs a store that all processes reach: a port, or a file with locks.  NCCL itself needs 128
bytes that one rank tells the others, and MPI does that.  So the library that torch brings is called directly.
Source: the NCCL documentation, "Creating a Communicator" and the types in its API.
"""

import ctypes
import logging
from typing import Any, Protocol

import torch
import torch.distributed as dist

from mpignn.errors import CommError
from mpignn.mpi.sync import MpiGroup

log = logging.getLogger(__name__)

_TYPES = {torch.int8: 0, torch.uint8: 1, torch.int32: 2, torch.int64: 4, torch.float16: 6, torch.float32: 7,
          torch.float64: 8, torch.bfloat16: 9}
_OPS = {dist.ReduceOp.SUM: 0, dist.ReduceOp.PRODUCT: 1, dist.ReduceOp.MAX: 2, dist.ReduceOp.MIN: 3,
        dist.ReduceOp.AVG: 4}


class _Id(ctypes.Structure):
    """What the ranks of a communicator find each other by."""

    _fields_ = (("internal", ctypes.c_byte * 128),)


class Reduction(Protocol):
    """A `torch.distributed.ReduceOp` as a backend is given it; torch's stubs leave out what it holds.

    Attributes:
        op: How two values are joined: ``ReduceOp.SUM`` or another of these constants.
    """

    op: Any


def takes(tensor: torch.Tensor, op: Reduction) -> bool:
    """Whether NCCL can reduce a tensor where it lies.  Not collective."""
    return tensor.is_cuda and tensor.layout == torch.strided and tensor.is_contiguous() \
        and tensor.dtype in _TYPES and op.op in _OPS


def connect(group: MpiGroup) -> "Nccl | None":
    """Connect the GPUs that the ranks of a group use.  Collective over the group.

    Returns:
        The connection; None on all ranks where one of them has no NCCL, or where it does not come about.
    """
    library, own, communicator, problem = _load(), _Id(), ctypes.c_void_p(), None
    if library is None:
        problem = CommError("torch has no NCCL")
    elif group.rank == 0:
        problem = _problem(library, library.ncclGetUniqueId(ctypes.byref(own)))
    try:
        group.agree(problem)
        assert library is not None, "that is a problem on which all agree"
        told = group.bcast(bytes(own))
        group.barrier()     # in there a rank serves others, in the next call it does not
        group.agree(_problem(library, library.ncclCommInitRank(
            ctypes.byref(communicator), group.size, _Id.from_buffer_copy(told), group.rank)))
    except CommError as error:
        if group.rank == 0:
            log.warning("gradients go over MPI, by way of the CPU: %s", error)
        return None
    return Nccl(library, communicator)


class Nccl:
    """A connection between GPUs, as `connect` makes it."""

    def __init__(self, library: ctypes.CDLL, communicator: ctypes.c_void_p) -> None:
        self._library, self._communicator = library, communicator

    def all_reduce(self, tensor: torch.Tensor, op: Reduction) -> None:
        """Reduce in place, behind what torch's present stream has still to do.  Collective over the group.

        Args:
            tensor: One that `takes` accepts, on the GPU of this rank; of equal size and type on all.
            op: How two values are joined.

        Raises:
            CommError: NCCL fails.
        """
        stream = ctypes.c_void_p(torch.cuda.current_stream(tensor.device).cuda_stream)
        where, size = ctypes.c_void_p(tensor.data_ptr()), ctypes.c_size_t(tensor.numel())
        problem = _problem(self._library, self._library.ncclAllReduce(
            where, where, size, _TYPES[tensor.dtype], _OPS[op.op], self._communicator, stream))
        if problem is not None:
            raise problem


def _load() -> ctypes.CDLL | None:
    """The library that torch has loaded, or None if it has none."""
    if not torch.cuda.is_available():
        return None
    try:
        library = ctypes.CDLL("libnccl.so.2")
    except OSError:         # a torch that was built without it, or around it
        return None
    library.ncclGetErrorString.restype = ctypes.c_char_p
    return library


def _problem(library: ctypes.CDLL, result: int) -> CommError | None:
    """What a call says went wrong, if anything."""
    return None if result == 0 else CommError(f"NCCL: {library.ncclGetErrorString(result).decode()}")
