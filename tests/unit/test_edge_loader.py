"""Batches of seed edges: every edge once, ends that belong to them, nothing seen that shall be predicted."""

import itertools

import numpy as np
import pytest
import torch
from services import make_graph, serve
from test_loader import graphs_of

from graphs import HETERO_ETYPES, random_graph, random_hetero_graph
from mpignn import negative
from mpignn.errors import ConfigError, IDError, UnknownName
from mpignn.graph.block import EID, NID
from mpignn.graph.types import ETYPE, NTYPE
from mpignn.loader.edge import EdgeDataLoader
from mpignn.sampling.canonical import canonical_rows, union
from mpignn.sampling.neighbor import NeighborSampler

WRITES, CITES, WRITTEN, IN = HETERO_ETYPES


def new_edges(served, etype=ETYPE, orig=None):
    """Global ids of edges in order of original id."""
    found = np.argsort(served.orig_edges[etype])
    return found if orig is None else found[orig]


def ends(served, etype, eids):
    """(source, destination) of edges, by looking at the whole graph."""
    adjacency = served.published.adjacency(etype)
    return adjacency.indices.flat[eids], np.searchsorted(adjacency.rows.flat, eids, side="right") - 1


def outputs_of(batch, ntype=NTYPE):
    return batch[1].node_ids[ntype]


