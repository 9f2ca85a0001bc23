"""A class of the user's own as a model: what is found out about it, and what is wrong with it."""

import pickle
import shutil
import sys

import numpy as np
import pytest
import torch

from graphs import random_graph
from mpignn.config import ModelConfig
from mpignn.errors import ConfigError
from mpignn.graph.types import Schema
from mpignn.job.own_model import IMPORTS
from mpignn.job.own_program import run
from mpignn.log import phase
from mpignn.models import MODELS, check_types, find_model, is_own, name_in_runs, own_name
from mpignn.nn import SAGEConv, make_model, own
from mpignn.options import check_effects, check_taken, load_config
from mpignn.train.tasks.goal import Goal, check_model

ONE, TWO = Schema(("n",), (("n", "to", "n"),)), Schema(("n", "m"), (("n", "to", "m"), ("m", "to", "n")))
NET = """
import torch
from torch import nn
import beside

class Net(nn.Module):
    def __init__(self, in_feats, hidden, num_classes, num_layers, *, dropout, heads=3, depth=1, **more):
        super().__init__()
        self.given = dict(in_feats=in_feats, hidden=hidden, num_classes=num_classes, num_layers=num_layers,
                          dropout=dropout, heads=heads, depth=depth, **more)
        self.weight = nn.Parameter(torch.rand(3))

    def forward_layer(self, number, block, x, key=None):
        return x

class Typed(nn.Module):
    def __init__(self, schema, in_feats):
        super().__init__()
        self.given = dict(schema=schema, in_feats=in_feats)

class Odd(nn.Module):
    def __init__(self, what, hidden, /, in_feats=1):
        super().__init__()

class Failing(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        raise ZeroDivisionError("in vain")

def function(in_feats):
    return nn.Linear(in_feats, 1)
"""


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Names of the classes of a file."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text("here = True\n")
    (tmp_path / "net.py").write_text(NET)
    return lambda name: f"{tmp_path / 'net.py'}:{name}"


def known(settings):
    own.know(settings)
    return find_model(settings.model)


def test_a_name_is_a_file_or_a_module_and_a_class(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own_name("net.py:Net") == own_name("./x/../net.py:Net") == f"{tmp_path / 'net.py'}:Net"
    assert own_name("a.b:Net") == "a.b:Net" and own_name(own_name("net.py:Net")) == own_name("net.py:Net")
    for text in "net", "net.py", "net.py:", "net.py:a.b", ":Net", "a/b:Net", "a..b:Net", "":
        assert own_name(text) is None
        told = "is not one of: sage, .*, FILE.py:CLASS, PACKAGE.MODULE:CLASS" if text else "--model is empty"
        with pytest.raises(ConfigError, match=told):
            load_config(None, {"model": text})
    assert not any(map(is_own, [*MODELS, "sag"]))


def test_a_run_goes_on_wherever_the_file_lies(tmp_path):
    counts = [load_config(None, {"model": f"{folder}/net.py:Net"}).what_counts(1) for folder in ("a", "b")]
    assert counts[0] == counts[1] and counts[0]["model"] == "net.py:Net" and "model_args" not in counts[0]
    assert name_in_runs("a.net:Net") == "a.net:Net" and name_in_runs("gat") == "gat"
    config = load_config(None, {"model": "a/net.py:Net", "model_args": "depth=3,act=relu"})
    assert config.what_counts(1)["model_args"] == ("depth=3", "act=relu")
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "config.toml", {}) == config


def test_the_record_tells_what_the_class_takes_and_can_be_sent(at):
    net, typed = known(ModelConfig(model=at("Net"))), known(ModelConfig(model=at("Typed")))
    assert set(net.settings) == {"dropout", "heads"} and net.layerwise and not net.several_types
    assert typed.settings == () and typed.several_types and not typed.layerwise
    assert set(net.kernels) == {kernel for model in MODELS.values() for kernel in model.kernels}
    assert pickle.loads(pickle.dumps(net)) == net
    check_types(typed, TWO)
    with pytest.raises(ConfigError, match="takes one of each; let its constructor take schema"):
        check_types(net, TWO)


def test_the_class_gets_what_it_takes(at):
    args = ("depth=2", "act=relu", "rate=0.5", "on=true")
    model = make_model(ModelConfig(model=at("Net"), hidden=8, dropout=0.1, model_args=args), ONE, {"n": 6}, 3, 2)
    assert model.given == {"in_feats": 6, "hidden": 8, "num_classes": 3, "num_layers": 2, "dropout": 0.1, "heads": 4,
                           "depth": 2, "act": "relu", "rate": 0.5, "on": True}
    assert sys.path[-1] == at("Net").rpartition("/")[0]
    typed = make_model(ModelConfig(model=at("Typed")), ONE, {"n": 6}, 3, 2)
    assert typed.given == {"schema": ONE, "in_feats": {"n": 6}}


