"""A key and its path are the same thing, and nothing else puts paths together or takes them apart."""

import re
from pathlib import Path

import pytest

from graphs import random_hetero_graph
from mpignn.graph.array_key import EDGE, ArrayKey
from mpignn.storage.read import GraphFile
from mpignn.storage.write import partition_graph

CITES = ("paper", "cites", "paper")


@pytest.mark.parametrize(("key", "path", "data_name"), [
    (ArrayKey.node("paper", "orig_id"), "node/paper/orig_id", None),
    (ArrayKey.node_data("paper", "data"), "node/paper/data/data", "data"),
    (ArrayKey.edge(CITES, "indptr"), "edge/paper:cites:paper/indptr", None),
    (ArrayKey.edge_data(CITES, "a/b"), "edge/paper:cites:paper/data/a/b", "a/b"),
    (ArrayKey.out(CITES, "edge_id"), "out/paper:cites:paper/edge_id", None)])
def test_a_path_leads_back_to_its_key(key, path, data_name):
    assert key.path == path and ArrayKey.parse(path) == key and key.data_name == data_name
    assert key.kind == "node" or key.etype == CITES


def test_no_other_module_spells_paths():
    """Sources and predictions are files of their own; `storage.schema` has the groups that hold the arrays."""
    src = Path(__file__).parents[2] / "src" / "mpignn"
    own = [path for path in src.rglob("*.py") if path.relative_to(src).parts[0] not in ("storage", "tables")
           and path.relative_to(src) not in map(Path, ("graph/array_key.py", "train/predictions.py", "cli_data.py"))]
    found = [f"{path.relative_to(src)}:{number}" for path in own
             for number, line in enumerate(path.read_text().splitlines(), 1)
             if re.search(r"""["'](node|edge|out)/|/(data|orig_id|new_id|indptr|indices)["'/]""", line)]
    assert len(own) > 100 and found == []


def test_the_arrays_of_a_graph_have_keys(tmp_path):
    data = random_hetero_graph(2, 20, 40)
    partition_graph(data, tmp_path / "g", 2, "random", out_edges=True)
    with GraphFile(tmp_path / "g") as graph:
        keys = [ArrayKey.parse(path) for path in graph.infos]
        assert [key.path for key in keys] == list(graph.infos)
        assert {key.etype for key in keys if key.kind == EDGE} == set(data.csc)
        assert {key.data_name for key in keys if key.owner == "paper"} - {None} == set(data.node_data["paper"])
