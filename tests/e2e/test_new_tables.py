"""What a run has learnt is used on new tables, of nodes that training never saw, by ``infer RUN TABLES``."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from test_tables import refused

from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import GraphData
from mpignn.storage.write import partition_graph
from mpirun import launcher, mpirun, python, read_only, run

TOPICS, VENUES, PARTS = ("art", "biology", "law"), ("Annals", "Letters", "Notes"), ("train", "train", "val", "test")
CITES = ("paper", "cites", "paper")
DESCRIPTION = """
[nodes.paper]
files = "papers.csv"
id = "id"
features = [{column = "year", as = "standard", fill = "mean"}, {column = "venue", as = "onehot"}, "x",
            {column = "kind", as = "code"}]
labels = "topic"
split = "part"
[edges."paper:cites:paper"]
files = "cites.csv"
src = "citing"
dst = "cited"
"""


def papers(seed: int, first: int, count: int) -> tuple[list[dict[str, object]], np.ndarray]:
    """Rows of papers, and (2, E) which cites which."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, 3, count)
    rows = [{"id": f"W{first + i}", "year": "" if i % 17 == 5 else 2000 + 3 * int(topic[i]) + int(rng.integers(4)),
             "venue": VENUES[(topic[i] + rng.integers(2)) % 3], "x": round(float(rng.normal()), 3),
             "kind": "long" if rng.random() < 0.3 else "short", "topic": TOPICS[topic[i]], "part": PARTS[i % 4]}
            for i in range(count)]
    return rows, rng.integers(0, count, (2, 4 * count))


