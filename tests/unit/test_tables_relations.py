"""A column that names the relation of each edge: the same graph as of a table for each relation, or one clear error."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_tables_build import edges_of, read, write_table

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.errors import ConfigError, DataError
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph
from mpignn.tables.delimited import DelimitedFile
from mpignn.tables.description import USUAL_SHARES
from mpignn.tables.guess import guess, guessed
from mpignn.tables.relations import MOST_RELATIONS, type_name
from mpignn.tables.toml import read_description, to_toml

NODES = '[nodes.entity]\nfiles = "entities.csv"\nid = "id"\n'
TRIPLES = ('[edges."entity:*:entity"]\nfiles = "triples{ending}"\nsrc = "head"\ndst = "tail"\n'
           'relation = "relation"\n')
VALUES = ("born in", "http://example.org/knows", "007", "7", "a%2Fb", "a/b", ".")
ENDINGS = (".csv", ".tsv", ".csv.gz", ".parquet", ".feather", ".jsonl")


def triples(folder, rows, header=("head", "relation", "tail")):
    with open(folder / "triples.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return TRIPLES.format(ending=".csv")


def relations_of(data):
    return [relation for _, relation, _ in data.csc]


def same(one, other):
    """Both graphs hold the same, but for what they keep of their tables."""
    assert list(one.csc) == list(other.csc) and one.num_nodes == other.num_nodes
    for etype in one.csc:
        assert edges_of(one, etype) == edges_of(other, etype)
    for named, others in ((one.edge_data, other.edge_data), (one.splits, other.splits)):
        assert named.keys() == others.keys()
        for key in named:
            assert named[key].keys() == others[key].keys(), key
            for name, array in named[key].items():
                assert array.dtype == others[key][name].dtype and np.array_equal(array, others[key][name]), (key, name)
    assert one.class_names == other.class_names


@given(st.data(), st.sampled_from(ENDINGS), st.sampled_from(("", "reverse = true", 'reverse = "rev_*"')),
       st.sampled_from(("", "drop_duplicates = true", "drop_self_loops = true", 'on_unknown = "drop"')),
       st.sampled_from(("", 'split = "part"', 'split = "0.5/0.3/0.2"\nseed = 3',
                        'labels = "y"\nsplit = "0.6/0.2/0.2"')))
def test_it_is_the_graph_of_a_table_for_each_relation(tmp_path_factory, data, ending, reverse, dropped, split):
    folder = tmp_path_factory.mktemp("triples")
    ids = [f"e{i}" for i in range(6)]
    write_table(folder / "entities.csv", {"id": ids})
    known = ["no such", *ids] if dropped.startswith("on_unknown") else ids
    # Of each relation there are rows enough for all splits, with all labels: what is learnt is the same then.
    per = 12
    values = data.draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4, unique=True))
    named = data.draw(st.permutations(values * per))
    count = len(named)

    def some(of):
        return data.draw(st.lists(of, min_size=count, max_size=count))

    columns = {"head": some(st.sampled_from(known)), "relation": named, "tail": some(st.sampled_from(known)),
               "w": some(st.floats(0, 9, width=32)), "part": some(st.sampled_from(("train", "val", "test"))),
               "y": some(st.sampled_from(("u", "v")))}
    for value in values:
        first = [i for i in range(count) if named[i] == value]
        for place, (part, label) in enumerate((("train", "u"), ("val", "v"))):
            columns["part"][first[place]], columns["y"][first[place]] = part, label
            columns["head"][first[place]], columns["tail"][first[place]] = ids[place], ids[place + 1]
    more = f'weights = "w"\n{reverse}\n{dropped}\n{split}\n'
    write_table(folder / f"triples{ending}", columns)
    found = read(folder, NODES + TRIPLES.format(ending=ending) + more)
    lines = [NODES]
    for value in sorted(values, key=type_name):
        rows = [i for i in range(count) if named[i] == value]
        stem = f"r{VALUES.index(value)}"
        write_table(folder / f"{stem}{ending}", {name: [entries[i] for i in rows] for name, entries in columns.items()})
        name = type_name(value).replace('"', '\\"')
        lines.append(f'[edges."entity:{name}:entity"]\nfiles = "{stem}{ending}"\nsrc = "head"\ndst = "tail"\n'
                     + more.replace("rev_*", f"rev_{name}"))
    by_hand = read(folder, "\n".join(lines))
    same(found, by_hand)
    assert {type_name(value) for value in values} <= set(relations_of(found))


def test_types_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = [("a", "likes", "b"), ("b", "knows", "c"), ("a", "Zeta", "c"), ("c", "likes", "a")]
    write_table(tmp_path / "entities.csv", {"id": ["a", "b", "c"]})
    text = NODES + triples(tmp_path, rows)
    found = read(tmp_path, text)
    assert relations_of(found) == ["Zeta", "knows", "likes"]
    triples(tmp_path, rows[::-1])
    assert relations_of(read(tmp_path, text)) == ["Zeta", "knows", "likes"]


def test_equal_tables_give_equal_bytes(tmp_path):
    rows = [(f"e{i}", f"r{i % 3}", f"e{i * 7 % 20}") for i in range(20)]
    (tmp_path / "graph.toml").write_text(triples(tmp_path, rows) + 'reverse = "rev_*"\nsplit = "0.6/0.2/0.2"')
    for name in "one", "two":
        partition_graph(tmp_path / "graph.toml", tmp_path / name, 2, "random")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files and files == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_the_partitioned_files_are_those_of_a_table_for_each_relation(tmp_path):
    rows = [(f"e{i}", f"r/{i % 3}", f"e{i * 7 % 20}") for i in range(20)]
    write_table(tmp_path / "entities.csv", {"id": [f"e{i}" for i in range(20)]})
    (tmp_path / "one.toml").write_text(NODES + triples(tmp_path, rows))
    text = NODES
    for i in range(3):
        write_table(tmp_path / f"r{i}.csv", {"s": [f"e{j}" for j in range(i, 20, 3)],
                                             "d": [f"e{j * 7 % 20}" for j in range(i, 20, 3)]})
        text += f'[edges."entity:r%2F{i}:entity"]\nfiles = "r{i}.csv"\nsrc = "s"\ndst = "d"\n'
    (tmp_path / "hand.toml").write_text(text)
    for name in "one", "hand":      # but for what is kept of the tables, of which there are another number
        partition_graph(replace(read_source(tmp_path / f"{name}.toml"), tables=None), tmp_path / name, 2, "random")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) >= 3
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "hand" / name).read_bytes() for name in files)


def test_nodes_of_triples_alone_are_numbered_as_they_appear(tmp_path):
    data = read(tmp_path, triples(tmp_path, [("b", "likes", "a"), ("a", "knows", "c")]))
    assert data.user_ids["entity"].of(0, 3) == ["b", "a", "c"]
    assert edges_of(data, ("entity", "knows", "entity")) == [("a", "c")]


def test_ends_may_be_of_two_types(tmp_path):
    triples(tmp_path, [("ann", "lives in", "Rome"), ("bob", "left", "Oslo")])
    text = TRIPLES.format(ending=".csv").replace("entity:*:entity", "person:*:city") + 'reverse = "* (reverse)"'
    data = read(tmp_path, text)
    assert list(data.csc) == [("person", "left", "city"), ("city", "left (reverse)", "person"),
                              ("person", "lives in", "city"), ("city", "lives in (reverse)", "person")]
    assert edges_of(data, ("city", "left (reverse)", "person")) == [("Oslo", "bob")]


def test_the_table_is_read_once_however_many_relations_there_are(tmp_path, monkeypatch):
    asked = []
    batches = DelimitedFile.batches
    monkeypatch.setattr(DelimitedFile, "batches",
                        lambda self, types, *more: asked.append(list(types)) or batches(self, types, *more))
    read(tmp_path, triples(tmp_path, [(f"e{i}", f"r{i}", "e0") for i in range(30)]))
    assert asked == [["head", "tail", "relation"]]


@given(st.text(st.sampled_from("ab%/:\0.25FA3"), min_size=1), st.text(st.sampled_from("ab%/:\0.25FA3"), min_size=1))
def test_names_of_types_are_those_that_may_be_and_no_two_values_have_one(one, other):
    name = type_name(one)
    assert name and not set(name) & set("/:\0") and name != "."
    assert (name == type_name(other)) == (one == other)


def test_names_of_types_are_as_in_urls():
    assert type_name("http://example.org/knows") == "http%3A%2F%2Fexample.org%2Fknows"
    assert type_name("50%") == "50%25" and type_name(".") == "%2E" and type_name("born in") == "born in"


@pytest.mark.parametrize("rows, more, told", [
    ([("a", "r", "b"), ("a", "", "b")], "", "triples.csv, line 3: relation is missing, which says of what type the"),
    ([("a", "r", "b"), ("a", "NA", "b")], "", "triples.csv, line 3: relation is missing"),
    ([("a", f"r{i}", "b") for i in range(MOST_RELATIONS + 1)], "",
     f"triples.csv, line {MOST_RELATIONS + 2}: relation has more than 10000 values by this line"),
    ([("a", "r", "b"), ("b", "rev_r", "a")], 'reverse = "rev_*"',
     r'edges."entity:\*:entity"\]: entity:rev_r:entity is there twice, .* reverse = "inverse_\*"'),
    ([("a", "r", "b")], 'reverse = "rev_*"\n[edges."entity:r:entity"]\nfiles = "triples.csv"\nsrc = "head"\n'
     'dst = "tail"', "entity:r:entity is there twice"),
    ([("a", "r", "")], "", "line 2: tail is missing"),
])
def test_what_cannot_be_a_relation_is_told(tmp_path, rows, more, told):
    with pytest.raises(DataError, match=told):
        read(tmp_path, triples(tmp_path, rows) + more)


def test_an_empty_text_is_no_relation(tmp_path):
    write_table(tmp_path / "triples.parquet", {"head": ["a"], "relation": [""], "tail": ["b"]})
    with pytest.raises(DataError, match=r"triples.parquet, row .*: relation is missing"):
        read(tmp_path, TRIPLES.format(ending=".parquet"))


def test_rows_that_are_left_out_need_no_relation(tmp_path):
    write_table(tmp_path / "entities.csv", {"id": ["a", "b"]})
    text = NODES + triples(tmp_path, [("a", "r", "b"), ("a", "", "c")]) + 'on_unknown = "drop"'
    assert relations_of(read(tmp_path, text)) == ["r"]


@pytest.mark.parametrize("old, new, told", [
    ('relation = "relation"\n', "", r'edges."entity:\*:entity"\]: relation is missing; write relation = '),
    ("entity:*:entity", "entity:r:entity",
     r'relation = "relation" makes an edge type of .* \[edges."entity:\*:entity"\]'),
    ('dst = "tail"', 'dst = "tail"\nreverse = "back"', r'reverse = "back" is one name .* reverse = "rev_\*"'),
    ('dst = "tail"', 'dst = "tail"\nreverse = "*"', r'reverse = "\*" is an edge type of its own'),
    ('relation = "relation"', "relation = 3", "relation = 3 must be a text"),
])
def test_what_a_description_cannot_mean_is_told(tmp_path, old, new, told):
    with pytest.raises(ConfigError, match=told):
        read(tmp_path, triples(tmp_path, [("a", "r", "b")]).replace(old, new))


def test_a_column_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"relation: .*triples.csv has no column 'relation'; did you mean relations"):
        read(tmp_path, triples(tmp_path, [("a", "r", "b")], ("head", "relations", "tail")))


@pytest.mark.parametrize("header", [
    ("head", "relation", "tail"), ("subject", "predicate", "object"), ("src", "type", "dst"),
    ("source", "edge_type", "target"), ("from", "rel", "to"), ("sourceId", "relationType", "targetId")])
def test_columns_of_triples_are_known_by_their_names(tmp_path, header):
    triples(tmp_path, [("a", "r/1", "b"), ("b", "r/2", "a")], header)
    for path in tmp_path, tmp_path / "triples.csv":
        found = guessed(path)
        assert list(found.edges) == [("node", "*", "node")]
        edges = found.edges["node", "*", "node"]
        assert (edges.src, edges.relation, edges.dst, edges.split) == (*header, USUAL_SHARES) and not edges.labels
    (tmp_path / "graph.toml").write_text(to_toml(found))
    assert read_description(tmp_path / "graph.toml").edges == found.edges
    assert 'also the other way round: reverse = "rev_*"' in to_toml(found)


def test_relations_of_known_nodes_are_between_these(tmp_path):
    write_table(tmp_path / "entities.csv", {"id": ["a", "b"]})
    triples(tmp_path, [("a", "r", "b")])
    assert list(guessed(tmp_path).edges) == [("entity", "*", "entity")]


def test_a_list_of_three_texts_in_a_line_is_of_triples(tmp_path):
    (tmp_path / "fb.txt").write_text("/m/1\t/people/born\t/m/2\n/m/3\t/people/born\t/m/1\n")
    found = guessed(tmp_path / "fb.txt").edges["node", "*", "node"]
    assert (found.src, found.relation, found.dst) == ("head", "relation", "tail")


@pytest.mark.parametrize("text", ["a b 2\nb c 3\n", "a b good\nb c good\n", "1 2 good\n1 2 better\n"])
def test_other_lists_of_three_in_a_line_are_edges_with_a_value(tmp_path, text):
    (tmp_path / "list.txt").write_text(text)
    found = guessed(tmp_path / "list.txt").edges["node", "list", "node"]
    assert (found.src, found.dst, found.relation) == ("src", "dst", None)


@pytest.mark.parametrize("values", [range(3), [f"one of its own {i}" for i in range(60)]])
def test_numbers_and_texts_that_do_not_repeat_are_no_relations(tmp_path, values):
    triples(tmp_path, [("a", value, "b") for value in values], ("src", "type", "dst"))
    assert list(guess(tmp_path).description.edges) == [("node", "triples", "node")]


@pytest.fixture
def mine(tmp_path):
    """A graph of triples with weights, of which an encoding is learnt, and splits."""
    rows = [("a", "r/1", "b", 1, "train"), ("b", "r/1", "c", 2, "val"), ("c", "r2", "a", 3, "train")]
    (tmp_path / "graph.toml").write_text(triples(tmp_path, rows, ("head", "relation", "tail", "w", "part")) + (
        'reverse = "rev_*"\nsplit = "part"\ndata = {x = {column = "w", as = "standard"}}'))
    partition_graph(tmp_path / "graph.toml", tmp_path / "mine", 2, "random")
    with GraphFile(tmp_path / "mine") as graph:
        assert set(graph.tables["edges"]) == {"entity:*:entity"}
    return tmp_path / "mine"


def test_new_triples_become_what_they_were_in_training(mine, tmp_path):
    new = tmp_path / "new"
    new.mkdir()
    triples(new, [("n", "r2", "m", 3), ("m", "r2", "k", 1)], ("head", "relation", "tail", "w"))
    whole, found = read_source(tmp_path / "graph.toml"), read_source(new, like=mine)
    assert list(found.csc) == list(whole.csc) and found.tables == whole.tables
    key = "entity", "r2", "entity"
    assert edges_of(found, key) == [("n", "m"), ("m", "k")]
    assert found.edge_data[key]["x"].tolist() == [1.0, -1.0]
    assert found.csc["entity", "r%2F1", "entity"].num_edges == 0
    (new / "graph.toml").write_text(TRIPLES.format(ending=".csv").replace('"relation"', '"what"'))
    triples(new, [("n", "r/1", "m", 3)], ("head", "what", "tail", "w"))
    assert edges_of(read_source(new, like=mine), ("entity", "r%2F1", "entity")) == [("n", "m")]


@pytest.mark.parametrize("value, told", [("r3", "line 3: relation is 'r3', which no edge had in training"),
                                         ("", "line 3: relation is missing")])
def test_a_relation_that_training_did_not_have_is_told(mine, tmp_path, value, told):
    new = tmp_path / "new"
    new.mkdir()
    triples(new, [("n", "r2", "m", 3), ("n", value, "m", 3)], ("head", "relation", "tail", "w"))
    with pytest.raises(DataError, match=re.escape(told)):
        read_source(new, like=mine)
