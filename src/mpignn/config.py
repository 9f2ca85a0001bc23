"""The one configuration of a job: its settings, their types and defaults, and what they depend on.

A field's name is unique over the sections, so that ``[model] hidden = 256`` and ``--hidden 256`` mean the same.
"""

import dataclasses
import json
import shlex
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mpignn.models import COMBINED_BY, JUMPS, LAST, MODELS, OWN, USUAL, models_with, name_in_runs, own_name
from mpignn.samplers import SAMPLERS, samplers_with_arguments
from mpignn.samplers import USUAL as USUAL_SAMPLER
from mpignn.tasks import TASKS
from mpignn.ways import WAYS

METRICS = "metrics.jsonl"       # of a run folder
TENSORBOARD = "tensorboard"     # likewise: event files
CONFIG = "config.toml"          # likewise
CHECKPOINTS = "checkpoints"     # likewise
JOBS = "jobs.jsonl"             # likewise: a line for each job of the run
HANG = "hang.jsonl"             # likewise: what ranks were doing that gave up
EVALUATION = "eval.json"        # in the folder eval of a run folder
CLASSES = "classes.json"        # beside it
TRAINED = "trained"             # likewise: the network with the best parameters
AUTO = "auto"
CPU = "cpu"
SCHEDULE = "schedule"       # the policy of a cache whose copies change as batches go by
MOST_USED = ("servers_per_node", "task", "fanouts", "batch_size", "model", "hidden", "epochs", "lr", "run_dir",
             "resume")      # what help shows of the settings unless all are asked for
LARGEST = 1 << 31       # what whole numbers are less than where nothing else is said: C's int
LONGEST_S = 1e9         # likewise durations: the system's clocks take no longer ones
SET: tuple[()] = ()
Only = dict[str, tuple[str | int, ...]]       # values of other settings, by their names
LEARNT: Only = {"data_path_only": (False,)}       # what the settings of all that learns have an effect with
_LINKS: Only = {"task": ("link_prediction",)}
_OF_EDGES: Only = {"task": ("edge_classification", "edge_regression", "link_prediction")}
_CLASSES: Only = {"task": ("node_classification", "edge_classification")}
_NUMBERS: Only = {"task": ("node_regression", "edge_regression")}
_OF_NODES: Only = {"task": ("node_classification", "node_multilabel", "node_regression")}
_WITH_LABELS: Only = {"task": tuple(task for task in TASKS if task != "link_prediction")}
_WITH_MESSAGES: Only = {"model": (*(model.name for model in MODELS.values() if model.sees_neighbors), OWN)}
_WITH_ROWS = LEARNT | {"embed": ("auto", "all")}


def _option(default: Any, text: str, low: float | None = None, below: float | None = None,
            choices: tuple[str, ...] | None = None, bare: str | None = None, counts: bool = True,
            other: tuple[str, Callable[[str], str | None]] | None = None,
            only: Mapping[str, tuple[str | int, ...]] = types.MappingProxyType({})) -> Any:
    """A field with its help and the values it admits: at least ``low`` and less than ``below``.

    ``other`` says what may stand in the place of a choice, and makes it a value, or None if it is no such thing.
    ``bare`` is what its flag means without a value; ``counts``, whether results depend on it, so that a run goes on
    only with the same value.  The setting has an effect where all those that ``only`` names have one of the values
    there, or any but none and zero where that is `SET`.
    """
    return field(default=default, metadata={"help": text, "low": low, "below": below, "choices": choices,
                                            "other": other, "bare": bare, "counts": counts, "only": only})


_aside = partial(_option, counts=False)
_learnt = partial(_option, only=LEARNT)


def _taken_by(setting: str) -> Only:
    """Where a setting of models has an effect."""
    return LEARNT | {"model": (*models_with(setting), OWN)}


