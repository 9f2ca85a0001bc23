"""What a graph is asked to be trained for: found in its metadata and checked before any of it is loaded.

No torch here: the first rank checks while the others wait, and a server never needs it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mpignn.config import Config, GraphConfig
from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.array_key import EDGE, NODE, ArrayKey, find_info
from mpignn.graph.on_edges import OnEdges, find_on_edges
from mpignn.graph.types import NTYPE, ArrayInfo, Count, EType, Schema, Splits, etype_key, listed
from mpignn.models import check_types, find_model
from mpignn.store.sizes import layer_columns

ClassNames = Mapping[str, Mapping[str, tuple[str, ...]]]       # by node type or edge type key, and by label
PAIRED_DECODERS = ("complex", "rotate")     # whose rows are halves of complex numbers


@dataclass(frozen=True)
class Goal:
    """What shall be predicted, and from what.

    Attributes:
        task: Its kind, as the configuration names it.
        ntype: The node type that has the training nodes; None if it is about edges.
        etypes: The edge types that have training edges; none if it is about nodes.
        features: Node data that the model reads.
        columns: Width of a row of features, for each node type; 0 where a type has none.
        labels: Data of these nodes or edges that holds what shall be predicted; None for the edges themselves.
        outputs: Columns of what the model shall say of a seed; 0 where the labels must be read to know.
        edge_mask: Edge data that says which edges carry messages; None: all do.
        class_names: What users call the classes, or the columns of the labels; empty: nothing.
        on_edges: What layers read of the edges, by key of the edge types that have any of it.
        means, deviations: Those of each column of numbers that is learnt in deviations from its mean; empty: none is.
    """

    task: str
    ntype: str | None
    etypes: tuple[EType, ...]
    features: str
    columns: Mapping[str, int]
    labels: str | None
    outputs: int
    edge_mask: str | None
    class_names: tuple[str, ...] = ()
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    on_edges: Mapping[str, OnEdges] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The types of the seeds, as splits name them."""
        return [self.ntype] if self.ntype is not None else [etype_key(etype) for etype in self.etypes]

    @property
    def node_type(self) -> str:
        """``ntype``, where the goal is about nodes."""
        assert self.ntype is not None, "the goal is about edges"
        return self.ntype

    @property
    def label_data(self) -> str:
        """``labels``, where there are such."""
        assert self.labels is not None, "the goal is the edges themselves"
        return self.labels

    def label_key(self, seeds: str) -> ArrayKey | None:
        """Which array has the labels of a type of seeds, one of `keys`; None where the goal is the edges themselves."""
        return None if self.labels is None else ArrayKey.data(EDGE if self.ntype is None else NODE, seeds, self.labels)

    @property
    def targets(self) -> dict[str, str | None]:
        """The settings that name the types of the seeds, as found where they were left to their defaults."""
        return {"target_ntype": self.ntype, "target_etype": ", ".join(map(etype_key, self.etypes)) or None}


def find_goal(config: Config, schema: Schema, infos: Mapping[str, ArrayInfo],
              splits: Splits, class_names: ClassNames | None = None) -> Goal:
    """The goal that is configured, if the graph offers it.  Not collective.

    Args:
        config: Settings of the run.
        schema, infos, splits: Types, arrays and splits of the graph.
        class_names: Names of classes by type and label, where there are such.

    Raises:
        DataError: No type, or several where one is wanted, have a split named train; it is empty; or data is of the
            wrong kind.
        UnknownName: There is no data of such a name, or no such type.
    """
    task = config.task.task
    ntype: str | None = None
    etypes: tuple[EType, ...] = ()
    labels: str | None = None
    outputs = 0
    if task.startswith("node"):
        ntype = _target_ntype(schema, splits, config.task.target_ntype)
        labels = config.graph.labels
        told = find_info(infos, ArrayKey.node_data(ntype, labels))
    else:
        etypes = _target_etypes(schema, splits, config.task.target_etype, task)
        if task != "link_prediction":
            labels = config.graph.labels
            told = find_info(infos, ArrayKey.edge_data(etypes[0], labels))
    if labels is not None:
        _check_labels(task, told)
        outputs = 0 if task.endswith("classification") else told.width
    mask = config.sampling.edge_mask
    if mask is not None:
        _check_mask(mask, [infos[path] for path in (ArrayKey.edge_data(e, mask).path for e in schema.etypes)
                           if path in infos])
    found = Goal(task, ntype, etypes, config.graph.features, _columns(schema, infos, config), labels, outputs, mask,
                 on_edges=find_on_edges(schema, infos, config.graph.edge_feats, config.graph.edge_weight))
    return replace(found, class_names=names_of(found, class_names or {}))


