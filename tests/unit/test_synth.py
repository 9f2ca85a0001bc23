"""The synthetic graph: the same arguments give the same bytes, and the graph is what it says."""

import errno
import json

import numpy as np
import pytest

from mpignn.errors import ConfigError, ResourceError
from mpignn.storage import synth
from mpignn.storage.synth import Recipe, make_graph


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synth") / "graph"
    meta = make_graph(folder, 3000, 12)
    return meta, {path.stem: np.load(path) for path in folder.glob("*.npy")}, folder


def test_the_edges_are_the_known_ones(small):
    assert small[0]["edges_sha256"] == "a6d8e96b23bae26aa5885441311d12eca90c0e4b966527c08ccb76f0a1911810"


def test_equal_arguments_give_equal_files(small, tmp_path):
    make_graph(tmp_path / "again", 3000, 12)
    for path in small[2].iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()
    other = make_graph(tmp_path / "other", 3000, 12, seed=1)
    assert other["edges_sha256"] != small[0]["edges_sha256"]


def test_edges_run_both_ways_once_and_never_to_themselves(small):
    meta, arrays, _ = small
    indptr, src = arrays["indptr"], arrays["indices"]
    dst = np.repeat(np.arange(3000), np.diff(indptr))
    assert src.size == meta["num_edges"] == 36_000
    assert np.all(np.diff(dst * 3000 + src) > 0) and np.all(src != dst)
    assert np.array_equal(np.sort(src * 3000 + dst), dst * 3000 + src)


def test_shapes_dtypes_and_splits(small):
    _, arrays, folder = small
    assert arrays["features"].shape == (3000, 100) and arrays["features"].dtype == np.float32
    assert arrays["labels"].dtype == np.int64 and arrays["labels"].max() < 47
    masks = [arrays[f"{name}_mask"] for name in ("train", "val", "test")]
    assert [int(mask.sum()) for mask in masks] == [240, 60, 2700] and np.all(sum(m.astype(int) for m in masks) == 1)
    assert json.loads((folder / "meta.json").read_text())["num_nodes"] == 3000


def test_labels_follow_the_communities(small):
    meta, arrays, _ = small
    dst = np.repeat(np.arange(3000), np.diff(arrays["indptr"]))
    same = np.mean(arrays["labels"][dst] == arrays["labels"][arrays["indices"]])
    assert same > 0.5 and meta["same_class_edges"] > same
    assert 0.04 < meta["label_noise"] < 0.12 and 0.3 < meta["feature_only_bayes_accuracy"] < 0.95


def test_several_draws_give_the_number_of_edges_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(synth, "_EDGES_PER_DRAW", 700)
    monkeypatch.setattr(synth, "_ROWS_PER_DRAW", 130)
    assert make_graph(tmp_path / "graph", 600, 20, classes=5, block_size=50)["num_edges"] == 12_000
    assert np.load(tmp_path / "graph" / "features.npy").shape == (600, 100)


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "graph").mkdir()
    with pytest.raises(ConfigError, match="exists"):
        make_graph(tmp_path / "graph", 200)
    with pytest.raises(ConfigError, match="make .*none first"):
        make_graph(tmp_path / "none" / "graph", 200)
    assert list((tmp_path / "graph").iterdir()) == [] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("wrong", [{"nodes": 90}, {"avg_degree": 0}, {"avg_degree": 200}, {"classes": 0},
                                   {"p_block": 0.8}, {"train": 0.9, "val": 0.2}, {"seed": -1}, {"exponent": 1.0}])
def test_arguments_that_make_no_graph_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_graph(tmp_path / "graph", **{"nodes": 200, **wrong})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(synth.np, "save", full)
    with pytest.raises(ResourceError, match="No space left"):
        make_graph(tmp_path / "graph", 200)
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_graph(tmp_path):
    assert make_graph(tmp_path / "graph", 2, 1, classes=1)["num_edges"] == 2
    Recipe(2, 1, classes=1).check()
