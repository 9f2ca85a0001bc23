"""What is learnt from the rows of tables, by which new rows are made into the same columns.

Shapes: W numbers made of a value that is a list, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mpignn.errors import DataError
from mpignn.tables.kinds import NOTHING, sort_of


@dataclass(frozen=True)
class LearntNumbers:
    """What is learnt of a column of numbers.

    Attributes:
        sort: What it holds, by `mpignn.tables.kinds.sort_of`.
        dtype: Type of the numbers that are made of it.
        width: W of a column of lists; None: it holds none.
        mean: (W,) or of one number, those of the training rows; empty where nothing needs it.
        deviation: Likewise.
    """

    sort: str
    dtype: str
    width: int | None = None
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()


@dataclass(frozen=True)
class LearntValues:
    """What is learnt of a column of values that are told apart.

    Attributes:
        sort: What it holds, by `mpignn.tables.kinds.sort_of`.
        values: Those that occur, in the order of their numbers.
    """

    sort: str
    values: tuple[Any, ...]


LearntColumn = LearntNumbers | LearntValues


@dataclass(frozen=True)
class LearntLabels:
    """What is learnt of labels.

    Attributes:
        sort: What the columns hold, by `mpignn.tables.kinds.sort_of`.
        num_classes: C; None: numbers are to be predicted, or several labels.
        names: What users call the classes, or the columns of several labels, where that is not their number.
        width: How many labels a row has, where these are several; None: one.
    """

    sort: str
    num_classes: int | None = None
    names: tuple[str, ...] | None = None
    width: int | None = None


@dataclass(frozen=True)
class Learnt:
    """What is learnt from the rows of a type.

    Attributes:
        columns: By name of the data, for each column that it is made of, in their order.
        labels: The same for the labels; None: there are none.
        held_out: Whether the rows are edges, of which some may be held out: the data ``message`` says which.
        relations: The values of the column that names the relations of edges; None: there is none.
    """

    columns: Mapping[str, tuple[LearntColumn, ...]] = field(default_factory=dict)
    labels: LearntLabels | None = None
    held_out: bool = False
    relations: tuple[str, ...] | None = None


def check_sort(name: str, kind: pa.DataType, sort: str, before: str = "") -> None:
    """Raise `DataError` if a column holds something else than it held in training.  Not collective.

    Args:
        name: Name of the column.
        kind: Its type; of nothing but missing values it may be any.
        sort: What it held.
        before: What the message begins with.
    """
    found = sort_of(kind)
    if found not in (sort, NOTHING) and (sort != NOTHING or found.startswith("lists")):
        raise DataError(f"{before}{name!r} holds {found}, and held {sort} in training: write it as it was there")


def nothing_stands_for(place: str, column: str) -> DataError:
    """The error of a value that is missing, where no ``fill`` was learnt with."""
    return DataError(f"{place}: {column} is missing, and in training nothing stood for a missing value: write it "
                     "there, or leave the row out")
