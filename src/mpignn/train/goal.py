"""What a graph is asked to be trained for: found in its metadata and checked before any of it is loaded.

No torch here: the first rank checks while the others wait, and a server never needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpignn.config import Config, GraphConfig
from mpignn.errors import DataError, UnknownName
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key

ONE_TYPE_MODELS = ("sage", "mlp")       # the others tell node and edge types apart


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
    """

    task: str
    ntype: str | None
    etypes: tuple[EType, ...]
    features: str
    columns: Mapping[str, int]
    labels: str | None
    outputs: int
    edge_mask: str | None


def find_goal(config: Config, schema: Schema, infos: Mapping[str, ArrayInfo],
              splits: Mapping[str, Mapping[str, np.ndarray]]) -> Goal:
    """The goal that is configured, if the graph offers it.  Not collective.

    Args:
        config: Settings of the run.
        schema, infos, splits: Of the graph.

    Raises:
        DataError: No type, or several where one is wanted, have a split named train; it is empty; or data is of the
            wrong kind.
        UnknownName: There is no data of such a name, or no such type.
    """
    task = config.task.task
    ntype, etypes, labels, outputs = None, (), None, 0
    if task.startswith("node"):
        ntype = _target_ntype(schema, splits, config.task.target_ntype)
        labels = config.graph.labels
        told = find_info(infos, f"node/{ntype}/data/", labels)
    else:
        etypes = _target_etypes(schema, splits, config.task.target_etype, task)
        if task != "link_prediction":
            labels = config.graph.labels
            told = find_info(infos, f"edge/{etype_key(etypes[0])}/data/", labels)
    if labels is not None:
        _check_labels(task, told)
        outputs = 0 if task.endswith("classification") else told.width
    mask = config.sampling.edge_mask
    if mask is not None and not any(f"edge/{etype_key(e)}/data/{mask}" in infos for e in schema.etypes):
        raise UnknownName(f"edge-mask: no edge type has data named {mask!r}")
    return Goal(task, ntype, etypes, config.graph.features, _columns(schema, infos, config), labels,
                outputs, mask)


def check_model(config: Config, schema: Schema) -> None:
    """Raise `DataError` if the configured model cannot tell the types of a graph apart.  Not collective."""
    if not schema.is_homogeneous and config.model.model in ONE_TYPE_MODELS:
        raise DataError(f"the graph has {len(schema.ntypes)} node types and {len(schema.etypes)} edge types: the "
                        f"model {config.model.model} takes one of each; choose another --model, or merge them in the "
                        "source")


def _check_labels(task: str, told: ArrayInfo) -> None:
    """Raise what keeps an array from being the labels of a task."""
    kind, rank = told.dtype.kind, len(told.row_shape)
    what = "node" if task.startswith("node") else "edge"
    if task.endswith("classification"):
        good, wanted = rank == 0 and kind in "iu", f"a class per {what} is one whole number"
    elif task.endswith("multilabel"):
        good, wanted = rank == 1 and kind in "iufb", f"several labels per {what} are a row of 0 and 1"
    else:
        good, wanted = rank <= 1 and kind in "iuf", f"what is predicted of a {what} is a number, or a row of numbers"
    if not good:
        raise DataError(f"{told.name} is {told.dtype} with rows of shape {told.row_shape}: {wanted}")


def _target_ntype(schema: Schema, splits: Mapping[str, Mapping[str, np.ndarray]], asked: str | None) -> str:
    """The node type that has training nodes."""
    found = [t for t in schema.ntypes if "train" in splits.get(t, {})]
    if asked is not None:
        found = [t for t in found if t == schema.ntype(asked)]
    if len(found) != 1:
        raise DataError(f"{len(found)} node types have a split named train ({', '.join(found) or 'none'}), not one: "
                        + ("choose with --target-ntype" if len(found) > 1 else "give the source a train_mask"))
    if splits[found[0]]["train"].size == 0:
        raise DataError(f"no {found[0]} is in the split train: mark some in the source's train_mask")
    return found[0]


def _target_etypes(schema: Schema, splits: Mapping[str, Mapping[str, np.ndarray]], asked: str | None,
                   task: str) -> tuple[EType, ...]:
    """The edge types that have training edges: for links any number of them, else one."""
    found = [e for e in schema.etypes if splits.get(etype_key(e), {}).get("train", np.empty(0)).size]
    if asked is not None:
        found = [e for e in found if e == schema.etype(asked)]
    names = ", ".join(map(etype_key, found[:5])) or "none"
    if not found:
        raise DataError("no edge type that is asked for has edges in a split named train: give the source "
                        "split/<src:rel:dst>/train")
    if len(found) > 1 and task != "link_prediction":
        raise DataError(f"{len(found)} edge types have a split named train ({names}), not one: choose with "
                        "--target-etype")
    return tuple(found)


def _columns(schema: Schema, infos: Mapping[str, ArrayInfo], config: Config) -> dict[str, int]:
    """Width of the features of each node type.

    Where no type has any, embeddings stand for them; but features that somebody asked for by name must be there.
    """
    features, found = config.graph.features, {}
    for ntype in schema.ntypes:
        info = infos.get(f"node/{ntype}/data/{features}")
        if info is not None and (len(info.row_shape) != 1 or info.dtype.kind != "f"):
            raise DataError(f"{info.name} is {info.dtype} with rows of shape {info.row_shape}: the model reads one row "
                            "of floating-point numbers per node")
        found[ntype] = 0 if info is None else info.width
    if not any(found.values()) and (config.embedding.embed == "off" or features != GraphConfig.features):
        find_info(infos, f"node/{schema.ntypes[0]}/data/", features)
    return found


def find_info(infos: Mapping[str, ArrayInfo], base: str, name: str) -> ArrayInfo:
    """The array ``base + name`` of a graph; raises `UnknownName` where there is none.  Not collective."""
    if base + name not in infos:
        known = ", ".join(n.removeprefix(base) for n in infos if n.startswith(base)) or "none"
        raise UnknownName(f"{base}{name} is not in the graph; data there: {known}")
    return infos[base + name]
