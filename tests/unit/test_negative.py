"""Negative pairs: allowed ones, equally likely, the same for any partitioning, and an error where there is none."""

import numpy as np
import pytest
from scipy import stats
from services import MixedTransport, make_graph, serve
from test_loader import graphs_of

from graphs import random_graph, random_hetero_graph
from mpignn import negative
from mpignn.errors import ConfigError, DataError
from mpignn.graph.types import ETYPE, NTYPE
from mpignn.store import lookup

LOOP = ("node", "to", "node")
KINDS = [negative.PerSourceUniform, negative.GlobalUniform, negative.InBatch, negative.Local]


def graph_of(served):
    return graphs_of(served, 1)[0]


def edges_of(graph, etype=ETYPE):
    """(source, destination) of each original edge id."""
    csc = graph.csc[etype]
    dst = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
    ids = np.arange(csc.num_edges) if csc.edge_ids is None else csc.edge_ids
    ends = np.empty((csc.num_edges, 2), np.int64)
    ends[ids, 0], ends[ids, 1] = csc.indices, dst
    return ends


def drawn(served, sampler, wanted, key=1):
    """Original ids of the pairs drawn for edges of these original ids, in that order."""
    new = np.argsort(served.orig_edges[ETYPE])[wanted]
    src, dst = sampler(graph_of(served), new, key)
    return np.stack([served.orig[NTYPE][src], served.orig[NTYPE][dst]], 1)


@pytest.mark.parametrize("make", KINDS[:3])
@pytest.mark.parametrize("options", [{}, {"exclude_self_loops": True, "exclude_edges": True}])
def test_pairs_do_not_depend_on_the_partitioning(make, options):
    graph, wanted = random_graph(3), np.arange(20, 100, 3)
    expected = drawn(serve(graph), make(4, **options), wanted)
    assert expected.shape == (4 * wanted.size, 2)
    if make is not negative.GlobalUniform:
        assert expected[:, 0].tolist() == np.repeat(edges_of(graph)[wanted, 0], 4).tolist()
    for parts in 2, 5:
        np.testing.assert_array_equal(drawn(serve(graph, parts, servers=2), make(4, **options), wanted), expected)
    assert (drawn(serve(graph), make(4, **options), wanted, key=2) != expected).any()


@pytest.mark.parametrize("make", KINDS)
def test_what_is_excluded_is_not_drawn(make):
    graph = random_graph(1, num_nodes=20, num_edges=60)
    served, ends = serve(graph, 3), {tuple(pair) for pair in edges_of(graph).tolist()}
    everything = np.arange(60)
    loops = drawn(served, make(5), everything)
    assert ends & {tuple(pair) for pair in loops.tolist()} and (loops[:, 0] == loops[:, 1]).any()
    pairs = drawn(served, make(5, exclude_self_loops=True, exclude_edges=True), everything)
    assert (pairs[:, 0] != pairs[:, 1]).all() and not ends & {tuple(pair) for pair in pairs.tolist()}
    kept = [tuple(p) not in ends and p[0] != p[1] for p in loops.tolist()]
    if make is not negative.Local:
        assert (pairs[kept] == loops[kept]).all()      # what was allowed at once stays


def test_each_allowed_destination_is_equally_likely():
    # Node 0 has edges to 1..5 of 20: 14 others are left without itself.
    graph = make_graph({"node": 20}, {LOOP: ([0] * 5, np.arange(1, 6))})
    g = graph_of(serve(graph, 2))
    sampler = negative.Uniform(20_000, exclude_self_loops=True, exclude_edges=True)
    src, dst = sampler(g, [0], key=7)
    counts = np.bincount(g.orig_nids(dst).numpy(), minlength=20)
    assert not counts[:6].any() and stats.chisquare(counts[6:]).pvalue > 1e-4


def test_each_pair_is_equally_likely():
    graph = make_graph({"node": 5}, {LOOP: ([0, 1], [1, 2])})
    src, dst = negative.GlobalUniform(20_000, exclude_edges=True)(graph_of(serve(graph)), [0, 1], key=3)
    counts = np.bincount(src * 5 + dst, minlength=25)
    assert counts[[1, 7]].tolist() == [0, 0] and stats.chisquare(np.delete(counts, [1, 7])).pvalue > 1e-4


def test_in_batch_takes_destinations_of_other_edges():
    graph = make_graph({"node": 9}, {LOOP: ([0, 1, 2, 3], [5, 6, 7, 7])})
    src, dst = negative.InBatch(3000)(graph_of(serve(graph)), [0, 1, 2, 3], key=3)
    for edge, others in enumerate([[0, 1, 2], [1, 0, 2], [1, 1, 1], [1, 1, 1]]):
        mine = dst.reshape(4, -1)[edge]
        counts = np.bincount(mine, minlength=8)[5:]
        assert (counts > 0).tolist() == [bool(n) for n in others]
        expected = 3000 * np.asarray([n for n in others if n]) / sum(others)
        assert stats.chisquare(counts[counts > 0], expected).pvalue > 1e-4
    src, dst = negative.InBatch(2)(graph_of(serve(graph)), [1], key=3)
    assert (src.tolist(), dst.tolist()) == ([1, 1], [6, 6])


