"""The model that only passes rows on."""

import numpy as np
import pytest
import torch
from services import serve

from graphs import random_graph, random_hetero_graph
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.nn import NoModel, make_model
from mpignn.sampling.neighbor import NeighborSampler


@pytest.mark.parametrize("graph", [random_graph(), random_hetero_graph()])
def test_the_rows_of_the_seeds_come_out_as_they_are(graph):
    published = serve(graph).published
    seeds = {t: np.arange(n)[1::2] for t, n in graph.num_nodes.items()}
    _, _, blocks = NeighborSampler([2, 2]).sample(published, seeds, 0)
    rows = {t: torch.randn(ids.size, 5) for t, ids in blocks[0].src_ids.items()}
    model = make_model(ModelConfig(model="none"), graph.schema, dict.fromkeys(graph.num_nodes, 5), 5, 2)
    assert isinstance(model, NoModel) and not list(model.parameters())
    homogeneous = graph.schema.is_homogeneous
    out = model(blocks, rows[graph.schema.ntypes[0]] if homogeneous else rows)
    for t, ids in seeds.items():
        assert torch.equal(out if homogeneous else out[t], rows[t][:ids.size])


def test_other_columns_than_those_asked_for_are_refused():
    with pytest.raises(ConfigError, match="7 columns of 'entity', but 8 are asked for"):
        NoModel({"entity": 7}, 8)
