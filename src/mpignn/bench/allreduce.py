"""How long are sums over all trainers, as gradients are summed, and messages between two of them?

All ranks train, unless servers are asked for.  Sums are those of `torch.distributed` on the job's own MPI, beside a
blocking ``MPI_Allreduce`` of the same numbers.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.mpi.sync import MpiGroup

_SIZES = {"8 bytes": (8, 100), "64 KiB": (1 << 16, 20), "1 MiB": (1 << 20, 5), "16 MiB": (1 << 24, 1)}


def measure(trainers: MpiGroup, asked: Asked) -> list[Figure]:
    """Sum, and send there and back between the first and the last trainer.  Collective over the trainers."""
    return time_in_turn(trainers, [thing for name, (size, often) in _SIZES.items()
                                   for thing in _of_size(trainers, name, size, often)], asked.repeats)


def _of_size(trainers: MpiGroup, name: str, size: int, often: int) -> Iterator[Timed]:
    mine, total = np.zeros(size // 4, np.float32), np.empty(size // 4, np.float32)
    gradients = torch.zeros(size // 4)

    def ours(_: int) -> float:
        for _ in range(often):
            torch.distributed.all_reduce(gradients)
        return often

    def plain(_: int) -> float:
        for _ in range(often):
            trainers.comm.Allreduce(mine, total)
        return often

    def message(_: int) -> float:
        for _ in range(often):
            if trainers.rank == 0:
                trainers.comm.Send(mine, trainers.size - 1)
                trainers.comm.Recv(total, trainers.size - 1)
            elif trainers.rank == trainers.size - 1:
                trainers.comm.Recv(total, 0)
                trainers.comm.Send(mine, 0)
        return 2 * often        # one way

    yield Timed(f"all_reduce, {name}", "us", ours, f"MPI_Allreduce, {name}")
    yield Timed(f"MPI_Allreduce, {name}", "us", plain)
    if trainers.size > 1:
        yield Timed(f"message, {name}", "us", message)
