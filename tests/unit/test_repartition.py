"""A partitioned graph as the source of other partitions: the files are those that the first source would give."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_graph, random_hetero_graph
from mpignn.cli import main
from mpignn.errors import DataError
from mpignn.graph.types import NTYPE, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage import arrays, write
from mpignn.storage.forms import partitioned
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

files_reused = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 64 bytes, chunks of a few rows: what takes gigabytes happens with a few."""
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64)
    for module in (write, partitioned):
        monkeypatch.setattr(module, "_CHUNK_EDGES", 7)


def with_everything(data):
    """A graph with data of many types, splits of edges of each type, users' ids and names of classes."""
    rng = np.random.default_rng(data.num_nodes.get("paper", 0))
    node_data = {t: dict(named) | {"year": rng.integers(0, 99, (data.num_nodes[t], 2)).astype(">u4"),
                                   "exact": rng.standard_normal((data.num_nodes[t], 2)),
                                   "old": rng.random(data.num_nodes[t]) < 0.5} for t, named in data.node_data.items()}
    edge_data = {e: dict(named) | {"vector": rng.standard_normal((data.csc[e].num_edges, 2, 2))}
                 for e, named in data.edge_data.items()}
    splits = dict(data.splits) | {etype_key(e): {"train": some(rng, csc.num_edges), "val": some(rng, csc.num_edges)}
                                  for e, csc in data.csc.items()}
    user_ids = {t: UserIds.of_texts([f"{t} ä{i}" for i in range(n)]) if t == "author" else
                UserIds(rng.integers(1 << 63, (1 << 64) - 1, n, np.uint64)) for t, n in data.num_nodes.items()}
    first = next(iter(data.num_nodes))
    return replace(data, node_data=node_data, edge_data=edge_data, splits=splits, user_ids=user_ids,
                   class_names={first: {"labels": ("a", "bé", "c", "d")}},
                   tables={"keep_dtype": False, "means": [0.1, 1e-300], "of": {"é": None}})


def some(rng, count):
    return np.flatnonzero(rng.random(count) < 0.5)


def same_files(one: Path, other: Path) -> bool:
    names = [sorted(path.name for path in folder.iterdir()) for folder in (one, other)]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in names[0])


@given(data=graphs(), parts=st.tuples(st.integers(1, 5), st.integers(1, 5)), method=st.sampled_from(["random", "ldg"]),
       out_edges=st.booleans(), keep_dtype=st.booleans(), memory=st.sampled_from([None, 500]))
