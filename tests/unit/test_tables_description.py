"""What a TOML says of tables: every form is read and written, and what cannot be meant is refused by its key."""

import datetime
import re

import pytest

from mpignn.errors import ConfigError
from mpignn.tables.description import ByColumn, ByMask, ByShare, ByTime, Column, Edges, Nodes
from mpignn.tables.toml import read_description, to_toml

FULL = """
[nodes.paper]
files = "papers.csv"
id = "paper_id"
features = ["x0", {column = "venue", as = "onehot"}, {column = "age", as = "standard", fill = "mean"}]
labels = "topic"
split = "0.8/0.1/0.1"
data = {year = "year", kind = {column = "kind", as = "code", fill = "none"}}
seed = 3

[nodes.author]
files = ["a.csv", "b.csv"]
split = {by = "born", at = [1950-01-01, 1960-12-31]}

[nodes.masked]
files = "m.csv"
split = {train = "tr", test = "te"}

[nodes."odd name"]
files = "odd"
labels = ["one", "two"]
split = "set"

[edges."author:writes:paper"]
files = "writes.csv"
src = "author_id"
dst = "paper_id"
weights = "share"
time = "when"
reverse = "written_by"
on_unknown = "drop"

[edges."paper:cites:paper"]
files = "/data/cites.csv"
src = "citing"
dst = "cited"
reverse = true
drop_duplicates = true
drop_self_loops = true
split = {by = "when", at = [2017, 2018.5]}
"""
SMALL = {"nodes.a": 'files = "a.csv"', 'edges."a:to:a"': 'files = "e.csv"\nsrc = "s"\ndst = "d"'}


def write(folder, text):
    (folder / "graph.toml").write_text(text)
    return folder / "graph.toml"


def changed(folder, table, lines):
    return write(folder, "\n".join(f"[{name}]\n{text}\n{lines if name == table else ''}"
                                   for name, text in SMALL.items()))


def test_every_key_is_read(tmp_path):
    found = read_description(write(tmp_path, FULL))
    assert list(found.nodes) == ["paper", "author", "masked", "odd name"]
    assert found.nodes["paper"] == Nodes(
        files=(tmp_path / "papers.csv",), labels=("topic",), split=ByShare((0.8, 0.1, 0.1)), seed=3, id="paper_id",
        data={"year": Column("year"), "kind": Column("kind", "code", "none")},
        features=(Column("x0"), Column("venue", "onehot"), Column("age", "standard", "mean")))
    assert found.nodes["author"].files == (tmp_path / "a.csv", tmp_path / "b.csv")
    assert found.nodes["author"].split == ByTime("born", (datetime.date(1950, 1, 1), datetime.date(1960, 12, 31)))
    assert found.nodes["masked"].split == ByMask((("train", "tr"), ("test", "te")))
    assert found.nodes["odd name"].labels == ("one", "two") and found.nodes["odd name"].split == ByColumn("set")
    writes = found.edges["author", "writes", "paper"]
    assert writes == Edges(files=(tmp_path / "writes.csv",), src="author_id", dst="paper_id", weights="share",
                           time="when", reverse="written_by", drop_unknown=True)
    assert writes.made() == {"weight": (Column("share"),), "time": (Column("when"),)}
    cites = found.edges["paper", "cites", "paper"]
    assert cites.reverse is cites.drop_duplicates is cites.drop_self_loops is True and not cites.drop_unknown
    assert str(cites.files[0]) == "/data/cites.csv" and cites.split == ByTime("when", (2017, 2018.5))


def test_what_is_written_is_read_again(tmp_path):
    found = read_description(write(tmp_path, FULL))
    assert read_description(write(tmp_path, to_toml(found))) == found


def test_ends_without_a_table_are_types_too(tmp_path):
    text = '[edges."a:to:b"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"'
    assert read_description(write(tmp_path, text)).nodes == {"a": Nodes(), "b": Nodes()}


