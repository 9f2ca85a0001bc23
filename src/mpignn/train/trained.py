"""What the network of a run is for: which graphs it can be used on.

No torch here, as in `mpignn.train.goal`: the first rank looks while the others wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError, DataError
from mpignn.graph.types import ArrayInfo, EType, Schema, etype_key
from mpignn.storage import snapshot
from mpignn.train.goal import Goal, find_info

FOLDER = "trained"      # in a run folder, the network with the best parameters


@dataclass(frozen=True)
class Trained:
    """A network that was trained.

    Attributes:
        goal: What it has learnt.
        ntypes, etypes: Types of the graph, whose order its parameters follow.
        embedded: Node types of which single nodes have learnt rows.
        source_id: Of the graph that it was trained on.
    """

    goal: Goal
    ntypes: tuple[str, ...]
    etypes: tuple[EType, ...]
    embedded: tuple[str, ...]
    source_id: str

    def about(self) -> dict[str, Any]:
        """As JSON can hold it; `read_trained` gives it back."""
        return asdict(replace(self, goal=replace(self.goal, columns=dict(self.goal.columns))))


def read_trained(run: Path) -> Trained:
    """What a run has learnt.  Not collective.

    Raises:
        DataError: It has no trained network, or a damaged one.
    """
    found = snapshot.found_in(run / FOLDER)
    if not found:
        raise DataError(f"{run}: no trained network there: it ends up in {run / FOLDER} when training is done")
    about = dict(snapshot.read_manifest(found[-1][1]).about["about"])
    goal = about.pop("goal")
    goal["etypes"] = tuple(map(tuple, goal["etypes"]))
    return Trained(Goal(**goal), tuple(about["ntypes"]), tuple(map(tuple, about["etypes"])), tuple(about["embedded"]),
                   about["source_id"])


def check_graph(trained: Trained, schema: Schema, infos: Mapping[str, ArrayInfo], source_id: str) -> None:
    """Raise what keeps a graph from being one that a network can be used on.  Not collective.

    Args:
        trained: The network.
        schema, infos, source_id: Of the graph.

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
        info = infos.get(f"node/{ntype}/data/{goal.features}")
        here = "none" if info is None else f"{info.dtype} {info.row_shape}"
        if width and (info is None or info.dtype.kind != "f" or info.row_shape != (width,)):
            parts.append(f"{goal.features} of {ntype}: rows of {width} numbers there, {here} here")
    if goal.edge_mask is not None and not any(f"edge/{etype_key(e)}/data/{goal.edge_mask}" in infos
                                              for e in schema.etypes):
        parts.append(f"edge data {goal.edge_mask}: there, not here")
    if parts:
        raise ConfigError(f"the network was trained on another kind of graph: {'; '.join(parts)}")
    if trained.embedded and trained.source_id != source_id:
        raise ConfigError(f"the network has learnt rows of the single nodes of its graph ({', '.join(trained.embedded)}"
                          f", --embed) and knows nothing of those of another one: {trained.source_id} there, "
                          f"{source_id} here; train with --embed off, on features, to use it elsewhere")


def check_labels(trained: Trained, infos: Mapping[str, ArrayInfo],
                 splits: Mapping[str, Mapping[str, Any]], wanted: Collection[str]) -> None:
    """Raise what keeps a network from being measured on a graph that it fits.  Not collective.

    Args:
        trained: The network.
        infos, splits: Of the graph.
        wanted: Names of splits, of which there must be one.

    Raises:
        UnknownName: No labels.
        DataError: No such split.
    """
    goal = trained.goal
    keys = [goal.ntype] if goal.ntype is not None else [etype_key(etype) for etype in goal.etypes]
    if not any(split in splits.get(key, ()) for key in keys for split in wanted):
        raise DataError(f"{' and '.join(keys)}: no split named {' or '.join(wanted)}: there is nothing to measure by")
    if goal.labels is not None:
        find_info(infos, f"{'edge' if goal.ntype is None else 'node'}/{keys[0]}/data/", goal.labels)
