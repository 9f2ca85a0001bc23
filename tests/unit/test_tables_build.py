"""Tables become the graph that they hold: every edge, feature, label, split and id; errors name file and line."""

import csv
import datetime
import gzip
import json
import re
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs  # noqa: F401  (its settings of hypothesis)
from mpignn.errors import ConfigError, DataError
from mpignn.graph.csc import csc_from_coo
from mpignn.storage.canonical import canonical
from mpignn.storage.validate import validate
from mpignn.tables import splits
from mpignn.tables.build import build
from mpignn.tables.splits import by_share
from mpignn.tables.toml import read_description

CITES = ("paper", "cites", "paper")


def write_table(path, columns):
    """Columns by name, lists of Python values, as a file of the format that its name says."""
    rows = list(zip(*columns.values(), strict=True))
    plain = path.name.removesuffix(".gz")
    if plain.endswith((".csv", ".tsv")):
        with (gzip.open if plain != path.name else open)(path, "wt", newline="") as file:
            writer = csv.writer(file, delimiter="," if plain.endswith(".csv") else "\t")
            writer.writerows([columns, *[["" if value is None else value for value in row] for row in rows]])
    elif plain.endswith(".jsonl"):
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True)), default=str) + "\n" for row in rows))
    else:
        write = parquet.write_table if plain.endswith(".parquet") else feather.write_feather
        write(pa.table(columns), path)


def read(folder, text, **options):
    (folder / "graph.toml").write_text(text)
    data = canonical(build(read_description(folder / "graph.toml"), **options))
    validate(data)
    return data


def edges_of(data, etype=CITES):
    """The ends of the edges of a type in the users' ids, in the order of the edges' ids."""
    found = data.csc[etype]
    dst = np.repeat(np.arange(found.num_dst), np.diff(found.indptr))
    order = np.arange(found.num_edges) if found.edge_ids is None else np.argsort(found.edge_ids)
    named = [data.user_ids[ntype].of(0, count) if ntype in data.user_ids else list(range(count))
             for ntype, count in ((etype[0], data.num_nodes[etype[0]]), (etype[2], data.num_nodes[etype[2]]))]
    return [(named[0][found.indices[i]], named[1][dst[i]]) for i in order]


def of_ids(data, ntype="paper"):
    return data.user_ids[ntype].of(0, data.num_nodes[ntype])


def small(folder, nodes=None, edges=None, more_nodes="", more_edges="", **options):
    """Three papers a, b and c, and edges between them, with other columns and other words in the TOML."""
    write_table(folder / "papers.csv", {"id": ["a", "b", "c"], **(nodes or {})})
    write_table(folder / "cites.csv", {"from": ["a", "b"], "to": ["b", "c"], **(edges or {})})
    return read(folder, f"""
[nodes.paper]
files = "papers.csv"
id = "id"
{more_nodes}
[edges."paper:cites:paper"]
files = "cites.csv"
src = "from"
dst = "to"
{more_edges}
""", **options)


