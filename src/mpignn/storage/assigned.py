"""Which partition each node goes to, kept in a file beside what is made of it until that is there.

To cut a graph takes longest of all that `partition` does.  A command that is killed or stopped behind it leaves the
file, and one that makes the same of an equal graph takes it up.  The file says of what it is: what the graph holds, the
options, and the versions of the program and the libraries that cut.  So two commands at once do each other no harm.

Shapes: N nodes of a type.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.comm.group import Group
from mpignn.errors import DataError, MpignnError, Stopped
from mpignn.graph.types import GraphData, etype_key
from mpignn.json_text import to_json
from mpignn.large.disk import full_disk_named
from mpignn.storage.atomic import new_file
from mpignn.storage.forms.npy import Npz
from mpignn.storage.source_id import Checksums
from mpignn.version import version

log = logging.getLogger(__name__)

_MADE_OF = "made_of"
_LIBRARIES = ("mpignn", "pymetis", "kaminpar")


class AssignedFile:
    """The file of one graph that is being made.

    Attributes:
        path: Its path.
    """

    def __init__(self, out: Path, data: GraphData, num_parts: int, method: str, seed: int, balance: Sequence[str],
                 checksums: Checksums) -> None:
        """Collective over the group of ``checksums``.

        What is not told here is as `mpignn.partition.assign.assign` takes it.

        Args:
            out: What is being made.
            data: The graph that is cut.
            checksums: Those of its arrays.
        """
        self.path = out.with_name(f".{out.name}.assigned.npz")
        arrays = {f"{etype_key(etype)} {name}": array for etype, csc in data.csc.items()
                  for name, array in (("indptr", csc.indptr), ("indices", csc.indices), ("ids", csc.edge_ids))
                  if array is not None}
        if balance:
            arrays |= {f"{key} {name}": ids for key, named in data.splits.items() for name, ids in named.items()}
        self._ntypes = tuple(data.num_nodes)
        self._made_of = to_json({"nodes": data.num_nodes, "parts": num_parts, "method": method, "seed": seed,
                                 "balance": list(balance), "versions": [version(name) for name in _LIBRARIES],
                                 "arrays": {name: [*array.shape, checksums.of(array)]
                                            for name, array in sorted(arrays.items())}})

    def read(self) -> dict[str, np.ndarray] | None:
        """(N,) int64 partitions by node type; None: there is no such file, or it is of something else.

        Not collective.
        """
        if not self.path.is_file():
            return None
        try:
            found = Npz(self.path)
            if str(found.get(_MADE_OF)) != self._made_of:
                return None
            parts = {ntype: found[f"node/{ntype}"].astype(np.int64) for ntype in self._ntypes}
        except (DataError, KeyError):       # damaged: it is made again
            return None
        log.warning("%s: taken up, a command that was stopped had left it: the graph is not cut again", self.path)
        return parts

    def keep(self, parts: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """Write the file, over one that is there; returns ``parts``.  Not collective.

        Raises:
            ResourceError: The disk is full.
        """
        arrays: dict[str, Any] = {f"node/{ntype}": of_type.astype(np.int32) for ntype, of_type in parts.items()}
        arrays[_MADE_OF] = np.array(self._made_of)
        with full_disk_named(self.path), new_file(self.path) as partial, partial.open("xb") as file:
            np.savez(file, **arrays)
        return parts

    def remove(self) -> None:
        """Remove the file, if it is there.  Not collective."""
        self.path.unlink(missing_ok=True)


@contextmanager
def left_by_stops(remove: Callable[[], None], group: Group) -> Iterator[None]:
    """Let what is kept for the next command go where a block ends well, or fails: it stays if that is stopped.

    Args:
        remove: Removes it; called on the first rank.

    Collective over the group.
    """
    try:
        yield
    except Stopped:
        raise
    except MpignnError:
        if group.rank == 0:
            remove()
        raise
    if group.rank == 0:
        remove()
