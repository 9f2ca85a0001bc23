"""Making the models that a job can ask for by name."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

from torch import nn

from mpignn.config import ModelConfig
from mpignn.graph.types import Schema
from mpignn.models import arguments_of, check_types, find_model, is_own
from mpignn.nn import own
from mpignn.nn.per_type import PerEdgeType

Made = TypeVar("Made", bound=nn.Module)


def make_model(config: ModelConfig, schema: Schema, in_feats: Mapping[str, int], out_feats: int,
               num_layers: int) -> nn.Module:
    """A model with parameters drawn from torch's generator: seed that first, equally on all ranks.  Not collective.

    Its class is given, by name, what it asks for of ``schema``, ``in_feats``, ``hidden``, ``num_classes``,
    ``num_layers`` and the settings of the section ``model``, and what ``model_args`` says.

    Args:
        config: Names one of `mpignn.models.MODELS` or a class of the user's own, and says what else is free.
        schema: Types of the graph.
        in_feats: Columns of the input of each node type; a type without any may be missing.  A model for one type is
            given the number of the only one.
        out_feats: Columns of the output.
        num_layers: Layers.

    Raises:
        ConfigError: No such model, no layer, options that do not fit, a model for one node type and one edge type where
            there are more, or a class of the user's own that cannot be made.
    """
    own.know(config)
    model = find_model(config.model)
    check_types(model, schema)
    offered = asdict(config) | {"schema": schema, "in_feats": in_feats, "num_classes": out_feats,
                                "num_layers": num_layers}
    several = model.per_type and not schema.is_homogeneous
    if not model.several_types and not several:
        offered["in_feats"] = in_feats[schema.ntype()]
    if is_own(config.model):
        return own.make(config, offered)
    module, _, name = model.made_by.partition(":")
    kind: type[nn.Module] = getattr(importlib.import_module(module), name)
    more = arguments_of(config) if model.arguments else {}
    if several:
        make = partial(_of_columns, kind, offered, more)
        return _make(PerEdgeType, offered, {"make": make, "reads_own": model.reads_own})
    return _make(kind, offered, more)


def _of_columns(kind: type[Made], offered: Mapping[str, Any], more: Mapping[str, Any], columns: int) -> Made:
    return _make(kind, {**offered, "in_feats": columns}, more)


def _make(kind: type[Made], offered: Mapping[str, Any], more: Mapping[str, Any]) -> Made:
    """What a class makes of those of the arguments that it takes, and of more."""
    given = {name: offered[name] for name in inspect.signature(kind).parameters if name in offered}
    return kind(**{**given, **more})
