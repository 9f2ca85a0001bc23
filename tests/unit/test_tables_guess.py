"""What tables seem to mean: ids, ends of edges, features, labels and splits by names and first values."""

import re
from pathlib import Path

import pytest

from mpignn.errors import DataError
from mpignn.tables.column_names import ends_by_name, id_column, singular, words
from mpignn.tables.delimited import DelimitedFile
from mpignn.tables.description import USUAL_SHARES, ByColumn, ByMask, Column
from mpignn.tables.guess import describe, guess, guessed
from mpignn.tables.toml import read_description


def folder(path, **tables):
    """CSV files by stem; a table is its lines."""
    for stem, lines in tables.items():
        (path / f"{stem}.csv").write_text("\n".join(lines) + "\n")
    return path


FOUR = {"papers": ["paper_id,x0,x1,venue,topic", "p1,0.5,1,A,physics", "p2,1.5,2,B,math", "p3,2,3,A,physics"],
        "authors": ["author_id,age", "a1,30", "a2,40"], "cites": ["citing,cited", "p1,p2", "p3,p1"],
        "writes": ["author_id,paper_id,when,weight", "a1,p1,3,0.5", "a2,p3,4,1.5"]}


def test_four_tables_are_a_graph(tmp_path):
    found = guessed(folder(tmp_path, **FOUR))
    assert set(found.nodes) == {"paper", "author"}
    assert set(found.edges) == {("paper", "cites", "paper"), ("author", "writes", "paper")}
    paper, author = found.nodes["paper"], found.nodes["author"]
    assert (paper.id, paper.features, paper.labels, paper.split) == (
        "paper_id", (Column("x0"), Column("x1")), ("topic",), USUAL_SHARES)
    assert (author.id, author.features, author.labels, author.split) == (
        "author_id", (Column("age", "standard"),), (), None)
    cites, writes = found.edges["paper", "cites", "paper"], found.edges["author", "writes", "paper"]
    assert (cites.src, cites.dst, writes.src, writes.dst) == ("citing", "cited", "author_id", "paper_id")
    assert writes.weights == "weight" and writes.data == {"when": Column("when")}
    assert cites.split is writes.split is None


def test_nodes_and_edges_are_a_graph_of_one_type(tmp_path):
    nodes = ["id,f,label,split", "7,0.5,u,train", "8,1,v,val"]
    found = guessed(folder(tmp_path, nodes=nodes, edges=["source,target", "7,8"]))
    assert list(found.nodes) == ["node"] and list(found.edges) == [("node", "edge", "node")]
    assert found.nodes["node"].split == ByColumn("split") and found.nodes["node"].labels == ("label",)


def test_large_numbers_are_standardized(tmp_path):
    nodes = ["id,year,small,negative,huge,none,label", "7,2004,1,-20,9007199254740994,,u", "8,2005,10,1,,,v"]
    found = guessed(folder(tmp_path, nodes=nodes, edges=["source,target", "7,8"])).nodes["node"].features
    assert {column.column: column.how for column in found if column.column != "none"} == {
        "year": "standard", "small": "number", "negative": "standard", "huge": "standard"}


def test_a_description_holds_in_the_folder_and_where_it_was_asked_for(tmp_path, monkeypatch):
    (tmp_path / "tables").mkdir()
    folder(tmp_path / "tables", nodes=["id,f,label", "7,0.5,u", "8,1,v"], edges=["source,target", "7,8"])
    monkeypatch.chdir(tmp_path)
    text = describe(Path("tables"))
    for where in "tables/graph.toml", "graph.toml":
        Path(where).write_text(text)
        files = [file for table in read_description(Path(where)).nodes.values() for file in table.files]
        assert files == [Path("tables/nodes.csv")]


def test_types_of_all_columns_are_settled_in_one_pass(tmp_path, monkeypatch):
    asked = []
    fitting = DelimitedFile.fitting
    monkeypatch.setattr(DelimitedFile, "fitting",
                        lambda self, kinds, *more: asked.append(list(kinds)) or fitting(self, kinds, *more))
    guessed(folder(tmp_path, nodes=["id,f,g,h,label", "7,0.5,1,2,u", "8,1,1,100,v"], edges=["source,target", "7,8"]))
    assert asked == [["f", "g", "h"]]


