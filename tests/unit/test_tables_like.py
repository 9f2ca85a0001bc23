"""New tables become what the same rows became in the graph that was learnt from, or say in one error why not."""

import datetime
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_tables_build import CITES, of_ids, write_table

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.errors import ConfigError, DataError
from mpignn.json_text import to_json
from mpignn.storage.check import check
from mpignn.storage.describe import describe
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph
from mpignn.tables.build import build
from mpignn.tables.like import described_like, found_like
from mpignn.tables.record import from_record, to_record
from mpignn.tables.toml import read_description

ENDINGS = (".csv", ".tsv", ".csv.gz", ".parquet", ".feather", ".jsonl")
NODES = """
[nodes.paper]
files = "papers{ending}"
id = "id"
features = [{{column = "year", as = "standard", fill = "mean"}}, {{column = "venue", as = "onehot", fill = "none"}},
            {{column = "kind", as = "code"}}, {{column = "pages", fill = "mean"}}, {{column = "x", fill = -1}}]
data = {{place = {{column = "venue", as = "code", fill = "none"}}, pages = {{column = "pages", fill = 0}}}}
labels = "topic"
split = "part"
[edges."paper:cites:paper"]
files = "cites{ending}"
src = "from"
dst = "to"
weights = "w"
data = {{sort = {{column = "sort", as = "onehot"}}}}
"""


def columns_of(draw, topics):
    """Columns of some papers: numbers, categories that are texts and numbers, gaps, labels and splits."""
    n = draw(st.integers(1, 12))

    def some(values, gaps=False):
        return draw(st.lists(st.one_of(st.none(), values) if gaps else values, min_size=n, max_size=n))

    return {"id": [f"p{i}" for i in range(n)], "year": some(st.integers(1900, 2100), gaps=True),
            "venue": ["Annals", *some(st.sampled_from(("Annals", "007", "1", "x y")), gaps=True)[1:]],
            "kind": some(st.integers(-3, 3)), "pages": some(st.floats(0, 1e6), gaps=True),
            "x": some(st.floats(-1e3, 1e3, width=32), gaps=True), "topic": some(topics, gaps=True),
            "part": some(st.sampled_from(("train", "val", "test", None)))}


def edges_of_columns(draw, ids):
    n = draw(st.integers(1, 12))
    ends = [draw(st.lists(st.sampled_from(ids), min_size=n, max_size=n)) for _ in range(2)]
    return {"from": ends[0], "to": ends[1],
            "w": draw(st.lists(st.floats(0, 9, width=32), min_size=n, max_size=n)),
            "sort": draw(st.lists(st.sampled_from(("a", "b")), min_size=n, max_size=n))}


@given(st.data(), st.sampled_from(ENDINGS), st.sampled_from(ENDINGS), st.sampled_from(
    (st.sampled_from(("art", "law", "7")), st.integers(0, 2), st.integers(3, 5), st.booleans(), st.floats(-9, 9))))
def test_some_rows_become_what_they_were_among_all(tmp_path_factory, data, ending, other, topics):
    folder = tmp_path_factory.mktemp("tables")
    papers = columns_of(data.draw, topics)
    cites = edges_of_columns(data.draw, papers["id"])
    write_table(folder / f"papers{ending}", papers)
    write_table(folder / f"cites{ending}", cites)
    (folder / "graph.toml").write_text(NODES.format(ending=ending))
    whole = build(read_description(folder / "graph.toml"))
    record = json.loads(to_json(whole.tables))
    assert from_record(record, "") == from_record(whole.tables, "")
    rows = data.draw(st.lists(st.sampled_from(range(len(papers["id"]))), min_size=1, unique=True))
    kept = {papers["id"][row] for row in rows}
    joined = [i for i, ends in enumerate(zip(cites["from"], cites["to"], strict=True)) if set(ends) <= kept]
    assume(joined or other != ".jsonl")     # which would be without names
    new = folder / "new"
    new.mkdir()
    order = data.draw(st.permutations(list(papers)))        # columns are found by name
    write_table(new / f"papers{other}", {name: [papers[name][row] for row in rows] for name in order})
    write_table(new / f"cites{other}", {name: [values[i] for i in joined] for name, values in cites.items()})
    found = build(found_like(new, record, "mine"), record=record)
    assert found.tables == record and found.class_names == whole.class_names
    assert of_ids(found) == [papers["id"][row] for row in rows]
    for name, array in found.node_data["paper"].items():
        assert array.dtype == whole.node_data["paper"][name].dtype, name
        assert np.array_equal(array, whole.node_data["paper"][name][rows], equal_nan=array.dtype.kind == "f"), name
    for name, array in found.edge_data[CITES].items():
        assert array.dtype == whole.edge_data[CITES][name].dtype
        assert np.array_equal(array, whole.edge_data[CITES][name][joined]), name
    places = {row: place for place, row in enumerate(rows)}
    for split, ids in whole.splits.get("paper", {}).items():
        assert found.splits.get("paper", {}).get(split, np.empty(0)).tolist() == sorted(
            places[row] for row in ids.tolist() if row in places)


