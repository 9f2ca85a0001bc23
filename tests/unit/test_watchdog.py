"""When a process that does nothing says so, and when it gives up."""

import json
import logging
import os
import subprocess
import sys
import time

import pytest

from mpignn import log, watchdog
from mpignn.watchdog import STEADY_LIMIT_S, Watchdog, identity, sentence


@pytest.mark.parametrize(("limit", "how", "expected"), [
    (None, {}, 0), (None, {"steady": True}, STEADY_LIMIT_S), (None, {"idle": True}, 0),
    (7.0, {}, 7), (7.0, {"steady": True}, 7), (7.0, {"idle": True}, 0), (0.0, {"steady": True}, 0)])
def test_how_long_nothing_may_happen(limit, how, expected):
    with log.phase("p", **how):
        assert Watchdog(limit).limit_s(log.activity) == expected


def test_one_that_works_and_is_quiet_speaks_once_a_minute_and_then_less_often(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("mpignn"), "propagate", True)
    dog = Watchdog(None)
    with log.phase("load graph"), caplog.at_level(logging.INFO, "mpignn"):
        spoken = []
        for quiet in range(0, 600, 10):
            before = len(caplog.records)
            assert not dog.look(quiet)
            spoken += [quiet] * (len(caplog.records) - before)
        assert spoken == [60, 120, 240, 480]
        assert "nothing has happened for 60 s in phase 'load graph', at work" in caplog.messages[0]
        assert caplog.records[0].levelname == "WARNING"
        monkeypatch.setattr(log.activity, "waits_for", "the trainers (world rank 2)")
        dog.look(0)
        dog.look(70)
        assert caplog.records[-1].levelname == "INFO"
        assert caplog.messages[-1].endswith("waiting for the trainers (world rank 2)")


def test_it_gives_up_after_the_limit_and_says_where_it_is():
    dog = Watchdog(100.0)
    with log.phase("epoch 3"):
        log.beat("step 17")
        assert not dog.look(99) and dog.look(100)
        assert "100 s in phase 'epoch 3', step 17" in sentence(100)


PROGRAM = """
import ctypes, sys, time
from mpignn import log, watchdog
from mpignn.watchdog import Watchdog
Watchdog(1.0).start()
with log.phase("busy"):
    if sys.argv[1] == "beats":
        for _ in range(20):
            time.sleep(0.1)
            log.beat()
        print("done", flush=True)
    elif sys.argv[1] == "sleeps":
        time.sleep(30)
    else:
        ctypes.PyDLL(None).sleep(30)        # holds Python's lock
"""


def test_a_process_ends_when_nothing_happens():
    """Three at the same time, which sleep most of it."""
    ends = {"beats": 0, "sleeps": 1, "locks": 1}
    began = time.monotonic()
    jobs = {what: subprocess.Popen([sys.executable, "-c", PROGRAM, what], text=True, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE) for what in ends}
    for what, job in jobs.items():
        stdout, stderr = job.communicate(timeout=60)
        assert job.returncode == ends[what] and (what == "beats") == (stdout == "done\n"), (what, stdout, stderr)
        if ends[what]:      # where it hung
            assert "Traceback" not in stderr and "line" in stderr and "<module>" in stderr, (what, stderr)
    assert time.monotonic() - began < 20


def test_a_process_that_gives_up_leaves_word(tmp_path):
    program = PROGRAM.replace('Watchdog(1.0).start()', 'watchdog.leave_word_in(sys.argv[2])\nWatchdog(1.0).start()')
    record = tmp_path / "hang.jsonl"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program, "sleeps", record], capture_output=True, timeout=60)
        assert done.returncode == 1, done
    words = [json.loads(line) for line in record.read_text().splitlines()]
    for word in words:
        assert (word["phase"], word["waits_for"]) == ("busy", "") and 1 <= word["quiet_s"] < 10
        assert [name for _, name in word["phases"]] == ["busy"] and "<module>" in str(word["stacks"])
    assert len(words) == 2


def test_a_process_has_one_watchdog_which_goes_by_what_it_was_told_last(monkeypatch):
    monkeypatch.setattr(watchdog, "_watchdog", [])
    monkeypatch.setattr(Watchdog, "_watch", lambda self: None)
    watchdog.start(3.0)
    (dog,) = watchdog._watchdog
    watchdog.start(5.0)
    assert watchdog._watchdog == [dog] and dog.limit_s(log.Activity()) == 5


def test_a_process_is_told_from_a_later_one_of_its_number():
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert identity(other.pid) == identity(other.pid) != identity(os.getpid())
        assert identity(other.pid)[1]
    finally:
        other.communicate(b"\n")
    assert identity(other.pid) == (other.pid, "")