letters = st.characters(codec="utf-8", exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc"))
texts = st.text(letters, min_size=1, max_size=6).map(lambda text: f"x{text}")
numbers = st.integers(-2**62, 2**62)


@given(st.data(), st.sampled_from((".csv", ".tsv", ".csv.gz", ".parquet", ".feather", ".jsonl")))
def test_random_graphs_come_back_from_tables(tmp_path_factory, data, ending):
    folder = tmp_path_factory.mktemp("tables")
    wanted, lines = {}, []
    for ntype in ("paper", "author"):
        ids = data.draw(st.lists(data.draw(st.sampled_from((texts, numbers))), min_size=1, max_size=12, unique=True))
        n = len(ids)
        columns = {"key": ids, "x": data.draw(st.lists(st.floats(-1e6, 1e6, width=32), min_size=n, max_size=n)),
                   "n": data.draw(st.lists(st.integers(-1000, 1000), min_size=n, max_size=n)),
                   "kind": data.draw(st.lists(st.sampled_from(("b", "a", "c d")), min_size=n, max_size=n)),
                   "topic": data.draw(st.lists(st.sampled_from(("physics", "art", None)), min_size=n, max_size=n)),
                   "part": data.draw(st.lists(st.sampled_from(("train", "val", "test", None)), min_size=n, max_size=n))}
        write_table(folder / f"{ntype}{ending}", columns)
        wanted[ntype] = columns
        lines.append(f'[nodes.{ntype}]\nfiles = "{ntype}{ending}"\nid = "key"\nlabels = "topic"\nsplit = "part"\n'
                     'features = ["n", {column = "kind", as = "onehot"}, "x"]\ndata = {n = "n"}')
    joined = {}
    for src, dst in (("paper", "paper"), ("author", "paper")):
        count = data.draw(st.integers(1, 20))
        ends = [data.draw(st.lists(st.sampled_from(wanted[end]["key"]), min_size=count, max_size=count))
                for end in (src, dst)]
        joined[src, "to", dst] = ends, data.draw(st.lists(st.floats(0, 9, width=32), min_size=count, max_size=count))
        write_table(folder / f"{src}-{dst}{ending}", {"s": ends[0], "d": ends[1], "w": joined[src, "to", dst][1]})
        lines.append(f'[edges."{src}:to:{dst}"]\nfiles = "{src}-{dst}{ending}"\nsrc = "s"\ndst = "d"\nweights = "w"')
    found = read(folder, "\n".join(lines))
    for ntype, columns in wanted.items():
        assert columns["key"] == (of_ids(found, ntype) if ntype in found.user_ids else list(range(len(columns["key"]))))
        kinds = sorted(set(columns["kind"]))
        rows = [[n, *[float(kind == k) for k in kinds], x] for n, kind, x in
                zip(columns["n"], columns["kind"], columns["x"], strict=True)]
        assert np.array_equal(found.node_data[ntype]["features"], np.array(rows, np.float32))
        assert found.node_data[ntype]["n"].tolist() == columns["n"]
        names = found.class_names.get(ntype, {}).get("labels", ())
        assert list(names) == sorted(set(columns["topic"]) - {None})
        assert [names[c] if c >= 0 else None for c in found.node_data[ntype]["labels"]] == columns["topic"]
        for split in ("train", "val", "test"):
            rows = [i for i, (part, topic) in enumerate(zip(columns["part"], columns["topic"], strict=True))
                    if part == split and topic is not None]
            assert found.splits.get(ntype, {}).get(split, np.empty(0)).tolist() == rows
    for etype, (ends, weights) in joined.items():
        assert edges_of(found, etype) == list(zip(*ends, strict=True))
        assert found.edge_data[etype]["weight"].tolist() == weights


def test_edges_alone_number_their_ends_as_they_appear(tmp_path):
    write_table(tmp_path / "e.csv", {"s": ["b", "a", "b"], "d": ["a", "c", "b"]})
    data = read(tmp_path, '[edges."paper:cites:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"')
    assert of_ids(data) == ["b", "a", "c"] and edges_of(data) == [("b", "a"), ("a", "c"), ("b", "b")]


def test_nodes_without_ids_are_their_rows(tmp_path):
    write_table(tmp_path / "n.csv", {"x": [1.5, 2, 3]})
    write_table(tmp_path / "e.csv", {"s": [2, 0], "d": [1, 1]})
    text = ('[nodes.paper]\nfiles = "n.csv"\nfeatures = "x"\n[edges."paper:cites:paper"]\nfiles = "e.csv"\n'
            'src = "s"\ndst = "d"')
    data = read(tmp_path, text)
    assert data.user_ids == {} and edges_of(data) == [(2, 1), (0, 1)]
    write_table(tmp_path / "e.csv", {"s": [2, 3], "d": [1, 1]})
    with pytest.raises(DataError, match=re.escape("e.csv, line 3: s is '3', which is no node of type paper")):
        read(tmp_path, text)


def test_rows_of_several_files_are_one_table(tmp_path):
    (tmp_path / "papers").mkdir()
    for name, ids in (("1.csv", ["a", "b"]), ("2.csv", ["c"])):
        write_table(tmp_path / "papers" / name, {"id": ids})
    write_table(tmp_path / "e.csv", {"s": ["a", "b"], "d": ["c", "c"]})
    edges = '[edges."paper:cites:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"'
    for files in ('"papers"', '["papers/1.csv", "papers/2.csv"]'):
        assert of_ids(read(tmp_path, f'[nodes.paper]\nfiles = {files}\nid = "id"\n{edges}')) == ["a", "b", "c"]


@pytest.mark.parametrize("nodes, more, features", [
    ({"x": [1, 2, 3], "y": [True, False, True]}, 'features = ["y", "x"]', [[1, 1], [0, 2], [1, 3]]),
    ({"x": [1.5, None, 3]}, 'features = {column = "x", fill = -1}', [[1.5], [-1], [3]]),
    ({"x": [1.5, None, 3.5]}, 'features = {column = "x", fill = "mean"}', [[1.5], [2.5], [3.5]]),
    ({"x": [1, None, 4]}, 'features = {column = "x", fill = "mean"}', [[1], [2.5], [4]]),
    ({"x": [1, None, 4], "s": ["train", "train", "val"]}, 'split = "s"\nfeatures = {column = "x", fill = "mean"}',
     [[1], [1], [4]]),
    ({"x": [1, 3, 9], "s": ["train", "train", "val"]}, 'split = "s"\nfeatures = {column = "x", as = "standard"}',
     [[-1], [1], [7]]),
    ({"x": [1, 3, None], "s": ["train", "train", "val"]},
     'split = "s"\nfeatures = {column = "x", as = "standard", fill = "mean"}', [[-1], [1], [0]]),
    ({"x": [5, 5, 5]}, 'features = {column = "x", as = "standard"}', [[0], [0], [0]]),
    ({"x": ["b", "a", "b"]}, 'features = {column = "x", as = "onehot"}', [[0, 1], [1, 0], [0, 1]]),
    ({"x": ["b", None, "b"]}, 'features = {column = "x", as = "code", fill = "c"}', [[0], [1], [0]]),
    ({"x": [10, 2, 10]}, 'features = {column = "x", as = "onehot"}', [[0, 1], [1, 0], [0, 1]]),
])
def test_columns_become_features(tmp_path, nodes, more, features):
    assert np.allclose(small(tmp_path, nodes, more_nodes=more).node_data["paper"]["features"], features)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64())])
