"""Copies of part files: whole or not at all, and read instead of the files that they are copies of."""

import os
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import graphs, random_assignment, random_graph
from mpignn import stop
from mpignn.errors import ConfigError, DataError, ResourceError, Stopped
from mpignn.graph.types import NTYPE
from mpignn.storage import atomic
from mpignn.storage.read import GraphFile
from mpignn.storage.stage import folder_meant, stage, staged
from mpignn.storage.write import partition_graph, write_graph
from mpignn.store.cut import array_specs, parts_of


@pytest.fixture
def graph(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 3, "random")
    return tmp_path / "g"


def copies_of(graph, folder, parts=(0, 1, 2)):
    with GraphFile(graph) as file:
        return staged(folder, file.graph_id, parts)


def features(graph, copies=None):
    with GraphFile(graph, staged=copies) as file:
        rows = np.empty(40 * 3, np.float32)
        file.read("node/_N/data/features", 0, 40, rows)
    return rows


def test_what_is_asked_for_is_copied_once(graph, tmp_path):
    stage(graph, tmp_path / "new" / "local", [0, 2])
    copies = copies_of(graph, tmp_path / "new" / "local")
    assert [path.is_file() for path in copies.values()] == [True, False, True]
    for part in (0, 2):
        assert copies[part].read_bytes() == (graph / f"part-{part:05d}.h5").read_bytes()
        os.utime(copies[part], (1, 1))
    copies[2].write_bytes(b"another size")
    stage(graph / "graph.h5", tmp_path / "new" / "local", [0, 1, 2])
    assert copies[0].stat().st_mtime == 1 and copies[1].is_file()
    assert copies[2].read_bytes() == (graph / "part-00002.h5").read_bytes()
    assert len(list(copies[0].parent.iterdir())) == 3


def test_copies_are_read_and_told_of_where_they_are_damaged(graph, tmp_path):
    known = features(graph)
    stage(graph, tmp_path, [1])
    copies = copies_of(graph, tmp_path, [1])
    (graph / "part-00001.h5").write_bytes(bytes((graph / "part-00001.h5").stat().st_size))
    with pytest.raises(DataError, match="part-00001.h5: not an HDF5 file"):
        features(graph)
    np.testing.assert_array_equal(features(graph, copies), known)
    with GraphFile(graph, staged=copies) as file:
        where = file.stored("node/_N/data/features", 1)
    with open(where.path, "r+b") as file:
        file.seek(where.start())
        file.write(b"\1\2\3")
    with pytest.raises(DataError, match=rf"{copies[1]}: node/_N/data/features: rows .* are damaged: .*; remove it"):
        features(graph, copies)
    data = random_graph(1)
    data.node_data[NTYPE]["labels"][:] = 0
    partition_graph(data, tmp_path / "other", 3, "random")
    with pytest.raises(DataError, match=rf"{copies[1]}: expected part 1 of graph .*; remove it, and the next job"):
        features(tmp_path / "other", copies)


def test_a_damaged_file_is_not_copied(graph, tmp_path):
    content = bytearray((graph / "part-00001.h5").read_bytes())
    content[-1] ^= 1
    (graph / "part-00001.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"g/part-00001.h5: expected CRC-32 \w+ of the file, got"):
        stage(graph, tmp_path / "local", [0, 1])
    copies = copies_of(graph, tmp_path / "local")
    assert [path.name for path in copies[0].parent.iterdir()] == ["part-00000.h5"]
    (graph / "part-00001.h5").unlink()
    with pytest.raises(DataError, match="part-00001.h5: no such file"):
        stage(graph, tmp_path / "local", [0])


def test_where_nothing_can_be_written_is_told(graph, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file: cannot copy part files there: Not a directory|File exists"):
        stage(graph, tmp_path / "file", [0])
    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="but the disk has 0.0 MB free"):
        stage(graph, tmp_path / "local", [0])
    shutil.rmtree(tmp_path / "local")
    stage(graph, tmp_path / "local", [])
    assert not (tmp_path / "local").exists()


def test_a_wish_to_stop_leaves_no_file(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(stop, "wish", lambda: "time limit")
    with pytest.raises(Stopped):
        stage(graph, tmp_path / "local", [0])
    assert [*(tmp_path / "local").rglob("*.h5")] == [*(tmp_path / "local").rglob(".*")] == []


@given(data=graphs(), num_parts=st.integers(1, 5), num_servers=st.integers(1, 6))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_server_needs_the_parts_that_it_has_rows_of(data, num_parts, num_servers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "g"
    write_graph(data, random_assignment(data, num_parts), num_parts, folder, out_edges=True)
    with GraphFile(folder) as file:
        specs = array_specs(file.book, file.served.values(), num_servers, file.edge_start)
        for server in range(num_servers):
            expected = set()
            for spec in specs:
                if file.served[spec.name] == file.infos.get(spec.name):
                    for row in range(*spec.bounds[server:server + 2]):
                        key = spec.name.split("/")
                        ranges = file.book.node_ranges[key[1]] if key[0] == "node" else None
                        if ranges is None:
                            etype = tuple(key[1].split(":"))
                            ranges = (file.book.node_ranges[etype[0 if key[0] == "out" else 2]] if key[2] == "indptr"
                                      else (file.book.out_ranges if key[0] == "out" else file.book.edge_ranges)[etype])
                        expected.add(sum(int(row >= end) for end in ranges[1:]))
            assert parts_of(specs, file.book, server) == expected


def test_a_variable_of_the_node_may_name_the_folder(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH_OF_NODE", str(tmp_path / "own"))
    assert folder_meant("$SCRATCH_OF_NODE/graphs") == tmp_path / "own" / "graphs"
    with pytest.raises(ConfigError, match=r"--stage \$NOT_SET/g: a variable in it is not set on"):
        stage(graph, folder_meant("$NOT_SET/g"), [0])
