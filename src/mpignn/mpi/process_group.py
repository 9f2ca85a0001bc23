"""torch.distributed on the job's own MPI: a backend named ``mpignn`` over the trainers' communicator.

No address and no port: the ranks know each other since MPI started them, and the store that torch asks for is a
dictionary in each process.  It has the operations that torch documents for its own MPI backend.  Every collective has
ended when the call returns; the `Work` that it gives is a completed one.  Messages between two ranks are under way
until their `Work` is waited for.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import _create_work_from_future  # type: ignore[attr-defined]  # not in the stubs
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
    """Make the trainers torch's default process group, unless they are.  Collective over the trainers.

    Args:
        world: The job; this rank trains.

    Returns:
        The group, also ``torch.distributed.group.WORLD``: rank and size are those among the trainers.

    Raises:
        ConfigError: This rank does not train; or, on all trainers, the program has made another default process group.
    """
    if BACKEND.upper() not in dist.Backend._plugins:
        dist.Backend.register_backend(BACKEND, _make, extended_api=True, devices=["cpu", "cuda"])
    trainers = world.trainers
    if trainers is None:
        raise ConfigError("this rank is a server: only trainers compute with torch, see World.trainers")
    is_foreign = dist.is_initialized() and not isinstance(dist.group.WORLD, MpiProcessGroup)
    trainers.agree(ConfigError("the program has made torch's default process group itself: leave that to mpignn, or "
                               "call torch.distributed.destroy_process_group() first") if is_foreign else None)
    if dist.is_initialized():
        return _default()
    trainers.barrier()      # in there a rank serves others, in Dup it would not
    own = MpiGroup(trainers.comm.Dup(), trainers, "the trainers' reductions")
    dist.init_process_group(BACKEND, store=dist.HashStore(), rank=own.rank, world_size=own.size, pg_options=own)
    return _default()


def _default() -> dist.ProcessGroup:
    assert dist.group.WORLD is not None, "it has been made"
    return dist.group.WORLD


def wrap(module: torch.nn.Module, world: World, find_unused_parameters: bool = True,
         **options: Any) -> DistributedDataParallel:
    """A module whose gradients are averaged over the trainers by every ``backward``.  Collective over the trainers.

    Args:
        module: The same on all trainers.
        world: The job.
        find_unused_parameters: As in DDP.  With False a parameter that one trainer alone does not use hangs the job.
        options: Further arguments of DDP.
    """
    if not dist.is_initialized():
        init_process_group(world)
    if find_unused_parameters:
        _spend_warning()
    return DistributedDataParallel(module, find_unused_parameters=find_unused_parameters, **options)


@cache
def _spend_warning() -> None:
    """Let torch say what it says once per process of a module that uses all of its parameters, and drop that line.

    It comes from C++ on stderr, on every rank, and asks for what `wrap` must not do: another rank may use fewer.
    What else is said meanwhile is passed on.  Collective over the trainers.
    """
    module = DistributedDataParallel(torch.nn.Linear(1, 1), find_unused_parameters=True)
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught, torch.enable_grad():
        os.dup2(caught.fileno(), 2)
        try:
            module(torch.zeros(1, 1))
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        caught.seek(0)
        others = b"".join(line for line in caught if b"find_unused_parameters=True was specified" not in line)
    os.write(2, others)


def _make(options: Any, group: MpiGroup | None) -> "MpiProcessGroup":
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

    torch's stubs give its methods the forms for callers, too, and other names of arguments; a backend is called by
    position, in the one form here.
    """

    def __init__(self, group: MpiGroup) -> None:
        super().__init__(group.rank, group.size)    # type: ignore[call-arg]  # the stubs have one of two constructors
        self.group = group

    def getBackendName(self) -> str:
        return BACKEND

    def allreduce(self, tensors: list[torch.Tensor], opts: Any) -> dist.Work:  # type: ignore[override]  # see the class
        for tensor in tensors:
            self._all_reduce(tensor, opts.reduceOp)
        return _completed(tensors)

    def allreduce_coalesced(self, tensors: list[torch.Tensor], opts: Any = None) -> dist.Work:
        return self.allreduce(tensors, opts)

    def reduce(self, tensors: list[torch.Tensor], opts: Any) -> dist.Work:  # type: ignore[override]  # see the class
        for tensor in tensors:
            with _staged(tensor, returns=self.rank() == opts.rootRank) as array:
                self._reduce(array, opts.reduceOp)
        return _completed(tensors)

    def broadcast(self, tensors: list[torch.Tensor], opts: Any) -> dist.Work:  # type: ignore[override]  # see the class
        for tensor in tensors:
            with _staged(tensor) as array:
                self.group.broadcast(array, opts.rootRank)
        return _completed(tensors)

    def allgather(self, output_lists: list[list[torch.Tensor]],  # type: ignore[override]  # see the class
                  inputs: list[torch.Tensor], opts: Any = None) -> dist.Work:
        for outputs, tensor in zip(output_lists, inputs, strict=True):
            for output, row in zip(outputs, self._gather(tensor), strict=True):
                output.copy_(row)
        return _completed(output_lists)

    def _allgather_base(self, output: torch.Tensor, tensor: torch.Tensor, opts: Any = None) -> dist.Work:
        output.copy_(self._gather(tensor).reshape(output.shape))
        return _completed(output)

    # Its name from torch 2.13 on.
    all_gather_single = _allgather_base  # type: ignore[assignment]  # see the class

    def gather(self, output_lists: list[list[torch.Tensor]],  # type: ignore[override]  # see the class
               inputs: list[torch.Tensor], opts: Any) -> dist.Work:
        rows = self._gather(inputs[0])
        if self.rank() == opts.rootRank:
            for output, row in zip(output_lists[0], rows, strict=True):
                output.copy_(row)
        return _completed(output_lists)

    def scatter(self, outputs: list[torch.Tensor],  # type: ignore[override]  # see the class
                input_lists: list[list[torch.Tensor]], opts: Any) -> dist.Work:
        rows = np.stack([_bytes(row) for row in input_lists[0]]) if self.rank() == opts.rootRank else None
        with _landing(outputs[0]) as landing:
            self.group.call("Scatter", None if rows is None else [rows, MPI.BYTE], [landing, MPI.BYTE], opts.rootRank)
        return _completed(outputs)

    def reduce_scatter(self, outputs: list[torch.Tensor],  # type: ignore[override]  # see the class
                       input_lists: list[list[torch.Tensor]], opts: Any) -> dist.Work:
        for output, inputs in zip(outputs, input_lists, strict=True):
            self._reduce_scatter(output, torch.cat([row.reshape(-1) for row in inputs]),
                                 [row.numel() for row in inputs], opts.reduceOp)
        return _completed(outputs)

    def _reduce_scatter_base(self, output: torch.Tensor, tensor: torch.Tensor, opts: Any) -> dist.Work:
        self._reduce_scatter(output, tensor, [output.numel()] * self.size(), opts.reduceOp)
        return _completed([output])

    # Its name from torch 2.13 on.
    reduce_scatter_single = _reduce_scatter_base  # type: ignore[assignment]  # see the class

    def alltoall(self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = None) -> dist.Work:
        sent = np.concatenate([_bytes(row) for row in inputs])
        got = self._exchange(sent, [row.nbytes for row in inputs], [row.nbytes for row in outputs])
        for output, row in zip(outputs, np.split(got, np.cumsum([row.nbytes for row in outputs])[:-1]), strict=True):
            with _landing(output) as landing:
                landing[:] = row
        return _completed(outputs)

    def alltoall_base(self, output: torch.Tensor, tensor: torch.Tensor, output_splits: list[int],
                      input_splits: list[int], opts: Any = None) -> dist.Work:
        counts = [_shares(of, splits, self.size()) for of, splits in ((tensor, input_splits), (output, output_splits))]
        with _landing(output) as landing:
            landing[:] = self._exchange(_bytes(tensor), *counts)
        return _completed([output])

    # Its name from torch 2.13 on.
    all_to_all_single = alltoall_base  # type: ignore[assignment]  # see the class

    def send(self, tensors: list[torch.Tensor], rank: int, tag: int) -> dist.Work:
        sent = _bytes(tensors[0]).copy()        # the caller may write to its tensor before the message has left
        return _Message(self.group, self.group.comm.Isend([sent, MPI.BYTE], rank, tag), sent)

    def recv(self, tensors: list[torch.Tensor], rank: int, tag: int) -> dist.Work:
        landing = np.empty(tensors[0].nbytes, np.uint8)
        return _Message(self.group, self.group.comm.Irecv([landing, MPI.BYTE], rank, tag), landing, tensors[0])

    def recv_anysource(self, tensors: list[torch.Tensor], tag: int) -> dist.Work:
        return self.recv(tensors, MPI.ANY_SOURCE, tag)

    def barrier(self, opts: Any = None) -> dist.Work:
        self.group.barrier()
        return _completed([])

    @cached_property
    def _gpus(self) -> nccl.Nccl | None:
        """The connection between the GPUs, made when the first tensor on one comes.  Collective over the group."""
        return nccl.connect(self.group)

    def _all_reduce(self, tensor: torch.Tensor, op: nccl.Reduction) -> None:
        if self.size() > 1 and nccl.takes(tensor, op) and self._gpus is not None:
            self.group.barrier()        # in there a rank serves those who are late; waiting for its GPU it would not
            self._gpus.all_reduce(tensor, op)
        elif self.size() > 1 or not tensor.is_cuda:     # alone, it need not leave its GPU
            with _staged(tensor) as array:
                self._reduce(array, op)

    def _reduce(self, array: np.ndarray, op: nccl.Reduction) -> None:
        self.group.all_reduce(array, _op(op))
        self._to_average(array, op)

    def _reduce_scatter(self, output: torch.Tensor, tensor: torch.Tensor, counts: Sequence[int],
                        op: nccl.Reduction) -> None:
        """Reduce a tensor over the group, and keep this rank's share of its elements: ``counts`` says how many."""
        with _staged(tensor, returns=False) as array, _staged(output) as landing:
            self.group.call("Reduce_scatter", array.reshape(-1), landing, list(counts), _op(op))
            self._to_average(landing, op)

    def _to_average(self, total: np.ndarray, op: nccl.Reduction) -> None:
        """Divide what MPI has summed, where the average is wanted."""
        if op.op == dist.ReduceOp.AVG:
            total /= self.group.size

    def _gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """(size, ...) the tensors of all ranks, on the CPU."""
        rows = torch.empty((self.size(), *tensor.shape), dtype=tensor.dtype)
        self.group.call("Allgather", [_bytes(tensor), MPI.BYTE], [_bytes(rows), MPI.BYTE])
        return rows

    def _exchange(self, sent: np.ndarray, to: Sequence[int], of: Sequence[int]) -> np.ndarray:
        """Bytes that other ranks send here, while ``sent`` goes to them: so many to each, and of each."""
        got = np.empty(sum(of), np.uint8)
        self.group.call("Alltoallv", [sent, list(to), MPI.BYTE], [got, list(of), MPI.BYTE])
        return got


