"""Triples of entities and relations as a graph, and WordNet's for link prediction."""

import numpy as np
import pytest

from mpignn.errors import DataError
from mpignn.graph.types import etype_key
from mpignn.storage import datasets
from mpignn.storage.datasets_arrays import destinations
from mpignn.storage.datasets_knowledge import MESSAGE, knowledge_graph
from mpignn.storage.sources import read_source

TRIPLES = {"train": [("b", "likes", "a"), ("a", "knows", "b"), ("c", "likes", "a")],
           "val": [("a", "likes", "a")], "test": [("a", "likes", "c"), ("c", "knows", "b")]}


def triples_of(graph, split):
    """Numbers of head, relation and tail of the edges of a split."""
    found = set()
    for number, (etype, csc) in enumerate(graph.csc.items()):
        ids = graph.splits[etype_key(etype)][split]
        found |= {(int(csc.indices[e]), number, int(destinations(csc)[e])) for e in ids}
    return found


def test_triples_become_edges_by_relation(tmp_path):
    graph = knowledge_graph(TRIPLES)
    assert graph.num_nodes == {"entity": 3} and [e[1] for e in graph.csc] == ["knows", "likes"]
    expected = {split: {("abc".index(h), int(r == "likes"), "abc".index(t)) for h, r, t in of_split}
                for split, of_split in TRIPLES.items()}
    assert {split: triples_of(graph, split) for split in TRIPLES} == expected
    for etype in graph.csc:
        learnt = np.flatnonzero(graph.edge_data[etype][MESSAGE])
        assert learnt.tolist() == graph.splits[etype_key(etype)]["train"].tolist()

    datasets.write_source(graph, tmp_path / "graph.npz")
    again = read_source(tmp_path / "graph.npz")
    assert {split: triples_of(again, split) for split in TRIPLES} == expected
    for etype in graph.csc:
        assert np.array_equal(again.edge_data[etype][MESSAGE], graph.edge_data[etype][MESSAGE])


def test_a_triple_that_is_in_two_splits_is_refused():
    with pytest.raises(DataError, match="1 triples occur twice"):
        knowledge_graph(TRIPLES | {"val": [("b", "likes", "a")]})


def test_wordnets_links_give_no_relation_away_by_its_reverse():
    graph = datasets.load_bundled("wordnet-link")
    assert len(graph.csc) == 19 and not any(etype[1] == "hyponym" for etype in graph.csc)
    hypernym = ("synset", "hypernym", "synset")
    splits = graph.splits[etype_key(hypernym)]
    held_out = np.sort(np.concatenate([splits["val"], splits["test"]]))
    assert np.flatnonzero(~graph.edge_data[hypernym][MESSAGE]).tolist() == held_out.tolist()
    csc = graph.csc[hypernym]
    pairs = destinations(csc) * graph.num_nodes["synset"] + csc.indices
    backwards = csc.indices.astype(np.int64) * graph.num_nodes["synset"] + destinations(csc)
    assert not np.isin(backwards, pairs).any()
