"""The memory that the ranks of a node share: pieces without a name.

One of the node makes a piece and the others map it, so nothing is left when the job is gone, and only memory and its
limits bound its size.
"""

import mmap
import os
from typing import Any, cast

import numpy as np

from mpignn.errors import MpignnError, ResourceError
from mpignn.mpi.host import available_memory
from mpignn.mpi.layout import ALIGN
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import MpiGroup
from mpignn.mpi.world import World
from mpignn.roles import Role


class SharedMemory:
    """Memory of a group of ranks on one node, zero at first.

    Attributes:
        bytes: (nbytes,) uint8.
        kind: How it came about: ``memfd``, ``window`` (``MPI.Win.Allocate_shared``) or ``none`` (of no bytes).
    """

    def __init__(self, group: MpiGroup, everyone: MpiGroup, maker: int, nbytes: int, writable: bool,
                 kind: str | None = None) -> None:
        """Make and map the memory.  Collective over ``everyone``.

        Args:
            group: Those who share it.
            everyone: All groups that make one now, who agree on what goes wrong.
            maker: The rank of the group that makes it.
            nbytes: Size, the same on the ranks of the group.
            writable: Whether this rank may write to it.
            kind: As the attribute, to force one; None takes the first that works.

        Raises:
            ResourceError: On all ranks: it does not fit the limits set on a machine.
        """
        self._window: MPI.Win | None = None
        self._file = -1     # of the memory, for those who may write to it
        self.kind, self.bytes = "none", np.empty(0, np.uint8)
        problem = None
        if nbytes and kind != "window":
            memory, self._file = _map_memfd(group, maker, nbytes, writable)
            if memory is not None:
                self.kind, self.bytes = "memfd", np.frombuffer(memory, np.uint8)
        if nbytes and self.kind == "none":
            problem = _check_shared_folder(nbytes)
        everyone.agree(problem)
        if nbytes and self.kind == "none":
            self._window, self.bytes = _allocate_shared(group, maker, nbytes)
            self.kind = "window"
        if not writable:
            self.bytes.flags.writeable = False

    def store(self, out: np.ndarray, piece: np.ndarray) -> None:
        """Copy ``piece`` into ``out``, a part of ``bytes``.  Not collective; several threads may; not once sealed.

        A page that is written by the system needs not be cleared and mapped first, so this takes half the time of a
        store to memory that nobody has touched yet.

        Raises:
            ResourceError: The machine has no memory left.
        """
        if self._file < 0:
            np.copyto(out, piece)
            return
        begin, done = out.ctypes.data - self.bytes.ctypes.data, 0
        try:
            while done < piece.size:
                done += os.pwrite(self._file, piece[done:].data, begin + done)
        except OSError as error:
            raise ResourceError(f"no memory for the graph on this machine ({error.strerror}): use more nodes, or more "
                                "memory per node") from error

    def seal(self) -> None:
        """End `store`.  Not collective."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def free(self) -> None:
        """Give the memory back, as soon as no array refers to it any more.  Collective over the group."""
        self.seal()
        self.bytes = np.empty(0, np.uint8)
        if self._window is not None:
            self._window.Free()
            self._window = None


class Segment(SharedMemory):
    """The memory of this rank's node that its servers write and the others only read."""

    def __init__(self, world: World, nbytes: int, kind: str | None = None) -> None:
        """Make and map the memory; the node's first server makes it.  Collective over the world.

        Args:
            world: The job.
            nbytes: Size, the same on the ranks of a node; 0 where the node has no server.
            kind: As in `SharedMemory`.

        Raises:
            ResourceError: On all ranks: it does not fit the memory of a machine or the limits set there.
        """
        # Of the ranks of a node the first one tells.
        check_memory(world, nbytes if world.node.rank == 0 else 0, "the graph")
        first, last = world.topology.servers_of(world.node_id)
        maker = world.topology.server_ranks[first] if first < last else world.rank
        super().__init__(world.node, world.all, world.node.allgather(world.rank).index(maker), nbytes,
                         Role.SERVER in world.role, kind)


