"""Reports of run folders as jobs may leave them: whole, under way, killed, diverged, old, damaged, odd."""

import json
import math
import random

import pytest

from mpignn.errors import ConfigError, DataError
from mpignn.json_text import to_json
from mpignn.report.gather import gather
from mpignn.report.page import make_page
from mpignn.report.read import read_run
from pages import FINAL, Page, classes, epoch, job, step, trainers, write_run


def report(*folders):
    """The figures of runs, and the page of them."""
    found = gather(folders)
    html = make_page(found)
    page = Page(html)
    assert page.figures == json.loads(to_json(found)) and not page.links and len(html) < 2_000_000
    return found["runs"], page


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


def test_what_a_job_was_and_what_it_took(tmp_path):
    events = [step(0, 0, 1.0), epoch(0, 1.0, trainers=trainers(1.0, 1.0)), FINAL]
    (found,), page = report(write_run(tmp_path / "run", events, jobs=[job()]))
    assert "mpignn train 'a b'" in page.text and "id 17" in page.text and "12 nodes (a 5, b 7), 9 edges" in page.text
    assert found["memory"]["trainers"] == [{"rank": rank, "planned": 251 << 20, "used": 1 << 28} for rank in (1, 2)]
    assert [[float(cell) for cell in row[2:]] for row in page.tables["memory"][1:]] == [
        [1 << 28, 251 << 20, (1 << 28) / (251 << 20)]] * 2


@pytest.mark.parametrize("count", [2, 5, 30, 256])
def test_the_table_of_classes_is_that_of_the_counts(tmp_path, count):
    rng = random.Random(count)
    confusion = [[rng.choice((0, 0, 1, 5)) for _ in range(count)] for _ in range(count)]
    names = [f"<b>{place}&" for place in range(count)] if count != 5 else None
    events = [step(0, 0, 1.0), epoch(0, 1.0), classes(names, confusion), FINAL]
    _, page = report(write_run(tmp_path / "run", events))
    head, *rows = page.tables["classes"]
    assert len(rows) == count and head[2:] == ["seeds", "predicted", "precision", "recall", "F1"]
    for name, _, actual, predicted, precision, recall, _ in rows:
        place = int(name.strip("<b>&"))
        own, column = sum(confusion[place]), sum(row[place] for row in confusion)
        assert (int(actual), int(predicted)) == (own, column)
        for cell, whole in ((precision, column), (recall, own)):
            assert cell == ("" if not whole else str(confusion[place][place] / whole))
    errors = sorted((number for true, row in enumerate(confusion) for said, number in enumerate(row)
                     if true != said and number), reverse=True)
    assert [int(row[2]) for row in page.tables.get("confused", [])[1:]] == errors[:8]


def test_what_was_evaluated_comes_before_what_training_counted(tmp_path):
    folder = write_run(tmp_path / "run", [step(0, 0, 1.0), epoch(0, 1.0), classes(None, [[1, 0], [0, 1]]), FINAL])
    (folder / "eval").mkdir()
    (folder / "eval" / "eval.json").write_text('{"test_acc": 0.5}')
    (folder / "eval" / "classes.json").write_text(json.dumps([classes(None, [[3, 1], [0, 1]], "val")]))
    (found,), page = report(folder)
    assert [(counts["split"], counts["by"]) for counts in found["classes"]] == [
        ("val", "all neighbors"), ("test", "sampled neighbors")]
    assert page.tables["classes"][1][2] == "4" and found["result"]["evaluation"] == {"test_acc": 0.5}


def sweep(tmp_path, reached, **more):
    """Runs with several widths and what each reached; None: it diverged."""
    for number, value in enumerate(reached):
        events = [step(0, 0, None if value is None else 1.0), epoch(0, 1.0, value), {**FINAL, "val_acc": value}]
        if value is None:
            events = [{"event": "diverged", "epoch": 0, "steps": 0, "problem": "the loss is nan"}]
        write_run(tmp_path / f"h{number}", events, f"[model]\nhidden = {2 ** number}\n", [job(**more)])
    return sorted(tmp_path.iterdir())


