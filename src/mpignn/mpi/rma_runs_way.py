"""The one-sided way to rows of other nodes by plain reads: a `Get` for each run of rows that lie together.

`RmaWay` reads all rows of an owner by one `Get` of scattered memory.  A network card that reads only memory that lies
together cannot do that: MPICH over UCX then sends the owner a message, and the rows wait until it enters MPI.  Plain
reads need no one at the other end, but are many.
"""

import numpy as np

from mpignn.mpi.layout import chunks
from mpignn.mpi.rma_way import Gets, RmaWay
from mpignn.mpi.ways import Ask


class RmaRunsWay(RmaWay):
    """The window of `RmaWay`, read run by run."""

    def reads(self, target: int, starts: np.ndarray, sizes: np.ndarray) -> Ask:
        return Gets(self.win, target, [(starts[n:n + 1], sizes[n:n + 1])
                                       for starts, sizes in chunks(starts, sizes, self.chunk_bytes)
                                       for n in range(starts.size)])
