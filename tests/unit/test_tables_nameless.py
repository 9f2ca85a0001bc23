"""Texts whose first line is a row, and tables that lie in a file for each split."""

import gzip
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tables_build import edges_of, read
from test_tables_scratch import assert_same, build_together

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.errors import ConfigError, DataError
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph
from mpignn.tables.build import build
from mpignn.tables.description import ByFile
from mpignn.tables.edges import MESSAGE
from mpignn.tables.guess import describe, guessed
from mpignn.tables.like import found_like
from mpignn.tables.toml import read_description

IN_FILES = '[edges."node:*:node"]\nfiles = {train = "train.txt", test = "test.txt"}\nheader = ["s", "r", "o"]\n' \
           'src = "s"\ndst = "o"\nrelation = "r"\n'
NAMES = ("a b", "00260881", "7", "/m/0a", "#1", 'the "x"', "Zoë")


def write(folder, **files):
    """Triples without names, one file of text for each."""
    for name, rows in files.items():
        (folder / f"{name}.txt").write_text("".join("\t".join(row) + "\n" for row in rows))
    return folder


def in_split(data, split):
    """The triples of a split."""
    return sorted((src, etype[1], dst) for etype in data.csc for i, (src, dst) in enumerate(edges_of(data, etype))
                  if i in data.splits.get(":".join(etype), {}).get(split, ()))


@given(st.data(), st.sampled_from(("valid", "val", "dev")))
def test_files_are_the_splits_of_triples(tmp_path_factory, data, name):
    folder = tmp_path_factory.mktemp("knowledge")
    row = st.tuples(st.sampled_from(NAMES), st.sampled_from(("knows", "born in")), st.sampled_from(NAMES))
    files = {split: data.draw(st.lists(row, min_size=1, max_size=8)) for split in ("train", "val", "test")}
    files["train"] += [("x", "knows", "y"), ("x", "born in", "z"), ("z", "born in", "y")]
    write(folder, train=files["train"], test=files["test"], **{name: files["val"]})
    (folder / "relations.dict").write_text("0\tknows\n")
    (folder / "entity2text.txt").write_text("x\ta text of many words\n")
    (folder / "graph.toml").write_text(describe(folder))
    described = read_description(folder / "graph.toml")
    assert described.edges == guessed(folder).edges
    found = build(described)
    for split, rows in files.items():
        assert in_split(found, split) == sorted(rows)
    held_out = {(src, relation, dst) for split in ("val", "test") for src, relation, dst in files[split]}
    for etype in found.csc:
        told = [(src, etype[1], dst) not in held_out for src, dst in edges_of(found, etype)]
        assert found.edge_data[etype][MESSAGE].tolist() == told


def test_a_folder_of_triples_is_the_graph_that_its_description_says(tmp_path):
    (tmp_path / "FB").mkdir()
    rows = [(f"{i:03}", "r" if i % 2 else "q", f"{i * 7 % 11:03}") for i in range(11)]
    write(tmp_path / "FB", train=rows[:7], valid=rows[7:9], test=rows[9:])
    (tmp_path / "said.toml").write_text(describe(tmp_path / "FB"))
    for source, out in ("FB", "one"), ("said.toml", "two"):
        partition_graph(read_source(tmp_path / source), tmp_path / out, 2, "random")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(names) == 3
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names)


@pytest.mark.parametrize("ending", [".txt", ".tsv", ".csv", ".txt.gz"])
def test_files_of_all_formats_are_splits(tmp_path, ending):
    between = "," if ending == ".csv" else "\t"
    for name, rows in (("train", "a r b\nb r c\n"), ("test", "c r a\nb r b\n")):
        opened = gzip.open if ending.endswith("gz") else open
        with opened(tmp_path / f"{name}{ending}", "wt") as file:
            file.write(rows.replace(" ", between))
    (etype, edges), = guessed(tmp_path).edges.items()
    assert etype == ("node", "*", "node") and edges.split == ByFile(("train", "test"))
    assert edges.header == ("head", "relation", "tail") == (edges.src, edges.relation, edges.dst)


