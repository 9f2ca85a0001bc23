"""Which GPU each trainer computes on: one of its own, among those that it sees."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from mpignn.errors import ConfigError, ResourceError


def visible() -> tuple[str, ...]:
    """The GPUs that this process sees, in torch's order, by names that no two GPUs share.  Not collective."""
    return tuple(str(torch.cuda.get_device_properties(number).uuid) for number in range(torch.cuda.device_count()))


def deal(seen: Sequence[Sequence[str]]) -> list[int]:
    """The number, in its own order, of the GPU of each trainer: the first one that no trainer before it has.

    That is right where all trainers of a machine see all its GPUs, and where a launcher shows each only its own.

    Args:
        seen: What `visible` says on each trainer.

    Raises:
        ConfigError: A trainer sees no GPU, or none that is left: sharing one would make all of them slow.
    """
    taken: set[str] = set()
    dealt = []
    for trainer, gpus in enumerate(seen):
        if not gpus:
            raise ConfigError(f"device cuda: trainer {trainer} sees no GPU: ask the launcher for GPUs, install a torch "
                              "with CUDA, or compute with --device cpu")
        free = [number for number, gpu in enumerate(gpus) if gpu not in taken]
        if not free:
            raise ConfigError(f"device cuda: trainer {trainer} sees {len(gpus)} GPU(s), and trainers before it have "
                              "them all: start no more trainers on a node than it has GPUs")
        taken.add(gpus[free[0]])
        dealt.append(free[0])
    return dealt


def use(number: int) -> str:
    """Compute on a GPU from now on; returns torch's name of it.  Not collective."""
    torch.cuda.set_device(number)
    return f"cuda:{number}"


@contextmanager
def memory_told() -> Iterator[None]:
    """Tell of a GPU whose memory does not suffice as of any memory.  Not collective.

    Raises:
        ResourceError: On this rank alone: torch found no memory for a tensor.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ResourceError(f"{str(error).partition(' If reserved')[0]} Smaller batches (--batch-size, --fanouts), a "
                            "smaller --hidden, --precision bf16 or more trainers, each on a GPU, need less") from error
