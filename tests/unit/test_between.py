"""Batches prepared between other work of the same thread: the same ones, while nothing waits for their rows."""

import time
from collections import deque

import numpy as np
import pytest
import torch
from services import MixedTransport, serve
from test_ahead import assert_equal, edge_loader, node_loader
from test_loader import Trainer

from graphs import random_graph
from mpignn import duties
from mpignn.comm.sharded import Pending
from mpignn.errors import CommError
from mpignn.loader.between import Between
from mpignn.nn.sage import GraphSAGE
from mpignn.roles import BOTH, Role, Topology
from mpignn.store.graph import DistGraph


class Travelling(Pending):
    """Rows that are here after some looks, or once somebody waits."""

    def __init__(self, transport, rows):
        self._transport, self._rows, self._looks = transport, rows, transport.looks

    def done(self):
        self._looks -= 1
        return self._looks < 0

    def wait(self):
        if self._looks >= 0:
            self._transport.waits += 1
        self._rows.wait()


class SlowTransport(MixedTransport):
    """Rows of other servers arrive after so many looks at them.

    Attributes:
        looks: How many.
        waits: How often somebody waited for rows that were not here.
    """

    looks = waits = 0

    def gather(self, requests, on_main=None):
        far = any(((r.ids < r.array.lo) | (r.ids >= r.array.hi)).any() for r in requests)
        rows = super().gather(requests, on_main)
        return Travelling(self, rows) if far else rows


def far_graph(looks=0, visible=(1, 2)):
    served = serve(random_graph(1), 3, 3, visible, partial=SlowTransport)
    served.transport.looks = looks
    return DistGraph(served.published, Topology((0, 1, 2), (BOTH, Role.SERVER, Role.SERVER)), Trainer(0, 1), {}), served


@pytest.fixture(autouse=True)
def no_duty_stays():
    assert not duties.has_duties()
    yield
    assert not duties.has_duties()


def consumed(loader, moments):
    """All batches, with so many moments for others while each is used."""
    found = []
    for batch in loader:
        found.append(batch)
        for _ in range(moments):
            duties.serve()
    return found


@pytest.mark.parametrize("moments", [0, 1, 3, 50])
@pytest.mark.parametrize("looks", [0, 2, 1000])
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("edges", [False, True])
def test_the_batches_are_those_that_are_prepared_in_turn(edges, prefetch, looks, moments):
    def batches(looks, visible):
        g, served = far_graph(looks, visible)
        loader = edge_loader(g, served, prefetch=prefetch, thread=False) if edges else node_loader(
            g, prefetch=prefetch, thread=False)
        return consumed(loader, moments), served.transport

    expected, _ = batches(0, None)
    found, transport = batches(looks, (1, 2))
    assert_equal(found, expected)
    assert transport.calls > 0


def test_rows_that_arrive_while_a_batch_is_used_are_not_waited_for():
    g, served = far_graph(looks=3)
    waited = None       # for the first one, which there is nothing to be prepared behind
    for number, _ in enumerate(node_loader(g, prefetch=1, thread=False)):
        assert number == 0 or served.transport.waits == waited
        for _ in range(50):
            duties.serve()
        waited = served.transport.waits
    assert waited > 0


def test_the_time_of_preparing_is_that_of_preparing_alone():
    g, _ = far_graph(looks=2)
    loader, elsewhere_s, duty_s = node_loader(g, prefetch=1, thread=False), 0.0, 0.0
    began_s = time.perf_counter()
    for _ in loader:
        time.sleep(0.02)
        elsewhere_s += 0.02
        before = duties.own_time(), time.perf_counter()
        for _ in range(20):
            duties.serve()
        duty_s += time.perf_counter() - before[1] - (duties.own_time() - before[0])
    prepared_s = loader.stats.sample_s + loader.stats.fetch_s
    assert 0 < prepared_s < time.perf_counter() - began_s - elsewhere_s
    assert duty_s > prepared_s / 2      # most of it was done while a batch was in use


def test_what_is_in_use_does_not_see_the_gradient_mode_of_what_is_prepared():
    g, _ = far_graph(looks=2)
    loader, modes = node_loader(g, prefetch=1, thread=False), []
    make = loader._make

    def in_a_mode(shares, via):
        with torch.no_grad():
            made = make(shares, via)
            modes.append(torch.is_grad_enabled())
            return made

    loader._make = in_a_mode
    for _ in loader:
        for _ in range(50):
            assert torch.is_grad_enabled()
            duties.serve()
    assert modes == [False] * len(loader)


def test_an_error_is_raised_where_the_batch_is_asked_for():
    g, _ = far_graph(looks=1)
    loader = node_loader(g, prefetch=1, thread=False)
    make = loader._make

    def failing(shares, via):
        if shares[0].step == 2:
            raise RuntimeError("no such rows")
        return make(shares, via)

    loader._make = failing
    steps = []
    with pytest.raises(RuntimeError, match="no such rows"):
        for number, _ in enumerate(loader):
            steps.append(number)
            for _ in range(50):
                duties.serve()      # not here
    assert steps == [0, 1]


@pytest.mark.parametrize("moments", [0, 1, 2, 50])
def test_a_pass_that_is_left_leaves_nothing_under_way(moments):
    g, served = far_graph(looks=2)
    for number, _ in enumerate(node_loader(g, prefetch=1, thread=False)):
        for _ in range(moments):
            duties.serve()
        if number == 1:
            break
    assert not duties.has_duties()
    # Another one begins anew.
    assert len(list(node_loader(g, prefetch=1, thread=False))) == 7


def test_after_it_was_stopped_there_is_no_other_group():
    source = Between(lambda group, via: list(group), [range(1), range(1, 2)])
    assert source.next() == [0]
    source.stop()
    source.stop()
    with pytest.raises(CommError, match="this pass was stopped"):
        source.next()


def test_passes_within_passes_prepare_in_the_waits_of_each_other():
    g, _ = far_graph(looks=5)
    expected = list(node_loader(far_graph()[0], prefetch=2, thread=False))
    pairs = deque()
    for outer in node_loader(g, prefetch=2, thread=False):
        for inner in node_loader(g, prefetch=2, thread=False):
            duties.serve()
            pairs.append((outer, inner))
    assert len(pairs) == 49
    for number, (outer, inner) in enumerate(pairs):
        assert_equal(outer, expected[number // 7])
        assert_equal(inner, expected[number % 7])


def test_layers_give_a_moment_in_both_directions():
    g, _ = far_graph()
    _, _, blocks = next(iter(node_loader(g, prefetch=1, thread=False)))
    width, moments = blocks[0].srcdata["features"].shape[1], []

    def noted():
        moments.append(None)

    duties.serve_while_waiting(noted)
    try:
        out = GraphSAGE(width, 8, 3, num_layers=2)(blocks, blocks[0].srcdata["features"].requires_grad_())
        forward = len(moments)
        out.sum().backward()
    finally:
        duties.stop_serving(noted)
    assert forward >= 2 and len(moments) >= forward + 2 and np.isfinite(out.detach().numpy()).all()