def test_lists_are_columns(tmp_path, kind):
    table = pa.table({"id": ["a", "b"], "x": pa.array([[1, 2], [3, 4]], kind), "y": [5.0, 6.0]})
    parquet.write_table(table, tmp_path / "n.parquet")
    write_table(tmp_path / "e.csv", {"s": ["a"], "d": ["b"]})
    text = '[nodes.paper]\nfiles = "n.parquet"\nid = "id"\nfeatures = ["y", "x"]\n' \
           '[edges."paper:cites:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"'
    assert read(tmp_path, text).node_data["paper"]["features"].tolist() == [[5, 1, 2], [6, 3, 4]]
    ragged = pa.table({"id": ["a", "b"], "x": pa.array([[1, 2], [3]]), "y": [5.0, 6.0]})
    parquet.write_table(ragged, tmp_path / "n.parquet")
    with pytest.raises(DataError, match="row 2: x has 1 entries, where other rows have 2"):
        read(tmp_path, text)


def test_standardising_numbers_far_from_zero_keeps_their_digits(tmp_path):
    data = small(tmp_path, {"x": [1e9 + 1, 1e9 + 2, 1e9 + 3]}, more_nodes='features = {column = "x", as = "standard"}')
    assert np.allclose(data.node_data["paper"]["features"][:, 0], [-1.5**0.5, 0, 1.5**0.5])


def test_features_are_float32_unless_they_shall_keep_their_type(tmp_path):
    more = 'features = "x"'
    assert small(tmp_path, {"x": [0.1, 1, 2]}, more_nodes=more).node_data["paper"]["features"].dtype == np.float32
    (tmp_path / "graph.toml").unlink()
    kept = build(read_description(_toml(tmp_path)), keep_dtype=True).node_data["paper"]["features"]
    assert kept.dtype == np.float64 and kept[0, 0] == 0.1


def _toml(folder):
    (folder / "graph.toml").write_text('[nodes.paper]\nfiles = "papers.csv"\nid = "id"\nfeatures = "x"\n'
                                       '[edges."paper:cites:paper"]\nfiles = "cites.csv"\nsrc = "from"\ndst = "to"')
    return folder / "graph.toml"


@pytest.mark.parametrize("column, labels, names", [
    (["b", "a", None], [1, 0, -1], ("a", "b")), ([1, 0, None], [1, 0, -1], None), ([1, 0, -1], [1, 0, -1], None),
    ([7, 1990, 7], [0, 1, 0], ("7", "1990")), ([True, False, None], [1, 0, -1], ("false", "true")),
    ([1.0, 0.0, float("nan")], [1, 0, -1], None), ([0.5, 1.5, None], [0.5, 1.5, np.nan], None),
    ([-2, 3, 4], [-2, 3, 4], None), ([-3, None, 2], [-3, np.nan, 2], None), ([-1, None, -3], [-1, np.nan, -3], None),
    ([-1, 0.5, None], [-1, 0.5, np.nan], None),
])
def test_labels_are_classes_or_numbers(tmp_path, column, labels, names):
    data = small(tmp_path, {"y": column}, more_nodes='labels = "y"')
    found = data.node_data["paper"]["labels"][:]
    assert np.array_equal(found, labels, equal_nan=True) and data.class_names.get("paper", {}).get("labels") == names
    assert found.dtype == (np.int64 if all(isinstance(label, int) and label >= -1 for label in labels) else np.float32)


