"""What the memory plan counts of a network is what the network has."""

import pytest

from graphs import random_graph, random_hetero_graph
from mpignn.graph.types import Schema
from mpignn.models import COMBINED_BY, JUMPS, MODELS, Hop, takes_types
from mpignn.nn import make_model
from mpignn.nn.decoder import DECODERS, EdgeMLP, make_decoder
from mpignn.options import load_config
from mpignn.store.sizes import head_size, layer_sizes

ONE, MANY = random_graph(1).schema, random_hetero_graph(2).schema
UNREACHED = Schema(("user", "item"), (("user", "likes", "item"), ("user", "rates", "item")))
GATS = [{"heads": 4, "out_heads": 1}, {"heads": 4, "out_heads": 3}]
AROUND = [{"residual": residual, "layer_norm": not residual, "jk": jk, "out_layers": out_layers}
          for residual in (False, True) for jk in JUMPS for out_layers in (0, 2)]


@pytest.mark.parametrize(("schema", "flags"), [
    *[(ONE, {"model": "sage", "aggregator": how}) for how in ("mean", "sum", "gcn", "pool")],
    *[(ONE, {"model": model} | flags) for model in ("gat", "gatv2") for flags in GATS],
    *[(ONE, {"model": name}) for name, model in MODELS.items() if model.learns],
    *[(schema, {"model": name} | flags) for name, model in MODELS.items() if model.learns and takes_types(model)
      for schema in (MANY, UNREACHED) for flags in [{}, *[{"combine": how} for how in COMBINED_BY if model.per_type]]],
    *[(schema, {"model": name} | flags) for name, model in MODELS.items() if model.around
      for schema in (ONE, MANY) for flags in AROUND],
    *[(MANY, {"model": "sage", "aggregator": how}) for how in ("gcn", "pool")],
    *[(MANY, {"model": model} | flags) for model in ("gat", "gatv2") for flags in GATS],
    (MANY, {"model": "rgcn", "bases": 2}), (MANY, {"model": "rgcn", "bases": 4, "regularizer": "bdd"})])
@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_are_those_of_the_model(schema, flags, layers):
    config = load_config(None, {"hidden": 16, "norm": "right", "fanouts": (2,) * layers} | flags)
    inputs, outputs = dict.fromkeys(schema.ntypes, 12), 8
    model = make_model(config.model, schema, inputs, outputs, layers)
    nodes, edges = dict.fromkeys(schema.ntypes, 5.0), {":".join(e): 7.0 for e in schema.etypes}
    sizes = layer_sizes(config, inputs, outputs, [Hop(nodes, nodes, edges)] * layers)
    real = sum(parameter.numel() for parameter in model.parameters())
    counted = sum(size.parameters for size in sizes)
    assert counted == real


@pytest.mark.parametrize("decoder", DECODERS)
def test_parameters_are_those_of_the_head(decoder):
    links = load_config(None, {"task": "link_prediction", "hidden": 16, "decoder": decoder})
    head = make_decoder(decoder, len(MANY.etypes), 16)
    real = sum(parameter.numel() for parameter in head.parameters())
    assert real <= head_size(links, 1, 100, MANY).parameters <= 2 * real
    edges, mlp = load_config(None, {"task": "edge_classification", "hidden": 16}), EdgeMLP(16, 3)
    assert head_size(edges, 3, 100, MANY).parameters == sum(parameter.numel() for parameter in mlp.parameters())


def test_attention_holds_rows_on_edges_only_where_it_is_of_the_second_kind():
    """Twice the edges of a block take rows of theirs in gatv2, numbers in gat."""
    nodes, few, many = {"n": 10.0}, {"n:to:n": 1000.0}, {"n:to:n": 2000.0}
    growth = {}
    for model in ("gat", "gatv2", "sage"):
        config = load_config(None, {"model": model, "hidden": 64, "fanouts": (5,)})
        one, two = (layer_sizes(config, {"n": 64}, 64, [Hop(nodes, nodes, edges)])[0] for edges in (few, many))
        growth[model] = two.kept - one.kept
    assert growth["sage"] == 0 < growth["gat"] < 1000 * 64 < growth["gatv2"]


def test_a_layer_that_keeps_nothing_takes_less():
    config = load_config(None, {"model": "gatv2", "hidden": 64, "fanouts": (5,)})
    (size,) = layer_sizes(config, {"n": 64}, 64, [Hop({"n": 10.0}, {"n": 50.0}, {"n:to:n": 60.0})])
    assert size.forward < size.kept + size.backward
    assert min(size.parameters, size.kept, size.backward, size.forward) > 0
