"""Waiting that leaves the core to others, and groups of ranks.

A blocking MPI call spins.  Where ranks share cores, or wait for long, that steals the time of those they wait
for; so such waits are made of `Test` and naps.

A wait may be in vain: for a rank that is at the end of the program, or of a graph, and will not come.  A rank that
waits there for all others (`meet`) for long tells the next rank of each of its groups, and one that waits in a
collective of that group hears of it.  Where every rank of a group either is at the end or waits, and there are both,
one that waits comes next to one that is at the end; so one message for each rank and group is enough.
"""

import os
import pickle
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.group import Group
from mpignn.duties import has_duties, serve
from mpignn.errors import CommError, LeftBehind, MpignnError
from mpignn.log import activity
from mpignn.mpi.library import MPI

CHUNK_BYTES = 1 << 30       # no single call moves more
_SPIN_S = 100e-6            # most answers of a busy partner come within this
_WORK_S = 25e-6             # a look at MPI that takes longer moved something; one that finds nothing takes 1 to 15 us
_NAP_SHARE = 0.1            # a nap is this share of the time that nothing happened, so a wait is only that much longer
_SHORTEST_NAP_S = 20e-6
_SERVING_NAP_S = 100e-6
_NAMED_RANKS = 8            # of a group, where it is told who is waited for
_END_S = 1.0                # at the end for longer, a rank tells so
_PATIENCE_S = 2.0           # waiting for longer, one looks who is at the end; twice, as what it waits for may be coming
_AT_END = 32767             # tag of the message
_FOR_EVER = 1 << 62       # in place of a meeting, with the exit code added: at the end of the program

_groups: "weakref.WeakSet[MpiGroup]" = weakref.WeakSet()    # all of this process
_meetings = 0       # of all ranks that are over


def wait_until(done: Callable[[], bool], longest_nap_s: float, look: Callable[[], None] | None = None) -> None:
    """Poll ``done`` until it is true: first yielding the core, then in naps that grow while nothing happens.

    ``done`` enters MPI, so this rank makes progress for others; and it serves them.  Not collective.

    Args:
        look: Called now and then once this has taken long.
    """
    began = quiet_since = time.perf_counter()
    next_look = began + _END_S
    while True:
        asked = time.perf_counter()
        if done():
            return
        serve()
        now = time.perf_counter()
        if now - asked > _WORK_S:
            quiet_since = now       # more of the same is likely to follow
        if look is not None and now > next_look:
            next_look = now + _END_S
            look()
        if now - quiet_since < _SPIN_S or longest_nap_s == 0:
            os.sched_yield()
        else:
            longest = min(longest_nap_s, _SERVING_NAP_S) if has_duties() else longest_nap_s
            time.sleep(min(longest, max(_SHORTEST_NAP_S, _NAP_SHARE * (now - quiet_since))))


def meet(comm: MPI.Intracomm, longest_nap_s: float, leaving: int | None = None) -> None:
    """Return when all ranks are here, at the end of a graph or of the program; progress is made, and served.

    Args:
        comm: All ranks.
        longest_nap_s: As for `wait_until`.
        leaving: If this is the end of the program, its exit code, 0 where that is not known.

    Raises:
        CommError: A rank has left the program and will not come.

    Collective over ``comm``.
    """
    global _meetings
    told: list[Any] = []
    looks = 0

    def look() -> None:
        nonlocal looks
        if not told:
            number = np.array([_meetings if leaving is None else _FOR_EVER + leaving], np.int64)
            told.extend((number, request) for group in _groups for request in group.tell_end(number))
        looks += 1
        if leaving is None:
            for group in _groups:
                group.look(looks, _FOR_EVER)

    wait_until(comm.Ibarrier().Test, longest_nap_s, look)
    _meetings += leaving is None


def cut(comm: MPI.Comm) -> MPI.Intracomm:
    """A part of an intracommunicator, which is one, too, though the types of mpi4py do not say so."""
    assert isinstance(comm, MPI.Intracomm)
    return comm


