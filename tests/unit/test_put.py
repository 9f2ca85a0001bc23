"""Arrays put into a graph while it is partitioned: as if the source had had them."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_graph, random_hetero_graph
from mpignn.cli import main
from mpignn.errors import ConfigError, DataError
from mpignn.graph.types import NTYPE, etype_key
from mpignn.storage.check import check
from mpignn.storage.read import GraphFile
from mpignn.storage.sources import read_source
from mpignn.storage.write import partition_graph

files_reused = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def same_but_for_source_id(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.glob("part-*.h5"))
    parts = all((one / name).read_bytes() == (other / name).read_bytes() for name in names)
    with GraphFile(one) as first, GraphFile(other) as second:
        return parts and first.graph_id == second.graph_id and first.report == second.report


@given(data=graphs(), parts=st.tuples(st.integers(1, 4), st.integers(1, 4)), seed=st.integers(0, 99))
@files_reused
def test_what_is_put_stands_as_if_the_source_had_had_it(data, parts, seed, tmp_path):
    for name in ("first", "again", "expected"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    rng = np.random.default_rng(seed)
    ntype, etype = next(iter(data.num_nodes)), list(data.csc)[-1]
    count, order = data.num_nodes[ntype], [edge for *_, edge in edge_list(data, etype)]
    features, labels, masked = rng.standard_normal((count, 2)), rng.integers(0, 9, count), rng.random(count) < 0.5
    weight = rng.random(data.csc[etype].num_edges)
    put = {f"node/{ntype}/features": features, f"node/{ntype}/labels": labels, f"node/{ntype}/year": labels,
           f"split/{ntype}/train": masked, f"split/{ntype}/more": rng.permutation(np.flatnonzero(masked)),
           f"edge/{etype_key(etype)}/data/weight": weight[order]}
    node_data = dict(data.node_data) | {ntype: {"features": features, "labels": labels, "year": labels}}
    splits = dict(data.splits) | {ntype: dict(data.splits[ntype]) | dict.fromkeys(("train", "more"),
                                                                                  np.flatnonzero(masked))}
    changed = replace(data, node_data=node_data, splits=splits,
                      edge_data=dict(data.edge_data) | {etype: {"weight": weight}})
    partition_graph(data, tmp_path / "first", parts[0], "random")
    partition_graph(tmp_path / "first", tmp_path / "again", parts[1], "random", seed=1, put=put)
    partition_graph(changed, tmp_path / "expected", parts[1], "random", seed=1)
    assert same_but_for_source_id(tmp_path / "again", tmp_path / "expected")
    with GraphFile(tmp_path / "first") as first, GraphFile(tmp_path / "again") as again:
        assert first.source_id != again.source_id


def test_other_arrays_make_another_source_and_equal_ones_the_same(tmp_path):
    partition_graph(random_graph(1), tmp_path / "g", 2, "random")
    found = [read_source(tmp_path / "g", put={"year": year}).partitioning.source_id
             for year in (np.arange(40), np.arange(40), np.arange(40, dtype=np.int32), np.arange(1, 41))]
    assert found[0] == found[1] and len({*found, read_source(tmp_path / "g").partitioning.source_id}) == 4


def test_splits_of_edges_are_put_by_number_of_the_edge(tmp_path):
    data = random_hetero_graph(2, shuffled=True)
    (etype, key) = next((e, etype_key(e)) for e in data.csc)
    partition_graph(data, tmp_path / "g", 3, "random")
    partition_graph(tmp_path / "g", tmp_path / "more", put={f"split/{key}/val": np.array([40, 3])})
    assert check(tmp_path / "more") == []
    assert read_source(tmp_path / "more").splits[key]["val"].tolist() == [3, 40]


def test_a_source_that_is_not_partitioned_takes_arrays_too(tmp_path):
    np.savez(tmp_path / "source.npz", src=np.array([2, 0, 1]), dst=np.array([0, 1, 0]), edge_weight=np.ones(3))
    data = read_source(tmp_path / "source.npz", put={
        "features": [[1.0], [2], [3]], "edge_weight": np.array([2.0, 0, 1]), "train_mask": [True, False, True]})
    assert data.node_data[NTYPE]["features"][:].tolist() == [[1], [2], [3]] and data.partitioning is None
    assert [*data.edge_data.values()][0]["weight"].tolist() == [2, 0, 1]
    assert data.splits[NTYPE]["train"].tolist() == [0, 2]


def test_names_of_classes_go_with_their_labels(tmp_path, caplog):
    data = random_graph(1)
    data = replace(data, class_names={NTYPE: {"labels": ("a", "b", "c", "d")}})
    partition_graph(data, tmp_path / "g", 2, "random")
    assert read_source(tmp_path / "g", put={"year": np.arange(40)}).class_names == data.class_names
    assert not caplog.text
    assert read_source(tmp_path / "g", put={"labels": np.arange(40)}).class_names == {}
    assert "_N/labels: the 4 names of its classes" in caplog.text


BAD = {
    "put 'indptr': what can be put is named NAME, edge_NAME": (ConfigError, {"indptr": np.arange(41)}),
    "put 'edge/_N:_E:_N/indices': what can be put": (ConfigError, {"edge/_N:_E:_N/indices": np.arange(160)}),
    "put 'node/paper/year': 'paper' is not one of: _N": (ConfigError, {"node/paper/year": np.arange(40)}),
    "put 'split/_n/train': '_n' is not one of: _N, _N:_E:_N": (ConfigError, {"split/_n/train": np.arange(4)}),
    "put: year has shape (3,), expected one row for each of 40 nodes": (DataError, {"year": np.arange(3)}),
    "_N/year: expected one row for each of 40 nodes": (DataError, {"node/_N/year": np.arange(3)}),
    "_N/features: node 2 has nan, which is not finite": (DataError, {"features": [0, 0, np.nan] + [0] * 37}),
    "split 'train' of '_N': id 40 is not in 0..39": (DataError, {"split/_N/train": np.array([40])}),
    "split 'train' of '_N': id 4 is not above the one before": (DataError, {"split/_N/train": np.array([4, 4])}),
    "split 'val' of '_N:_E:_N': id 4 is not above the one": (DataError, {"split/_N:_E:_N/val": np.array([4, 4])}),
    "put: train_mask: expected booleans": (DataError, {"train_mask": np.arange(40)}),
    "put labels=new.csv: expected an .npy file": (ConfigError, {"labels": "new.csv"}),
    "none.npy: not an array that can be read": (DataError, {"labels": "none.npy"}),
    "which float32 does not hold: scale the numbers": (DataError, {"features": np.full(40, 1e300)}),
    "is in a split but has the label -1": (DataError, {"labels": np.full(40, -1)}),
}


@pytest.mark.parametrize("told", BAD)
def test_what_cannot_be_put_is_refused_before_anything_is_written(told, tmp_path):
    error, put = BAD[told]
    partition_graph(random_graph(1), tmp_path / "g", 2, "random")
    with pytest.raises(error) as raised:
        partition_graph(tmp_path / "g", tmp_path / "out", put=put)
    assert told in str(raised.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "code", "told"), [
    (["--put", "year=new.npy"], 0, "year int64"),
    (["--put=year=new.npy", "--put", "features=wide.npy"], 0, "float32 [2]"),
    (["--put", "features=wide.npy", "--keep-dtype"], 0, "features float64 [2]"),
    (["--put", "year"], 2, "--put year: expected NAME=FILE"), (["--put", "=new.npy"], 2, "expected NAME=FILE"),
    (["--put", "year=new.npy", "--put", "year=new.npy"], 2, "--put year is there twice"),
    (["--put", "src=new.npy"], 2, "nodes and edges stay as they are"),
    (["--put", "year=none.npy"], 3, "none.npy: not an array")])
def test_the_command_puts_files(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("new.npy", np.arange(40))
    np.save("wide.npy", np.ones((40, 2)))
    partition_graph(random_graph(1), "g", 2, "random")
    assert main(["partition", "g", "out", *words]) == code
    assert told in "".join(capsys.readouterr()) and Path("out").exists() == (code == 0)
