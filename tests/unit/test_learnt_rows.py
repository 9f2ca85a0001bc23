"""The embeddings of a run: the best rows, and going on from a checkpoint on another cut of the graph."""

import pytest
import torch
from services import serve

from graphs import random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train import checkpoint
from mpignn.train.embeddings import Embeddings, make_embeddings

GRAPH = random_hetero_graph(2, 25, 60)
WIDTHS = {"paper": 3, "author": 0, "venue": 0}


class Run:
    """A run on a cut of the graph; its nodes are named by original id."""

    def __init__(self, parts: int, optimizer: str = "adam"):
        served = serve(GRAPH, parts=parts, seed=parts)
        self.g = DistGraph(served.published, Topology((0,), (BOTH,)), LocalGroup(), {}, source_id="same")
        self.new = served.new["author"]
        config = load_config(None, {"embed_dim": 4, "embed_optimizer": optimizer, "embed_lr": 0.1})
        torch.manual_seed(0)
        self.embeddings = make_embeddings(self.g, config, WIDTHS, torch.float64)
        self.learnt = Embeddings(self.embeddings.values(), config, 1)

    def step(self, number: int) -> None:
        nodes = self.new[[number % 12, (5 * number) % 12, 3]]
        (self.embeddings["author"](nodes) * (number + 1)).square().sum().backward()
        self.learnt.step(rate=1.0)

    def rows(self) -> torch.Tensor:
        """(N, 4) by original id."""
        return self.embeddings["author"].weight[self.new]


@pytest.fixture
def start():
    """Starts runs; their graphs are closed in the end."""
    runs = []

    def make(*arguments):
        runs.append(Run(*arguments))
        return runs[-1]
    yield make
    for run in runs:
        run.g.close()


def test_types_without_features_have_embeddings(start):
    run = start(2)
    assert {t: (e.num_embeddings, e.embedding_dim, e.weight.part_policy) for t, e in run.embeddings.items()} == {
        "author": (13, 4, "author"), "venue": (3, 4, "venue")}


def test_the_best_rows_come_back_and_go_again(start):
    run = start(2)
    first = run.rows()
    run.learnt.restore()
    assert torch.equal(run.rows(), first)       # nothing was kept
    run.step(0)
    run.learnt.keep()
    best = run.rows()
    run.step(1)
    last = run.rows()
    undo = run.learnt.restore()
    assert torch.equal(run.rows(), best) and not torch.equal(best, last)
    undo()
    assert torch.equal(run.rows(), last)


@pytest.mark.parametrize("optimizer", ["adam", "adagrad", "sgd"])
def test_another_cut_goes_on_from_a_checkpoint_to_the_last_bit(start, tmp_path, optimizer):
    undisturbed, before, after = start(2, optimizer), start(3, optimizer), start(4, optimizer)
    for run, steps in ((undisturbed, range(6)), (before, range(3))):
        for number in steps:
            run.step(number)
            if number == 1:
                run.learnt.keep()
    checkpoint.save(tmp_path, 3, before.g, learnt=before.learnt)
    checkpoint.load(tmp_path, after.g, learnt=after.learnt)
    for number in range(3, 6):
        after.step(number)
    assert torch.equal(after.rows(), undisturbed.rows())
    for run in (after, undisturbed):
        run.learnt.restore()
    assert torch.equal(after.rows(), undisturbed.rows())
