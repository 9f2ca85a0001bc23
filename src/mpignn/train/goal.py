"""What a graph is asked to be trained for: found in its metadata and checked before any of it is loaded.

No torch here: the first rank checks while the others wait, and a server never needs it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpignn.config import Config
from mpignn.errors import DataError, UnknownName
from mpignn.graph.types import ArrayInfo, Schema

ONE_TYPE_MODELS = ("sage", "mlp")       # the others tell node and edge types apart


@dataclass(frozen=True)
class Goal:
    """What shall be predicted, and from what.

    Attributes:
        task: Its kind, as the configuration names it.
        ntype: The node type that has the training nodes.
        features: Node data that the model reads.
        columns: Width of a row of features, for each node type; 0 where a type has none.
        labels: Node data that holds what shall be predicted.
        outputs: Columns of the labels, if these are several numbers each.
    """

    task: str
    ntype: str
    features: str
    columns: Mapping[str, int]
    labels: str
    outputs: int


def find_goal(config: Config, schema: Schema, infos: Mapping[str, ArrayInfo],
              splits: Mapping[str, Mapping[str, np.ndarray]]) -> Goal:
    """The goal that is configured, if the graph offers it.  Not collective.

    Args:
        config: Settings of the run.
        schema, infos, splits: Of the graph.

    Raises:
        DataError: No node type, or several, have a split named train; it is empty; data is of the wrong kind; or the
            model cannot tell the types of the graph apart.
        UnknownName: The node type has no data of such a name, or there is no such type.
    """
    model = config.model.model
    if not schema.is_homogeneous and model in ONE_TYPE_MODELS:
        raise DataError(f"the graph has {len(schema.ntypes)} node types and {len(schema.etypes)} edge types: the "
                        f"model {model} takes one of each; choose another --model, or merge them in the source")
    ntype = _target(schema, splits, config.task.target_ntype)
    told = _info(infos, ntype, config.graph.labels)
    _check_labels(config.task.task, told)
    return Goal(config.task.task, ntype, config.graph.features, _columns(schema, infos, config.graph.features),
                config.graph.labels, told.width)


def _check_labels(task: str, told: ArrayInfo) -> None:
    """Raise what keeps an array from being the labels of a task."""
    kind, rank = told.dtype.kind, len(told.row_shape)
    if task == "node_classification":
        good, wanted = rank == 0 and kind in "iu", "a class per node is one whole number"
    elif task == "node_multilabel":
        good, wanted = rank == 1 and kind in "iufb", "several labels per node are a row of 0 and 1"
    else:
        good, wanted = rank <= 1 and kind in "iuf", "what is predicted of a node is a number, or a row of numbers"
    if not good:
        raise DataError(f"{told.name} is {told.dtype} with rows of shape {told.row_shape}: {wanted}")


def _target(schema: Schema, splits: Mapping[str, Mapping[str, np.ndarray]], asked: str | None) -> str:
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


def _columns(schema: Schema, infos: Mapping[str, ArrayInfo], features: str) -> dict[str, int]:
    """Width of the features of each node type."""
    found = {}
    for ntype in schema.ntypes:
        info = infos.get(f"node/{ntype}/data/{features}")
        if info is not None and (len(info.row_shape) != 1 or info.dtype.kind != "f"):
            raise DataError(f"{info.name} is {info.dtype} with rows of shape {info.row_shape}: the model reads one row "
                            "of floating-point numbers per node")
        found[ntype] = 0 if info is None else info.width
    if not any(found.values()):
        _info(infos, schema.ntypes[0], features)
    return found


def _info(infos: Mapping[str, ArrayInfo], ntype: str, name: str) -> ArrayInfo:
    base = f"node/{ntype}/data/"
    if base + name not in infos:
        known = ", ".join(n.removeprefix(base) for n in infos if n.startswith(base)) or "none"
        raise UnknownName(f"{base}{name} is not in the graph; data there: {known}")
    return infos[base + name]
