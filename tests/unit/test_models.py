"""The record of models is the only place that names them, and says what their classes take."""

import ast
import dataclasses
import importlib
import inspect
from pathlib import Path

import pytest

from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.models import MODELS, USUAL, find_model
from mpignn.options import load_config
from mpignn.train.tasks.goal import Goal, check_model

SRC = Path(__file__).parents[2] / "src" / "mpignn"
ALSO_AN_AGGREGATOR = {"gcn": {"config.py", "nn/sage.py"}}
PASSED_ON = "none"      # also what many other settings are called
GOAL = Goal("node_classification", "n", (), "features", {"n": 6}, "labels", 0, None)
ONE = Schema(("n",), (("n", "to", "n"),))


def named_in(path: Path) -> set[str]:
    """Models that a file names in a text of its own, or that it compares with the setting ``model``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Constant | ast.Compare | ast.Call):
            continue
        constants = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        texts = {value for value in constants if isinstance(value, str)}
        if isinstance(node, ast.Constant):
            found |= texts & MODELS.keys() - {PASSED_ON}
            continue
        about_models = any(isinstance(part, ast.Attribute) and part.attr == "model" for part in ast.walk(node))
        if about_models and (isinstance(node, ast.Compare) or getattr(node.func, "attr", "") == "startswith"):
            found |= texts
    return found


def test_no_other_file_names_a_model():
    found = {(name, str(path.relative_to(SRC))) for path in SRC.rglob("*.py") for name in named_in(path)}
    allowed = {(name, path) for name, paths in ALSO_AN_AGGREGATOR.items() for path in paths}
    assert {where for where in found if where[1] != "models.py"} == allowed


def test_a_comparison_with_a_name_is_seen(tmp_path):
    path = tmp_path / "some.py"
    for text in ('"gat"', 'config.model.model == "none"', 'config.model.model.startswith("ga")'):
        path.write_text(text)
        assert named_in(path), text


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_class_takes_the_settings_of_the_record(model):
    module, _, name = model.made_by.partition(":")
    taken = set(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    fields = {option.name for option in dataclasses.fields(ModelConfig)}
    assert taken & fields - {"hidden"} == set(model.settings)
    of_graph = {"schema", "in_feats", "num_classes", "num_layers"}
    assert taken - fields - of_graph == {*model.arguments, *{"edge_feats"} & {*model.reads_edges}}


def test_a_name_that_is_no_model():
    with pytest.raises(ConfigError, match=f"'sag' is not one of: {', '.join(MODELS)}, or FILE.py:CLASS"):
        find_model("sag")
    assert find_model(USUAL).name == load_config(None, {}).model.model


@pytest.mark.parametrize(("flags", "part"), [
    ({"model": "gat", "hidden": 10}, "--hidden 10: 10 hidden columns cannot be shared out among 4 heads"),
    ({"bases": 4}, "--bases 4: a matrix of 6 x 8 cannot be cut into 4 diagonal blocks"),
    ({"bases": 4, "layers": 1, "fanouts": 5}, "a matrix of 6 x some cannot"),
    ({"bases": 5, "embed": "all"}, "a matrix of 134 x 8 cannot")])
def test_widths_that_do_not_fit_are_told_before_anything_is_loaded(flags, part):
    config = load_config(None, {"model": "rgcn", "regularizer": "bdd", "hidden": 8} | flags)
    with pytest.raises(ConfigError, match=part):
        check_model(config, ONE, GOAL)
    check_model(load_config(None, {"model": "rgcn", "regularizer": "bdd", "hidden": 8, "bases": 2}), ONE, GOAL)
