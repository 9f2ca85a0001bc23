"""metrics.jsonl: every line once, over interruptions and full disks; callbacks are told after it."""

import json
import resource

import pytest

from mpignn.errors import DataError, ResourceError
from mpignn.train.callback import Callback
from mpignn.train.report import Report, RunReport


def report(folder):
    return RunReport(folder, ["acc"])


def steps(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_what_was_told_after_the_checkpoint_is_forgotten(tmp_path):
    first = report(tmp_path)
    first.begin(anew=False)
    for step in range(3):
        first.step({"step": step})
    kept = first.settle()
    first.step({"step": 3})
    first.close()
    assert steps(tmp_path) == [0, 1, 2, 3]
    second = report(tmp_path)
    second.go_on(kept)
    second.step({"step": 3})
    second.step({"step": 4})
    again = second.settle()
    second.close()
    assert steps(tmp_path) == [0, 1, 2, 3, 4]
    third = report(tmp_path)
    third.go_on(again)
    third.close()
    assert steps(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("found", [None, b"", b'{"event": "step", "step": 9}\n' * 3])
def test_metrics_of_another_run_are_refused(tmp_path, found):
    first = report(tmp_path)
    first.begin(anew=False)
    first.step({"step": 0})
    kept = first.settle()
    first.close()
    path = tmp_path / "metrics.jsonl"
    path.unlink()
    if found is not None:
        path.write_bytes(found)
    with pytest.raises(DataError, match="does not begin with the"):
        report(tmp_path).go_on(kept)


def test_a_new_run_takes_no_metrics_away_but_one_begun_anew_does(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("something\n")
    with pytest.raises(ResourceError, match="File exists"):
        report(tmp_path).begin(anew=False)
    anew = report(tmp_path)
    anew.begin(anew=True)
    anew.close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_lines_wait_for_a_disk_that_is_full(tmp_path):
    told = report(tmp_path)
    told.begin(anew=False)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70, limits[1]))
    try:
        for step in range(5):
            told.step({"step": step})
        assert isinstance(told.problem, ResourceError)
        with pytest.raises(ResourceError, match="File too large"):
            told.settle()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    told.step({"step": 5})
    assert told.problem is None
    assert told.settle()["bytes"] == (tmp_path / "metrics.jsonl").stat().st_size
    told.close()
    assert steps(tmp_path) == [0, 1, 2, 3, 4, 5]


class Reader(Callback):
    """Notes what it is told, by whom of several, and how many lines there are then."""

    def __init__(self, name, path, notes):
        self.name, self.path, self.notes = name, path, notes

    def step(self, event):
        self.notes.append((self.name, event["step"], len(self.path.read_text().splitlines())))


def test_callbacks_are_told_in_their_order_of_what_is_written_already(tmp_path):
    notes, path = [], tmp_path / "metrics.jsonl"
    told = RunReport(tmp_path, ["acc"], [Reader("a", path, notes), Callback(), Reader("b", path, notes)])
    told.begin(anew=False)
    told.step({"step": 0})
    told.step({"step": 1})
    told.close()
    assert notes == [("a", 0, 1), ("b", 0, 1), ("a", 1, 2), ("b", 1, 2)]


@pytest.mark.parametrize("which", [0, 1])
def test_one_callback_that_is_done_is_enough(which):
    callbacks = [Callback(), Callback()]
    told = Report(callbacks)
    assert not told.done and not Report().done
    callbacks[which].done = True
    assert told.done and not callbacks[1 - which].done