def test_a_number_to_predict_that_is_missing_is_in_no_split(tmp_path):
    data = small(tmp_path, {"y": [5, -3, None]}, more_nodes='labels = "y"\nsplit = "1/0/0"')
    assert data.splits["paper"]["train"].tolist() == [0, 1]


def test_several_labels_are_a_row_each(tmp_path):
    data = small(tmp_path, {"y": [1, 0, None], "z": [0, 0, None]}, more_nodes='labels = ["y", "z"]\nsplit = "1/0/0"')
    assert np.array_equal(data.node_data["paper"]["labels"], [[1, 0], [0, 0], [np.nan, np.nan]], equal_nan=True)
    assert data.splits["paper"]["train"].tolist() == [0, 1] and data.class_names["paper"]["labels"] == ("y", "z")


def labeled(folder, *files, dtype=None):
    """Labels that are lists, in one file or in several."""
    for number, lists in enumerate(files):
        ids = [f"{number}.{row}" for row in range(len(lists))]
        table = pa.table({"id": ids, "y": pa.array(lists, dtype or pa.list_(pa.int64()))})
        parquet.write_table(table, folder / f"{number}.parquet")
    write_table(folder / "e.csv", {"s": ["0.0"], "d": ["0.1"]})
    names = ", ".join(f'"{number}.parquet"' for number in range(len(files)))
    data = read(folder, f'[nodes.paper]\nfiles = [{names}]\nid = "id"\nlabels = "y"\nsplit = "1/0/0"\n'
                        '[edges."paper:cites:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"')
    assert "paper" not in data.class_names
    return data.node_data["paper"]["labels"], data.splits.get("paper", {}).get("train", np.empty(0)).tolist()


@pytest.mark.parametrize("dtype", [pa.list_(pa.int64()), pa.list_(pa.float32(), 2), pa.large_list(pa.int8())])
def test_a_list_that_is_missing_is_a_row_of_unknown_labels(tmp_path, dtype):
    gap = [np.nan, np.nan]
    found, train = labeled(tmp_path, [None, None], [None, [1, 0], [None, 1]], dtype=dtype)
    assert np.array_equal(found, [gap, gap, gap, [1, 0], [np.nan, 1]], equal_nan=True) and train == [3, 4]
    found, train = labeled(tmp_path, [None, None])
    assert found.tolist() == [-1, -1] and train == []


@pytest.mark.parametrize("files, told", [
    ([[[1, 2], [3, 4]], [[5, 6], None, [1, 2, 3]]], "1.parquet, row 3: y has 3 entries, where the rows before have 2"),
    ([[[1, 2], []]], "0.parquet, row 2: y has 0 entries, where the rows before have 2"),
    ([[None, []]], "0.parquet, row 2: y has 0 entries, which is no label"),
])
def test_lists_of_labels_are_of_one_length_in_all_files(tmp_path, files, told):
    with pytest.raises(DataError, match=told):
        labeled(tmp_path, *files)


def test_a_row_without_a_label_is_in_no_split(tmp_path, caplog):
    nodes = {"y": ["u", None, "v"], "s": ["train", "test", "valid"]}
    data = small(tmp_path, nodes, more_nodes='labels = "y"\nsplit = "s"')
    assert {name: ids.tolist() for name, ids in data.splits["paper"].items()} == {"train": [0], "val": [2]}
    assert "1 rows of train/val/test have no label" in caplog.text


@pytest.mark.parametrize("column, at", [
    ([2017, 2018, 2019], "[2017, 2018]"), ([1.5, 2.5, 9.0], "[2, 3]"),
    (["2017-12-31", "2018-01-01", "2019-01-01"], "[2017-12-31, 2018-12-31]"),
    (["2017-12-31 23:59:59", "2018-01-01 00:00:00", "2019-01-01 00:00:00"], "[2017-12-31, 2018-12-31]"),
    (["2017-12-31 23:59:58", "2017-12-31 23:59:59", "2019-01-01 00:00:00"],
     "[2017-12-31T23:59:58, 2018-12-31T00:00:00]"),
])
def test_splits_by_time(tmp_path, column, at):
    data = small(tmp_path, {"when": column}, more_nodes=f'split = {{by = "when", at = {at}}}')
    assert {name: ids.tolist() for name, ids in data.splits["paper"].items()} == {"train": [0], "val": [1], "test": [2]}


