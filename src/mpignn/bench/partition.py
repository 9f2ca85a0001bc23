"""How long does it take to cut a graph into partitions and write them, all ranks together?

Beside it the ranks write as many bytes to the same folder, and see to it that they are on the disk.
"""

import os
import shutil
from pathlib import Path

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.graphs import temporary_folder
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.errors import ResourceError, os_errors
from mpignn.job.job import Job
from mpignn.mpi.host import available_memory
from mpignn.storage.write import partition_graph

_WRITTEN = "as many bytes written"
_PIECE = bytes(1 << 20)


def measure(job: Job, graph: str, asked: Asked) -> list[Figure]:
    """Cut the graph again and again, by METIS, which one rank does.  Collective over the world."""
    world = job.world
    memory = min(world.all.allgather(available_memory()[0] // 2 // world.host.size))
    with temporary_folder(world.all) as folder:
        cut, sizes = folder / "graph", list[int]()

        def cutting(_: int) -> float:
            partition_graph(graph, cut, asked.parts, memory=memory, group=world.all)
            return 1

        def remove() -> None:
            if world.rank == 0:
                sizes[:] = [sum(path.stat().st_size for path in cut.iterdir())]
                shutil.rmtree(cut)
            sizes[:] = world.all.bcast(sizes)

        def writing(_: int) -> float:
            first, last = world.all.share(sizes[0])
            with os_errors(ResourceError, str(folder)):
                _write(folder / f"bytes-{world.rank}", last - first)
            return 1

        return time_in_turn(world.all, [Timed(f"{asked.parts} partitions", "s", cutting, _WRITTEN, remove),
                                        Timed(_WRITTEN, "s", writing)], asked.repeats)


def _write(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for first in range(0, size, len(_PIECE)):
            file.write(_PIECE[:size - first])
        file.flush()
        os.fsync(file.fileno())