def write(folder: Path, rows: list[dict[str, object]], ends: np.ndarray, columns: tuple[str, ...] = ()) -> Path:
    folder.mkdir()
    with open(folder / "papers.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, columns or tuple(rows[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    with open(folder / "cites.csv", "w", newline="") as file:
        csv.writer(file).writerows([("citing", "cited"), *((rows[i]["id"], rows[j]["id"]) for i, j in ends.T)])
    return folder


def numbers(rows: list[dict[str, object]], known: list[dict[str, object]]) -> np.ndarray:
    """The features of some rows by the years of those that training knew, written out by hand."""
    years = np.array([row["year"] for row in known if row["part"] == "train" and row["year"] != ""], np.float64)
    return np.array([[0 if row["year"] == "" else (row["year"] - years.mean()) / years.std(),
                      *(row["venue"] == venue for venue in VENUES), row["x"], row["kind"] == "short"] for row in rows],
                    np.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a run on tables, and new tables of other papers, of which no topic is known."""
    folder = tmp_path_factory.mktemp("new-tables")
    rows, ends = papers(0, 0, 300)
    write(folder / "tables", rows, ends)
    (folder / "tables" / "graph.toml").write_text(DESCRIPTION)
    partition_graph(folder / "tables", folder / "mine", 2)
    done = run([sys.executable, "-m", "mpignn", "train", "mine", "--run-dir", "run", "--epochs", "3", "--hidden", "8",
                "--fanouts", "5,5", "--global-batch-size", "50"], cwd=folder)
    assert done.returncode == 0, str(done)
    write(folder / "new", *papers(1, 1000, 80), columns=("kind", "venue", "id", "x", "year"))
    done = infer(folder, "new", "--out", "one.csv")
    assert done.returncode == 0 and left(folder) == [], str(done)
    return folder


def infer(folder: Path, *words: str, np: int = 1, command: str = "infer"):
    job = ["-m", "mpignn", command, "run", *words]
    return run([sys.executable, *job], cwd=folder) if np == 1 else mpirun(job, np, cwd=folder)


def left(folder: Path) -> list[str]:
    """What is left of graphs of tables."""
    return [path.name for path in (folder / "run").rglob("*of-tables*")]


def test_new_nodes_get_what_a_graph_made_by_hand_gives_them_on_any_number_of_ranks(trained):
    (known, _), (rows, ends) = papers(0, 0, 300), papers(1, 1000, 80)
    data = GraphData({"paper": 80}, {CITES: csc_from_coo(*ends, 80)}, {"paper": {"features": numbers(rows, known)}})
    partition_graph(data, trained / "by-hand", 1)
    for out, graph, ranks in (("hand.csv", "by-hand", 1), ("three.csv", "new", 3)):
        done = infer(trained, graph, "--out", out, np=ranks)
        assert done.returncode == 0 and left(trained) == [], str(done)
    assert (trained / "one.csv").read_bytes() == (trained / "three.csv").read_bytes()
    hand, one = (list(csv.DictReader((trained / name).read_text().splitlines())) for name in ("hand.csv", "one.csv"))
    assert [row["id"] for row in one] == [row["id"] for row in rows]
    assert [row["prediction"] for row in one] == [row["prediction"] for row in hand]
    assert len({row["prediction"] for row in one}) > 1 and {row["prediction"] for row in one} <= set(TOPICS)
    for mine, theirs in zip(one, hand, strict=True):
        assert float(mine["probability"]) == pytest.approx(float(theirs["probability"]), abs=1e-6)


def test_a_run_is_measured_on_new_tables_with_labels(trained):
    rows, ends = papers(2, 2000, 60)
    write(trained / "labelled", [row | {"part": ""} for row in rows], ends,
          columns=("id", "year", "venue", "x", "kind", "topic"))
    for command, words in (("eval", ()), ("infer", ("--out", "labelled.csv"))):
        done = infer(trained, "labelled", *words, command=command)
        assert done.returncode == 0 and left(trained) == [], str(done)
    predicted = [row["prediction"] for row in csv.DictReader((trained / "labelled.csv").read_text().splitlines())]
    right = sum(row["topic"] == topic for row, topic in zip(rows, predicted, strict=True))
    assert json.loads((trained / "run" / "eval" / "eval.json").read_text()) == {"test_acc": pytest.approx(right / 60)}


def test_predictions_beside_new_tables_are_no_table_of_these(trained):
    out = trained / "new" / "pred.csv"
    for _ in range(2):          # the second one replaces what the first one wrote
        done = infer(trained, "new", "--out", "new/pred.csv")
        assert done.returncode == 0 and out.read_bytes() == (trained / "one.csv").read_bytes(), str(done)
    out.unlink()


def test_a_run_that_cannot_be_written_is_used_on_new_tables(trained, tmp_path):
    words = [*read_only(trained / "run"), *launcher(3), python(), "-m", "mpignn", "infer", "run", "new", "--out"]
    done = run([*words, "read-only.csv"], cwd=trained, env={"TMPDIR": str(tmp_path)}, fresh=False)
    assert done.returncode == 0 and f"{tmp_path}/mpignn-run-" in done.stderr, str(done)
    assert (trained / "read-only.csv").read_bytes() == (trained / "one.csv").read_bytes()
    assert list(tmp_path.iterdir()) == []
    done = run([*words, "none/pred.csv"], cwd=trained, env={"TMPDIR": str(tmp_path)}, fresh=False)
    assert done.returncode == 2 and list(tmp_path.iterdir()) == [], str(done)


def test_what_a_killed_job_left_of_tables_is_removed(trained):
    (trained / "run" / "infer" / ".graph-of-tables-0.partial-01234567").mkdir()
    done = infer(trained, "new", "--out", "after.csv")
    assert done.returncode == 0 and left(trained) == [] and "is left by" not in done.stderr, str(done)


def test_without_a_split_there_is_nothing_to_measure_by(trained):
    refused(infer(trained, "new", command="eval"), 3, "no split named val or test", "write their labels")
    assert left(trained) == []


def test_fewer_new_nodes_than_classes_are_measured(trained):
    rows, ends = papers(2, 2000, 60)
    one = next(row for row in rows if row["topic"] == TOPICS[-1])
    write(trained / "single", [one], ends[:, :0], columns=("id", "year", "venue", "x", "kind", "topic"))
    done = infer(trained, "single", command="eval")
    assert done.returncode == 0 and left(trained) == [], str(done)
    assert json.loads((trained / "run" / "eval" / "eval.json").read_text())["test_acc"] in (0, 1)


@pytest.mark.parametrize("ranks", [1, 3])
def test_tables_that_cannot_be_taken_are_refused_once_and_leave_nothing(trained, ranks):
    rows, ends = papers(1, 1000, 80)
    for name, change, told in (("bad-year", {"year": "soon"}, "papers.csv, line 4: year is 'soon'"),
                               ("bad-kind", {"kind": "huge"}, "papers.csv, line 4: kind is 'huge', which it was")):
        folder = trained / f"{name}-{ranks}"
        write(folder, [*rows[:2], rows[2] | change, *rows[3:]], ends)
        before = sorted(path.name for path in (trained / "run").iterdir())
        refused(infer(trained, folder.name, "--out", "none.csv", np=ranks), 3, told)
        assert left(trained) == [] and not (trained / "none.csv").exists()
        assert sorted(path.name for path in (trained / "run").iterdir()) == before


def test_what_a_command_cannot_mean_is_told(trained):
    refused(infer(trained, "new", "--out", "new/papers.csv"), 2, "new/papers.csv is read by this job and cannot be its")
    refused(infer(trained, "new", "--out", "mine/part-00001.h5"), 2, "mine/part-00001.h5 is read by this job")
    refused(infer(trained, "mine", "--out", "none.csv", "--on-unknown", "drop"), 2, "mine is no tables: leave it out")
    refused(infer(trained, "new", "--out", "none.csv", "--stage", "stage"), 2, "new is tables", "leave it out")
    assert not (trained / "stage").exists() and left(trained) == []
    refused(infer(trained, "nothing", "--out", "none.csv"), 3, "nothing", "no such file")
    assert not (trained / "none.csv").exists() and (trained / "new" / "papers.csv").read_text().startswith("kind,venue")


def test_edges_to_others_are_dropped_if_asked_for(trained):
    shutil.copytree(trained / "new", trained / "open-ended")
    with open(trained / "open-ended" / "cites.csv", "a") as file:
        file.write("W1000,W7\n")
    refused(infer(trained, "open-ended", "--out", "none.csv"), 3, "cited is 'W7', which is no node of type paper",
            "--on-unknown drop")
    done = infer(trained, "open-ended", "--out", "open.csv", "--on-unknown", "drop")
    assert done.returncode == 0, str(done)
    assert (trained / "open.csv").read_bytes() == (trained / "one.csv").read_bytes()


def test_the_graph_of_the_run_must_be_there_and_the_same(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "moved")
    moved = tmp_path / "moved"
    (moved / "mine").rename(moved / "elsewhere")
    refused(infer(moved, "new", "--out", "none.csv"), 3, "run was trained on mine, which says what new tables become",
            "no such file", "partition new OUT --parts 1 --like")
    words = ["partition", "new", "OUT", "--parts", "1", "--like", "elsewhere"]      # as it says
    assert run([sys.executable, "-m", "mpignn", *words], cwd=moved).returncode == 0
    assert infer(moved, "OUT", "--out", "made.csv").returncode == 0
    assert (moved / "made.csv").read_bytes() == (trained / "one.csv").read_bytes()
    rows, ends = papers(3, 0, 300)
    shutil.rmtree(moved / "tables")
    write(moved / "tables", rows, ends)
    (moved / "tables" / "graph.toml").write_text(DESCRIPTION)
    partition_graph(moved / "tables", moved / "mine", 2)
    refused(infer(moved, "new", "--out", "none.csv"), 3, "mine is another graph than run was trained on")


def test_learnt_rows_of_single_nodes_say_nothing_of_new_ones(trained, tmp_path):
    for name in ("mine", "new"):
        shutil.copytree(trained / name, tmp_path / name)
    done = run([sys.executable, "-m", "mpignn", "train", "mine", "--run-dir", "run", "--epochs", "1", "--hidden", "8",
                "--fanouts", "2,2", "--embed", "all"], cwd=tmp_path)
    assert done.returncode == 0, str(done)
    refused(infer(tmp_path, "new", "--out", "none.csv"), 2, "has learnt rows of the single nodes of its graph (paper,",
            "train with --embed off")
    assert left(tmp_path) == []
