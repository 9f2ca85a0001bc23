"""Folders in DGL's chunked format: what they become, and what is refused."""

import json
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import as_stored, ends, graphs, masks, random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.types import etype_key
from mpignn.storage.check import check
from mpignn.storage.source_id import source_id
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph


def write_array(path: Path, array: np.ndarray, form: str) -> dict:
    """Write a file as DGL's own tools do, and return the format as metadata says it."""
    if form == "numpy":
        np.save(path, array)
        return {"name": "numpy"}
    rows = array.reshape(len(array), int(np.prod(array.shape[1:])))
    if form == "parquet":
        table = pa.table({str(i): column for i, column in enumerate(rows.T)})
        parquet.write_table(table.replace_schema_metadata({"shape": str(array.shape)}), path)
        return {"name": "parquet"}
    lines = [" ".join(str(entry) for entry in row) + "\n" for row in rows.tolist()]
    path.write_text("".join(lines))
    return {"name": "csv", "delimiter": " "}


def write_chunked(folder: Path, data, chunks: int, form: str, absolute: bool = False) -> Path:
    """Write a graph in chunks of as equal a size as there can be."""
    def sizes(count):
        return [count // chunks + (i < count % chunks) for i in range(chunks)]

    def spec(name, array, form):
        paths, bounds = [], np.cumsum([0, *sizes(len(array))])
        for i in range(chunks):
            path = folder / f"{name.replace('/', '-')}-{i}"
            path = path.with_name(path.name + ".npy") if form == "numpy" else path
            style = write_array(path, array[bounds[i]:bounds[i + 1]], form)
            paths.append(str(path) if absolute else path.name)
        return {"format": style, "data": paths}

    folder.mkdir(exist_ok=True)
    usual = {"features": "feat", "labels": "label"}
    keys = {etype_key(e): csc.num_edges for e, csc in data.csc.items()}
    meta = {"graph_name": "g", "node_type": list(data.num_nodes), "edge_type": list(keys),
            "num_nodes_per_chunk": [sizes(n) for n in data.num_nodes.values()],
            "num_edges_per_chunk": [sizes(n) for n in keys.values()],
            "edges": {etype_key(e): spec(f"edges-{etype_key(e)}", np.stack(ends(data, e), axis=1),
                                         form) for e in data.csc}}
    meta["node_data"] = {
        t: {usual.get(name, name): spec(f"{t}-{name}", array, "numpy" if form == "csv" else form) for name, array in
            (dict(named) | masks(data, t, data.num_nodes[t])).items()} for t, named in data.node_data.items()}
    meta["edge_data"] = {
        etype_key(e): {name: spec(f"{etype_key(e)}-{name}", array, form) for name, array in
                       (dict(named) | masks(data, etype_key(e), keys[etype_key(e)])).items()}
        for e, named in data.edge_data.items()}
    (folder / "metadata.json").write_text(json.dumps(meta))
    return folder


@given(graphs(max_nodes=9, max_edges=20), st.integers(1, 4), st.sampled_from(["csv", "numpy", "parquet"]),
       st.booleans())
def test_all_of_a_chunked_graph_comes_back(data, chunks, form, absolute):
    with tempfile.TemporaryDirectory() as folder:
        found = read_source(write_chunked(Path(folder) / "graph", data, chunks, form, absolute))
        expected = as_stored(data)
        assert found.schema == expected.schema and dict(found.num_nodes) == dict(expected.num_nodes)
        for etype in expected.csc:
            assert all(map(np.array_equal, ends(found, etype), ends(expected, etype)))
            assert np.array_equal(found.edge_data[etype]["weight"], expected.edge_data[etype]["weight"])
        for ntype, named in expected.node_data.items():
            assert all(np.array_equal(found.node_data[ntype][name], array) for name, array in named.items())
        for key, named in expected.splits.items():
            assert all(np.array_equal(found.splits[key][name], ids) for name, ids in named.items())
        if form != "csv":       # text does not tell which type numbers have where there are none
            assert source_id(found) == source_id(expected)


def test_a_chunked_graph_is_partitioned(tmp_path):
    partition_graph(write_chunked(tmp_path / "chunks", random_hetero_graph(2), 3, "csv"), tmp_path / "out", 2, "range")
    assert check(tmp_path / "out") == []


@pytest.mark.parametrize("described, metadata", [(True, '{"node_type": []}'), (False, '{"made by": "me"}'),
                                                 (False, "[]")])
def test_metadata_of_another_program_leaves_a_folder_of_tables_to_its_owner(described, metadata, tmp_path):
    (tmp_path / "metadata.json").write_text(metadata)
    (tmp_path / "edges.csv").write_text("src,dst\n0,1\n1,2\n")
    if described:
        (tmp_path / "graph.toml").write_text('[nodes.a]\n[edges."a:to:a"]\nfiles = "edges.csv"\n'
                                             'src = "src"\ndst = "dst"\n')
    assert [csc.num_edges for csc in read_source(tmp_path).csc.values()] == [2]


def test_lists_in_parquet_are_rows(tmp_path):
    folder = write_chunked(tmp_path / "chunks", random_hetero_graph(2), 1, "parquet")
    rows = np.arange(60.0).reshape(30, 2)
    parquet.write_table(pa.table({"feat": rows.tolist()}), folder / "paper-features-0")
    assert np.array_equal(read_source(folder).node_data["paper"]["features"], rows)


def test_ends_may_be_unsigned_and_a_type_without_nodes_may_have_no_files(tmp_path):
    data = random_hetero_graph(2)
    folder = write_chunked(tmp_path / "chunks", data, 2, "numpy")
    for path in folder.glob("edges-*.npy"):
        np.save(path, np.load(path).astype(np.uint64))
    meta = json.loads((folder / "metadata.json").read_text())
    meta["node_type"].append("shop")
    meta["num_nodes_per_chunk"].append([])
    meta["node_data"]["shop"] = {"feat": {"format": {"name": "numpy"}, "data": []}}
    (folder / "metadata.json").write_text(json.dumps(meta))
    found = read_source(folder)
    assert all(np.array_equal(ends(found, e), ends(data, e)) for e in data.csc) and found.num_nodes["shop"] == 0


def edges_file(folder):
    return folder / "edges-author:writes:paper-1"


def set_meta(*path, to):
    """A change of one place of the metadata; None takes it away."""
    def change(folder):
        file = folder / "metadata.json"
        meta = json.loads(file.read_text())
        place = meta
        for key in path[:-1]:
            place = place[key]
        if to is None:
            del place[path[-1]]
        else:
            place[path[-1]] = to
        file.write_text(json.dumps(meta))
    return change


BAD = {
    "edges-author:writes:paper-1: row 2: source 99 is not in 0..15": lambda f: edges_file(f).write_text(
        "0 0\n99 1\n" + "0 0\n" * 43),
    "edges-author:writes:paper-1: row 1: destination -1 is not in 0..29": lambda f: edges_file(f).write_text(
        "0 -1\n" + "0 0\n" * 44),
    "edges-author:writes:paper-1: has 2 rows, but": lambda f: edges_file(f).write_text("0 0\n0 1\n"),
    "edges-author:writes:paper-1: not an array that can be read: CSV parse error: Row #2: Expected 2 columns, got 1":
        lambda f: edges_file(f).write_text("0 0\n1\n"),
    "edges-author:writes:paper-1: column 2 holds string, expected numbers; row 2 has 'x'":
        lambda f: edges_file(f).write_text("0 0\n1 x\n"),
    "edges-author:writes:paper-1: expected rows of two whole numbers, source and destination, got float64":
        lambda f: edges_file(f).write_text("0 0.5\n" * 45),
    "edges-author:writes:paper-1: no such file": lambda f: edges_file(f).unlink(),
    "edges-author:writes:paper-1: not a file": lambda f: (edges_file(f).unlink(), edges_file(f).mkdir()),
    "paper-features-0.npy: not an array that can be read": lambda f: (f / "paper-features-0.npy").write_text("x"),
    "paper-features-1.npy: not an array that can be read: it holds several": lambda f: (
        np.savez(f / "several.npz", a=np.ones(15)), (f / "several.npz").rename(f / "paper-features-1.npy")),
    "paper-features-1.npy: has rows of shape (2,), but those of": lambda f: np.save(f / "paper-features-1.npy",
                                                                                   np.ones((15, 2))),
    "node_data/paper/feat: its 2 files have 16 rows, expected 30": lambda f: np.save(f / "paper-features-1.npy",
                                                                                   np.ones((1, 3))),
    "metadata.json: edges/author:writes:paper is missing": set_meta("edges", "author:writes:paper", to=None),
    "metadata.json: node_type must be a list of names": set_meta("node_type", to="paper"),
    "num_nodes_per_chunk must be a list with a list of numbers for each node_type":
        set_meta("num_nodes_per_chunk", to=[[1, 2]]),
    "name must be csv, numpy or parquet, got 'orc'": set_meta("edges", "author:writes:paper", "format", "name",
                                                              to="orc"),
    "delimiter must be one character of ASCII, got 'é'": set_meta("edges", "author:writes:paper", "format",
                                                                  "delimiter", to="é"),
    "delimiter must be one character": set_meta("edges", "author:writes:paper", "format", "delimiter", to=""),
    "data must be a list of files": set_meta("edges", "author:writes:paper", "data", to="file"),
    "node_data is given for 'shop', which is not in node_type": set_meta("node_data", "shop", to={}),
    "edge type 'author:writes:paper': 'author' is not in node_type": set_meta("node_type", 1, to="shop"),
    "not metadata of DGL's chunked format that can be read": lambda f: (f / "metadata.json").write_text("{"),
    "edges must be an object, got list": set_meta("edges", to=[1]),
}


@pytest.mark.parametrize("why", BAD)
def test_a_chunked_graph_that_is_not_sound_is_refused_and_nothing_written(why, tmp_path):
    folder = write_chunked(tmp_path / "chunks", random_hetero_graph(2), 2, "csv")
    BAD[why](folder)
    with pytest.raises(DataError, match=re.escape(why)):
        partition_graph(folder, tmp_path / "out", 2, "range")
    assert [path.name for path in tmp_path.iterdir()] == ["chunks"]


@pytest.mark.parametrize("table, why", [
    (pa.table({"a": [[1.0], [1.0, 2.0]]}), "column 1 holds lists of different lengths: [1, 2]"),
    (pa.table({"a": ["x", "y"]}), "column 1 holds string, expected numbers; row 1 has 'x'"),
    (pa.table({"a": [1, 2]}).replace_schema_metadata({"shape": "(3,)"}), "holds 2 numbers, but notes the shape (3,)")])
def test_a_parquet_file_that_is_no_array_is_refused(table, why, tmp_path):
    folder = write_chunked(tmp_path / "chunks", random_hetero_graph(2), 1, "parquet")
    parquet.write_table(table, folder / "paper-features-0")
    with pytest.raises(DataError, match=re.escape(f"paper-features-0: {why}")):
        read_source(folder)
