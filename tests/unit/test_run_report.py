"""Reports of run folders as jobs may leave them: whole, under way, killed, diverged, old, damaged, odd."""

import json
import math

import pytest

from mpignn.errors import ConfigError, DataError
from mpignn.json_text import to_json
from mpignn.report.figures import figures_of
from mpignn.report.page import make_page
from mpignn.report.read import read_run
from pages import Page, epoch, step, trainers, write_run

FINAL = {"event": "final", "val_acc": 0.75, "test_acc": 0.5, "epochs": 2, "seconds": 5.0}


def report(*folders):
    """The figures of runs, and the page of them."""
    figures = [figures_of(read_run(folder), folder.name) for folder in folders]
    page = Page(make_page(figures))
    assert page.figures == json.loads(to_json({"runs": figures})) and not page.links
    return figures, page


def test_a_run_that_has_ended(tmp_path):
    events = [step(0, 0, 2.0), step(0, 1, 1.0), epoch(0, 1.5, 0.25, trainers=trainers(1.0, 3.0), moved=[
        {"kind": "feature", "hop": None, "target": "remote", "calls": 2, "rows": 30, "bytes": 120}]),
        step(1, 0, 0.5), step(1, 1, 0.5), epoch(1, 0.5, 0.75, trainers=trainers(1.0, 2.0), moved=[
            {"kind": "feature", "hop": None, "target": "remote", "calls": 1, "rows": 10, "bytes": 40}]), FINAL]
    (found,), page = report(write_run(tmp_path / "run", events, "[train]\nepochs = 2\nlr = 0.003\n"))
    assert found["state"]["kind"] == "finished" and "Finished: 2 epochs, 4 steps" in page.text
    assert found["settings"] == {"epochs": 2}
    assert found["result"]["values"] == {"val_acc": 0.75, "test_acc": 0.5} and found["result"]["best_epoch"] == 1
    assert found["curves"]["loss"] == [[1, 1.5], [2, 0.5]] and found["curves"]["val_acc"] == [[1, 0.25], [2, 0.75]]
    assert found["curves"]["step_loss"] == [[0.5, 2.0], [1.0, 1.0], [1.5, 0.5], [2.0, 0.5]]
    assert found["trainers"]["compute_s"] == [2.0, 5.0] and found["trainers"]["memory_bytes"] == [1 << 28] * 2
    assert found["balance"]["slowest"] == 1
    assert found["moved"] == [{"kind": "feature", "hop": None, "target": "remote", "calls": 3, "rows": 40,
                               "bytes": 160}]
    assert [[float(cell) for cell in row[:3]] for row in page.tables["epochs"][1:]] == [[0, 1.5, 0.25], [1, 0.5, 0.75]]


@pytest.mark.parametrize(("last", "said"), [
    ({"event": "diverged", "epoch": 0, "steps": 1, "problem": "the loss is nan at epoch 0, step 1: lower --lr"},
     "the loss is nan at epoch 0"),
    (step(0, 1, None), "step 1 is not finite"), (step(0, 1, math.nan), "step 1 is not finite")],
    ids=["told", "null", "NaN"])
def test_a_run_that_has_diverged_says_so_first(tmp_path, last, said):
    (found,), page = report(write_run(tmp_path / "run", [step(0, 0, 1e30), last]))
    assert found["state"]["kind"] == "diverged" and said in found["state"]["problem"]
    assert page.text.index("This run diverged") < page.text.index("1e+30")
    assert found["curves"]["step_loss"] == [[0.5, 1e30] if last["event"] == "step" else [1.0, 1e30]]


def test_perfect_figures_of_a_diverged_run_stand_behind_that(tmp_path):
    events = [step(0, 0, None), epoch(0, None, 1.0), {**FINAL, "val_acc": 1.0}]
    (found,), page = report(write_run(tmp_path / "run", events))
    assert found["state"]["kind"] == "diverged" and page.text.index("diverged") < page.text.index("1.0000")


@pytest.mark.parametrize(("events", "kind"), [
    ([], "empty"), ([step(0, 0, 1.0)], "unfinished"), ([step(0, 0, 1.0), epoch(0, 1.0)], "unfinished"),
    ([step(0, 0, 1.0), {**FINAL, "event": "stopped", "test_acc": None}], "stopped")])
def test_a_run_that_has_not_ended(tmp_path, events, kind):
    (found,), page = report(write_run(tmp_path / "run", events, tail='{"event": "st'))
    assert found["state"]["kind"] == kind and found["state"]["steps"] == len(events[:1])
    assert any("cut off" in note for note in found["notes"])
    assert ("none came to its end" in page.text) == (not any(event["event"] == "epoch" for event in events))


def test_a_run_of_an_earlier_version_says_what_it_did_not_record(tmp_path):
    (found,), page = report(write_run(tmp_path / "run", [step(0, 0, 1.0), epoch(0, 1.0), FINAL]))
    assert found["trainers"] is None and found["moved"] == [] and found["job"]["jobs"] == 0
    assert "of each trainer: metrics.jsonl has none" in page.text and "there is no jobs.jsonl" in page.text


@pytest.mark.parametrize(("damage", "part"), [
    (lambda folder: folder / "nosuch", "no such folder"),
    (lambda folder: folder / "metrics.jsonl", "not a folder"),
    (lambda folder: folder.parent, "no run folder"),
    (lambda folder: (folder / "metrics.jsonl").write_text('{"event": "step"\n{}\n'), "metrics.jsonl:1"),
    (lambda folder: (folder / "metrics.jsonl").write_text('{"event": "step"}\n[]\n'), "metrics.jsonl:2"),
    (lambda folder: (folder / "metrics.jsonl").write_bytes(b"\xff\n"), "metrics.jsonl:1"),
    (lambda folder: (folder / "config.toml").write_text("[train\n"), "config.toml"),
    (lambda folder: (folder / "jobs.jsonl").write_text("{}\n"), "jobs.jsonl:1")])
def test_what_is_no_run_or_damaged_is_named(tmp_path, damage, part):
    folder = write_run(tmp_path / "run", [])
    found = damage(folder)
    with pytest.raises((ConfigError, DataError), match=part):
        read_run(folder if isinstance(found, int) else found)


def test_many_steps_make_a_curve_of_few_points_with_the_same_mean(tmp_path):
    losses = [1 / (1 + number) for number in range(2000)]
    (found,), _ = report(write_run(tmp_path / "run", [step(0, number, loss) for number, loss in enumerate(losses)]))
    points = found["curves"]["step_loss"]
    assert len(points) == 400 and sum(y for _, y in points) / 400 == pytest.approx(sum(losses) / 2000)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", 'a"b', "a&b", "</script>"])
def test_what_users_wrote_stays_text(tmp_path, name):
    settings = f"[graph]\nfeatures = {json.dumps(name)}\n"
    (found,), page = report(write_run(tmp_path / "run", [step(0, 0, 1.0), epoch(0, 1.0), FINAL], settings))
    assert found["settings"]["features"] == name and name in page.text