@pytest.mark.parametrize("masks", [([True, False, False], [False, None, True]), ([1, 0, 0], [0, 0, 1.0])])
def test_splits_by_masks(tmp_path, masks):
    data = small(tmp_path, {"u": masks[0], "v": masks[1]}, more_nodes='split = {train = "u", val = "v"}')
    assert {name: ids.tolist() for name, ids in data.splits["paper"].items()} == {"train": [0], "val": [2]}


@given(st.lists(st.integers(0, 6), max_size=300), st.integers(0, 3))
def test_shares_hold_over_all_and_nearly_in_each_class(classes, seed):
    classes = np.array(classes, np.int64)
    split = by_share((0.6, 0.2, 0.1), classes.size, classes, seed)
    for number, share in enumerate((0.6, 0.8, 0.9)):
        assert abs(np.count_nonzero((split >= 0) & (split <= number)) - share * classes.size) <= 0.5 + 1e-6
        for one in np.unique(classes):
            of_class = split[classes == one]
            assert abs(np.count_nonzero((of_class >= 0) & (of_class <= number)) - share * of_class.size) < 4
    assert np.array_equal(split, by_share((0.6, 0.2, 0.1), classes.size, classes, seed))


@given(st.lists(st.integers(0, 6), max_size=300), st.integers(0, 3), st.booleans(), st.sampled_from([None, 0.25, 0.3]),
       st.sampled_from([(0.6, 0.2, 0.1), (0, 0.5, 0.5), (1, 0, 0), (0.8, 0.1, 0.1)]))
def test_shares_are_those_of_rows_sorted_whole(classes, seed, has_classes, golden, shares):
    """As told by sorting all rows; also where fractions are equal."""
    classes = np.array(classes, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "_STEP", 7)
        patch.setattr(splits, "_IN_BIN", 3)
        if golden is not None:
            patch.setattr(splits, "_GOLDEN", golden)
        order = np.random.default_rng(seed).permutation(classes.size)
        if has_classes:
            order = order[np.argsort(classes[order], kind="stable")]
        place = np.empty(classes.size, np.int64)
        fractions = np.arange(1, classes.size + 1) * splits._GOLDEN % 1
        place[np.argsort(fractions, kind="stable")] = np.arange(classes.size)
        split = np.searchsorted(np.rint(np.cumsum(shares) * classes.size + 1e-9), place, side="right")
        expected = np.empty(classes.size, np.int8)
        expected[order] = np.where(split < 3, split, -1)
        got = by_share(shares, classes.size, classes if has_classes else None, seed)
    np.testing.assert_array_equal(got, expected)


def test_seeds_draw_different_splits():
    assert not np.array_equal(by_share((0.5, 0.2, 0.3), 100, None, 0), by_share((0.5, 0.2, 0.3), 100, None, 1))


def test_edges_both_ways(tmp_path):
    edges = {"w": [1.5, 2.5], "s": ["train", "test"]}
    more = 'weights = "w"\nsplit = "s"\n'
    data = small(tmp_path, edges=edges, more_edges=f"{more}reverse = true")
    assert edges_of(data) == [("a", "b"), ("b", "c"), ("b", "a"), ("c", "b")]
    assert data.edge_data[CITES]["weight"].tolist() == [1.5, 2.5, 1.5, 2.5]
    assert data.edge_data[CITES]["message"].tolist() == [True, False, True, False]
    assert {name: ids.tolist() for name, ids in data.splits["paper:cites:paper"].items()} == {"train": [0], "test": [1]}
    data = small(tmp_path, edges=edges, more_edges=f'{more}reverse = "cited_by"')
    back = ("paper", "cited_by", "paper")
    assert edges_of(data) == [("a", "b"), ("b", "c")] and edges_of(data, back) == [("b", "a"), ("c", "b")]
    assert data.edge_data[back]["weight"].tolist() == [1.5, 2.5] and "paper:cited_by:paper" not in data.splits
    assert data.edge_data[back]["message"].tolist() == [True, False]


