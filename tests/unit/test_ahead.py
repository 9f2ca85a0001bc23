"""Batches prepared in a thread beside: the same ones, errors that arrive, and threads that end."""

import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from services import MixedTransport, serve
from test_edge_loader import new_edges
from test_loader import Trainer

from graphs import random_graph
from mpignn import negative
from mpignn.errors import CommError, ConfigError
from mpignn.loader.ahead import Ahead, InTurn
from mpignn.loader.base import DistDataLoader
from mpignn.loader.between import Between
from mpignn.loader.edge import EdgeDataLoader
from mpignn.loader.node import NodeDataLoader
from mpignn.roles import BOTH, Role, Topology
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.store.graph import DistGraph


def published(visible=None):
    """A graph on three servers, of which this process sees some; and its transport."""
    served = serve(random_graph(1), 3, 3, visible, partial=MixedTransport)
    g = DistGraph(served.published, Topology((0, 1, 2), (BOTH, Role.SERVER, Role.SERVER)), Trainer(0, 1), {})
    return g, served


def preparing():
    """Threads that prepare batches."""
    return [thread for thread in threading.enumerate() if thread.name == "mpignn-prepare"]


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert preparing() == []


def node_loader(g, **options):
    sampler = NeighborSampler([3, 3], prefetch_node_feats=["features"], prefetch_labels=["labels"])
    return NodeDataLoader(g, np.arange(40), sampler, batch_size=6, shuffle=True, **options)


def edge_loader(g, served, **options):
    sampler = NeighborSampler([3, 3], return_eids=True, prefetch_node_feats=["features"], prefetch_labels=["weight"])
    return EdgeDataLoader(g, new_edges(served), sampler, batch_size=23, shuffle=True, exclude="reverse_id",
                          negative_sampler=negative.Uniform(2, exclude_edges=True), **options)


def assert_equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif hasattr(a, "__dict__"):
        assert_equal(vars(a), vars(b))
    else:
        assert a == b


@pytest.mark.parametrize("visible", [None, (0, 3), (1, 2), (1, 1)])
@pytest.mark.parametrize("prefetch", [1, 2, 4])
@pytest.mark.parametrize("edges", [False, True])
def test_a_thread_changes_nothing(edges, prefetch, visible):
    def batches(thread, prefetch, visible):
        g, served = published(visible)
        make = edge_loader(g, served, thread=thread, prefetch=prefetch) if edges else node_loader(
            g, thread=thread, prefetch=prefetch)
        return list(make), served.transport

    expected, _ = batches(False, 1, None)
    got, transport = batches(True, prefetch, visible)
    assert_equal(got, expected)
    if visible not in (None, (0, 3)):
        assert transport.threads == {threading.main_thread().name} and transport.calls > 0


def test_the_next_batches_are_prepared_while_one_is_used():
    g, _ = published()
    made = threading.Event()
    loader = node_loader(g, thread=True)
    make, groups = loader._make, []

    def noting(shares, via):
        batches = make(shares, via)
        groups.append((threading.current_thread().name, [share.step for share in shares]))
        made.set()
        return batches

    loader._make = noting
    for step, _ in enumerate(loader):
        if step == 0:
            while len(groups) < 2:
                assert made.wait(10)
                made.clear()
        assert len(groups) <= step + 2      # one ahead, no more
    assert groups == [("mpignn-prepare", [step]) for step in range(7)]


@pytest.mark.parametrize(("visible", "groups"), [
    (None, [[0], [1], [2], [3], [4], [5], [6]]), ((0, 3), [[0], [1], [2], [3], [4], [5], [6]]),
    ((1, 3), [[0, 1, 2], [3, 4, 5], [6]])])
@pytest.mark.parametrize("thread", [False, True])
def test_batches_are_prepared_together_where_their_requests_can_be(visible, groups, thread):
    g, _ = published(visible)
    loader = node_loader(g, thread=thread, prefetch=3)
    make, made = loader._make, []

    def noting(shares, via):
        made.append([share.step for share in shares])
        return make(shares, via)

    loader._make = noting
    assert len(list(loader)) == 7 and made == groups


