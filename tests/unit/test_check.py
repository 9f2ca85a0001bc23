"""`check` finds whatever is changed on disk, and content that could not have been written."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from graphs import random_graph, random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.types import etype_key
from mpignn.storage.array_writers import write_array
from mpignn.storage.arrays import file_crc
from mpignn.storage.check import check
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import HEAD_BYTES, head_line
from mpignn.storage.write import partition_graph


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "g"
    partition_graph(random_hetero_graph(2, 20, 40), path, 3, "random")
    return path


def content(path: Path) -> dict[str, bytes]:
    """Everything that can be read of a graph."""
    found = {}
    with GraphFile(path) as graph:
        found["metadata"] = repr((graph.graph_id, graph.schema, graph.infos, graph.report,
                                  graph.book.node_ranges, graph.book.edge_ranges)).encode()
        for name, info in graph.infos.items():
            out = np.empty((graph.num_rows(name) + name.endswith("/indptr")) * info.width, info.dtype)
            graph.read(name, 0, graph.num_rows(name), out)
            found[name] = out.tobytes()
        for ntype in graph.schema.ntypes:
            found[f"map/{ntype}"] = graph.new_ids(ntype).tobytes()
        for key in (*graph.schema.ntypes, *map(etype_key, graph.schema.etypes)):
            for name in graph.splits(key):
                found[f"split/{key}/{name}"] = graph.split(key, name).tobytes()
    return found


def mutate(path: Path, rng: np.random.Generator) -> str:
    """Change one file in one way; returns what was done."""
    file = rng.choice(sorted(path.iterdir()))
    raw = bytearray(file.read_bytes())
    place = int(rng.integers(len(raw)))
    kind = rng.choice(["flip", "flip", "byte", "zero", "cut", "grow"])
    if kind == "flip":
        raw[place] ^= 1 << int(rng.integers(8))
    elif kind == "byte":
        raw[place] = (raw[place] + int(rng.integers(1, 256))) % 256
    elif kind == "zero":
        if not any(raw[place:place + 64]):
            raw[place] = 1
        else:
            raw[place:place + 64] = bytes(len(raw[place:place + 64]))
    elif kind == "cut":
        del raw[place:]
    else:
        raw += bytes(rng.integers(1, 100))
    file.write_bytes(raw)
    return f"{kind} {file.name} at {place}"


def test_a_sound_graph_has_no_problem(sound):
    assert check(sound) == check(sound / "graph.h5") == []


@pytest.mark.long
@pytest.mark.parametrize("first", range(0, 1000, 25))
def test_whatever_changes_on_disk_is_found(first, sound, tmp_path):
    expected = content(sound)
    for seed in range(first, first + 25):
        path = tmp_path / "mutated"
        shutil.copytree(sound, path)
        done = mutate(path, np.random.default_rng(seed))
        assert check(path), f"seed {seed}: {done} is not found by check"
        try:
            found = content(path)
        except DataError:
            pass                                # any other error would end the test
        else:
            assert found == expected, f"seed {seed}: {done} changed what is read"
        shutil.rmtree(path)


def forge(path: Path, name: str, change, part: int | None = None) -> None:
    """Change a dataset and all checksums with it, as only a bug in what writes could."""
    file_name = "graph.h5" if part is None else f"part-{part:05d}.h5"
    with h5py.File(path / file_name, "r+") as file:
        rows = file[name][()]
        change(rows)
        del file[name]
        write_array(file, name, rows, file_dtype(rows))
    with h5py.File(path / "graph.h5", "r+") as file:
        for array, of in (("parts/bytes", lambda p: p.stat().st_size), ("parts/crc32", file_crc)):
            rows = np.array([of(p) for p in sorted(path.glob("part-*.h5"))], file[array].dtype)
            del file[array]
            write_array(file, array, rows)
    with open(path / "graph.h5", "r+b") as raw:
        raw.write(head_line(file_crc(path / "graph.h5", HEAD_BYTES)))


def file_dtype(rows):
    return h5py.string_dtype("utf-8", rows.dtype.itemsize) if rows.dtype.kind == "S" else rows.dtype


def put(place, value):
    def change(rows):
        rows[place] = value
    return change


def swap(a, b):
    def change(rows):
        rows[[a, b]] = rows[[b, a]]
    return change


def reverse(rows):
    rows[:] = rows[::-1].copy()


def replace_text(old, new):
    def change(rows):
        assert old in rows[0]
        rows[0] = rows[0].replace(old, new)
    return change


EDGE = "edge/_N:_E:_N"
FORGED = [
    (f"{EDGE}/indices", put(3, 40), 1, "has the source 40, but there are 40"),
    (f"{EDGE}/indices", put(3, -1), 0, "has the source -1, but there are 40"),
    (f"{EDGE}/indices", reverse, 0, "not in order of original id"),
    (f"{EDGE}/indptr", put(1, 10**6), 0, "indptr falls at row 1"),
    (f"{EDGE}/indptr", put(0, 1), 1, "indptr does not agree with the ranges of edges"),
    ("node/_N/orig_id", swap(0, 1), 0, "orig_id and map are not inverse permutations"),
    ("node/_N/orig_id", put(0, 40), 0, "orig_id has ids outside 0..39"),
    ("node/_N/orig_id", put(0, 1), 0, "orig_id and map are not inverse permutations"),
    ("map/_N", swap(0, 1), None, "orig_id and map are not inverse permutations"),
    ("map/_N", put(0, 77), None, "orig_id and map are not inverse permutations"),
    ("split/_N/train", put(0, 40), None, "split/_N/train has ids outside 0..39"),
    ("split/_N/train", swap(0, 1), None, "split/_N/train is not in order of original id"),
    (f"split/{EDGE[5:]}/train", lambda rows: put(0, rows[1])(rows), None, "train has an id twice"),
    ("ranges/node/_N", put(1, 41), None, "ranges must ascend from 0"),
    ("ranges/node/_N", put(1, 19), None, "expected int64 .19,., got int64 .20,."),
    ("ranges/edge/_N:_E:_N", lambda rows: put(1, rows[1] + 1)(rows), None, "weight: expected float64"),
    ("report", replace_text(b'"cut": ', b'"cut":1'), None, "report's edges/_N:_E:_N/cut is not what the edges give"),
    ("report", replace_text(b'"halo": [', b'"halo":[9'), None, "report's nodes/_N/halo is not what"),
    ("report", replace_text(b'"overlap"', b'"overlop"'), None, "report's form is not what"),
]


@pytest.mark.parametrize("name, change, part, problem", FORGED, ids=[f"{n}-{p}" for n, _, _, p in FORGED])
def test_content_that_could_not_have_been_written_is_a_problem(name, change, part, problem, tmp_path):
    path = tmp_path / "g"
    partition_graph(random_graph(4), path, 2, "range")
    forge(path, name, change, part)
    problems = check(path)
    assert any(problem in found.replace("(", ".").replace(")", ".") for found in problems), problems
    assert not any("CRC" in found or "checksum" in found for found in problems), problems


def test_forging_nothing_leaves_a_sound_graph(tmp_path):
    path = tmp_path / "g"
    partition_graph(random_graph(4), path, 2, "range")
    for name, part in ((f"{EDGE}/indices", 0), ("map/_N", None), ("report", None)):
        forge(path, name, lambda rows: None, part)
    assert check(path) == []


def test_each_damaged_file_is_listed(tmp_path):
    path = tmp_path / "g"
    partition_graph(random_graph(4), path, 3, "range")
    for part in (0, 2):
        with h5py.File(path / f"part-{part:05d}.h5") as file:
            offset = file["node/_N/data/features"].id.get_offset()
        with open(path / f"part-{part:05d}.h5", "r+b") as raw:
            raw.seek(offset)
            raw.write(b"\xff\xfe\xfd")
    problems = "\n".join(check(path))
    for part in (0, 2):
        assert f"part-{part:05d}.h5: expected CRC-32" in problems
        assert f"part-{part:05d}.h5: node/_N/data/features: rows 0..1" in problems
    assert "part-00001" not in problems


def test_what_is_no_graph_is_one_problem(tmp_path):
    (tmp_path / "text").write_text("text")
    for path, why in ((tmp_path / "missing", "no such file"), (tmp_path, "no such file"),
                      (tmp_path / "text", "not an HDF5 file")):
        assert any(why in problem for problem in check(path))


def test_every_damaged_part_is_listed(tmp_path):
    partition_graph(random_graph(3), tmp_path / "graph", 4, "random")
    parts = sorted((tmp_path / "graph").glob("part-*.h5"))
    parts[0].unlink()
    for path in parts[1:3]:
        os.truncate(path, path.stat().st_size // 2)
    problems = check(tmp_path / "graph")
    for path in parts[:3]:
        assert any(str(path) in problem for problem in problems), path
    assert not any(str(parts[3]) in problem for problem in problems)
