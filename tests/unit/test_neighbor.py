"""Mini-batches drawn from published graphs."""

import mmap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_sampling import sample as reference
from services import make_graph, serve

from mpignn.errors import ConfigError, IDError, UnknownName
from mpignn.sampling.block_sampler import SamplerInput
from mpignn.sampling.canonical import canonical_form, canonical_rows, union
from mpignn.sampling.neighbor import ALL, NeighborSampler

CITES, WROTE, OWNS = ("paper", "cites", "paper"), ("author", "wrote", "paper"), ("paper", "owned", "author")
LOOP = ("node", "to", "node")


def hetero(num_papers, num_authors, num_edges, seed):
    """Random, so with multi-edges, self loops and isolated nodes; paper 0 is a hub."""
    rng = np.random.default_rng(seed)
    sizes = {"paper": num_papers, "author": num_authors}
    edges = {}
    for etype in CITES, WROTE, OWNS:
        count = num_edges if sizes[etype[0]] and sizes[etype[2]] else 0
        src, dst = (rng.integers(0, sizes[t], count) if count else np.empty(0, int) for t in (etype[0], etype[2]))
        dst[:count // 3] = 0
        edges[etype] = src, dst
    return make_graph(sizes, edges)


def homo(num_nodes, num_edges, seed=0):
    rng = np.random.default_rng(seed)
    return make_graph({"node": num_nodes}, {LOOP: rng.integers(0, num_nodes, (2, num_edges))})


GRAPHS = st.builds(hetero, st.integers(1, 25), st.integers(0, 8), st.integers(0, 120), st.integers(0, 99))
FANOUT = st.integers(ALL, 6)


@given(GRAPHS, st.lists(FANOUT, min_size=1, max_size=3), st.booleans(), st.integers(1, 4), st.integers(0, 2**63),
       st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_draws_are_the_reference_for_any_partitioning(graph, fanouts, replace, parts, key, data):
    seeds = {t: np.array(data.draw(st.lists(st.integers(0, n - 1), unique=True)), np.int64)
             for t, n in graph.num_nodes.items() if n}
    served = serve(graph, parts, servers=data.draw(st.integers(1, 5)),
                   index_dtype=data.draw(st.sampled_from([np.int32, np.int64])))
    new = {t: served.new[t][ids] for t, ids in seeds.items()}
    _, _, blocks = NeighborSampler(fanouts, replace=replace).sample(served.published, new, key)
    hops = [dict.fromkeys(graph.csc, fanout) for fanout in reversed(fanouts)]
    assert canonical_form(served.published, blocks) == reference(graph, seeds, hops, key, replace)


@given(GRAPHS, st.lists(FANOUT, min_size=1, max_size=3), st.booleans(), st.integers(1, 4), st.data())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_what_is_in_view_changes_nothing(graph, fanouts, return_eids, parts, data):
    servers = data.draw(st.integers(1, 4))
    first = data.draw(st.integers(0, servers))
    visible = first, data.draw(st.integers(first, servers))
    inputs = [SamplerInput({"paper": np.arange(min(n, graph.num_nodes["paper"]))}, key)
              for n, key in ((4, 5), (25, 6), (0, 7))]
    sampler = NeighborSampler(fanouts, return_eids=return_eids)
    results = [sampler.sample_many(serve(graph, parts, servers, view).published, inputs)
               for view in (None, visible)]
    for (inputs, outputs, blocks), (inputs2, outputs2, blocks2) in zip(*results, strict=True):
        for t in graph.num_nodes:
            assert np.array_equal(inputs[t], inputs2[t]) and np.array_equal(outputs[t], outputs2[t])
        for block, block2 in zip(blocks, blocks2, strict=True):
            assert_equal(block, block2)


def assert_equal(a, b):
    assert a.num_dst == b.num_dst
    for t in a.schema.ntypes:
        assert np.array_equal(a.src_ids[t], b.src_ids[t]) and np.array_equal(a.dst_orig[t], b.dst_orig[t])
    for e in a.schema.etypes:
        assert np.array_equal(a.csc[e].indptr, b.csc[e].indptr)
        assert np.array_equal(a.csc[e].indices, b.csc[e].indices)
        assert (a.csc[e].edge_ids is None) == (b.csc[e].edge_ids is None)
        assert a.csc[e].edge_ids is None or np.array_equal(a.csc[e].edge_ids, b.csc[e].edge_ids)


@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("visible", [None, (1, 2)])
def test_blocks_are_laid_out_as_promised(index_dtype, visible):
    graph = hetero(40, 10, 300, seed=1)
    served = serve(graph, 3, 3, visible, index_dtype)
    seeds = {"paper": np.array([7, 3, 39, 0]), "author": np.array([9])}
    inputs, outputs, blocks = NeighborSampler([2, 3, 4], return_eids=True).sample(served.published, seeds, 1)
    assert len(blocks) == 3
    for t in graph.num_nodes:
        assert np.array_equal(outputs[t], seeds[t]) and outputs[t].dtype == np.int64
        assert np.array_equal(inputs[t], blocks[0].src_ids[t])
        assert np.array_equal(blocks[-1].src_ids[t][:blocks[-1].num_dst[t]], seeds[t])
    for block, nearer in zip(blocks, [*blocks[1:], None], strict=True):
        for t in graph.num_nodes:
            src, num_dst = block.src_ids[t], block.num_dst[t]
            if nearer is not None:
                assert np.array_equal(src[:num_dst], nearer.src_ids[t])
            assert src.dtype == np.int64 and np.unique(src).size == src.size
            assert (np.diff(src[num_dst:]) > 0).all()
            assert np.array_equal(block.dst_orig[t], served.orig[t][src[:num_dst]])
        met = {t: [block.src_ids[t][:block.num_dst[t]]] for t in graph.num_nodes}
        for e, csc in block.csc.items():
            assert csc.indptr.dtype == np.int64 and csc.indices.dtype == np.int32 and csc.edge_ids.dtype == np.int64
            assert csc.num_dst == block.num_dst[e[2]] and csc.indptr[-1] == csc.indices.size == csc.edge_ids.size
            neighbors = block.src_ids[e[0]][csc.indices]
            met[e[0]].append(neighbors)
            # An edge id leads back to the edge.
            full = served.transport._whole if visible else served.transport.arrays
            rows, indices = full[f"edge/{':'.join(e)}/indptr"], full[f"edge/{':'.join(e)}/indices"]
            assert np.array_equal(indices.flat[csc.edge_ids], neighbors)
            owner = np.searchsorted(rows.flat, csc.edge_ids, side="right") - 1
            dst = block.src_ids[e[2]][np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))]
            assert np.array_equal(owner, dst)
        for t in graph.num_nodes:
            assert set(np.concatenate(met[t]).tolist()) == set(block.src_ids[t].tolist())


