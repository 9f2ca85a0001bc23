"""What a stopped `partition` has read is taken up by the next one that would read the same, and by no other."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.large import disk
from mpignn.large.arrays import FileArray
from mpignn.large.scratch import Scratch
from mpignn.storage import kept_read, source_id, write
from mpignn.storage.forms import tables as forms
from mpignn.storage.write import partition_graph
from mpignn.tables import room
from mpignn.tables.room import Room
from random_tables import EDGES, write_tables
from threads_group import on_threads

OPTIONS = {"num_parts": 3, "method": "ldg", "seed": 1}
LEFT = ".g.read"


class Reads:
    """How often tables have been read."""

    def __init__(self, patch):
        self.count, built = 0, forms._built

        def count(*words):
            self.count += words[-1].group.rank == 0
            return built(*words)

        patch.setattr(forms, "_built", count)


@pytest.fixture
def reads(monkeypatch):
    return Reads(monkeypatch)


def tables_in(folder: Path, seed: int = 1, ending: str = ".csv") -> Path:
    folder.mkdir()
    return write_tables(folder, seed, ending, 60, 200, EDGES[seed % len(EDGES)], "texts")


def stop(*_):
    raise KeyboardInterrupt


def stopped_at(what: str, source: Path, out: Path, ranks: int = 1, **options) -> None:
    """Stop a command where it calls a function of `write`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, what, stop)
        with pytest.raises(KeyboardInterrupt):
            made(source, out, ranks, **options)