def test_a_column_that_is_no_number_to_its_end_is_no_feature(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 64)
    nodes = ["id,x,z", *[f"{i},{i},{i}" for i in range(100)], "100,u,1"]
    found = guessed(folder(tmp_path, nodes=nodes, edges=["source,target", "7,8"])).nodes["node"]
    assert [column.column for column in found.features] == ["z"]


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_numbers_of_rows_are_left_out(tmp_path, name):
    folder(tmp_path, nodes=[f"{name},id,f", "0,a,0.5", "1,b,1"], edges=[f"{name},x,y", "0,a,b"])
    (tmp_path / "graph.toml").write_text(describe(tmp_path))
    found, told = read_description(tmp_path / "graph.toml"), (tmp_path / "graph.toml").read_text()
    assert found.nodes["node"].features == (Column("f"),) and found.nodes["node"].id == "id"
    edges = found.edges["node", "edge", "node"]
    assert (edges.src, edges.dst, edges.data) == ("x", "y", {})
    assert told.count(f"# left out: {name or 'the column without a name'}, numbers of rows\n") == 2


def test_line_breaks_in_names_do_not_break_the_description(tmp_path):
    papers = ['paper_id,x,"two\nlines",d', "p1,1,T,2020-01-01", "p2,2,U,2020-01-01"]
    folder(tmp_path, papers=papers, cites=["citing,cited", "p1,p2"], odd=['"one\nand",two,three', "1,2,3"])
    (tmp_path / "graph.toml").write_text(describe(tmp_path))
    assert read_description(tmp_path / "graph.toml").nodes["paper"].features == (Column("x"),)
    assert r"# left out: two\nlines, which is text" in (tmp_path / "graph.toml").read_text()


def test_columns_are_proposed_of_texts_with_few_values(tmp_path):
    rows = [f"p{i},title {i},venue {i % 3}" for i in range(200)]
    text = describe(folder(tmp_path, papers=["paper_id,title,venue", *rows], cites=["citing,cited", "p1,p2"]))
    assert '{column = "venue", as = "onehot"}' in text and "# left out: title, which is text of many values\n" in text


def test_masks_are_a_split(tmp_path):
    nodes = ["id,f,y,train_mask,test_mask", "7,0.5,0,1,0", "8,1,1,0,1"]
    found = guessed(folder(tmp_path, nodes=nodes, edges=["source,target", "7,8"])).nodes["node"]
    assert found.split == ByMask((("train", "train_mask"), ("test", "test_mask"))) and found.features == (Column("f"),)


def test_nodes_without_ids_are_numbered(tmp_path):
    found = guessed(folder(tmp_path, nodes=["f,label", "0.5,u", "1,v"], edges=["src,dst", "0,1"]))
    assert found.nodes["node"].id is None and found.nodes["node"].features == (Column("f"),)


@pytest.mark.parametrize("name, lines, ends", [
    ("edges.csv", "a,b\nx,y\n", ("a", "b")),
    ("follows.csv", "weight,follower,followee\n1,x,y\n", ("follower", "followee")),
    ("graph.txt", "# FromNodeId ToNodeId\n0 1\n1 2\n", ("src", "dst")), ("e.tsv", "from\tto\n1\t2\n", ("from", "to")),
])
def test_one_table_of_edges_is_a_graph(tmp_path, name, lines, ends):
    (tmp_path / name).write_text(lines)
    found = guessed(tmp_path / name)
    (etype, edges), = found.edges.items()
    assert (etype[0], etype[2]) == ("node", "node") and not found.nodes["node"].files
    assert (edges.src, edges.dst) == ends and edges.split == USUAL_SHARES


def test_one_table_of_nodes_is_no_graph(tmp_path):
    with pytest.raises(DataError, match=r"papers.csv: are these nodes or edges\?"):
        guessed(folder(tmp_path, papers=["id,x", "a,1"]) / "papers.csv")


def test_without_labels_the_largest_table_of_edges_is_to_be_predicted(tmp_path):
    tables = FOUR | {"papers": ["paper_id,x", "p1,0", "p2,0", "p3,0"], "cites": ["citing,cited", *["p1,p2"] * 20]}
    found = guessed(folder(tmp_path, **tables))
    assert found.edges["paper", "cites", "paper"].split == USUAL_SHARES
    assert found.edges["author", "writes", "paper"].split is None


def test_ends_are_the_nodes_whose_ids_they_have(tmp_path):
    found = guessed(folder(tmp_path, people=["id,age", "u1,3", "u2,4"], items=["id,price", "i1,3", "i2,4"],
                           buys=["source,target", "u1,i1", "u2,i2"], rates=["item,who", "i1,u2"]))
    assert set(found.edges) == {("people", "buys", "item"), ("item", "rates", "people")}


def test_ends_without_a_table_are_types_of_their_own(tmp_path):
    found = guessed(folder(tmp_path, papers=FOUR["papers"], writes=FOUR["writes"]))
    assert list(found.edges) == [("author", "writes", "paper")] and not found.nodes["author"].files


