"""Flags and TOML set the same typed configuration."""

import argparse
import math
import tomllib
from types import SimpleNamespace

import pytest

from mpignn.config import Config, field_names, going_on
from mpignn.errors import ConfigError
from mpignn.models import MODELS
from mpignn.options import add_flags, load_config


def flags(*words):
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(words))


def test_no_flags_give_the_defaults():
    assert load_config(None, flags()) == Config()


def test_toml_round_trip(tmp_path):
    config = load_config(None, flags("--fanouts", "5,-1,15", "--lr", "0.01", "--run-dir", "a \"b\"", "--data-path-only",
                                     "--global-batch-size", "64"))
    (tmp_path / "job.toml").write_text(config.to_toml())
    assert load_config(tmp_path / "job.toml", {}) == config
    assert config.sampling.fanouts == (5, -1, 15)
    assert config.train.lr == 0.01
    assert config.train.data_path_only
    assert config.global_batch_size(num_trainers=7) == 64


def test_flags_override_the_file(tmp_path):
    (tmp_path / "job.toml").write_text("[model]\nhidden = 16\ndropout = 0\n[train]\nepochs = 3\n")
    config = load_config(tmp_path / "job.toml", flags("--hidden", "32"))
    assert (config.model.hidden, config.model.dropout, config.train.epochs) == (32, 0.0, 3)


def test_a_preset_comes_before_the_file_and_the_flags(tmp_path):
    (tmp_path / "preset.toml").write_text("[model]\nhidden = 16\n[loader]\nglobal_batch_size = 500\n")
    (tmp_path / "job.toml").write_text("[model]\nhidden = 32\n")
    config = load_config(tmp_path / "job.toml", {}, tmp_path / "preset.toml")
    assert (config.model.hidden, config.global_batch_size(3)) == (32, 500)
    said_later = load_config(tmp_path / "job.toml", flags("--batch-size", "7"), tmp_path / "preset.toml")
    assert said_later.global_batch_size(3) == 21


def test_two_batch_sizes_are_one_too_many():
    with pytest.raises(ConfigError, match="give one of the two"):
        load_config(None, flags("--batch-size", "7", "--global-batch-size", "70"))


@pytest.mark.parametrize(("text", "part"), [
    ("[model]\nhiden = 3\n", "did you mean hidden?"),
    ("[modle]\nhidden = 3\n", "did you mean model?"),
    ("hidden = 3\n", "unknown section [hidden]"),
    ("model = 3\n", "must be a section"),
    ("[model]\nhidden = 'x'\n", "not a whole number"),
    ("[model]\nhidden = 2.5\n", "not a whole number"),
    ("[model]\nhidden = true\n", "not a whole number"),
    ("[train]\ndata_path_only = 1\n", "not true or false"),
    ("[sampling]\nfanouts = [5, 'a', 3]\n", "not a whole number"),
    ("[sampling\n", "not a TOML file"),
])
def test_a_bad_file_is_named_with_its_key(tmp_path, text, part):
    path = tmp_path / "job.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, {})
    assert part in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("words", "part"), [
    (("--fanouts", "5,x,1"), "'x' is not a whole number"),
    (("--fanouts", "5,-2,1"), "-2 is less than -1"),
    (("--fanouts", "5,5", "--layers", "3"), "2 entries, but the model has 3 layers"),
    (("--eval-fanouts", "5"), "eval-fanouts 5 has 1 entries"),
    (("--dropout", "1"), "not less than 1"),
    (("--lr", "nan"), "not a number"),
    (("--lr", "inf"), "not a number"),
    (("--epochs", "-1"), "less than 0"),
    (("--model", "sagee"), "not one of: sage, gcn, gat"),
    (("--sampler", "labour"), "not one of: neighbor, labor"),
    (("--sampler-args", "replace=2"), "replace=2: it must be true or false"),
    (("--sampler-args", "again=true"), "sampler neighbor does not take again; it takes: replace"),
    (("--precision", "fp16"), "not one of: fp32, fp64, bf16"),
])
def test_a_bad_value_is_named_with_its_flag(words, part):
    with pytest.raises(ConfigError) as caught:
        load_config(None, flags(*words))
    assert part in str(caught.value)
    assert str(caught.value).startswith((words[0], words[0].strip("-"))) or "entries" in part


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml", {})


def test_every_model_of_the_configuration_exists():
    choices = Config().model.__dataclass_fields__["model"].metadata["choices"]
    assert set(choices) == set(MODELS)


