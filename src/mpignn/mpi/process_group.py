"""torch.distributed on the job's own MPI: a backend named ``mpignn`` over the trainers' communicator.

No address and no port: the ranks know each other since MPI started them, and the store that torch asks for is a
dictionary in each process.  Every collective has ended when the call returns; the `Work` that it gives is a
completed one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _create_work_from_future
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from mpignn.errors import CommError, ConfigError
from mpignn.mpi import nccl
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import MpiGroup
from mpignn.mpi.world import World

BACKEND = "mpignn"

_OPS = {
    dist.ReduceOp.SUM: MPI.SUM, dist.ReduceOp.AVG: MPI.SUM, dist.ReduceOp.PRODUCT: MPI.PROD,
    dist.ReduceOp.MIN: MPI.MIN, dist.ReduceOp.MAX: MPI.MAX,
}
_STAND_INS = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.bool: torch.uint8}


def init_process_group(world: World) -> dist.ProcessGroup:
    """Make the trainers torch's default process group.  Collective over the trainers.

    Args:
        world: The job; this rank trains.

    Returns:
        The group, also ``torch.distributed.group.WORLD``: rank and size are those among the trainers.
    """
    if BACKEND.upper() not in dist.Backend._plugins:
        dist.Backend.register_backend(BACKEND, _make, extended_api=True, devices=["cpu", "cuda"])
    trainers = world.trainers
    if trainers is None:
        raise ConfigError("this rank is a server: only trainers compute with torch, see World.trainers")
    trainers.barrier()      # in there a rank serves others, in Dup it would not
    own = MpiGroup(trainers.comm.Dup(), trainers, "the trainers' reductions")
    dist.init_process_group(BACKEND, store=dist.HashStore(), rank=own.rank, world_size=own.size, pg_options=own)
    return dist.group.WORLD


def wrap(module: torch.nn.Module, world: World, find_unused_parameters: bool = True,
         **options) -> DistributedDataParallel:
    """A module whose gradients are averaged over the trainers by every ``backward``.  Collective over the trainers.

    Args:
        module: The same on all trainers.
        world: The job.
        find_unused_parameters: As in DDP.  With False a parameter that one trainer alone does not use hangs the job.
        options: Further arguments of DDP.
    """
    if not dist.is_initialized():
        init_process_group(world)
    return DistributedDataParallel(module, find_unused_parameters=find_unused_parameters, **options)


def _make(options, group: MpiGroup | None) -> "MpiProcessGroup":
    """What torch calls for a new group; without ``group`` it is made of some ranks of the default one."""
    if group is None:
        parent = dist.group.WORLD
        assert isinstance(parent, MpiProcessGroup), f"the default group is not of the backend {BACKEND}"
        ranks = parent.group.comm.Get_group().Incl(options.global_ranks_in_group)
        group = MpiGroup(parent.group.comm.Create_group(ranks), parent.group)
    return MpiProcessGroup(group)


class MpiProcessGroup(dist.ProcessGroup):
    """The collectives of torch.distributed over a communicator.

    Tensors may be of any type, layout and device: what MPI cannot send as it is goes through a copy.  What lies on
    GPUs is reduced to all by NCCL where that is to be had.
    """

    def __init__(self, group: MpiGroup):
        super().__init__(group.rank, group.size)
        self.group = group

    def getBackendName(self) -> str:
        return BACKEND

    def allreduce(self, tensors, opts):
        for tensor in tensors:
            self._all_reduce(tensor, opts.reduceOp)
        return _completed(tensors)

    def allreduce_coalesced(self, tensors, opts):
        return self.allreduce(tensors, opts)

    def reduce(self, tensors, opts):
        for tensor in tensors:
            with _staged(tensor, returns=self.rank() == opts.rootRank) as array:
                self._reduce(array, opts.reduceOp)
        return _completed(tensors)

    def broadcast(self, tensors, opts):
        for tensor in tensors:
            with _staged(tensor) as array:
                self.group.broadcast(array, opts.rootRank)
        return _completed(tensors)

    def allgather(self, output_lists, inputs, opts=None):
        for outputs, tensor in zip(output_lists, inputs, strict=True):
            for output, row in zip(outputs, self._gather(tensor), strict=True):
                output.copy_(row)
        return _completed(output_lists)

    def _allgather_base(self, output, tensor, opts=None):
        output.copy_(self._gather(tensor).reshape(output.shape))
        return _completed(output)

    all_gather_single = _allgather_base     # its name from torch 2.13 on

    def gather(self, output_lists, inputs, opts):
        rows = self._gather(inputs[0])
        if self.rank() == opts.rootRank:
            for output, row in zip(output_lists[0], rows, strict=True):
                output.copy_(row)
        return _completed(output_lists)

    def barrier(self, opts=None):
        self.group.barrier()
        return _completed([])

    @cached_property
    def _gpus(self) -> nccl.Nccl | None:
        """The connection between the GPUs, made when the first tensor on one comes.  Collective over the group."""
        return nccl.connect(self.group)

    def _all_reduce(self, tensor: torch.Tensor, op: dist.ReduceOp) -> None:
        if self.size() > 1 and nccl.takes(tensor, op) and self._gpus is not None:
            self.group.barrier()        # in there a rank serves those who are late; waiting for its GPU it would not
            self._gpus.all_reduce(tensor, op)
        elif self.size() > 1 or not tensor.is_cuda:     # alone, it need not leave its GPU
            with _staged(tensor) as array:
                self._reduce(array, op)

    def _reduce(self, array: np.ndarray, op: dist.ReduceOp) -> None:
        if op.op not in _OPS:
            raise CommError(f"the backend {BACKEND} has no reduction {op.op}")
        self.group.all_reduce(array, _OPS[op.op])
        if op == dist.ReduceOp.AVG:
            array /= self.group.size

    def _gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """(size, ...) the tensors of all ranks, on the CPU."""
        with _staged(tensor, returns=False) as array:
            rows = np.empty((self.group.size, *array.shape), array.dtype)
            self.group.call("Allgather", [array, MPI.BYTE], [rows, MPI.BYTE])
        return torch.from_numpy(rows)


@contextmanager
def _staged(tensor: torch.Tensor, returns: bool = True) -> Iterator[np.ndarray]:
    """The elements as a contiguous array of a type that MPI knows: the tensor's own memory, or a copy of it.

    Args:
        tensor: Of any type, layout and device.
        returns: Whether what happens to the array shall happen to the tensor; if not, the tensor stays as it is.
    """
    tensor = tensor.detach()
    staged = tensor.to("cpu", _STAND_INS.get(tensor.dtype, tensor.dtype)).contiguous()
    if not returns and staged.data_ptr() == tensor.data_ptr():
        staged = staged.clone()
    yield staged.numpy()
    if returns and staged.data_ptr() != tensor.data_ptr():
        tensor.copy_(staged)


def _completed(result) -> dist.Work:
    future = Future()
    future.set_result(result)
    return _create_work_from_future(future)
