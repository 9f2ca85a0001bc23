"""What shall be predicted from what.

Shapes: B seeds of a batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mpignn.errors import DataError, UnknownName
from mpignn.graph.types import ArrayInfo, Schema


@dataclass(frozen=True)
class NodeClassification:
    """One class for each node of a type.

    Attributes:
        ntype: The node type that has the training nodes.
        features: Node data that the model reads.
        labels: Node data that holds the class.
        columns: Width of a row of features.
    """

    ntype: str
    features: str
    labels: str
    columns: int


def node_classification(features: str, labels: str, schema: Schema, infos: Mapping[str, ArrayInfo],
                        splits: Mapping[str, Mapping[str, np.ndarray]]) -> NodeClassification:
    """The task that a graph offers under these names.  Not collective.

    Args:
        features, labels: Names of node data.
        schema, infos, splits: Of the graph.

    Raises:
        DataError: Not exactly one node type has a split named train, it is empty, the data is of the wrong kind, or
            there are several node or edge types.
        UnknownName: The node type has no data of such a name.
    """
    if not schema.is_homogeneous:
        raise DataError(f"the graph has {len(schema.ntypes)} node types and {len(schema.etypes)} edge types: the "
                        "models sage and mlp take one of each; merge them in the source")
    found = [t for t in schema.ntypes if "train" in splits.get(t, {})]
    if len(found) != 1:
        raise DataError(f"{len(found)} node types have a split named train ({', '.join(found) or 'none'}), not one: "
                        "give the source a train_mask")
    (ntype,) = found
    if splits[ntype]["train"].size == 0:
        raise DataError(f"no {ntype} is in the split train: mark some in the source's train_mask")
    read, told = _info(infos, ntype, features), _info(infos, ntype, labels)
    if len(read.row_shape) != 1 or read.dtype.kind != "f":
        raise DataError(f"{read.name} is {read.dtype} with rows of shape {read.row_shape}: the model reads one row of "
                        "floating-point numbers per node")
    if told.row_shape != () or told.dtype.kind not in "iu":
        raise DataError(f"{told.name} is {told.dtype} with rows of shape {told.row_shape}: a class per node is one "
                        "whole number")
    return NodeClassification(ntype, features, labels, read.width)


def _info(infos: Mapping[str, ArrayInfo], ntype: str, name: str) -> ArrayInfo:
    base = f"node/{ntype}/data/"
    if base + name not in infos:
        known = ", ".join(n.removeprefix(base) for n in infos if n.startswith(base)) or "none"
        raise UnknownName(f"{base}{name} is not in the graph; data there: {known}")
    return infos[base + name]
