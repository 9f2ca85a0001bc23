"""Waiting that leaves the core to others, and groups of ranks.

A blocking MPI call spins.  Where ranks share cores, or wait for long, that steals the time of those they wait
for; so such waits are made of `Test` and naps.
"""

import os
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mpignn.buffers import Pool
from mpignn.errors import MpignnError
from mpignn.log import activity
from mpignn.mpi.library import MPI
from mpignn.transport.group import Group

CHUNK_BYTES = 1 << 30       # no single call moves more
_SPIN_S = 100e-6            # most answers of a busy partner come within this
_WORK_S = 5e-6              # a look at MPI that takes longer moved something: an idle one takes 1 us
_NAP_SHARE = 0.1            # a nap is this share of the time that nothing happened, so a wait is only that much longer
_SHORTEST_NAP_S = 20e-6
_SERVING_NAP_S = 100e-6
_NAMED_RANKS = 8            # of a group, where it is told who is waited for

# What this process does for others whenever it waits, for whatever it waits.  MPI's progress is one for the process,
# and so is this: a wait that did not serve could wait for a rank that waits to be served.
_duties: list[Callable[[], None]] = []


def serve_while_waiting(duty: Callable[[], None]) -> None:
    """From now on call ``duty`` over and over in every wait of this process; it must not block.  Not collective."""
    _duties.append(duty)


def stop_serving(duty: Callable[[], None]) -> None:
    """Undo `serve_while_waiting`.  Not collective."""
    _duties.remove(duty)


def wait_until(done: Callable[[], bool], longest_nap_s: float) -> None:
    """Poll ``done`` until it is true: first yielding the core, then in naps that grow while nothing happens.

    ``done`` enters MPI, so this rank makes progress for others; and it serves them.  Not collective.
    """
    quiet_since = time.perf_counter()
    while True:
        asked = time.perf_counter()
        if done():
            return
        for duty in _duties:
            duty()
        now = time.perf_counter()
        if now - asked > _WORK_S:
            quiet_since = now       # more of the same is likely to follow
        if now - quiet_since < _SPIN_S or longest_nap_s == 0:
            os.sched_yield()
        else:
            longest = min(longest_nap_s, _SERVING_NAP_S) if _duties else longest_nap_s
            time.sleep(min(longest, max(_SHORTEST_NAP_S, _NAP_SHARE * (now - quiet_since))))


