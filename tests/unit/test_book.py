"""The partition book against its definition, spelt out by loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import range_sizes
from mpignn.errors import DataError, IDError, UnknownName
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import Schema

SCHEMA = Schema(("a", "b"), (("a", "to", "b"), ("b", "to", "b"), ("b", "back", "a")))


def make_book(sizes, schema=SCHEMA):
    ranges = [np.concatenate([[0], np.cumsum(s)]) for s in sizes]
    return RangePartitionBook(schema, dict(zip(schema.ntypes, ranges, strict=False)),
                              dict(zip(schema.etypes, ranges[len(schema.ntypes):], strict=True)))


books = range_sizes(5).map(lambda sizes: (sizes, make_book(sizes)))


@given(books)
def test_every_id_has_the_owner_and_row_of_its_place_in_the_ranges(case):
    sizes, book = case
    kinds = [(sizes[:2], book.ntypes, book.nid2partid, book.nid2localnid, book.partid2nids),
             (sizes[2:], book.canonical_etypes, book.eid2partid, book.eid2localeid, book.partid2eids)]
    for kind_sizes, names, owner, local, ids_of in kinds:
        for name, per_part in zip(names, kind_sizes, strict=True):
            expected = [(part, row) for part, size in enumerate(per_part) for row in range(size)]
            ids = np.arange(len(expected))
            assert owner(ids, name).tolist() == [part for part, _ in expected]
            for part in range(book.num_partitions()):
                own = ids_of(part, name)
                assert own.tolist() == [i for i, (p, _) in enumerate(expected) if p == part]
                assert local(own, part, name).tolist() == list(range(per_part[part]))


@given(books)
def test_homogeneous_ids_go_by_partition_then_type_then_id(case):
    sizes, book = case
    kinds = [(sizes[:2], book.ntypes, book.map_to_per_ntype, book.map_to_homo_nid),
             (sizes[2:], book.canonical_etypes, book.map_to_per_etype, book.map_to_homo_eid)]
    for kind_sizes, names, split, join in kinds:
        layout, used = [], [0] * len(names)
        for part in range(book.num_partitions()):
            for number, per_part in enumerate(kind_sizes):
                layout += [(number, used[number] + i) for i in range(per_part[part])]
                used[number] += per_part[part]
        numbers, ids = split(np.arange(len(layout)))
        assert list(zip(numbers.tolist(), ids.tolist(), strict=True)) == layout
        for number, name in enumerate(names):
            mine = [homo for homo, (n, _) in enumerate(layout) if n == number]
            assert join(np.arange(len(mine)), name).tolist() == mine


@given(books)
def test_counts_and_metadata_agree(case):
    sizes, book = case
    assert book.num_nodes() == sum(map(sum, sizes[:2])) == sum(m["num_nodes"] for m in book.metadata())
    assert book.num_edges() == sum(map(sum, sizes[2:])) == sum(m["num_edges"] for m in book.metadata())
    assert book.num_nodes("b") == sum(sizes[1]) and book.num_edges("back") == sum(sizes[4])


@given(books, st.lists(st.integers(-3, 40), max_size=8))
def test_ids_outside_the_graph_are_named(case, ids):
    _, book = case
    count = book.num_nodes("a")
    bad = [i for i in ids if not 0 <= i < count]
    if not bad:
        assert book.nid2partid(ids, "a").shape == (len(ids),)
        return
    with pytest.raises(IDError, match=f"{bad[0]} "):
        book.nid2partid(ids, "a")


def test_empty_input_gives_empty_int64():
    book = make_book([[2, 1]] * 5)
    for ids in ([], np.empty(0), np.empty(0, np.int32)):
        for found in (book.nid2partid(ids, "a"), book.nid2localnid(ids, 0, "a"), *book.map_to_per_ntype(ids),
                      book.map_to_homo_eid(ids, "back")):
            assert found.shape == (0,) and found.dtype == np.int64


def test_one_number_and_lists_and_unsigned_ids_are_taken():
    book = make_book([[2, 1]] * 5)
    assert book.nid2partid(2, "a").tolist() == [1]
    assert book.nid2partid([2, 0, 2], "a").tolist() == [1, 0, 1]
    assert book.nid2partid(np.array([1, 2], np.uint32), "a").dtype == np.int64


def test_a_foreign_id_is_not_given_a_row():
    book = make_book([[2, 1]] * 5)
    with pytest.raises(IDError, match="2 is not in partition 0"):
        book.nid2localnid([0, 2], 0, "a")
    with pytest.raises(IDError, match="partition 2 is not in 0..1"):
        book.partid2nids(2, "a")


def test_ids_that_are_not_integers_in_one_dimension_are_refused():
    book = make_book([[2, 1]] * 5)
    for ids in ([0.5], [True], [[0, 1]]):
        with pytest.raises(IDError, match="expected integers in one dimension"):
            book.nid2partid(ids, "a")


def test_unknown_and_ambiguous_types_are_named():
    book = make_book([[2, 1]] * 5)
    with pytest.raises(UnknownName, match="node type 'c' is not one of: a, b"):
        book.num_nodes("c")
    with pytest.raises(KeyError, match="ambiguous"):
        book.num_edges("to")
    assert book.to_canonical_etype("back") == ("b", "back", "a")
    assert book.etypes == ("to", "to", "back")


def test_a_type_may_be_left_out_where_there_is_only_one():
    book = make_book([[2, 1], [3, 0]], Schema(("n",), (("n", "e", "n"),)))
    assert book.nid2partid([2]).tolist() == [1] and book.eid2partid([2]).tolist() == [0]
    with pytest.raises(UnknownName):
        make_book([[2, 1]] * 5).nid2partid([0])


def test_ranges_that_cannot_be_are_refused():
    for ranges, why in (([1, 2], "ascend from 0"), ([0, 3, 2], "ascend from 0"), ([0], "at least two integers")):
        with pytest.raises(DataError, match=why):
            RangePartitionBook(Schema(("n",), (("n", "e", "n"),)), {"n": ranges}, {("n", "e", "n"): [0, 1]})
    with pytest.raises(DataError, match="disagree about the number of partitions"):
        RangePartitionBook(Schema(("n",), (("n", "e", "n"),)), {"n": [0, 1, 2]}, {("n", "e", "n"): [0, 1]})
