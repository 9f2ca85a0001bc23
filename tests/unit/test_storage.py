"""Partitions on disk: what is written is read back, byte for byte the same each time, or not there at all."""

import os
import re
import resource
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_assignment, random_graph, random_hetero_graph
from mpignn.errors import ConfigError, DataError, IDError, ResourceError, UnknownName
from mpignn.graph.types import ETYPE, NTYPE, etype_key
from mpignn.large import scratch
from mpignn.storage import arrays, atomic, write
from mpignn.storage.check import check
from mpignn.storage.describe import describe
from mpignn.storage.read import GraphFile
from mpignn.storage.write import partition_graph, write_graph

files_reused = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 bytes, chunks of a few rows: what takes gigabytes happens with a few."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64)
    monkeypatch.setattr(write, "_CHUNK_EDGES", 7)
    monkeypatch.setattr(scratch, "_MOST_ROWS", 5)


def read_all(graph, name, lo=0, hi=None):
    info = graph.infos[name]
    hi = graph.num_rows(name) if hi is None else hi
    out = np.empty((hi - lo + name.endswith("/indptr")) * info.width, info.dtype)
    graph.read(name, lo, hi, out)
    return out.reshape(-1, *info.row_shape)


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    return path


@given(data=graphs(), num_parts=st.integers(1, 5))
@files_reused
def test_what_is_written_is_read_back_in_original_ids(data, num_parts, tmp_path, small_blocks):
    parts = random_assignment(data, num_parts)
    out = fresh(tmp_path / "g")
    write_graph(data, parts, num_parts, out)
    with GraphFile(out) as graph:
        orig = {t: read_all(graph, f"node/{t}/orig_id") for t in data.num_nodes}
        for ntype, named in data.node_data.items():
            assert np.array_equal(graph.new_ids(ntype)[orig[ntype]], np.arange(orig[ntype].size))
            assert np.array_equal(graph.book.nid2partid(np.arange(orig[ntype].size), ntype), parts[ntype][orig[ntype]])
            for name, array in named.items():
                found = read_all(graph, f"node/{ntype}/data/{name}")
                assert found.dtype == array.dtype and np.array_equal(found, array[orig[ntype]])
        for etype in data.csc:
            base = f"edge/{etype_key(etype)}"
            indptr, indices = read_all(graph, f"{base}/indptr"), read_all(graph, f"{base}/indices")
            assert indices.dtype == np.int32
            rows = [orig[etype[0]][indices[a:b]].tolist() for a, b in zip(indptr[:-1], indptr[1:], strict=True)]
            edges = edge_list(data, etype)
            assert rows == [[s for d, s, _ in edges if d == row] for row in orig[etype[2]]]
            orig_edges = np.array([i for row in orig[etype[2]] for d, _, i in edges if d == row], np.int64)
            assert np.array_equal(read_all(graph, f"{base}/data/weight"), data.edge_data[etype]["weight"][orig_edges])
            for name, ids in data.splits.get(etype_key(etype), {}).items():
                assert orig_edges[graph.split(etype_key(etype), name)].tolist() == ids.tolist()
        for ntype in data.num_nodes:
            assert graph.splits(ntype) == ("test", "train", "val")
            for name, ids in data.splits[ntype].items():
                assert orig[ntype][graph.split(ntype, name)].tolist() == ids.tolist()


@given(data=graphs(), num_parts=st.integers(1, 5), places=st.tuples(st.floats(0, 1), st.floats(0, 1)))
@files_reused
def test_any_stretch_of_rows_is_what_it_is_of_the_whole(data, num_parts, places, tmp_path, small_blocks):
    out = fresh(tmp_path / "g")
    write_graph(data, random_assignment(data, num_parts), num_parts, out)
    with GraphFile(out) as graph:
        for name in graph.infos:
            rows = graph.num_rows(name)
            lo, hi = sorted(int(p * rows) for p in places)
            extra = name.endswith("/indptr")
            for a, b in ((lo, hi), (lo, lo), (hi, rows), (rows, rows)):
                assert np.array_equal(read_all(graph, name, a, b), read_all(graph, name)[a:b + extra])
        for etype in data.csc:
            indptr = read_all(graph, f"edge/{etype_key(etype)}/indptr")
            assert [graph.edge_start(etype, row) for row in range(indptr.size)] == indptr.tolist()


