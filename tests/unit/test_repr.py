"""What is printed in a notebook or a log tells sizes, and is no dump of arrays."""

import inspect
from collections.abc import Iterator

import numpy as np
import torch
from services import serve

import mpignn
from graphs import HETERO_ETYPES, random_hetero_graph
from mpignn import negative
from mpignn.comm.group import LocalGroup
from mpignn.loader.edge import EdgeDataLoader
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.sampling.frontier import sample_neighbors
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.storage.write import partition_graph
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.train.tasks.base import Task


def test_objects_that_users_meet_are_told_in_a_line():
    data = random_hetero_graph(2, 2000, 9000)
    with DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g:
        frontier = sample_neighbors(g, {"paper": np.arange(2000)}, 5)
        loader = EdgeDataLoader(g, {HETERO_ETYPES[1]: np.arange(3000)}, NeighborSampler([5]), batch_size=3000,
                                negative_sampler=negative.Uniform(2))
        _, positive, _, (block,) = next(iter(loader))
        tensor = DistTensor((2000, 3), torch.float32, part_policy="paper", g=g)
        for thing in (block, frontier, frontier["cites"], positive, block.csc, data, g, tensor, g.local_partition,
                      g.nodes["paper"].data, g.schema):
            assert len(repr(thing)) < 600 and "\n" not in repr(thing), repr(thing)
        assert repr(frontier["cites"]).startswith("FrontierEdges(in: 2000 nodes, ")
        assert "paper: 2000" in repr(g) and f"paper:cites:paper: {block.num_edges('cites')}" in repr(block)
    assert repr(g) == "DistGraph(closed)"


def examples(data, tmp_path) -> Iterator[object]:
    """An object of each public class that is no error."""
    partition_graph(data, tmp_path / "graph", 2, method="range")
    config = load_config(None, {"task": "link_prediction", "hidden": 8})
    with (DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g,
          mpignn.GraphFile(tmp_path / "graph") as file):
        nids, eids = {"paper": np.arange(9)}, {HETERO_ETYPES[1]: np.arange(9)}
        ranges = file.book
        sampler = NeighborSampler([5])
        rows = mpignn.DistEmbedding(2000, 3, "rows", g=g, part_policy="paper")
        loader = EdgeDataLoader(g, eids, sampler, batch_size=9, negative_sampler=negative.Uniform(2))
        _, pairs, _, (block,) = next(iter(loader))
        yield from (config, g, file, ranges, sampler, rows, rows.weight, loader, pairs, block, mpignn.Callback())
        owners = [{key: book(key) for key in keys} for keys, book in (
            (ranges.ntypes, lambda key: ranges.nid2partid(np.arange(ranges.num_nodes(key)), key)),
            (ranges.canonical_etypes, lambda key: ranges.eid2partid(np.arange(ranges.num_edges(key)), key)))]
        yield mpignn.BasicPartitionBook(ranges.schema, *owners)
        yield from (mpignn.LaborSampler([5]), mpignn.MultiLayerFullNeighborSampler(2), mpignn.BlockSampler(2))
        yield from (kind([rows], 0.1) for kind in (mpignn.SparseAdagrad, mpignn.SparseAdam, mpignn.SparseSGD))
        yield from (mpignn.NodeDataLoader(g, nids, sampler, batch_size=5), mpignn.DistDataLoader(np.arange(9), 5),
                    mpignn.NodeCollator(g, nids, sampler), mpignn.EdgeCollator(g, eids, sampler))
        yield mpignn.Checkpoints(tmp_path / "checkpoints", g, model=torch.nn.Linear(2, 2))


def test_every_public_object_is_told_in_one_line(tmp_path):
    shown = {type(thing): repr(thing) for thing in examples(random_hetero_graph(2, 2000, 9000), tmp_path)}
    for text in shown.values():
        assert len(text) < 600 and "\n" not in text and " at 0x" not in text and "=_" not in text, text
    names = [name for name in mpignn.__all__ if name not in mpignn._MODULES
             and not mpignn._HOME[name].startswith(("mpignn.job.", "mpignn.mpi."))]     # which bring in MPI
    classes = {kind for name in names if inspect.isclass(kind := getattr(mpignn, name))
               and not issubclass(kind, BaseException)}
    assert len(classes) > 25 and {kind for kind in classes - shown.keys() if not issubclass(kind, Task)} == set()
    assert shown[NeighborSampler] == "NeighborSampler(fanouts=(5,), replace=False)"
    assert shown[mpignn.Config] == "Config(task='link_prediction', hidden=8)"
