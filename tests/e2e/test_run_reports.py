"""`mpignn report` on runs that jobs have made: each of its figures is what metrics.jsonl says."""

import json
import shutil
import subprocess
import sys

import pytest

from mpirun import missing, mpirun, run
from pages import Page

WORDS = ("--fanouts", "4,3", "--hidden", "8", "--global-batch-size", "500", "--ranks-per-node", "2",
         "--replicate", "none")


def mpignn(folder, *words):
    return run([sys.executable, "-m", "mpignn", *map(str, words)], cwd=folder)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module", params=["mpich", "openmpi"])
def folder(request, graphs, tmp_path_factory):
    """A folder with a run of two nodes of two ranks each."""
    if missing(request.param):
        pytest.skip(missing(request.param))
    folder = tmp_path_factory.mktemp("reports")
    done = mpirun(["-m", "mpignn", "train", str(graphs["metis4"]), "--run-dir", "run", "--epochs", "3", *WORDS], 4,
                  request.param, cwd=folder)
    assert done.returncode == 0, str(done)
    return folder


def test_every_figure_is_that_of_the_run(folder):
    done = mpignn(folder, "report", "run")
    assert done.returncode == 0 and done.stdout == "wrote run/report.html\n", str(done)
    page = Page((folder / "run" / "report.html").read_text())
    (found,) = page.figures["runs"]
    events = lines(folder / "run" / "metrics.jsonl")
    epochs, final = [event for event in events if event["event"] == "epoch"], events[-1]
    assert found["result"]["values"] == {"val_acc": final["val_acc"], "test_acc": final["test_acc"]}
    assert found["curves"]["val_acc"] == [[epoch["epoch"] + 1, epoch["val_acc"]] for epoch in epochs]
    for row, epoch in zip(page.tables["epochs"][1:], epochs, strict=True):
        assert [float(cell) for cell in row[:4]] == [epoch[key] for key in ("epoch", "loss", "val_acc", "seconds")]
        assert float(row[4]) == epoch["seeds"] / epoch["seconds"]
    for name, place in (("seconds", 2), ("sample_s", 3), ("fetch_s", 4), ("compute_s", 5), ("sync_s", 6),
                        ("wait_s", 7)):
        sums = [sum(epoch["trainers"][name][t] for epoch in epochs) for t in range(2)]
        assert [float(row[place]) for row in page.tables["trainers"][1:]] == sums == found["trainers"][name]
    remote = [entry for entry in found["moved"] if entry["target"] == "remote"]
    assert {entry["kind"] for entry in remote} == {"structure", "feature"}
    assert {entry["hop"] for entry in remote} == {None, 0, 1} and all(entry["bytes"] for entry in remote)
    assert sum(entry["rows"] for entry in remote) == sum(
        entry["rows"] for epoch in epochs for entry in epoch["moved"] if entry["target"] == "remote")


def test_each_trainer_tells_its_own(folder):
    epochs = [event for event in lines(folder / "run" / "metrics.jsonl") if event["event"] == "epoch"]
    for epoch in epochs:
        told = epoch["trainers"]
        assert {len(values) for values in told.values()} == {2}
        for name in ("seeds", "edges", "rows"):
            assert sum(told[name]) == epoch[name]
        assert told["seeds"] == epoch["seeds_per_trainer"]
        for name in ("sample_s", "fetch_s", "compute_s"):
            assert told[name][0] == pytest.approx(epoch[name], abs=1e-6)
        for t in range(2):
            assert 0 < told["load_s"][t] + told["compute_s"][t] + told["sync_s"][t] <= told["seconds"][t] + 1e-3
            assert 0 < told["wait_s"][t] < told["seconds"][t] and told["memory_bytes"][t] > 1 << 20


def test_the_counts_of_classes_are_those_of_the_metric(folder):
    classes, final = lines(folder / "run" / "metrics.jsonl")[-2:]
    assert classes["event"] == "classes" and classes["split"] == "test"
    assert sum(classes["right"]) / sum(classes["actual"]) == pytest.approx(final["test_acc"])
    assert mpignn(folder, "eval", "run").returncode == 0
    measured = json.loads((folder / "run" / "eval" / "eval.json").read_text())
    for counted in json.loads((folder / "run" / "eval" / "classes.json").read_text()):
        accuracy = sum(counted["right"]) / sum(counted["actual"])
        assert accuracy == pytest.approx(measured[f"{counted['split']}_acc"])


def test_a_job_tells_what_it_is(folder, graphs):
    (job,) = lines(folder / "run" / "jobs.jsonl")
    assert "--global-batch-size" in job["command"] and job["batch_job"] is None
    assert job["node_of_rank"] == [0, 0, 1, 1] and job["trains"] == [False, True, False, True]
    assert sum(job["graphs"][0]["nodes"].values()) == 4000 and job["graphs"][0]["path"] == str(graphs["metis4"])
    assert sorted(rank for group in job["graphs"][0]["plan"]["ranks"] for rank in group["of"]) == [0, 1, 2, 3]


def test_the_same_as_json(folder):
    done = mpignn(folder, "report", "run", "--json")
    assert done.returncode == 0, str(done)
    told = json.loads(done.stdout)
    done = mpignn(folder, "report", "run", "--out", "run.json")
    assert done.stdout == "wrote run.json\n" and json.loads((folder / "run.json").read_text()) == told, str(done)
    done = mpignn(folder, "report", "run", "--out", "page.html")
    assert done.returncode == 0 and Page((folder / "page.html").read_text()).figures == told, str(done)


@pytest.mark.parametrize(("words", "part"), [
    (["nosuch"], "no such folder"), (["."], "no run folder"), (["run", "--out", "run"], "its ending says"),
    (["run", "--out", "nosuch/page.html"], "nosuch first"), ([], "required"), ([""], "RUN is empty")])
def test_bad_words_end_with_a_line(folder, words, part):
    done = mpignn(folder, "report", *words)
    assert done.returncode == 2 and part in done.stderr and "Traceback" not in done.stderr, str(done)
    assert done.stderr.count("\n") == 1, str(done)


def test_a_browser_has_nothing_to_say_of_the_page(folder):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no browser")
    mpignn(folder, "report", "run", "--out", "seen.html")
    done = subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
                           "--window-size=390,900", "--dump-dom", f"file://{folder / 'seen.html'}"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Finished: 3 epochs" in done.stdout, done.stderr
    assert "CONSOLE" not in done.stderr, done.stderr
