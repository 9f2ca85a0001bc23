"""Tables that say what numbered things are called: a header, then a number and a name in each line.

Shapes: N things.
"""

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mpignn.errors import DataError
from mpignn.graph.user_ids import UserIds
from mpignn.tables.numbers import told

log = logging.getLogger(__name__)


def read_names(path: Path) -> UserIds | None:
    """What things are called, by number, or None if two are called the same, of which a warning tells.  Not collective.

    Args:
        path: Text, compressed if the ending of its name says so; columns after the second are not read.

    Raises:
        DataError: The file cannot be read, or the numbers are not each of 0 to N - 1 once.
    """
    with told(path):
        with csv.open_csv(path) as file:
            columns = [str(number) for number in range(len(file.schema.names))]
        table = csv.read_csv(path, csv.ReadOptions(use_threads=False, column_names=columns, skip_rows=1),
                             convert_options=csv.ConvertOptions(column_types={"1": pa.string()}))
    if table.num_columns < 2:
        raise DataError(f"{path}: has {table.num_columns} columns, expected a number and a name in each line")
    numbers, names = table.columns[0], _as_meant(table.columns[1])
    order = np.argsort(numbers.to_numpy(), kind="stable")
    if not pa.types.is_integer(numbers.type) or not np.array_equal(numbers.to_numpy()[order], np.arange(order.size)):
        raise DataError(f"{path}: its first column does not hold each of 0 to {order.size - 1} once")
    if pc.count_distinct(names, mode="all").as_py() < order.size:
        log.warning("%s: two have the same name, so names are left out", path)
        return None
    sorted_names = names.take(pa.array(order))
    if pa.types.is_integer(names.type):
        return UserIds(sorted_names.to_numpy())
    return UserIds.of_texts(sorted_names.to_pylist())


def _as_meant(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers, int64 or uint64, where each text is what such a number is written as, and else the texts."""
    for kind in (pa.int64(), pa.uint64()):
        try:
            numbers = texts.cast(kind)
        except pa.ArrowInvalid:     # one is no such number
            continue
        if numbers.cast(pa.string()).equals(texts):     # 0007 is 7, and is called 0007
            return numbers
    return texts