class _Message(dist.Work):
    """A message to or from another rank, under way until it is waited for."""

    def __init__(self, group: MpiGroup, request: MPI.Request, memory: np.ndarray,
                 tensor: torch.Tensor | None = None) -> None:
        """Not collective.

        Args:
            group: One that both ranks are in.
            request: MPI's.
            memory: Bytes that leave, or that land here.
            tensor: What they become, where they land here.
        """
        super().__init__()
        self._group, self._request, self._memory, self._tensor = group, request, memory, tensor
        self._source = MPI.PROC_NULL

    def is_completed(self) -> bool:
        if self._request != MPI.REQUEST_NULL:
            status = MPI.Status()
            if not self._request.Test(status):
                return False
            self._arrive(status.Get_source())
        return True

    def wait(self, timeout: Any = None) -> bool:
        if self._request != MPI.REQUEST_NULL:
            self._arrive(self._group.wait_for(self._request))
        return True

    def _source_rank(self) -> int:
        return self._source

    def _arrive(self, source: int) -> None:
        self._source = source
        if self._tensor is not None:
            with _landing(self._tensor) as landing:
                landing[:] = self._memory


@contextmanager
def _staged(tensor: torch.Tensor, returns: bool = True) -> Iterator[np.ndarray]:
    """The elements as a contiguous array of a type that MPI knows: the tensor's own memory, or a copy of it.

    Args:
        tensor: One of any type, layout and device.
        returns: Whether what happens to the array shall happen to the tensor; if not, the tensor stays as it is.
    """
    tensor = tensor.detach()
    staged = tensor.to("cpu", _STAND_INS.get(tensor.dtype, tensor.dtype)).contiguous()
    if not returns and staged.data_ptr() == tensor.data_ptr():
        staged = staged.clone()
    yield staged.numpy()
    if returns and staged.data_ptr() != tensor.data_ptr():
        tensor.copy_(staged)