@dataclass(frozen=True)
class WorldConfig:
    """Ranks and their roles."""

    servers_per_node: int | None = _aside(
        None, "dedicated graph servers on each node, its first ranks; 0: every rank serves and trains "
              "(default: 1, and a node with a single rank does both)", low=0)
    server_nodes: int | None = _aside(None, "only the first so many nodes serve (default: all)", low=1)
    ranks_per_node: int | None = _aside(None, "cut each node into simulated nodes of so many ranks", low=1)
    replicate: str = _aside("auto", "hold a copy on every node: of the in-edges of nodes that edges into its own come "
                                    "from (halo), of the graph's structure (topology), or of all; auto: of the "
                                    "structure, if that takes at most 1 GiB",
                            choices=("auto", "none", "halo", "topology", "all"))
    replicate_nodes: int = _aside(1, "nodes that share such a copy between them", low=1,
                                  only={"replicate": ("topology", "all")})
    stage: str | None = _aside(None, "folder on each node's own disk, where servers copy the part files that they "
                                     "read, and find them in the next job")
    access: str = _aside("auto", "how rows of other nodes come: "
                         + "".join(f"{way.name} ({way.text}), " for way in WAYS.values())
                         + "or auto: the one of rma and owner that measures faster at start", choices=("auto", *WAYS))
    device: str = _aside(CPU, "where trainers compute: cpu, or cuda: each on a GPU of its own", choices=(CPU, "cuda"))


@dataclass(frozen=True)
class GraphConfig:
    """What is learnt from."""

    graph: str = _aside("wordnet", "partitioned graph (folder or its graph.h5), or the name of a bundled data set")
    features: str = _option("features", "node data that the model reads")
    edge_feats: str | None = _option(None, "edge data that layers read beside the rows of sources (default: none)",
                                     only=_taken_by("edge_feats"))
    edge_weight: str | None = _option(None, "edge data with one number for each edge, times which its source counts "
                                            "(default: none)", only=_taken_by("edge_weight"))
    labels: str = _option("labels", "node data that the model shall predict", only=_WITH_LABELS)
    tensor_bytes: int = _aside(0, "bytes for each node of the graph that tensors of a program's own will take, for "
                                   "the memory plan", low=0, below=2**63)


@dataclass(frozen=True)
class TaskConfig:
    """What shall be predicted."""

    task: str = _option("node_classification", "what is learnt", choices=tuple(TASKS))
    target_ntype: str | None = _option(None, "node type of the seeds (default: the one that has a split train)",
                                       only=_OF_NODES)
    target_etype: str | None = _option(None, "edge type of the seeds, relation or src:rel:dst (default: the one that "
                                             "has a split train; for link_prediction all that have)", only=_OF_EDGES)
    exclude: str = _option("self", "edges that a batch of edges does not see: its own; all of the type that join the "
                                   "same nodes, either way round; or also those of the edge type that leads back",
                           choices=("none", "self", "reverse_id", "reverse_types"), only=_OF_EDGES)
    reverse_etypes: tuple[str, ...] | None = _option(
        None, "for reverse_types, which edge types lead back, such as writes=written,paper:in:venue=venue:has:paper "
              "(default: those named X and rev_X, or the only one with the same edges the other way round)",
        only=_OF_EDGES)
    decoder: str = _option("dot", "how a link is scored from its ends",
                           choices=("dot", "distmult", "complex", "transe", "rotate"), only=LEARNT | _LINKS)
    link_loss: str = _option("cross_entropy", "what is learnt of links: to tell each from false ones, to find it among "
                                              "them, or to score it higher by a margin",
                             choices=("cross_entropy", "softmax", "margin"), only=LEARNT | _LINKS)
    margin: float = _option(1.0, "of the loss margin", low=0, only=LEARNT | _LINKS | {"link_loss": ("margin",)})
    negatives: str = _option("uniform", "where false links come from: their destination is any node, that of another "
                                        "link of the batch, or any node in this node's memory",
                             choices=("uniform", "in_batch", "local"), only=_LINKS)
    num_negatives: int = _option(10, "false links for each link", low=1, only=_LINKS)
    rank_among: int | None = _option(None, "nodes, drawn once, that a link is ranked among (default: all)", low=1,
                                     only=LEARNT | _LINKS)
    ranks: str = _option("filtered", "whether other true links compete", choices=("filtered", "raw"),
                         only=LEARNT | _LINKS)
    class_weights: tuple[str, ...] | None = _option(
        None, "what seeds of each class count in the loss: balanced, so that all classes have equal shares in it, or a "
              "number for each, such as 1,2.5,1; scaled so that a training seed counts 1 on average (default: 1 for "
              "all)", only=LEARNT | _CLASSES)
    label_smoothing: float = _option(0.0, "share of each label that the loss spreads over all classes", low=0, below=1,
                                     only=LEARNT | _CLASSES)
    standardize_targets: bool = _option(False, "learn numbers as their distance from the mean of the split train in "
                                               "deviations; metrics and predictions keep their unit",
                                        only=LEARNT | _NUMBERS)
    metrics: tuple[str, ...] | None = _learnt(None, "what is measured; the first one chooses the best parameters "
                                                    "(default: what is usual for the task)")