def names_of(goal: Goal, class_names: ClassNames) -> tuple[str, ...]:
    """What a graph with some names of classes calls those of a goal.  Not collective."""
    return () if goal.labels is None else class_names.get(goal.keys[0], {}).get(goal.labels, ())


def check_model(config: Config, schema: Schema, goal: Goal) -> None:
    """Raise what keeps the configured model from learning a goal, as far as metadata tell.  Not collective.

    Raises:
        ConfigError: It cannot tell the types of the graph apart, or be computed layer after layer where links ask for
            that; or its width, or that of the decoder, cannot be what it is.
    """
    model, hidden, decoder = find_model(config.model.model), config.model.hidden, config.task.decoder
    check_types(model, schema)
    if model.needs_edge_feats and config.graph.edge_feats is None:
        raise ConfigError(f"model {model.name} reads features of edges: name their data by --edge-feats NAME, or "
                          "choose --model gin")
    if goal.task == "link_prediction" and not model.layerwise:
        raise ConfigError(f"model {model.name} has no forward_layer: links are ranked by rows of all nodes, which are "
                          "computed layer after layer; give the class forward_layer and num_layers, as mpignn.nn.Stack "
                          "has them")
    told = model.check(config.model, _layer_columns(config, goal), schema)
    if told is not None:
        raise ConfigError(told)
    if goal.task == "link_prediction" and decoder in PAIRED_DECODERS and hidden % 2:
        raise ConfigError(f"--hidden {hidden}: decoder {decoder} takes halves of a row: choose an even number")
    if not model.learns:
        _check_passed_on(config, goal)


def _layer_columns(config: Config, goal: Goal) -> list[tuple[int, int]]:
    """Columns into and out of each layer, 0 for outputs that are not known yet."""
    learnt = config.embedding_columns(goal.columns)
    inputs = {ntype: width + learnt.get(ntype, 0) for ntype, width in goal.columns.items()}
    return layer_columns(config, inputs, goal.outputs if goal.task.startswith("node") else config.model.hidden)


def _check_passed_on(config: Config, goal: Goal) -> None:
    """What enters comes out: it must have the columns that the task asks for, where these are known."""
    model, learnt = config.model.model, config.embedding_columns(goal.columns)
    widths = {ntype: width + learnt.get(ntype, 0) for ntype, width in goal.columns.items()}
    about_nodes = goal.task.startswith("node")
    if not learnt and (about_nodes or goal.task == "link_prediction" and config.task.decoder == "dot"):
        raise ConfigError(f"model {model} learns nothing here: it passes on the features, and nothing else has "
                          "parameters; give --embed all, or choose another --model")
    wanted = goal.outputs if about_nodes else config.model.hidden
    for ntype, width in widths.items():
        if width and wanted and width != wanted:
            mend = "choose another --model" if about_nodes else f"give --hidden {width}"
            raise ConfigError(f"model {model} passes on {width} columns of {ntype!r}, but {goal.task} asks for "
                              f"{wanted}: {mend}")


def check_times(config: Config, schema: Schema, infos: Mapping[str, ArrayInfo], goal: Goal) -> None:
    """Raise what keeps edges from being chosen by time, as the settings ask for it.  Not collective.

    Raises:
        UnknownName: No edge type, or no type of seeds, has data of that name.
        DataError: It is not one number each, or some are integers and others are not.
        ConfigError: Links are predicted, which are ranked by rows that know no time.
    """
    edge_time, seed_time = config.sampling.edge_time, config.sampling.seed_time or config.sampling.edge_time
    if edge_time is None or seed_time is None:
        return
    if goal.labels is None:
        raise ConfigError(f"--edge-time {edge_time}: links are ranked by one row of each node, which has no time: "
                          "leave it out, or predict nodes, or labels of edges")
    of_edges = [infos[path] for path in (ArrayKey.edge_data(e, edge_time).path for e in schema.etypes) if path in infos]
    if not of_edges:
        raise UnknownName(f"--edge-time: no edge type has data named {edge_time!r}")
    kind = NODE if goal.ntype is not None else EDGE
    for key in goal.keys:
        info = infos.get(ArrayKey.data(kind, key, seed_time).path)
        if info is None:
            raise UnknownName(f"--seed-time: {key} has no data named {seed_time!r}, which would say of when each is")
        of_edges.append(info)
    for info in of_edges:
        if info.width != 1 or info.dtype.kind not in "iuf" or info.dtype in (np.float16, np.uint64):
            raise DataError(f"{info.name} is {info.dtype} with rows of shape {info.row_shape}: times are one number "
                            "each, float32, float64 or an integer of 64 bits or fewer with a sign")
        if (info.dtype.kind == "f") != (of_edges[0].dtype.kind == "f"):
            raise DataError(f"{of_edges[0].name} is {of_edges[0].dtype} and {info.name} is {info.dtype}: give all "
                            "times as integers, or all as floating-point numbers")


