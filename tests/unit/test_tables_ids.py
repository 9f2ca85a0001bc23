"""Ids that memory does not hold get the numbers, the texts and the errors of those that it does."""

import re
import weakref
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tables_id_map import CHUNKS, INTEGERS, UNSIGNED, chunk_of

from mpignn.comm.group import LocalGroup
from mpignn.errors import DataError
from mpignn.large.scratch import scratch_in
from mpignn.tables.id_map import IdMap
from mpignn.tables.ids import NewIds, TableIds
from mpignn.tables.table import Block

EXAMPLES = settings(deadline=None, max_examples=60, derandomize=True)
# A map begins with 16 KiB, half of the memory may be taken, and a key in hand takes 128 bytes.
MEMORY = st.one_of(st.sampled_from([1, 400, 1500, 1 << 30]), st.integers(32_768, 36_000))


def same(found, expected):
    assert found.values.dtype == expected.values.dtype and np.array_equal(found.values[:], expected.values)
    assert (found.bounds is None) == (expected.bounds is None)
    assert found.bounds is None or np.array_equal(found.bounds[:], expected.bounds)


def answers(ids, chunks):
    lookup = ids.ask()
    for chunk in chunks:
        lookup.add(chunk)
    return [nodes.tolist() for nodes in lookup.answers()]


@EXAMPLES
@given(st.lists(CHUNKS, max_size=3), MEMORY)
def test_new_ids_are_numbered_as_they_come(tmp_path_factory, passes, memory):
    folder, expected = tmp_path_factory.mktemp("ids"), IdMap()
    with scratch_in(folder, folder / "out", LocalGroup(), memory) as scratch:
        ids = NewIds(scratch)
        for chunks in passes:
            assert answers(ids, chunks) == [expected.grow(chunk).tolist() for chunk in chunks]
            assert len(ids) == len(expected)
        same(ids.user_ids(), expected.user_ids())


def table_of(chunks):
    """Blocks of a column, and a table that knows what stands in its rows."""
    firsts = np.cumsum([0, *map(len, chunks)])
    values = [value for chunk in chunks for value in chunk.to_pylist()]
    blocks = [Block({"id": chunk}, int(first), len(chunk)) for first, chunk in zip(firsts, chunks, strict=False)]
    return blocks, SimpleNamespace(where=lambda row: f"line {row + 1}", values=lambda row, columns: [values[row]])


@EXAMPLES
@given(CHUNKS, CHUNKS, MEMORY, st.booleans())
def test_ids_of_a_table_are_those_of_a_map(tmp_path_factory, chunks, asked, memory, differ):
    if differ:      # else there is hardly one that has no id twice
        known = IdMap()
        chunks = [chunk.take(pa.array(sorted({int(row): i for i, row in reversed(list(enumerate(rows)))
                                              if row >= before}.values()), pa.int64()))
                  for chunk in chunks for before in [len(known)] for rows in [known.grow(chunk)]]
    folder, (blocks, table) = tmp_path_factory.mktemp("ids"), table_of(chunks)
    expected = problem = None
    try:
        expected = IdMap.build(chunks, table.where)
    except DataError as error:
        problem = error
    assert not differ or problem is None
    with scratch_in(folder, folder / "out", LocalGroup(), memory) as scratch:
        if problem is not None:
            with pytest.raises(DataError, match=f"^{re.escape(str(problem))}$"):
                TableIds.read(blocks, "id", table, scratch)
            return
        ids = TableIds.read(blocks, "id", table, scratch)
        assert len(ids) == len(expected)
        for _ in range(2):
            assert answers(ids, [*asked, *chunks]) == [expected.find(chunk).tolist() for chunk in [*asked, *chunks]]
        same(ids.user_ids(), expected.user_ids())


def test_maps_share_half_the_memory_and_give_it_back(tmp_path):
    with scratch_in(tmp_path, tmp_path / "out", LocalGroup(), 80_000) as scratch:
        some = [NewIds(scratch) for _ in range(3)]      # each map begins with 16 KiB
        lookups = [ids.ask() for ids in some]
        assert [ids.in_memory() is not None for ids in some] == [True, True, False]
        kept = weakref.ref(some[0].in_memory())
        lookups[0].add(pa.array(range(5000)))
        assert some[0].in_memory() is None and kept() is None
        assert NewIds(scratch).in_memory() is not None
        lookups[0].add(pa.array([7, 6000]))
        assert [nodes.tolist() for nodes in lookups[0].answers()] == [[*range(5000)], [7, 5000]]
        assert scratch.fits(40_000) and not scratch.fits(50_000)        # beside two maps


@EXAMPLES
@given(st.lists(chunk_of(pa.int64(), INTEGERS)), st.lists(chunk_of(pa.uint64(), UNSIGNED)))
def test_integers_stay_integers(tmp_path_factory, signed, unsigned):
    folder = tmp_path_factory.mktemp("ids")
    for chunks in (signed, unsigned):
        as_texts = [chunk.cast(pa.string()) for chunk in chunks]
        with scratch_in(folder, folder / "out", LocalGroup(), 400) as scratch:
            for some in (chunks, as_texts):
                ids, expected = NewIds(scratch), IdMap()
                assert answers(ids, some) == [expected.grow(chunk).tolist() for chunk in some]
                assert expected.user_ids().bounds is None
                same(ids.user_ids(), expected.user_ids())