def test_a_homogeneous_graph_gives_bare_arrays_and_takes_them():
    served = serve(homo(30, 200))
    inputs, outputs, blocks = NeighborSampler([3]).sample(served.published, [4, 2], 0)
    assert outputs.tolist() == [4, 2] and np.array_equal(inputs, blocks[0].src_ids["node"])
    again, _, _ = NeighborSampler([3]).sample(served.published, {"node": np.array([4, 2])}, 0)
    assert np.array_equal(inputs, again)


@pytest.mark.parametrize("visible", [None, (0, 1)])
def test_sources_come_with_original_ids_and_whole_in_degrees_if_asked_for(visible):
    graph = hetero(40, 10, 300, seed=1)
    served = serve(graph, 3, 3, visible)
    seeds = {"paper": np.array([7, 3, 39, 0])}
    _, _, blocks = NeighborSampler([2, 0, 3], source_info=True).sample(served.published, seeds, 1)
    for block in blocks:
        for t, ids in block.src_ids.items():
            np.testing.assert_array_equal(block.src_orig[t], served.orig[t][ids])
        for etype, csc in graph.csc.items():
            np.testing.assert_array_equal(block.in_degrees[etype], np.diff(csc.indptr)[block.src_orig[etype[2]]])
    (plain,) = NeighborSampler([2]).sample(served.published, seeds, 1)[2]
    assert plain.src_orig is None and plain.in_degrees == {}


def test_the_last_fanout_is_for_the_seeds():
    served = serve(homo(500, 20_000))
    _, _, blocks = NeighborSampler([2, 7]).sample(served.published, np.arange(10), 0)
    assert [np.diff(b.csc[LOOP].indptr).max() for b in blocks] == [2, 7]


def test_full_fanout_keeps_every_in_edge_once_in_order_of_the_row():
    graph = homo(20, 100)
    served = serve(graph, 2)
    for sampler in NeighborSampler([ALL]), NeighborSampler([100]), NeighborSampler([ALL], replace=True):
        _, _, (block,) = sampler.sample(served.published, np.arange(20), 3)
        rows = canonical_rows(served.published, block, 0)
        assert np.array_equal(rows.indptr, graph.csc[LOOP].indptr)
        assert np.array_equal(rows.src, graph.csc[LOOP].indices)


def test_with_replacement_every_row_with_edges_gets_exactly_the_fanout():
    graph = make_graph({"node": 4}, {LOOP: ([0, 1, 2, 1], [0, 2, 2, 2])})
    _, _, (block,) = NeighborSampler([9], replace=True).sample(serve(graph).published, np.arange(4), 0)
    assert np.diff(block.csc[LOOP].indptr).tolist() == [9, 0, 9, 0]