def test_files_with_names_of_columns_are_splits_too(tmp_path):
    for name in "kg-train", "kg-valid":
        (tmp_path / f"{name}.csv").write_text("source,target\na,b\nb,c\n")
    (etype, edges), = guessed(tmp_path).edges.items()
    assert etype == ("node", "kg", "node") and edges.split == ByFile(("train", "val")) and not edges.header


def test_three_whole_numbers_are_triples_where_files_are_splits(tmp_path):
    write(tmp_path, train=[("5", "0", "6"), ("7", "0", "8")], test=[("5", "0", "8")])
    assert guessed(tmp_path).edges["node", "*", "node"].relation == "relation"


def test_nodes_may_have_a_file_for_each_split_whoever_reads(tmp_path):
    for name, begin in (("one", 0), ("two", 5)):
        (tmp_path / f"{name}.csv").write_text("".join(f"n{i},{i % 2}\n" for i in range(begin, begin + 5)))
    (tmp_path / "more").mkdir()
    for i in range(10, 14):
        (tmp_path / "more" / f"{i}.csv").write_text(f"n{i},1\n")
    (tmp_path / "e.csv").write_text("n0,n13\nn1,n7\n")
    (tmp_path / "graph.toml").write_text(
        '[nodes.n]\nfiles = {val = "two.csv", train = "one.csv", test = "more"}\nheader = ["id", "y"]\nid = "id"\n'
        'labels = "y"\n[edges."n:e:n"]\nfiles = "e.csv"\nheader = ["u", "v"]\nsrc = "u"\ndst = "v"\n')
    description = read_description(tmp_path / "graph.toml")
    found = build(description)
    assert {name: ids.tolist() for name, ids in found.splits["n"].items()} == {
        "train": [*range(5)], "val": [*range(5, 10)], "test": [*range(10, 14)]}
    assert edges_of(found, ("n", "e", "n")) == [("n0", "n13"), ("n1", "n7")]
    assert_same(build_together(description, tmp_path, 3, 10_000), found)


def test_new_tables_are_split_by_their_own_files_or_not(tmp_path):
    for name in "old", "new", "few":
        (tmp_path / name).mkdir()
        write(tmp_path / name, train=[("a", "r", "b"), ("b", "r", "a")], test=[("a", "r", "a")])
    (tmp_path / "few" / "test.txt").unlink()
    partition_graph(tmp_path / "old", tmp_path / "graph", 2, "random")
    with GraphFile(tmp_path / "graph") as graph:
        tables = graph.tables
    for name, split in (("new", ByFile(("train", "test"))), ("few", None)):
        assert found_like(tmp_path / name, tables, "graph").edges["node", "*", "node"].split == split
    (tmp_path / "named.csv").write_text("tail,relation,head\nc,r,d\n")
    (tmp_path / "bare.csv").write_text("d,r,c\n")
    for name in "named.csv", "bare.csv":
        found = read_source(tmp_path / name, like=tmp_path / "graph")
        assert edges_of(found, ("node", "r", "node")) == [("d", "c")]


@pytest.mark.parametrize("name, text, header", [
    ("a.csv", "1,2\n2,3\n", ("src", "dst")), ("a.tsv", "7\t7\n7\t8\n", ("src", "dst")),
    ("a.csv", "u,v1\nu,v2\nv1,u\n", ("src", "dst")), ("a.csv", "x,x\ny,z\n", ("src", "dst")),
    ("a.csv", "p,q,0.5\nq,r,0.25\n", ("src", "dst", "value")), ("a.csv", "1,2,3\n2,3,4\n", ("src", "dst", "value")),
    ("a.tsv", "p\tr\tq\nq\tr\ts\n", ("head", "relation", "tail")),
    ("a.tsv", "01\tr\t02\n02\tr\t03\n", ("head", "relation", "tail")),
    ("a.csv", "src,dst\n1,2\n", ()), ("a.csv", "one,two\nx,y\n", ()), ("a.csv", "u,v\nx,y\n", ()),
    ("a.csv", "src,dst,weight\nq,r,2\n", ()), ("a.csv", "from,to\n1,2\n", ()), ("a.csv", "id1,id2\n1,2\n", ()),
])
def test_a_first_line_that_is_a_row_is_known(tmp_path, name, text, header):
    (tmp_path / name).write_text(text)
    (_, edges), = guessed(tmp_path / name).edges.items()
    assert edges.header == header
    data = build(guessed(tmp_path / name))
    assert sum(csc.num_edges for csc in data.csc.values()) == text.count("\n") - (not header)