@pytest.mark.parametrize("table, lines, told", [
    ("nodes.a", 'lables = "x"', "[nodes.a]: unknown key lables; did you mean labels?"),
    ("nodes.a", "id = 3", '[nodes.a]: id = 3 must be a text, such as "paper_id"'),
    ("nodes.a", 'seed = "x"', '[nodes.a]: seed = "x" must be a whole number'),
    ("nodes.a", "seed = true", "[nodes.a]: seed = true must be a whole number"),
    ("nodes.a", "features = 1", "[nodes.a]: features = 1 must be columns"),
    ("nodes.a", 'features = [{column = "x", as = "onhot"}]', 'features: as = "onhot" is unknown; did you mean onehot?'),
    ("nodes.a", 'features = [{colum = "x"}]', "features: column is missing"),
    ("nodes.a", 'features = [{column = "x", fil = 0}]', "features: unknown key fil; did you mean fill?"),
    ("nodes.a", 'features = [{column = "x", fill = [0]}]', 'fill = [0] must be a number, a text, or "mean"'),
    ("nodes.a", 'split = "0.8/0.2/0.1"', 'split = "0.8/0.2/0.1" must be shares that are together at most 1'),
    ("nodes.a", 'split = "8/1/1"', "must be shares that are together at most 1"),
    ("nodes.a", 'split = {train = "m", tst = "n"}', "split: unknown key tst; did you mean test?"),
    ("nodes.a", "split = {train = true}", "split: train = true must be a text"),
    ("nodes.a", "split = 1", "split = 1 must be a column, shares"),
    ("nodes.a", 'split = {by = "year"}', "the last moments of train and of val"),
    ("nodes.a", 'split = {by = "year", at = [2018, 2017]}', "at = [2018, 2017] must be the last moments"),
    ("nodes.a", 'split = {by = "year", at = [2018, 2019-01-01]}', "must be the last moments"),
    ("nodes.a", 'data = "x"', "data = \"x\" must be a table"),
    ("nodes.a", 'data = {labels = "x"}\nlabels = "y"', "data: labels is given twice"),
    ("nodes.a", 'data = {features = "x"}\nfeatures = "y"', "data: features is given twice"),
    ('edges."a:to:a"', 'on_unknown = "ignore"', 'on_unknown = "ignore" must be "error" or "drop"'),
    ('edges."a:to:a"', "reverse = 1", "reverse = 1 must be true, false, or the name"),
    ('edges."a:to:a"', 'weights = "w"\ndata = {weight = "x"}', "data: weight is given twice"),
    ('edges."a:to:a"', "drop_duplicates = 1", "drop_duplicates = 1 must be true or false"),
    ('edges."a:to:a"', 'reverse = "to"', 'reverse = "to" is an edge type of its own'),
    ("node.a", "", "unknown key node"),
])
def test_what_cannot_be_meant_is_refused_by_its_key(tmp_path, table, lines, told):
    path = changed(tmp_path, table, lines) if table in SMALL else write(tmp_path, f"[{table}]\n")
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        read_description(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text, told", [
    ("", "there are no edges"),
    ("[nodes", "not a TOML file"),
    ("nodes = 1", "nodes = 1 must be tables"),
    ("[nodes]\na = 1", "nodes.a must be a table: [nodes.a]"),
    ('[edges.cites]\nfiles = "e.csv"', "is not of the form source:relation:destination"),
    ('[edges."a:to:b"]\nsrc = "s"\ndst = "d"', "files is missing"),
    ('[edges."a:to:b"]\nfiles = "e.csv"\ndst = "d"', "src is missing"),
    ('[edges."a:to:b"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"\nreverse = true', 'reverse = "rev_to"'),
    ('[nodes.a]\nid = "x"', "files is missing"),
])
def test_a_file_that_describes_no_graph_is_refused(tmp_path, text, told):
    with pytest.raises(ConfigError, match=re.escape(told)):
        read_description(write(tmp_path, text))


def test_a_file_that_is_not_there_is_told_of(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_description(tmp_path / "graph.toml")
