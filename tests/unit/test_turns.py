"""Trainers of a node, here threads, share copies that change from turn to turn, and all read the right rows."""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
import pytest

from mpignn.comm.sharded import Pending, array_spec
from mpignn.comm.transport import GraphArray, Request
from mpignn.comm.turns import Turns, room_for, turns_bytes

NUM_ROWS, AHEAD = 60, 2
SPECS = [array_spec("wide", np.float32, 5, [0, 20, NUM_ROWS]), array_spec("narrow", np.int16, 1, [0, 20, NUM_ROWS])]
TRUTH = {spec.name: np.arange(NUM_ROWS * spec.width).astype(spec.dtype).reshape(NUM_ROWS, spec.width) for spec in SPECS}
ARRAYS = {spec.name: GraphArray(spec, 0, 20, TRUTH[spec.name][:20].reshape(-1), None) for spec in SPECS}


class Left(Exception):
    """Ends a thread that would wait for ever."""


class There(Pending):
    def wait(self) -> None:
        return


@dataclass
class Rows:
    """Rows from everywhere; those that neither are here nor have a copy are counted."""

    arrays: dict = field(default_factory=lambda: ARRAYS)
    fetched: int = 0
    copied: int = 0

    def gather(self, requests):
        for request in requests:
            name, away = request.array.spec.name, request.ids >= 20
            request.out[~away] = TRUTH[name][request.ids[~away]]
            slots = np.full(request.ids.size, -1) if request.copies is None else request.copies.find(request.ids)
            late = np.zeros(request.ids.size, bool) if request.later is None else request.later.find(request.ids) >= 0
            copied, fetched = away & (slots >= 0), away & (slots < 0) & ~late
            assert not (late & (slots >= 0)).any()
            if copied.any():
                request.out[copied] = request.copies.rows[slots[copied]]
            request.out[fetched] = TRUTH[name][request.ids[fetched]]
            self.fetched += np.unique(request.ids[fetched]).size
            self.copied += np.unique(request.ids[copied]).size
        return There()

    def until(self, pending):
        pending.wait()


def asked(wanted):
    """Requests for rows by name of their array."""
    return [Request(ARRAYS[name], ids, np.empty((ids.size, ARRAYS[name].spec.width), ARRAYS[name].spec.dtype))
            for name, ids in wanted.items()]


class Node:
    """The trainers of a node."""

    def __init__(self, trainers, copies, listed=None):
        rooms = [room_for(spec, count, trainers, AHEAD) for spec, count in zip(SPECS, copies, strict=True) if count]
        if listed is not None:
            rooms = [type(room)(room.spec, room.copies, listed) for room in rooms]
        memory = np.zeros(turns_bytes(rooms, trainers, AHEAD), np.uint8)
        self.gone = threading.Event()
        self.rows = [Rows() for _ in range(trainers)]
        self.turns = [Turns(memory, me, trainers, rooms, AHEAD, ARRAYS, self._wait, self._counted(me))
                      for me in range(trainers)]

    def _counted(self, me):
        def count(room, rows):
            self.rows[me].copied += rows
        return count

    def _wait(self, done):
        while not done():
            if self.gone.is_set():
                raise Left
            time.sleep(1e-5)

    def work(self, me, passes, seed, problems):
        """``passes`` are (turns, after how many it is left); what a turn reads is of this trainer's own."""
        rng = np.random.default_rng([seed, me])
        pause = np.random.default_rng([seed, me, 1])
        try:
            for turns, stop in passes:
                reads = [{spec.name: rng.integers(0, NUM_ROWS, rng.integers(0, 30)) for spec in SPECS}
                         for _ in range(turns)]
                self._pass(me, reads, stop, pause)
        except Left:
            return
        except BaseException as error:
            problems.append(error)
            self.gone.set()

    def _pass(self, me, reads, stop, pause):
        course = self.turns[me].begin()
        assert course is not None and self.turns[me].begin() is None
        listed = 0
        for turn, wanted in enumerate(reads[:stop]):
            while listed < min(len(reads), turn + course.ahead + 1):
                course.list(reads[listed])
                listed += 1
            requests = asked(wanted)
            course.gather(self.rows[me], requests)
            for request in requests:
                np.testing.assert_array_equal(request.out, TRUTH[request.array.spec.name][request.ids])
            if pause.random() < 0.2:
                time.sleep(1e-4)
        course.end()
        course.end()


def run(node, passes, seed):
    problems = []
    threads = [threading.Thread(target=node.work, args=(me, passes, seed, problems)) for me in range(len(node.turns))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    node.gone.set()
    assert not any(thread.is_alive() for thread in threads)
    if problems:
        raise problems[0]


@pytest.mark.parametrize("trainers", [1, 2, 3])
@pytest.mark.parametrize(("copies", "listed"), [
    ((40, 40), None), ((8, 3), 100), ((5, 0), 100), ((12, 12), 4), ((1, 1), 1)])
@pytest.mark.parametrize("seed", range(2))
def test_rows_are_right_in_any_pass(trainers, copies, listed, seed):
    """Whole passes, passes that are left, passes of fewer turns than are listed ahead, and one of none."""
    node = Node(trainers, copies, listed)
    run(node, [(9, 9), (9, 4), (2, 2), (0, 0), (7, 0), (7, 7), (1, 1)], seed)


@pytest.mark.parametrize("trainers", [1, 2, 3])
def test_with_room_for_all_each_row_is_fetched_once(trainers):
    node = Node(trainers, (40, 40), 100)
    run(node, [(30, 30), (30, 30)], 5)
    assert sum(rows.fetched for rows in node.rows) <= 2 * 40 + 10
    whole = Node(1, (0, 0))
    assert whole.turns[0]._rooms == {}
    assert sum(rows.copied for rows in node.rows) > 20 * sum(rows.fetched for rows in node.rows) / 2


def test_a_pass_that_one_left_in_the_middle_leaves_no_copies():
    """One had begun the turn that the other one never came to."""
    node = Node(2, (40, 40), 100)
    ids = {spec.name: np.arange(20, 40) for spec in SPECS}
    courses = [turns.begin() for turns in node.turns]
    for course in courses:
        for _ in range(4):
            course.list(ids)

    def turn(me):
        requests = asked(ids)
        try:
            courses[me].gather(node.rows[me], requests)
        except Left:
            return
        for request in requests:
            np.testing.assert_array_equal(request.out, TRUTH[request.array.spec.name][request.ids])

    def both(function, *who):
        threads = [threading.Thread(target=function, args=(me,)) for me in who]
        for thread in threads:
            thread.start()
        return threads

    for thread in both(turn, 0, 1):
        thread.join(30)
    assert all(turns._held["wide"].ids.size == 20 for turns in node.turns)
    (alone,) = both(turn, 0)        # waits for the other one
    time.sleep(0.01)
    assert alone.is_alive()
    node.gone.set()
    alone.join(30)
    node.gone.clear()
    for course in courses:
        course.end()
    courses = [turns.begin() for turns in node.turns]
    for course in courses:
        course.list(ids)
    fetched = sum(rows.fetched for rows in node.rows)
    for thread in both(turn, 0, 1):
        thread.join(30)
    assert sum(rows.fetched for rows in node.rows) == fetched + 40       # 20 of each array, anew
