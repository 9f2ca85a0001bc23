"""Sums of what was moved, over whatever is not said."""

import sys
import threading

import pytest

from mpignn.comm.stats import Stats


def counted() -> Stats:
    stats = Stats()
    for hop, owner, rows in ((0, 1, 3), (0, 2, 4), (1, 2, 5)):
        stats.count("structure", hop, "remote", rows, 16)
        stats.count_calls("structure", hop, "remote", owner, 2)
    stats.count("feature", None, "node", 7, 400)
    stats.count("feature", None, "self", 0, 400)
    return stats


def test_what_is_not_said_is_summed_over():
    stats = counted()
    assert (stats.calls(), stats.calls("structure"), stats.calls("feature")) == (6, 6, 0)
    assert [stats.calls("structure", hop) for hop in (0, 1, 2)] == [4, 2, 0]
    assert [stats.calls(owner=owner) for owner in (0, 1, 2)] == [0, 2, 4]
    assert (stats.rows(), stats.rows(target="remote"), stats.rows("feature", None)) == (19, 12, 7)
    assert stats.bytes("structure", 0) == 7 * 16 and stats.bytes(target="node") == 2800


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_nothing_that_several_threads_count_is_lost(hasty):
    stats, rounds = Stats(), 3000

    def count(owner):
        for _ in range(rounds):
            stats.count("feature", None, "remote", 2, 10)
            stats.count_calls("feature", None, "remote", owner, 1)
            with stats.waiting():
                waited[owner] += 1

    waited, taken = [0, 0, 0], []
    threads = [threading.Thread(target=count, args=(owner,)) for owner in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(stats.taken(reset=True))
    taken.append(stats.taken())
    assert waited == [rounds] * 3
    assert [sum(t.calls(owner=owner) for t in taken) for owner in range(3)] == waited
    assert sum(t.rows() for t in taken) == 3 * 2 * rounds and sum(t.bytes() for t in taken) == 3 * 20 * rounds
    assert all(t.wait_s >= 0 for t in taken)


def test_seconds_waited_are_added_up(monkeypatch):
    clock = iter([10.0, 10.25, 20.0, 21.0])
    monkeypatch.setattr("mpignn.comm.stats.time.perf_counter", lambda: next(clock))
    stats = Stats()
    for _ in range(2):
        with stats.waiting():
            pass
    assert stats.taken(reset=True).wait_s == 1.25 and stats.taken().wait_s == 0


def test_people_are_told_a_line_for_each_kind_hop_and_target():
    *lines, last = str(counted()).splitlines()
    assert [line.split() for line in lines] == [
        ["feature", "node", "0", "calls", "7", "rows", "0.0", "MB"],
        ["structure", "hop", "0", "remote", "4", "calls", "7", "rows", "0.0", "MB"],
        ["structure", "hop", "1", "remote", "2", "calls", "5", "rows", "0.0", "MB"]]
    assert last == "waited 0.000 s"