@files_reused
def test_partitioned_anew_is_as_the_source_partitioned(data, parts, method, out_edges, keep_dtype, memory,
                                                       tmp_path, small_blocks):
    for name in ("first", "again", "expected"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    data, (before, after) = with_everything(data), parts
    partition_graph(data, tmp_path / "first", before, "random", seed=1, keep_dtype=keep_dtype,
                    out_edges=not out_edges)
    partition_graph(tmp_path / "first", tmp_path / "again", after, method, seed=2, out_edges=out_edges,
                    memory=memory)
    partition_graph(data, tmp_path / "expected", after, method, seed=2, keep_dtype=keep_dtype, out_edges=out_edges)
    assert same_files(tmp_path / "again", tmp_path / "expected")


def test_all_methods_and_balances_cut_it_as_they_cut_the_source(tmp_path):
    data = with_everything(random_hetero_graph(4, 60, 240, shuffled=True))
    partition_graph(data, tmp_path / "first", 4, "random")
    for number, (method, balance) in enumerate((("metis", ()), ("kaminpar", ()), ("ldg", ("edges", "train", "types")),
                                                ("range", ()))):
        partition_graph(data, tmp_path / f"expected{number}", 3, method, balance=balance)
        partition_graph(tmp_path / "first/graph.h5", tmp_path / f"again{number}", 3, method, balance=balance)
        assert same_files(tmp_path / f"again{number}", tmp_path / f"expected{number}")


def test_without_a_number_of_parts_the_partitions_stay(tmp_path):
    data = with_everything(random_hetero_graph(2, shuffled=True))
    partition_graph(data, tmp_path / "first", 4, "random", seed=3)
    partition_graph(tmp_path / "first", tmp_path / "again")
    assert same_files(tmp_path / "first", tmp_path / "again")


def test_rows_that_were_in_no_order_come_in_neighbor_order(tmp_path):
    data = random_graph(1, shuffled=True)
    partition_graph(data, tmp_path / "g", 3, "random")
    found = read_source(tmp_path / "g")
    for etype in data.csc:
        ends = [edge[:2] for edge in edge_list(data, etype)]
        assert [edge[:2] for edge in edge_list(found, etype)] == ends
        numbers = [edge for *_, edge in edge_list(found, etype)]
        assert numbers == list(range(len(ends)))
        weights = data.edge_data[etype]["weight"][[edge for *_, edge in edge_list(data, etype)]]
        assert np.array_equal(found.edge_data[etype]["weight"][:], weights)


def test_rows_are_read_by_id_and_by_slice(tmp_path, small_blocks):
    data = random_graph(1)
    partition_graph(data, tmp_path / "g", 3, "random")
    rows, known = read_source(tmp_path / "g").node_data[NTYPE]["features"], data.node_data[NTYPE]["features"]
    assert np.array_equal(rows, known) and rows.nbytes == known.nbytes
    for some_rows in (slice(5, 17), slice(3, 3), np.array([7, 0, 7, 39]), np.array([], np.int64)):
        assert np.array_equal(rows[some_rows], known[some_rows])


def test_damage_is_found_before_anything_is_written(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    with GraphFile(tmp_path / "g") as graph:
        where = graph.stored("node/_N/data/features", 1)
    with open(where.path, "r+b") as file:
        file.seek(where.start())
        file.write(b"\1\2\3")
    with pytest.raises(DataError, match=r"part-00001.h5: node/_N/data/features: rows 0..19 are damaged"):
        partition_graph(tmp_path / "g", tmp_path / "again", 3)
    assert not (tmp_path / "again").exists()
    (tmp_path / "g/part-00000.h5").unlink()
    with pytest.raises(DataError, match=r"part-00000.h5: no such file, but the graph has 2 parts"):
        partition_graph(tmp_path / "g", tmp_path / "again", 3)


@pytest.mark.parametrize(("words", "code", "told"), [
    (["g", "out"], 0, ""), (["g", "out", "--out-edges"], 0, ""), (["g", "out", "--parts", "3"], 0, ""),
    (["source.npz", "out"], 2, "say into how many the graph shall be cut, as in --parts 4"),
    (["g", "out", "--method", "random"], 2, "method, seed and balance have no effect where partitions are kept"),
    (["g", "out", "--balance", "edges"], 2, "have no effect where partitions are kept"),
    (["g", "out", "--seed", "3"], 2, "have no effect where partitions are kept"),
    (["g", "out", "--on-unknown", "drop"], 2, "(on_unknown) has no effect for a folder that partition wrote"),
    (["g", "g/out"], 2, "g/out is in the folder of the partitioned graph"),
    (["source.npz", "g/out", "--parts", "2"], 2, "g/out is in the folder of the partitioned graph"),
    (["g", "out", "--keep-dtype"], 2, "--keep-dtype (keep_dtype) has no effect for a folder that partition wrote"),
    (["g", "out", "--keep-dtype", "--put", "size=size.npy"], 0, ""),
    (["g", "out", "--like", "g"], 2, "--like (like) has no effect for a folder that partition wrote"),
    (["g/part-00000.h5", "out", "--parts", "2"], 3, "part-00000.h5")])
def test_the_command_tells_what_cannot_be_meant(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("source.npz", src=np.array([0, 1]), dst=np.array([1, 0]))
    np.save("size.npy", np.array([[0.5], [1e300]]))         # float32 holds no such number
    partition_graph("source.npz", "g", 2)
    assert main(["partition", *words]) == code
    assert told in capsys.readouterr().err and Path("out").exists() == (code == 0)
