"""The graph that a benchmark reads: the user's, or a synthetic one that lies in a temporary folder meanwhile."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpignn.comm.group import Group
from mpignn.errors import ResourceError, os_errors
from mpignn.storage.synth import make_graph
from mpignn.storage.write import partition_graph


@contextmanager
def temporary_folder(group: Group) -> Iterator[Path]:
    """A folder that is gone behind the block.  Collective over the group, whose ranks must all see it.

    Raises:
        ResourceError: On all ranks: it cannot be made.
    """
    def make() -> Path:
        with os_errors(ResourceError, "cannot make a temporary folder", ": name one by TMPDIR"):
            return Path(tempfile.mkdtemp(prefix="mpignn-bench-"))

    folder = group.by_first(make)
    try:
        yield folder
        group.barrier()     # nobody reads there any more; an error that not all have ends the job
    finally:
        if group.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def graph_to_read(group: Group, graph: str | None, nodes: int, parts: int | None) -> Iterator[str]:
    """The graph that was asked for, or a synthetic one.  Collective over the group.

    Args:
        group: Its ranks must all see the graph.
        graph: As asked for; None: a synthetic one.
        nodes: Nodes of the synthetic one.
        parts: Partitions of the synthetic one; None: it is left as what a graph is made of.

    Raises:
        ConfigError, ResourceError: On all ranks: it cannot be made.
    """
    if graph is not None:
        yield graph
        return
    with temporary_folder(group) as folder:
        def make() -> str:
            make_graph(folder / "source", nodes)
            if parts is None:
                return str(folder / "source")
            partition_graph(folder / "source", folder / "graph", parts)
            return str(folder / "graph")

        yield group.by_first(make)
