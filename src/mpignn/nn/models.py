"""Making the models that a job can ask for by name."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from torch import nn

from mpignn.config import ModelConfig
from mpignn.graph.on_edges import OnEdges
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.models import arguments_of, check_types, find_model, has_more_around, is_own, readout_layers
from mpignn.nn import own
from mpignn.nn.around import Around
from mpignn.nn.per_type import PerEdgeType
from mpignn.nn.stack import Stack, widths
from mpignn.nn.typed import columns_in

Made = TypeVar("Made", bound=nn.Module)


def make_model(config: ModelConfig, schema: Schema, in_feats: Mapping[str, int], out_feats: int, num_layers: int,
               on_edges: Mapping[str, OnEdges] = MappingProxyType({})) -> nn.Module:
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
        on_edges: What layers read of the edges, by key of the edge type; a type of which they read nothing is missing.

    Raises:
        ConfigError: No such model, no layer, options that do not fit, a model for one node type and one edge type where
            there are more, or a class of the user's own that cannot be made.
    """
    own.know(config)
    check_types(find_model(config.model), schema)
    offered = asdict(config) | {"schema": schema, "in_feats": in_feats, "num_classes": out_feats,
                                "num_layers": num_layers, "on_edges": on_edges}
    if has_more_around(config):
        return _around(config, offered)
    return _plain(config, offered)


def _around(config: ModelConfig, offered: Mapping[str, Any]) -> Around:
    """A model with more around its layers, which all have ``hidden`` columns if linear ones follow them."""
    schema, classes, out_layers = offered["schema"], offered["num_classes"], readout_layers(config)
    inner = dict(offered)
    if out_layers:
        inner |= {"num_classes": None if find_model(config.model).reads_out else config.hidden, "out_heads": None}
    columns = widths(columns_in(schema, offered["in_feats"], config.hidden), config.hidden,
                     config.hidden if out_layers else classes, offered["num_layers"])
    stack = _plain(config, inner)
    assert isinstance(stack, Stack), "the record of the model says so"
    return Around(stack, len(schema.ntypes), columns, classes, config.residual, config.layer_norm, config.jk,
                  out_layers)


def _plain(config: ModelConfig, given: Mapping[str, Any]) -> nn.Module:
    """A model by itself."""
    offered, model, schema = dict(given), find_model(config.model), given["schema"]
    several = model.per_type and not schema.is_homogeneous
    if not model.several_types and not several:
        offered["in_feats"] = offered["in_feats"][schema.ntype()]
    if is_own(config.model):
        return own.make(config, offered)
    module, _, name = model.made_by.partition(":")
    kind: type[nn.Module] = getattr(importlib.import_module(module), name)
    more = arguments_of(config) if model.arguments else {}
    if several:
        make = partial(_of_edge_type, kind, offered, more)
        return _make(PerEdgeType, offered, {"make": make, "reads_own": model.reads_own})
    if model.per_type:
        return _of_edge_type(kind, offered, more, offered["in_feats"], schema.etype())
    return _make(kind, offered, more)


def _of_edge_type(kind: type[Made], offered: Mapping[str, Any], more: Mapping[str, Any], columns: int,
                  etype: EType) -> Made:
    """Layers for one edge type, with what they read of its edges."""
    read: OnEdges = offered["on_edges"].get(etype_key(etype), OnEdges())
    made = _make(kind, {**offered, "in_feats": columns, "edge_feats": read.columns or None}, more)
    assert isinstance(made, Stack), "a model for one edge type is one"
    made.on_edges = read
    return made


def _make(kind: type[Made], offered: Mapping[str, Any], more: Mapping[str, Any]) -> Made:
    """What a class makes of those of the arguments that it takes, and of more."""
    given = {name: offered[name] for name in inspect.signature(kind).parameters if name in offered}
    return kind(**{**given, **more})