@pytest.fixture
def mine(tmp_path):
    """Three papers in a folder of tables, and the graph that was made of them."""
    folder = tmp_path / "tables"
    folder.mkdir()
    write_table(folder / "papers.csv", {"id": ["a", "b", "c"], "year": [2000, 2004, 2008], "venue": ["x", "y", "x"],
                                        "kind": ["k", "l", "l"], "topic": ["art", "law", "art"]})
    write_table(folder / "cites.csv", {"from": ["a", "b"], "to": ["b", "c"]})
    (folder / "graph.toml").write_text("""
[nodes.paper]
files = "papers.csv"
id = "id"
features = [{column = "year", as = "standard"}, {column = "venue", as = "onehot"}, {column = "kind", as = "code"}]
labels = "topic"
split = "0.8/0.1/0.1"
[edges."paper:cites:paper"]
files = "cites.csv"
src = "from"
dst = "to"
reverse = "cited_by"
""")
    partition_graph(folder, tmp_path / "mine", 2)
    return tmp_path / "mine"


def new_papers(folder, **columns):
    """Two new papers of which nothing but what features need is known; None leaves a column out."""
    folder.mkdir()
    usual = {"id": ["u", "v"], "year": [2004, 2012], "venue": ["y", "x"], "kind": ["l", "k"]} | columns
    write_table(folder / "papers.csv", {name: values for name, values in usual.items() if values is not None})
    write_table(folder / "cites.csv", {"from": ["u"], "to": ["v"]})
    return folder


def test_what_was_learnt_is_kept_in_the_graph_and_makes_new_rows(mine, tmp_path):
    new = new_papers(tmp_path / "new")
    report = partition_graph(new, tmp_path / "out", 1, like=mine)
    assert check(mine) == check(tmp_path / "out") == [] and report["tables"] is True
    with GraphFile(mine) as there, GraphFile(tmp_path / "out") as here:
        assert here.tables == there.tables and here.schema == there.schema
        assert here.splits("paper") == ()
    assert f"made of tables; new ones become such a graph by `mpignn partition NEW OUT --parts P --like {mine}`" in (
        describe(mine))
    found = read_source(new, like=mine)
    expected = [[0, 0, 1, 1], [2, 1, 0, 0]]     # 2000 and 2008 are for training: their mean is 2004, the deviation 4
    assert found.node_data["paper"]["features"].tolist() == expected and found.node_data["paper"].keys() == {"features"}
    assert set(map(":".join, found.csc)) == {"paper:cites:paper", "paper:cited_by:paper"}


def test_graphs_of_equal_tables_have_equal_bytes_and_others_no_record(mine, tmp_path):
    partition_graph(tmp_path / "tables", tmp_path / "again", 2)
    assert (mine / "graph.h5").read_bytes() == (tmp_path / "again" / "graph.h5").read_bytes()
    data = replace(read_source(tmp_path / "tables"), tables=None)
    report = partition_graph(data, tmp_path / "bare", 2)
    assert "tables" not in report
    with GraphFile(tmp_path / "bare") as graph:
        assert graph.tables is None
    with pytest.raises(DataError, match="bare was not made of tables"):
        partition_graph(new_papers(tmp_path / "new"), tmp_path / "out", 1, like=tmp_path / "bare")
    with pytest.raises(ConfigError, match=r"--like \(like\) has no effect for .*npz.*: it is for tables"):
        np.savez(tmp_path / "g.npz", src=[0], dst=[0])
        partition_graph(tmp_path / "g.npz", tmp_path / "out", 1, like=mine)
    with pytest.raises(ConfigError, match=r"--keep-dtype \(keep_dtype\) has no effect with --like"):
        partition_graph(tmp_path / "new", tmp_path / "out", 1, keep_dtype=True, like=mine)


