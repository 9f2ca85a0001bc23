"""What the settings ``edge_time`` and ``seed_time`` make of batches: no seed sees an edge that is not older."""

from dataclasses import replace

import numpy as np
import pytest
from services import make_graph, serve

from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.block import TIME
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.store.graph import DistGraph
from mpignn.train.tasks.edge import EdgeClassification
from mpignn.train.tasks.goal import Goal, check_times
from mpignn.train.tasks.node import NodeClassification

CITES, NODES, EDGES = ("paper", "cites", "paper"), 30, 200
RNG = np.random.default_rng(0)
SRC, DST = RNG.integers(0, NODES, (2, EDGES))
WHEN, ASKED = RNG.integers(0, 100, EDGES), RNG.integers(0, 100, NODES)
SPLITS = {"paper": {"train": np.arange(20)}, "paper:cites:paper": {"train": np.arange(0, EDGES, 2)}}


@pytest.fixture
def g():
    data = make_graph({"paper": NODES}, {CITES: (SRC, DST)})
    data = replace(data, node_data={"paper": {"labels": np.arange(NODES) % 2, "asked": ASKED}},
                   edge_data={CITES: {"when": WHEN, "labels": WHEN % 2}})
    g = DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), SPLITS)
    yield g
    g.close()


def config(**more):
    return load_config(None, {"fanouts": (-1,), "edge_time": "when", "embed": "all", "global_batch_size": 7} | more)


def older_in_edges(node, time):
    return int(((node == DST) & (time > WHEN)).sum())


def test_nodes_see_edges_that_are_older_than_they_are(g):
    settings, seen = config(seed_time="asked"), 0
    task = NodeClassification(g, settings)
    for _, seeds, (block,) in task.loader(g, settings, "train", task.sampler((-1,), None), 0, shuffle=True):
        expected = [older_in_edges(node, ASKED[node]) for node in g.orig_nids(seeds).tolist()]
        assert np.diff(block.csc[CITES].indptr).tolist() == expected
        seen += len(expected)
    assert seen == 20 and (DST < 20).sum() > sum(older_in_edges(node, ASKED[node]) for node in range(20)) > 0


@pytest.mark.parametrize("seed_time", [None, "when"])
def test_edges_see_edges_that_are_older_than_they_are(g, seed_time):
    named = {} if seed_time is None else {"seed_time": seed_time}
    settings = config(task="edge_classification", exclude="none", **named)
    task, seen = EdgeClassification(g, settings), []
    for *_, pairs, (block,) in task.loader(g, settings, "train", task.sampler((-1,), None), 0, shuffle=False):
        times, degrees = pairs.edge_frames[CITES][TIME].tolist(), np.diff(block.csc[CITES].indptr)
        for ends in pairs.edges(CITES):
            nodes = block.dst_orig["paper"][ends.numpy()].tolist()
            assert degrees[ends.numpy()].tolist() == list(map(older_in_edges, nodes, times))
        seen += times
    assert sorted(seen) == sorted(g.edges[CITES].data["when"][SPLITS["paper:cites:paper"]["train"]].tolist())


INFOS = {info.name: info for info in (
    ArrayInfo("edge/paper:cites:paper/data/when", np.dtype(np.int64), ()),
    ArrayInfo("edge/paper:cites:paper/data/pair", np.dtype(np.int64), (2,)),
    ArrayInfo("node/paper/data/asked", np.dtype(np.int64), ()),
    ArrayInfo("node/paper/data/ratio", np.dtype(np.float32), ()))}


@pytest.mark.parametrize(("flags", "labels", "error", "part"), [
    ({}, "labels", UnknownName, "--seed-time: paper has no data named 'when'"),
    ({"edge_time": "whenn"}, "labels", UnknownName, "--edge-time: no edge type has data named 'whenn'"),
    ({"seed_time": "ratio"}, "labels", DataError, "give all times as integers, or all as floating-point numbers"),
    ({"edge_time": "pair", "seed_time": "asked"}, "labels", DataError, "times are one number each"),
    ({"seed_time": "asked"}, None, ConfigError, "links are ranked by one row of each node")])
def test_times_that_cannot_be_meant(flags, labels, error, part):
    goal = Goal("", "paper", (), "features", {}, labels, 2, None)
    with pytest.raises(error, match=part):
        check_times(config(**flags), Schema(("paper",), (CITES,)), INFOS, goal)
    check_times(config(seed_time="asked"), Schema(("paper",), (CITES,)), INFOS, replace(goal, labels="labels"))


def test_a_sampler_that_knows_no_time_is_refused():
    with pytest.raises(ConfigError, match="--edge-time when: sampler labor draws from all edges"):
        load_config(None, {"edge_time": "when", "sampler": "labor"})


def test_rows_that_know_no_time_are_refused(g):
    task = NodeClassification(g, config(seed_time="asked"))
    with pytest.raises(ConfigError, match="not computed layer after layer: go by sampled neighbors"):
        task.all_rows(g, None)
