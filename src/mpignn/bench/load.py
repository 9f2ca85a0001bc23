"""How fast do the servers load a graph whose files are in the page cache?

A load is all that a job does between choosing its roles and its first batch: metadata, room, rows read and verified by
the servers, published to all.  Beside it the servers read the same files into new shared memory, and look at nothing.
"""

import mmap
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.timing import Timed, time_in_turn
from mpignn.errors import ResourceError, os_errors
from mpignn.job.job import Job
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import part_file

_READ = "files read into new memory"


def measure(job: Job, graph: str, asked: Asked) -> list[Figure]:
    """Open the graph again and again.  Collective over the world."""
    world, opened = job.world, ExitStack()
    parts = world.all.by_first(lambda: _parts(graph))
    share = [] if world.server_index is None else parts[world.server_index::len(world.topology.server_ranks)]
    size = sum(part.stat().st_size for part in share) / 1e9
    memory: list[mmap.mmap] = []

    def opening(_: int) -> float:
        opened.enter_context(job.open([Path(graph)], asked.config))
        return size

    def reading(_: int) -> float:
        with os_errors(ResourceError, graph):
            memory.extend(map(_read, share))
        return size

    return time_in_turn(world.all, [Timed("load", "GB/s", opening, _READ, opened.close),
                                    Timed(_READ, "GB/s", reading, after=memory.clear)], asked.repeats)


def _parts(graph: str) -> Sequence[Path]:
    with GraphFile(graph) as file:
        return [file.path.parent / part_file(part) for part in range(file.num_parts)]


def _read(path: Path) -> mmap.mmap:
    """The bytes of a file in shared memory of its own."""
    size, handle = path.stat().st_size, os.memfd_create("mpignn-bench")
    os.ftruncate(handle, size)
    memory = mmap.mmap(handle, size)
    os.close(handle)
    with path.open("rb", buffering=0) as file, memoryview(memory) as view:
        done = 0
        while done < size:
            done += file.readinto(view[done:]) or size      # nothing more: the file has been cut meanwhile
    return memory
