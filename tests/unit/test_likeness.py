"""Data under another name than the one that is read is found, and told."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from graphs import random_graph
from mpignn.config import Config, field_names
from mpignn.errors import ConfigError
from mpignn.graph.likeness import likely, misnamed_splits
from mpignn.graph.types import NTYPE, ArrayInfo, Schema
from mpignn.options import check_effects, load_config
from mpignn.storage.write import partition_graph
from mpignn.train import survey
from mpignn.train.tasks.goal import Goal

SCHEMA = Schema(("paper",), (("paper", "cites", "paper"),))


def goal(columns=0, ntype="paper"):
    etypes = () if ntype else SCHEMA.etypes
    return Goal("node_classification" if ntype else "link_prediction", ntype, etypes, "features", {"paper": columns},
                "labels" if ntype else None, 0, None)


@pytest.mark.parametrize(("wanted", "names", "found"), [
    ("features", {"feat", "labels"}, "feat"), ("features", {"X"}, "X"), ("features", {"feature"}, "feature"),
    ("features", {"features", "feat"}, None), ("features", {"year", "rest"}, None), ("labels", {"y"}, "y"),
    ("labels", {"label"}, "label"), ("labels", {"Labels"}, "Labels"), ("val", {"valid"}, "valid"), ("val", set(), None),
])
def test_a_name_that_stands_for_another(wanted, names, found):
    assert likely(wanted, names) == found


def test_splits_that_no_job_uses():
    assert misnamed_splits({"train", "valid", "test"}) == [("valid", "val")]
    assert misnamed_splits({"train", "val", "test", "holdout"}) == []


def test_partition_warns_of_likely_names(tmp_path, caplog):
    data = random_graph()
    named = data.node_data[NTYPE]
    named["x"], named["year"] = named.pop("features"), np.arange(40)
    data.splits[NTYPE]["valid"] = data.splits[NTYPE].pop("val")
    with caplog.at_level(logging.WARNING):
        partition_graph(data, tmp_path / "g", 2, "range")
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "'x'" in told[0] and "--features x" in told[0] and "'valid'" in told[1], told


INFOS = {info.name: info for info in (ArrayInfo("node/paper/data/feat", np.dtype(np.float32), (7,)),
                                      ArrayInfo("node/paper/data/labels", np.dtype(np.int64), ()))}
SPLITS = {"paper": {"train": np.arange(3), "valid": np.arange(2)}}


def test_a_job_says_what_it_reads_and_what_it_leaves():
    config = Config()
    lines = list(survey.reads(config, goal(), INFOS, SPLITS, {"paper": 2}))
    assert lines == ["reads features: none; learnt rows: paper 128",
                     "reads of paper: labels int64; splits train 3, valid 2", "in more than one split are 2 of paper"]
    features = {"node/paper/data/features": ArrayInfo("node/paper/data/features", np.dtype(np.float32), (7,))}
    lines = list(survey.reads(config, goal(7), INFOS | features, SPLITS, {}))
    assert lines[0] == "reads features: paper 7 x float32; learnt rows: none"
    found = list(survey.doubts(config, goal(), SCHEMA, INFOS, SPLITS))
    assert "learnt rows stand in; --features feat" in found[0] and "split 'valid' of paper" in found[1]
    assert len(list(survey.doubts(config, goal(7), SCHEMA, INFOS, {"paper": {"train": np.arange(3)}}))) == 0


def test_settings_without_effect_on_a_graph_are_refused():
    patient = load_config(None, {"patience": 2})
    with pytest.raises(ConfigError, match="no split val of paper has any: there are: train, valid"):
        survey.check_given(patient, SCHEMA, goal(), {"patience"}, SPLITS)
    survey.check_given(patient, SCHEMA, goal(), {"patience"}, {"paper": {"val": np.arange(2)}})
    with pytest.raises(ConfigError, match="--embed-dim has no effect.*--embed all"):
        survey.check_given(Config(), SCHEMA, goal(7), {"embed_dim"}, SPLITS)
    with pytest.raises(ConfigError, match="--combine has no effect: the graph has one edge type"):
        survey.check_given(Config(), SCHEMA, goal(7), {"combine"}, SPLITS)
    two = Schema(("paper",), (*SCHEMA.etypes, ("paper", "likes", "paper")))
    survey.check_given(Config(), two, goal(7), {"combine"}, SPLITS)
    survey.check_given(Config(), SCHEMA, goal(7), {"hidden"}, SPLITS)
    survey.check_given(Config(), SCHEMA, goal(), {"embed_dim"}, SPLITS)


def test_only_edges_of_a_split_that_is_there_are_scored():
    links = {"paper:cites:paper": {"train": np.arange(3), "test": np.arange(1)}}
    survey.check_split(goal(ntype=None), "test", links)
    survey.check_split(goal(ntype=None), None, {})
    with pytest.raises(ConfigError, match="no split named 'tset'; there are: test, train"):
        survey.check_split(goal(ntype=None), "tset", links)
    with pytest.raises(ConfigError, match="--split test has no effect"):
        survey.check_split(goal(), "test", SPLITS)


def test_of_many_types_some_are_told_one_by_one():
    """A knowledge graph has hundreds of edge types, all of which have splits."""
    keys = [f"paper:r{number}:paper" for number in range(50)]
    many = replace(goal(ntype=None), etypes=tuple(tuple(key.split(":")) for key in keys))
    splits = {key: {"train": np.arange(3), "valid": np.arange(2)} for key in keys}
    lines = list(survey.reads(Config(), many, INFOS, splits, dict.fromkeys(keys, 1)))
    assert "reads of 42 more types: splits train 126, valid 84" in lines and len(lines) == 1 + 8 + 1 + 1
    (found,) = [line for line in survey.doubts(Config(), many, SCHEMA, INFOS, splits) if "split 'valid'" in line]
    assert "r11:paper, ... (50 in all) is not used" in found
    with pytest.raises(ConfigError, match="(50 in all).: no split named 'tset'"):
        survey.check_split(many, "tset", splits)


def test_a_flag_without_effect_names_the_value_that_is_in_the_way():
    with pytest.raises(ConfigError, match="--patience has no effect with --eval-every 0: "):
        check_effects(load_config(None, {"patience": "3", "eval_every": "0"}), {"patience"})


WITHOUT_EFFECT = [
    (name, "5", {}) for name in ("heads", "out_heads", "bases", "num_negatives", "rank_among", "replicate_nodes")] + [
    ("decoder", "transe", {}), ("margin", "2", {"task": "link_prediction"}), ("aggregator", "sum", {"model": "gcn"}),
    ("norm", "right", {}), ("residual", True, {"model": "mlp"}), ("layer_norm", True, {"model": "mlp"}),
    ("edge_feats", "x", {}), ("edge_weight", "w", {"model": "hgt"}),
    ("edge_time", "when", {"task": "link_prediction"}), ("seed_time", "asked", {}),
    ("class_weights", "balanced", {"task": "node_regression"}), ("standardize_targets", True, {}),
    ("label_smoothing", "0.1", {"task": "node_multilabel"}), ("jk", "cat", {"model": "none"}),
    ("out_layers", "2", {"model": "mlp"}),
    ("out_heads", "2", {"model": "gat", "jk": "max"}), ("regularizer", "bdd", {"model": "rgcn"}),
    ("combine", "max", {"model": "rgcn"}), ("cache_policy", "degree", {}),
    ("attention_dropout", "0.1", {"model": "mlp"}), ("dropout", "0.1", {"model": "none"}), ("exclude", "none", {}),
    ("input_dropout", "0.1", {"model": "none"}), ("edge_mask", "kept", {"model": "mlp"}),
    ("sampler", "labor", {"model": "mlp"}), ("sampler_args", "replace=true", {"sampler": "labor"}),
    ("embed_dim", "8", {"embed": "off"}), ("embed_lr", "1", {"embed": "off"}), ("ranks", "raw", {}),
    ("labels", "y", {"task": "link_prediction"}), ("patience", "3", {"eval_every": "0"}),
    ("embed_optimizer", "sgd", {"embed": "off"}), ("embed_precision", "bf16", {"embed": "off"}),
    ("target_etype", "a", {}), ("negatives", "local", {}),
    ("link_loss", "margin", {}), ("reverse_etypes", "a=b", {"exclude": "reverse_types"}),
    ("model_args", "depth=3", {"model": "mlp"}), ("target_ntype", "a", {"task": "edge_regression"})]
LEARNT = {"model": "mlp", "combine": "max", "edge_feats": "x", "edge_weight": "w", "aggregator": "sum",
          "layers": 3, "hidden": 8, "dropout": 0.1, "input_dropout": 0.1, "norm":
          "right", "heads": 2, "out_heads": 2, "attention_dropout": 0.1, "residual": True,
          "class_weights": "1,2", "label_smoothing": 0.1, "standardize_targets": True,
          "layer_norm": True, "jk": "cat", "out_layers": 2, "bases": 2, "regularizer":
          "bdd", "embed": "all", "embed_dim": 8, "embed_optimizer": "sgd", "embed_lr": 1,
          "embed_precision": "bf16", "lr": 1, "schedule": "linear", "warmup_steps": 1,
          "clip": 1, "weight_decay": 1, "precision": "fp64", "eval_every": 2,
          "eval_fanouts": "1,2,3", "patience": 3, "metrics": "acc", "decoder": "transe", "link_loss": "margin",
          "margin": 2, "ranks": "raw", "rank_among": 5, "checkpoint_every": 1, "checkpoint_steps": 5, "keep": 1,
          "keep_best": 2,
          "on_checkpoint_error": "continue", "model_args": "depth=3"}


@pytest.mark.parametrize(("name", "value", "beside"), WITHOUT_EFFECT, ids=[name for name, _, _ in WITHOUT_EFFECT])
def test_a_flag_without_effect_is_refused(name, value, beside, tmp_path):
    config = load_config(None, {name: value} | beside)
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} has no effect with"):
        check_effects(config, {name})
    (tmp_path / "config.toml").write_text(config.to_toml())
    check_effects(load_config(tmp_path / "config.toml", {}), set())


def test_what_is_learnt_has_no_effect_where_no_model_runs():
    data_only = {"data_path_only": True}
    for name, value in LEARNT.items():
        beside = data_only | ({"model": "net.py:Net"} if name == "model_args" else {})
        with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')}: no effect with --data-path-only"):
            check_effects(load_config(None, {name: value} | beside), {name, "data_path_only"})
    with pytest.raises(ConfigError, match="^--hidden, --lr: no effect with --data-path-only, which .*: leave them out"):
        check_effects(load_config(None, {"hidden": 8, "lr": 1} | data_only), {"lr", "batch_size", "hidden"})
    rest = field_names() - LEARNT.keys() - {name for name, _, _ in WITHOUT_EFFECT}
    check_effects(load_config(None, data_only), rest | {"data_path_only"})


def test_flags_with_effect_are_taken():
    for flags in ({"model": "gat", "heads": "2", "residual": True}, {"replicate": "all", "replicate_nodes": "2"},
                  {"model": "rgcn", "bases": "2", "regularizer": "bdd"},
                  {"task": "link_prediction", "link_loss": "margin", "margin": "2"}):
        check_effects(load_config(None, flags), flags)


def test_every_setting_with_conditions_is_tried():
    conditional = {option.name for _, kind in _sections() for option in kind.__dataclass_fields__.values()
                   if option.metadata["only"]}
    assert conditional == {name for name, _, _ in WITHOUT_EFFECT} | LEARNT.keys()


def _sections():
    return [(name, type(option.default)) for name, option in Config.__dataclass_fields__.items()]
