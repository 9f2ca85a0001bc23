"""Flags and TOML set the same typed configuration."""

import argparse

import pytest

from mpignn.config import Config, add_flags, load_config
from mpignn.errors import ConfigError
from mpignn.nn import MODELS


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
    (("--model", "sagee"), "not one of: sage, gcn, gat, gatv2, rgcn, mlp"),
    (("--precision", "fp16"), "not one of: fp32, fp64, bf16"),
])
def test_a_bad_value_is_named_with_its_flag(words, part):
    with pytest.raises(ConfigError) as caught:
        load_config(None, flags(*words))
    assert part in str(caught.value)
    assert str(caught.value).startswith(words[0]) or "entries" in part


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml", {})


def test_every_model_of_the_configuration_exists():
    choices = Config().model.__dataclass_fields__["model"].metadata["choices"]
    assert set(choices) == set(MODELS)


def test_settings_of_a_program_have_no_preset_but_that_of_its_graph(monkeypatch):
    from mpignn import launch
    monkeypatch.setattr(launch, "_given", {"hidden": 32})
    assert launch.settings(lr=0.5) == load_config(None, {"hidden": 32, "lr": 0.5})
    preset = launch.settings(graph="wordnet")
    assert preset.model.hidden == 32 and preset != load_config(None, {"hidden": 32, "graph": "wordnet"})
