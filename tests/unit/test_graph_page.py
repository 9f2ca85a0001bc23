"""The page of a graph before training: its figures against brute force, and what its rules find."""

import json

import numpy as np
import pytest

from mpignn.cli import main
from mpignn.report.graph_rules import FAILURE, RULES
from mpignn.storage.write import partition_graph
from pages import Page

PAPERS, AUTHORS = 300, 50


def arrays(sound: bool) -> dict[str, np.ndarray]:
    """Papers that cite papers, written by authors, in fields; a graph that is not sound has faults of all kinds."""
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((PAPERS, 4)).astype(np.float32), rng.integers(0, 5, PAPERS)
    cites, train = rng.integers(0, PAPERS, (2, 900)), np.arange(200)
    cites[1, :PAPERS] = np.arange(PAPERS)
    made = {"num_nodes/paper": np.array(PAPERS), "num_nodes/author": np.array(AUTHORS),
            "edge/author:writes:paper/src": rng.integers(0, AUTHORS, 300),
            "edge/author:writes:paper/dst": rng.integers(0, PAPERS, 300),
            "node/author/features": rng.standard_normal((AUTHORS, 2)).astype(np.float32),
            "split/paper/val": np.arange(200, 250), "split/paper/test": np.arange(250, 300)}
    if not sound:
        features[:, 3], labels[250:255] = 7e4, PAPERS
        cites[1] = np.minimum(cites[1], 100)        # of 300: the others have no in-edges
        made |= {"num_nodes/field": np.array(9), "edge/paper:has:field/src": np.arange(9),
                 "edge/paper:has:field/dst": np.arange(9)}
        made["edge/author:writes:paper/dst"] %= 100
        del made["split/paper/val"]
        made["split/paper/test"] = np.arange(199, 300)
    return made | {"edge/paper:cites:paper/src": cites[0], "edge/paper:cites:paper/dst": cites[1],
                   "node/paper/features": features, "node/paper/labels": labels, "split/paper/train": train}


@pytest.fixture(scope="module", params=[True, False], ids=["sound", "faulty"])
def graph(request, tmp_path_factory):
    """Its arrays, and the page of it in three partitions."""
    folder, made = tmp_path_factory.mktemp("graph"), arrays(request.param)
    np.savez(folder / "g.npz", **made)
    partition_graph(folder / "g.npz", folder / "cut", 3, method="random")
    assert main(["info", str(folder / "cut"), "--html", str(folder / "g.html"), "--fanouts", "3,2", "-np", "4"]) == 0
    return request.param, made, Page((folder / "g.html").read_text())


def test_all_figures_are_those_of_the_arrays(graph):
    sound, made, page = graph
    assert page.links == []
    found = page.figures
    degree = np.bincount(made["edge/paper:cites:paper/dst"], minlength=PAPERS)
    edges = found["edges"]["paper:cites:paper"]
    assert (edges["count"], edges["largest_degree"]) == (900, degree.max())
    assert sum(edges["degrees"]) == PAPERS and edges["degrees"][0] == (degree == 0).sum()
    assert [hub["degree"] for hub in edges["hubs"]] == np.sort(degree)[::-1][:10].tolist()
    assert all(degree[hub["node"]] == hub["degree"] for hub in edges["hubs"])
    degree += np.bincount(made["edge/author:writes:paper/dst"], minlength=PAPERS)
    for name, of in found["splits"]["paper"].items():
        ids = made[f"split/paper/{name}"]
        assert (of["count"], of["isolated"]) == (ids.size, (degree[ids] == 0).sum())
        labels = made["node/paper/labels"][ids]
        assert found["labels"]["paper"]["splits"][name] == np.bincount(labels[labels < 5], minlength=5).tolist()
    assert found["memory"]["ranks"] == 4 and found["growth"]["fanouts"] == [3, 2]
    assert found["reached"] == {"paper": 0, "author": 1}


def test_tables_of_the_page_are_its_figures(graph):
    _, _, page = graph
    found = page.figures
    assert [row[:1] + row[2:3] for row in page.tables["edges"][1:]] == [
        [key, str(of["count"])] for key, of in found["edges"].items()]
    assert {(row[0], row[1]): row[2] for row in page.tables["splits"][1:]} == {
        (key, name): str(of["count"]) for key, splits in found["splits"].items() for name, of in splits.items()}
    assert [float(row[2]) for row in page.tables["growth"][2:-1]] == [hop["edges"] for hop in found["growth"]["hops"]]
    for problem in found["problems"]:
        assert problem["text"].replace("`", "") in page.text


def test_faults_are_found_failures_first(graph):
    sound, _, page = graph
    problems = page.figures["problems"]
    named = {problem["rule"] for problem in problems}
    if sound:
        assert named == {"cut like random"}
        return
    severities = [problem["severity"] for problem in problems]
    assert severities == sorted(severities, key=lambda severity: severity != FAILURE)
    assert named == {rule.name for rule in RULES} - {"no training seeds", "hubs", "rare classes"}
    assert page.text.index("What keeps it from being learnt") < page.text.index("What to look at")


def test_json_has_the_same_figures(tmp_path, capsys):
    np.savez(tmp_path / "g.npz", **arrays(True))
    partition_graph(tmp_path / "g.npz", tmp_path / "cut", 2, method="random")
    words = ["info", str(tmp_path / "cut"), "--html", str(tmp_path / "g.html"), "--json"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == Page((tmp_path / "g.html").read_text()).figures
    assert err.endswith(f"wrote {tmp_path / 'g.html'}\n")


@pytest.mark.parametrize(("words", "told"), [
    (["--html", "g.html"], "info --html: name the graph"), (["--json"], "info --json: name the graph"),
    (["g", "--html", "g.txt"], "must end in .html"), (["g", "--json", "--degrees"], "leave that out"),
    (["g", "--html", "g.html", "--plan"], "leave that out")])
def test_what_is_no_page_of_a_graph_is_refused(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    assert main(["info", *words]) == 2 and told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
