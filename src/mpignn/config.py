"""The one configuration of a job: typed, from defaults, a TOML file and flags of the same names.

A field's name is unique over the sections, so that ``[model] hidden = 256`` and ``--hidden 256`` mean the same.
"""

import argparse
import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError

METRICS = "metrics.jsonl"       # of a run folder
CHECKPOINTS = "checkpoints"     # likewise
AUTO = "auto"
CPU = "cpu"

# No result depends on these, and a run may go on with other values.
_FREE = frozenset({"graph", "batch_size", "prefetch", "epochs", "run_dir", "log"})


def _option(default: Any, text: str, low: float | None = None, below: float | None = None,
            choices: tuple[str, ...] | None = None, bare: str | None = None) -> Any:
    """A field with its help and the values it admits: at least ``low`` and less than ``below``.

    ``bare`` is what its flag means without a value.
    """
    return field(default=default, metadata={"help": text, "low": low, "below": below, "choices": choices,
                                            "bare": bare})


@dataclass(frozen=True)
class WorldConfig:
    """Ranks and their roles."""

    servers_per_node: int | None = _option(
        None, "dedicated graph servers on each node, its first ranks; 0: every rank serves and trains "
              "(default: 1, and a node with a single rank does both)", low=0)
    server_nodes: int | None = _option(None, "only the first so many nodes serve (default: all)", low=1)
    ranks_per_node: int | None = _option(None, "cut each node into simulated nodes of so many ranks", low=1)
    replicate: str = _option("none", "hold a copy of the graph's structure, or of all, on every node",
                             choices=("none", "topology", "all"))
    replicate_nodes: int = _option(1, "nodes that share such a copy between them", low=1)
    access: str = _option("auto", "how rows of other nodes come: rma (one-sided reads), owner (packed and sent by "
                                  "their server), or auto: the one that measures faster at start",
                          choices=("auto", "rma", "owner"))
    device: str = _option(CPU, "where trainers compute: cpu, or cuda: each on a GPU of its own", choices=(CPU, "cuda"))


@dataclass(frozen=True)
class GraphConfig:
    """What is learnt from."""

    graph: str = _option("wordnet", "partitioned graph (folder or its graph.h5), or the name of a bundled data set")
    features: str = _option("features", "node data that the model reads")
    labels: str = _option("labels", "node data that the model shall predict")
    tensor_bytes: int = _option(0, "bytes for each node of the graph that tensors of a program's own will take, for "
                                   "the memory plan", low=0)


@dataclass(frozen=True)
class TaskConfig:
    """What shall be predicted."""

    task: str = _option("node_classification", "what is learnt",
                        choices=("node_classification", "node_multilabel", "node_regression", "edge_classification",
                                 "edge_regression", "link_prediction"))
    target_ntype: str | None = _option(None, "node type of the seeds (default: the one that has a split train)")
    target_etype: str | None = _option(None, "edge type of the seeds, relation or src:rel:dst (default: the one that "
                                             "has a split train; for link_prediction all that have)")
    exclude: str = _option("self", "edges that a batch of edges does not see: its own, also those that join the same "
                                   "nodes the other way round, or also those of the types X and rev_X",
                           choices=("none", "self", "reverse_id", "reverse_types"))
    decoder: str = _option("dot", "how a link is scored from its ends",
                           choices=("dot", "distmult", "complex", "transe", "rotate"))
    link_loss: str = _option("cross_entropy", "what is learnt of links: to tell each from false ones, to find it among "
                                              "them, or to score it higher by a margin",
                             choices=("cross_entropy", "softmax", "margin"))
    margin: float = _option(1.0, "of the loss margin", low=0)
    negatives: str = _option("uniform", "where false links come from: their destination is any node, that of another "
                                        "link of the batch, or any node in this node's memory",
                             choices=("uniform", "in_batch", "local"))
    num_negatives: int = _option(10, "false links for each link", low=1)
    rank_among: int | None = _option(None, "nodes, drawn once, that a link is ranked among (default: all)", low=1)
    ranks: str = _option("filtered", "whether other true links compete", choices=("filtered", "raw"))
    metrics: tuple[str, ...] | None = _option(None, "what is measured; the first one chooses the best parameters "
                                                    "(default: what is usual for the task)")


