"""Edges chosen by time: only older ones, equally likely, the same everywhere, and as many as there are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_sampling import sample as reference
from scipy import stats
from services import MixedTransport, make_graph, serve
from test_ahead import assert_equal
from test_loader import Trainer
from test_neighbor import CITES, LOOP, OWNS, hetero

from mpignn import TIME, negative
from mpignn.errors import ConfigError, DataError, IDError, UnknownName
from mpignn.graph.block import EID, NID
from mpignn.graph.types import GraphData
from mpignn.kernels import threads
from mpignn.loader.edge import EdgeDataLoader
from mpignn.loader.node import NodeDataLoader
from mpignn.roles import BOTH, Role, Topology
from mpignn.sampling.canonical import canonical_form
from mpignn.sampling.labor import LaborSampler
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.sampling.rule import ALL
from mpignn.store.graph import DistGraph

ALARM = 1e-6        # a test of chance fails by chance in one of so many changes of the draws
BY_EDGE, BY_NODE = {"edge_timestamp_attr_name": "when"}, {"node_timestamp_attr_name": "born"}


def dated(graph: GraphData, seed: int = 0, dtype=np.int64, span: int = 9) -> GraphData:
    """The graph with times from 0 to ``span``, weights ``w`` and marks ``m``; OWNS edges have no time."""
    rng, data = np.random.default_rng(seed), {}
    for etype, csc in graph.csc.items():
        data[etype] = {"when": rng.integers(0, span, csc.num_edges).astype(dtype),
                       "w": rng.random(csc.num_edges) * (rng.random(csc.num_edges) < 0.7),
                       "m": rng.random(csc.num_edges) < 0.7}
    data.get(OWNS, {}).pop("when", None)
    nodes = {t: {"born": rng.integers(0, span, n).astype(dtype), "row": np.arange(n, dtype=np.float32)}
             for t, n in graph.num_nodes.items()}
    return replace(graph, edge_data=data, node_data=nodes)


def homogeneous(num_nodes=50, num_edges=900, seed=1, **options):
    rng = np.random.default_rng(seed)
    return dated(make_graph({"node": num_nodes}, {LOOP: rng.integers(0, num_nodes, (2, num_edges))}), **options)


def graph_of(served, trainer=0, trainers=1):
    topology = Topology((0,) * 3, (BOTH,) * trainers + (Role.SERVER,) * (3 - trainers))
    return DistGraph(served.published, topology, Trainer(trainer, trainers), {})


GRAPHS = st.builds(lambda graph, dtype: dated(graph, dtype=dtype), st.builds(
    hetero, st.integers(1, 20), st.integers(0, 8), st.integers(0, 100), st.integers(0, 99)),
    st.sampled_from([np.int64, np.int32]))


@given(GRAPHS, st.lists(st.sampled_from([ALL, 0, 1, 2, 5, 40]), min_size=1, max_size=3), st.booleans(),
       st.integers(1, 4), st.integers(0, 2**63), st.sampled_from([None, "w"]), st.sampled_from([None, "m"]),
       st.booleans(), st.sampled_from([(True, False), (False, True), (True, True)]), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_draws_are_the_reference_whatever_is_in_view(graph, fanouts, repl, parts, key, prob, mask, return_eids, by,
                                                     data):
    seeds, times = {}, {}
    for ntype, count in graph.num_nodes.items():        # a node at several times
        pairs = data.draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(-1, 10)), unique=True, max_size=9)
                          ) if count else []
        seeds[ntype], times[ntype] = np.array(pairs, np.int64).reshape(-1, 2).T
    servers = data.draw(st.integers(1, 4))
    first = data.draw(st.integers(0, servers))
    visible = data.draw(st.sampled_from([None, (first, data.draw(st.integers(first, servers)))]))
    served = serve(graph, parts, servers, visible, data.draw(st.sampled_from([np.int32, np.int64])))
    gone = {e: np.flatnonzero(np.random.default_rng(key % 1000).random(csc.num_edges) < data.draw(
        st.sampled_from([0, 0.3]))) for e, csc in graph.csc.items()}
    names = (BY_EDGE if by[0] else {}) | (BY_NODE if by[1] else {})
    sampler = NeighborSampler(fanouts, prob, repl, mask, return_eids, **names)
    exclude = {e: np.flatnonzero(np.isin(served.orig_edges[e], ids)) for e, ids in gone.items()}
    inputs, outputs, blocks = sampler.sample(
        served.published, {t: served.new[t][ids] for t, ids in seeds.items()}, key, exclude, times)
    assert visible is None or served.transport.calls <= (3 if by[1] else 2) * len(fanouts)
    hops = [dict.fromkeys(graph.csc, fanout) for fanout in reversed(fanouts)]
    assert canonical_form(served.published, blocks) == reference(
        graph, seeds, hops, key, repl, prob, mask, {(e, edge) for e, ids in gone.items() for edge in ids.tolist()},
        times, "when" if by[0] else None, "born" if by[1] else None)
    for ntype in graph.num_nodes:
        assert np.array_equal(outputs[ntype], served.new[ntype][seeds[ntype]])
        assert np.array_equal(blocks[-1].src_times[ntype][:seeds[ntype].size], times[ntype])
        assert inputs[ntype] is blocks[0].src_ids[ntype]
    for block, below in zip(blocks[:-1], blocks[1:], strict=True):      # sources of a hop are destinations of the next
        for ntype in graph.num_nodes:
            n = block.num_dst[ntype]
            assert np.array_equal(block.src_ids[ntype][:n], below.src_ids[ntype])
            assert np.array_equal(block.src_times[ntype][:n], below.src_times[ntype])


@pytest.mark.parametrize("fanout", [3, ALL])
@pytest.mark.parametrize("mode", [None, "reverse_id"])
def test_over_an_epoch_no_block_sees_an_edge_that_is_not_older_and_rows_hold_what_is(fanout, mode):
    graph = homogeneous(span=50)
    served = serve(graph, 3, 3)
    when = graph.edge_data[LOOP]["when"][served.orig_edges[LOOP]]
    rows = served.transport.arrays["edge/node:to:node/indptr"].local
    sampler = NeighborSampler([fanout, 4], return_eids=True, prefetch_node_feats=["row"], **BY_EDGE)
    loader = EdgeDataLoader(graph_of(served), np.arange(900), sampler, batch_size=64, shuffle=True, exclude=mode,
                            negative_sampler=negative.Uniform(2))
    seen = []
    for _, pairs, others, blocks in loader:
        eids = pairs.edata[EID].numpy()
        seen.append(eids)
        assert np.array_equal(pairs.edata[TIME], when[eids])
        for graphs, times in (pairs, when[eids]), (others, np.repeat(when[eids], 2)):
            for side, ends in zip(graphs.edges(), (0, 1), strict=True):
                assert np.array_equal(blocks[-1].dstdata[TIME][side], times)
                if graphs is pairs:
                    at = served.published.adjacency(LOOP).indices.flat[eids] if ends == 0 else (
                        np.searchsorted(rows[:, 0], eids, side="right") - 1)
                    assert np.array_equal(blocks[-1].dstdata[NID][side], at)
        for block, most in zip(blocks, (fanout, 4), strict=True):
            csc, ids, times = block.csc[LOOP], block.src_ids["node"], block.src_times["node"]
            row = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
            assert (when[csc.edge_ids] < times[row]).all() and np.array_equal(times[csc.indices], times[row])
            assert np.unique(np.stack([ids, times]), axis=1).shape[1] == ids.size
            older = [(when[slice(*rows[v])] < t).sum() for v, t in zip(ids[:csc.num_dst], times, strict=False)]
            if mode is None:
                assert np.array_equal(np.diff(csc.indptr), older if most == ALL else np.minimum(older, most))
            else:
                assert not np.isin(csc.edge_ids, eids).any()
        assert np.array_equal(blocks[0].srcdata["row"], served.orig["node"][blocks[0].src_ids["node"]])
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(900))


@pytest.mark.parametrize("options", [{}, {"replace": True}, {"mask": "m"}])
def test_each_older_edge_is_equally_likely(options):
    count, degree, fanout = 20_000, 12, 3
    src, dst = np.tile(np.arange(degree), count), np.repeat(np.arange(count), degree)
    graph = make_graph({"node": count}, {LOOP: (src, dst)})
    when, marks = np.tile(np.arange(degree) * 7 % degree, count), np.tile(np.arange(degree) % 3 > 0, count)
    graph = replace(graph, edge_data={LOOP: {"when": when, "m": marks}})
    published = serve(graph).published
    ids = np.tile(np.arange(count), 2)
    times = np.repeat([8, 12], count)       # each node at two times: 8 of its edges are older, or all
    _, _, (block,) = NeighborSampler([fanout], **options, **BY_EDGE).sample(published, ids, 5, times=times)
    drawn = block.src_ids["node"][block.csc[LOOP].indices].reshape(2, count, fanout)
    for time, picks in zip((8, 12), drawn, strict=True):
        allowed = np.flatnonzero((when[:degree] < time) & (marks[:degree] | ("mask" not in options)))
        found = np.bincount(picks.reshape(-1), minlength=degree)
        assert found.sum() == found[allowed].sum() == count * fanout
        chance = stats.chisquare(found[allowed]).pvalue if "replace" in options else stats.chi2.sf(
            ((found[allowed] - count * fanout / allowed.size) ** 2).sum() / (
                count * fanout / allowed.size * (1 - fanout / allowed.size)) * (allowed.size - 1) / allowed.size,
            allowed.size - 1)
        assert chance > ALARM
    table = np.zeros((degree, degree))      # what a node draws at one time says nothing of what it does at another
    np.add.at(table, (drawn[0, :, 0], drawn[1, :, 0]), 1)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    assert stats.chi2_contingency(table).pvalue > ALARM


def batches(loader_of, threads_=1, **options):
    before, grain = threads.num_threads(), threads.GRAIN
    threads.set_num_threads(threads_)
    threads.GRAIN = 20
    try:
        return list(loader_of(**options))
    finally:
        threads.set_num_threads(before)
        threads.GRAIN = grain


@pytest.mark.parametrize("edges", [False, True])
@pytest.mark.parametrize("names", [BY_EDGE, BY_NODE, BY_EDGE | BY_NODE])
def test_prefetch_threads_and_what_is_in_view_change_nothing(edges, names):
    graph = homogeneous()

    def loader(visible, **options):
        served = serve(graph, 3, 3, visible, partial=MixedTransport)
        g, sampler = graph_of(served), NeighborSampler([3, 3], prefetch_node_feats=["row"], **names)
        times = np.arange(900) % 11 if edges else np.arange(50) % 11
        if edges:
            return EdgeDataLoader(g, np.arange(900), sampler, batch_size=170, shuffle=True, input_time=times,
                                  exclude="self", negative_sampler=negative.GlobalUniform(1), **options)
        return NodeDataLoader(g, np.arange(50), sampler, batch_size=9, shuffle=True, input_time=times, **options)

    expected = batches(loader, visible=None, prefetch=1, thread=False)
    for visible, prefetch, thread in (None, 1, True), ((1, 2), 3, True), ((0, 2), 4, False):
        assert_equal(batches(loader, 2, visible=visible, prefetch=prefetch, thread=thread), expected)


def test_seeds_take_their_times_from_the_graph_if_none_are_given():
    graph = dated(hetero(30, 10, 200, seed=3))
    served = serve(graph, 2, 3, (1, 2), partial=MixedTransport)
    g = graph_of(served)
    born = {t: graph.node_data[t]["born"][served.orig[t]] for t in graph.num_nodes}
    ids = {"paper": np.arange(30)[::-1].copy(), "author": np.arange(5)}

    def loader(**options):
        return NodeDataLoader(g, ids, NeighborSampler([2, 2], **BY_NODE), batch_size=8, shuffle=True, **options)

    taken = list(loader())
    assert_equal(list(loader(input_time={t: born[t][ids[t]] for t in ids})), taken)
    for _, outputs, blocks in taken:
        for ntype in ids:
            assert np.array_equal(blocks[-1].dst_frames[ntype][TIME], born[ntype][outputs[ntype].numpy()])
    dates = {e: data["when"][served.orig_edges[e]] for e, data in graph.edge_data.items() if "when" in data}
    eids = {CITES: np.arange(0, 200, 3)}

    def edge_loader(**options):
        return EdgeDataLoader(g, eids, NeighborSampler([2, 2], **BY_EDGE), batch_size=20, shuffle=True, **options)

    assert_equal(list(edge_loader(input_time={CITES: dates[CITES][eids[CITES]]})), list(edge_loader()))
    with pytest.raises(UnknownName, match="when"):
        EdgeDataLoader(g, {OWNS: [0]}, NeighborSampler([2], **BY_EDGE), batch_size=1)


def test_floating_point_times_and_what_is_no_number():
    graph = homogeneous(dtype=np.float32)
    when = graph.edge_data[LOOP]["when"]
    when[::5] = np.nan      # not older than anything
    served = serve(graph, 2)
    _, _, (block,) = NeighborSampler([ALL], return_eids=True, **BY_EDGE).sample(
        served.published, np.arange(50), 0, times=np.full(50, np.inf))
    kept = served.orig_edges[LOOP][block.csc[LOOP].edge_ids]
    assert np.array_equal(np.sort(kept), np.flatnonzero(~np.isnan(when)))


@pytest.mark.parametrize(("call", "error", "part"), [
    (lambda s: NeighborSampler([2], **BY_EDGE).sample(s, [0], 0), ConfigError, "give the time of each seed"),
    (lambda s: NeighborSampler([2]).sample(s, [0], 0, times=[1]), ConfigError, "no name of timestamps"),
    (lambda s: LaborSampler([2]).sample(s, [0], 0, times=[1]), ConfigError, "LaborSampler draws by sample_frontier"),
    (lambda s: NeighborSampler([2], **BY_EDGE).sample(s, [0, 1], 0, times=[1]), DataError, "each of 2"),
    (lambda s: NeighborSampler([2], **BY_EDGE).sample(s, [0], 0, times=[1.5]), DataError, "float64, but the graph's"),
    (lambda s: NeighborSampler([2], **BY_EDGE).sample(s, [3, 3], 0, times=[1, 1]), IDError, "3 is given twice with"),
    (lambda s: NeighborSampler([2], edge_timestamp_attr_name="no").sample(s, [0], 0, times=[1]), UnknownName, "'no'"),
    (lambda s: NeighborSampler([2], node_timestamp_attr_name="no").sample(s, [0], 0, times=[1]), UnknownName, "'no'"),
    (lambda s: NeighborSampler([2], edge_timestamp_attr_name="m").sample(s, [0], 0, times=[1]), DataError, "is bool"),
    (lambda s: NeighborSampler([2], **BY_EDGE, node_timestamp_attr_name="row").sample(s, [0], 0, times=[1]), DataError,
     "all times as integers"),
    (lambda s: NodeDataLoader(graph_of(s), [0], NeighborSampler([2]), batch_size=1, input_time=[1]), ConfigError,
     "input_time is given"),
    (lambda s: NodeDataLoader(graph_of(s), [0], NeighborSampler([2], **BY_EDGE), batch_size=1), ConfigError,
     "input_time"),
    (lambda s: NodeDataLoader(graph_of(s), [0, 1], NeighborSampler([2], **BY_EDGE), batch_size=1, input_time=[1]),
     DataError, "each seed has one"),
    (lambda s: EdgeDataLoader(graph_of(s), [0], NeighborSampler([2], **BY_NODE), batch_size=1), ConfigError,
     "input_time"),
])
def test_what_cannot_be_is_refused(call, error, part):
    served = serve(homogeneous())
    with pytest.raises(error, match=part):
        call(served if "graph_of" in call.__code__.co_names else served.published)
