"""Layers on blocks."""

from mpignn.nn.decoder import DECODERS, ComplEx, Decoder, DistMult, Dot, EdgeMLP, RotatE, TransE, make_decoder
from mpignn.nn.dropout import KeyedDropout, keyed_dropout
from mpignn.nn.edges import edge_softmax
from mpignn.nn.embedding import DistEmbedding
from mpignn.nn.gat import GAT, GATConv, GATv2, GATv2Conv
from mpignn.nn.gcn import GCN, GraphConv
from mpignn.nn.gin import GIN, GINE, GINConv, GINEConv
from mpignn.nn.hetero import HeteroGraphConv
from mpignn.nn.hgt import HGT, HGTConv
from mpignn.nn.mlp import MLP, NoModel
from mpignn.nn.models import make_model
from mpignn.nn.rgcn import RGCN, RelGraphConv, TypedLinear
from mpignn.nn.sage import GraphSAGE, SAGEConv
from mpignn.nn.sparse_optim import SparseAdagrad, SparseAdam, SparseSGD
from mpignn.nn.stack import Stack

__all__ = ["ComplEx", "DECODERS", "Decoder", "DistEmbedding", "DistMult", "Dot", "EdgeMLP", "GAT", "GATConv", "GATv2",
           "GATv2Conv", "GCN", "GIN", "GINE", "GINConv", "GINEConv", "GraphConv", "GraphSAGE", "HGT", "HGTConv",
           "HeteroGraphConv",
           "KeyedDropout", "MLP", "NoModel", "RGCN", "RelGraphConv", "RotatE", "SAGEConv", "SparseAdagrad",
           "SparseAdam", "SparseSGD", "Stack", "TransE", "TypedLinear", "edge_softmax", "keyed_dropout", "make_decoder",
           "make_model"]