def test_local_draws_from_what_is_in_memory():
    served = serve(random_graph(1), 4, 4, visible=(1, 2))
    array = served.published.orig_ids(NTYPE)
    assert 0 < array.lo < array.hi < 40
    edges = negative.SeedEdges(ETYPE, np.zeros(50, np.int64), np.zeros(50, np.int64), np.arange(50, dtype=np.uint64),
                               np.zeros(50, np.int64), np.arange(50), ())
    _, dst = negative.Local(4).draw(served.published, edges)
    assert served.transport.calls == 0 and set(dst.tolist()) == set(range(array.lo, array.hi))
    _, dst = negative.Local(4).draw(serve(random_graph(1), 4, 4, visible=(1, 1)).published, edges)
    assert set(dst.tolist()) == set(range(40))


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("nodes", [1, 6, 300])
def test_where_no_pair_is_allowed_that_is_an_error(make, nodes):
    everyone = np.arange(nodes)
    graph = make_graph({"node": nodes}, {LOOP: (np.repeat(everyone, nodes), np.tile(everyone, nodes))})
    with pytest.raises(DataError, match=r"no negative for the 'node:to:node' edge from 0 to 0 \(original ids\)"):
        make(2, exclude_edges=True)(graph_of(serve(graph)), [0], key=1)


def test_edge_types_have_draws_of_their_own():
    graph = random_hetero_graph(2)
    g = graph_of(serve(graph))
    ids = {etype: np.arange(5) for etype in graph.csc}
    pairs = negative.Uniform(3)(g, ids, key=1)
    assert list(pairs) == list(graph.csc)
    for (s, _, d), (src, dst) in pairs.items():
        assert src.shape == dst.shape == (15,) and src.max() < graph.num_nodes[s] and dst.max() < graph.num_nodes[d]
    assert len({tuple(dst.tolist()) for (_, _, d), (_, dst) in pairs.items() if d == "paper"}) == 2


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_k_must_be_positive(k):
    with pytest.raises(ConfigError, match="k is"):
        negative.Uniform(k)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 22])
def test_edges_are_matched_by_their_ends(chunk, monkeypatch):
    monkeypatch.setattr(lookup, "_CHUNK_EDGES", chunk)
    graph = random_graph(5, num_nodes=15, num_edges=90)
    served = serve(graph, 3)
    adjacency = served.published.adjacency(ETYPE)
    pairs = np.random.default_rng(0).integers(0, 15, (300, 2))
    first, count = lookup.match_edges(served.published, ETYPE, *pairs.T.copy())
    for (u, v), at, many in zip(pairs, first, count, strict=True):
        lo, hi = adjacency.rows.flat[v:v + 2]
        found = lo + np.flatnonzero(adjacency.indices.flat[lo:hi] == u)
        assert found.tolist() == list(range(at, at + many))
    empty = np.empty(0, np.int64)
    assert [part.size for part in lookup.match_edges(served.published, ETYPE, empty, empty)] == [0, 0]


@pytest.mark.parametrize("stride", [1, 3, 128])
@pytest.mark.parametrize("most", [2, 1 << 13])
@pytest.mark.parametrize("visible", [(0, 4), (0, 1), (2, 3), (3, 3)])
def test_ends_are_found_on_other_nodes(stride, most, visible, monkeypatch):
    monkeypatch.setattr(lookup, "_STRIDE", stride)
    monkeypatch.setattr(lookup, "_MOST_PIVOTS", most)
    graph = random_graph(7, num_edges=120)
    whole, served = serve(graph, 5, 4), serve(graph, 5, 4, visible, partial=MixedTransport)
    eids = np.random.default_rng(0).permutation(120)
    rows, indices = (getattr(whole.published.adjacency(ETYPE), part) for part in ("rows", "indices"))
    for wanted in eids, eids[:3], eids[:0]:
        src, dst = lookup.find_edges(served.published, ETYPE, wanted)
        np.testing.assert_array_equal(src, indices.flat[wanted])
        np.testing.assert_array_equal(dst, np.searchsorted(rows.flat, wanted, side="right") - 1)
    if stride == 128 and most == 1 << 13 and visible != (0, 4):
        before = served.transport.calls
        lookup.find_edges(served.published, ETYPE, eids)
        assert served.transport.calls == before + 2     # sources and rows; the pivots are known