@pytest.mark.parametrize("method", ["metis", "random", "range"])
def test_equal_input_gives_equal_bytes(method, tmp_path):
    data = random_hetero_graph(2, shuffled=True)
    reports = [partition_graph(data, tmp_path / name, 3, method) for name in "ab"]
    assert reports[0] == reports[1]
    names = sorted(os.listdir(tmp_path / "a"))
    assert names == ["graph.h5", "part-00000.h5", "part-00001.h5", "part-00002.h5"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_graph_id_is_of_the_content(tmp_path):
    base = random_graph(1)
    other = random_graph(1)
    other.node_data[NTYPE]["features"][7, 1] += 1
    ids = set()
    for name, data, parts in (("a", base, 2), ("b", other, 2), ("c", base, 3), ("d", random_graph(2), 2)):
        partition_graph(data, tmp_path / name, parts, "range")
        with GraphFile(tmp_path / name) as graph:
            ids.add(graph.graph_id)
    assert len(ids) == 4


def test_the_files_are_laid_out_as_documented(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    with h5py.File(tmp_path / "g" / "graph.h5") as file:
        assert set(file) == {"types", "arrays", "ranges", "map", "split", "report", "parts"}
        linked = file["parts/part-00001.h5/node/_N/data/features"]      # through the external link
        assert linked.chunks is None and linked.compression is None
        assert linked.attrs["crc32"].tolist() == [zlib.crc32(linked[()])]
        assert file["parts/part-00001.h5/edge/_N:_E:_N/indptr"][0] == file["ranges/edge/_N:_E:_N"][1]
        assert file["parts/part-00001.h5/edge/_N:_E:_N/indices"].dtype == np.int32
        assert file["split/_N/train"].dtype == file["map/_N"].dtype == np.int64


def test_the_folder_and_its_graph_file_are_the_same_graph(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    with GraphFile(tmp_path / "g") as a, GraphFile(tmp_path / "g" / "graph.h5") as b:
        assert (a.path, a.graph_id, a.infos) == (b.path, b.graph_id, b.infos)
        assert a.infos["node/_N/data/features"].row_shape == (3,) and a.infos["node/_N/data/features"].width == 3


def test_only_so_many_part_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.storage.read._OPEN_PARTS", 2)
    partition_graph(random_graph(1), tmp_path / "g", 7, "range")
    with GraphFile(tmp_path / "g") as graph:
        labels = read_all(graph, "node/_N/data/labels")
        assert np.array_equal(read_all(graph, "node/_N/data/labels"), labels) and len(graph._parts) == 2


def test_hdf5_is_asked_once_about_an_array_of_a_part(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("mpignn.storage.read.stored_array",
                        lambda *which: asked.append(which[1:]) or arrays.stored_array(*which))
    partition_graph(random_graph(1), tmp_path / "g", 3, "range")
    asked.clear()
    assert check(tmp_path / "g") == []
    of_parts = [which for which in asked if "part-" in which[0]]
    assert of_parts and len(set(of_parts)) == len(of_parts)


def test_all_types_of_numbers_are_kept_if_asked(tmp_path):
    data = random_graph(1, 10, 20)
    kinds = ("bool", "int8", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float32", "float64", ">f4")
    for number, dtype in enumerate(kinds):
        data.node_data[NTYPE][f"x{number}"] = np.arange(20).reshape(10, 2, 1).astype(dtype)
    partition_graph(data, tmp_path / "g", 3, "random", keep_dtype=True)
    with GraphFile(tmp_path / "g") as graph:
        orig = read_all(graph, "node/_N/orig_id")
        for number, dtype in enumerate(kinds):
            found = read_all(graph, f"node/_N/data/x{number}")
            assert found.dtype == np.dtype(dtype).newbyteorder("=") and found.shape == (10, 2, 1)
            assert np.array_equal(found, data.node_data[NTYPE][f"x{number}"][orig])


def test_names_and_rows_that_are_not_there_are_named(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    with GraphFile(tmp_path / "g") as graph:
        with pytest.raises(UnknownName, match="no split 'tran'; it has: test, train, val"):
            graph.split(NTYPE, "tran")
        with pytest.raises(UnknownName, match="features"):
            graph.read("node/_N/data/feat", 0, 1, np.empty(3, np.float32))
        with pytest.raises(IDError, match="rows 0..41 of node/_N/data/labels asked for, of 40"):
            graph.read("node/_N/data/labels", 0, 41, np.empty(41, np.int64))
        with pytest.raises(IDError, match="row 41"):
            graph.edge_start(ETYPE, 41)
        assert graph.splits("nothing") == ()


def damage(path, offset, length=1):
    raw = bytearray(path.read_bytes())
    for i in range(offset, offset + length):
        raw[i] ^= 0x10
    path.write_bytes(raw)


@pytest.mark.parametrize("name", ["edge/_N:_E:_N/indices", "edge/_N:_E:_N/indptr", "node/_N/data/features"])
def test_a_flipped_byte_is_found_on_reading_and_its_dataset_named(name, tmp_path, small_blocks):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    path = tmp_path / "g" / "part-00001.h5"
    with h5py.File(path) as file:
        offset = file[name].id.get_offset()
    damage(path, offset + 5)
    with GraphFile(tmp_path / "g") as graph, pytest.raises(DataError, match=f"part-00001.h5: {name}.*expected CRC-32"):
        read_all(graph, name)
    assert any(f"part-00001.h5: {name}" in problem for problem in check(tmp_path / "g"))


def test_every_bad_file_is_one_clear_data_error(tmp_path):
    for name, seed in (("g", 1), ("other", 2)):
        partition_graph(random_graph(seed, 40, 160), tmp_path / name, 3, "range")
    good = tmp_path / "g"

    def broken(change):
        bad = fresh(tmp_path / "bad")
        shutil.copytree(good, bad)
        change(bad)
        return bad

    def truncate(name, keep):
        return lambda g: os.truncate(g / name, int(os.path.getsize(g / name) * keep))

    def foreign(g):
        shutil.copy(tmp_path / "other" / "part-00001.h5", g / "part-00001.h5")

    def swapped(g):
        (g / "part-00001.h5").rename(g / "x")
        (g / "part-00002.h5").rename(g / "part-00001.h5")
        (g / "x").rename(g / "part-00002.h5")

    def schema(g):
        with h5py.File(g / "graph.h5", "r+") as file:
            file.attrs["schema"] = np.bytes_("mpignn/9")

    cases = [(lambda g: (g / "graph.h5").unlink(), "no such file"), (lambda g: shutil.rmtree(g), "no such file"),
             (lambda g: (g / "graph.h5").write_bytes(b"text"), "not an HDF5 file"),
             (lambda g: (g / "graph.h5").write_bytes(b""), "not an HDF5 file"),
             (lambda g: shutil.copy(g / "part-00000.h5", g / "graph.h5"), "no attribute num_parts"),
             (schema, "expected a graph file of schema 'mpignn/1', got one with schema 'mpignn/9'"),
             (truncate("graph.h5", 0.5), "graph.h5: cannot be read"),
             (lambda g: (g / "part-00002.h5").unlink(), "part-00002.h5: no such file, but the graph has 3 parts"),
             (truncate("part-00001.h5", 0.7), "part-00001.h5: expected [0-9]+ bytes, got"),
             (foreign, "part-00001.h5: .*(another graph)"), (swapped, "part-0000[12].h5: .*(another graph|bytes, got)")]
    for change, why in cases:
        bad = broken(change)
        with pytest.raises(DataError, match=why), GraphFile(bad) as graph:
            for name in graph.infos:
                read_all(graph, name)
        assert check(bad), why


def test_a_foreign_part_of_the_same_size_is_found(tmp_path):
    data = random_graph(1)
    partition_graph(data, tmp_path / "a", 2, "range")
    data.node_data[NTYPE]["features"][0] += 1
    partition_graph(data, tmp_path / "b", 2, "range")
    shutil.copy(tmp_path / "a" / "part-00001.h5", tmp_path / "b" / "part-00001.h5")
    with GraphFile(tmp_path / "b") as graph, pytest.raises(DataError, match="expected part 1 of graph .* got part 1"):
        read_all(graph, "node/_N/data/labels")


def test_out_that_exists_is_left_as_it_is(tmp_path):
    out = tmp_path / "g"
    out.mkdir()
    with pytest.raises(ConfigError, match="exists already"):
        partition_graph(random_graph(), out, 2)
    with pytest.raises(ConfigError, match="exists already"):
        write_graph(random_graph(), random_assignment(random_graph(), 1), 1, out)
    with pytest.raises(ConfigError, match="cannot create a folder there: No such file"):
        partition_graph(random_graph(), tmp_path / "missing" / "g", 2)
    assert os.listdir(tmp_path) == ["g"] and not os.listdir(out)


def test_an_interrupted_run_leaves_its_cut_alone(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "make_report", interrupt)
    with pytest.raises(KeyboardInterrupt):
        partition_graph(random_graph(), tmp_path / "g", 2)
    assert os.listdir(tmp_path) == [".g.assigned.npz"]


def test_what_does_not_verify_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "make_report", lambda *_: {"num_parts": 2})
    with pytest.raises(DataError, match="does not verify"):
        partition_graph(random_graph(), tmp_path / "g", 2)
    assert os.listdir(tmp_path) == []


def test_too_little_room_is_seen_before_anything_is_written(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ResourceError, match=r"needs \d+\.\d MB, but the disk has 0.0 MB free"):
        partition_graph(random_graph(), tmp_path / "g", 2)
    assert os.listdir(tmp_path) == []


FILL = """
import os, resource, sys
from graphs import random_graph
from mpignn.errors import ResourceError
from mpignn.storage.write import partition_graph
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)      # the system refuses as a full disk does
try:
    partition_graph(random_graph(1, 2000, 30000), sys.argv[1], 2, "range")
except ResourceError as error:
    print(error)
    print(os.listdir(os.path.dirname(sys.argv[1])))
"""


@pytest.mark.parametrize("limit", [100, 3000, 40_000, 150_000])
def test_a_disk_that_fills_up_while_writing_leaves_nothing(limit, tmp_path):
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "g"), str(limit)], capture_output=True, text=True,
                          cwd=os.path.dirname(os.path.dirname(__file__)), timeout=60)
    assert done.returncode == 0, done.stderr
    message, left = done.stdout.splitlines()
    assert "cannot be written: File too large" in message and left == "[]"
    assert os.listdir(tmp_path) == [] and resource.getrlimit(resource.RLIMIT_FSIZE)[0] != limit


def peak_kib(reset=False):
    """Peak of this process's resident memory since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def test_reading_makes_no_second_copy(tmp_path):
    data = random_graph(0, 1000, 10)
    data.node_data[NTYPE]["features"] = np.ones((1000, 40_000), np.float32)         # 160 MB: three blocks
    partition_graph(data, tmp_path / "g", 1, "range")
    with GraphFile(tmp_path / "g") as graph:
        out = np.full(40_000_000, 2, np.float32)
        before = peak_kib(reset=True)
        graph.read("node/_N/data/features", 0, 1000, out)
        assert peak_kib() - before < 8_000
        assert out.min() == out.max() == 1
        graph.read("node/_N/data/features", 1, 999, out[:998 * 40_000])                 # both ends through a buffer
        assert peak_kib() - before < 8_000 + (64 << 10)


def test_a_graph_is_described(tmp_path):
    partition_graph(random_hetero_graph(1), tmp_path / "g", 3, "random")
    text = describe(tmp_path / "g")
    for expected in ("3 partitions", "nodes paper: 30; features float32 [3]; labels int64", "nodes venue: 0",
                     "edges author:writes:paper: 90; weight float64", "split train", "edge cut"):
        assert expected in text
    partition_graph(random_graph(1), tmp_path / "many", 20, "random")
    assert "per partition 2 to 2, balance 1.000" in describe(tmp_path / "many")
