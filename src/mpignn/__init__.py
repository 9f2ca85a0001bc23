"""Distributed mini-batch training of graph neural networks on MPI."""

import importlib
from typing import Any

# Public names by where they live; imported on first use, since a server needs none and torch takes a second.
# docs/hooks/reference.py groups them for the documentation.
_PUBLIC = {
    "mpignn.config": "Config",
    "mpignn.errors": ("CommError ConfigError DataError IDError LeftBehind MpignnError ResourceError "
                      "Stopped TrainingError UnknownName"),
    "mpignn.graph.basic_book": "BasicPartitionBook",
    "mpignn.graph.block": "Block EID NID TIME",
    "mpignn.graph.book": "RangePartitionBook",
    "mpignn.graph.pairs": "PairGraph",
    "mpignn.job.open_graph": "GraphServer open_graph",
    "mpignn.job.own_program": "initialize run settings",
    "mpignn.loader.base": "DistDataLoader",
    "mpignn.loader.collate": "EdgeCollator NodeCollator",
    "mpignn.loader.edge": "EdgeDataLoader",
    "mpignn.loader.node": "NodeDataLoader",
    "mpignn.loader.split": "edge_split node_split",
    "mpignn.mpi.process_group": "init_process_group wrap",
    "mpignn.nn.embedding": "DistEmbedding",
    "mpignn.nn.sparse_optim": "SparseAdagrad SparseAdam SparseSGD",
    "mpignn.sampling.block_sampler": "BlockSampler",
    "mpignn.sampling.blocks": "to_block",
    "mpignn.sampling.frontier": "in_subgraph sample_neighbors",
    "mpignn.sampling.labor": "LaborSampler",
    "mpignn.sampling.neighbor": "MultiLayerFullNeighborSampler MultiLayerNeighborSampler NeighborSampler",
    "mpignn.storage.check": "check",
    "mpignn.storage.read": "GraphFile",
    "mpignn.storage.write": "partition_graph",
    "mpignn.store.graph": "DistGraph",
    "mpignn.store.partition": "load_partition load_partition_book load_partition_feats",
    "mpignn.store.tensor": "DistTensor",
    "mpignn.train.api": "fit infer make_network make_task",
    "mpignn.train.callback": "Callback",
    "mpignn.train.checkpoint_series": "Checkpoints",
    "mpignn.train.evaluation": "evaluate",
    "mpignn.train.inference": "layerwise",
    "mpignn.train.link_ranking": "rank_links",
    "mpignn.train.metrics": "make_metric",
    "mpignn.train.tasks.edge": "EdgeClassification EdgeRegression",
    "mpignn.train.tasks.link": "LinkPrediction",
    "mpignn.train.tasks.node": "NodeClassification NodeMultilabel NodeRegression",
}
_MODULES = {"checkpoint": "mpignn.train.checkpoint", "fn": "mpignn.function", "negative": "mpignn.sampling.negative",
            "nn": "mpignn.nn", "stop": "mpignn.stop"}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("mpignn.version").version()
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name not in _HOME:
        raise AttributeError(f"module 'mpignn' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