@dataclass(frozen=True)
class SamplingConfig:
    """Neighborhoods."""

    fanouts: tuple[int, ...] = _option((10, 10, 10), "neighbors kept per node, input layer first; -1: all", low=-1)
    eval_fanouts: tuple[int, ...] | None = _learnt(None, "the same in validation and test (default: fanouts)", low=-1)
    sampler: str = _option(USUAL_SAMPLER, "how they are drawn: " + "; ".join(
        f"{sampler.name}: {sampler.text}" for sampler in SAMPLERS.values()), choices=tuple(SAMPLERS),
        only=_WITH_MESSAGES)
    sampler_args: tuple[str, ...] | None = _option(None, "what else the sampler is given, such as replace=true",
                                                   only={"sampler": samplers_with_arguments()})
    edge_time: str | None = _option(None, "edge data with times: for each seed only edges older than it carry "
                                          "messages (default: all do)", only=_WITH_MESSAGES | _WITH_LABELS)
    seed_time: str | None = _option(None, "data of the seeds with their times (default: of the name of edge-time)",
                                    only={"edge_time": SET})
    edge_mask: str | None = _option(None, "edge data that is true on edges that carry messages (default: all do)",
                                    only=_WITH_MESSAGES)


@dataclass(frozen=True)
class LoaderConfig:
    """Batches."""

    batch_size: int = _aside(1000, "seeds of a batch per trainer", low=1)
    global_batch_size: int | None = _option(None, "seeds of a step over all trainers, instead of batch-size", low=1)
    prefetch: int = _aside(2, "batches prepared together, their requests fused; 1 prepares each on its own", low=1)
    cache: str | None = _aside(None, "copies of features of other nodes that each node holds for its trainers: a share "
                                     "of these, such as 5%%, or bytes, such as 500M (default: none)")
    cache_policy: str = _aside("vip", "which rows it copies: those that most edges lead from (degree), that batches of "
                                      "its trainers hold most probably (vip), or at each time those that they read "
                                      "soonest (schedule)", choices=("degree", "vip", SCHEDULE), only={"cache": SET})


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    model: str = _learnt(USUAL, "architecture: a name, or a class of your own, FILE.py:CLASS or PACKAGE.MODULE:CLASS",
                         choices=tuple(MODELS), other=(f"{OWN}, PACKAGE.MODULE:CLASS", own_name))
    model_args: tuple[str, ...] | None = _option(None, "what else its constructor is given, such as depth=3,act=relu "
                                                       "for a class of your own", only=_taken_by("model_args"))
    aggregator: str = _option("mean", "how sage combines neighbors", choices=("mean", "sum", "gcn", "pool"),
                              only=_taken_by("aggregator"))
    combine: str = _option(COMBINED_BY[0], "how rows that several edge types bring to a node become one, where a model "
                                           "has layers for each of these", choices=COMBINED_BY,
                           only=_taken_by("combine"))
    layers: int | None = _learnt(None, "number of layers (default: as many as fanouts)", low=1)
    hidden: int = _learnt(256, "width of the hidden layers", low=1)
    dropout: float = _option(0.5, "share of hidden values dropped in training", low=0, below=1,
                             only=_taken_by("dropout"))
    input_dropout: float = _option(0.0, "the same of the features", low=0, below=1,
                                   only=_taken_by("input_dropout"))
    norm: str = _option("both", "what gcn divides by: the roots of both degrees, that of the destination, nothing",
                        choices=("both", "right", "none"), only=_taken_by("norm"))
    heads: int = _option(4, "attention heads of the hidden layers, which share the width", low=1,
                         only=_taken_by("heads"))
    out_heads: int = _option(1, "of their last layer, averaged", low=1,
                             only=_taken_by("out_heads") | {"jk": (LAST,), "out_layers": (0,)})
    attention_dropout: float = _option(0.0, "share of attention weights dropped in training", low=0, below=1,
                                       only=_taken_by("attention_dropout"))
    residual: bool = _option(False, "add to what a layer makes of a node what it got of it, by a matrix if columns "
                                    "differ", only=_taken_by("residual"))
    layer_norm: bool = _option(False, "bring each row of a hidden layer to mean 0 and deviation 1, with a learnt scale "
                                      "and shift of each column", only=_taken_by("layer_norm"))
    jk: str = _option(LAST, "which layers' rows the output is made of (jumping knowledge): the last one's, those of "
                            "all side by side (cat), the greatest of each column (max)", choices=JUMPS,
                      only=_taken_by("jk"))
    out_layers: int = _option(0, "linear layers after those on neighborhoods, the last of which makes the output; at "
                                 "least 1 with hgt, and with jk cat or max", low=0, below=1000,
                              only=_taken_by("out_layers"))
    bases: int | None = _option(None, "matrices that those of rgcn's relations are made of (default: a free one "
                                      "for each relation)", low=1, only=_taken_by("bases"))
    regularizer: str = _option("basis", "how rgcn's relations are made of bases: sums, or blocks on the diagonal",
                               choices=("basis", "bdd"), only=_taken_by("regularizer") | {"bases": SET})


