"""What is learnt of links: each loss is its formula, also where a batch has no links of a type."""

from types import SimpleNamespace

import pytest
import torch

from mpignn.comm.group import LocalGroup
from mpignn.graph.pairs import PairGraph
from mpignn.graph.types import Schema
from mpignn.nn.decoder import DECODERS
from mpignn.options import load_config
from mpignn.train.tasks.goal import Goal
from mpignn.train.tasks.link import LinkPrediction

LIKES, KNOWS, IN = ("user", "likes", "user"), ("user", "knows", "user"), ("user", "in", "place")
SCHEMA = Schema(("user", "place"), (LIKES, KNOWS, IN))
ROWS = {"user": torch.randn(6, 4, generator=torch.Generator().manual_seed(0)),
        "place": torch.randn(3, 4, generator=torch.Generator().manual_seed(1))}
NONE = (torch.empty(0, dtype=torch.int64),) * 2


class Said(torch.nn.Module):
    """A network that has made up its mind."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, blocks):
        return ROWS


def task(**flags):
    g = SimpleNamespace(schema=SCHEMA, book=SimpleNamespace(schema=SCHEMA), trainers=LocalGroup())
    goal = Goal("link_prediction", None, SCHEMA.etypes, "features", {}, None, 0, None)
    return LinkPrediction(g, load_config(None, {"decoder": "distmult", **flags}), goal)


def pairs(**ends):
    return PairGraph(SCHEMA, {etype: ends.get(etype[1], NONE) for etype in SCHEMA.etypes}, {})


def batch():
    """Three links between users, of two types, and one of another, with two false ones for each."""
    src, dst, place = torch.tensor([0, 2]), torch.tensor([1, 5]), torch.tensor([2])
    pos = pairs(likes=(src, dst), knows=(torch.tensor([4]), torch.tensor([1])), **{"in": (torch.tensor([3]), place)})
    neg = pairs(likes=(src.repeat_interleave(2), torch.tensor([3, 4, 0, 1])),
                knows=(torch.tensor([4, 4]), torch.tensor([5, 2])),
                **{"in": (torch.tensor([3, 3]), torch.tensor([0, 1]))})
    return None, pos, neg, None


FORMULAS = {
    "cross_entropy": lambda true, false: -torch.sigmoid(true).log() - (1 - torch.sigmoid(false)).log().mean(),
    "softmax": lambda true, false: -(true.exp() / (true.exp() + false.exp().sum())).log(),
    "margin": lambda true, false: (2 + false - true).clamp(min=0).mean(),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_a_loss_is_the_formula(name):
    learnt = task(link_loss=name, margin=2.0, num_negatives=2)
    network = Said(learnt.make_head(4))
    score = network.head
    expected = 0
    for etype, s, d, others, both in ((LIKES, 0, 1, [3, 4], True), (LIKES, 2, 5, [0, 1], True),
                                      (KNOWS, 4, 1, [5, 2], True), (IN, 3, 2, [0, 1], False)):
        r = SCHEMA.etypes.index(etype)
        src, dst = ROWS["user"], ROWS[etype[2]]
        sides = [torch.stack([score(src[[s]], r, dst[[v]])[0] for v in others])]
        if both:
            sides.append(torch.stack([score(src[[v]], r, dst[[d]])[0] for v in others]))
        true = score(src[[s]], r, dst[[d]])[0]
        expected = expected + sum(FORMULAS[name](true, false) for false in sides) / len(sides)
    torch.testing.assert_close(learnt.loss(network, batch()), expected)


@pytest.mark.parametrize("decoder", sorted(DECODERS.keys() - {"dot"}))
@pytest.mark.parametrize("name", FORMULAS)
def test_a_batch_without_links_costs_nothing_and_can_be_learnt(name, decoder):
    learnt = task(link_loss=name, decoder=decoder)
    network = Said(learnt.make_head(4))
    loss = learnt.loss(network, (None, pairs(), pairs(), None))
    loss.backward()
    assert loss.item() == 0
