"""The best new links of each node, or of some, by ``infer --top-k``: the same file on any number of ranks."""

import csv
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_tables import refused

from mpignn.storage.write import partition_graph
from mpirun import mpirun, run

NODES, K = 70, 5
NAMES = [f"person {i}" if i % 7 else f"Jürgen,\u2028{i}" for i in range(NODES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with people who know each other, in one partition and in three, and a run that has learnt who."""
    folder = tmp_path_factory.mktemp("top-links")
    rng = np.random.default_rng(0)
    (folder / "tables").mkdir()
    with open(folder / "tables" / "people.csv", "w", newline="") as file:
        csv.writer(file).writerows([("id", "size", "age"), *((name, *rng.normal(size=2).round(3)) for name in NAMES)])
    with open(folder / "tables" / "knows.csv", "w", newline="") as file:
        csv.writer(file).writerows([("src", "dst"), *((NAMES[i], NAMES[j]) for i, j in edges())])
    for parts in (1, 3):
        partition_graph(folder / "tables", folder / f"graph-{parts}", parts, "metis" if parts == 1 else "random")
    words = ["--task", "link_prediction", "--edge-mask", "message", "--decoder", "dot", "--run-dir", "run", "--epochs",
             "2", "--hidden", "6", "--fanouts", "3,3", "--precision", "fp64"]
    done = run([sys.executable, "-m", "mpignn", "train", "graph-1", *words], cwd=folder)
    assert done.returncode == 0, str(done)
    (folder / "one.txt").write_text(NAMES[3])
    return folder


def edges() -> list[tuple[int, int]]:
    """Who knows whom; the first knows all others."""
    rng = np.random.default_rng(1)
    return [*((0, j) for j in range(1, NODES)), *((i, j) for i, j in rng.integers(0, NODES, (300, 2)).tolist() if i)]


def infer(folder: Path, *words: str, np: int = 1):
    job = ["-m", "mpignn", "infer", "run", *words]
    return run([sys.executable, *job], cwd=folder) if np == 1 else mpirun(job, np, cwd=folder)


def lines(path: Path) -> list[tuple[str, str, float]]:
    with open(path, newline="", encoding="utf-8") as file:
        return [(row["src"], row["dst"], float(row["score"])) for row in csv.DictReader(file)]


def test_each_node_gets_its_best_new_links_on_any_number_of_ranks(folder):
    top = ["--top-k", str(K)]
    for graph, out, words, ranks in (("graph-1", "one.csv", top, 1), ("graph-3", "three.csv", top, 3),
                                     ("graph-1", "all.h5", [], 1)):
        done = infer(folder, graph, "--out", out, *words, np=ranks)
        assert done.returncode == 0, str(done)
    assert (folder / "one.csv").read_bytes() == (folder / "three.csv").read_bytes()
    with h5py.File(folder / "all.h5") as file:
        rows = file["node/people/embedding"][()].astype(float)
    scores, taken, found = rows @ rows.T, set(edges()), lines(folder / "one.csv")
    assert [src for src, _, _ in found] == [NAMES[i] for i in range(1, NODES) for _ in range(K)]     # 0 knows all
    for i in range(1, NODES):
        new = sorted((j for j in range(NODES) if j != i and (i, j) not in taken), key=lambda j: -scores[i, j])[:K]
        mine = found[(i - 1) * K:i * K]
        assert [score for _, _, score in mine] == pytest.approx(scores[i, new].tolist(), abs=1e-5)
        assert not {(i, NAMES.index(dst)) for _, dst, _ in mine} & (taken | {(i, i)})


def test_some_nodes_are_asked_for_by_name(folder):
    (folder / "some.txt").write_text(f"{NAMES[9]}\n\n{NAMES[7]}\r\n{NAMES[9]}\n", encoding="utf-8")
    done = infer(folder, "graph-3", "--out", "some.parquet", "--top-k", str(K), "--sources", "some.txt")
    assert done.returncode == 0, str(done)
    done = infer(folder, "graph-3", "--out", "some.csv", "--top-k", str(K), "--sources", "some.txt", np=3)
    assert done.returncode == 0, str(done)
    found = lines(folder / "some.csv")
    assert [src for src, _, _ in found] == [NAMES[7]] * K + [NAMES[9]] * K
    assert found == [line for line in lines(folder / "one.csv") if line[0] in (NAMES[7], NAMES[9])]
    (folder / "some.txt").write_text(f"{NAMES[7]}\nnobody\n", encoding="utf-8")
    refused(infer(folder, "graph-1", "--out", "none.csv", "--top-k", "2", "--sources", "some.txt", np=3), 3,
            "is called 'nobody', number 2 of these 2: leave such names out, 1 in all")
    assert not (folder / "none.csv").exists()


def test_more_than_there_are_take_no_memory(folder):
    done = infer(folder, "graph-1", "--out", "most.csv", "--top-k", "99999999999", "--sources", "one.txt")
    assert done.returncode == 0, str(done)
    taken = {j for i, j in edges() if i == 3} | {3}
    assert {dst for _, dst, _ in lines(folder / "most.csv")} == {NAMES[j] for j in range(NODES) if j not in taken}


def test_new_tables_get_new_links(folder):
    done = infer(folder, "tables", "--out", "anew.csv", "--top-k", "3", "--sources", "one.txt")
    assert done.returncode == 0, str(done)
    found = lines(folder / "anew.csv")
    assert [src for src, _, _ in found] == [NAMES[3]] * 3
    refused(infer(folder, "tables", "--out", "none.csv"), 2, "no split named 'test', nor any other", "split = ...")
    assert not {(3, NAMES.index(dst)) for _, dst, _ in found} & {*edges(), (3, 3)}


@pytest.mark.parametrize("words, told", [
    (["--out", "none.csv", "--top-k", "0"], "--top-k 0: ask for 1 link of each source at least"),
    (["--out", "none.csv", "--top-k", "2", "--split", "test"], "do not go together"),
    (["--out", "none.h5", "--top-k", "2"], "--top-k writes a table"),
    (["--out", "none.csv", "--sources", "some.txt"], "--sources has no effect without --top-k"),
    (["--out", "none.csv", "--top-k", "2", "--sources", "nowhere.txt"], "nowhere.txt: cannot be read"),
    (["--out", "list.txt.csv", "--top-k", "2", "--sources", "list.txt.csv"], "is read by this job"),
])
def test_what_cannot_be_meant_is_told(folder, words, told):
    (folder / "list.txt.csv").write_text(NAMES[1])
    refused(infer(folder, "graph-1", *words), 2, told)
    assert not list(folder.glob("none.*")) and (folder / "list.txt.csv").read_text() == NAMES[1]