@pytest.mark.parametrize("trainers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [0, 1, "T-1", "T", "T+1", 97, 4097])
def test_every_edge_exactly_once_and_equal_steps(count, trainers):
    count = eval(count, {"T": trainers}) if isinstance(count, str) else count
    served = serve(random_graph(1, num_edges=max(count, 1) + 3), parts=trainers, servers=trainers)
    eids = np.random.default_rng(count).permutation(count + 3)[:count]
    got = [list(EdgeDataLoader(g, eids, NeighborSampler([1]), batch_size=max(8, count // 3), shuffle=True))
           for g in graphs_of(served, trainers)]
    assert {len(batches) for batches in got} == {-(-count // (max(8, count // 3) * trainers))}
    seen = [batch[1].edata[EID] for batches in got for batch in batches]
    assert sorted(torch.cat([*seen, torch.empty(0, dtype=torch.int64)]).tolist()) == sorted(eids.tolist())
    for step in zip(*got, strict=True):
        sizes = [batch[1].num_edges() for batch in step]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("prefetch", [1, 3])
def test_pairs_are_places_in_the_output_nodes(prefetch):
    graph = random_graph(2)
    served = serve(graph, parts=3)
    (g,) = graphs_of(served, 1)
    sampler = NeighborSampler([2, 2], prefetch_node_feats=["features"], prefetch_labels=["weight"])
    loader = EdgeDataLoader(g, np.arange(100), sampler, batch_size=30, shuffle=True, prefetch=prefetch,
                            negative_sampler=negative.Uniform(3))
    for inputs, positive, negatives, blocks in loader:
        nodes = positive.node_ids[NTYPE]
        assert torch.equal(blocks[-1].dstdata[NID], nodes) and torch.equal(nodes, negatives.node_ids[NTYPE])
        assert torch.equal(blocks[0].srcdata[NID], inputs) and torch.equal(nodes, nodes.unique())
        eids = positive.edata[EID].numpy()
        src, dst = ends(served, ETYPE, eids)
        np.testing.assert_array_equal(nodes[positive.edges()[0]], src)
        np.testing.assert_array_equal(nodes[positive.edges(ETYPE)[1]], dst)
        np.testing.assert_array_equal(nodes[negatives.edges()[0]], np.repeat(src, 3))
        assert negatives.num_edges() == 3 * positive.num_edges() == 3 * eids.size
        np.testing.assert_array_equal(positive.edata["weight"],
                                      graph.edge_data[ETYPE]["weight"][served.orig_edges[ETYPE][eids]])
        np.testing.assert_array_equal(blocks[0].srcdata["features"],
                                      graph.node_data[NTYPE]["features"][served.orig[NTYPE][inputs]])
        assert loader.scale == 1 / eids.size and positive.key == negatives.key == blocks[0].key
    assert loader.stats.seeds == 100 and len(loader) == 4


def test_edges_of_several_types():
    served = serve(random_hetero_graph(2), parts=2)
    (g,) = graphs_of(served, 1)
    eids = {WRITES: np.arange(20), IN: np.arange(30)}
    loader = EdgeDataLoader(g, eids, NeighborSampler([2]), batch_size=16, negative_sampler=negative.InBatch(2))
    seen = {etype: [] for etype in eids}
    for _, positive, negatives, blocks in loader:
        assert positive.canonical_etypes == (WRITES, IN)
        for etype in eids:
            src, dst = ends(served, etype, positive.edge_frames[etype][EID].numpy())
            np.testing.assert_array_equal(positive.node_ids[etype[0]][positive.edges(etype)[0]], src)
            np.testing.assert_array_equal(positive.node_ids[etype[2]][positive.edges(etype)[1]], dst)
            assert set(negatives.node_ids[etype[2]][negatives.edges(etype)[1]].tolist()) <= set(dst.tolist())
            seen[etype] += positive.edge_frames[etype][EID].tolist()
        for ntype, ids in positive.node_ids.items():
            assert torch.equal(blocks[-1].dst_frames[ntype][NID], ids)
        with pytest.raises(UnknownName, match="no pairs"):
            positive.edges(CITES)
    assert {etype: sorted(ids) for etype, ids in seen.items()} == {e: ids.tolist() for e, ids in eids.items()}


def pairs_of(served, graph):
    """(edge type, source, destination) of each pair, in original ids."""
    found = []
    for etype in graph.canonical_etypes:
        sides = [served.orig[t][graph.node_ids[t][side]].tolist()
                 for t, side in zip((etype[0], etype[2]), graph.edges(etype), strict=True)]
        found += zip(itertools.repeat(etype), *sides, strict=False)
    return found


def canonical(served, loaders):
    """What all trainers together see in each step."""
    steps = []
    for batches in zip(*loaders, strict=True):
        pairs = [sorted(pair for batch in batches for pair in pairs_of(served, batch[which])) for which in (1, 2)]
        hops = [union([canonical_rows(served.published, batch[-1][-1 - hop], hop) for batch in batches]).digest()
                for hop in range(len(batches[0][-1]))]
        steps.append((pairs, hops))
    return steps


@pytest.mark.parametrize("exclude", [None, "self", "reverse_id"])
@pytest.mark.parametrize("make", [negative.Uniform, negative.GlobalUniform, negative.InBatch])
def test_a_step_is_the_same_for_any_ranks_partitions_and_prefetch(make, exclude):
    graph, orig = random_graph(4), np.random.default_rng(0).permutation(160)[:90]

    def see(parts, trainers, prefetch):
        served = serve(graph, parts, servers=trainers)
        return canonical(served, [
            EdgeDataLoader(g, new_edges(served, orig=orig), NeighborSampler([3, 3]), global_batch_size=25, shuffle=True,
                           prefetch=prefetch, negative_sampler=make(2, exclude_edges=True), exclude=exclude, seed=5)
            for g in graphs_of(served, trainers)])

    expected = see(1, 1, 1)
    assert len(expected) == 4
    for parts, trainers, prefetch in (4, 1, 2), (2, 2, 1), (5, 3, 3), (3, 5, 4):
        assert see(parts, trainers, prefetch) == expected


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long), pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("trainers", [1, 3])
@pytest.mark.parametrize("fanouts", [[2, 3], [-1, 4]])
def test_no_block_holds_an_excluded_edge_and_fanouts_are_full(seed, trainers, fanouts):
    graph = both_ways(seed)
    served = serve(graph, 3, servers=trainers, seed=seed)
    eids, back = np.arange(0, graph.csc[ETYPE].num_edges, 2), reverse_of(served)
    options = {"global_batch_size": 16, "shuffle": True, "negative_sampler": negative.Uniform(1), "seed": seed}
    for more in {}, {"reverse_eids": back}, {"reverse_eids": {ETYPE: torch.from_numpy(back)}}:
        made = [EdgeDataLoader(g, eids, NeighborSampler(fanouts, return_eids=True), exclude="reverse_id",
                               **(options | more)) for g in graphs_of(served, trainers)]
        seen = check_no_leak(served, made, fanouts, lambda ids: {ETYPE: np.union1d(ids[ETYPE], back[ids[ETYPE]])})
        assert seen > 100
    made = [EdgeDataLoader(g, eids, NeighborSampler(fanouts, return_eids=True), exclude="self", **options)
            for g in graphs_of(served, trainers)]
    check_no_leak(served, made, fanouts, lambda ids: ids)


@pytest.mark.parametrize("mode", ["reverse_types", "reverse_id"])
def test_all_edges_between_the_ends_of_a_seed_are_out_parallel_ones_too(mode):
    rng = np.random.default_rng(2)
    u, v = rng.integers(0, 9, (2, 150))
    if mode == "reverse_types":
        seeds_of, graph = WRITES, make_graph({"author": 9, "paper": 9}, {WRITES: (u, v), WRITTEN: (v, u)})
        more = {"reverse_etypes": {"writes": "written"}}
    else:
        seeds_of, graph, more = ETYPE, make_graph({NTYPE: 9}, {ETYPE: (np.append(u, v), np.append(v, u))}), {}
    served = serve(graph, 3)
    (g,) = graphs_of(served, 1)
    loader = EdgeDataLoader(g, {seeds_of: np.arange(0, 150, 3)}, NeighborSampler([3, 3], return_eids=True),
                            batch_size=5, exclude=mode, **more)

    def hidden(ids):
        pairs, gone = set(zip(*ends(served, seeds_of, ids[seeds_of]), strict=True)), {}
        for etype in g.canonical_etypes:
            seen = enumerate(zip(*ends(served, etype, np.arange(g.num_edges(etype))), strict=True))
            gone[etype] = np.asarray([e for e, (src, dst) in seen if (etype[0] == seeds_of[0] and (src, dst) in pairs)
                                      or (etype[0] == seeds_of[2] and (dst, src) in pairs)], np.int64)
        assert gone[seeds_of].size > ids[seeds_of].size
        return gone

    assert check_no_leak(served, [loader], [3, 3], hidden) > 100


def both_ways(seed):
    """Every edge and its reverse, none twice."""
    rng = np.random.default_rng(seed)
    u, v = np.unique(np.sort(rng.integers(0, 30, (2, 150)), axis=0), axis=1)
    u, v = u[u != v], v[u != v]
    return make_graph({NTYPE: 30}, {ETYPE: (np.concatenate([u, v]), np.concatenate([v, u]))})


def reverse_of(served):
    """Global id of the reverse of each edge."""
    src, dst = ends(served, ETYPE, np.arange(served.orig_edges[ETYPE].size))
    at = {pair: e for e, pair in enumerate(zip(src.tolist(), dst.tolist(), strict=True))}
    return np.asarray([at[pair] for pair in zip(dst.tolist(), src.tolist(), strict=True)])


def check_no_leak(served, loaders, fanouts, hidden_by):
    """Go through an epoch; returns how many edges it looked at."""
    looked = 0
    for batches in zip(*loaders, strict=True):
        ids = {e: np.concatenate([batch[1].edge_frames[e][EID] for batch in batches])
               for e in batches[0][1].canonical_etypes}
        hidden = hidden_by(ids)
        for batch, (fanout, hop) in itertools.product(batches, zip(reversed(fanouts), range(9), strict=False)):
            block = batch[-1][-1 - hop]
            for etype, csc in block.csc.items():
                gone = hidden.get(etype, np.empty(0, np.int64))
                assert not np.isin(csc.edge_ids, gone).any()
                bounds = served.published.adjacency(etype).rows.local[block.src_ids[etype[2]][:csc.num_dst]]
                for (start, end), count in zip(bounds, np.diff(csc.indptr), strict=True):
                    left = end - start - np.isin(np.arange(start, end), gone).sum()
                    assert count == (left if fanout == -1 else min(fanout, left))
                looked += csc.num_edges
    return looked


@pytest.mark.parametrize("exclude", [None, "self"])
def test_neighbors_of_another_graph(exclude):
    graph, other = random_graph(1), random_graph(9)
    served, second = serve(graph, 3, seed=1), serve(other, 2, seed=2)
    (g,), (drawn_from,) = graphs_of(served, 1), graphs_of(second, 1)
    sampler = NeighborSampler([-1], prefetch_node_feats=["features"], prefetch_labels=["weight"])
    for inputs, positive, negatives, (block,) in EdgeDataLoader(
            g, np.arange(50), sampler, batch_size=20, g_sampling=drawn_from, exclude=exclude,
            negative_sampler=negative.Uniform(2)):
        src, dst = ends(served, ETYPE, positive.edata[EID].numpy())
        assert pairs_of(second, positive) == [
            (ETYPE, *pair) for pair in zip(served.orig[NTYPE][src], served.orig[NTYPE][dst], strict=True)]
        assert negatives.num_edges() == 2 * src.size
        full = second.published.adjacency(ETYPE).rows.local[positive.node_ids[NTYPE]]
        np.testing.assert_array_equal(np.diff(block.csc[ETYPE].indptr), full[:, 1] - full[:, 0])    # nothing taken out
        np.testing.assert_array_equal(block.srcdata["features"],
                                      other.node_data[NTYPE]["features"][second.orig[NTYPE][inputs]])
    (smaller,) = graphs_of(serve(random_graph(1, num_nodes=39)), 1)
    with pytest.raises(ConfigError, match="39 _N nodes and g has 40"):
        EdgeDataLoader(g, [0], NeighborSampler([1]), batch_size=1, g_sampling=smaller)


@pytest.mark.parametrize(("change", "error", "part"), [
    ({"exclude": "others"}, ConfigError, "exclude is 'others'; it is one of: None, self, reverse_id, reverse_types"),
    ({"exclude": "reverse_types"}, ConfigError, "reverse_etypes"),
    ({"exclude": "self", "reverse_eids": [1]}, ConfigError, "reverse_eids goes with"),
    ({"eids": {CITES: [160]}}, IDError, "seed 0 is paper:cites:paper 160"),
    ({"eids": {"likes": [0]}}, UnknownName, "likes"),
    ({"eids": {WRITES: [0]}, "exclude": "reverse_id"}, ConfigError, "says nothing of author:writes:paper"),
    ({"exclude": "reverse_types", "reverse_etypes": {"cites": "written"}}, ConfigError, "does not lead back"),
    ({"sampler": NeighborSampler([1], prefetch_labels=["nope"])}, UnknownName, "nope"),
])
def test_what_cannot_be_is_refused(change, error, part):
    (g,) = graphs_of(serve(random_hetero_graph(2)), 1)
    arguments = {"eids": {CITES: [0]}, "sampler": NeighborSampler([2]), "batch_size": 2} | change
    with pytest.raises(error, match=part):
        EdgeDataLoader(g, **arguments)