def test_a_module_of_a_package_or_of_the_current_folder(at, tmp_path, monkeypatch):
    assert known(ModelConfig(model="mpignn.nn:GraphSAGE")).layerwise
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    (tmp_path / "unlikely_package").mkdir()
    (tmp_path / "unlikely_package" / "nets.py").write_text(NET)
    found = known(ModelConfig(model="unlikely_package.nets:Net"))
    assert found.settings == known(ModelConfig(model=at("Net"))).settings


@pytest.mark.parametrize(("name", "args", "part"), [
    ("Nix", None, "there is no such class; those of the file are: Net, Typed, Odd, Failing"),
    ("function", None, "that is no class of torch.nn.Module; those of the file are: Net"),
    ("Odd", None, "its constructor asks for hidden, what, which it does not get: there are schema, in_feats"),
    ("Net", ("hidden=3",), "--model-args hidden: the constructor is given hidden as it is set elsewhere"),
    ("Typed", ("x=1", "deep=3"), "does not take deep, x, of --model-args; it takes schema, in_feats")])
def test_a_class_that_does_not_fit_is_told_in_one_line(at, name, args, part):
    with pytest.raises(ConfigError, match=part) as error:
        own.know(ModelConfig(model=at(name), model_args=args))
    assert "\n" not in str(error.value)


def test_a_constructor_that_fails_is_told_with_its_place(at, caplog):
    with caplog.at_level("INFO"), pytest.raises(ConfigError, match=r"cannot be made: ZeroDivisionError: in vain \(.*net"
                                                                   r"\.py, line \d+\)"):
        make_model(ModelConfig(model=at("Failing")), ONE, {"n": 6}, 3, 2)
    assert 'raise ZeroDivisionError("in vain")' in caplog.text and "nn/own.py" not in caplog.text


@pytest.mark.parametrize(("text", "part", "shown"), [
    ("def f():\n    return 1 / 0\nf()\n", r"ZeroDivisionError: division by zero \(.*bad.py, line 2\)", "return 1 / 0"),
    ("class Net(\n", "SyntaxError: '[(]' was never closed", "class Net("),
    ("import nosuch_lib\n", r"ModuleNotFoundError: No module named 'nosuch_lib' \(.*, line 1\)", "import nosuch_lib"),
    ("raise SystemExit(3)\n", "SystemExit: 3", "raise SystemExit(3)"), (None, "no such file", "")])
def test_a_file_that_cannot_be_imported_is_told_with_its_traceback(tmp_path, caplog, text, part, shown):
    if text is not None:
        (tmp_path / "bad.py").write_text(text)
    for _ in range(2):      # half a module does not stay
        caplog.clear()
        with caplog.at_level("INFO"), pytest.raises(ConfigError, match=part) as error:
            own.know(ModelConfig(model=f"{tmp_path / 'bad.py'}:Net"))
        assert "\n" not in str(error.value) and shown in caplog.text and "importlib" not in caplog.text


def test_a_program_does_not_begin_where_its_file_is_imported():
    with phase(IMPORTS), pytest.raises(ConfigError, match="below `if __name__ == '__main__':`"):
        run(lambda g, world: None, "graph")


@pytest.mark.parametrize(("flags", "part"), [
    ({"model": "net.py:Net", "model_args": "depth"}, "'depth' must be NAME=VALUE"),
    ({"model": "net.py:Net", "model_args": "a=1,a=2"}, "'a=2' must be NAME=VALUE, each name once")])
def test_arguments_have_names_that_the_model_knows(flags, part):
    with pytest.raises(ConfigError, match=part):
        load_config(None, flags)


def test_settings_that_the_class_does_not_take_are_refused(at):
    for name, given, idle in (("Net", {"heads": 2, "model_args": ("x=1",)}, None),
                              ("Net", {"heads": 2, "norm": "right"}, "norm"), ("Typed", {"dropout": 0.1}, "dropout")):
        config = load_config(None, {"model": at(name)} | given)
        own.know(config.model)
        check_effects(config, given)
        if idle is None:
            check_taken(config, given)
        else:
            with pytest.raises(ConfigError, match=f"--{idle} has no effect: the constructor of .* not take {idle}"):
                check_taken(config, given)


def test_links_need_a_class_that_goes_layer_by_layer(at):
    goal = Goal("link_prediction", None, ONE.etypes, "features", {"n": 6}, None, 0, None)
    for name, ok in ("Net", True), ("Typed", False):
        config = load_config(None, {"model": at(name), "task": "link_prediction"})
        own.know(config.model)
        if ok:
            check_model(config, ONE, goal)
        else:
            with pytest.raises(ConfigError, match="has no forward_layer: links are ranked"):
                check_model(config, ONE, goal)


def test_a_copy_of_a_model_is_that_model_to_the_last_bit(tmp_path):
    shutil.copy(sys.modules[SAGEConv.__module__].__file__, tmp_path / "copied.py")
    made, schema = [], random_graph(1).schema
    for name in "sage", f"{tmp_path / 'copied.py'}:GraphSAGE":
        torch.manual_seed(1)
        made.append(make_model(ModelConfig(model=name, hidden=8), schema, {schema.ntypes[0]: 6}, 3, 2).state_dict())
    assert all(np.array_equal(a, b) for a, b in zip(made[0].values(), made[1].values(), strict=True))