def messages(folder, pairs, more):
    """For each edge its ends, and in which splits it is; and those that may carry messages."""
    edges = {"from": [pair[0] for pair in pairs], "to": [pair[1] for pair in pairs]}
    data = small(folder, {"id": sorted({end for pair in pairs for end in pair})}, edges, more_edges=more)
    ends = edges_of(data)
    return ({name: [ends[i] for i in ids] for name, ids in data.splits["paper:cites:paper"].items()},
            [pair for pair, may in zip(ends, data.edge_data[CITES]["message"], strict=True) if may], data)


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=40),
       st.sampled_from(("true", "false", '"back"')))
def test_no_link_to_predict_carries_a_message_or_is_in_another_split(tmp_path_factory, pairs, reverse):
    pairs = [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"), ("a", "h"), *pairs]
    splits, carried, data = messages(tmp_path_factory.mktemp("links"), pairs,
                                     f'split = "0.6/0.2/0.2"\nreverse = {reverse}')
    same = (lambda pair: tuple(sorted(pair))) if reverse == "true" else (lambda pair: pair)
    keys = {name: set(map(same, ends)) for name, ends in splits.items()}
    distinct = set(map(same, pairs))
    assert sum(map(len, keys.values())) == len(set().union(*keys.values())) == len(distinct)
    for name, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        assert abs(len(keys.get(name, ())) - share * len(distinct)) <= 1
    assert sum(map(len, splits.values())) == len(pairs)
    assert set(map(same, carried)) == keys["train"]
    if reverse == '"back"':
        back = ("paper", "back", "paper")
        may = data.edge_data[back]["message"]
        held_out = {(v, u) for i, (u, v) in enumerate(edges_of(data, back)) if not may[i]}
        assert held_out == keys.get("val", set()) | keys.get("test", set())


def test_an_edge_carries_no_message_if_one_between_the_same_nodes_is_to_be_predicted(tmp_path):
    edges = {"from": ["a", "b", "a", "b"], "to": ["b", "a", "c", "c"], "s": ["train", "test", None, "val"]}
    data = small(tmp_path, edges=edges, more_edges='split = "s"\nreverse = true')
    assert data.edge_data[CITES]["message"].tolist() == [False, False, True, False] * 2
    data = small(tmp_path, edges=edges, more_edges='split = "s"')
    assert data.edge_data[CITES]["message"].tolist() == [True, False, True, False]


@pytest.mark.parametrize("more, kept", [
    ("", [0, 1, 2, 3, 4]), ("drop_duplicates = true", [0, 1, 3, 4]), ("drop_self_loops = true", [0, 1, 2, 4]),
    ("drop_duplicates = true\ndrop_self_loops = true", [0, 1, 4]),
])
def test_edges_are_dropped_with_their_data(tmp_path, more, kept):
    write_table(tmp_path / "papers.csv", {"id": ["a", "b", "c"]})
    ends = [("a", "b"), ("b", "a"), ("a", "b"), ("c", "c"), ("b", "c")]
    split = ["train", "val", None, None, "test"]
    write_table(tmp_path / "cites.csv", {"from": [s for s, _ in ends], "to": [d for _, d in ends], "n": range(5),
                                         "s": split})
    data = read(tmp_path, '[nodes.paper]\nfiles = "papers.csv"\nid = "id"\n[edges."paper:cites:paper"]\nfiles = '
                          f'"cites.csv"\nsrc = "from"\ndst = "to"\ndata = {{n = "n"}}\nsplit = "s"\n{more}')
    assert edges_of(data) == [ends[i] for i in kept] and data.edge_data[CITES]["n"].tolist() == kept
    for name in ("train", "val", "test"):
        assert [kept[i] for i in data.splits["paper:cites:paper"][name]] == [split.index(name)]


def test_duplicates_of_edges_both_ways_are_found_either_way(tmp_path):
    edges = {"from": ["a", "b", "c"], "to": ["b", "a", "c"]}
    data = small(tmp_path, edges=edges, more_edges="reverse = true\ndrop_duplicates = true")
    assert edges_of(data) == [("a", "b"), ("c", "c"), ("b", "a")]


def test_unknown_ends_are_an_error_or_dropped(tmp_path, caplog):
    edges = {"from": ["a", "z", None, "b"], "to": ["b", "a", "a", "y"], "w": [1, 2, 3, 4]}
    told = "cites.csv, line 3: from is 'z', which is no node of type paper; so it is with 2 more edges"
    with pytest.raises(DataError, match=re.escape(told)):
        small(tmp_path, edges=edges)
    for more, options in (('on_unknown = "drop"', {}), ("", {"on_unknown": "drop"})):
        data = small(tmp_path, edges=edges, more_edges=f'weights = "w"\n{more}', **options)
        assert edges_of(data) == [("a", "b")] and data.edge_data[CITES]["weight"].tolist() == [1]
        assert "cites.csv: 3 of 4 edges are left out" in caplog.text
        caplog.clear()
    with pytest.raises(DataError, match="no node of type paper"):
        small(tmp_path, edges=edges, more_edges='on_unknown = "drop"', on_unknown="error")
    with pytest.raises(ConfigError, match="on_unknown is 'ignore'; it must be error or drop"):
        small(tmp_path, on_unknown="ignore")


def test_what_stands_in_an_edge_that_is_dropped_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 64)
    count = 40
    known = [row % 3 == 1 and not 10 <= row < 25 for row in range(count)]       # some blocks are dropped as a whole
    edges = {"from": ["a" if ok else "z" for ok in known], "to": ["b"] * count,
             "w": [row if ok else None for row, ok in enumerate(known)],
             "y": [f"u{row % 2}" if ok else "another" for row, ok in enumerate(known)],
             "n": [3 if ok else 1000 for ok in known], "kind": ["k" if ok else "b" for ok in known]}
    data = small(tmp_path, edges=edges, more_edges='weights = "w"\non_unknown = "drop"\nlabels = "y"\n'
                 'split = "0.5/0.5/0"\n'
                 'data = {n = {column = "n", as = "standard"}, kind = {column = "kind", as = "code"}}')
    rows, found = np.flatnonzero(known), data.edge_data[CITES]
    assert found["weight"].tolist() == rows.tolist() and found["labels"].tolist() == (rows % 2).tolist()
    assert not found["n"].any() and not found["kind"].any()
    assert data.class_names["paper:cites:paper"] == {"labels": ("u0", "u1"), "kind": ("k",)}
    splits = data.splits["paper:cites:paper"]
    assert sorted(np.concatenate([splits["train"], splits["val"]])) == list(range(rows.size))
    edges["w"][28] = None
    with pytest.raises(DataError, match="cites.csv, line 30: w is missing"):
        small(tmp_path, edges=edges, more_edges='weights = "w"\non_unknown = "drop"')


