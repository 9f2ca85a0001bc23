"""Arrays that trainers own and write: what the ways to rows of other trainers have in common.

The trainers of a node share the memory of their rows.  Rows of the node are read from that memory and replaced there;
how rows of other nodes move, and how rows are reduced exactly, is up to `RmaArray` and `OwnerArray`.

Shapes: T trainers, N rows asked for or given.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.sharded import ArraySpec, Pending
from mpignn.comm.stats import TARGETS, Stats
from mpignn.comm.writable import Delivered, WritableArray
from mpignn.errors import MpignnError, ResourceError
from mpignn.kernels.gather import gather_rows, scatter_rows
from mpignn.log import activity
from mpignn.mpi.host import available_memory
from mpignn.mpi.library import MPI
from mpignn.mpi.segment import SharedMemory
from mpignn.mpi.sync import MpiGroup, cut
from mpignn.mpi.world import World
from mpignn.unique import unique

HELD_BYTES = 64 << 20       # rows that may wait for a flush


class TrainerGroups:
    """The trainers of the job, and those of this node.

    Attributes:
        all: All trainers.
        node: The trainers that share memory with this one.
        host: The trainers of this machine, whatever nodes they simulate.
        stats: What their arrays count in.
    """

    def __init__(self, world: World, stats: Stats | None = None) -> None:
        """Collective over the trainers."""
        trainers = world.trainers
        assert trainers is not None, "only trainers own arrays"
        self.all = trainers
        self.node = MpiGroup(cut(trainers.comm.Split(world.node_id, key=trainers.rank)), trainers)
        self.host = MpiGroup(cut(trainers.comm.Split_type(MPI.COMM_TYPE_SHARED, key=trainers.rank)), trainers)
        self.stats = Stats() if stats is None else stats

    def free(self) -> None:
        """Give the communicators back.  Collective over the trainers."""
        self.node.free()
        self.host.free()


class TrainerArray(WritableArray):
    """The rows of all trainers: one piece of memory on each node."""

    def __init__(self, groups: TrainerGroups, spec: ArraySpec, segment: str | None, rows_per_call: int) -> None:
        """Allocate zeros.  Collective over the trainers.

        Args:
            groups: Who takes part.
            spec: The array, the same on all trainers.
            segment: Kind of shared memory, see `SharedMemory`.
            rows_per_call: No single call moves more.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """
        self.spec = spec
        self._groups = groups
        self._row_bytes = spec.width * spec.dtype.itemsize
        self._rows_per_call = rows_per_call
        self._bounds = np.asarray(spec.bounds)
        self.lo, self.hi = spec.bounds[groups.all.rank:groups.all.rank + 2]
        self._first = groups.all.rank - groups.node.rank        # trainers are numbered by node
        self._node_lo, self._node_hi = spec.bounds[self._first], spec.bounds[self._first + groups.node.size]
        nbytes = (self._node_hi - self._node_lo) * self._row_bytes
        check_memory(groups, nbytes, spec.name)
        self._memory = SharedMemory(groups.node, groups.all, 0, nbytes, True, segment)
        self._memory.seal()     # written through `local` and the window
        self._rows = self._memory.bytes.view(spec.dtype).reshape(self._node_hi - self._node_lo, spec.width)
        self.local = self._rows[self.lo - self._node_lo:self.hi - self._node_lo]
        self._pool = Pool()
        self._unfinished: dict[int, _Reading] = {}      # kept from being forgotten: memory is still written to

    def _finish_readings(self) -> None:
        for reading in list(self._unfinished.values()):
            reading.wait()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Tell that the ``with`` block waits for owners, and count it."""
        activity.waits_for = f"trainers that own rows of {self.spec.name}"
        with self._groups.stats.waiting():
            yield
        activity.waits_for = ""

    def _free_memory(self) -> None:
        self._rows = self.local = self._rows[:0]
        self._memory.free()

    @abstractmethod
    def _settle(self) -> None:
        """Return when what this trainer wrote before can no longer arrive after what it does now.  Not collective."""

    @abstractmethod
    def _fetch(self, rows: np.ndarray, landing: np.ndarray) -> Callable[[], None]:
        """Start copying rows of other nodes, which ascend strictly.  Not collective.

        Returns:
            What to call for them to be there.
        """

    @abstractmethod
    def _send(self, ids: np.ndarray, rows: np.ndarray) -> None:
        """Start replacing rows of other nodes, which ascend strictly; ``rows`` may be changed then.  Not collective."""

    def _gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        self._settle()
        here = (ids >= self._node_lo) & (ids < self._node_hi)
        if here.all():
            self._count("tensor", ids)
            gather_rows(self._rows, ids, self._node_lo, out)
            return _Reading(self, None, out, ids, ids, out)
        near, far = np.flatnonzero(here), np.flatnonzero(~here)
        rows, which = np.unique(ids[far], return_inverse=True)
        self._count("tensor", ids[near])
        self._count("tensor", rows)
        landing = self._pool.empty((rows.size, self.spec.width), self.spec.dtype)
        arrive = self._fetch(rows, landing)
        scatter_rows(self._rows, ids[near], self._node_lo, near, out)
        reading = _Reading(self, arrive, landing, which, far, out)
        self._unfinished[id(reading)] = reading
        return reading

    def _put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        self._settle()
        self._count("write", ids)
        first, last = np.searchsorted(ids, [self._node_lo, self._node_hi])
        self._rows[ids[first:last] - self._node_lo] = rows[first:last]
        for far in slice(0, first), slice(last, ids.size):
            if ids[far].size:
                self._send(ids[far], rows[far])

    def _gather_together(self, ids: np.ndarray, out: np.ndarray, problem: MpignnError | None) -> None:
        self._settle()
        everyone = self._groups.all
        if self._groups.node.size == everyone.size:
            if problem is not None:
                raise problem
            self._count("tensor", ids)
            gather_rows(self._rows, ids, self._node_lo, out)
            return
        here = (ids >= self._node_lo) & (ids < self._node_hi)
        near, far = np.flatnonzero(here), np.flatnonzero(~here)
        rows, which = np.unique(ids[far], return_inverse=True)
        asked, counts = everyone.exchange(rows[:, None], self._per_owner(rows), self._pool, problem)
        self._count("tensor", ids[near])
        self._count_sent("tensor", rows)
        packed = self._pool.empty((len(asked), self.spec.width), self.spec.dtype)
        gather_rows(self.local, asked.reshape(-1), self.lo, packed)
        landing, _ = everyone.exchange(packed, counts, self._pool)
        scatter_rows(self._rows, ids[near], self._node_lo, near, out)
        scatter_rows(landing, which, 0, far, out)

    def _to_owners(self, ids: np.ndarray, rows: np.ndarray, problem: MpignnError | None) -> Delivered:
        everyone = self._groups.all
        me = everyone.rank
        owner = np.searchsorted(self._bounds[1:-1], ids, side="right").astype(np.int16)     # sorted by radix
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=everyone.size)
        first = int(counts[:me].sum())
        mine = order[first:first + counts[me]]
        leaving = np.concatenate([order[:first], order[first + mine.size:]])
        counts[me] = 0
        packed = self._pool.empty((leaving.size, self.spec.width), self.spec.dtype)
        if leaving.size:
            gather_rows(rows, leaving, 0, packed)
        foreign, arriving = everyone.exchange(ids[leaving][:, None], counts, self._pool, problem)
        received, _ = everyone.exchange(packed, counts, self._pool)
        self._count("write", ids[mine])
        self._count_sent("write", ids[leaving])
        before = int(arriving[:me].sum())
        foreign, places = foreign.reshape(-1), len(rows) + np.arange(len(received))
        return Delivered(np.concatenate([foreign[:before], ids[mine], foreign[before:]]),
                         np.concatenate([places[:before], mine, places[before:]]), rows, received)

    def _per_owner(self, rows: np.ndarray) -> np.ndarray:
        """(T,) how many of ascending rows each trainer owns."""
        return np.diff(np.searchsorted(rows, self._bounds))

    def _calls(self, kind: str, ids: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """Cut ascending rows into calls: owner, first and one past the last of its rows.  They are counted as made."""
        if self._row_bytes == 0:
            return
        cuts = np.searchsorted(ids, self._bounds)
        for trainer in np.flatnonzero(cuts[1:] > cuts[:-1]).tolist():
            for begin in range(cuts[trainer], cuts[trainer + 1], self._rows_per_call):
                self._groups.stats.count_calls(kind, None, self._target(trainer), trainer, 1)
                yield trainer, begin, min(begin + self._rows_per_call, int(cuts[trainer + 1]))

    def _target(self, trainer: int) -> str:
        """Where a trainer is, as `Stats` calls it."""
        if trainer == self._groups.all.rank:
            return TARGETS[0]
        return TARGETS[1] if 0 <= trainer - self._first < self._groups.node.size else TARGETS[2]

    def _count_sent(self, kind: str, ids: np.ndarray) -> None:
        """Count rows that go to or come from their owners in one message each."""
        self._count(kind, ids)
        for trainer in unique(np.searchsorted(self._bounds[1:-1], ids, side="right")).tolist():
            self._groups.stats.count_calls(kind, None, self._target(trainer), trainer, 1)

    def _count(self, kind: str, ids: np.ndarray) -> None:
        """Count rows by where they are owned."""
        mine = int(((ids >= self.lo) & (ids < self.hi)).sum())
        near = int(((ids >= self._node_lo) & (ids < self._node_hi)).sum())
        for target, rows in zip(TARGETS, (mine, near - mine, ids.size - near, 0), strict=True):
            self._groups.stats.count(kind, None, target, rows, self._row_bytes)


class _Reading(Pending):
    """Rows under way, and where they go."""

    def __init__(self, array: TrainerArray, arrive: Callable[[], None] | None, landing: np.ndarray, which: np.ndarray,
                 places: np.ndarray, out: np.ndarray) -> None:
        self._array, self._arrive = array, arrive
        self._landing, self._which, self._places, self._out = landing, which, places, out

    def wait(self) -> None:
        if self._arrive is not None:
            with self._array._waiting():
                self._arrive()
            self._arrive = None
            del self._array._unfinished[id(self)]
            scatter_rows(self._landing, self._which, 0, self._places, self._out)


def check_memory(groups: TrainerGroups, nbytes: int, name: str) -> None:
    """Raise unless the memory of all nodes that this machine stands for is there.  Collective over the trainers.

    Args:
        groups: Who takes part.
        nbytes: What the trainers of this node are about to share.
        name: What will take it, for the message.

    Raises:
        ResourceError: On all trainers.
    """
    asked = groups.host.allgather(nbytes if groups.node.rank == 0 else 0)
    need, (have, why) = sum(asked), available_memory()
    groups.all.agree(None if need <= have else ResourceError(
        f"{name} needs {need / 1e9:.2f} GB of memory on this machine, and {have / 1e9:.2f} GB are left ({why}): "
        "use more nodes, or more memory per node"))
