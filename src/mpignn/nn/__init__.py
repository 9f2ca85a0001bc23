"""Layers on blocks."""

from mpignn.nn.dropout import KeyedDropout, keyed_dropout
from mpignn.nn.edges import edge_softmax
from mpignn.nn.embedding import DistEmbedding
from mpignn.nn.gat import GAT, GATConv, GATv2Conv
from mpignn.nn.gcn import GCN, GraphConv
from mpignn.nn.hetero import HeteroGraphConv
from mpignn.nn.mlp import MLP
from mpignn.nn.models import MODELS, make_model
from mpignn.nn.rgcn import RGCN, RelGraphConv, TypedLinear
from mpignn.nn.sage import GraphSAGE, SAGEConv
from mpignn.nn.sparse_optim import SparseAdagrad, SparseAdam, SparseSGD
from mpignn.nn.stack import Stack

__all__ = ["GAT", "GCN", "MLP", "MODELS", "RGCN", "DistEmbedding", "GATConv", "GATv2Conv", "GraphConv", "GraphSAGE",
           "HeteroGraphConv", "KeyedDropout", "RelGraphConv", "SAGEConv", "SparseAdagrad", "SparseAdam", "SparseSGD",
           "Stack", "TypedLinear", "edge_softmax", "keyed_dropout", "make_model"]
