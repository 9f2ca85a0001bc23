"""The memory of copies of rows that other nodes hold: the trainers of a node share it.

Shapes: C copies of rows of W elements.
"""

from collections.abc import Mapping

import numpy as np

from mpignn.comm.copies import Copies, Runs
from mpignn.comm.transport import GraphArray
from mpignn.mpi.layout import ALIGN
from mpignn.mpi.segment import SharedMemory
from mpignn.mpi.trainer_array import TrainerGroups, check_memory


class CopiesMemory:
    """The memory of all copies on a node, which its trainers write and read."""

    def __init__(self, groups: TrainerGroups, arrays: Mapping[str, GraphArray],
                 rows: Mapping[str, np.ndarray | Runs], what: str, kind: str | None = None) -> None:
        """Make and map it.  Collective over the trainers.

        Args:
            groups: Who takes part.
            arrays: Those of the graph.
            rows: (C,) int64 numbers of the rows to copy, ascending, by name of the array; the same on the trainers of a
                node.
            what: What they are, for messages.
            kind: As in `SharedMemory`.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """
        sizes = {name: ids.size * arrays[name].spec.width * arrays[name].spec.dtype.itemsize
                 for name, ids in rows.items()}
        nbytes = sum(-(-size // ALIGN) * ALIGN for size in sizes.values())
        check_memory(groups, nbytes, what)
        self._memory = SharedMemory(groups.node, groups.all, 0, nbytes, True, kind)
        self._memory.seal()     # written through `of`
        self.of, end = dict[str, Copies](), 0
        for name, ids in rows.items():
            spec, begin = arrays[name].spec, end
            end += -(-sizes[name] // ALIGN) * ALIGN
            held = self._memory.bytes[begin:begin + sizes[name]].view(spec.dtype).reshape(ids.size, spec.width)
            self.of[name] = Copies(ids, held)

    def free(self) -> None:
        """Give it back.  Collective over the trainers."""
        self.of = {}
        self._memory.free()
