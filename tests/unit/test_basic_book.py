"""The book of maps: equal to that of ranges where both can say the same, and right where only it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import range_sizes
from mpignn.errors import DataError, IDError
from mpignn.graph.basic_book import BasicPartitionBook
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import Schema

SCHEMA = Schema(("a", "b"), (("a", "to", "b"), ("b", "to", "b"), ("b", "back", "a")))
NAMES = (*SCHEMA.ntypes, *SCHEMA.etypes)


def outcome(call, *arguments):
    try:
        found = call(*arguments)
    except IDError as error:
        return type(error)
    return [part.tolist() for part in found] if isinstance(found, tuple) else np.asarray(found).tolist()


@given(range_sizes(5), st.lists(st.integers(-1, 12), max_size=6), st.integers(-1, 5))
def test_equal_assignments_give_equal_answers(sizes, ids, part):
    parts = len(sizes[0])
    ranges = {name: np.concatenate([[0], np.cumsum(s)]) for name, s in zip(NAMES, sizes, strict=True)}
    maps = {name: np.repeat(np.arange(parts), s) for name, s in zip(NAMES, sizes, strict=True)}
    books = RangePartitionBook(SCHEMA, ranges, ranges), BasicPartitionBook(SCHEMA, maps, maps, parts)
    calls = [("map_to_per_ntype", ids), ("map_to_per_etype", ids), ("num_nodes",), ("num_edges",),
             ("num_partitions",), ("metadata",)]
    for kind, types in (("n", SCHEMA.ntypes), ("e", SCHEMA.etypes)):
        for name in types:
            calls += [(f"{kind}id2partid", ids, name), (f"partid2{kind}ids", part, name),
                      (f"{kind}id2local{kind}id", ids, part, name), (f"map_to_homo_{kind}id", ids, name)]
    for method, *arguments in calls:
        expected, got = (outcome(getattr(book, method), *arguments) for book in books)
        assert got == expected, (method, arguments)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_any_assignment_against_its_definition(nodes, edges):
    schema = Schema(("n",), (("n", "e", "n"),))
    book = BasicPartitionBook(schema, {"n": nodes}, {("n", "e", "n"): edges}, 4)
    layout = [i for part in range(4) for i, p in enumerate(nodes) if p == part]
    assert book.nid2partid(np.arange(len(nodes))).tolist() == nodes
    assert book.map_to_per_ntype(np.arange(len(nodes)))[1].tolist() == layout
    assert book.map_to_homo_nid(layout).tolist() == list(range(len(nodes)))
    for part in range(4):
        own = [i for i, p in enumerate(edges) if p == part]
        assert book.partid2eids(part).tolist() == own
        assert book.eid2localeid(own, part).tolist() == list(range(len(own)))


def test_foreign_ids_and_bad_maps_are_refused():
    schema = Schema(("n",), (("n", "e", "n"),))
    book = BasicPartitionBook(schema, {"n": [1, 0, 1]}, {("n", "e", "n"): []})
    with pytest.raises(IDError, match="node 1 is not in partition 1 but in 0"):
        book.nid2localnid([0, 1], 1)
    for bad, why in (([-1], "from 0"), ([0.5], "from 0"), ([7], "names partition 7")):
        with pytest.raises(DataError, match=why):
            BasicPartitionBook(schema, {"n": bad}, {("n", "e", "n"): []}, 2)
    with pytest.raises(DataError, match="no map"):
        BasicPartitionBook(schema, {}, {("n", "e", "n"): []})
