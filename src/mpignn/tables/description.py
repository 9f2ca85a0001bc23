"""What the tables of a graph mean: which columns are ids, ends of edges, features, labels and splits.

A description stands in a small TOML file, `mpignn.tables.toml`, or is guessed, `mpignn.tables.guess`.
"""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mpignn.graph.likeness import SPLITS
from mpignn.graph.types import EType
from mpignn.tables.learnt import Learnt

FEATURES, LABELS = "features", "labels"
"""Data of rows that training looks for."""

Fill = float | str
Moment = float | datetime.datetime | datetime.date

ENCODINGS = {
    "number": "as it is",
    "standard": "less the mean of the training nodes, divided by their deviation",
    "onehot": "a column for each value that occurs, sorted, which is 1 where the row has it",
    "code": "the number of the value among those that occur, sorted",
}
"""What may be made of the values of a column."""

ON_UNKNOWN = ("error", "drop")
"""What may be done with edges that have an end that is no node; the first is done where nothing is said."""

ANY = "*"
"""What stands for the relations that a column names."""

MEAN = "mean"
"""What a missing number is filled with, if not with a number: the mean of the training nodes, or of all if none is."""


@dataclass(frozen=True)
class Column:
    """A column, and what is made of its values.

    Attributes:
        column: Its name.
        how: One of `ENCODINGS`.
        fill: What stands for a missing value: a number, `MEAN`, or a text among texts; None: missing is an error.
    """

    column: str
    how: str = "number"
    fill: Fill | None = None


@dataclass(frozen=True)
class ByColumn:
    """A column says of each row in which split it is, if in any."""

    column: str


@dataclass(frozen=True)
class ByMask:
    """A column for each split is true, or 1, for its rows.

    Attributes:
        columns: Splits, each with its column.
    """

    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ByFile:
    """Each file, or folder of files, of a table is a split.

    Attributes:
        splits: Those of the files, in the order of these.
    """

    splits: tuple[str, ...]


@dataclass(frozen=True)
class ByShare:
    """Rows are drawn by chance: those with labels, of each class as many as of all.

    Attributes:
        shares: Those of train, val and test; together at most 1.
    """

    shares: tuple[float, float, float]


@dataclass(frozen=True)
class ByTime:
    """Rows up to the first moment are for training, those up to the second for validation, and all later for test."""

    column: str
    at: tuple[Moment, Moment]


@dataclass(frozen=True)
class ForTest:
    """All rows are for test; where there are labels, those that have one."""


Split = ByColumn | ByMask | ByFile | ByShare | ByTime | ForTest
USUAL_SHARES = ByShare((0.8, 0.1, 0.1))


@dataclass(frozen=True)
class Rows:
    """What nodes and edges have in common.

    Attributes:
        files: Files, or folders of them, of one table.
        header: Names of the columns, where the files are texts whose first line has none; empty: they have names.
        labels: The column to be predicted, or several of them.
        split: What is learnt from; None: nothing.
        data: Further columns, by the names that they shall have.
        seed: Seed of what is drawn.
        learnt: What was learnt of these columns in other tables, by which those of these are made; None: it is learnt
            from these.
        notes: Remarks on what was guessed, for the reader.
    """

    files: tuple[Path, ...] = ()
    header: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    split: Split | None = None
    data: Mapping[str, Column] = field(default_factory=dict)
    seed: int = 0
    learnt: Learnt | None = field(default=None, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def columns(self) -> Iterator[tuple[str, str]]:
        """The keys that name columns, each with a column."""
        for name in self.labels:
            yield "labels", name
        for name in split_columns(self.split):
            yield "split", name
        for column in self.data.values():
            yield "data", column.column

    def made(self) -> dict[str, tuple[Column, ...]]:
        """The columns of each array of data, by its name: of features several side by side, of all others one."""
        return {name: (column,) for name, column in self.data.items()}

    def learnt_sorts(self) -> Iterator[tuple[str, str]]:
        """The columns of which something is learnt in other tables, each with what it held there."""
        if self.learnt is not None:
            for name, columns in self.made().items():
                for made_of, learnt in zip(columns, self.learnt.columns[name], strict=True):
                    yield made_of.column, learnt.sort
            if self.learnt.labels is not None:
                yield from ((column, self.learnt.labels.sort) for column in self.labels)


@dataclass(frozen=True)
class Nodes(Rows):
    """The nodes of a type, a row each; without files: the nodes that edges name.

    Attributes:
        id: The column of their ids; None: they are numbered from 0, as the rows are.
        features: What becomes the columns of one array, in this order.
    """

    id: str | None = None
    features: tuple[Column, ...] = ()

    def columns(self) -> Iterator[tuple[str, str]]:
        if self.id is not None:
            yield "id", self.id
        for column in self.features:
            yield "features", column.column
        yield from super().columns()

    def made(self) -> dict[str, tuple[Column, ...]]:
        return ({FEATURES: self.features} if self.features else {}) | super().made()


@dataclass(frozen=True)
class Edges(Rows):
    """The edges of a type, a row each.

    Attributes:
        src, dst: The columns of the ids of their ends.
        relation: The column that says of which type each edge is, by its relation; the type of the table has `ANY` in
            the place of that.  None: all are of the type of the table.
        weights, time: Columns that become the edge data ``weight`` and ``time``.
        reverse: Each edge is there the other way round, too: of the type of this name, in which `ANY` stands for the
            relation where a column names that, or, if True, of the same type.
        drop_duplicates: Only the first is kept of edges that join the same nodes.
        drop_self_loops: Edges from a node to itself are left out.
        drop_unknown: Edges with an end that is no node are left out, and counted; else they are an error.
    """

    src: str = "src"
    dst: str = "dst"
    relation: str | None = None
    weights: str | None = None
    time: str | None = None
    reverse: str | bool = False
    drop_duplicates: bool = False
    drop_self_loops: bool = False
    drop_unknown: bool = False

    def columns(self) -> Iterator[tuple[str, str]]:
        yield "src", self.src
        yield "dst", self.dst
        if self.relation is not None:
            yield "relation", self.relation
        if self.weights is not None:
            yield "weights", self.weights
        if self.time is not None:
            yield "time", self.time
        yield from super().columns()

    def made(self) -> dict[str, tuple[Column, ...]]:
        named = {name: (Column(column),) for name, column in (("weight", self.weights), ("time", self.time))
                 if column is not None}
        return named | super().made()


@dataclass(frozen=True)
class Description:
    """All tables of a graph.

    Attributes:
        where: The file that says so, or the folder that it was guessed of, for messages.
        nodes: By node type, in the order of their numbers.
        edges: By edge type, likewise.
    """

    where: str
    nodes: Mapping[str, Nodes]
    edges: Mapping[EType, Edges]


def reversed_type(etype: EType, edges: Edges) -> EType | None:
    """The edge type of its own that the edges the other way round have; None if there is none."""
    if not isinstance(edges.reverse, str):
        return None
    name = edges.reverse if edges.relation is None else edges.reverse.replace(ANY, etype[1])
    return etype[2], name, etype[0]


def split_columns(split: Split | None) -> tuple[str, ...]:
    """The columns that tell a split."""
    match split:
        case ByColumn(column) | ByTime(column, _):
            return (column,)
        case ByMask(columns):
            return tuple(column for _, column in columns)
    return ()


def split_of(value: str) -> str | None:
    """The split that a value of a column means; None for none of them."""
    known = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2}
    number = known.get(value.strip().casefold())
    return None if number is None else SPLITS[number]
