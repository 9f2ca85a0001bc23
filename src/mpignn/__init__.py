"""Distributed mini-batch training of graph neural networks on MPI."""

import importlib

# Public names and where they live; imported on first use, since a server needs none and torch takes a second.
_PUBLIC = {
    "BasicPartitionBook": "mpignn.graph.basic_book",
    "Block": "mpignn.graph.block",
    "BlockSampler": "mpignn.sampling.neighbor",
    "Callback": "mpignn.train.callback",
    "Checkpoints": "mpignn.train.own_loop",
    "Config": "mpignn.config",
    "DistDataLoader": "mpignn.loader.base",
    "DistEmbedding": "mpignn.nn.embedding",
    "DistGraph": "mpignn.dist.graph",
    "DistTensor": "mpignn.dist.tensor",
    "EID": "mpignn.graph.block",
    "EdgeClassification": "mpignn.train.edge_task",
    "EdgeDataLoader": "mpignn.loader.edge",
    "EdgeRegression": "mpignn.train.edge_task",
    "GraphFile": "mpignn.storage.read",
    "GraphServer": "mpignn.publish",
    "LaborSampler": "mpignn.sampling.labor",
    "LinkPrediction": "mpignn.train.link_task",
    "MultiLayerFullNeighborSampler": "mpignn.sampling.neighbor",
    "MultiLayerNeighborSampler": "mpignn.sampling.neighbor",
    "NID": "mpignn.graph.block",
    "NeighborSampler": "mpignn.sampling.neighbor",
    "NodeClassification": "mpignn.train.node_task",
    "NodeDataLoader": "mpignn.loader.node",
    "NodeMultilabel": "mpignn.train.node_task",
    "NodeRegression": "mpignn.train.node_task",
    "PairGraph": "mpignn.graph.pairs",
    "RangePartitionBook": "mpignn.graph.book",
    "SparseAdagrad": "mpignn.nn.sparse_optim",
    "SparseAdam": "mpignn.nn.sparse_optim",
    "SparseSGD": "mpignn.nn.sparse_optim",
    "TIME": "mpignn.graph.block",
    "check": "mpignn.storage.check",
    "edge_split": "mpignn.loader.split",
    "evaluate": "mpignn.train.loop",
    "fit": "mpignn.train.program",
    "in_subgraph": "mpignn.sampling.frontier",
    "infer": "mpignn.train.program",
    "init_process_group": "mpignn.mpi.process_group",
    "initialize": "mpignn.launch",
    "load_partition": "mpignn.dist.partition",
    "load_partition_book": "mpignn.dist.partition",
    "load_partition_feats": "mpignn.dist.partition",
    "layerwise": "mpignn.train.inference",
    "make_metric": "mpignn.train.metrics",
    "make_network": "mpignn.train.program",
    "make_task": "mpignn.train.program",
    "node_split": "mpignn.loader.split",
    "open_graph": "mpignn.publish",
    "partition_graph": "mpignn.storage.write",
    "rank_links": "mpignn.train.link_ranking",
    "run": "mpignn.launch",
    "sample_neighbors": "mpignn.sampling.frontier",
    "settings": "mpignn.launch",
    "to_block": "mpignn.sampling.blocks",
    "wrap": "mpignn.mpi.process_group",
}
_MODULES = {"checkpoint": "mpignn.train.checkpoint", "fn": "mpignn.function", "function": "mpignn.function",
            "negative": "mpignn.sampling.negative", "nn": "mpignn.nn", "stop": "mpignn.stop"}
__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mpignn' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
