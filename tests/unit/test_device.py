"""The operators for rows on a GPU, tried where there is none: on CPU tensors that are said to be elsewhere."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from services import serve

from blocks import HETERO, SCHEMA, ends, hetero_block, know_sources, make_block, make_csc, rows
from graphs import random_graph
from mpignn.comm.group import LocalGroup
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.models import MODELS, takes_types
from mpignn.nn import device, edges, make_model, message
from mpignn.nn.dropout import keyed_dropout
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train import api, gpus

CSC = make_csc([3, 0, 1, 9], 11)


def both_ways(call, monkeypatch):
    here = call()
    monkeypatch.setattr(device, "elsewhere", lambda x: True)
    return here, call()


@pytest.mark.parametrize("how", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_reductions_are_those_of_the_kernels(how, dtype, monkeypatch):
    x = rows(11, 5, torch.float32).to(dtype)
    torch.testing.assert_close(*both_ways(lambda: message.reduce_copies(CSC, x, how), monkeypatch))


def test_edges_and_attention_are_those_of_the_kernels_with_gradients(monkeypatch):
    z, logits, right = rows(11, (2, 3)).requires_grad_(), rows(13, 2).requires_grad_(), rows(4, 2).requires_grad_()

    def call():
        attention = edges.edge_softmax(CSC, logits + edges.from_dst(CSC, right))
        out = edges.weighted_sum(CSC, z, edges.edge_dropout(CSC, attention, 0.3, 7, np.arange(4) * 10**12))
        return [out, *torch.autograd.grad(out.square().sum(), [z, logits])]
    for here, there in zip(*both_ways(call, monkeypatch), strict=True):
        torch.testing.assert_close(here, there)


@pytest.mark.parametrize("p", [0.3, 1.0])
def test_dropout_has_the_mask_of_the_kernel(p, monkeypatch):
    x, ids = rows(50, 40), np.random.default_rng(0).integers(0, 2**62, 50)
    here, there = both_ways(lambda: keyed_dropout(x, p, 0xFEDCBA9876543210, ids), monkeypatch)
    assert torch.equal(here != 0, there != 0)
    torch.testing.assert_close(here, there)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.learns and takes_types(model)])
def test_relations_too(name, monkeypatch):
    torch.manual_seed(0)
    config = ModelConfig(model=name, hidden=8, combine="attention", norm="right")
    model, block = make_model(config, HETERO, {"user": 7}, 3, 1).double(), hetero_block()
    block.in_degrees.update({etype: np.diff(csc.indptr) for etype, csc in block.csc.items()})
    here, there = both_ways(lambda: model([block], {"user": rows(7, 7)}), monkeypatch)
    torch.testing.assert_close(here, there)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not model.several_types])
def test_models_give_what_they_give_on_the_cpu(name, monkeypatch):
    torch.manual_seed(0)
    model = make_model(ModelConfig(model=name, hidden=8, attention_dropout=0.3), SCHEMA, {"node": 7}, 3, 2).double()
    blocks = [make_block([4, 2, 0, 5, 3, 3], 10, 1), make_block([3, 0, 6], 6, 2)]
    for block in blocks:
        know_sources(block, 5 + np.arange(10)[:block.num_src_nodes()] % 4)
    x = rows(10, 7)

    def call():
        out = model(blocks, x, key=3)
        return [out, *torch.autograd.grad(out.square().sum(), list(model.parameters()))]
    for here, there in zip(*both_ways(call, monkeypatch), strict=True):
        torch.testing.assert_close(here, there)


def test_no_edges_at_all(monkeypatch):
    x, csc = rows(3, 2).requires_grad_(), make_csc([0, 0], 3)
    here, there = both_ways(lambda: message.copy_u_mean(csc, x), monkeypatch)
    assert torch.equal(here, there)
    there.sum().backward()
    assert not x.grad.any() and ends(csc)[0].size == 0


def test_a_block_takes_its_frames_along_and_keeps_its_edges():
    block = make_block([2, 1], 5)
    block.srcdata["h"], block.dstdata["y"], block.edata["w"] = torch.zeros(5, 2), torch.zeros(2), torch.zeros(3)
    moved = block.to("meta")
    assert {moved.srcdata["h"].device.type, moved.dstdata["y"].device.type, moved.edata["w"].device.type} == {"meta"}
    assert block.srcdata["h"].device.type == "cpu"
    assert moved.csc is block.csc


@pytest.mark.parametrize("task", ["node_classification", "edge_classification"])
def test_a_whole_step_is_where_the_settings_say(task):
    """On the device meta, which computes nothing, but refuses what lies on two devices."""
    graph = random_graph(1, 200, 2000)
    (etype,) = graph.csc
    seeds = {"_N": {"train": np.arange(40)}, "_N:_E:_N": {"train": np.arange(40)}}
    graph = replace(graph, edge_data={etype: {"labels": np.arange(graph.csc[etype].num_edges) % 3}})
    flags = {"task": task, "fanouts": (5, 5), "hidden": 8, "dropout": 0.5, "input_dropout": 0.1, "embed": "all",
             "embed_dim": 4, "global_batch_size": 20}
    config = load_config(None, flags)
    config = replace(config, world=replace(config.world, device="meta"))
    with DistGraph(serve(graph).published, Topology((0,), (BOTH,)), LocalGroup(), seeds) as g:
        learnt = api.make_task(g, config)
        network = api.make_network(g, learnt, config)
        batch = next(iter(learnt.loader(g, config, "train", learnt.sampler((5, 5), network), 0, shuffle=True)))
        loss = learnt.loss(network, batch)
        grads = torch.autograd.grad(loss, list(network.parameters()))
        assert {x.device.type for x in (loss, *grads, *network.parameters())} == {"meta"}
        assert network.state_dict().keys().isdisjoint({"inputs.place"})


@pytest.mark.parametrize(("seen", "dealt"), [
    ([("a", "b"), ("a", "b")], [0, 1]), ([("a",), ("b",)], [0, 0]), ([("a", "b"), ("c", "d"), ("a", "b")], [0, 0, 1]),
    ([("b", "a"), ("a", "b")], [0, 0])])
def test_each_trainer_has_a_gpu_of_its_own(seen, dealt):
    assert gpus.deal(seen) == dealt


@pytest.mark.parametrize(("seen", "part"), [
    ([("a",), ()], "trainer 1 sees no GPU"), ([("a",), ("a",)], r"trainer 1 sees 1 GPU\(s\), and trainers before it")])
def test_gpus_are_not_shared(seen, part):
    with pytest.raises(ConfigError, match=part):
        gpus.deal(seen)