def test_a_graph_that_is_partitioned_anew_keeps_the_record_unless_its_data_is_replaced(mine, tmp_path, caplog):
    partition_graph(tmp_path / "tables", tmp_path / "three", 3)
    partition_graph(mine, tmp_path / "anew", 3, put={"node/paper/more": np.arange(3)})
    partition_graph(tmp_path / "anew", tmp_path / "other", 3, put={"node/paper/features": np.zeros((3, 4), np.float32)})
    with GraphFile(tmp_path / "three") as graph, GraphFile(tmp_path / "anew") as anew, \
            GraphFile(tmp_path / "other") as other:
        assert graph.tables == anew.tables and other.tables is None
    assert "node/paper" not in caplog.text and "paper/features was made of tables and is replaced" in caplog.text


def test_labels_that_are_known_are_for_test(mine, tmp_path):
    found = read_source(new_papers(tmp_path / "new", topic=[None, "law"]), like=mine)
    assert found.node_data["paper"]["labels"].tolist() == [-1, 1]
    assert {name: ids.tolist() for name, ids in found.splits["paper"].items()} == {"test": [1]}


def test_a_new_category_is_none_of_the_columns_and_is_told_of(mine, tmp_path, caplog):
    found = read_source(new_papers(tmp_path / "new", venue=["z", "w"]), like=mine)
    assert found.node_data["paper"]["features"][:, 1:3].tolist() == [[0, 0], [0, 0]]
    assert [line for line in caplog.messages if "papers.csv, line 2: venue is 'z', which it was in no row of" in line]
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("columns, told", [
    ({"kind": ["l", "m"]}, r"papers.csv, line 3: kind is 'm', .* so it has no number: write one of k, l; or train"),
    ({"topic": ["", "sport"]}, r"papers.csv, line 3: topic is 'sport', which is no class of training: write one of"),
    ({"year": None, "kind": None}, r"new, like .*mine: \[nodes.paper\]: .*papers.csv has no column year, kind, which"),
    ({"id": None}, r"papers.csv has no column id, which training had: add it"),
    ({"year": [2000, "soon"]}, r"papers.csv, line 3: year is 'soon', expected double: year held numbers in training"),
    ({"year": [2000, None]}, r"papers.csv, line 3: year is missing, and in training nothing stood for a missing"),
    ({"venue": ["x", None]}, r"papers.csv, line 3: venue is missing, and in training nothing stood for a missing"),
    ({"year": [datetime.date(2000, 1, 1)] * 2}, r"'year' holds times, and held numbers in training"),
    ({"id": ["u", "u"]}, r"'u'"),
])
def test_what_new_tables_cannot_become_is_told(mine, tmp_path, columns, told):
    with pytest.raises(DataError, match=told):
        read_source(new_papers(tmp_path / "new", **columns), like=mine)


def test_tables_are_found_by_their_names_or_described(mine, tmp_path, caplog):
    new = new_papers(tmp_path / "new")
    (new / "papers.csv").rename(new / "fresh.csv")
    with pytest.raises(DataError, match=r"new: there is no table of \[nodes.paper\]: call it papers.csv, or write into "
                                        r"graph.toml \[nodes.paper\] with files"):
        read_source(new, like=mine)
    edges = '[edges."paper:cites:paper"]\nfiles = "cites.csv"\nsrc = "from"\ndst = "to"\n'
    (new / "graph.toml").write_text('[nodes.paper]\nfiles = "fresh.csv"\n' + edges)
    expected = read_source(new, like=mine).node_data["paper"]["features"]
    (new / "fresh.csv").rename(new / "papers.csv")
    (new / "graph.toml").unlink()
    (new / "more.csv").write_text("a,b\n1,2\n")
    assert np.array_equal(read_source(new, like=mine).node_data["paper"]["features"], expected)
    assert any("not read, since" in line and "more.csv" in line for line in caplog.messages)
    (new / "papers.tsv").write_text("id\tyear\tvenue\tkind\n")
    with pytest.raises(DataError, match=r"papers.csv, .*papers.tsv could all be the table of \[nodes.paper\]"):
        read_source(new, like=mine)