def test_isolated_nodes_keep_their_rows():
    graph = make_graph({"node": 5}, {LOOP: ([1], [1])})
    inputs, outputs, (block,) = NeighborSampler([4]).sample(serve(graph).published, [3, 1, 0], 0)
    assert inputs.tolist() == outputs.tolist() == [3, 1, 0]
    assert block.csc[LOOP].indptr.tolist() == [0, 0, 1, 1] and block.csc[LOOP].indices.tolist() == [1]


def test_one_node_with_a_self_loop_and_no_seeds_at_all():
    published = serve(make_graph({"node": 1}, {LOOP: ([0, 0], [0, 0])})).published
    inputs, _, blocks = NeighborSampler([1, 1]).sample(published, [0], 0)
    assert inputs.tolist() == [0] and [b.csc[LOOP].indices.tolist() for b in blocks] == [[0], [0]]
    inputs, outputs, blocks = NeighborSampler([1, 1]).sample(published, np.empty(0, np.int64), 0)
    assert inputs.size == outputs.size == sum(b.num_edges() for b in blocks) == 0
    assert blocks[0].csc[LOOP].indptr.tolist() == [0]


def test_a_mapping_gives_each_edge_type_its_own_fanout():
    graph = hetero(40, 10, 300, seed=2)
    served = serve(graph)
    fanouts = {CITES: 2, "wrote": 0, "paper:owned:author": ALL}
    _, _, blocks = NeighborSampler([fanouts, 3]).sample(served.published, {"paper": np.arange(40)}, 11)
    hops = [dict.fromkeys(graph.csc, 3), {CITES: 2, WROTE: 0, OWNS: ALL}]
    assert canonical_form(served.published, blocks) == reference(graph, {"paper": np.arange(40)}, hops, 11)


def test_batches_made_together_are_those_made_alone_and_stay_whole():
    served = serve(homo(3000, 200_000), 2, 3, visible=(0, 2))
    sampler = NeighborSampler([5, 10])
    seeds = [np.arange(i, 3000, 7) for i in range(5)]
    together = sampler.sample_many(served.published, [SamplerInput(s, key) for key, s in enumerate(seeds)])
    for _ in range(3):      # what was handed out must survive later calls
        alone = [sampler.sample(served.published, s, key) for key, s in enumerate(seeds)]
    for (_, _, blocks), (_, _, blocks2) in zip(together, alone, strict=True):
        for block, block2 in zip(blocks, blocks2, strict=True):
            assert_equal(block, block2)


def test_results_do_not_share_memory_with_the_seeds():
    served, seeds = serve(homo(30, 200)), np.array([4, 2])
    _, outputs, blocks = NeighborSampler([3]).sample(served.published, seeds, 0)
    seeds[:] = 0
    assert outputs.tolist() == blocks[0].src_ids["node"][:2].tolist() == [4, 2]


def test_all_batches_share_two_round_trips_a_hop_and_rows_are_asked_for_once():
    graph = hetero(60, 20, 600, seed=3)
    served = serve(graph, 3, 3, visible=(1, 2))
    result = NeighborSampler([3, 3]).sample_many(
        served.published, [SamplerInput({"paper": np.arange(i, 60, 4)}, i) for i in range(4)])
    assert served.transport.calls == 4
    array = served.published.orig_ids("paper")
    # The inputs of the last hop are not expanded: nobody asks for their rows.
    expanded = [blocks[0].src_ids["paper"][:blocks[0].num_dst["paper"]] for _, _, blocks in result]
    hidden = sum(((ids < array.lo) | (ids >= array.hi)).sum() for ids in expanded)
    assert served.transport.rows["node/paper/orig_id"] == hidden > 0


def test_nothing_is_sent_where_all_is_in_view():
    served = serve(hetero(60, 20, 600, seed=3), 3, 3, visible=(0, 3))
    NeighborSampler([3, 3], return_eids=True).sample(served.published, {"paper": np.arange(60)}, 0)
    assert served.transport.calls == 0


def test_the_union_over_trainers_is_that_of_one_trainer():
    graph = hetero(60, 20, 600, seed=4)
    one, many = serve(graph, 1), serve(graph, 4, 2, visible=(0, 1))
    sampler, seeds = NeighborSampler([2, 3, 2]), np.arange(0, 60, 2)
    _, _, whole = sampler.sample(one.published, {"paper": one.new["paper"][seeds]}, 8)
    shares = [sampler.sample(many.published, {"paper": many.new["paper"][seeds[i::3]]}, 8)[2] for i in range(3)]
    digests = []
    for hop in range(3):
        rows = [canonical_rows(many.published, blocks[-1 - hop], hop) for blocks in shares]
        digests.append(union(rows).digest())
        assert union(rows[::-1]).digest() == digests[-1]
        assert digests[-1] == canonical_rows(one.published, whole[-1 - hop], hop).digest()
    assert len(set(digests)) == 3


