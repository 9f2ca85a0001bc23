"""Columns of a table in memory.  Apache Arrow is not needed for them.

Shapes: n rows, C names.
"""

from dataclasses import dataclass

import numpy as np

from mpignn.graph.user_ids import UserIds


@dataclass(frozen=True)
class Coded:
    """A column of names that repeat.

    Attributes:
        codes: (n,) integers in ``0:C``.
        names: (C,) texts.
    """

    codes: np.ndarray
    names: tuple[str, ...]


Column = UserIds | Coded | np.ndarray       # an array has (n,) numbers
