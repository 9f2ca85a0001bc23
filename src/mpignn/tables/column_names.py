"""What names of columns and files usually mean."""

import re
from collections.abc import Sequence

LABELS = ("label", "labels", "class", "classes", "y", "target", "targets", "node_label", "edge_label", "topic",
          "category", "subject")
SPLIT_COLUMNS = ("split", "splits", "fold", "set", "subset")
RELATIONS = ("relation", "relations", "rel", "predicate", "relation_type", "rel_type", "edge_type", "etype",
             "relationship", "relationship_type", "type")
WEIGHTS = ("weight", "weights", "w")
TIMES = ("time", "timestamp", "ts", "date", "datetime")

_PAIRS = (("src", "dst"), ("source", "target"), ("source", "destination"), ("source", "dest"), ("from", "to"),
          ("head", "tail"), ("citing", "cited"), ("start", "end"), ("subject", "object"), ("parent", "child"),
          ("follower", "followee"), ("follower", "followed"), ("sender", "receiver"), ("u", "v"), ("i", "j"),
          ("left", "right"), ("1", "2"), ("0", "1"), ("a", "b"))
_VAGUE = (("source", "target"), ("from", "to"), ("start", "end"), ("parent", "child"), ("u", "v"), ("i", "j"),
          ("left", "right"), ("1", "2"), ("0", "1"), ("a", "b"))        # features and moments are called so, too
ENDS = frozenset(word for pair in _PAIRS for word in pair)
"""Words that say which end of an edge a column is."""


def words(name: str) -> list[str]:
    """The words of a name in small letters: ``sourceId`` and ``source_id`` have the same two."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.findall(r"[^\W\d_]+|\d+", spaced.casefold())


def singular(name: str) -> str:
    """The name of one of what a name in the plural means, by English endings."""
    for plural, ending in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if name.casefold().endswith(plural) and len(name) > len(plural) + 1 and not name.casefold().endswith("ss"):
            return name[:-len(plural)] + ending
    return name


def id_column(names: Sequence[str], stem: str) -> str | None:
    """The column with the ids of the rows of a table of this name."""
    one = "_".join(words(singular(stem)))
    many = "_".join(words(stem))
    by_words = {"_".join(words(name)): name for name in reversed(names)}
    wanted = (f"{one}_id", f"{many}_id", "id", "node_id", "uid", "uuid", "guid", "node", one, f"{one}_key", "key")
    return next((by_words[name] for name in wanted if name in by_words), None)


def is_called_as_table(column: str, stem: str) -> bool:
    """Whether a column is named by the table, as ``paper_id`` of ``papers`` is, rather than ``id`` alone."""
    one, many = "_".join(words(singular(stem))), "_".join(words(stem))
    return "_".join(words(column)) in (f"{one}_id", f"{many}_id", one, f"{one}_key")


def are_surely_ends(names: tuple[str, str]) -> bool:
    """Whether the columns that `ends_by_name` has found can hardly be anything else."""
    if all(words(name)[-1] == "id" for name in names):
        return True
    return not any(source in words(names[0]) and target in words(names[1]) for source, target in _VAGUE)


def ends_by_name(names: Sequence[str]) -> tuple[str, str] | None:
    """The columns with sources and destinations, by a word in each, such as ``source_id`` and ``target_id``."""
    for source, target in _PAIRS:
        found = [[name for name in names if word in words(name)] for word in (source, target)]
        if all(len(some) == 1 for some in found) and found[0] != found[1]:
            first, second = found[0][0], found[1][0]
            rest = [[word for word in words(name) if word not in (source, target)] for name in (first, second)]
            # x1 and x2 among other numbered columns are features.
            if not source.isdigit() or (rest[0] == rest[1] and len(names) < 4):
                return first, second
    return None