@pytest.mark.parametrize("text, error, told", [
    ('[nodes.paper]\nfiles = "papers.csv"\nfeatures = "year"\nEDGES', ConfigError, "features is not what .* was made"),
    ('[nodes.paper]\nfiles = "papers.csv"\nEDGESreverse = "back"', ConfigError, "reverse is not what .* was made with"),
    ("EDGES", DataError, r"there is no \[nodes.paper\], which .*mine has: write each with files"),
    ('[nodes.paper]\nfiles = "papers.csv"\n[nodes.venue]\nfiles = "papers.csv"\nEDGES', DataError,
     r"\[nodes.venue\]: .*mine has no such table: leave it out"),
])
def test_a_description_says_of_new_tables_what_is_not_learnt(mine, tmp_path, text, error, told):
    new = new_papers(tmp_path / "new")
    edges = '[edges."paper:cites:paper"]\nfiles = "cites.csv"\nsrc = "from"\ndst = "to"\n'
    (new / "graph.toml").write_text(text.replace("EDGES", edges))
    with pytest.raises(error, match=told):
        read_source(new, like=mine)


def test_shares_of_new_tables_are_told_to_have_no_effect(mine, tmp_path, caplog):
    new = new_papers(tmp_path / "new", topic=["art", "law"])
    (new / "graph.toml").write_text(
        '[nodes.paper]\nfiles = "papers.csv"\nsplit = "0.8/0.1/0.1"\n'
        '[edges."paper:cites:paper"]\nfiles = "cites.csv"\nsrc = "from"\ndst = "to"\n')
    found = read_source(new, like=mine)
    assert {name: ids.tolist() for name, ids in found.splits["paper"].items()} == {"test": [0, 1]}
    assert caplog.text.count("[nodes.paper]: no shares are drawn of new tables") == 1


def test_ids_ends_and_splits_may_have_other_names_in_new_tables(mine, tmp_path):
    new = new_papers(tmp_path / "new", topic=["art", "law"], when=[1, 2])
    (new / "papers.csv").write_text((new / "papers.csv").read_text().replace("id,", "name,", 1))
    (new / "cites.csv").write_text("s,d\nu,v\nu,nobody\n")
    (new / "graph.toml").write_text("""
[nodes.paper]
files = "papers.csv"
id = "name"
split = {by = "when", at = [0, 1]}
[edges."paper:cites:paper"]
files = "cites.csv"
src = "s"
dst = "d"
on_unknown = "drop"
""")
    found = read_source(new, like=mine)
    assert {name: ids.tolist() for name, ids in found.splits["paper"].items()} == {"val": [0], "test": [1]}
    assert of_ids(found) == ["u", "v"] and found.csc[CITES].num_edges == 1


def test_edges_that_were_held_out_have_their_mask_in_new_tables_too(tmp_path):
    write_table(tmp_path / "knows.csv", {"src": list("abcdefghij"), "dst": list("bcdefghija")})
    (tmp_path / "graph.toml").write_text('[edges."p:knows:p"]\nfiles = "knows.csv"\nsrc = "src"\ndst = "dst"\n'
                                         'split = "0.6/0.2/0.2"')
    partition_graph(tmp_path / "graph.toml", tmp_path / "mine", 1)
    write_table(tmp_path / "anew.csv", {"src": list("xy"), "dst": list("yz")})
    found = read_source(tmp_path / "anew.csv", like=tmp_path / "mine")      # the only table, whatever its name
    etype = ("p", "knows", "p")
    assert found.edge_data[etype]["message"].tolist() == [True, True] and not found.splits.get("p:knows:p")
    assert of_ids(found, "p") == ["x", "y", "z"]