def made(source, out, ranks: int = 1, **options) -> None:
    def of_rank(group):
        partition_graph(source, out, group=group, **OPTIONS | options)
    if ranks == 1:
        of_rank(LocalGroup())
    else:
        on_threads(ranks, of_rank)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def beside(folder):
    """What lies there besides graphs and sources."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 6))])
@pytest.mark.parametrize(("before", "after", "memory"), [(1, 1, None), (1, 2, 20_000), (2, 1, 20_000), (3, 3, None)])
def test_the_same_command_takes_it_up_and_makes_the_same_bytes(tmp_path, reads, caplog, seed, before, after, memory,
                                                               monkeypatch):
    monkeypatch.setattr(kept_read, "_SMALL_BYTES", 100 * (seed % 2))
    if seed < 3:
        monkeypatch.setattr(room, "_FILE_BYTES", 0)
    source = tables_in(tmp_path / "tables", seed, [".csv", ".parquet"][seed % 2])
    made(source, tmp_path / "expected", 1)
    stopped_at("_relabeled", source, tmp_path / "g", before, memory=memory)
    assert beside(tmp_path) == [LEFT] and reads.count == 2
    stopped_at("_write", source, tmp_path / "g", after, memory=memory)
    assert beside(tmp_path) == [".g.assigned.npz", LEFT] and reads.count == 2
    assert f"{tmp_path / LEFT}: taken up" in caplog.text
    made(source, tmp_path / "g", after, memory=memory, out_edges=False)
    assert reads.count == 2 and files(tmp_path / "g") == files(tmp_path / "expected") and not beside(tmp_path)


def test_data_in_files_is_linked_to_and_no_array_is_passed_over_twice(tmp_path, monkeypatch):
    passes, links, crc = [], [], source_id._array_crc

    def counting(array, group):
        passes.append(array)        # held, so that no other has its id
        return crc(array, group)

    def linking(path, to, copies):
        links.append(path.name)
        os.link(path, to)

    monkeypatch.setattr(room, "_FILE_BYTES", 0)
    monkeypatch.setattr(source_id, "_array_crc", counting)
    monkeypatch.setattr(kept_read, "_link", linking)
    made(tables_in(tmp_path / "tables"), tmp_path / "g")
    assert links and len(passes) > len(links)
    assert len({id(array) for array in passes}) == len(passes)


def test_where_the_disk_has_little_room_data_stays_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "_FILE_BYTES", 0)
    kept = Room(Scratch(tmp_path, tmp_path / "g", LocalGroup(), 1000))
    assert isinstance(kept.lasting(np.float32, 5), FileArray)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 59}))
    assert isinstance(kept.lasting(np.float32, 5), np.ndarray)


def touched(source: Path) -> Path:
    table = next(path for path in sorted(source.parent.iterdir()) if path.suffix == ".csv")
    status = table.stat()
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    return source


def one_row_more(source: Path) -> Path:
    """In a table that has the time that it had."""
    table = source.parent / "cites.csv"
    lines, status = table.read_text().splitlines(), table.stat()
    table.write_text("\n".join([*lines, lines[-1]]) + "\n")
    os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
    return source


@pytest.mark.parametrize(("change", "options"), [
    (touched, {}), (one_row_more, {}), (lambda source: source, {"keep_dtype": True}),
    (lambda source: source, {"on_unknown": "drop"}), (lambda source: tables_in(source.parent.parent / "b", 2), {})],
    ids=["time", "size", "keep dtype", "on unknown", "other tables"])
def test_a_command_that_reads_something_else_does_not(tmp_path, reads, change, options):
    source = tables_in(tmp_path / "a")
    stopped_at("_relabeled", source, tmp_path / "g")
    made(change(source), tmp_path / "g", **options)
    assert reads.count == 2 and not beside(tmp_path)


def test_other_parts_may_be_made_of_it(tmp_path, reads):
    source = tables_in(tmp_path / "a")
    stopped_at("_relabeled", source, tmp_path / "g")
    made(source, tmp_path / "g", num_parts=2, method="random", out_edges=True)
    assert reads.count == 1 and not beside(tmp_path)
    made(source, tmp_path / "other", num_parts=2, method="random", out_edges=True)
    assert files(tmp_path / "g") == files(tmp_path / "other")


@pytest.mark.parametrize("harm", ["bytes", "shorter", "file", "contents", "name"])
def test_what_is_damaged_is_read_again(tmp_path, reads, harm):
    source = tables_in(tmp_path / "a")
    stopped_at("_relabeled", source, tmp_path / "g")
    largest = max((tmp_path / LEFT).glob("*.array"), key=lambda path: path.stat().st_size)
    contents = largest.with_name("contents.json")
    if harm == "bytes":
        largest.write_bytes(bytes([largest.read_bytes()[0] ^ 1]) + largest.read_bytes()[1:])
    elif harm == "shorter":
        largest.write_bytes(largest.read_bytes()[:-1])
    elif harm == "file":
        largest.unlink()
    elif harm == "contents":
        contents.write_text(contents.read_text()[:-10])
    else:
        contents.unlink()
    made(source, tmp_path / "g")
    assert reads.count == 2 and not beside(tmp_path)
    made(source, tmp_path / "expected")
    assert files(tmp_path / "g") == files(tmp_path / "expected")


def test_a_table_that_changes_while_it_is_read_is_not_kept(tmp_path, monkeypatch):
    source = tables_in(tmp_path / "a")
    read = write.read_source

    def changing(*words, **options):
        found = read(*words, **options)
        touched(source)
        return found

    monkeypatch.setattr(write, "read_source", changing)
    stopped_at("_relabeled", source, tmp_path / "g")
    assert not beside(tmp_path)


def test_nothing_is_left_by_an_error(tmp_path):
    source = tables_in(tmp_path / "a")
    stopped_at("_relabeled", source, tmp_path / "g")
    (tmp_path / "parts").write_text("0\n")
    with pytest.raises(DataError, match="expected one partition for each of"):
        made(source, tmp_path / "g", method=tmp_path / "parts", seed=0)
    assert not beside(tmp_path)


@pytest.mark.parametrize(("wrong", "says"), [({"method": "range"}, "seed has no effect"), ({"num_parts": 0}, "parts"),
                                             ({"method": "nosuch"}, "neither a file"), ({"balance": ["x"]}, "'x'"),
                                             ({"seed": -1}, "seed is -1")])
def test_what_is_wrong_without_a_look_at_the_graph_is_told_before_it_is_read(tmp_path, reads, wrong, says):
    source = tables_in(tmp_path / "a")
    with pytest.raises(ConfigError, match=says):
        made(source, tmp_path / "g", **wrong)
    assert reads.count == 0 and not beside(tmp_path)


def test_chunks_of_dgl_are_kept_unless_one_has_changed(tmp_path, monkeypatch):
    source, read, reads = tmp_path / "a", write.read_source, []
    source.mkdir()
    np.save(source / "cites.npy", np.arange(20).reshape(10, 2))
    (source / "metadata.json").write_text(json.dumps({
        "node_type": ["p"], "num_nodes_per_chunk": [[20]], "edge_type": ["p:cites:p"], "num_edges_per_chunk": [[10]],
        "edges": {"p:cites:p": {"format": {"name": "numpy"}, "data": ["cites.npy"]}}}))
    monkeypatch.setattr(write, "read_source", lambda *words, **more: reads.append(1) or read(*words, **more))
    for count in 1, 1:
        stopped_at("_write", source, tmp_path / "g")
        assert len(reads) == count and LEFT in beside(tmp_path)
    os.utime(source / "cites.npy", ns=(0, 0))
    made(source, tmp_path / "g")
    assert len(reads) == 2 and not beside(tmp_path)


def test_folders_of_the_users_and_sources_that_take_no_time_are_let_be(tmp_path, reads):
    source = tables_in(tmp_path / "a")
    (tmp_path / LEFT).mkdir()
    (tmp_path / LEFT / "mine").write_text("as it is")
    made(source, tmp_path / "g")
    assert files(tmp_path / LEFT) == {"mine": b"as it is"}
    arrays = tmp_path / "arrays"
    arrays.mkdir()
    for name in "src", "dst":
        np.save(arrays / f"{name}.npy", np.arange(50))
    stopped_at("_write", arrays, tmp_path / "h")
    assert beside(tmp_path) == [LEFT, ".h.assigned.npz"]


def test_where_files_have_one_name_each_they_are_copied(tmp_path, reads, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    source = tables_in(tmp_path / "a")
    stopped_at("_relabeled", source, tmp_path / "g", 2)
    made(source, tmp_path / "g", 2)
    made(source, tmp_path / "expected")
    assert reads.count == 2 and files(tmp_path / "g") == files(tmp_path / "expected") and beside(tmp_path) == []


def test_where_there_is_no_room_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_read.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    source = tables_in(tmp_path / "a")
    monkeypatch.setattr(write, "check_space", lambda *_: None)
    stopped_at("_relabeled", source, tmp_path / "g")
    assert not beside(tmp_path)