def _check_mask(mask: str, found: Sequence[ArrayInfo]) -> None:
    """Raise what keeps edge data from saying which edges carry messages."""
    if not found:
        raise UnknownName(f"--edge-mask: no edge type has data named {mask!r}")
    for info in found:
        if info.dtype != np.bool_ or info.width != 1:
            raise DataError(f"--edge-mask: {info.name} is {info.dtype} with rows of shape {info.row_shape}: it must be "
                            "one boolean an edge; store it as array.astype(bool), true on edges that carry messages")


def _check_labels(task: str, told: ArrayInfo) -> None:
    """Raise what keeps an array from being the labels of a task."""
    kind, rank = told.dtype.kind, len(told.row_shape)
    what = "node" if task.startswith("node") else "edge"
    if task.endswith("classification"):
        good, wanted = rank == 0 and kind in "iu", (f"a class per {what} is one whole number, and what "
                                                       "has none is in no split")
    elif task.endswith("multilabel"):
        good, wanted = rank == 1 and kind in "iufb", f"several labels per {what} are a row of 0 and 1"
    else:
        good, wanted = rank <= 1 and kind in "iuf", f"what is predicted of a {what} is a number, or a row of numbers"
    if not good:
        raise DataError(f"{told.name} is {told.dtype} with rows of shape {told.row_shape}: {wanted}")


def _target_ntype(schema: Schema, splits: Splits, asked: str | None) -> str:
    """The node type that has training nodes."""
    having = [t for t in schema.ntypes if "train" in splits.get(t, {})]
    found = having if asked is None else [schema.ntype(asked)]
    if len(found) > 1:
        raise DataError(f"{len(found)} node types have a split named train, not one: choose with --target-ntype "
                        f"({listed(found)})")
    if not having or found[0] not in having:
        only = schema.ntypes[0] if len(schema.ntypes) == 1 else "<ntype>"
        where = f" of {found[0]}, which --target-ntype asks for" if asked is not None else ""
        edges = [key for key in map(etype_key, schema.etypes) if "train" in splits.get(key, {})]
        other = f"choose {listed(having)}, or " if having else (
            f"--task link_prediction learns edges {listed(edges)}, which have one; or " if edges else "")
        raise DataError(f"there is no split named train{where}: {other}give the source "
                        f"{_source_split(found[0] if found else only)}")
    if splits[found[0]]["train"].size == 0:
        raise DataError(f"no {found[0]} is in the split train: mark some in the source's "
                        f"{_source_split(found[0])}")
    return found[0]


def _source_split(ntype: str) -> str:
    """What a source calls the split train of a node type."""
    return "train_mask" if ntype == NTYPE else f"split/{ntype}/train"


def _target_etypes(schema: Schema, splits: Splits, asked: str | None,
                   task: str) -> tuple[EType, ...]:
    """The edge types that have training edges: for links any number of them, else one."""
    having = [e for e in schema.etypes if splits.get(etype_key(e), {}).get("train", Count(0)).size]
    found = having if asked is None else [e for e in having if e == schema.etype(asked)]
    if not found:
        key = "<src:rel:dst>" if asked is None else etype_key(schema.etype(asked))
        where = "" if asked is None else f" of {key}, which --target-etype asks for"
        other = f"choose {listed(map(etype_key, having))}, or " if having else ""
        raise DataError(f"no edges{where} are in a split named train: {other}give the source split/{key}/train")
    if len(found) > 1 and task != "link_prediction":
        raise DataError(f"{len(found)} edge types have a split named train, not one: choose with --target-etype "
                        f"({listed(map(etype_key, found))})")
    return tuple(found)


def _columns(schema: Schema, infos: Mapping[str, ArrayInfo], config: Config) -> dict[str, int]:
    """Width of the features of each node type.

    Where no type has any, embeddings stand for them; but features that somebody asked for by name must be there.
    """
    features, found = config.graph.features, {}
    for ntype in schema.ntypes:
        info = infos.get(ArrayKey.node_data(ntype, features).path)
        if info is not None and (len(info.row_shape) != 1 or info.dtype.kind not in "biuf"):
            raise DataError(f"{info.name} is {info.dtype} with rows of shape {info.row_shape}: the model reads one row "
                            "of numbers per node")
        found[ntype] = 0 if info is None else info.width
    if not any(found.values()) and (config.embedding.embed == "off" or features != GraphConfig.features):
        find_info(infos, ArrayKey.node_data(schema.ntypes[0], features))
    return found
