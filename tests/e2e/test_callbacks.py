"""What callbacks are told, by all trainers alike, and how they end training."""

import json
import sys
import time
from pathlib import Path

import pytest

from mpirun import MPIS, missing, mpirun, run

JOB = str(Path(__file__).with_name("callback_job.py"))
EPOCHS, STEPS, STOPPED, WITHIN_S = 3, 5, 75, 5


def job(graph, folder, np_, *acts, mpi="mpich", code=0):
    """Run the job; returns what its trainers were told."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    words = [JOB, str(graph), str(folder), *acts]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == code and "Traceback" not in done.stderr, str(done)
    return told(folder)


def told(folder):
    """The events of each trainer, without times, paths, and what is of one job alone."""
    found = [lines(path) for path in sorted(folder.glob("told-*.jsonl"))]
    return [[{key: value for key, value in event.items()
              if key not in ("path", "seeds_per_trainer", "trainers", "moved") and not key.endswith(("seconds", "_s"))}
             for event in of_one] for of_one in found]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def places(events):
    return [(event["event"], event.get("epoch"), event.get("step")) for event in events]


def steps(epoch, count=STEPS):
    return [("step", epoch, step) for step in range(count)]


UNDISTURBED = [*steps(0), ("epoch", 0, None),
               *steps(1), ("eval", 1, None), ("epoch", 1, None), ("checkpoint", 2, None),
               *steps(2), ("eval", 2, None), ("epoch", 2, None), ("checkpoint", 3, None)]


@pytest.fixture(scope="module")
def silent(graphs, tmp_path_factory):
    """The metrics of three trainers without callbacks."""
    folder = tmp_path_factory.mktemp("silent")
    assert job(graphs["metis4"], folder, 4, "silent") == []
    return lines(folder / "metrics.jsonl")


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_all_trainers_are_told_the_same_in_order(graphs, silent, tmp_path, mpi):
    """One that evaluates in the middle of a pass changes nothing."""
    acts = ["evaluate:step:1:2:-1", "evaluate:epoch:1::-1", "evaluate:checkpoint:2::-1"]
    first, *others = job(graphs["metis4"], tmp_path, 4, *acts, mpi=mpi)
    assert others == [first, first]
    in_between = [event for event in first if event["event"] == "evaluated"]
    assert len(in_between) == 3 and in_between[1] == in_between[2] != in_between[0]
    first = [event for event in first if event["event"] != "evaluated"]
    *passes, tested, end = first
    assert places(passes) == UNDISTURBED
    evals = [event for event in passes if event["event"] == "eval"]
    assert in_between[1]["val_acc"] == evals[0]["val_acc"] and evals[0]["is_best"]
    best = max(evals, key=lambda event: event["val_acc"])
    assert tested == {"event": "eval", "split": "test", "epoch": best["epoch"], "test_acc": end["test_acc"]}
    assert end == {"event": "stop", "val_acc": best["val_acc"], "test_acc": end["test_acc"], "epochs": EPOCHS,
                   "finished": True}
    # What is told is what metrics.jsonl has, which is that of a run without callbacks.
    kept = {"step": [], "epoch": [], "classes": [], "final": []}
    for event in lines(tmp_path / "metrics.jsonl"):
        kept[event["event"]].append(event)
    for kind in "step", "epoch":
        named = [event for event in first if event["event"] == kind]
        assert named == [{key: event[key] for key in named[0]} for event in kept[kind]]
    if mpi == "mpich":
        assert [event.get("loss") for event in silent] == [
            event.get("loss") for event in lines(tmp_path / "metrics.jsonl")]


@pytest.mark.parametrize("mpi", ["mpich", pytest.param("openmpi", marks=pytest.mark.long)])
@pytest.mark.parametrize(("act", "expected"), [
    ("done:step:1:1:2",
     [*UNDISTURBED[:6], *steps(1, 3), ("eval", 1, None), ("epoch", 1, None), ("checkpoint", 2, None)]),
    ("done:step:0:4:0", [*steps(0), ("eval", 0, None), ("epoch", 0, None), ("checkpoint", 1, None)]),
    ("done:epoch:0::1", [*UNDISTURBED[:6], ("checkpoint", 1, None)])],
    ids=["in a pass", "with a pass", "after a pass"])
def test_one_trainer_ends_training_on_all(graphs, tmp_path, mpi, act, expected):
    first, *others = job(graphs["metis4"], tmp_path, 4, act, mpi=mpi)
    assert others == [first, first]
    assert places(first) == [*expected, ("eval", expected[-1][1] - 1, None), ("stop", None, None)]
    assert first[-1]["finished"] and first[-1]["test_acc"] is not None
    again = job(graphs["metis4"], tmp_path, 1)[0][len(first):]     # it is over on other ranks, too
    assert places(again) == places(first)[-2:]


@pytest.fixture(scope="module")
def undisturbed(graphs, tmp_path_factory):
    """What trainers are told of a run that nobody stops, and its metrics, by number of ranks."""
    folders = {np_: tmp_path_factory.mktemp("undisturbed") for np_ in (1, 4)}
    return {np_: (job(graphs["metis4"], folder, np_), lines(folder / "metrics.jsonl"))
            for np_, folder in folders.items()}


@pytest.mark.parametrize(("np_", "acts"), [
    (4, ["signal:step:1:2:2"]), (1, ["signal:step:1:2:0", "evaluate:step:1:2:-1"]),
    (1, ["signal:eval:1::0", "evaluate:eval:1::-1"]), (1, ["signal:epoch:1::0", "evaluate:epoch:1::-1"])],
    ids=["of one trainer", "in a step", "in a validation", "after a pass"])
def test_a_run_that_is_stopped_and_goes_on_tells_the_same(graphs, undisturbed, tmp_path, np_, acts):
    """Also where it is noticed in a callback that is collective itself."""
    alone, metrics = undisturbed[np_]
    first = job(graphs["metis4"], tmp_path, np_, *acts, code=STOPPED)
    for of_one, begun in zip(alone, first, strict=True):
        assert begun[-1] == {"event": "stop", "val_acc": begun[-1]["val_acc"], "test_acc": None, "finished": False,
                             "epochs": begun[-1]["epochs"]}
        assert without(begun, "checkpoint", "stop") == without(of_one, "checkpoint", "stop")[:len(begun) - 2]
    both = job(graphs["metis4"], tmp_path, np_)
    for of_one, begun, gone_on in zip(alone, first, both, strict=True):
        rest = without(gone_on[len(begun):], "checkpoint")
        expected = without(of_one, "checkpoint")
        assert rest == expected[len(expected) - len(rest):]
        repeated = len(without(begun, "checkpoint", "stop")) + len(rest) - len(expected)
        assert repeated == (1 if acts[0].startswith("signal:eval") else 0)      # a validation is begun anew
    assert places(lines(tmp_path / "metrics.jsonl")) == places(metrics)


def without(events, *kinds):
    return [event for event in events if event["event"] not in kinds]


def test_a_run_that_is_ended_and_stopped_at_once_ends_where_it_was_ended(graphs, tmp_path):
    (begun,) = job(graphs["one"], tmp_path, 1, "done:step:0:1:0", "signal:step:0:1:0", code=STOPPED)
    assert places(begun) == [*steps(0, 3), ("checkpoint", 0, None), ("stop", None, None)][-len(begun):]
    (both,) = job(graphs["one"], tmp_path, 1)
    assert places(both[len(begun):]) == [*steps(0, 3)[len(begun) - 2:], ("eval", 0, None), ("epoch", 0, None),
                                         ("checkpoint", 1, None), ("eval", 0, None), ("stop", None, None)]


@pytest.mark.parametrize(("mpi", "event"), [
    ("openmpi", "step:1:2"), pytest.param("mpich", "checkpoint:2:", marks=pytest.mark.long),
    pytest.param("mpich", "epoch:0:", marks=pytest.mark.long)])
def test_an_exception_in_a_callback_ends_the_job(graphs, tmp_path, mpi, event):
    if missing(mpi):
        pytest.skip(missing(mpi))
    done = mpirun([JOB, str(graphs["metis4"]), str(tmp_path), f"raise:{event}:2"], 4, mpi)
    assert time.time() - float((tmp_path / "raised").read_text()) < WITHIN_S, str(done)
    assert done.returncode not in (0, 2, 3, 4, 75) and not done.timed_out, str(done)
    assert (done.stdout + done.stderr).count("Traceback (most recent call last)") == 1, str(done)
    assert "RuntimeError: injected" in done.stderr and "callback_job.py" in done.stderr, str(done)
