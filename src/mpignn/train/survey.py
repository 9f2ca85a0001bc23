"""What a job reads of a graph, for people to see, and what it leaves although it is probably meant.

No torch here, as in `mpignn.train.tasks.goal`.
"""

from collections.abc import Collection, Iterator, Mapping

from mpignn.config import Config
from mpignn.errors import ConfigError
from mpignn.graph.array_key import NODE, ArrayKey
from mpignn.graph.likeness import likely, misnamed_splits
from mpignn.graph.types import ArrayInfo, Count, Schema, Splits, listed
from mpignn.models import find_model
from mpignn.train.tasks.goal import Goal

_SHOWN = 8      # types that are told one by one; a knowledge graph has hundreds


def reads(config: Config, goal: Goal, infos: Mapping[str, ArrayInfo], splits: Splits,
          overlap: Mapping[str, int]) -> Iterator[str]:
    """Lines that say what is read: features and learnt rows of each node type, labels, splits.  Not collective.

    Args:
        config: Settings of the run.
        goal: Found in the graph.
        infos, splits: Arrays and splits of the graph.
        overlap: Ids that are in more than one split, by the type that has them.
    """
    rows = [f"{ntype} {width} x {infos[ArrayKey.node_data(ntype, goal.features).path].dtype}"
            for ntype, width in goal.columns.items() if width]
    learnt = [f"{ntype} {width}" for ntype, width in config.embedding_columns(goal.columns).items()]
    bare = [ntype for ntype, width in goal.columns.items() if not width]
    yield (f"reads {goal.features}: {listed(rows) or 'none'}; learnt rows: {listed(learnt) or 'none'}"
           + (f"; neither: {listed(bare)}" if bare and not learnt else ""))
    for flag, types in (("edge-feats", [f"{key} {read.columns}" for key, read in goal.on_edges.items() if read.feats]),
                        ("edge-weight", [key for key, read in goal.on_edges.items() if read.weight])):
        if types:
            yield f"reads --{flag} of {listed(types)}"
    keys = goal.keys
    for key in keys[:_SHOWN]:
        of_key = goal.label_key(key)
        told = None if of_key is None else infos.get(of_key.path)       # inference needs none
        label = f"{goal.labels} {told.dtype}{_named(goal.class_names)}; " if told is not None else ""
        yield f"reads of {key}: {label}splits {_sizes([key], splits)}"
    if keys[_SHOWN:]:
        yield f"reads of {len(keys) - _SHOWN} more types: splits {_sizes(keys[_SHOWN:], splits)}"
    shared = [f"{overlap[key]} of {key}" for key in keys if overlap.get(key)]
    if shared:
        yield f"in more than one split are {listed(shared)}"


def _named(classes: tuple[str, ...]) -> str:
    return f", {len(classes)} classes ({listed(classes)})" if classes else ""


def doubts(config: Config, goal: Goal, schema: Schema, infos: Mapping[str, ArrayInfo], splits: Splits) -> Iterator[str]:
    """Warnings of data that has another name than what is read.  Not collective; arguments are those of `reads`."""
    rows: dict[str, list[str]] = {}
    for path, info in infos.items():
        of = ArrayKey.parse(path)
        if of.kind == NODE and of.data_name not in (None, goal.labels) and len(info.row_shape) == 1:
            rows.setdefault(of.owner, []).append(of.data_name)
    for ntype in schema.ntypes:
        found = None if goal.columns.get(ntype) else likely(goal.features, rows.get(ntype, ()))
        if found is not None:
            instead = "learnt rows stand in" if ntype in config.embedding_columns(goal.columns) else "nothing stands in"
            yield (f"{ntype} has data named {found!r} and none named {goal.features!r}: {instead}; --features {found} "
                   "reads it")
    misnamed: dict[tuple[str, str], list[str]] = {}
    for key in goal.keys:
        for names in misnamed_splits(splits.get(key, ())):
            misnamed.setdefault(names, []).append(key)
    for (found, wanted), keys in misnamed.items():
        yield (f"split {found!r} of {listed(keys)} is not used, and there is none named {wanted!r}: rename it in the "
               "source")


