"""Edges chosen by weight, mark and exclusion: drawn from published graphs, held against plain Python."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_sampling import pick_row
from reference_sampling import sample as reference
from services import make_graph, serve
from test_neighbor import CITES, LOOP, OWNS, WROTE, assert_equal, hetero

from mpignn.errors import ConfigError, DataError, IDError, UnknownName
from mpignn.kernels import threads
from mpignn.kernels.rng import derive
from mpignn.sampling.block_sampler import BlockSampler, SamplerInput
from mpignn.sampling.blocks import to_block
from mpignn.sampling.canonical import canonical_form
from mpignn.sampling.frontier import Frontier, in_subgraph, sample_neighbors
from mpignn.sampling.neighbor import MultiLayerFullNeighborSampler, MultiLayerNeighborSampler, NeighborSampler
from mpignn.sampling.rule import ALL


def weighted(graph, seed=0, dtype=np.float64):
    """The graph with weights ``w``, a third of them 0, and marks ``m``; OWNS edges have no marks."""
    rng = np.random.default_rng(seed)
    data = {}
    for etype, csc in graph.csc.items():
        w = rng.exponential(size=csc.num_edges) * (rng.random(csc.num_edges) > 1 / 3) * 10
        data[etype] = {"w": w.astype(dtype), "m": rng.random(csc.num_edges) < 0.6}
    data.get(OWNS, {}).pop("m", None)
    return replace(graph, edge_data=data)


GRAPHS = st.builds(lambda graph, dtype: weighted(graph, dtype=dtype), st.builds(
    hetero, st.integers(1, 25), st.integers(0, 8), st.integers(0, 120), st.integers(0, 99)),
    st.sampled_from([np.float32, np.float64, np.int32]))
FANOUT = st.sampled_from([ALL, 0, 1, 2, 5, 33, 40])     # 33 and 40 are sorted, fewer kept as they come


@given(GRAPHS, st.lists(FANOUT, min_size=1, max_size=3), st.booleans(), st.integers(1, 4), st.integers(0, 2**63),
       st.sampled_from([None, "w"]), st.sampled_from([None, "m"]), st.booleans(), st.data())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_draws_are_the_reference_whatever_is_in_view(graph, fanouts, repl, parts, key, prob, mask, return_eids, data):
    seeds = {t: np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), np.int64)
             for t, n in graph.num_nodes.items() if n}
    servers = data.draw(st.integers(1, 4))
    first = data.draw(st.integers(0, servers))
    visible = data.draw(st.sampled_from([None, (first, data.draw(st.integers(first, servers)))]))
    served = serve(graph, parts, servers, visible, data.draw(st.sampled_from([np.int32, np.int64])))
    share = data.draw(st.sampled_from([0, 0.1, 0.5, 1]))
    rng = np.random.default_rng(key % 1000)
    gone = {e: np.flatnonzero(rng.random(csc.num_edges) < share) for e, csc in graph.csc.items()}
    sampler = NeighborSampler(fanouts, prob, repl, mask, return_eids)
    exclude = {e: np.flatnonzero(np.isin(served.orig_edges[e], ids)) for e, ids in gone.items()}
    _, _, blocks = sampler.sample(served.published, {t: served.new[t][ids] for t, ids in seeds.items()}, key, exclude)
    assert visible is None or served.transport.calls <= 2 * len(fanouts)
    hops = [dict.fromkeys(graph.csc, fanout) for fanout in reversed(fanouts)]
    exclusions = {(e, edge) for e, ids in gone.items() for edge in ids.tolist()}
    assert canonical_form(served.published, blocks) == reference(graph, seeds, hops, key, repl, prob, mask, exclusions)
    for block in blocks if return_eids else []:
        for e, csc in block.csc.items():
            assert not np.isin(csc.edge_ids, exclude[e]).any()


def test_an_excluded_edge_is_in_no_block_and_rows_hold_all_that_the_rest_allows():
    graph = hetero(60, 20, 3000, seed=5)
    served = serve(graph, 3, 3, visible=(0, 2))
    rng = np.random.default_rng(1)
    gone = {CITES: np.unique(rng.integers(0, 3000, 900)), WROTE: np.unique(rng.integers(0, 3000, 30))}
    _, _, blocks = NeighborSampler([4, 7], return_eids=True).sample(served.published, {"paper": np.arange(60)}, 9, gone)
    for block, fanout in zip(blocks, (4, 7), strict=True):
        for e, csc in block.csc.items():
            bounds = served.transport._whole[f"edge/{':'.join(e)}/indptr"].local[block.src_ids[e[2]][:csc.num_dst]]
            ids = gone.get(e, np.empty(0, np.int64))
            left = bounds[:, 1] - bounds[:, 0] - np.diff(np.searchsorted(ids, bounds), axis=1)[:, 0]
            assert np.array_equal(np.diff(csc.indptr), np.minimum(left, fanout))
            assert not np.isin(csc.edge_ids, ids).any() and np.unique(csc.edge_ids).size == csc.num_edges


@pytest.mark.parametrize("options", [{}, {"prob": "w"}, {"mask": "m", "replace": True}])
def test_a_frontier_drawn_with_the_key_of_a_hop_is_what_the_sampler_draws(options):
    class OneByOne(NeighborSampler):
        def sample_frontier(self, block_id, g, nodes, key):
            return super().sample_frontier(block_id, g, nodes, key)

    published = serve(weighted(hetero(40, 10, 300, seed=1)), 3).published
    seeds = {"paper": np.array([7, 3, 39, 0]), "author": np.array([9])}
    wanted = [SamplerInput(seeds, 1), SamplerInput({"paper": np.arange(5)}, 2)]
    for return_eids in True, False:
        together = NeighborSampler([2, 3, ALL], return_eids=return_eids, **options).sample_many(published, wanted)
        alone = OneByOne([2, 3, ALL], return_eids=return_eids, **options).sample_many(published, wanted)
        for (inputs, outputs, blocks), (inputs2, outputs2, blocks2) in zip(together, alone, strict=True):
            assert all(np.array_equal(inputs[t], inputs2[t]) for t in inputs)
            assert all(np.array_equal(outputs[t], outputs2[t]) for t in outputs)
            for block, block2 in zip(blocks, blocks2, strict=True):
                assert_equal(block, block2)


def test_a_sampler_of_ones_own_says_only_which_edges_and_leaks_none_that_is_excluded():
    class InEdges(BlockSampler):
        def sample_frontier(self, block_id, g, nodes, key):
            seen.append((block_id, key))
            return in_subgraph(g, nodes)

    seen, graph = [], hetero(20, 5, 100, seed=2)
    published = serve(graph, 2).published
    with pytest.raises(NotImplementedError, match="BlockSampler"):
        BlockSampler(1).sample(published, {"paper": [0]}, 0)
    gone = {CITES: np.arange(0, 100, 3)}
    _, _, blocks = InEdges(2, return_eids=True).sample(published, {"paper": np.arange(20)}, 5, gone)
    _, _, same = MultiLayerFullNeighborSampler(2, return_eids=True).sample(
        published, {"paper": np.arange(20)}, 5, gone)
    assert seen == [(1, (5, 0)), (0, (5, 1))]
    for block, block2 in zip(blocks, same, strict=True):
        assert_equal(block, block2)
        assert not np.isin(block.csc[CITES].edge_ids, gone[CITES]).any()


def test_the_names_of_dgl_are_the_same_samplers():
    assert MultiLayerNeighborSampler is NeighborSampler
    assert MultiLayerFullNeighborSampler(3).fanouts == (ALL, ALL, ALL)


def test_results_go_by_node_and_then_by_draw_and_repeated_nodes_draw_anew():
    served = serve(make_graph({"node": 400}, {LOOP: (np.arange(400), np.zeros(400, int))}), 3)
    hub = served.new["node"][0]
    nodes = np.array([hub, served.new["node"][1], hub, hub])
    found = sample_neighbors(served.published, nodes, 20, key=(1, 2, 3))[LOOP]
    assert found.indptr.tolist() == [0, 20, 20, 40, 60] and np.array_equal(found.nodes, nodes)
    draws = [tuple(found.neighbors[i:i + 20].tolist()) for i in (0, 20, 40)]
    assert len(set(draws)) == 3
    single = sample_neighbors(served.published, [hub], 20, key=(1, 2, 3))[LOOP]
    assert tuple(single.neighbors.tolist()) == draws[0]
    indices = served.published.adjacency(LOOP).indices.flat
    assert np.array_equal(indices[found.eid], found.src) and (found.dst == hub).all()


def test_nothing_asked_for_gives_nothing():
    published = serve(hetero(20, 5, 100, seed=2)).published
    for nodes in {}, {"paper": []}:
        frontier = sample_neighbors(published, nodes, 3)
        assert set(frontier.edges) == {CITES, WROTE, OWNS}
        assert all(e.neighbors.size == e.eid.size == 0 and e.indptr.tolist() == [0] for e in frontier.edges.values())
    assert sample_neighbors(published, {"paper": [1, 2]}, 0)[CITES].indptr.tolist() == [0, 0, 0]


def test_a_row_of_weight_zero_gives_none_and_zero_is_never_drawn():
    graph = make_graph({"node": 3}, {LOOP: ([0, 1, 2, 0, 1], [0, 0, 0, 1, 1])})
    graph = replace(graph, edge_data={LOOP: {"w": np.array([0.0, 2, 0, 0, 0])}})
    published = serve(graph).published
    for fanout, repl, counts in ((ALL, False, [1, 0, 0]), (2, False, [1, 0, 0]), (7, True, [7, 0, 0])):
        found = sample_neighbors(published, np.arange(3), fanout, prob="w", replace=repl)[LOOP]
        assert np.diff(found.indptr).tolist() == counts and set(found.eid.tolist()) == {1}


@pytest.mark.parametrize("wrong", [np.nan, -1.0, np.inf])
@pytest.mark.parametrize("visible", [None, (0, 1)])
def test_a_wrong_weight_is_named(wrong, visible):
    graph = weighted(hetero(40, 10, 300, seed=1))
    served = serve(graph, 3, 2, visible)
    weights = graph.edge_data[CITES]["w"]
    dst = int(np.flatnonzero(np.diff(graph.csc[CITES].indptr))[-1])
    place = int(graph.csc[CITES].indptr[dst + 1]) - 1
    weights[graph.csc[CITES].edge_ids[place]] = wrong
    served = serve(graph, 3, 2, visible)
    edge = int(np.flatnonzero(served.orig_edges[CITES] == graph.csc[CITES].edge_ids[place])[0])
    degree = int(np.diff(graph.csc[CITES].indptr)[dst])
    told = f"cites:paper/data/w of edge {edge}, in-edge {degree - 1} of paper {dst} .*{wrong}"
    with pytest.raises(DataError, match=told):
        sample_neighbors(served.published, {"paper": np.arange(40)}, 2, prob="w")


def test_arguments_that_cannot_be_meant_are_named():
    graph = weighted(hetero(20, 5, 100, seed=2))
    graph.edge_data[CITES] |= {"two": np.zeros((100, 2)), "half": np.zeros(100, np.float16)}
    published = serve(graph).published
    papers = {"paper": [0]}
    for error, text, options in [
            (ConfigError, "sideways", {"edge_dir": "sideways"}),
            (DataError, "holds in-edges only", {"edge_dir": "out"}),
            (ConfigError, "-2", {"fanout": -2}),
            (ConfigError, "owned:author is missing", {"fanout": {CITES: 1, WROTE: 2}}),
            (UnknownName, "'nothing'", {"prob": "nothing"}), (UnknownName, "m is not", {"mask": {OWNS: "m"}}),
            (DataError, "one number", {"prob": "two"}), (DataError, "one number", {"prob": "half"}),
            (DataError, "one number", {"prob": "m"}), (DataError, "one boolean", {"mask": "w"}),
            (IDError, "100 is not in", {"exclude_edges": {CITES: [3, 100]}}),
            (DataError, "must ascend", {"exclude_edges": {CITES: [3, 3]}})]:
        with pytest.raises(error, match=text):
            sample_neighbors(published, papers, **{"fanout": 2} | options)
    with pytest.raises(IDError, match="20"):
        sample_neighbors(published, {"paper": [20]}, 2)


def test_a_block_has_the_rows_that_are_asked_for_and_drops_none_of_the_edges():
    published = serve(hetero(20, 5, 100, seed=2), 2).published
    nodes = {"paper": np.array([3, 9, 0, 3]), "author": np.array([1])}
    frontier = sample_neighbors(published, nodes, 4, key=7)
    dst = {"paper": np.array([0, 17, 3, 9]), "author": np.array([4, 1])}
    block = to_block(frontier, dst)
    bare = to_block(frontier, dst, include_dst_in_src=False)
    for e, csc in block.csc.items():
        drawn = frontier[e]
        assert csc.edge_ids.size == drawn.eid.size
        expected = [drawn.eid[drawn.dst == v].tolist() for v in dst[e[2]]]
        assert [csc.edge_ids[a:b].tolist() for a, b in zip(csc.indptr, csc.indptr[1:], strict=False)] == expected
        for made in block, bare:
            order = {eid: src for eid, src in zip(drawn.eid.tolist(), drawn.src.tolist(), strict=True)}
            assert made.src_ids[e[0]][made.csc[e].indices].tolist() == [order[i] for i in csc.edge_ids.tolist()]
    for t, ids in dst.items():
        met = np.unique(np.concatenate([frontier[e].src for e in block.csc if e[0] == t]))
        assert np.array_equal(block.src_ids[t], [*ids, *np.setdiff1d(met, ids)])
        assert np.array_equal(bare.src_ids[t], met) and np.array_equal(bare.dst_ids[t], ids) and block.dst_ids is None
        assert np.array_equal(block.dst_orig[t], published.orig_ids(t).local[ids, 0])
    with pytest.raises(IDError, match="lead to paper 3, which"):
        to_block(frontier, {"paper": [0, 9], "author": [1]})
    with pytest.raises(IDError, match="0 is given twice"):
        to_block(frontier, {"paper": [0, 9, 0]})
    with pytest.raises(IDError, match="lead to author 1"):
        to_block(Frontier(published, {OWNS: in_subgraph(published, {"author": [1]})[OWNS]}), {})


@pytest.mark.parametrize("options", [{}, {"replace": True}, {"prob": "w"}, {"mask": "m"}, {"return_eids": True}])
def test_blocks_are_the_same_on_any_number_of_threads(options):
    rng = np.random.default_rng(0)
    graph = make_graph({"node": 4000}, {LOOP: rng.integers(0, 4000, (2, 200_000))})
    graph = replace(graph, edge_data={LOOP: {"w": rng.random(200_000), "m": rng.random(200_000) < 0.5}})
    served, gone = serve(graph, 2, 3, visible=(0, 2)), {LOOP: np.unique(rng.integers(0, 200_000, 3000))}
    made = []
    before = threads.num_threads()
    try:
        for count in 1, 2, 3:
            threads.set_num_threads(count)
            made.append(NeighborSampler([20, 30], **options).sample(served.published, np.arange(4000), 1, gone)[2])
            made.append(NeighborSampler([20, 30], **options).sample(served.published, np.arange(4000), 1)[2])
    finally:
        threads.set_num_threads(before)
    for first, other in (0, 2), (0, 4), (1, 3), (1, 5):
        for block, block2 in zip(made[first], made[other], strict=True):
            assert block.num_edges() > 3 * threads.GRAIN
            assert_equal(block, block2)


@given(GRAPHS, FANOUT, st.booleans(), st.integers(1, 4), st.sampled_from([None, "w"]), st.sampled_from([None, "m"]),
       st.booleans(), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_out_edges_are_drawn_as_in_edges_of_the_reversed_graph(graph, fanout, repl, parts, prob, mask, excludes, data):
    servers = data.draw(st.integers(1, 4))
    visible = data.draw(st.sampled_from([None, (0, servers - 1)]))
    served = serve(graph, parts, servers, visible, out_edges=True)
    nodes = {t: np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), np.int64)
             for t, n in graph.num_nodes.items() if n}
    gone = {e: np.arange(0, csc.num_edges, 3) for e, csc in graph.csc.items() if excludes and csc.num_edges}
    found = sample_neighbors(served.published, {t: served.new[t][ids] for t, ids in nodes.items()}, fanout, "out", prob,
                             repl, {e: np.flatnonzero(np.isin(served.orig_edges[e], ids)) for e, ids in gone.items()},
                             (3, 5), mask)
    assert visible is None or served.transport.calls <= 3
    for number, (etype, csc) in enumerate(graph.csc.items()):
        ids = np.arange(csc.num_edges) if csc.edge_ids is None else csc.edge_ids
        dst = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
        drawn, values = found[etype], graph.edge_data[etype]
        assert np.array_equal(drawn.src, np.repeat(drawn.nodes, np.diff(drawn.indptr)))
        for i, node in enumerate(nodes.get(etype[0], ())):
            row = np.flatnonzero(csc.indices == node)
            row = row[np.lexsort((ids[row], dst[row]))]
            allowed = [p for p, e in enumerate(ids[row]) if e not in gone.get(etype, ()) and
                       (mask not in values or values[mask][e])]
            picks = pick_row(derive(3, 5, number, 1), int(node), row.size, fanout, repl and fanout >= 0,
                             values[prob][ids[row]] if prob else None, allowed)
            at = slice(drawn.indptr[i], drawn.indptr[i + 1])
            assert served.orig_edges[etype][drawn.eid[at]].tolist() == ids[row][picks].tolist()
            assert served.orig[etype[2]][drawn.dst[at]].tolist() == dst[row][picks].tolist()


def test_a_wrong_weight_of_an_out_edge_is_named():
    graph = weighted(hetero(20, 5, 100, seed=2))
    graph.edge_data[CITES]["w"][7] = -2
    served = serve(graph, out_edges=True)
    edge = int(np.flatnonzero(served.orig_edges[CITES] == 7)[0])
    with pytest.raises(DataError, match=f"cites:paper/data/w of edge {edge}, an out-edge .* is -2"):
        sample_neighbors(served.published, {"paper": np.arange(20)}, 2, "out", "w")