@pytest.mark.parametrize("first, later, is_row", [
    ("Ann,Bob", "Bob,x", True), ("Ann,Bob", "x,Ann", True), ("a,b", "b,x", True), ("u,v", "x,y", False),
    ("Ann,Bob", "Annie,Bobby", False), ("source,target", "target,source", False)])
def test_a_first_line_is_a_row_if_one_of_its_ids_is_there_again(tmp_path, first, later, is_row, caplog):
    rows = [f"x{i},y{i}" for i in range(9000)]      # more than are looked at first
    (tmp_path / "a.csv").write_text("\n".join([first, *rows, later, ""]))
    (_, edges), = guessed(tmp_path / "a.csv").edges.items()
    assert edges.header == (("src", "dst") if is_row else ())
    said = "a.csv: its first line, 'Ann' and 'Bob', is taken for the names of its columns; if it is an edge, write"
    assert (said in caplog.text) == ("Annie" in later)


def test_a_first_line_is_a_row_if_one_of_its_ids_is_that_of_a_node(tmp_path):
    (tmp_path / "people.csv").write_text("id,age\nAnn,1\nBob,2\nx,3\ny,4\n")
    (tmp_path / "knows.csv").write_text("Ann,Bob\nx,y\n")
    (etype, edges), = guessed(tmp_path).edges.items()
    assert etype == ("people", "knows", "people") and edges.header == ("src", "dst")
    assert build(guessed(tmp_path)).csc[etype].num_edges == 2


def test_what_is_said_of_a_first_line_makes_it_a_row(tmp_path, caplog):
    (tmp_path / "a.csv").write_text("one,two\nx,y\n")
    guessed(tmp_path / "a.csv")
    said = caplog.messages[0].partition(" into graph.toml ")[2]
    assert said in " ".join(line.removeprefix("# ") for line in describe(tmp_path / "a.csv").splitlines())
    (tmp_path / "graph.toml").write_text(re.sub(r" with |, (?=\w+ =)", "\n", said))
    data = build(read_description(tmp_path / "graph.toml"))
    assert edges_of(data, ("node", "a", "node")) == [("one", "two"), ("x", "y")]


def test_numbers_in_the_place_of_names_are_asked_for(tmp_path):
    (tmp_path / "a.csv").write_text("0,1\nx,y\n")
    with pytest.raises(DataError, match=r'write a first line such as: src,dst, or .* header = \["src", "dst"\]'):
        guessed(tmp_path / "a.csv")


def test_triples_of_numbered_entities_are_known_in_one_list(tmp_path):
    write(tmp_path, wn=[("00260881", "_hypernym", "00260622"), ("00260622", "_hypernym", "00260881")])
    assert guessed(tmp_path / "wn.txt").edges["node", "*", "node"].relation == "relation"


@pytest.mark.parametrize("old, new, error, told", [
    ('["s", "r", "o"]', '["s", "s", "o"]', ConfigError, "names that differ, one for each column"),
    ('["s", "r", "o"]', '["s", "r"]', DataError, "3 values, expected 2|no column 'o'"),
    ('["s", "r", "o"]', "3", ConfigError, "header = 3 must be a text, or a list of texts"),
    ('"train.txt", test', '"test.txt", test', ConfigError, "a file of its own for each split"),
    ("train =", "training =", ConfigError, "files: unknown key training"),
    ('src = "s"', 'src = "s"\nsplit = "part"', ConfigError, "split: files = .* says it already: leave split out"),
    ("{train = \"train.txt\", test = \"test.txt\"}", '"t.parquet"', DataError, "t.parquet.*leave it out"),
])
def test_what_is_no_header_or_no_file_of_a_split_is_told(tmp_path, old, new, error, told):
    write(tmp_path, train=[("a", "r", "b")], test=[("b", "r", "a")])
    (tmp_path / "t.parquet").write_bytes(b"")
    assert old in IN_FILES
    with pytest.raises(error, match=told):
        read(tmp_path, IN_FILES.replace(old, new))