def test_several_runs_are_told_by_what_differs_the_best_first(tmp_path):
    runs, page = report(*sweep(tmp_path, [0.25, None, 0.75, 0.5]))
    head, *rows = page.tables["runs"]
    assert head[:4] == ["run", "validation accuracy", "test accuracy", "hidden"]
    assert page.figures["order"] == [2, 3, 0, 1]
    assert [(row[0].split()[0], row[3]) for row in rows] == [("h2", "4"), ("h3", "8"), ("h0", "1"), ("h1", "2")]
    assert [row[1] for row in rows] == ["0.75", "0.5", "0.25", ""] and "diverged" in rows[-1][0]
    assert page.text.index("Diverged: h1") < page.text.index("The best is h2") < page.text.index("0.7500")
    assert page.figures["differing"] == {"hidden": [1, 2, 4, 8]}


def test_runs_on_different_graphs_are_not_compared(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    folders = [*sweep(tmp_path / "a", [0.25]), *sweep(tmp_path / "b", [0.75], source="h")]
    runs, page = report(*folders)
    assert page.figures["metric"] is None and page.figures["order"] == [0, 1] and "The best is" not in page.text
    assert [run["name"] for run in runs] == [str(folder) for folder in folders]


def test_a_page_of_many_runs_stays_small(tmp_path):
    confusion = [[(row + column) % 7 for column in range(60)] for row in range(60)]
    for number in range(30):
        write_run(tmp_path / f"run{number}", [
            *(step(0, place, 1.0) for place in range(500)),
            *(epoch(place, 1.0, trainers=trainers(*[1.0] * 8)) for place in range(20)),
            classes(None, confusion), FINAL])
    runs, page = report(*sorted(tmp_path.iterdir()))
    assert len(page.tables["runs"]) == 31 and "more have no room on this page" in page.text


def test_a_page_of_many_trainers_and_epochs_stays_small(tmp_path):
    rng = random.Random(0)
    told = [trainers(*(rng.random() for _ in range(500))) for _ in range(3)]
    events = [epoch(number, 1.0, trainers=told[number % 3]) for number in range(1000)]
    found = gather([write_run(tmp_path / "run", [step(0, 0, 1.0), *events, FINAL], jobs=[job(trainers=500)])])
    html = make_page(found)
    assert len(html) < 2_000_000
    assert len(found["runs"][0]["epochs"]) == 1000 and len(Page(html).tables["epochs"]) == 201
    busy = found["runs"][0]["balance"]["busy_s"]
    assert len(Page(html).tables["trainers"]) == 65 and found["runs"][0]["balance"]["slowest"] == busy.index(max(busy))


def test_a_run_that_hung_says_who_was_at_work(tmp_path):
    folder = write_run(tmp_path / "run", [step(0, 0, 1.0)])
    words = [{"who": f"trainer {rank}/2", "quiet_s": 1800.5 + rank, "phase": "epoch 0", "detail": "step 1",
              "waits_for": "" if rank else "the trainers", "at": 20.0, "phases": [[5.0, "load <graph>"]],
              "stacks": [["  File x\n    <listcomp>\n"]]} for rank in range(2)]
    (folder / "hang.jsonl").write_text("".join(json.dumps(word) + "\n" for word in words))
    (found,), page = report(folder)
    assert found["state"]["kind"] == "hung" and "nothing happened for 30 min 02 s" in page.text
    assert [row[0] for row in page.tables["hang"][1:]] == ["trainer 1/2", "trainer 0/2"]
    assert "15.0 s before: load <graph>" in page.text and "<listcomp>" in page.text


@pytest.mark.parametrize(("cached", "remote", "hits"), [(30, 10, 0.75), (0, 10, None)])
def test_the_hits_of_the_cache_are_those_of_features(tmp_path, cached, remote, hits):
    counts = (("feature", "cache", cached), ("feature", "remote", remote), ("structure", "remote", 5))
    moved = [{"kind": kind, "hop": None, "target": target, "calls": 1, "rows": rows, "bytes": rows}
             for kind, target, rows in counts if rows]
    events = [step(0, 0, 1.0), epoch(0, 1.0, trainers=trainers(1.0), moved=moved), FINAL]
    (found,), page = report(write_run(tmp_path / "run", events))
    assert found["cache_hits"] == hits and ("The cache had 75 %" in page.text) == (hits is not None)
    assert [row[0] for row in page.tables["moved"][1:]] == ["structure", "feature"]