def check_given(config: Config, schema: Schema, goal: Goal, given: Collection[str], splits: Splits) -> None:
    """Raise if a setting has no effect on a graph.  Not collective.

    Args:
        config: Settings of the run.
        schema: Types of the graph.
        goal: Found in the graph.
        given: Names of the settings that were asked for.
        splits: Splits of the graph.

    Raises:
        ConfigError: Validations are to be counted, but there is nothing to validate by; rows are not learnt; or
            there are no types to combine.
    """
    if config.train.patience is not None and not any(splits.get(key, {}).get("val", Count(0)).size
                                                     for key in goal.keys):
        found = ", ".join(dict.fromkeys(name for key in goal.keys for name in splits.get(key, ())))
        raise ConfigError(f"--patience counts validations, but no split val of {listed(goal.keys)} has any: "
                          f"there are: {found}")
    rows = sorted({"embed_dim", "embed_optimizer", "embed_precision", "embed_lr"} & set(given))
    if rows and not config.embedding_columns(goal.columns):
        raise ConfigError(f"--{rows[0].replace('_', '-')} has no effect: all node types have {goal.features}, so no "
                          "rows are learnt; leave it out, or give --embed all")
    if "combine" in given and schema.is_homogeneous and find_model(config.model.model).per_type:
        raise ConfigError("--combine has no effect: the graph has one edge type; leave it out")


def check_asked(goal: Goal, split: str | None, splits: Splits, top_k: int | None, named: bool, is_table: bool,
                nodes: bool = False) -> None:
    """Raise if inference cannot say what it is asked for.  Not collective.

    Args:
        goal: What was learnt.
        split: Name of the split whose edges are scored; None: test, if there is one.
        splits: Splits of the graph.
        top_k: How many new links of each source are wanted; None: the edges of the split are.
        named: Whether sources are named.
        is_table: Whether a table is written.
        nodes: Whether the nodes to predict are named.

    Raises:
        ConfigError: The task is about something else, no edge type of it has that split, or two things do not go
            together.
    """
    if nodes and goal.ntype is None:
        raise ConfigError(f"--nodes has no effect: {goal.task} predicts edges; leave it out")
    if nodes and not is_table:
        raise ConfigError("--nodes writes a table: let the name of --out end in .csv, .tsv, .csv.gz or .parquet")
    if top_k is None and named:
        raise ConfigError("--sources has no effect without --top-k: leave it out, or say how many links of each")
    if top_k is None:
        check_split(goal, split, splits, of_all=not is_table)
        return
    if goal.task != "link_prediction":
        raise ConfigError(f"--top-k has no effect: {goal.task} predicts no links; leave it out")
    if top_k < 1:
        raise ConfigError(f"--top-k {top_k}: ask for 1 link of each source at least")
    if split is not None:
        raise ConfigError(f"--split {split} and --top-k do not go together: edges of a split are no new links; leave "
                          "one out")
    if not is_table:
        raise ConfigError("--top-k writes a table: let the name of --out end in .csv, .tsv, .csv.gz or .parquet")


def check_split(goal: Goal, split: str | None, splits: Splits, of_all: bool = True) -> None:
    """Raise if the edges of a split cannot be scored.  Not collective.

    Args:
        goal: What was learnt.
        split: Its name; None: test, if there is one.
        splits: Splits of the graph.
        of_all: Whether something is said of all nodes, even if there are no such edges.

    Raises:
        ConfigError: The task is not about edges, or no edge type of it has that split.
    """
    if split is None and (of_all or goal.ntype is not None):
        return
    if goal.ntype is not None:
        raise ConfigError(f"--split {split} has no effect: {goal.task} says something of all nodes; leave it out")
    found = sorted({name for key in goal.keys for name in splits.get(key, ())})
    wanted = split or "test"
    if wanted not in found:
        if not found:
            raise ConfigError(f"{listed(goal.keys)}: no split named {wanted!r}, nor any other; of tables, name a "
                              "column that says train, val, test or nothing in graph.toml: split = ...")
        raise ConfigError(f"{listed(goal.keys)}: no split named {wanted!r}; there are: {', '.join(found)}"
                          + ("" if split else ": choose with --split"))


def _sizes(keys: list[str], splits: Splits) -> str:
    """How many are in each split of some types together."""
    total: dict[str, int] = {}
    for key in keys:
        for name, ids in splits.get(key, {}).items():
            total[name] = total.get(name, 0) + ids.size
    return ", ".join(f"{name} {size}" for name, size in total.items()) or "none"
