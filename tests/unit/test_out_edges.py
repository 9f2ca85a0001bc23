"""Edges that are stored by source, too: what is written, read, served and found wrong."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services import serve
from test_check import forge, put, reverse, swap
from test_storage import fresh, read_all

from graphs import edge_list, graphs, random_assignment, random_graph
from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, etype_key
from mpignn.large import scratch
from mpignn.storage.check import check
from mpignn.storage.read import GraphFile
from mpignn.storage.write import partition_graph, write_graph

files_reused = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_by_source(data, etype, orig_src, new_edge):
    """For each new source the (original destination, new edge id) of its edges, by plain loops."""
    edges = sorted((s, d, i) for d, s, i in edge_list(data, etype))
    return [[(d, new_edge[i]) for s, d, i in edges if s == source] for source in orig_src]


def new_edge_ids(data, etype, orig_dst):
    """New id of each original edge."""
    edges = edge_list(data, etype)
    order = [i for row in orig_dst for d, _, i in edges if d == row]
    return {old: new for new, old in enumerate(order)}


@given(data=graphs(), num_parts=st.integers(1, 5))
@files_reused
def test_each_edge_is_with_its_source_in_order_of_original_ids(data, num_parts, tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "_MOST_ROWS", 7)
    write_graph(data, random_assignment(data, num_parts), num_parts, fresh(tmp_path / "g"), out_edges=True)
    assert check(tmp_path / "g") == []
    with GraphFile(tmp_path / "g") as graph:
        orig = {t: read_all(graph, f"node/{t}/orig_id") for t in data.num_nodes}
        for etype in data.csc:
            base = f"out/{etype_key(etype)}"
            indptr, dst, ids = (read_all(graph, f"{base}/{name}") for name in ("indptr", "indices", "edge_id"))
            assert (dst.dtype, ids.dtype) == (np.int32, np.int64)
            pairs = list(zip(orig[etype[2]][dst].tolist(), ids.tolist(), strict=True))
            rows = [pairs[a:b] for a, b in zip(indptr[:-1], indptr[1:], strict=True)]
            new_edge = new_edge_ids(data, etype, orig[etype[2]])
            assert rows == rows_by_source(data, etype, orig[etype[0]], new_edge)
            starts = [graph.edge_start(etype, row, "out") for row in range(indptr.size)]
            assert starts == indptr.tolist()
            assert indptr[graph.book.node_ranges[etype[0]]].tolist() == graph.book.out_ranges[etype].tolist()


def test_a_graph_without_them_says_how_to_get_them():
    published = serve(random_graph(1)).published
    with pytest.raises(DataError, match="holds in-edges only: partition it with --out-edges"):
        published.adjacency(ETYPE, "out")


@given(data=graphs(), servers=st.integers(1, 4))
@settings(max_examples=15)
def test_the_place_in_its_row_is_an_edges_identity_whatever_the_partitioning(data, servers):
    whole, cut = serve(data, out_edges=True), serve(data, 3, servers, seed=5, out_edges=True)
    for etype in data.csc:
        found = []
        for served in whole, cut:
            adjacency = served.published.adjacency(etype, "out")
            src, dst = served.orig[etype[0]], served.orig[etype[2]]
            assert adjacency.edge_ids.spec.bounds == adjacency.indices.spec.bounds
            rows = {int(src[v]): dst[adjacency.indices.local[a:b, 0]].tolist()
                    for v, (a, b) in enumerate(adjacency.rows.local)}
            found.append(rows)
            ids = adjacency.edge_ids.local[:, 0]
            assert sorted(ids.tolist()) == list(range(ids.size))
            sources = served.published.adjacency(etype).indices.local[ids, 0]
            degrees = np.diff(adjacency.rows.local, axis=1)[:, 0]
            assert sources.tolist() == np.repeat(np.arange(src.size), degrees).tolist()
        assert found[0] == found[1]


OUT = "out/_N:_E:_N"
FORGED = [
    (f"{OUT}/edge_id", swap(0, -1), "an edge that is not its own"),
    (f"{OUT}/edge_id", lambda ids: put(0, ids[1])(ids), "an edge that is not its own|in another order"),
    (f"{OUT}/edge_id", put(0, 160), "ids outside the graph"),
    (f"{OUT}/indices", put(0, 40), "ids outside the graph"),
    (f"{OUT}/indices", reverse, "an edge that is not its own|in another order"),
    (f"{OUT}/indptr", put(1, 10**6), "indptr falls"),
    (f"{OUT}/indptr", put(0, 1), "does not agree with its ranges"),
]


@pytest.mark.parametrize("name, change, problem", FORGED)
def test_out_edges_that_could_not_have_been_written_are_a_problem(name, change, problem, tmp_path):
    partition_graph(random_graph(4), tmp_path / "g", 1, "range", out_edges=True)
    forge(tmp_path / "g", name, change, 0)
    (found,) = check(tmp_path / "g")
    assert any(text in found for text in problem.split("|")), found
