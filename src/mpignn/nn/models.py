"""Making the models that a job can ask for by name."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict

from torch import nn

from mpignn.config import ModelConfig
from mpignn.graph.types import Schema
from mpignn.models import arguments_of, check_types, find_model, is_own
from mpignn.nn import own


def make_model(config: ModelConfig, schema: Schema, in_feats: Mapping[str, int], out_feats: int,
               num_layers: int) -> nn.Module:
    """A model with parameters drawn from torch's generator: seed that first, equally on all ranks.  Not collective.

    Its class is given, by name, what it asks for of ``schema``, ``in_feats``, ``hidden``, ``num_classes``,
    ``num_layers`` and the settings of the section ``model``, and what ``model_args`` says.

    Args:
        config: Names one of `mpignn.models.MODELS` or a class of the user's own, and says what else is free.
        schema: Types of the graph.
        in_feats: Columns of the input of each node type; a type without any may be missing.  A model for one type is
            given the number.
        out_feats: Columns of the output.
        num_layers: Layers.

    Raises:
        ConfigError: No such model, no layer, options that do not fit, a model for one node type and one edge type where
            there are more, or a class of the user's own that cannot be made.
    """
    own.know(config)
    model = find_model(config.model)
    check_types(model, schema)
    offered = asdict(config) | {"schema": schema, "num_classes": out_feats, "num_layers": num_layers,
                                "in_feats": in_feats if model.several_types else in_feats[schema.ntype()]}
    if is_own(config.model):
        return own.make(config, offered)
    module, _, name = model.made_by.partition(":")
    kind = getattr(importlib.import_module(module), name)
    given = {name: offered[name] for name in inspect.signature(kind).parameters if name in offered}
    made: nn.Module = kind(**given | (arguments_of(config) if model.arguments else {}))
    return made