def check_memory(world: World, nbytes: int, what: str, details: str = "") -> None:
    """Raise unless what the ranks of each machine are about to take fits there.  Collective over the world.

    Args:
        world: The job.
        nbytes: Bytes that this rank will take; of shared memory, one rank of the node tells.
        what: Will take them, for the message.
        details: End of the message.

    Raises:
        ResourceError: On all ranks: a machine, or a limit set there, has less.
    """
    need = sum(world.host.allgather(nbytes))        # a machine may simulate several nodes
    problem: MpignnError | None = None
    have, why = available_memory()
    if need > have:
        problem = ResourceError(f"{what} needs {need / 1e9:.2f} GB of memory on this machine, and "
                                f"{have / 1e9:.2f} GB are left ({why}): use more nodes, or more memory per node"
                                f"{details}")
    world.all.agree(problem)


def _map_memfd(group: MpiGroup, maker: int, nbytes: int, writable: bool) -> tuple[mmap.mmap | None, int]:
    """An anonymous file of one rank, mapped by all, and its handle where this rank may write to it, else -1.

    No memory where that is not possible.  Collective over the group.
    """
    fd, ticket = -1, None
    if group.rank == maker:
        fd = _make_memfd(nbytes)
        ticket = None if fd < 0 else (os.getpid(), fd, _identity(fd))
    ticket = group.allgather(ticket)[maker]
    memory, file = (None, -1) if ticket is None else _open(ticket, nbytes, writable)
    everyone = all(group.allgather(memory is not None))
    if fd >= 0:
        os.close(fd)        # the mappings keep the memory
    if not everyone and file >= 0:
        os.close(file)
    return (memory, file) if everyone else (None, -1)


def _make_memfd(nbytes: int) -> int:
    """A file without a name, or -1 where the system has none."""
    try:
        fd = os.memfd_create("mpignn", os.MFD_CLOEXEC)
    except OSError:
        return -1
    os.ftruncate(fd, nbytes)
    return fd


def _open(ticket: tuple[int, int, Any], nbytes: int, writable: bool) -> tuple[mmap.mmap | None, int]:
    """Map the file of another process, and keep it open for writing; no memory if /proc does not lead to it."""
    pid, number, identity = ticket
    fd, memory = -1, None
    try:
        fd = os.open(f"/proc/{pid}/fd/{number}", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        if _identity(fd) == identity:       # in another namespace the number means another process
            memory = mmap.mmap(fd, nbytes, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    except OSError:
        memory = None
    if fd >= 0 and (memory is None or not writable):
        os.close(fd)
        fd = -1
    return memory, fd


def _identity(fd: int) -> tuple[int, int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_size


def _check_shared_folder(nbytes: int) -> ResourceError | None:
    """MPI libraries back shared windows by files in /dev/shm, and a write beyond its size kills the process."""
    if not os.path.isdir("/dev/shm"):
        return None
    status = os.statvfs("/dev/shm")
    free = status.f_bavail * status.f_frsize
    if nbytes <= free:
        return None
    return ResourceError(f"/proc does not let the ranks of a node share memory, and /dev/shm has {free / 1e9:.2f} GB "
                         f"free where {nbytes / 1e9:.2f} GB are needed: enlarge /dev/shm")


def _allocate_shared(group: MpiGroup, maker: int, nbytes: int) -> tuple[MPI.Win, np.ndarray]:
    """Shared memory of the MPI library, owned by one rank.  Collective over the group."""
    mine = group.rank == maker
    window = MPI.Win.Allocate_shared(nbytes + ALIGN if mine else 0, 1, comm=group.comm)
    buffer = cast(memoryview, window.Shared_query(maker)[0])    # as one: the stubs say so from 3.12 on
    memory = np.frombuffer(buffer, np.uint8)
    # Each rank maps whole pages, so that one distance to the next aligned byte holds for all.
    skip = group.bcast(-memory.ctypes.data % ALIGN, maker)
    return window, memory[skip:skip + nbytes]
