"""Arrays that trainers own and write, over one-sided MPI.

The trainers of a node share the memory of their rows; each opens its own rows to all trainers by one RMA window.  Rows
of the node are read from that memory and replaced there.  Everything else goes through the window, reductions of
the node's own rows too, because only then they are atomic.

A read or write of another node's rows may wait until their owner's next MPI call; `sync` completes everything, since
all trainers are inside MPI then.

Shapes: T trainers, N rows asked for or given, B stretches of rows that follow each other.
"""

from collections.abc import Callable

import numpy as np

from mpignn.buffers import Pool
from mpignn.errors import MpignnError, ResourceError
from mpignn.kernels.gather import gather_rows, scatter_rows
from mpignn.mpi.host import available_memory
from mpignn.mpi.library import MPI
from mpignn.mpi.segment import SharedMemory
from mpignn.mpi.sync import CHUNK_BYTES, MpiGroup
from mpignn.mpi.world import World
from mpignn.transport.api import ArraySpec, Pending
from mpignn.transport.table import Delivered, Table

# What MPI can reduce element by element.
_BASIC = {np.dtype(name): datatype for name, datatype in (
    ("float32", MPI.FLOAT), ("float64", MPI.DOUBLE), ("int8", MPI.INT8_T), ("int16", MPI.INT16_T),
    ("int32", MPI.INT32_T), ("int64", MPI.INT64_T), ("uint8", MPI.UINT8_T))}
_OPS = {"add": MPI.SUM, "min": MPI.MIN, "max": MPI.MAX}
_PUT = "put"
_HELD_BYTES = 64 << 20      # rows that may wait for a flush


class TrainerGroups:
    """The trainers of the job, and those of this node.

    Attributes:
        node: The trainers that share memory with this one.
        host: The trainers of this machine, whatever nodes they simulate.
    """

    def __init__(self, world: World):
        """Collective over the trainers."""
        trainers = world.trainers
        assert trainers is not None, "only trainers own tables"
        self.all = trainers
        self.node = MpiGroup(trainers.comm.Split(world.node_id, key=trainers.rank), trainers.blocks)
        self.host = MpiGroup(trainers.comm.Split_type(MPI.COMM_TYPE_SHARED, key=trainers.rank), trainers.blocks)

    def free(self) -> None:
        """Give the communicators back.  Collective over the trainers."""
        self.node.free()
        self.host.free()