def test_settings_of_a_program_have_no_preset_but_that_of_its_graph(monkeypatch):
    from mpignn.job.job import Job
    from mpignn.job.own_program import settings
    monkeypatch.setattr(Job, "of_process", SimpleNamespace(given={"hidden": 32}, given_to_run={}))
    assert settings(lr=0.5) == load_config(None, {"hidden": 32, "lr": 0.5})
    preset = settings(graph="wordnet")
    assert preset.model.hidden == 32 and preset != load_config(None, {"hidden": 32, "graph": "wordnet"})


def test_results_depend_on_these_settings_and_on_no_others():
    """Each setting of a run is either here or may be another one when the run goes on."""
    aside = {"servers_per_node", "server_nodes", "ranks_per_node", "replicate", "replicate_nodes", "access", "device",
             "stage", "graph", "tensor_bytes", "batch_size", "prefetch", "cache",
             "cache_policy", "epochs", "patience", "data_path_only",
             "run_dir", "log", "progress", "tensorboard", "resume", "checkpoint_every", "checkpoint_steps", "keep",
             "keep_best", "on_checkpoint_error", "time_limit", "hang_timeout"}
    config = load_config(None, {"model": "some.module:Net", "model_args": "depth=3", "sampler": "labor",
                                "sampler_args": "replace=true", "layer_norm": True, "jk": "cat", "out_layers": 1,
                                "class_weights": "balanced", "label_smoothing": 0.1, "standardize_targets": True})
    of_edges = {"edge_time": "t", "seed_time": "t", "edge_feats": "x", "edge_weight": "w"}  # for the usual sampler, gat
    named = load_config(None, {"model": "gat", **of_edges})
    assert set(config.what_counts(2)) | set(of_edges) == field_names() - aside
    assert set(of_edges) <= set(named.what_counts(2)) < field_names() - aside


@pytest.mark.parametrize(("said", "other"), [
    (("--eval-fanouts", "10,10,10"), ("--eval-fanouts", "10,10,9")), (("--layers", "3"), None),
    (("--sampler", "neighbor"), ("--sampler", "labor")),
    (("--embed-lr", "0.003"), ("--embed-lr", "0.1")), (("--metrics", "acc"), ("--metrics", "macro_f1")),
    (("--tensor-bytes", "8"), None), (("--global-batch-size", "2000"), ("--batch-size", "999")),
    (("--epochs", "3", "--patience", "2"), ("--schedule", "cosine"))])
def test_to_ask_for_a_default_is_not_another_run(said, other):
    assert load_config(None, flags(*said)).what_counts(2) == Config().what_counts(2)
    if other is not None:
        assert load_config(None, flags(*other)).what_counts(2) != Config().what_counts(2)


def test_the_line_that_goes_on_with_a_run_is_quoted():
    assert going_on("runs/my run") == "`mpignn train --resume 'runs/my run'`"


OPTIONS = [(section, option) for section, part in Config.__dataclass_fields__.items()
           for option in type(part.default).__dataclass_fields__.values()]
ODD = [math.inf, -math.inf, math.nan, 10**400, -10**400, 2**63, 1e308, -1, True, "", " ", "x", "1e400", "9" * 5000,
       "\0", "\udcff", None, [], [[]], [None], {}, b"x", [True], [10**400], [math.nan], "1,", ","]


@pytest.mark.parametrize(("section", "option"), OPTIONS, ids=[option.name for _, option in OPTIONS])
def test_an_odd_value_is_taken_or_told(section, option):
    """Whatever is taken can be written and read back."""
    for value in ODD:
        try:
            config = load_config(None, {option.name: value})
        except ConfigError as error:
            told = str(error).replace("_", "-")
            assert option.name.replace("_", "-") in told or "layers" in told, (value, told)
        else:
            assert tomllib.loads(config.to_toml())[section] is not None
            found = getattr(getattr(config, section), option.name)
            assert not isinstance(found, float) or math.isfinite(found), value


@pytest.mark.parametrize(("text", "part"), [
    ("[sampling]\nfanouts = []\n", "the list is empty"), ("[train]\nlr = 1" + "0" * 400 + "\n", "not a number"),
    ("[train]\nlr = inf\n", "not a number"), ("[train]\nlr = true\n", "not a number"),
    ("[model]\nhidden = 9223372036854775808\n", "is not less than"), ("[checkpoint]\ntime_limit = 1e300\n", "not less"),
])
def test_numbers_that_no_machine_can_hold_are_refused(tmp_path, text, part):
    (tmp_path / "job.toml").write_text(text)
    with pytest.raises(ConfigError, match=part):
        load_config(tmp_path / "job.toml", {})


def test_a_run_folder_without_a_name_is_refused():
    with pytest.raises(ConfigError, match="--run-dir is empty: write what it shall be"):
        load_config(None, {"run_dir": ""})
