"""What a job that infers is said to take is what it allocates."""

import pytest
import torch
from services import serve

from graphs import random_graph, random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.job.memory_plan import plan_inference
from mpignn.nn import make_model
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.sampling.neighbor import ALL, NeighborSampler
from mpignn.store.cut import place
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.tensor import DistTensor
from mpignn.train import inference
from mpignn.train.network import Inputs, Network

ALONE = Topology((0,), (BOTH,))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(("graph", "ntype", "flags"), [
    (random_graph(1), None, {"hidden": 32}), (random_graph(1), None, {"hidden": 8, "fanouts": (5, 5)}),
    (random_graph(1), None, {"hidden": 8, "fanouts": (5,), "precision": "fp64"}),
    (random_hetero_graph(2), "author", {"model": "rgcn", "hidden": 16}),
    (random_hetero_graph(2), "paper", {"model": "rgcn", "hidden": 16, "fanouts": (5, 5)})])
def test_the_rows_that_are_there_at_a_time_are_counted(graph, ntype, flags, sampled, monkeypatch):
    config, served = load_config(None, flags), serve(graph, parts=2)
    taken = []

    def noted(*arguments, **options):
        made = DistTensor(*arguments, **options)
        taken.append(sum(entry.array.local.nbytes for entry in g.registry._entries.values()))
        return made
    monkeypatch.setattr(inference, "DistTensor", noted)
    with DistGraph(served.published, ALONE, LocalGroup(), {}) as g:
        dtype = torch.float64 if config.train.precision == "fp64" else torch.float32
        inputs = Inputs(g.schema, "features", dict.fromkeys(g.ntypes, 3), dtype)
        model = make_model(config.model, g.schema, inputs.columns, 20, config.num_layers)
        network = Network(inputs, model).to(dtype).eval()
        wanted, fanouts = g.ntypes if ntype is None else (ntype,), config.sampling.fanouts
        if sampled:
            inference.by_samples(g, network, NeighborSampler(fanouts), wanted, key=3, batch_size=7)
        else:
            inference.layerwise(g, network, NeighborSampler([ALL]), wanted, batch_size=7)
        placement = place(g.book, published_graph(g).infos, ALONE, lambda *_: 0, "none")
    planned = plan_inference(placement, config, ntype, 20, fanouts=fanouts if sampled else None)
    assert planned.nodes[0]["tensors"] == max(taken)


def test_more_of_it_takes_more():
    served = serve(random_graph(1, 4000, 40000))
    placement = place(served.published.book, served.published.infos, ALONE, lambda *_: 0, "none")

    def size(kind, outputs=20, top_k=None, **flags):
        plan = plan_inference(placement, load_config(None, flags), None, outputs, top_k=top_k)
        return (plan.ranks[0] | plan.nodes[0])[kind]
    assert size("model", hidden=512) > size("model")
    assert size("model", aggregator="pool") > size("model")
    assert size("model", precision="fp64") > size("model")
    assert size("tensors", outputs=400) > size("tensors")
    assert size("batches", fanouts=(1, 1, 1)) == size("batches")       # all neighbors whatever they are
    assert size("ranking", top_k=9) < size("ranking", top_k=90) < size("ranking", top_k=90, precision="fp64")
    few, many = (plan_inference(placement, load_config(None, {}), fanouts=(k, k, k)).ranks[0] for k in (2, 10))
    assert few["batches"] < many["batches"] and few["model"] < many["model"]
