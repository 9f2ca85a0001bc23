"""Degrees are those of the graph that messages run on: all as if the edges that carry none were not in the graph."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from services import serve

from graphs import random_graph, random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.config import ModelConfig
from mpignn.errors import DataError
from mpignn.graph.csc import CSC
from mpignn.graph.types import etype_key
from mpignn.nn import GraphConv, make_model
from mpignn.nn.gcn import NORMS
from mpignn.roles import BOTH, Topology
from mpignn.sampling.labor import LaborSampler
from mpignn.sampling.neighbor import ALL, NeighborSampler
from mpignn.store.graph import DistGraph
from mpignn.train.inference import by_samples, layerwise
from mpignn.train.network import Inputs, Network

NOW = 50
WAYS = {"mask": {"mask": "kept"}, "prob": {"prob": "chance"}, "mask and prob": {"mask": "kept", "prob": "some"},
        "exclude": {}, "mask and exclude": {"mask": "kept"}, "edge times": {"edge_timestamp_attr_name": "when"},
        "node times": {"node_timestamp_attr_name": "born"}}
MODELS = [("gcn", {"norm": norm}) for norm in NORMS] + [
    ("sage", {"aggregator": "mean"}), ("sage", {"aggregator": "gcn"}), ("gat", {}), ("gatv2", {}), ("rgcn", {}),
    ("mlp", {})]


def marked(data, rng):
    """The graph with edge and node data by which edges may be left out."""
    edge_data = {}
    for etype, csc in data.csc.items():
        kept = rng.random(csc.num_edges) < 0.6
        edge_data[etype] = {"kept": kept, "chance": kept.astype(np.float32), "when": np.where(kept, 3, NOW),
                            "some": (rng.random(csc.num_edges) < 0.8).astype(np.float32)}
    node_data = {t: dict(named) | {"born": rng.integers(0, 2 * NOW, data.num_nodes[t])}
                 for t, named in data.node_data.items()}
    return replace(data, edge_data=edge_data, node_data=node_data)


def left_by(data, way):
    """(E,) whether each edge may carry a message, by edge type; and the edges that are excluded, by original id."""
    left = {}
    for etype, named in data.edge_data.items():
        left[etype] = named["kept"].copy() if way != "node times" else (
            data.node_data[etype[0]]["born"] < NOW)[sources(data.csc[etype])]
        if way == "mask and prob":
            left[etype] &= named["some"] > 0
    gone = {}
    if "exclude" in way:
        for etype, named in data.edge_data.items():
            gone[etype] = np.flatnonzero(~named["kept"] if way == "exclude" else named["some"] == 0)
            left[etype][gone[etype]] = False
    return left, gone


def sources(csc):
    """(E,) source by original edge id."""
    found = np.empty(csc.num_edges, np.int64)
    found[csc.edge_ids] = csc.indices
    return found


def without(data, left):
    """The graph without the edges that are not left; original edge ids are counted anew, in their order."""
    csc = {}
    for etype, whole in data.csc.items():
        keep = left[etype][whole.edge_ids]
        indptr = np.concatenate([[0], np.cumsum(keep)])[whole.indptr]
        number = np.cumsum(left[etype]) - 1
        csc[etype] = CSC(indptr, whole.indices[keep], number[whole.edge_ids[keep]])
    return replace(data, csc=csc, edge_data={})


def edge_ids(data):
    return replace(data, csc={e: csc if csc.edge_ids is not None else replace(csc, edge_ids=np.arange(csc.num_edges))
                              for e, csc in data.csc.items()})


def two_graphs(make, way, visible=None, out_edges=False):
    data = marked(edge_ids(make(2)), np.random.default_rng(0))
    left, gone = left_by(data, way)
    whole = serve(data, 3, 3, visible, out_edges=out_edges)
    new_edges = {e: np.sort(np.argsort(whole.orig_edges[e])[ids]) for e, ids in gone.items()}
    return whole, new_edges, serve(without(data, left), 3, 3, visible, out_edges=out_edges)


def drawn(sampler, served, seeds, exclude=None, times=None):
    return sampler.sample(served.published, {t: served.new[t][ids] for t, ids in seeds.items()}, 7, exclude, times)[2]


@pytest.mark.parametrize("visible", [None, (0, 1)])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [random_graph, random_hetero_graph])
def test_blocks_tell_the_degrees_of_the_edges_that_may_be_drawn(make, way, visible):
    whole, gone, pruned = two_graphs(make, way, visible)
    seeds = {whole.published.schema.ntypes[0]: np.array([5, 0, 7, 9])}
    times = {t: np.full(ids.size, NOW) for t, ids in seeds.items()} if "times" in way else None
    found = drawn(NeighborSampler([ALL, ALL], source_info=True, **WAYS[way]), whole, seeds, gone, times)
    expected = drawn(NeighborSampler([ALL, ALL], source_info=True), pruned, seeds)
    for block, other in zip(found, expected, strict=True):
        for t, orig in other.src_orig.items():
            assert set(orig.tolist()) == set(block.src_orig[t].tolist())
            place = {node: at for at, node in enumerate(block.src_orig[t].tolist())}
            at = [place[node] for node in orig.tolist()]
            for etype in (e for e in other.in_degrees if e[2] == t):
                np.testing.assert_array_equal(block.in_degrees[etype][at], other.in_degrees[etype])
    assert any(degrees.any() for degrees in expected[0].in_degrees.values())


@pytest.mark.parametrize("make", [random_graph, random_hetero_graph])
def test_labor_draws_as_if_excluded_edges_were_not_there(make):
    whole, gone, pruned = two_graphs(make, "exclude")
    seeds = {t: np.arange(min(20, ids.size)) for t, ids in whole.new.items()}
    found = drawn(LaborSampler([2, 2], source_info=True), whole, seeds, gone)
    expected = drawn(LaborSampler([2, 2], source_info=True), pruned, seeds)
    for block, other in zip(found, expected, strict=True):
        for etype, csc in other.csc.items():
            np.testing.assert_array_equal(block.csc[etype].indptr, csc.indptr)
            np.testing.assert_array_equal(block.in_degrees[etype], other.in_degrees[etype])


@pytest.mark.parametrize("model, options", MODELS)
def test_what_a_model_says_does_not_depend_on_edges_that_carry_no_message(model, options):
    whole, gone, pruned = two_graphs(random_graph, "mask and exclude")
    masked, _, also = two_graphs(random_graph, "mask")
    torch.manual_seed(0)
    stack, rows = None, {}
    for case, served, taken, sampling in (("excluded", whole, gone, {"mask": "kept"}), ("excluded", pruned, {}, {}),
                                          ("masked", masked, {}, {"mask": "kept"}), ("masked", also, {}, {})):
        with DistGraph(served.published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g:
            (ntype,) = g.ntypes
            inputs = Inputs(g.schema, "features", {ntype: 3}, torch.float64)
            if stack is None:
                sizes = {"hidden": 8, "heads": 2, "dropout": 0.0, "attention_dropout": 0.0}
                config = ModelConfig(model=model, **sizes, **options)
                stack = make_model(config, g.schema, inputs.columns, 5, 2).double()
            info = {"source_info": stack.needs_source_info}
            every, one_hop = served.new[ntype], NeighborSampler([ALL], **info, **sampling)
            for fanouts in ([ALL, ALL], [2, 3]):
                sampler = NeighborSampler(fanouts, **info, **sampling)
                inputs_of, _, blocks = sampler.sample(served.published, every, 5, taken)
                x = inputs.of_nodes({ntype: g.nodes[ntype].data["features"][inputs_of]}, {ntype: inputs_of})
                rows.setdefault((case, *fanouts), []).append(stack(blocks, x).detach())
            if not taken and case == "masked":
                network, hops = Network(inputs, stack).eval(), NeighborSampler([2, 3], **info, **sampling)
                for name, made in (("layerwise", layerwise(g, network, one_hop, [ntype], 7)),
                                   ("sampled", by_samples(g, network, hops, [ntype], 5, 7))):
                    rows.setdefault(name, []).append(made[ntype].read_together(every))
    for found, expected in rows.values():
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("visible", [None, (0, 1)])
@pytest.mark.parametrize("way", ["mask", "prob", "exclude", "mask and exclude"])
@pytest.mark.parametrize("norm", NORMS)
def test_between_two_types_sources_have_their_out_degrees(norm, way, visible):
    """Against a dense matrix of the edges that are left."""
    whole, gone, pruned = two_graphs(random_hetero_graph, way, visible, out_edges=True)
    etype = src, _, dst = ("author", "writes", "paper")
    every = {t: np.arange(ids.size) for t, ids in whole.orig.items()}
    sampler = NeighborSampler([ALL], source_info=True, **WAYS[way])
    (block,) = drawn(sampler, whole, every, gone)
    torch.manual_seed(0)
    layer, x = GraphConv(3, 4, norm).double(), torch.randn(every[src].size, 3, dtype=torch.float64)
    rows = x[block.src_orig[src]], torch.zeros(block.num_dst[dst], 3, dtype=torch.float64)
    found = layer(block[etype], rows)
    count = np.zeros((block.num_dst[dst], every[src].size))
    (edges,) = (b.csc[etype] for b in drawn(NeighborSampler([ALL]), pruned, every))
    np.add.at(count, (np.repeat(np.arange(block.num_dst[dst]), np.diff(edges.indptr)), edges.indices), 1)
    (own,) = drawn(NeighborSampler([ALL], source_info=True), pruned, every)
    count = count[:, np.argsort(own.src_orig[src])]      # columns in original ids
    into, out = np.maximum(count.sum(1), 1)[:, None], np.maximum(count.sum(0), 1)
    scale = {"both": 1 / np.sqrt(into * out), "right": 1 / into, "none": 1.0}[norm]
    np.testing.assert_allclose(found.detach().numpy(), (scale * count) @ x.numpy() @ layer.weight.detach().numpy(),
                               rtol=1e-10, atol=1e-10)
    assert count.sum(1).max() > 1 and out.max() > 1


def test_norm_both_between_two_types_asks_for_out_edges_where_they_are_not_known():
    whole, _, _ = two_graphs(random_hetero_graph, "mask")
    (block,) = drawn(NeighborSampler([ALL], source_info=True), whole, {"paper": np.arange(5)})
    author, paper = (torch.zeros(block.num_src_nodes(t), 3) for t in ("author", "paper"))
    part = block["author", "writes", "paper"]
    with pytest.raises(DataError, match="out-degrees of author along author:writes:paper.*--out-edges"):
        GraphConv(3, 4)(part, (author, paper[:5]))
    assert GraphConv(3, 4, "right")(part, (author, paper[:5])).shape == (5, 4)


@pytest.mark.parametrize("way", ["mask", "exclude"])
def test_reading_degrees_fetches_marks_and_no_sources(way):
    whole, gone, _ = two_graphs(random_graph, way, (0, 1))
    (etype,) = whole.published.schema.etypes
    seeds = {etype[0]: np.arange(5)}
    before = dict(whole.transport.rows)
    drawn(NeighborSampler([0], source_info=True, **WAYS[way]), whole, seeds, gone)
    asked = {name: count - before.get(name, 0) for name, count in whole.transport.rows.items()}
    base = f"edge/{etype_key(etype)}"
    assert asked[f"{base}/indptr"] and f"{base}/indices" not in asked
    assert (f"{base}/data/kept" in asked) == (way == "mask")