@dataclass(frozen=True)
class SamplingConfig:
    """Neighbourhoods."""

    fanouts: tuple[int, ...] = _option((10, 10, 10), "neighbours kept per node, input layer first; -1: all", low=-1)
    eval_fanouts: tuple[int, ...] | None = _option(None, "the same in validation and test (default: fanouts)", low=-1)
    edge_mask: str | None = _option(None, "edge data that is true on edges that carry messages (default: all do)")


@dataclass(frozen=True)
class LoaderConfig:
    """Batches."""

    batch_size: int = _option(1000, "seeds of a batch per trainer", low=1)
    global_batch_size: int | None = _option(None, "seeds of a step over all trainers, instead of batch-size", low=1)
    prefetch: int = _option(2, "batches prepared together, their requests fused; 1 prepares each on its own", low=1)


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    model: str = _option("sage", "architecture", choices=("sage", "gcn", "gat", "gatv2", "rgcn", "mlp", "none"))
    aggregator: str = _option("mean", "how sage combines neighbours", choices=("mean", "sum", "gcn", "pool"))
    layers: int | None = _option(None, "number of layers (default: as many as fanouts)", low=1)
    hidden: int = _option(256, "width of the hidden layers", low=1)
    dropout: float = _option(0.5, "share of hidden values dropped in training", low=0, below=1)
    input_dropout: float = _option(0.0, "the same of the features", low=0, below=1)
    norm: str = _option("both", "what gcn divides by: the roots of both degrees, that of the destination, nothing",
                        choices=("both", "right", "none"))
    heads: int = _option(4, "attention heads of the hidden layers of gat and gatv2, which share the width", low=1)
    out_heads: int = _option(1, "of their last layer, averaged", low=1)
    attention_dropout: float = _option(0.0, "share of attention weights dropped in training", low=0, below=1)
    residual: bool = _option(False, "add its input to the output of a gat or gatv2 layer")
    bases: int | None = _option(None, "matrices that those of rgcn's relations are made of (default: a free one "
                                      "for each relation)", low=1)
    regularizer: str = _option("basis", "how rgcn's relations are made of bases: sums, or blocks on the diagonal",
                               choices=("basis", "bdd"))


@dataclass(frozen=True)
class EmbeddingConfig:
    """Rows that are learnt for single nodes."""

    embed: str = _option("auto", "node types that get them: those without features, none, or all, beside the features",
                         choices=("auto", "off", "all"))
    embed_dim: int = _option(128, "their columns", low=1)
    embed_optimizer: str = _option("adam", "which updates the rows that a step has met",
                                   choices=("adam", "adagrad", "sgd"))
    embed_lr: float | None = _option(None, "its learning rate (default: lr)", low=0)


