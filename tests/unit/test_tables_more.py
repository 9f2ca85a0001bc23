"""Tables put into a graph that there is: found by the users' ids, in any order."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpignn.cli import main
from mpignn.errors import ConfigError, DataError
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

IDS = {"texts": ["p10", "p2", "ä7", "p30", "p4", "p55"], "numbers": [7, 3, 12, -1, 2**63 + 5, 40]}
COLUMNS = {"year": [2001, 2005, 1999, 2011, 2020, 2015], "venue": ["a", "b", "a", "c", "b", "a"],
           "topic": ["x", "y", "y", "x", "z", "x"], "part": ["train", "train", "val", "", "test", "train"]}
WHOLE = """
[nodes.paper]
files = "papers.csv"
id = "id"
{}
[edges."paper:cites:paper"]
files = "cites.csv"
src = "citing"
dst = "cited"
"""
MORE = """features = [{column = "year", as = "standard"}, {column = "venue", as = "onehot"}]
data = {year = "year"}
labels = "topic"
split = "part"
"""


def write(folder, name, ids, columns, order):
    rows = [",".join(["id", *columns])]
    rows += [",".join([str(ids[i]), *(str(column[i]) for column in columns.values())]) for i in order]
    (folder / name).write_text("\n".join(rows) + "\n")


@pytest.fixture(params=IDS)
def tables(request, tmp_path, monkeypatch):
    """A graph whose table has ids alone, partitioned as g; whole.toml describes the same with all columns."""
    monkeypatch.chdir(tmp_path)
    ids = IDS[request.param]
    cites = [f"{ids[i]},{ids[(i * 2 + 1) % 6]}" for i in range(6)]
    (tmp_path / "cites.csv").write_text("\n".join(["citing,cited", *cites, ""]))
    write(tmp_path, "papers.csv", ids, COLUMNS, range(6))
    (tmp_path / "bare.toml").write_text(WHOLE.format(""))
    (tmp_path / "whole.toml").write_text(WHOLE.format(MORE))
    partition_graph("bare.toml", "g", 2, "random")
    write(tmp_path, "more.csv", ids, COLUMNS, [3, 0, 5, 4, 1, 2])
    (tmp_path / "more.toml").write_text('[nodes.paper]\nfiles = "more.csv"\nid = "id"\n' + MORE)
    return ids


def test_a_table_in_another_order_gives_what_the_first_table_would_have_given(tables):
    partition_graph("g", "more", put_tables="more.toml")
    partition_graph(replace(read_source("whole.toml"), tables=read_source("bare.toml").tables), "whole", 2, "random")
    with GraphFile("more") as more, GraphFile("whole") as whole:
        assert more.graph_id == whole.graph_id and more.report == whole.report
    for part in sorted(Path("whole").glob("part-*")):
        assert part.read_bytes() == (Path("more") / part.name).read_bytes()


def test_without_a_split_of_its_own_means_are_those_of_the_graph_s_training_nodes(tables):
    partition_graph("whole.toml", "full", 2, "random")
    Path("more.toml").write_text('[nodes.paper]\nfiles = "more.csv"\nid = "id"\n'
                                 'data = {year = {column = "year", as = "standard"}}\n')
    found = read_source("full", put_tables="more.toml").node_data["paper"]["year"][:]
    train = np.array(COLUMNS["year"])[[0, 1, 5]]
    np.testing.assert_allclose(found, (np.array(COLUMNS["year"]) - train.mean()) / train.std(), rtol=1e-5)


def test_the_names_of_classes_are_those_of_the_new_labels(tables, caplog):
    partition_graph("whole.toml", "full", 2, "random")
    write(Path(), "more.csv", tables, COLUMNS | {"topic": ["q", "r", "r", "q", "q", "q"]}, range(6))
    Path("more.toml").write_text('[nodes.paper]\nfiles = "more.csv"\nid = "id"\nlabels = "topic"\n')
    found = read_source("full", put_tables="more.toml")
    assert found.class_names == {"paper": {"labels": ("q", "r")}}
    assert found.node_data["paper"]["labels"][:].tolist() == [0, 1, 1, 0, 0, 0]
    assert found.partitioning.source_id != read_source("full").partitioning.source_id


def test_nodes_without_ids_are_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("source.npz", **{"num_nodes/paper": 3, "edge/paper:cites:paper/src": np.array([0, 1]),
                              "edge/paper:cites:paper/dst": np.array([1, 2])})
    write(Path(), "by_id.csv", [2, 0, 1], {"year": [5, 6, 7]}, range(3))
    for words, expected in (("", [5, 6, 7]), ('id = "id"\n', [6, 7, 5])):
        Path("more.toml").write_text(f'[nodes.paper]\nfiles = "by_id.csv"\n{words}data = {{year = "year"}}\n')
        assert read_source("source.npz", put_tables="more.toml").node_data["paper"]["year"][:].tolist() == expected


BAD = {
    "there is no row of the node": (DataError, "more.csv", [0, 1, 2, 3, 4], 'data = {year = "year"}\n'),
    "row 3 is of no node of the graph, which has 6; in all 1 rows": (
        DataError, "other", [0, 1], 'data = {year = "year"}\n'),
    "stands in": (DataError, "more.csv", [0, 1, 2, 3, 4, 5, 5], 'data = {year = "year"}\n'),
    "put 'node/paper/year' is there twice": (ConfigError, "more.csv", range(6), 'data = {year = "year"}\n'),
}


@pytest.mark.parametrize("told", BAD)
def test_tables_of_other_nodes_are_refused(tables, told):
    error, name, order, words = BAD[told]
    if name == "other":
        write(Path(), "more.csv", [*tables[:2], 99, *tables[2:]], {"year": range(7)}, range(7))
    else:
        write(Path(), name, tables, COLUMNS, order)
    Path("more.toml").write_text('[nodes.paper]\nfiles = "more.csv"\nid = "id"\n' + words)
    put = {"node/paper/year": np.arange(6)} if "twice" in told else {}
    with pytest.raises(error) as raised:
        partition_graph("g", "out", put_tables="more.toml", put=put)
    assert told in str(raised.value) and not Path("out").exists()


@pytest.mark.parametrize(("text", "code", "told"), [
    ('[nodes.paper]\nfiles = "more.csv"\nid = "id"\nlabels = "topic"\n', 0, "labels int64"),
    ('[nodes.author]\nfiles = "more.csv"\n', 2, "[nodes.author]: 'author' is not one of: paper"),
    ("[nodes.paper]\n", 2, "[nodes.paper]: files is missing"), ("", 2, "no tables are described"),
    (WHOLE.format(""), 2, "edges stay as they are"), ("[nodes.paper]\nfile = 3\n", 2, "file"),
    (None, 2, "more.toml")])
def test_the_command_takes_a_description(tables, text, code, told, capsys):
    if text is None:
        Path("more.toml").unlink()
    else:
        Path("more.toml").write_text(text)
    assert main(["partition", "g", "out", "--put-tables", "more.toml"]) == code
    assert told in "".join(capsys.readouterr()) and Path("out").exists() == (code == 0)
