"""Layers on blocks."""

from mpignn.nn.dropout import KeyedDropout, keyed_dropout
from mpignn.nn.mlp import MLP
from mpignn.nn.models import MODELS, make_model
from mpignn.nn.sage import GraphSAGE, SAGEConv

__all__ = ["MLP", "MODELS", "GraphSAGE", "KeyedDropout", "SAGEConv", "keyed_dropout", "make_model"]
