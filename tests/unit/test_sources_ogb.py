"""Folders of the Open Graph Benchmark: what they become, and what is refused."""

import gzip
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import ends, random_graph, random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, NTYPE
from mpignn.storage.check import check
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

SPLITS = {"train": "train", "val": "valid", "test": "test"}


def write(path: Path, rows) -> None:
    """Write numbers as OGB does: compressed text, without a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.asarray(rows)
    rows = rows.reshape(len(rows), int(np.prod(rows.shape[1:])))
    with gzip.open(path, "wt") as file:
        file.writelines(",".join(map(str, row)) + "\n" for row in rows.tolist())


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(f"{line}\n" for line in lines)


def write_one_type(root: Path, data, binary: bool) -> Path:
    raw, named = root / "raw", data.node_data[NTYPE]
    pairs, weight = np.stack(ends(data, ETYPE), axis=1), data.edge_data[ETYPE]["weight"]
    year = np.arange(data.num_nodes[NTYPE])
    if binary:
        raw.mkdir(parents=True)
        np.savez(raw / "data.npz", edge_index=pairs.T, num_nodes_list=[data.num_nodes[NTYPE]],
                 num_edges_list=[len(pairs)], node_feat=named["features"], node_year=year[:, None],
                 edge_weight=weight[:, None])
        np.savez(raw / "node-label.npz", node_label=named["labels"][:, None].astype(np.float32))
    else:
        for name, rows in (("edge", pairs), ("num-node-list", [data.num_nodes[NTYPE]]), ("num-edge-list", [len(pairs)]),
                           ("node-feat", named["features"]), ("node-label", named["labels"]), ("node_year", year),
                           ("edge_weight", weight)):
            write(raw / f"{name}.csv.gz", rows)
    for name, ids in data.splits[NTYPE].items():
        write(root / "split/time" / f"{SPLITS[name]}.csv.gz", ids)
    return root


def write_types(root: Path, data, binary: bool) -> Path:
    raw = root / "raw"
    keys = {"___".join(e): e for e in data.csc}
    pairs = {key: np.stack(ends(data, e), axis=1) for key, e in keys.items()}
    if binary:
        raw.mkdir(parents=True)
        np.savez(raw / "num_nodes_dict.npz", **{t: [n] for t, n in data.num_nodes.items()})
        np.savez(raw / "num_edges_dict.npz", **{key: [len(rows)] for key, rows in pairs.items()})
        np.savez(raw / "edge_index_dict.npz", **{key: rows.T for key, rows in pairs.items()})
        np.savez(raw / "node_feat_dict.npz", **{t: named["features"] for t, named in data.node_data.items()})
        np.savez(raw / "node-label.npz", **{t: named["labels"][:, None] for t, named in data.node_data.items()})
        np.savez(raw / "edge_weight.npz", **{key: data.edge_data[e]["weight"][:, None] for key, e in keys.items()})
    else:
        write_lines(raw / "num-node-dict.csv.gz", ",".join(data.num_nodes), ",".join(map(str, data.num_nodes.values())))
        write_lines(raw / "triplet-type-list.csv.gz", *(",".join(e) for e in data.csc))
        for key, rows in pairs.items():
            write(raw / "relations" / key / "edge.csv.gz", rows)
            write(raw / "relations" / key / "num-edge-list.csv.gz", [len(rows)])
            write(raw / "relations" / key / "edge_weight.csv.gz", data.edge_data[keys[key]]["weight"])
        for ntype, named in data.node_data.items():
            write(raw / "node-feat" / ntype / "node-feat.csv.gz", named["features"])
            write(raw / "node-label" / ntype / "node-label.csv.gz", named["labels"])
    for ntype in data.num_nodes:
        for name, ids in data.splits[ntype].items():
            write(root / "split/time" / ntype / f"{SPLITS[name]}.csv.gz", ids)
    write_lines(root / "split/time/nodetype-has-split.csv.gz", ",".join(data.num_nodes), "True,True,True")
    return root


@given(st.integers(0, 1 << 20), st.integers(1, 9), st.integers(0, 20), st.booleans(), st.booleans())
def test_all_of_an_ogb_folder_comes_back(seed, num_nodes, num_edges, typed, binary):
    data = (random_hetero_graph if typed else random_graph)(seed, num_nodes, num_edges)
    with tempfile.TemporaryDirectory() as folder:
        found = read_source((write_types if typed else write_one_type)(Path(folder) / "set", data, binary))
        assert dict(found.num_nodes) == dict(data.num_nodes) and set(found.csc) == set(data.csc)
        for etype in data.csc:
            assert all(map(np.array_equal, ends(found, etype), ends(data, etype)))
            assert np.array_equal(found.edge_data[etype]["weight"], data.edge_data[etype]["weight"])
        for ntype, named in data.node_data.items():
            assert np.array_equal(found.node_data[ntype]["labels"], named["labels"])
            if data.num_nodes[ntype]:       # an empty file does not say how many columns there are
                assert np.array_equal(found.node_data[ntype]["features"], named["features"])
            assert all(np.array_equal(found.splits[ntype][name], ids) for name, ids in data.splits[ntype].items())
        if not typed:
            assert np.array_equal(found.node_data[NTYPE]["year"], np.arange(num_nodes))


def test_an_ogb_folder_is_partitioned_and_its_raw_folder_is_taken_too(tmp_path):
    root = write_types(tmp_path / "set", random_hetero_graph(2), binary=False)
    partition_graph(root, tmp_path / "out", 2, "range")
    assert check(tmp_path / "out") == []
    assert read_source(root / "raw").splits.keys() == {"paper", "author", "venue"}


def test_edges_that_ogb_makes_to_two_are_two_beside_each_other(tmp_path):
    root = write_one_type(tmp_path / "ogbn_products", random_graph(), binary=False)
    found, data = read_source(root), random_graph()
    src, dst = ends(data, ETYPE)
    assert np.array_equal(ends(found, ETYPE)[0], np.stack([src, dst], 1).ravel())
    assert np.array_equal(ends(found, ETYPE)[1], np.stack([dst, src], 1).ravel())
    assert np.array_equal(found.edge_data[ETYPE]["weight"], np.repeat(data.edge_data[ETYPE]["weight"], 2))


@pytest.mark.parametrize("name, by, start, source, times", [
    ("ogbn_products", "time", "ogbn_products", ".", 2), ("ogbn_products", "time", "ogbn_products", "raw", 2),
    ("ogbn_products", "time", "ogbn_products/raw", ".", 2), ("ogbn_proteins_dgl", "time", ".", "ogbn_proteins_dgl", 2),
    ("products", "sales_ranking", ".", "products", 2), ("mine", "species", "mine", ".", 2),
    ("link", "time", ".", "link", 2), ("products", "time", ".", "products", 1)])
def test_such_a_set_is_known_wherever_it_was_unpacked(name, by, start, source, times, tmp_path, monkeypatch):
    root = write_one_type(tmp_path / ("ogbn_products" if name == "link" else name), random_graph(), binary=False)
    (root / "split/time").rename(root / "split" / by)
    if name == "link":
        (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path / start)
    data = read_source(source)
    assert data.csc[ETYPE].num_edges == times * random_graph().csc[ETYPE].num_edges and data.splits[NTYPE]


@pytest.mark.parametrize("name, marks", [("ogbl_collab", ()), ("ppa", ("train.pt",))])
def test_a_set_of_links_is_refused(name, marks, tmp_path):
    root = write_one_type(tmp_path / name, random_graph(), binary=False)
    for mark in marks:
        (root / "split/time" / mark).touch()
    for source in (root, root / "raw"):
        with pytest.raises(DataError, match=f"{name}.*a data set of links .* only those of nodes"):
            read_source(source)


def test_a_label_that_is_missing_is_unknown(tmp_path):
    root = write_one_type(tmp_path / "set", random_graph(num_nodes=3), binary=False)
    for name in ("train", "valid", "test"):
        write(root / "split/time" / f"{name}.csv.gz", np.empty(0, int))
    write_lines(root / "raw/node-label.csv.gz", "1", '""', "0")      # as pandas writes it
    assert read_source(root).node_data[NTYPE]["labels"].tolist() == [1, -1, 0]


def test_names_of_nodes_and_classes_are_kept(tmp_path, caplog):
    root = write_one_type(tmp_path / "set", random_graph(num_nodes=5), binary=False)
    write_lines(root / "mapping/nodeidx2paperid.csv.gz", "node idx,paper id", "1,70", "0,9", "2,8", "4,5", "3,6")
    write_lines(root / "mapping/labelidx2arxivcategeory.csv.gz", "label idx,arxiv category",
                *(f"{i},arxiv c{i}" for i in range(4)))
    data = read_source(root)
    assert data.user_ids[NTYPE].of(0, 5) == [9, 70, 8, 6, 5]
    assert data.class_names == {NTYPE: {"labels": ("arxiv c0", "arxiv c1", "arxiv c2", "arxiv c3")}}
    typed = write_types(tmp_path / "types", random_hetero_graph(2), binary=False)
    write_lines(typed / "mapping/venue_entidx2name.csv.gz", "ent idx,ent name", "0,a", '1,"b, c"', "2,é")
    write_lines(typed / "mapping/author_entidx2name.csv.gz", "ent idx,ent name", *(f"{i},same" for i in range(16)))
    data = read_source(typed)
    assert data.user_ids.keys() == {"venue"} and data.user_ids["venue"].of(0, 3) == ["a", "b, c", "é"]
    assert "author_entidx2name.csv.gz: two have the same name, so names are left out" in caplog.text


@pytest.mark.parametrize("names, ids", [
    (("0007", "8"), ["0007", "8"]), (("2020-01-02", "2021-03-04"), ["2020-01-02", "2021-03-04"]),
    (("true", "1.50"), ["true", "1.50"]), (("0x10", "-0"), ["0x10", "-0"]), (("NA", "nan"), ["NA", "nan"]),
    ((str(2**63), "1"), [2**63, 1]), ((str(2**64), "1"), [str(2**64), "1"]), (("-5", str(2**62)), [-5, 2**62])])
def test_names_of_nodes_stay_as_they_are_written(names, ids, tmp_path):
    root = write_one_type(tmp_path / "set", random_graph(seed=1, num_nodes=2), binary=False)
    write_lines(root / "mapping/nodeidx2id.csv.gz", "idx,idx", *(f"{i},{name}" for i, name in enumerate(names)))
    assert read_source(root).user_ids[NTYPE].of(0, 2) == ids


@pytest.mark.parametrize("name, lines, why", [
    ("nodeidx2id", ("0,a", "0,b", "1,c"), "its first column does not hold each of 0 to 2 once"),
    ("nodeidx2id", ("0,a", "1,b"), "has 2 names of nodes, expected 3"),
    ("nodeidx2id", ("0", "1", "2"), "not an array that can be read"),
    ("labelidx2name", ("0,a",), "has 1 names of classes, but there is a label")])
def test_names_that_do_not_fit_are_refused(name, lines, why, tmp_path):
    root = write_one_type(tmp_path / "set", random_graph(seed=1, num_nodes=3), binary=False)
    write_lines(root / f"mapping/{name}.csv.gz", "idx,name", *lines)
    with pytest.raises(DataError, match=f"{name}.csv.gz: {why}"):
        read_source(root)


BAD = {
    "edge.csv.gz: row 2: source 99 is not in 0..29": lambda r: write(
        r / "raw/relations/paper___cites___paper/edge.csv.gz", [[0, 0], [99, 1], *[[0, 0]] * 88]),
    "edge.csv.gz: has 1 edges, but num-edge-list.csv.gz says 90": lambda r: write(
        r / "raw/relations/paper___cites___paper/edge.csv.gz", [[0, 0]]),
    "edge.csv.gz: no such file": lambda r: (r / "raw/relations/paper___cites___paper/edge.csv.gz").unlink(),
    "edge_weight.csv.gz: paper:cites:paper: weight has shape (3,), expected one row for each of 90 edges":
        lambda r: write(r / "raw/relations/paper___cites___paper/edge_weight.csv.gz", np.ones(3)),
    "node-feat.csv.gz: not an array that can be read: CSV parse error: Row #2": lambda r: write_lines(
        r / "raw/node-feat/paper/node-feat.csv.gz", "1,2", "3"),
    "node-feat.csv.gz: column 2 holds string, expected numbers; row 2 has 'x'": lambda r: write_lines(
        r / "raw/node-feat/paper/node-feat.csv.gz", "1,2", "3,x"),
    "node-label.csv.gz: not an array that can be read": lambda r: (
        r / "raw/node-label/paper/node-label.csv.gz").write_bytes(b"no gzip"),
    "num-node-dict.csv.gz: row 2: 'many' is no number of 'author' nodes": lambda r: write_lines(
        r / "raw/num-node-dict.csv.gz", "paper,author,venue", "30,many,3"),
    "num-node-dict.csv.gz: has 3 rows, expected two": lambda r: write_lines(
        r / "raw/num-node-dict.csv.gz", "paper,author,venue", "30,16,3", "1,1,1"),
    "edge.csv.gz: the number of 'venue' nodes is not given": lambda r: write_lines(
        r / "raw/num-node-dict.csv.gz", "paper,author", "30,16"),
    "triplet-type-list.csv.gz: row 2 has 2 columns, expected 3": lambda r: write_lines(
        r / "raw/triplet-type-list.csv.gz", "paper,cites,paper", "author,writes"),
    "triplet-type-list.csv.gz: not a table that can be read": lambda r: (r / "raw/triplet-type-list.csv.gz").unlink(),
    "valid.csv.gz: row 2: 30 is not in 0..29": lambda r: write(r / "split/time/paper/valid.csv.gz", [1, 30]),
    "valid.csv.gz: has 2 columns, expected one id a line": lambda r: write(
        r / "split/time/paper/valid.csv.gz", [[1, 2], [3, 4]]),
    "test.csv.gz: no such file": lambda r: (r / "split/time/paper/test.csv.gz").unlink(),
    "holds several ways to split: other, time; leave one": lambda r: (r / "split/other").mkdir(),
    "split_dict.pt: splits are read from train.csv.gz": lambda r: [
        (r / "split/time/paper/split_dict.pt").touch(), (r / "split/time/paper/train.csv.gz").unlink()],
}


@pytest.mark.parametrize("why", BAD)
def test_an_ogb_folder_that_is_not_sound_is_refused_and_nothing_written(why, tmp_path):
    root = write_types(tmp_path / "set", random_hetero_graph(2), binary=False)
    BAD[why](root)
    with pytest.raises(DataError, match=re.escape(why)):
        partition_graph(root, tmp_path / "out", 2, "range")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_several_graphs_or_an_npz_without_its_arrays_are_refused(tmp_path):
    root = write_one_type(tmp_path / "set", random_graph(), binary=False)
    write(root / "raw/num-node-list.csv.gz", [20, 20])
    with pytest.raises(DataError, match="has 2 numbers, for as many graphs"):
        read_source(root)
    np.savez(root / "raw/data.npz", edge_index=np.zeros((2, 0), int))
    with pytest.raises(DataError, match="data.npz: num_nodes_list is missing; there are: edge_index"):
        read_source(root)