def test_edges_are_for_test_those_with_labels_or_all_where_none_are_given(tmp_path):
    write_table(tmp_path / "rates.csv", {"src": list("abcd"), "dst": list("bcda"), "label": ["hi", "lo", "hi", "lo"]})
    partition_graph(tmp_path / "rates.csv", tmp_path / "mine", 1)
    (tmp_path / "new").mkdir()
    for columns, labels, test in (({}, None, [0, 1]), ({"label": ["lo", None]}, [1, -1], [0]),
                                  ({"label": [None, None]}, [-1, -1], [])):
        write_table(tmp_path / "new" / "rates.csv", {"src": list("xy"), "dst": list("yx"), **columns})
        found = read_source(tmp_path / "new" / "rates.csv", like=tmp_path / "mine")
        (etype,) = found.csc
        given = found.edge_data.get(etype, {}).get("labels")
        assert (None if given is None else given.tolist()) == labels
        assert found.splits.get(":".join(etype), {}).get("test", np.empty(0)).tolist() == test


def test_several_labels_are_columns_of_the_same_names(tmp_path):
    write_table(tmp_path / "n.csv", {"id": [5, 6], "x": [1.0, 2], "old": [0, 1], "big": [1, 1]})
    write_table(tmp_path / "e.csv", {"s": [5], "d": [6]})
    (tmp_path / "graph.toml").write_text(
        '[nodes.t]\nfiles = "n.csv"\nid = "id"\nfeatures = "x"\nlabels = ["old", "big"]\n'
        '[edges."t:to:t"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"')
    partition_graph(tmp_path / "graph.toml", tmp_path / "mine", 1)
    (tmp_path / "new").mkdir()
    write_table(tmp_path / "new" / "e.csv", {"s": [7], "d": [7]})
    write_table(tmp_path / "new" / "n.csv", {"id": [7], "x": [1.0], "big": [1], "old": [0]})
    found = read_source(tmp_path / "new", like=tmp_path / "mine")
    assert found.node_data["t"]["labels"].tolist() == [[0, 1]]
    assert found.class_names == {"t": {"labels": ("old", "big")}}
    write_table(tmp_path / "new" / "n.csv", {"id": [7], "x": [1.0], "big": [1]})
    with pytest.raises(DataError, match="has no column old"):
        read_source(tmp_path / "new", like=tmp_path / "mine")


def test_what_another_version_keeps_is_refused(mine):
    with GraphFile(mine) as graph:
        record = dict(graph.tables) | {"schema": "mpignn-tables/0"}
    with pytest.raises(DataError, match="new, like mine: .* of format mpignn-tables/0, and this version .* reads"):
        from_record(record, "new, like mine")


def test_labels_of_another_sort_are_told_of(mine, tmp_path):
    new = new_papers(tmp_path / "new", topic=["art", "law"])
    write_table(new / "papers.parquet", {"id": ["u"], "year": [2000], "venue": ["x"], "kind": ["k"], "topic": [7]})
    (new / "papers.csv").unlink()
    with pytest.raises(DataError, match=r"papers.parquet, row 1: 'topic' holds numbers, and held texts in training"):
        read_source(new, like=mine)


def test_values_of_all_kinds_come_back_from_the_record(tmp_path):
    when = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    columns = {"id": [1, 2], "day": [datetime.date(2020, 1, 2), datetime.date(2021, 1, 2)],
               "when": [when, when + datetime.timedelta(days=1)], "yes": [True, False], "far": [math.inf, 0.1],
               "l": [[1.5, 0.1], [2.0, 0.3]]}
    write_table(tmp_path / "n.parquet", columns)
    write_table(tmp_path / "e.csv", {"s": [1], "d": [2]})
    made = ", ".join(f'{name} = {{column = "{name}", as = "code"}}' for name in ("day", "when", "yes", "far"))
    (tmp_path / "graph.toml").write_text(
        f'[nodes.t]\nfiles = "n.parquet"\nid = "id"\nfeatures = {{column = "l", as = "standard"}}\ndata = {{{made}}}\n'
        'split = {by = "day", at = [2020-06-01, 2020-07-01]}\n[edges."t:to:t"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"')
    described = read_description(tmp_path / "graph.toml")
    whole = build(described)
    record = json.loads(to_json(whole.tables))
    back = from_record(record, described.where)
    assert to_record(back, {key: rows.learnt for key, rows in (("t", back.nodes["t"]), ("t:to:t", next(iter(
        back.edges.values()))))}, False) == whole.tables
    found = build(described_like(described, record, "mine"), record=record)
    for name, array in whole.node_data["t"].items():
        assert np.array_equal(found.node_data["t"][name], array), name
    assert {name: ids.tolist() for name, ids in found.splits["t"].items()} == {"train": [0], "test": [1]}
