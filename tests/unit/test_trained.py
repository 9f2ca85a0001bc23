"""What was trained says which graphs it can be used on."""

from dataclasses import replace

import numpy as np
import pytest

from mpignn import config
from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.storage import snapshot
from mpignn.storage.arrays import ArrayType
from mpignn.train.tasks.goal import Goal
from mpignn.train.trained_model import TrainedModel, check_graph, check_labels, read_trained

CITES, WRITES = ("paper", "cites", "paper"), ("author", "writes", "paper")
SCHEMA = Schema(("paper", "author"), (CITES, WRITES))
GOAL = Goal("node_classification", "paper", (), "features", {"paper": 7, "author": 0}, "labels", 3, "message")
TRAINED = TrainedModel(GOAL, SCHEMA.ntypes, SCHEMA.etypes, (), "there")
INFOS = {info.name: info for info in (
    ArrayInfo("node/paper/data/features", np.dtype(np.float16), (7,)),
    ArrayInfo("node/paper/data/labels", np.dtype(np.int64), ()),
    ArrayInfo("edge/author:writes:paper/data/message", np.dtype(bool), ()))}
LINKS = replace(TRAINED, goal=Goal("link_prediction", None, (CITES,), "features", {}, None, 1, None))


@pytest.mark.parametrize("trained", [TRAINED, LINKS, replace(TRAINED, embedded=("author",))])
def test_a_run_folder_tells_what_was_trained(tmp_path, trained):
    out = tmp_path / config.TRAINED / snapshot.name_of(0)
    with snapshot.new(out) as partial:
        manifest = snapshot.begin(partial, out, {"x": ArrayType((0,), np.dtype(np.float32))})
        snapshot.complete(partial, manifest, [], 0, {"about": trained.about()})
    assert read_trained(tmp_path) == trained


def test_a_run_without_a_network(tmp_path):
    with pytest.raises(DataError, match="no trained network there"):
        read_trained(tmp_path)


def without(name):
    return {key: info for key, info in INFOS.items() if key != name}


@pytest.mark.parametrize(("schema", "infos", "part"), [
    (Schema(("author", "paper"), SCHEMA.etypes), INFOS, "node types: paper, author there, author, paper here"),
    (Schema(SCHEMA.ntypes, (CITES,)), INFOS, "edge types: .*author:writes:paper there, paper:cites:paper here"),
    (SCHEMA, without("node/paper/data/features"), "features of paper: rows of 7 numbers there, none here"),
    (SCHEMA, INFOS | {"node/paper/data/features": ArrayInfo("", np.dtype("c8"), (7,))}, r"7 .* complex64 \(7,\) here"),
    (SCHEMA, INFOS | {"node/paper/data/features": ArrayInfo("", np.dtype(np.float32), (8,))}, r"float32 \(8,\) here"),
    (SCHEMA, without("edge/author:writes:paper/data/message"), "edge data message: there, not here")])
def test_a_graph_that_does_not_fit_is_refused_with_the_difference(schema, infos, part):
    with pytest.raises(ConfigError, match=f"another kind of graph: .*{part}"):
        check_graph(TRAINED, schema, infos, "there")


def test_learnt_rows_tie_a_network_to_its_graph():
    check_graph(TRAINED, SCHEMA, INFOS, "here")
    tied = replace(TRAINED, embedded=("author",))
    check_graph(tied, SCHEMA, INFOS, "there")
    with pytest.raises(ConfigError, match=r"single nodes of its graph \(author, --embed\).*there there, here here"):
        check_graph(tied, SCHEMA, INFOS, "here")


def test_a_graph_to_measure_on_has_labels_and_a_split():
    splits = {"paper": {"test": np.arange(3)}}
    check_labels(TRAINED, INFOS, splits, ("val", "test"))
    check_labels(LINKS, INFOS, {"paper:cites:paper": {"val": np.arange(3)}}, ("val", "test"))
    with pytest.raises(DataError, match="paper: no split named val or test"):
        check_labels(TRAINED, INFOS, {"author": {"test": np.arange(3)}}, ("val", "test"))
    with pytest.raises(UnknownName, match="labels is not in the graph; data there: features"):
        check_labels(TRAINED, without("node/paper/data/labels"), splits, ("val", "test"))