def _bytes(tensor: torch.Tensor) -> np.ndarray:
    """(bytes,) the elements as uint8: the tensor's own memory if that is contiguous and on the CPU, else a copy."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


@contextmanager
def _landing(tensor: torch.Tensor) -> Iterator[np.ndarray]:
    """(bytes,) uint8 memory whose content becomes that of a tensor of any layout and device."""
    tensor = tensor.detach()
    landing = tensor if tensor.is_contiguous() and not tensor.is_cuda else torch.empty(tensor.shape, dtype=tensor.dtype)
    yield _bytes(landing)
    if landing is not tensor:
        tensor.copy_(landing)


def _shares(tensor: torch.Tensor, splits: Sequence[int], num_ranks: int) -> list[int]:
    """Bytes for each rank of a tensor that is cut along its first dimension; no splits: into equal parts."""
    rows = len(tensor)
    if not splits and rows % num_ranks:
        raise CommError(f"{rows} rows cannot be cut into {num_ranks} equal parts: say how many go to each rank")
    counts = list(splits) or [rows // num_ranks] * num_ranks
    return [count * tensor[:1].nbytes for count in counts]


def _op(op: nccl.Reduction) -> MPI.Op:
    if op.op not in _OPS:
        raise CommError(f"the backend {BACKEND} has no reduction {op.op}")
    return _OPS[op.op]


def _completed(result: Any) -> dist.Work:
    future: Future[Any] = Future()
    future.set_result(result)
    work: dist.Work = _create_work_from_future(future)
    return work