def test_the_digest_tells_any_difference():
    served = serve(homo(300, 6000))
    seen = set()
    for seeds, fanout, key in ((range(9), 5, 0), (range(8), 5, 0), (range(9), 4, 0), (range(9), 5, 1)):
        _, _, (block,) = NeighborSampler([fanout]).sample(served.published, list(seeds), key)
        seen |= {canonical_rows(served.published, block, hop).digest() for hop in (0, 1)}
    assert len(seen) == 8


def test_a_union_of_contradictions_is_refused():
    served = serve(homo(300, 6000))
    rows = [canonical_rows(served.published, NeighborSampler([5]).sample(served.published, [1, 2], key)[2][0], 0)
            for key in (0, 1)]
    with pytest.raises(Exception, match="destination 1 of edge type 0 drew"):
        union(rows)


def test_draws_change_with_key_and_hop():
    served = serve(make_graph({"node": 1000}, {LOOP: (np.arange(1000), np.zeros(1000, int))}))
    _, _, blocks = NeighborSampler([20, 20]).sample(served.published, [0], 1)
    _, _, other = NeighborSampler([20, 20]).sample(served.published, [0], 2)
    drawn = [canonical_form(served.published, b)[h][LOOP][0][1] for b in (blocks, other) for h in (0, 1)]
    assert len(set(drawn)) == 4


def test_threads_may_share_a_sampler():
    served = serve(homo(3000, 200_000))
    sampler = NeighborSampler([5, 10])
    alone = [sampler.sample(served.published, np.arange(i, 3000, 3), i)[2] for i in range(3)]
    start = threading.Barrier(3)

    def work(i):
        start.wait()
        return [sampler.sample(served.published, np.arange(i, 3000, 3), i)[2] for _ in range(10)]

    with ThreadPoolExecutor(3) as pool:
        for i, results in enumerate(pool.map(work, range(3))):
            for blocks in results:
                for block, block2 in zip(blocks, alone[i], strict=True):
                    assert_equal(block, block2)


def test_memory_of_batches_that_are_gone_is_used_again():
    served, sampler, places, others = serve(homo(3000, 400_000)), NeighborSampler([100]), set(), []
    for key in range(5):
        _, _, (block,) = sampler.sample(served.published, np.arange(3000), key)
        places.add(block.csc[LOOP].indices.ctypes.data)
        del block
        others.append(mmap.mmap(-1, 2 << 20))       # takes the place of what was given back
    assert len(places) == 1


def test_a_failed_fetch_leaves_nothing_behind():
    graph = hetero(60, 20, 600, seed=3)
    served, broken = (serve(graph, 3, 3, visible=(1, 2)) for _ in range(2))
    sampler, seeds = NeighborSampler([3, 3]), {"paper": np.arange(0, 60, 3)}
    _, _, expected = sampler.sample(served.published, seeds, 0)
    fetch, calls = broken.transport.gather, []

    def fail_later(requests):
        calls.append(1)
        if len(calls) == 4:
            raise ConnectionError("gone")
        return fetch(requests)

    broken.transport.gather = fail_later
    with pytest.raises(ConnectionError):
        sampler.sample(broken.published, seeds, 0)
    _, _, blocks = sampler.sample(served.published, seeds, 0)
    for block, block2 in zip(blocks, expected, strict=True):
        assert_equal(block, block2)


@pytest.mark.parametrize("seeds, error, text", [
    ([3, 30], IDError, "30"), ([-1], IDError, "-1"), ([1, 2, 7, 2, 1], IDError, "2 is given twice"),
    ([0.5], IDError, "float64"), ([[1]], IDError, r"\(1, 1\)"), ({"nodes": [1]}, UnknownName, "nodes"),
])
def test_bad_seeds_are_named(seeds, error, text):
    with pytest.raises(error, match=text):
        NeighborSampler([3]).sample(serve(homo(30, 200)).published, seeds, 0)


@pytest.mark.parametrize("fanouts, text", [
    ([], "empty"), ([3, -2], "-2"), ([1.5], "1.5"), ([{LOOP: -3}], "-3"), ([1 << 31], str(1 << 31)), (["5"], "'5'")])
def test_bad_fanouts_are_named(fanouts, text):
    with pytest.raises(ConfigError, match=text):
        NeighborSampler(fanouts)


def test_a_mapping_must_name_every_edge_type_and_no_other():
    published = serve(hetero(9, 3, 20, seed=0)).published
    with pytest.raises(ConfigError, match="author:wrote:paper is missing"):
        NeighborSampler([{CITES: 2, OWNS: 1}]).sample(published, {"paper": [0]}, 0)
    with pytest.raises(UnknownName, match="likes"):
        NeighborSampler([{CITES: 2, OWNS: 1, WROTE: 1, "likes": 2}]).sample(published, {"paper": [0]}, 0)