@dataclass(frozen=True)
class TrainConfig:
    """The optimisation and the run."""

    epochs: int = _option(10, "passes over the training nodes", low=0)
    lr: float = _option(0.003, "learning rate of Adam", low=0)
    schedule: str = _option("constant", "course of the learning rate after the warm-up; linear and cosine end at 0",
                            choices=("constant", "linear", "cosine"))
    warmup_steps: int = _option(0, "steps in which the learning rate rises to lr", low=0)
    clip: float | None = _option(None, "longest gradient of all parameters together; longer ones are scaled", low=0)
    weight_decay: float = _option(0.0, "L2 penalty added to the gradient", low=0)
    seed: int = _option(0, "of everything random", low=0, below=2**63)
    precision: str = _option("fp32", "of the model; bf16: of rows and products in training, with fp32 parameters",
                             choices=("fp32", "fp64", "bf16"))
    eval_every: int = _option(1, "epochs between validations; 0: only at the end", low=0)
    patience: int | None = _option(None, "stop after so many validations without a better one", low=1)
    data_path_only: bool = _option(False, "sample and fetch, but run no model")
    run_dir: str | None = _option(None, "folder for config.toml and metrics.jsonl (default: runs/NAME-TIME)")
    log: str = _option("info", "detail of the log", choices=("debug", "info", "warning"))


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints, stopping and going on."""

    resume: str | None = _option(
        None, "go on from the newest whole checkpoint of a run folder, or from one checkpoint; auto, or no value: of "
              "--run-dir, or of the newest run under runs/, from the start where there is none", bare=AUTO)
    checkpoint_every: int | None = _option(
        None, "epochs between checkpoints, beside those of the best validations; 0: none but when stopped (default: 1, "
              "but at most one a minute)", low=0)
    checkpoint_steps: int = _option(0, "steps between checkpoints, beside those of epochs; 0: none", low=0)
    keep: int = _option(2, "newest checkpoints to keep, beside that of the best validation", low=1)
    on_checkpoint_error: str = _option("stop", "what to do when the disk is full or cannot be written",
                                       choices=("stop", "continue"))
    time_limit: float | None = _option(None, "seconds after which to write a checkpoint and leave with exit code 75, "
                                             "as at SIGUSR1", low=0)
    hang_timeout: float | None = _option(
        None, "seconds that nothing may happen on a rank before it ends the job, in any phase; 0: for ever (default: "
              "1800 in epochs and evaluations, for ever elsewhere)", low=0)


@dataclass(frozen=True)
class Config:
    """Everything that a training job can be told."""

    world: WorldConfig = WorldConfig()
    graph: GraphConfig = GraphConfig()
    task: TaskConfig = TaskConfig()
    sampling: SamplingConfig = SamplingConfig()
    loader: LoaderConfig = LoaderConfig()
    model: ModelConfig = ModelConfig()
    embedding: EmbeddingConfig = EmbeddingConfig()
    train: TrainConfig = TrainConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @property
    def num_layers(self) -> int:
        return len(self.sampling.fanouts) if self.model.layers is None else self.model.layers

    @property
    def eval_fanouts(self) -> tuple[int, ...]:
        return self.sampling.fanouts if self.sampling.eval_fanouts is None else self.sampling.eval_fanouts

    def embedding_columns(self, ntypes_with_features: Mapping[str, int]) -> dict[str, int]:
        """Columns of the embedding of each node type that gets one, by the columns of its features, 0 for none."""
        embed = self.embedding.embed
        return {} if embed == "off" else {t: self.embedding.embed_dim for t, width in ntypes_with_features.items()
                                          if width == 0 or embed == "all"}

    def global_batch_size(self, num_trainers: int) -> int:
        """Seeds of one optimiser step."""
        return self.loader.global_batch_size or self.loader.batch_size * num_trainers

    def what_counts(self, num_trainers: int) -> dict[str, Any]:
        """The settings that results depend on, by name: a run goes on only where these are the same."""
        values = {option.name: getattr(getattr(self, section), option.name) for section, kind in _sections()
                  if kind not in (WorldConfig, CheckpointConfig)
                  for option in dataclasses.fields(kind) if option.name not in _FREE}
        values["global_batch_size"] = self.global_batch_size(num_trainers)
        if self.train.schedule != "constant":
            values["epochs"] = self.train.epochs        # they set the course of the learning rate
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def write(self, run_dir: Path) -> None:
        """Write config.toml of a run folder: all settings but ``resume``, which is of one job and not of the run."""
        lasting = dataclasses.replace(self, checkpoint=dataclasses.replace(self.checkpoint, resume=None))
        (run_dir / "config.toml").write_text(lasting.to_toml(), encoding="utf-8")

    def to_toml(self) -> str:
        """The configuration as a file that `load_config` reads back to an equal one."""
        lines = []
        for section in dataclasses.fields(self):
            lines.append(f"[{section.name}]")
            values = dataclasses.asdict(getattr(self, section.name))
            if values.get("global_batch_size") is not None:
                del values["batch_size"]        # it has no effect
            lines += [f"{key} = {_toml(value)}" for key, value in values.items() if value is not None]
            lines.append("")
        return "\n".join(lines)


def _toml(value: Any) -> str:
    # A JSON string, number, list or truth value of ours is also a TOML one.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def load_config(path: str | Path | None, flags: Mapping[str, Any], preset: str | Path | None = None) -> Config:
    """Defaults, overlaid by the preset of a bundled data set, by a TOML file, and by flags.

    Args:
        path: TOML file with the sections of `Config`, or None.
        flags: Values by field name; text is converted to the field's type.
        preset: TOML file, or None.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a value of the wrong type or range, fanouts
            that do not match the layers, both batch sizes at once, or a file that cannot be read.
    """
    layers = [dict(_read_toml(file)) for file in (preset, path) if file is not None]
    known = [option.name for _, kind in _sections() for option in dataclasses.fields(kind)]
    for name in flags:
        if name not in known:
            raise ConfigError(f"unknown setting {name}{nearest(name, known)}")
    layers.append({name: (value, _flag(name)) for name, value in flags.items()})
    values: dict[str, tuple[Any, str]] = {}
    for layer in layers:
        if "batch_size" in layer and "global_batch_size" in layer:
            raise ConfigError(f"{layer['batch_size'][1]} and {layer['global_batch_size'][1]}: give one of the two")
        if "batch_size" in layer:
            values.pop("global_batch_size", None)       # said later, it counts
        values |= layer
    config = Config(**{section: kind(**{f.name: _convert(f, *values[f.name]) for f in dataclasses.fields(kind)
                                        if f.name in values})
                       for section, kind in _sections()})
    for name, fanouts in (("fanouts", config.sampling.fanouts), ("eval-fanouts", config.eval_fanouts)):
        if len(fanouts) != config.num_layers:
            raise ConfigError(f"{name} {','.join(map(str, fanouts))} has {len(fanouts)} entries, but the model has "
                              f"{config.num_layers} layers: give one fanout per layer, input layer first")
    return config


def _read_toml(path: str | Path) -> Iterator[tuple[str, tuple[Any, str]]]:
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    sections = dict(_sections())
    for section, table in tables.items():
        if section not in sections:
            raise ConfigError(f"{path}: unknown section [{section}]{nearest(section, sections)}")
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} must be a section: [{section}]")
        known = [f.name for f in dataclasses.fields(sections[section])]
        for key, value in table.items():
            if key not in known:
                raise ConfigError(f"{path}: unknown key {key} in [{section}]{nearest(key, known)}")
            yield key, (value, f"{path}: {key}")


def field_names() -> frozenset[str]:
    """Names of all settings."""
    return frozenset(option.name for _, kind in _sections() for option in dataclasses.fields(kind))


def _sections() -> Iterator[tuple[str, type]]:
    for section in dataclasses.fields(Config):
        yield section.name, type(section.default)


def nearest(word: str, known) -> str:
    """``; did you mean X?``, or nothing where no known word is similar."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else f"; known are: {', '.join(known)}"


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(option: dataclasses.Field) -> tuple[type, bool]:
    """The type of a field's value (of its entries, for a tuple), and whether it is a tuple."""
    kind = option.type
    if isinstance(kind, types.UnionType):
        kind = next(k for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        return typing.get_args(kind)[0], True
    return kind, False


def _convert(option: dataclasses.Field, value: Any, where: str) -> Any:
    """``value`` as the field's type, range checked."""
    kind, many = _kind(option)
    if many:
        entries = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
        return tuple(_scalar(option, kind, v, where) for v in entries)
    return _scalar(option, kind, value, where)


_PARSERS: dict[type, Callable[[str], Any]] = {int: int, float: float}


def _scalar(option: dataclasses.Field, kind: type, value: Any, where: str) -> Any:
    if isinstance(value, str) and kind in _PARSERS:
        try:
            value = _PARSERS[kind](value.strip())
        except ValueError:
            raise ConfigError(f"{where}: {value!r} is not {_name(kind)}") from None
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or kind is float and not math.isfinite(value):
        raise ConfigError(f"{where}: {value!r} is not {_name(kind)}")
    low, below, choices = (option.metadata[k] for k in ("low", "below", "choices"))
    if choices is not None and value not in choices:
        raise ConfigError(f"{where}: {value!r} is not one of: {', '.join(choices)}")
    if low is not None and not value >= low:
        raise ConfigError(f"{where}: {value} is less than {low}")
    if below is not None and not value < below:
        raise ConfigError(f"{where}: {value} is not less than {below}")
    return value


def _name(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[kind]


def add_flags(parser: argparse.ArgumentParser, skip: Sequence[str] = ()) -> None:
    """Give ``parser`` one flag for each field of `Config` but those of ``skip``; only flags given are stored."""
    for section, kind in _sections():
        group = parser.add_argument_group(section, kind.__doc__)
        for option in dataclasses.fields(kind):
            if option.name in skip:
                continue
            value, _ = _kind(option)
            text = option.metadata["help"]
            if option.default is not None and value is not bool:
                shown = ",".join(map(str, option.default)) if isinstance(option.default, tuple) else option.default
                text += f" (default: {shown})"
            if value is bool:
                group.add_argument(_flag(option.name), action="store_true", default=argparse.SUPPRESS, help=text)
            else:
                bare = option.metadata["bare"]
                optional = {} if bare is None else {"nargs": "?", "const": bare}
                group.add_argument(_flag(option.name), default=argparse.SUPPRESS, help=text,
                                   metavar=option.name.upper(), **optional)