@pytest.mark.parametrize("nodes, more, told", [
    ({"id": ["a", "b", "a"]}, "", r"papers.csv, line 4: .*'a'.*line 2"),
    ({"id": ["a", None, "c"]}, "", r"papers.csv, line 3: there is no id"),
    ({}, 'labels = "topik"', r"\[nodes.paper\]: labels: .*papers.csv has no column 'topik'"),
    ({"topic": ["u", "v", "w"]}, 'labels = "topik"', "did you mean topic?"),
    ({"x": [1, None, 3]}, 'features = "x"', r"papers.csv, line 3: x is missing; .*fill = 0"),
    ({"x": ["u", None, "v"]}, 'features = {column = "x", as = "onehot"}', "line 3: x is missing"),
    ({"x": [1, 2, "inf"]}, 'features = "x"', "papers.csv, line 4: x is not finite"),
    ({"x": [1, 1e60, 2]}, 'features = "x"', "papers.csv, line 3: x is more than float32 holds"),
    ({"x": ["u", "v", "w"]}, 'features = "x"', r"\[nodes.paper\]: features: .*papers.csv: 'x' holds texts"),
    ({"x": [1, 2, 3]}, 'features = {column = "x", fill = "none"}', "'x' holds numbers, and cannot be filled"),
    ({"x": [1, None, 3]}, 'features = {column = "x", as = "code", fill = "none"}', "cannot be filled with 'none'"),
    ({"s": ["train", "trian", "val"]}, 'split = "s"', "papers.csv, line 3: s is 'trian', expected train, val, test"),
    ({"s": [1, 2, 3]}, 'split = "s"', "s is 1, expected train, val, test or nothing"),
    ({"s": [0, 2, 1]}, 'split = {train = "s"}', "papers.csv, line 3: whether a row is in train is 2, expected 1 or 0"),
    ({"s": ["u", "v", "w"]}, 'split = {train = "s"}', "papers.csv, line 2: whether a row is in train is 'u'"),
    ({"s": [0, 1, 1], "t": [1, 0, 1]}, 'split = {train = "s", val = "t"}', "line 4: a row of train and of val"),
    ({"s": ["u", "v", "w"]}, 'split = {by = "s", at = [1, 2]}', "which cannot be compared with the moments"),
    ({"s": [1, 2, 3]}, 'split = {by = "s", at = [2017-01-01, 2018-01-01]}', "cannot be compared with the moments"),
])
def test_what_a_table_cannot_be_is_told_with_its_place(tmp_path, nodes, more, told):
    with pytest.raises(DataError, match=told):
        small(tmp_path, nodes, more_nodes=more)