class MpiGroup(Group):
    """The ranks of a communicator.

    Attributes:
        comm: The communicator; this group's own, nobody else sends on it.
        chunk_bytes: No single `exchange` call moves more, unless rows are larger; the same on all ranks.
        others: The other ranks, as it is told who is waited for.
    """

    chunk_bytes = CHUNK_BYTES

    def __init__(self, comm: MPI.Intracomm, blocks: "bool | MpiGroup", name: str = "group") -> None:
        """Not collective.

        Args:
            comm: The communicator.
            blocks: As the property; or a group, whose answer is then that of this one, now and later.
            name: What it is called where it is told who is waited for.
        """
        self.comm = comm
        self.rank = comm.Get_rank()
        self.size = comm.Get_size()
        self._blocks: list[bool] = blocks._blocks if isinstance(blocks, MpiGroup) else [blocks]
        self.others = _others(comm, name)
        self._met = -1          # the last meeting that the rank before this one told to be in
        _groups.add(self)

    @property
    def blocks(self) -> bool:
        """Whether collectives spin until they are done, which needs a core for each rank; the same on all ranks."""
        return self._blocks[0]

    @blocks.setter
    def blocks(self, blocks: bool) -> None:
        self._blocks[0] = blocks

    def barrier(self) -> None:
        self._wait(self.comm.Ibarrier().Test, 5e-3)

    def bcast(self, value: Any, root: int = 0) -> Any:
        pickled = np.frombuffer(pickle.dumps(value) if self.rank == root else b"", np.uint8).copy()
        size = np.array([pickled.size])
        self.broadcast(size, root)
        if self.rank != root:
            pickled = np.empty(size[0], np.uint8)
        self.broadcast(pickled, root)
        return value if self.rank == root else pickle.loads(pickled.data)

    def allgather(self, value: Any) -> list[Any]:
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

    def call(self, name: str, *arguments: Any) -> None:
        """Run a collective of the communicator, such as ``Allreduce``.  Collective over the group.

        If the group does not block, its non-blocking twin is waited for politely.
        """
        if self.blocks:
            activity.waits_for = self.others
            getattr(self.comm, name)(*arguments)
            activity.waits_for = ""
        else:
            self._wait(getattr(self.comm, f"I{name.lower()}")(*arguments).Test, 1e-3)

    def wait_for(self, request: MPI.Request) -> int:
        """Wait politely until a message has been sent or has come; returns the rank that sent it.  Not collective."""
        status = MPI.Status()
        self._wait(lambda: request.Test(status), 1e-3)
        return status.Get_source()

    def free(self) -> None:
        """Give the communicator back.  Collective over the group."""
        _groups.discard(self)
        self.comm.Free()

    def tell_end(self, meeting: np.ndarray) -> list[MPI.Request]:
        """Tell the next rank of the group in which meeting this one is; the (1,) int64 array lives until it is over."""
        return [self.comm.Isend(meeting, (self.rank + 1) % self.size, _AT_END)] if self.size > 1 else []

    def look(self, looks: int, meeting: int) -> None:
        """Give up if this rank waits, and the one before it is in that meeting, or has left.  Not collective.

        Args:
            looks: How often it has looked; the first times are for what is on its way.
            meeting: Number of the meeting.

        Raises:
            LeftBehind: It has left because of an error that it has told.
            CommError: It has come to that meeting, or has left for no such reason.
        """
        before = (self.rank - 1) % self.size
        while self.size > 1 and self.comm.Iprobe(before, _AT_END):
            number = np.empty(1, np.int64)
            self.comm.Recv(number, before, _AT_END)
            self._met = int(number[0])
        has_left = self._met >= _FOR_EVER
        if (has_left or self._met == meeting) and looks * _END_S > _PATIENCE_S:
            (world_rank,) = MPI.Group.Translate_ranks(self.comm.Get_group(), [before], MPI.COMM_WORLD.Get_group())
            where = "left the program" if has_left else "come to the end of the graph"
            error = LeftBehind if self._met > _FOR_EVER else CommError
            lonely = error(f"world rank {world_rank} has {where}, and this one waits in vain for what it should take "
                           "part in")
            if isinstance(lonely, LeftBehind):
                lonely.exit_code = self._met - _FOR_EVER
            raise lonely

    def _wait(self, done: Callable[[], bool], longest_nap_s: float) -> None:
        activity.waits_for = self.others
        looks = 0

        def look() -> None:
            nonlocal looks
            looks += 1
            self.look(looks, _meetings)

        wait_until(done, longest_nap_s, look)
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