@dataclass(frozen=True)
class EmbeddingConfig:
    """Rows that are learnt for single nodes."""

    embed: str = _learnt("auto", "node types that get them: those without features, none, or all, beside the features",
                         choices=("auto", "off", "all"))
    embed_dim: int = _option(128, "their columns", low=1, only=_WITH_ROWS)
    embed_optimizer: str = _option("adam", "which updates the rows that a step has met",
                                   choices=("adam", "adagrad", "sgd"), only=_WITH_ROWS)
    embed_precision: str = _option("model", "of the rows: that of the model's parameters, or bf16, which halves what "
                                   "is held and moved of them", choices=("model", "bf16"), only=_WITH_ROWS)
    embed_lr: float | None = _option(None, "its learning rate (default: lr)", low=0, only=_WITH_ROWS)


@dataclass(frozen=True)
class TrainConfig:
    """The optimization and the run."""

    epochs: int = _aside(10, "passes over the training nodes", low=0)
    lr: float = _learnt(0.003, "learning rate of Adam", low=0)
    schedule: str = _learnt("constant", "course of the learning rate after the warm-up; linear and cosine end at 0",
                            choices=("constant", "linear", "cosine"))
    warmup_steps: int = _learnt(0, "steps in which the learning rate rises to lr", low=0)
    clip: float | None = _learnt(None, "longest gradient of all parameters together; longer ones are scaled", low=0)
    weight_decay: float = _learnt(0.0, "L2 penalty added to the gradient", low=0)
    seed: int = _option(0, "of everything random", low=0, below=2**63)
    precision: str = _learnt("fp32", "of the model; bf16: of rows and products in training, with fp32 parameters",
                             choices=("fp32", "fp64", "bf16"))
    eval_every: int = _learnt(1, "epochs between validations; 0: only at the end", low=0)
    patience: int | None = _aside(None, "stop after so many validations without a better one", low=1,
                                  only=LEARNT | {"eval_every": SET})
    data_path_only: bool = _aside(False, "sample and fetch, but run no model")
    run_dir: str | None = _aside(None, "folder for config.toml and metrics.jsonl (default: runs/NAME-TIME)")
    log: str = _aside("info", "detail of the log", choices=("debug", "info", "warning"))
    progress: str = _aside("auto", "how far the run is, on standard output: a bar, which needs a terminal, lines after "
                                   "2 s of silence, none; auto: a bar where the launcher's output is a terminal, else "
                                   "lines",
                           choices=("auto", "bar", "lines", "none"))
    tensorboard: bool = _aside(False, "write event files with the numbers of metrics.jsonl into the run folder, for "
                                      "TensorBoard")


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints, stopping and going on."""

    resume: str | None = _aside(
        None, "go on from the newest whole checkpoint of a run folder, or from one checkpoint; auto, or no value: of "
              "--run-dir, or of the newest run under runs/, from the start where there is none", bare=AUTO)
    checkpoint_every: int | None = _learnt(
        None, "epochs between checkpoints, beside those of the best validations; 0: none but when stopped (default: 1, "
              "but at most one a minute)", low=0, counts=False)
    checkpoint_steps: int = _learnt(0, "steps between checkpoints, beside those of epochs; 0: none", low=0,
                                    counts=False)
    keep: int = _learnt(2, "newest checkpoints to keep, beside those of the best validations", low=1, counts=False)
    keep_best: int = _learnt(1, "checkpoints of so many best validations to keep; of more than 1 each is written at "
                                "once", low=1, counts=False)
    on_checkpoint_error: str = _learnt("stop", "what to do when the disk is full or cannot be written",
                                       choices=("stop", "continue"), counts=False)
    time_limit: float | None = _aside(None, "seconds after which to write a checkpoint and leave with exit code 75, "
                                             "as at SIGUSR1", low=0, below=LONGEST_S)
    hang_timeout: float | None = _aside(
        None, "seconds that nothing may happen on a rank before it ends the job, in any phase; 0: for ever (default: "
              "1800 in epochs and evaluations, for ever elsewhere)", low=0, below=LONGEST_S)


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

    def __repr__(self) -> str:
        """What differs from the defaults, as programs write it."""
        values = [(option.name, getattr(getattr(self, section), option.name), option.default)
                  for section, kind in sections() for option in dataclasses.fields(kind)]
        return f"Config({', '.join(f'{name}={value!r}' for name, value, usual in values if value != usual)})"

    @property
    def num_layers(self) -> int:
        """Layers of the model: one for each fanout, unless said."""
        return len(self.sampling.fanouts) if self.model.layers is None else self.model.layers

    @property
    def eval_fanouts(self) -> tuple[int, ...]:
        """Neighbors that evaluation keeps, input layer first: those of training, unless said."""
        return self.sampling.fanouts if self.sampling.eval_fanouts is None else self.sampling.eval_fanouts

    def embedding_columns(self, ntypes_with_features: Mapping[str, int]) -> dict[str, int]:
        """Columns of the embedding of each node type that gets one, by the columns of its features, 0 for none."""
        embed = self.embedding.embed
        return {} if embed == "off" else {t: self.embedding.embed_dim for t, width in ntypes_with_features.items()
                                          if width == 0 or embed == "all"}

    def global_batch_size(self, num_trainers: int) -> int:
        """Seeds of one optimizer step."""
        return self.loader.global_batch_size or self.loader.batch_size * num_trainers

    def what_counts(self, num_trainers: int) -> dict[str, Any]:
        """The settings that results depend on, by name: a run goes on only where these are the same.

        What is left to a default has the value that it comes to, so it is the same to ask for that.
        """
        values = {option.name: getattr(getattr(self, section), option.name) for section, kind in sections()
                  for option in dataclasses.fields(kind) if option.metadata["counts"]}
        values |= {"global_batch_size": self.global_batch_size(num_trainers), "layers": self.num_layers,
                   "eval_fanouts": self.eval_fanouts, "model": name_in_runs(self.model.model)}
        # What runs do not have that were begun before there was such a setting is left out, so that these go on.
        unset = {"model_args": None, "sampler": USUAL_SAMPLER, "sampler_args": None, "layer_norm": False, "jk": LAST,
                 "out_layers": 0, "class_weights": None, "label_smoothing": 0.0, "standardize_targets": False,
                 "edge_time": None, "seed_time": None, "edge_feats": None, "edge_weight": None}
        for name in [name for name, value in unset.items() if values[name] == value]:
            del values[name]
        if self.embedding.embed_lr is None:
            values["embed_lr"] = self.train.lr
        if self.task.metrics is None:
            values["metrics"] = TASKS[self.task.task].usual
        if self.train.schedule != "constant":
            values["epochs"] = self.train.epochs        # they set the course of the learning rate
        return values

    def write(self, run_dir: Path) -> None:
        """Write config.toml of a run folder: all settings but ``resume``, which is of one job and not of the run."""
        lasting = dataclasses.replace(self, checkpoint=dataclasses.replace(self.checkpoint, resume=None))
        (run_dir / CONFIG).write_text(lasting.to_toml(), encoding="utf-8")

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
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False, allow_nan=False)


def going_on(run_dir: str | Path) -> str:
    """What to type to go on with a run."""
    return f"`mpignn train --resume {shlex.quote(str(run_dir))}`"


def field_names() -> frozenset[str]:
    """Names of all settings."""
    return frozenset(option.name for _, kind in sections() for option in dataclasses.fields(kind))


def sections() -> Iterator[tuple[str, type]]:
    """Name and class of each section."""
    for section in dataclasses.fields(Config):
        yield section.name, type(section.default)