def test_a_column_that_becomes_something_else_behind_the_first_block_is_read_as_that(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.tables.delimited._BLOCK_BYTES", 64)
    numbers = [*range(100), 0.5]
    write_table(tmp_path / "n.csv", {"id": range(101), "x": numbers, "n": numbers})
    write_table(tmp_path / "e.csv", {"s": range(101), "d": range(101), "w": numbers, "y": [*range(100), "u"]})
    text = ('[nodes.paper]\nfiles = "n.csv"\nid = "id"\nfeatures = "x"\ndata = {n = "n"}\n[edges."paper:cites:paper"]\n'
            'files = "e.csv"\nsrc = "s"\ndst = "d"\nweights = "w"\nlabels = "y"')
    data = read(tmp_path, text)
    assert data.node_data["paper"]["features"][:, 0].tolist() == data.node_data["paper"]["n"].tolist() == numbers
    assert data.edge_data[CITES]["weight"].tolist() == numbers and edges_of(data) == [(i, i) for i in range(101)]
    assert len(data.class_names["paper:cites:paper"]["labels"]) == 101


def test_tables_without_rows_are_warned_of(tmp_path, caplog):
    (tmp_path / "n.csv").write_text("id,x,y,s\n")
    (tmp_path / "e.csv").write_text("s,d,w\n")
    data = read(tmp_path, '[nodes.paper]\nfiles = "n.csv"\nid = "id"\nfeatures = "x"\nlabels = "y"\nsplit = "s"\n'
                          '[edges."paper:cites:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"\nweights = "w"')
    assert data.num_nodes == {"paper": 0} and edges_of(data) == [] and data.splits == {}
    assert "n.csv: there are no rows in it" in caplog.text and "e.csv: there are no rows in it" in caplog.text


def test_dates_become_seconds(tmp_path):
    data = small(tmp_path, edges={"t": ["1970-01-02", "1969-12-31"]}, more_edges='time = "t"')
    assert data.edge_data[CITES]["time"].tolist() == [86400, -86400]
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5)
    data = small(tmp_path, edges={"t": [str(moment), str(moment)]}, more_edges='time = "t"')
    assert data.edge_data[CITES]["time"][0] == moment.replace(tzinfo=datetime.UTC).timestamp()


def test_ends_of_edges_are_let_go_type_by_type(tmp_path, monkeypatch):
    ends, held = [], []

    def sort(src, dst, num_dst):
        held.append(sum(end() is not None for end in ends))
        ends.extend(map(weakref.ref, (src, dst)))
        return csc_from_coo(src, dst, num_dst)

    monkeypatch.setattr("mpignn.tables.build.csc_from_coo", sort)
    # Ends that lie in the order of the graph already are a part of it, and stay.
    write_table(tmp_path / "e.csv", {"s": ["b", "a"], "d": ["c", "b"]})
    read(tmp_path, "\n".join(f'[edges."paper:{name}:paper"]\nfiles = "e.csv"\nsrc = "s"\ndst = "d"' for name in "uvw"))
    assert held == [0, 0, 0]


def test_codes_keep_the_names_of_what_they_stand_for(tmp_path):
    data = small(tmp_path, {"kind": ["u", "v", "u"]}, more_nodes='data = {kind = {column = "kind", as = "code"}}')
    assert data.node_data["paper"]["kind"].tolist() == [0, 1, 0] and data.class_names["paper"]["kind"] == ("u", "v")


def test_ids_that_look_like_dates_are_as_they_are_written(tmp_path):
    (tmp_path / "n.jsonl").write_text('{"id": "2021-05-01"}\n{"id": "2021-05-02T10:00:00"}\n')
    write_table(tmp_path / "e.csv", {"s": ["2021-05-01"], "d": ["2021-05-02T10:00:00"]})
    data = read(tmp_path, '[nodes.paper]\nfiles = "n.jsonl"\nid = "id"\n[edges."paper:cites:paper"]\n'
                          'files = "e.csv"\nsrc = "s"\ndst = "d"')
    assert of_ids(data) == ["2021-05-01", "2021-05-02T10:00:00"]
    assert edges_of(data) == [("2021-05-01", "2021-05-02T10:00:00")]
