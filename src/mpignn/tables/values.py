"""Values of a block of a column: as numbers, and which are missing.

Shapes: R rows of a block.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from mpignn.tables.kinds import is_text

Where = Callable[[int], str]
"""File and line of a row, for messages."""


def plain(array: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(R,) numbers, and (R,) booleans: those that are missing.  Not collective.

    Times are int64 seconds since 1970; a missing number is NaN among floating-point ones, and 0 among whole ones.

    Args:
        array: Numbers, truth values, dates or times.
    """
    kind = array.type
    if pt.is_date(kind) or pt.is_timestamp(kind):
        seconds = array if pt.is_date(kind) else pc.floor_temporal(array, unit="second")
        return plain(seconds.cast(pa.timestamp("s", getattr(kind, "tz", None))).cast(pa.int64()))
    if pt.is_decimal(kind) or pt.is_null(kind):
        array = array.cast(pa.float64())
    missing = np.asarray(array.is_null()) if array.null_count else np.zeros(len(array), bool)
    if array.null_count:
        gap = False if pt.is_boolean(kind) else float("nan") if pt.is_floating(array.type) else 0
        array = array.fill_null(pa.scalar(gap, array.type))
    values = np.asarray(array)
    if values.dtype.kind == "f":
        missing |= np.isnan(values)
    return values, missing


def absent(array: pa.Array) -> np.ndarray:
    """(R,) booleans: null, no number, or a text without letters.  Not collective."""
    missing = array.is_null(nan_is_null=True)
    if is_text(array.type):
        missing = pc.or_(missing, pc.equal(array, "").fill_null(True))
    return np.asarray(missing)
