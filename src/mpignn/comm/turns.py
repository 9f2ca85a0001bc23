"""Copies of rows on a node that change from turn to turn, for trainers that know what they will read.

Draws are functions of keys, so what the next batches read is known once their neighbors are drawn.  Trainers of a node
draw some turns ahead, list in memory that they share which rows of other nodes each turn reads, and plan each for
itself, all alike, which of these to copy (`mpignn.comm.belady`).  A turn is the batches that are prepared together.

In turn g, a trainer lists the rows of turn g + ahead + 1, plans turn g, asks for its part of the rows that come and for
what has no copy, and reads the copies that are there.  When all have read, the rows that come take places of others;
when all are in place, they are read.  So there are two points in a turn at which the trainers of a node wait for each
other: in memory, without messages.  How far one is, is a number that only grows: the pass, the turn, and which point.

A pass may be left before its end.  The others leave it, too, and no copies are left then: of some it is not known
whether they came.

Shapes: T trainers of the node, C copies of rows of W elements, U rows that a trainer reads in a turn.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpignn.buffers import Pool
from mpignn.comm.belady import Held, Turn, plan_turn
from mpignn.comm.copies import Copies
from mpignn.comm.sharded import ArraySpec, Pending
from mpignn.comm.transport import GraphArray, Request, Transport
from mpignn.kernels.fence import fence
from mpignn.kernels.gather import scatter_rows
from mpignn.unique import unique

_BATCHES_AHEAD = 6      # with copies of 10 % of what is elsewhere, more of them save nothing
_ALIGN = 64
_KEPT = 4               # passes of which it is told how far a trainer came
_STATE = 2 * _KEPT      # numbers of a trainer, a cache line: for each of these how far it is, and the turns done before
_PASS = 1 << 32
LISTED_SHARE = 1 / 4    # of the memory of the copies, which lists take beside them


@dataclass(frozen=True)
class Room:
    """Memory for one array.

    Attributes:
        spec: The array.
        copies: C.
        listed: Rows that a trainer may list for a turn: what is beyond is read without a copy.
    """

    spec: ArraySpec
    copies: int
    listed: int

    @property
    def id_type(self) -> np.dtype:
        return np.dtype(np.int32 if self.spec.num_rows < 1 << 31 else np.int64)

    @property
    def row_bytes(self) -> int:
        return self.spec.width * self.spec.dtype.itemsize


def turns_ahead(prefetch: int) -> int:
    """How many turns of so many batches to know beyond the one under way.  Not collective."""
    return -(-_BATCHES_AHEAD // prefetch)


def room_for(spec: ArraySpec, copies: int, trainers: int, ahead: int) -> Room:
    """Room for so many copies, with lists that take a share of their bytes.  Not collective."""
    id_bytes = Room(spec, copies, 0).id_type.itemsize
    listed = LISTED_SHARE * copies * spec.width * spec.dtype.itemsize / (id_bytes * trainers * (ahead + 2))
    return Room(spec, copies, max(1, int(listed)))


def turns_bytes(rooms: Sequence[Room], trainers: int, ahead: int) -> int:
    """Bytes that the trainers of a node share.  Not collective."""
    return trainers * _STATE * 8 + sum(_list_bytes(room, trainers, ahead) + _aligned(room.copies * room.row_bytes)
                                       for room in rooms)


def _list_bytes(room: Room, trainers: int, ahead: int) -> int:
    return _aligned((ahead + 2) * trainers * (1 + room.listed) * room.id_type.itemsize)


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


class Turns:
    """The copies of a node as one of its trainers has them.

    Attributes:
        ahead: Turns that are known beyond the one under way.
    """

    def __init__(self, memory: np.ndarray, me: int, trainers: int, rooms: Sequence[Room], ahead: int,
                 arrays: Mapping[str, GraphArray], wait: Callable[[Callable[[], bool]], None],
                 count: Callable[[Room, int], None]) -> None:
        """Not collective.

        Args:
            memory: (`turns_bytes`,) uint8 that the trainers of the node share, zeros.
            me: Number of this trainer among them.
            trainers: T.
            rooms: One for each array; those without copies are left out.
            ahead: As the attribute.
            arrays: Those of the graph.
            wait: Returns when what it is given does, and serves meanwhile.
            count: Told of rows of an array that were read in the place of a message.
        """
        self.ahead, self._me, self._arrays, self._wait, self._count = ahead, me, arrays, wait, count
        self._state = memory[:trainers * _STATE * 8].view(np.int64).reshape(trainers, _STATE)
        self._rooms = {room.spec.name: room for room in rooms}
        self._lists: dict[str, np.ndarray] = {}
        self._rows: dict[str, np.ndarray] = {}
        end = trainers * _STATE * 8
        for room in rooms:
            begin, end = end, end + _list_bytes(room, trainers, ahead)
            shape = ahead + 2, trainers, 1 + room.listed
            self._lists[room.spec.name] = memory[begin:begin + int(np.prod(shape)) * room.id_type.itemsize].view(
                room.id_type).reshape(shape)
            begin, end = end, end + _aligned(room.copies * room.row_bytes)
            self._rows[room.spec.name] = memory[begin:begin + room.copies * room.row_bytes].view(
                room.spec.dtype).reshape(room.copies, room.spec.width)
        self._held = self._nothing()
        self._passes = self._done = 0       # passes with a turn, and turns that came to their end
        self._in_turn = self._busy = False
        self._pool = Pool()

    def begin(self) -> "Course | None":
        """Begin a pass; None while another one is under way, whose copies are not to be touched.

        Trainers of a node begin the same passes, in the same order.  Not collective.
        """
        if self._busy:
            return None
        self._busy = True
        return Course(self)

    def _nothing(self) -> dict[str, Held]:
        none = np.empty(0, np.int64)
        return {name: Held(none, none) for name in self._rooms}

    def _enter(self, transport: Transport) -> None:
        """Come to the first turn of a pass, with the copies of the pass before if all trainers have the same ones."""
        self._passes += 1
        told = self._state[:, _KEPT + self._passes % _KEPT]
        told[self._me] = -1 if self._in_turn else self._done
        self._in_turn = False
        transport.until(self._post(1))
        if (told != told[0]).any() or told[0] < 0:
            self._held, self._done = self._nothing(), 0

    def _post(self, stage: int) -> Pending:
        """Tell how far this trainer is in the pass, and return what waits for the others to be as far."""
        fence()     # what it did before is seen by who sees the number
        self._state[self._me, self._passes % _KEPT] = self._passes * _PASS + stage
        return _Meeting(self, self._passes, stage)


class Course:
    """A pass over batches, turn by turn."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._turn, self._listed, self._is_over = turns, 0, 0, False

    @property
    def ahead(self) -> int:
        """Turns to list beyond the one that comes next."""
        return self._turns.ahead + 1

    def list(self, reads: Mapping[str, np.ndarray]) -> None:
        """List what the next turn that is not listed yet reads.  Not collective.

        Args:
            reads: (N,) ids by name of the array, in any order, repeats allowed; arrays without copies do not matter.
        """
        turns = self._turns
        for name, lists in turns._lists.items():
            mine, array = lists[self._listed % len(lists), turns._me], turns._arrays[name]
            ids = reads.get(name, np.empty(0, np.int64))
            ids = unique(ids[(ids < array.lo) | (ids >= array.hi)])[:mine.size - 1]
            mine[1:1 + ids.size] = ids
            mine[0] = ids.size
        self._listed += 1

    def gather(self, transport: Transport, requests: Sequence[Request]) -> None:
        """Read what a turn reads.  The turns are those listed, in their order; all trainers of the node make them.

        Args:
            transport: As the one who prepares batches has it.
            requests: Rows of any arrays.

        Not collective: the trainers of the node wait for each other, wherever they prepare batches.
        """
        turns = self._turns
        if self._turn == 0:
            turns._enter(transport)
        plans = {name: self._plan(name) for name in turns._rooms}
        turns._in_turn = True
        fresh = {name: Copies(plan.fresh.ids, turns._rows[name], plan.fresh.slots) for name, plan in plans.items()}
        asked, coming = [], list[tuple[str, np.ndarray, Request]]()
        for request in requests:
            name = request.array.spec.name
            if name in plans:
                held = turns._held[name]
                request = replace(request, copies=Copies(held.ids, turns._rows[name], held.slots), later=fresh[name])
            asked.append(request)
        for name, plan in plans.items():
            mine = plan.fetcher == turns._me
            if mine.any():
                spec = turns._rooms[name].spec
                rows = turns._pool.empty((int(mine.sum()), spec.width), spec.dtype)
                none = Copies(plan.fresh.ids[:0], rows)
                coming.append((name, plan.fresh.slots[mine], Request(
                    transport.arrays[name], plan.fresh.ids[mine], rows, copies=none)))
        under_way = transport.gather([*asked, *(request for _, _, request in coming)])
        read = turns._post(2 * self._turn + 2)
        under_way.wait()
        transport.until(read)
        for name, slots, request in coming:
            scatter_rows(request.out, np.arange(slots.size), 0, slots, turns._rows[name])
        transport.until(turns._post(2 * self._turn + 3))
        for request in asked:
            if request.later is not None:
                self._read_fresh(request, request.later, plans[request.array.spec.name])
        turns._held = {name: plan.held() for name, plan in plans.items()}
        turns._done, turns._in_turn, self._turn = turns._done + 1, False, self._turn + 1

    def end(self) -> None:
        """Leave the pass, which may have turns left; harmless when done already.  Not collective."""
        if not self._is_over:
            self._turns._busy, self._is_over = False, True

    def _plan(self, name: str) -> Turn:
        turns = self._turns
        lists, room = turns._lists[name], turns._rooms[name]

        def of(turn: int) -> list[np.ndarray]:
            return [mine[1:1 + mine[0]] for mine in lists[turn % len(lists)]]

        now = [ids.astype(np.int64) for ids in of(self._turn)]
        later = [of(turn) for turn in range(self._turn + 1, min(self._listed, self._turn + 1 + turns.ahead))]
        return plan_turn(turns._held[name], now, later, room.copies)

    def _read_fresh(self, request: Request, fresh: Copies, plan: Turn) -> None:
        array, ids = request.array, request.ids
        away = np.flatnonzero((ids < array.lo) | (ids >= array.hi))
        slots = fresh.find(ids[away])
        found = slots >= 0
        scatter_rows(fresh.rows, slots[found], 0, away[found], request.out)
        met = np.zeros(len(fresh.rows), bool)
        met[slots[found]] = True
        mine = int((plan.fetcher == self._turns._me).sum())     # which this trainer fetched, and are counted as such
        self._turns._count(self._turns._rooms[request.array.spec.name], int(met.sum()) - mine)


class _Meeting(Pending):
    """That all trainers of the node are as far in a pass."""

    def __init__(self, turns: Turns, number: int, stage: int) -> None:
        self._turns, self._number, self._stage = turns, number, stage

    def done(self) -> bool:
        """Whether all are; never where one has left the pass before, since this trainer shall leave it, too."""
        told = self._turns._state[:, self._number % _KEPT]
        if not ((told >= self._number * _PASS + self._stage) & (told < (self._number + 1) * _PASS)).all():
            return False
        fence()
        return True

    def wait(self) -> None:
        self._turns._wait(self.done)

    def leave(self) -> None:
        """Nothing arrives."""