def test_what_is_left_out_is_remarked(tmp_path):
    papers = ["paper_id,author_id,x,title,born,doi_id,y", "p1,a1,1,T,2020-01-01,9,0", "p2,a1,1,U,2020-01-01,8,1",
              "p3,a2,1,V,2020-01-01,7,1"]
    text = describe(folder(tmp_path, **FOUR | {"papers": papers}))
    for told in ('author_id, ids of author; they may be edges, too, of this file, src = "paper_id", dst = "author_id"',
                 "title, which is text", "born, of type date32", "doi_id, which seems to hold ids"):
        assert f"# left out: {told}" in text
    assert guessed(tmp_path).nodes["paper"].features == (Column("x"),)


def test_what_is_printed_describes_the_same(tmp_path):
    (tmp_path / "tables").mkdir()
    found = guessed(folder(tmp_path / "tables", **FOUR))
    (tmp_path / "graph.toml").write_text(describe(tmp_path / "tables"))
    again = read_description(tmp_path / "graph.toml")
    assert (again.nodes, again.edges) == (found.nodes, found.edges)


@pytest.mark.parametrize("names, told", [
    (("edges.csv", "links.csv"), "edges.csv and .*links.csv are both node:edge:node: name one otherwise"),
    (("edges.csv", "edges.tsv"), "edges.csv and .*edges.tsv are both node:edge:node"),
    (("edges.csv", "nodes.csv", "vertices.csv"), "nodes.csv and .*vertices.csv are both node: name one otherwise"),
    (("cites.csv", "paper.csv", "papers.csv"), "paper.csv and .*papers.csv are both paper: name one otherwise"),
])
def test_no_table_is_left_out_in_favor_of_another(tmp_path, names, told):
    for name in names:
        of_edges = name.startswith(("edges", "links", "cites"))
        (tmp_path / name).write_text("src\tdst\na\tb\n".replace("\t", "," if name.endswith("csv") else "\t")
                                     if of_edges else "id,x\na,1\nb,2\n")
    with pytest.raises(DataError, match=told):
        guessed(tmp_path)
    assert re.match(f"# .*{told}", describe(tmp_path))


@pytest.mark.parametrize("name, columns, row, ntype, features", [
    ("nodes", "id,a,b,label", "7,0.5,1,u", "node", ("a", "b")), ("nodes", "node_id,u,v", "7,1,2", "node", ("u", "v")),
    ("projects", "project_id,start_year,end_year,topic", "7,1,2,u", "project", ("start_year", "end_year")),
    ("genes", "gene,left,right", "7,1,2", "gene", ("left", "right")),
])
def test_features_are_not_taken_for_ends(tmp_path, name, columns, row, ntype, features):
    found = guessed(folder(tmp_path, edges=["src,dst", "7,7"], **{name: [columns, row]}))
    assert list(found.nodes) == [ntype] and list(found.edges) == [(ntype, "edge", ntype)]
    assert found.nodes[ntype].features == tuple(map(Column, features))


@pytest.mark.parametrize("name, columns, ends", [
    ("edges", "id,a,b", ("a", "b")), ("edges", "edge_id,source,target", ("source", "target")),
    ("payments", "payment_id,sender,receiver", ("sender", "receiver")),
    ("parents", "parent,child", ("parent", "child")), ("trades", "trade_id,from_id,to_id", ("from_id", "to_id")),
])
def test_edges_may_have_ids(tmp_path, name, columns, ends):
    row = ",".join("u1" for _ in columns.split(","))
    found = guessed(folder(tmp_path, users=["user_id", "u1"], **{name: [columns, row]}))
    (_, edges), = found.edges.items()
    assert (edges.src, edges.dst) == ends and list(found.nodes) == ["user"]


def test_texts_for_people_are_no_tables(tmp_path):
    folder(tmp_path, edges=["src,dst", "a,b"])
    (tmp_path / "about.txt").write_text("A graph of two nodes.\n")
    (tmp_path / "README.csv").write_text("no table\n")
    assert list(guessed(tmp_path).edges) == [("node", "edge", "node")]


def test_a_folder_of_files_is_one_table(tmp_path):
    folder(tmp_path, edges=["src,dst", "a,b"])
    (tmp_path / "nodes").mkdir()
    folder(tmp_path / "nodes", part1=["id", "a"], part2=["id", "b"])
    assert guessed(tmp_path).nodes["node"].files == (tmp_path / "nodes",)