@pytest.mark.parametrize("visible", [None, (1, 2)])
def test_a_batch_that_is_let_go_of_is_not_kept(visible):
    g, _ = published(visible)
    loader = node_loader(g, thread=False, prefetch=2)
    make, held = loader._make, []

    def looking(shares, via):
        assert [inputs() for inputs in held] == [None] * len(held)
        return make(shares, via)

    loader._make = looking
    for inputs, _, _ in loader:
        held.append(weakref.ref(inputs))
        del inputs, _
    assert len(held) == 7


def test_errors_arrive_after_the_batches_before_them():
    g, _ = published()
    loader = node_loader(g, thread=True, prefetch=2)
    make = loader._make

    def failing(shares, via):
        if shares[0].step == 4:
            raise ZeroDivisionError("batch 4")
        return make(shares, via)

    loader._make = failing
    steps = []
    with pytest.raises(ZeroDivisionError, match="batch 4"):
        for step, _ in enumerate(loader):
            steps.append(step)
    assert steps == [0, 1, 2, 3] and loader.state_dict() == {"epoch": 0, "step": 4}


def test_errors_of_requests_arrive():
    g, served = published((1, 2))

    def fetch(requests, far=True):
        raise CommError("the network is gone")

    served.transport._fetch = fetch
    with pytest.raises(CommError, match="the network is gone"):
        list(node_loader(g, thread=True))


@pytest.mark.parametrize("visible", [None, (1, 2)])
@pytest.mark.parametrize("steps", [0, 1, 3, 7])
def test_an_abandoned_pass_leaves_no_thread(steps, visible):
    g, _ = published(visible)
    loader = node_loader(g, thread=True, prefetch=2)
    for step, _ in enumerate(loader):
        if step == steps:
            break
    assert preparing() == []
    passing = iter(loader)
    next(passing)
    del passing
    assert preparing() == [] and len(list(loader)) == 7


@pytest.mark.parametrize("visible", [None, (1, 2)])
def test_closing_the_graph_ends_the_thread(visible):
    g, _ = published(visible)
    g.registry.close = lambda: None
    passing = iter(node_loader(g, thread=True, prefetch=2))
    next(passing)
    g.close()
    assert preparing() == []
    if visible is not None:
        next(passing)       # of the group that was ready
    with pytest.raises(CommError, match="its graph is closed"):
        list(passing)


def test_the_end_of_the_program_ends_the_thread():
    program = """
import sys
sys.path[:0] = {paths}
from test_ahead import node_loader, published
g, _ = published((1, 2))
passing = iter(node_loader(g, thread=True))
next(passing)
print("held")
"""
    here = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", program.format(paths=[str(here), str(here.parent)])], timeout=60,
                          capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "held\n", "")


def test_a_pass_that_another_thread_lets_go_of_ends():
    asked = threading.Event()

    def prepare(group, via):
        asked.set()
        via(published((1, 1))[1].published).transport.gather([])

    passes = [Ahead(prepare, [range(1)])]
    asked.wait(10)
    dropping = threading.Thread(target=passes.clear)
    dropping.start()
    dropping.join()
    until = time.monotonic() + 10
    while preparing() and time.monotonic() < until:
        time.sleep(0.01)


def test_what_others_wrote_stays_in_the_main_thread():
    class Own(NeighborSampler):
        pass

    g, _ = published()
    for loader in (NodeDataLoader(g, [0], Own([2]), batch_size=1, thread=True),
                   DistDataLoader([0], 1, lambda ids: ids, thread=True)):
        with pytest.raises(ConfigError, match="only the main thread may"):
            list(loader)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert node_loader(g)._source() is Ahead
        assert NodeDataLoader(g, [0], Own([2]), batch_size=1)._source() is InTurn
        torch.set_num_threads(1)
        assert node_loader(g)._source() is InTurn and node_loader(published((1, 2))[0])._source() is Between
    finally:
        torch.set_num_threads(threads)
