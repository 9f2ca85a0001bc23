"""What is wrong with a graph, or may be: rules over its figures, hard failures first.

What `partition` refuses is not looked for: features that are not finite, seeds without a label.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mpignn.report.figures import Figures
from mpignn.report.forms import count, percent

FAILURE, DOUBT = "failure", "doubt"

_BALANCE = 1.15         # of the largest partition to the mean
_LIKE_RANDOM = 0.9      # of the share of neighbors that a random cut takes from other partitions
_HUB = 1000             # times the mean degree
_RARE = 10              # training seeds of a class
_LARGE = 1e3            # of a feature, where a network expects some around 1


@dataclass(frozen=True)
class Rule:
    """What is looked for.

    Attributes:
        name: What it is about.
        severity: `FAILURE`: training fails or learns nothing; `DOUBT`: it may be meant.
        find: Says what is wrong with a graph, a sentence each; options stand between backticks.
    """

    name: str
    severity: str
    find: Callable[[Figures], Iterator[str]]


def judge(graph: Figures) -> list[dict[str, Any]]:
    """What the rules say of a graph, failures first: ``rule``, ``severity`` and ``text``.  Not collective."""
    found = [{"rule": rule.name, "severity": rule.severity, "text": text}
             for rule in RULES for text in rule.find(graph)]
    return sorted(found, key=lambda told: told["severity"] != FAILURE)


def _no_training(graph: Figures) -> Iterator[str]:
    if not any(of.get("train", {"count": 0})["count"] for of in graph["splits"].values()):
        yield ("There is no split train, or nothing is in it: give a column of splits or masks, or "
               "`partition --put split/TYPE/train=ids.npy`.")


def _empty_split(graph: Figures) -> Iterator[str]:
    for key, splits in graph["splits"].items():
        if splits.get("train", {"count": 0})["count"]:
            for name in ("val", "test"):
                if not splits.get(name, {"count": 0})["count"]:
                    yield f"Nothing of {key} is in split {name}: its metrics cannot be measured."


def _overlap(graph: Figures) -> Iterator[str]:
    for key, number in graph["overlap"].items():
        yield f"{count(number)} of {key} are in more than one split: what is measured there was learnt before."


def _out_of_range(graph: Figures) -> Iterator[str]:
    for key, labels in graph["labels"].items():
        for name, number in labels["out_of_range"].items():
            if number:
                yield (f"{count(number)} labels of {key} in split {name} are as large as there are {key} or names of "
                       "classes: these are ids, not classes, which are numbered from 0.")


def _no_features(graph: Figures) -> Iterator[str]:
    without = [ntype for ntype, of in graph["nodes"].items() if of["features"] is None and of["count"]]
    if without:
        yield (f"Nodes of {', '.join(without)} have no data named `features`: training learns a row for each of them "
               "(`--embed-dim`); other data is named by `--features`, and rows are added by `partition --put`.")


def _isolated(graph: Figures) -> Iterator[str]:
    for key, splits in graph["splits"].items():
        for name, of in splits.items():
            if of["isolated"]:
                yield (f"{count(of['isolated'])} of {count(of['count'])} {key} in split {name} have no in-edge: a "
                       "network sees nothing but their own features. Messages go from source to destination: are the "
                       "edges the right way round?")


def _not_reached(graph: Figures) -> Iterator[str]:
    layers = len(graph["growth"]["fanouts"])
    for ntype in graph["nodes"] if graph["reached"] else ():
        hops = graph["reached"].get(ntype)
        if hops is None:
            yield (f"Nothing of {ntype} ever gets to a training seed: no path of edge types leads there. Add reverse "
                   "edges, or leave the type out.")
        elif hops > layers:
            yield (f"Nodes of {ntype} are {hops} hops from the training seeds, and {layers} layers see {layers}: "
                   f"`--fanouts` with {hops} numbers.")


def _unbalanced(graph: Figures) -> Iterator[str]:
    for what in ("nodes", "edges"):
        for key, of in graph[what].items():
            if of["balance"] > _BALANCE:
                yield (f"The largest partition has {of['balance']:.2f} times the mean of {what} {key}: its ranks hold "
                       "more and the others wait; `partition --balance nodes,edges`.")
    for key, splits in graph["splits"].items():
        balance = splits.get("train", {"balance": 1.0})["balance"]
        if balance > _BALANCE:
            yield (f"The largest partition has {balance:.2f} times the mean of training {key}: "
                   "`partition --balance train`.")


def _cut_like_random(graph: Figures) -> Iterator[str]:
    parts = graph["parts"]
    if parts > 1 and graph["remote_share"] > _LIKE_RANDOM * (1 - 1 / parts):
        yield (f"{percent(graph['remote_share'])} of the neighbors drawn are of other partitions, as many as by a "
               "random cut: `partition --method metis`, or `train --replicate topology`.")


def _hubs(graph: Figures) -> Iterator[str]:
    for key, of in graph["edges"].items():
        if of["count"] and of["largest_degree"] > _HUB * max(1.0, of["mean_degree"]):
            yield (f"A node has {count(of['largest_degree'])} in-edges of {key}, and on average it is "
                   f"{of['mean_degree']:.1f}: batches with all neighbors, as `eval` uses, take as long as the largest.")


def _rare(graph: Figures) -> Iterator[str]:
    for key, labels in graph["labels"].items():
        train = labels["splits"].get("train", [])
        never = sum(1 for number in train if not number)
        rare = sum(1 for number in train if 0 < number < _RARE)
        if train and never:
            yield f"{never} of {len(train)} classes of {key} have no training label: they are never predicted."
        if train and rare:
            yield f"{rare} of {len(train)} classes of {key} have fewer than {_RARE} training labels."


def _useless_columns(graph: Figures) -> Iterator[str]:
    for ntype, of in graph["nodes"].items():
        features = of["features"]
        if features and features["constant_columns"] and features["looked_at"] > 1:
            yield (f"{features['constant_columns']} of {features['columns']} columns of features of {ntype} are the "
                   f"same in all {count(features['looked_at'])} rows looked at.")
        if features and features["largest"] > _LARGE:
            yield (f"Features of {ntype} are as large as {features['largest']:.3g}: scale them, or a network learns "
                   "little.")


RULES = (
    Rule("no training seeds", FAILURE, _no_training),
    Rule("labels out of range", FAILURE, _out_of_range),
    Rule("splits overlap", FAILURE, _overlap),
    Rule("types never reached", FAILURE, _not_reached),
    Rule("empty split", DOUBT, _empty_split),
    Rule("no features", DOUBT, _no_features),
    Rule("isolated seeds", DOUBT, _isolated),
    Rule("unbalanced", DOUBT, _unbalanced),
    Rule("cut like random", DOUBT, _cut_like_random),
    Rule("hubs", DOUBT, _hubs),
    Rule("rare classes", DOUBT, _rare),
    Rule("useless columns", DOUBT, _useless_columns),
)