class MpiGroup(Group):
    """The ranks of a communicator.

    Attributes:
        comm: The communicator; this group's own, nobody else sends on it.
        chunk_bytes: No single `exchange` call moves more, unless rows are larger; the same on all ranks.
        others: The other ranks, as it is told who is waited for.
    """

    chunk_bytes = CHUNK_BYTES

    def __init__(self, comm: MPI.Intracomm, blocks: "bool | MpiGroup", name: str = "group"):
        """Not collective.

        Args:
            comm: The communicator.
            blocks: As the property; or a group, whose answer is then that of this one, now and later.
            name: What it is called where it is told who is waited for.
        """
        self.comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self._blocks = blocks._blocks if isinstance(blocks, MpiGroup) else [blocks]
        self.others = _others(comm, name)

    @property
    def blocks(self) -> bool:
        """Whether collectives spin until they are done, which needs a core for each rank; the same on all ranks."""
        return self._blocks[0]

    @blocks.setter
    def blocks(self, blocks: bool) -> None:
        self._blocks[0] = blocks

    def barrier(self) -> None:
        self._wait(self.comm.Ibarrier(), 5e-3)

    def bcast(self, value: Any, root: int = 0) -> Any:
        pickled = np.frombuffer(pickle.dumps(value) if self.rank == root else b"", np.uint8).copy()
        size = np.array([pickled.size])
        self.broadcast(size, root)
        if self.rank != root:
            pickled = np.empty(size[0], np.uint8)
        self.broadcast(pickled, root)
        return value if self.rank == root else pickle.loads(pickled)

    def allgather(self, value: Any) -> list:
        self.barrier()      # the wait for latecomers is here, politely, and not in the blocking call
        activity.waits_for = self.others
        values = self.comm.allgather(value)
        activity.waits_for = ""
        return values

    def all_sum(self, array: np.ndarray) -> np.ndarray:
        self.all_reduce(array, MPI.SUM)
        return array

    def exchange(self, rows: np.ndarray, counts: np.ndarray, pool: Pool,
                 problem: MpignnError | None = None) -> tuple[np.ndarray, np.ndarray]:
        row_bytes = rows.itemsize * rows.shape[1]
        step = max(1, self.chunk_bytes // self.size // max(1, row_bytes))    # rows of a pair of ranks in one call
        told = np.empty((self.size, 2), np.int64)       # rows for a rank, and how many calls they take; -1: a problem
        told[:, 0] = counts if problem is None else 0
        told[:, 1] = -(-int(counts.max()) // step) if problem is None else -1
        heard = np.empty_like(told)
        self.call("Alltoall", told, heard)
        if heard[:, 1].min() < 0:
            self.agree(problem)
        arriving = heard[:, 0].copy()
        got = pool.empty((int(arriving.sum()), rows.shape[1]), rows.dtype)
        if row_bytes:
            datatype = MPI.BYTE.Create_contiguous(row_bytes).Commit()
            for first in range(0, int(heard[:, 1].max()) * step, step):
                self.call("Alltoallv", [rows, _stretches(counts, first, step), datatype],
                          [got, _stretches(arriving, first, step), datatype])
            datatype.Free()
        return got, arriving

    def all_reduce(self, array: np.ndarray, op: MPI.Op) -> None:
        """Reduce element-wise over the group, in place.  Collective over the group.

        Args:
            array: C-contiguous, of a type that MPI knows; of equal size on all ranks.
            op: How two values are joined.
        """
        for piece in _pieces(array):
            self.call("Allreduce", MPI.IN_PLACE, piece, op)

    def broadcast(self, array: np.ndarray, root: int) -> None:
        """Copy ``array`` of ``root`` into that of all others.  Collective over the group.

        Args:
            array: C-contiguous; of equal size on all ranks.
            root: Whose array.
        """
        for piece in _pieces(array):
            self.call("Bcast", [piece, MPI.BYTE], root)

    def call(self, name: str, *arguments) -> None:
        """Run a collective of the communicator, such as ``Allreduce``.  Collective over the group.

        If the group does not block, its non-blocking twin is waited for politely.
        """
        if self.blocks:
            activity.waits_for = self.others
            getattr(self.comm, name)(*arguments)
            activity.waits_for = ""
        else:
            self._wait(getattr(self.comm, f"I{name.lower()}")(*arguments), 1e-3)

    def free(self) -> None:
        """Give the communicator back.  Collective over the group."""
        self.comm.Free()

    def _wait(self, request: MPI.Request, longest_nap_s: float) -> None:
        activity.waits_for = self.others
        wait_until(request.Test, longest_nap_s)
        activity.waits_for = ""


def _others(comm: MPI.Intracomm, name: str) -> str:
    """Name of a group and the world ranks in it but this one."""
    ranks = MPI.Group.Translate_ranks(comm.Get_group(), None, MPI.COMM_WORLD.Get_group())
    others = [str(rank) for rank in ranks if rank != MPI.COMM_WORLD.Get_rank()]
    more = ", ..." if len(others) > _NAMED_RANKS else ""
    return f"{name} (world rank {', '.join(others[:_NAMED_RANKS])}{more})" if others else name


def _pieces(array: np.ndarray) -> Iterator[np.ndarray]:
    """The elements of a contiguous array in flat pieces of at most `CHUNK_BYTES`."""
    assert array.flags.c_contiguous, "MPI sends contiguous memory"
    flat = array.reshape(-1)
    step = CHUNK_BYTES // array.itemsize
    for first in range(0, flat.size, step):
        yield flat[first:first + step]


def _stretches(counts: np.ndarray, first: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """For each rank, how many of its ``counts`` rows are among the ``step`` from ``first`` on, and where they start."""
    starts = np.cumsum(counts) - counts
    return np.clip(counts - first, 0, step), starts + np.minimum(first, counts)
