"""A task and a network are made apart, and go together."""

from dataclasses import replace

import numpy as np
from services import serve

from graphs import random_graph
from mpignn.comm.group import LocalGroup
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train import api


def test_one_task_draws_for_several_networks():
    """GCN reads whole degrees from its blocks, GraphSAGE does not."""
    graph = random_graph(1, 200, 2000)
    graph = replace(graph, node_data={"_N": graph.node_data["_N"] | {"labels": np.arange(200) % 3}})
    splits = {"_N": {"train": np.arange(40)}}
    with DistGraph(serve(graph).published, Topology((0,), (BOTH,)), LocalGroup(), splits) as g:
        configs = [load_config(None, {"model": model, "fanouts": (5, 5), "hidden": 8}) for model in ("sage", "gcn")]
        task = api.make_task(g, configs[0])
        before = dict(vars(task))
        sage, gcn = (api.make_network(g, task, config) for config in configs)
        assert vars(task) == before
        for network, has_degrees in ((gcn, True), (sage, False), (gcn, True)):
            batch = next(iter(task.loader(g, configs[0], "train", task.sampler((5, 5), network), 0, shuffle=False)))
            assert task.loss(network, batch).isfinite()
            assert (task.sampler((5, 5), network) is task.sampler([5, 5], gcn)) is has_degrees
        assert task.sampler((5, 5), None) is task.sampler((5, 5), sage)
