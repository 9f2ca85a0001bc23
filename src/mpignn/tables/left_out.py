"""Columns of tables that are guessed which get no place in the graph: what is said of them, and when."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mpignn.tables.description import Description, Rows

_BEGINNING = "left out: "
_MOST = 8           # columns that are named of a table


def note(column: str, why: str, else_write: str = "") -> str:
    """A remark on a column, for `mpignn.tables.description.Nodes.notes`.  Not collective."""
    return f"{_BEGINNING}{column}, {why}" + (f"; {else_write}" if else_write else "")


def note_of_text(column: str, sample: pa.Array, few: int) -> str:
    """The same of a column of texts; of no more than ``few`` values something can well be made.  Not collective."""
    if len(sample) and _are_numbers(sample):
        return note(column, "numbers that are written as text", "as features: write them without quotation marks")
    if len(pc.unique(sample)) > few:
        return note(column, "which is text of many values")
    return note(column, "which is text",
                f'as features: {{column = "{column}", as = "onehot"}}; to be predicted: labels = "{column}"')


def told(path: Path, description: Description) -> Iterator[str]:
    """What is said of a guessed graph: a line for each table that has such columns, and what to do.  Not collective."""
    tables = [*description.nodes.values(), *description.edges.values()]
    lines = [f"{table.files[0]}: left out {_columns(table)}" for table in tables if _left_out(table)]
    if not lines:
        return
    yield from lines
    if not any(nodes.features for nodes in description.nodes.values()) and any(
            _left_out(nodes) for nodes in description.nodes.values()):
        yield f"{path}: no node has features, for no column of nodes could be one"
    yield (f"to use these columns: `mpignn describe {path} > graph.toml`, edit this file, then "
           "`mpignn partition graph.toml OUT --parts P`")


def _left_out(table: Rows) -> list[str]:
    """Each column with why it is left out."""
    return [remark.removeprefix(_BEGINNING).partition("; ")[0] for remark in table.notes
            if remark.startswith(_BEGINNING)]


def _columns(table: Rows) -> str:
    found = _left_out(table)
    return "; ".join(found[:_MOST]) + (f"; and {len(found) - _MOST} more" if len(found) > _MOST else "")


def _are_numbers(sample: pa.Array) -> bool:
    try:
        pc.cast(sample, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True
