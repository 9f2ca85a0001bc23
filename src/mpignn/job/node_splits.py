"""The ids of the splits of a graph: once on each node, in memory that its ranks share.

A graph of 10^9 training links has 8 GB of them, which no rank shall hold for itself.

Shapes: N ids of a split.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mpignn.errors import MpignnError
from mpignn.graph.types import Splits
from mpignn.storage.read import GraphFile

if TYPE_CHECKING:
    from mpignn.mpi.world import World  # MPI starts when it is imported

SplitIds = dict[str, dict[str, np.ndarray]]


def share_splits(world: "World", path: Path, sizes: Splits) -> SplitIds:
    """Read the ids of all splits on each node where ranks train.  Collective over the world.

    Args:
        world: The job.
        path: The graph.
        sizes: How many ids there are.

    Returns:
        (N,) int64 global ids by node type or edge type key, and by name; read-only, in order of original id; none
        on a node where no rank trains.

    Raises:
        DataError: On all ranks: the file is damaged.
        ResourceError: On all ranks: the machine's limits on shared memory.
    """
    first, last = world.topology.trainers_of(world.node_id)
    counts = {(key, name): count.size for key, named in sizes.items() for name, count in named.items()}
    total = sum(counts.values()) if first < last else 0
    if world.size == 1:
        ids = np.empty(total, np.int64)
        _read(path, _cut(ids, counts), np.copyto)
    else:
        from mpignn.mpi.segment import SharedMemory
        reads, problem = world.node.rank == 0, None
        memory = SharedMemory(world.node, world.all, 0, 8 * total, reads)
        ids = memory.bytes.view(np.int64)

        def put(out: np.ndarray, piece: np.ndarray) -> None:
            memory.store(out.view(np.uint8), piece.view(np.uint8))

        try:
            if reads and total:
                _read(path, _cut(ids, counts), put)
        except MpignnError as error:
            problem = error
        world.all.agree(problem)
        if memory.kind == "window":     # gone when it is freed, where ids may be kept longer than the graph
            ids = ids.copy()
            world.node.barrier()
        memory.free()
    ids.flags.writeable = False
    found: SplitIds = {key: {} for key in sizes}
    for (key, name), of_split in _cut(ids, counts).items() if first < last else ():
        found[key][name] = of_split
    return found


def _cut(ids: np.ndarray, counts: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], np.ndarray]:
    """The ids of each split, of those of all."""
    ends = np.cumsum(list(counts.values()), dtype=np.int64).tolist()
    return {where: ids[end - count:end] for (where, count), end in zip(counts.items(), ends, strict=True)}


def _read(path: Path, splits: Mapping[tuple[str, str], np.ndarray],
          put: Callable[[np.ndarray, np.ndarray], None]) -> None:
    with GraphFile(path) as file:
        for (key, name), out in splits.items():
            done = 0
            for piece in file.split_pieces(key, name):
                put(out[done:done + piece.size], piece)
                done += piece.size
