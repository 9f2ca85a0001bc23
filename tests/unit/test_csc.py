"""Compressed sparse columns: grouping edges, and rows in neighbor order."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import edge_list, graphs
from mpignn.graph.csc import csc_from_coo, in_edges, row_chunks
from mpignn.graph.types import ETYPE, GraphData

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@pytest.mark.parametrize("at_a_time", [1, 4, 1000])
@given(pairs)
def test_edges_are_grouped_by_destination_in_neighbor_order(at_a_time, edges):
    src, dst = np.array(edges, np.int64).reshape(-1, 2).T
    with patch("mpignn.graph.csc._BUCKET_EDGES", at_a_time), patch("mpignn.graph.csc._CHUNK_EDGES", at_a_time):
        csc = csc_from_coo(src, dst, 7)
    expected = sorted((d, s, i) for i, (s, d) in enumerate(edges))
    ids = np.arange(len(edges)) if csc.edge_ids is None else csc.edge_ids
    rows = np.repeat(np.arange(7), np.diff(csc.indptr))
    assert list(zip(rows.tolist(), csc.indices.tolist(), ids.tolist(), strict=True)) == expected


@given(graphs(), st.randoms(use_true_random=False))
def test_in_edges_of_any_rows_come_in_neighbor_order(data, random):
    for etype, csc in data.csc.items():
        rows = [random.randrange(csc.num_dst) for _ in range(random.randrange(6))] if csc.num_dst else []
        degree, src, ids = in_edges(csc, np.array(rows, np.int64))
        expected = [[(s, i) for d, s, i in edge_list(data, etype) if d == row] for row in rows]
        assert degree.tolist() == [len(edges) for edges in expected]
        assert list(zip(src.tolist(), ids.tolist(), strict=True)) == [edge for edges in expected for edge in edges]


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 8))
def test_chunks_cover_all_rows_and_hold_no_more_than_asked_or_one_row(degrees, most):
    indptr = np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64)
    chunks = list(row_chunks(indptr, 0, len(degrees), most))
    assert [row for lo, hi in chunks for row in range(lo, hi)] == list(range(len(degrees)))
    assert all(hi == lo + 1 or indptr[hi] - indptr[lo] <= most for lo, hi in chunks)


def test_keys_beyond_64_bits_are_grouped_too():
    src, dst = np.array([1 << 60, 5, 1 << 60]), np.array([1, 1, 0])
    csc = csc_from_coo(src, dst, 8)
    assert csc.indptr[:3].tolist() == [0, 1, 3] and csc.indices.tolist() == [1 << 60, 5, 1 << 60]
    assert GraphData({"_N": 1}, {ETYPE: csc}).schema.etypes == (ETYPE,)
