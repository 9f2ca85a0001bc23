"""What the network of a run is for: which graphs it can be used on.

No torch here, as in `mpignn.train.tasks.goal`: the first rank looks while the others wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mpignn.config import CHECKPOINTS, TRAINED
from mpignn.errors import ConfigError, DataError
from mpignn.graph.array_key import EDGE, ArrayKey, find_info
from mpignn.graph.on_edges import OnEdges
from mpignn.graph.types import ArrayInfo, EType, Schema, Splits, etype_key, listed
from mpignn.storage import snapshot
from mpignn.train.tasks.goal import ClassNames, Goal, names_of


@dataclass(frozen=True)
class TrainedModel:
    """A network that was trained.

    Attributes:
        goal: What it has learnt.
        ntypes, etypes: Types of the graph, whose order its parameters follow.
        embedded: Node types of which single nodes have learnt rows.
        source_id: Hash, in original ids, of the graph that it was trained on.
    """

    goal: Goal
    ntypes: tuple[str, ...]
    etypes: tuple[EType, ...]
    embedded: tuple[str, ...]
    source_id: str

    def about(self) -> dict[str, Any]:
        """As JSON can hold it; `read_trained` gives it back."""
        return asdict(replace(self, goal=replace(self.goal, columns=dict(self.goal.columns),
                                                 on_edges=dict(self.goal.on_edges))))


def describe(g: Any, goal: Goal, network: Any) -> TrainedModel:
    """What a network that is trained for a goal on a graph is for.  Not collective."""
    embedded = tuple(g.ntypes[int(number)] for number in network.inputs.embeddings)
    return TrainedModel(goal, g.ntypes, g.canonical_etypes, embedded, g.source_id)


def has_ended(run: Path) -> bool:
    """Whether a run has left its network in `TRAINED`; else the best so far are in its checkpoints.  Not collective."""
    return bool(snapshot.found_in(run / TRAINED))


def read_trained(run: Path) -> TrainedModel:
    """What a run has learnt, or has learnt so far.  Not collective.

    Raises:
        DataError: It has neither a trained network nor a whole checkpoint, or is of another version of the program.
    """
    if has_ended(run):
        about = snapshot.read_manifest(snapshot.found_in(run / TRAINED)[-1][1]).about["about"]
    else:
        path = snapshot.newest(run / CHECKPOINTS)
        if path is None:
            raise DataError(f"{run}: no trained network there, and no whole checkpoint: nothing was learnt yet")
        about = snapshot.read_manifest(path).about["about"]["trained"]
    goal = {**about["goal"], "etypes": tuple(map(tuple, about["goal"]["etypes"]))}
    goal |= {name: tuple(goal.get(name, ())) for name in ("class_names", "means", "deviations")}
    goal["on_edges"] = {key: OnEdges(**told) for key, told in goal.get("on_edges", {}).items()}
    return TrainedModel(Goal(**goal), tuple(about["ntypes"]), tuple(map(tuple, about["etypes"])),
                        tuple(about["embedded"]), about["source_id"])


def check_graph(trained: TrainedModel, schema: Schema, infos: Mapping[str, ArrayInfo], source_id: str) -> None:
    """Raise what keeps a graph from being one that a network can be used on.  Not collective.

    Args:
        trained: The network.
        schema, infos, source_id: Types, arrays and hash of the graph.

    Raises:
        ConfigError: Types or features differ, the difference is shown; or the network has learnt rows of the nodes of
            another graph.
    """
    goal, parts = trained.goal, []
    etypes = [list(map(etype_key, of_graph)) for of_graph in (trained.etypes, schema.etypes)]
    for what, there, here in (("node types", list(trained.ntypes), list(schema.ntypes)), ("edge types", *etypes)):
        if there != here:
            parts.append(f"{what}: {', '.join(there)} there, {', '.join(here)} here")
    for ntype, width in goal.columns.items() if not parts else ():
        info = infos.get(ArrayKey.node_data(ntype, goal.features).path)
        here = "none" if info is None else f"{info.dtype} {info.row_shape}"
        if width and (info is None or info.dtype.kind not in "biuf" or info.row_shape != (width,)):
            parts.append(f"{goal.features} of {ntype}: rows of {width} numbers there, {here} here")
    for key, read in goal.on_edges.items() if not parts else ():
        for name in read.names:
            info, wanted = infos.get(ArrayKey.data(EDGE, key, name).path), read.columns if name == read.feats else 1
            if info is None or info.width != wanted:
                told = "none" if info is None else str(info.width)
                parts.append(f"{name} of {key}: {wanted} number(s) an edge there, {told} here")
    if goal.edge_mask is not None and not any(ArrayKey.edge_data(e, goal.edge_mask).path in infos
                                              for e in schema.etypes):
        parts.append(f"edge data {goal.edge_mask}: there, not here")
    if parts:
        raise ConfigError(f"the network was trained on another kind of graph: {'; '.join(parts)}")
    if trained.source_id != source_id:
        check_new_nodes(trained, f"{trained.source_id} there, {source_id} here")


def check_new_nodes(trained: TrainedModel, why: str) -> None:
    """Raise `ConfigError` if a network has learnt rows of single nodes, where a graph has others.  Not collective.

    Args:
        trained: The network.
        why: How one knows that it has.
    """
    if trained.embedded:
        raise ConfigError(f"the network has learnt rows of the single nodes of its graph ({', '.join(trained.embedded)}"
                          f", --embed) and knows nothing of those of another one: {why}; train with --embed off, on "
                          "features, to use it elsewhere")


def check_labels(trained: TrainedModel, infos: Mapping[str, ArrayInfo],
                 splits: Splits, wanted: Collection[str],
                 class_names: ClassNames | None = None) -> None:
    """Raise what keeps a network from being measured on a graph that it fits.  Not collective.

    Args:
        trained: The network.
        infos, splits: Arrays and splits of the graph.
        wanted: Names of splits, of which there must be one.
        class_names: Names of classes of the graph, by type and label.

    Raises:
        UnknownName: No labels.
        DataError: No such split.
        ConfigError: A class of that number has another name.
    """
    goal, keys = trained.goal, trained.goal.keys
    if not any(split in splits.get(key, ()) for key in keys for split in wanted):
        raise DataError(f"{listed(keys)}: no split named {' or '.join(wanted)}: there is nothing to measure by; of "
                        "tables, write their labels, or name in graph.toml a column that says train, val, test or "
                        "nothing: split = ...")
    label = goal.label_key(keys[0])
    if label is not None:
        find_info(infos, label)
    here = names_of(goal, class_names or {})
    for number, (learnt, there) in enumerate(zip(goal.class_names, here, strict=False)):
        if learnt != there:
            raise ConfigError(f"class {number} of {goal.labels} is {learnt!r} to the network, and {there!r} in this "
                              "graph: make the graph with the classes in the order of the one that was trained on")
