"""The memory that the ranks of a node share: one piece per node and graph, without a name.

The first server of the node makes it and the others map it, so nothing is left when the job is gone, and only
memory and its limits bound its size.
"""

import mmap
import os
from typing import Any

import numpy as np

from mpignn.errors import MpignnError, ResourceError
from mpignn.mpi.host import available_memory
from mpignn.mpi.layout import ALIGN
from mpignn.mpi.library import MPI
from mpignn.mpi.world import World
from mpignn.roles import Role


class Segment:
    """The shared memory of this rank's node.

    Attributes:
        bytes: (nbytes,) uint8; writable on servers only.
        kind: How it came about: ``memfd``, ``window`` (``MPI.Win.Allocate_shared``) or ``none`` (no server here).
    """

    def __init__(self, world: World, nbytes: int, kind: str | None = None):
        """Make and map the memory.  Collective over the world.

        Args:
            world: The job.
            nbytes: Size, the same on the ranks of a node.
            kind: As the attribute, to force one; None takes the first that works.

        Raises:
            ResourceError: On all ranks: it does not fit the memory of a machine or the limits set there.
        """
        _check_memory(world, nbytes)
        self._window: MPI.Win | None = None
        self.kind, self.bytes = "none", np.empty(0, np.uint8)
        problem = None
        if nbytes and kind != "window":
            memory = _map_memfd(world, nbytes)
            if memory is not None:
                self.kind, self.bytes = "memfd", np.frombuffer(memory, np.uint8)
        if nbytes and self.kind == "none":
            problem = _check_shared_folder(nbytes)
        world.world.agree(problem)
        if nbytes and self.kind == "none":
            self._window, self.bytes = _allocate_shared(world, nbytes)
            self.kind = "window"
        if Role.SERVER not in world.role:
            self.bytes.flags.writeable = False

    def free(self) -> None:
        """Give the memory back, as soon as no array refers to it any more.  Collective over the node."""
        self.bytes = np.empty(0, np.uint8)
        if self._window is not None:
            self._window.Free()
            self._window = None


def _check_memory(world: World, nbytes: int) -> None:
    """Raise unless the segments of all nodes that this machine stands for fit.  Collective over the world."""
    asked = dict(world.host.allgather((world.node_id, nbytes)))     # machines may simulate several nodes
    need = sum(asked.values())
    problem: MpignnError | None = None
    have, why = available_memory()
    if need > have:
        problem = ResourceError(f"the graph needs {need / 1e9:.2f} GB of memory on this machine, and "
                                f"{have / 1e9:.2f} GB are left ({why}): use more nodes, or more memory per node")
    world.world.agree(problem)


def _map_memfd(world: World, nbytes: int) -> mmap.mmap | None:
    """An anonymous file of the node's first server, mapped by all; None where that is not possible.

    Collective over the node.
    """
    owner = world.topology.server_ranks[world.topology.servers_of(world.node_id)[0]]
    fd, ticket = -1, None
    if world.rank == owner:
        fd = _make_memfd(nbytes)
        ticket = None if fd < 0 else (os.getpid(), fd, _identity(fd))
    ticket = next((t for t in world.node.allgather(ticket) if t is not None), None)
    memory = None if ticket is None else _open(ticket, nbytes, writable=Role.SERVER in world.role)
    everyone = all(world.node.allgather(memory is not None))
    if fd >= 0:
        os.close(fd)        # the mappings keep the memory
    return memory if everyone else None


def _make_memfd(nbytes: int) -> int:
    """A file without a name, or -1 where the system has none."""
    try:
        fd = os.memfd_create("mpignn", os.MFD_CLOEXEC)
    except OSError:
        return -1
    os.ftruncate(fd, nbytes)
    return fd


def _open(ticket: tuple[int, int, Any], nbytes: int, writable: bool) -> mmap.mmap | None:
    """Map the file of another process; None if /proc does not lead to it."""
    pid, number, identity = ticket
    fd = -1
    try:
        fd = os.open(f"/proc/{pid}/fd/{number}", (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        if _identity(fd) != identity:       # in another namespace the number means another process
            return None
        return mmap.mmap(fd, nbytes, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    except OSError:
        return None
    finally:
        if fd >= 0:
            os.close(fd)


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
                         f"free where the graph needs {nbytes / 1e9:.2f} GB: enlarge /dev/shm")


def _allocate_shared(world: World, nbytes: int) -> tuple[MPI.Win, np.ndarray]:
    """Shared memory of the MPI library, owned by the node's first server.  Collective over the node."""
    owner = world.topology.server_ranks[world.topology.servers_of(world.node_id)[0]]
    owner = world.node.allgather(world.rank).index(owner)
    mine = world.node.rank == owner
    window = MPI.Win.Allocate_shared(nbytes + ALIGN if mine else 0, 1, comm=world.node.comm)
    memory = np.frombuffer(window.Shared_query(owner)[0], np.uint8)
    # Each rank maps whole pages, so that one distance to the next aligned byte holds for all.
    skip = world.node.bcast(-memory.ctypes.data % ALIGN, owner)
    return window, memory[skip:skip + nbytes]