class MpiTable(Table):
    """The rows of all trainers: one piece of memory on each node, and one RMA window."""

    def __init__(self, groups: TrainerGroups, spec: ArraySpec, segment: str | None = None,
                 chunk_bytes: int = CHUNK_BYTES):
        """Allocate zeros.  Collective over the trainers.

        Args:
            groups: Who takes part.
            spec: The array, the same on all trainers.
            segment: Kind of shared memory, see `SharedMemory`.
            chunk_bytes: No single call moves more, unless a row is larger.

        Raises:
            ResourceError: On all trainers: a machine has too little memory.
        """
        self.spec = spec
        self._groups = groups
        self._row_bytes = spec.width * spec.dtype.itemsize
        self._rows_per_call = max(1, chunk_bytes // max(1, self._row_bytes))
        self._bounds = np.asarray(spec.bounds)
        self.lo, self.hi = spec.bounds[groups.all.rank:groups.all.rank + 2]
        first = groups.all.rank - groups.node.rank      # trainers are numbered by node
        self._node_lo, self._node_hi = spec.bounds[first], spec.bounds[first + groups.node.size]
        nbytes = (self._node_hi - self._node_lo) * self._row_bytes
        _check_memory(groups, nbytes, spec.name)
        self._memory = SharedMemory(groups.node, groups.all, 0, nbytes, True, segment)
        self._memory.seal()     # written through `local` and the window
        self._rows = self._memory.bytes.view(spec.dtype).reshape(self._node_hi - self._node_lo, spec.width)
        self.local = self._rows[self.lo - self._node_lo:self.hi - self._node_lo]
        self._pool = Pool()
        self._pending: str | None = None        # kind of the writes that are not flushed
        self._held: list[np.ndarray] = []       # their rows
        self._win = MPI.Win.Create(self.local if self.local.nbytes else None, 1, comm=groups.all.comm)
        self._win.Lock_all(MPI.MODE_NOCHECK)
        self._win.Sync()
        groups.all.barrier()

    def flush(self) -> None:
        if self._held:
            self._win.Flush_all()
            self._held = []
        self._pending = None

    def sync(self) -> None:
        self.flush()
        self._win.Sync()        # what this trainer stored in its node's memory, before the others read it
        self._groups.all.barrier()
        self._win.Sync()

    def _free(self) -> None:
        self.flush()
        self._groups.all.barrier()      # nobody still writes to what is taken away
        self._win.Unlock_all()
        self._win.Free()
        self._rows = self.local = self._rows[:0]
        self._memory.free()

    def _gather(self, ids: np.ndarray, out: np.ndarray) -> Pending:
        self.flush()
        here = (ids >= self._node_lo) & (ids < self._node_hi)
        if here.all():
            gather_rows(self._rows, ids, self._node_lo, out)
            return _Reading(self._win, [], out, ids, ids, out)
        near, far = np.flatnonzero(here), np.flatnonzero(~here)
        rows, which = np.unique(ids[far], return_inverse=True)
        landing = self._pool.empty((rows.size, self.spec.width), self.spec.dtype)
        touched = self._each_target(rows, landing, self._win.Get, MPI.BYTE, self._row_bytes)
        scatter_rows(self._rows, ids[near], self._node_lo, near, out)
        return _Reading(self._win, touched, landing, which, far, out)

    def _gather_together(self, ids: np.ndarray, out: np.ndarray, problem: MpignnError | None) -> None:
        self.flush()
        everyone = self._groups.all
        if self._groups.node.size == everyone.size:
            if problem is not None:
                raise problem
            gather_rows(self._rows, ids, self._node_lo, out)
            return
        here = (ids >= self._node_lo) & (ids < self._node_hi)
        near, far = np.flatnonzero(here), np.flatnonzero(~here)
        rows, which = np.unique(ids[far], return_inverse=True)
        asked, counts = everyone.exchange(rows[:, None], self._per_owner(rows), self._pool, problem)
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
        before = int(arriving[:me].sum())
        foreign, places = foreign.reshape(-1), len(rows) + np.arange(len(received))
        return Delivered(np.concatenate([foreign[:before], ids[mine], foreign[before:]]),
                         np.concatenate([places[:before], mine, places[before:]]), rows, received)

    def _per_owner(self, rows: np.ndarray) -> np.ndarray:
        """(T,) how many of ascending rows each trainer owns."""
        return np.diff(np.searchsorted(rows, self._bounds))

    def _put(self, ids: np.ndarray, rows: np.ndarray) -> None:
        self.flush()        # what this trainer wrote before must not arrive later
        first, last = np.searchsorted(ids, [self._node_lo, self._node_hi])
        self._rows[ids[first:last] - self._node_lo] = rows[first:last]
        far = np.r_[0:first, last:ids.size]
        if far.size:
            held = np.ascontiguousarray(rows[far]) if far.size < ids.size else rows.copy()
            self._hold(held, _PUT)
            self._each_target(ids[far], held, self._win.Put, MPI.BYTE, self._row_bytes)

    def _accumulate(self, ids: np.ndarray, rows: np.ndarray, how: str) -> None:
        assert self.spec.dtype in _BASIC, f"MPI does not reduce {self.spec.dtype}"
        if self._pending != how or sum(held.nbytes for held in self._held) > _HELD_BYTES:
            self.flush()
        held = rows.copy()
        self._hold(held, how)
        op = _OPS[how]

        def accumulate(origin, target, where):
            self._win.Accumulate(origin, target, where, op)
        self._each_target(ids, held, accumulate, _BASIC[self.spec.dtype], self.spec.width)

    def _hold(self, rows: np.ndarray, kind: str) -> None:
        """Keep rows that MPI still reads from, until the next flush."""
        self._pending = kind
        self._held.append(rows)

    def _each_target(self, ids: np.ndarray, rows: np.ndarray, move: Callable, basic: MPI.Datatype,
                     per_row: int) -> list[int]:
        """Start moving rows between here and their owners.

        Args:
            ids: (N,) rows, strictly ascending.
            rows: (N, W) their memory here.
            move: Starts one call: origin, rank, target.
            basic: Type of the elements moved.
            per_row: How many of them a row has.

        Returns:
            Trainers called.
        """
        if self._row_bytes == 0:
            return []
        called = []
        cuts = np.searchsorted(ids, self._bounds)
        for trainer in np.flatnonzero(cuts[1:] > cuts[:-1]).tolist():
            called.append(trainer)
            for begin in range(cuts[trainer], cuts[trainer + 1], self._rows_per_call):
                end = min(begin + self._rows_per_call, int(cuts[trainer + 1]))
                starts, lengths = _stretches(ids[begin:end] - self._bounds[trainer])
                origin = [rows[begin:end], (end - begin) * per_row, basic]
                if starts.size == 1:
                    move(origin, trainer, [int(starts[0]) * self._row_bytes, (end - begin) * per_row, basic])
                    continue
                datatype = basic.Create_hindexed((lengths * per_row).tolist(), (starts * self._row_bytes).tolist())
                datatype.Commit()
                move(origin, trainer, [0, 1, datatype])
                datatype.Free()     # MPI keeps it until the call is complete
        return called


class _Reading(Pending):
    """Rows under way, and where they go."""

    def __init__(self, win: MPI.Win, targets: list[int], landing: np.ndarray, which: np.ndarray, places: np.ndarray,
                 out: np.ndarray):
        self._win, self._targets = win, targets
        self._landing, self._which, self._places, self._out = landing, which, places, out

    def wait(self) -> None:
        if self._targets:
            for target in self._targets:
                self._win.Flush(target)
            self._targets = []
            scatter_rows(self._landing, self._which, 0, self._places, self._out)


def _stretches(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B,) first row and (B,) length of the stretches without gaps that ascending rows make."""
    first = np.flatnonzero(np.append(True, rows[1:] != rows[:-1] + 1))
    return rows[first], np.diff(np.append(first, rows.size))


def _check_memory(groups: TrainerGroups, nbytes: int, name: str) -> None:
    """Raise unless the memory of all nodes that this machine stands for is there.  Collective over the trainers."""
    asked = groups.host.allgather(nbytes if groups.node.rank == 0 else 0)
    need, (have, why) = sum(asked), available_memory()
    groups.all.agree(None if need <= have else ResourceError(
        f"{name} needs {need / 1e9:.2f} GB of memory on this machine, and {have / 1e9:.2f} GB are left ({why}): "
        "use more nodes, or more memory per node"))
