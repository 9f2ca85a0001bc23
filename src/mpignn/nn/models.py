"""The models that a job can ask for by name."""

from collections.abc import Mapping

from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.nn.gat import GAT
from mpignn.nn.gcn import GCN
from mpignn.nn.mlp import MLP, NoModel
from mpignn.nn.rgcn import RGCN
from mpignn.nn.sage import GraphSAGE
from mpignn.nn.stack import Stack

MODELS = ("sage", "gcn", "gat", "gatv2", "rgcn", "mlp", "none")


def make_model(config: ModelConfig, schema: Schema, in_feats: Mapping[str, int], out_feats: int,
               num_layers: int) -> Stack | NoModel:
    """A model with parameters drawn from torch's generator: seed that first, equally on all ranks.  Not collective.

    Args:
        config: Names one of `MODELS`, and says what else is free.
        schema: Of the graph.
        in_feats: Columns of the input of each node type; for rgcn a type may be missing.
        out_feats: Columns of the output.
        num_layers: Layers.

    Raises:
        ConfigError: No such model, no layer, options that do not fit, or a model for one node type and one edge type
            where there are more.
    """
    name = config.model
    if name == "none":
        return NoModel(in_feats, out_feats)
    if name == "rgcn":
        regularizer = None if config.bases is None else config.regularizer
        return RGCN(schema, in_feats, config.hidden, out_feats, num_layers, config.dropout, config.input_dropout,
                    regularizer, config.bases)
    if name not in MODELS:
        raise ConfigError(f"model {name!r} is not one of: {', '.join(MODELS)}")
    if not schema.is_homogeneous:
        raise ConfigError(f"model {name} is for one node type and one edge type, but the graph has "
                          f"{len(schema.ntypes)} and {len(schema.etypes)}: use rgcn, or merge them in the source")
    sizes = in_feats[schema.ntype()], config.hidden, out_feats, num_layers, config.dropout
    if name == "sage":
        return GraphSAGE(*sizes, config.aggregator, config.input_dropout)
    if name == "gcn":
        return GCN(*sizes, config.input_dropout, config.norm)
    if name == "mlp":
        return MLP(*sizes, config.input_dropout)
    return GAT(*sizes, config.input_dropout, config.heads, config.out_heads, config.attention_dropout,
               config.residual, v2=name == "gatv2")