@pytest.mark.parametrize("tables, told", [
    ({"papers": ["paper_id", "p1"], "scores": ["when,what,how", "1,2,3"], "cites": ["citing,cited", "p1,p1"]},
     r"scores.csv: are these nodes or edges\? Its columns are when, what, how.* Write .*graph.toml: \[nodes.score\]"),
    ({"users": ["id", "1", "2"], "items": ["id", "1", "2"], "buys": ["src,dst", "1,2"]},
     r"buys.csv: which nodes are src and dst\? The node types are item, user.*mpignn describe .* > graph.toml"),
    ({"edges": ["0,1", "1,2"]}, "its first line is 0, 1, which are no names of columns"),
    ({"papers": ["id,x", "a,1"]}, "these are tables of nodes: .*papers.csv; there is none of edges"),
    ({}, "there is no table in it"),
])
def test_what_is_not_clear_is_asked_for(tmp_path, tables, told):
    with pytest.raises(DataError, match=told):
        guessed(folder(tmp_path, **tables))


def test_what_is_clear_is_described_beside_what_is_not(tmp_path):
    folder(tmp_path, papers=["paper_id", "p1"], scores=["when,what,how", "1,2,3"], cites=["citing,cited", "p1,p1"])
    text = describe(tmp_path)
    assert re.match(r"# .*scores.csv: are these nodes or edges\?", text) and "[nodes.paper]" in text
    assert len(guess(tmp_path).problems) == 1


@pytest.mark.parametrize("names, ends", [
    (("src", "dst"), ("src", "dst")), (("w", "target_id", "sourceId"), ("sourceId", "target_id")),
    (("citing_paper", "cited_paper"), ("citing_paper", "cited_paper")), (("id1", "id2"), ("id1", "id2")),
    (("x1", "x2", "label", "id"), None), (("source", "label"), None), (("head", "relation", "tail"), ("head", "tail")),
])
def test_ends_are_known_by_words(names, ends):
    assert ends_by_name(names) == ends


@pytest.mark.parametrize("names, stem, column", [
    (("id", "paper_id"), "papers", "paper_id"), (("x", "ID"), "papers", "ID"), (("citing", "cited"), "cites", None),
    (("paper", "x"), "papers", "paper"), (("PaperId",), "Papers", "PaperId"),
    (("category_id",), "categories", "category_id"),
    (("author_id",), "papers", None),
])
def test_ids_are_known_by_the_name_of_the_table(names, stem, column):
    assert id_column(names, stem) == column


def test_words_and_singulars():
    assert words("sourceNode_ID2") == ["source", "node", "id", "2"]
    assert [singular(word) for word in ("papers", "categories", "boxes", "classes", "class", "branches", "s")] == [
        "paper", "category", "box", "class", "class", "branch", "s"]


def test_an_empty_folder_that_is_called_as_a_table_is_an_error(tmp_path):
    folder(tmp_path, edges=["src,dst", "a,b"])
    (tmp_path / "nodes.csv").mkdir()
    with pytest.raises(DataError, match="nodes.csv: an empty folder, where a table is expected"):
        guessed(tmp_path)


def test_what_is_left_out_is_told_in_a_line_for_each_table(tmp_path, caplog):
    nodes = ["id,x,title,author_id,label", *(f"{row},0.5,text {row},a{row % 3},u" for row in range(60))]
    folder(tmp_path, nodes=nodes, edges=["src,dst,note", "1,2,far", "2,3,near"])
    guessed(tmp_path)
    of_nodes, of_edges, what_to_do = caplog.messages
    assert of_nodes == (f"{tmp_path}/nodes.csv: left out title, which is text of many values; author_id, which seems "
                        "to hold ids")
    assert of_edges == f"{tmp_path}/edges.csv: left out note, of type string"
    assert f"`mpignn describe {tmp_path} > graph.toml`" in what_to_do


def test_nodes_without_features_are_told_where_columns_are_left_out(tmp_path, caplog):
    row = '{"id": "n%d", "x": "0.%d", "y": "%d.5", "label": "u"}'
    (tmp_path / "nodes.jsonl").write_text("".join(row % (n, n, n) + "\n" for n in range(60)))
    (tmp_path / "edges.jsonl").write_text('{"src": "n1", "dst": "n2"}\n')
    found = guessed(tmp_path).nodes["node"]
    assert found.features == () and found.labels == ("label",)      # y is no label: each value is there once
    assert "left out x, numbers that are written as text; y, numbers that are written as text" in caplog.messages[0]
    assert "no node has features" in caplog.messages[1]
    assert "write them without quotation marks" in describe(tmp_path)


def test_nothing_is_told_where_all_columns_have_a_place(tmp_path, caplog):
    guessed(folder(tmp_path, nodes=["id,x,label", "1,0.5,u", "2,0.5,v"], edges=["src,dst", "1,2"]))
    assert not caplog.messages
