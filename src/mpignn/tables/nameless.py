"""Tables whose first line is a row, and tables that lie in a file for each split: both known by names and first rows.

Knowledge graphs are handed around so: ``train.txt``, ``valid.txt`` and ``test.txt``, a head, a relation and a tail a
line.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mpignn.graph.likeness import SPLITS
from mpignn.tables.checks import is_number_text
from mpignn.tables.column_names import (
    LABELS,
    RELATIONS,
    SPLIT_COLUMNS,
    TIMES,
    WEIGHTS,
    are_surely_ends,
    ends_by_name,
    id_column,
    words,
)
from mpignn.tables.description import ByFile, split_of
from mpignn.tables.formats import NAMED, ending, packing, plain_name
from mpignn.tables.sheet import Sheet
from mpignn.tables.table import Table

_BYTES = 1 << 16
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_KNOWN = frozenset((*LABELS, *RELATIONS, *SPLIT_COLUMNS, *TIMES, *WEIGHTS))
_TRIPLES, _PAIRS = ("head", "relation", "tail"), ("src", "dst")


def sheets_of(tables: Sequence[Path]) -> list[Sheet]:
    """The tables of a folder, those of a file for each split as one.  Not collective.

    Raises:
        DataError: One cannot be read, or the files of one have other columns.
    """
    split = parts_of(tables)
    alone = [table for table in tables if not any(table in files.values() for files in split.values())]
    found = []
    for name, files in split.items():
        header = header_of(files[SPLITS[0]], in_splits=True)
        found.append(_sheet(tuple(files.values()), header, name or "edges", ByFile(tuple(files))))
    return found + [_sheet((table,), header_of(table)) for table in alone]


def parts_of(tables: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """The tables of edges that lie in a file for each split, by what their names have in common before its name.

    Files of a table end alike.  There are those of training, and of validation or test.  Not collective.
    """
    named: dict[tuple[str, str | None], list[tuple[str, Path]]] = {}
    for table in tables:
        found = re.fullmatch(r"(?:(.*)[-_. ])?([^-_. ]+)", plain_name(table))
        split = None if found is None or table.is_dir() else split_of(found[2])
        if found is not None and split is not None:
            named.setdefault((found[1] or "", ending(table)), []).append((split, table))
    parts = {}
    for (name, _), some in named.items():
        files = {split: dict(some)[split] for split in SPLITS if split in dict(some)}
        if SPLITS[0] in files and len(files) == len(some) > 1 and name not in parts and all(
                _are_edges(file) for file in files.values()):
            parts[name] = files
    return parts


def header_of(path: Path, in_splits: bool = False) -> tuple[str, ...]:
    """Names of the columns of edges, if the first line of a text has none; else nothing.  Not collective.

    Args:
        path: The file.
        in_splits: It is one of those of a table that lies in a file for each split: lists of edges, too, get names,
            and three whole numbers a row are a head, a relation and a tail if the second ones vary least.
    """
    rows = _first_rows(path)
    listed = ending(path) not in _DELIMITERS
    if not rows or (listed and not in_splits) or (not listed and not _begins_with_row(rows, plain_name(path))):
        return ()
    if len(rows[0]) == 2:
        return _PAIRS
    return _TRIPLES if _are_triples(rows, in_splits) else (*_PAIRS, "value")


def header_like(path: Path, header: tuple[str, ...]) -> tuple[str, ...]:
    """What a new table needs of the names of columns that another one was given: nothing, if it has them itself.

    Not collective.
    """
    if ending(path) in NAMED:
        return ()
    rows = _first_rows(path) if ending(path) in _DELIMITERS else []
    return () if rows and set(header) <= set(rows[0]) else header


def of_two_columns(sheet: Sheet, ends: tuple[str, str] | None, ids: Sequence[tuple[Sheet, str]]
                   ) -> tuple[Sheet, tuple[str, str] | None, list[str]]:
    """The ends of edges where nothing but their number tells them, and whether the first line of a text is one.

    It is, if a value of it is an id in another row, too, or of a node: the tables are read to their ends for that.
    Not collective.

    Args:
        sheet: A table.
        ends: The columns of the ends, so far as their names tell them.
        ids: Tables of nodes, and the columns of their ids.

    Returns:
        The table, which has other names of columns if its first line is a row; the columns of the ends, None if that is
        not clear; and what is to be said if it is not known whether the line is a row.
    """
    if len(sheet.names) != 2 or (ends is None and id_column(sheet.names, sheet.stem) is not None):
        return sheet, ends, []
    is_told = ends is not None and any(len(name) > 1 for name in ends)
    if is_told or sheet.header or any(ending(file) not in _DELIMITERS for file in sheet.files):
        return sheet, ends or (sheet.names[0], sheet.names[1]), []
    if _stands_again(sheet, ids):
        return _sheet(sheet.files, _PAIRS, sheet.name, sheet.split), _PAIRS, []
    if ends is not None:
        return sheet, ends, []
    return sheet, (sheet.names[0], sheet.names[1]), [
        f"{sheet.path}: its first line, {' and '.join(map(repr, sheet.names))}, is taken for the names of its columns; "
        "if it is an edge, write a line of names above it, src and dst, or into graph.toml "
        f'[edges."node:{sheet.stem}:node"] with files = "{sheet.path}", header = ["src", "dst"], src = "src", dst = '
        '"dst"']


def _stands_again(sheet: Sheet, ids: Sequence[tuple[Sheet, str]]) -> bool:
    """Whether a name of a column is an id in the table, or of a node."""
    names = pa.array(sheet.table.names)
    for of, columns in ((sheet, sheet.table.names), *((of, (column,)) for of, column in ids)):
        for block in of.table.batches(columns, dict.fromkeys(columns, pa.string())):
            if any(pc.any(pc.is_in(block.columns[column], names)).as_py() for column in columns):
                return True
    return False


def _sheet(files: tuple[Path, ...], header: tuple[str, ...], name: str | None = None, split: ByFile | None = None
           ) -> Sheet:
    return Sheet(files[0], Table.open(files, header=header or None), files, header, name, split)


def _are_edges(path: Path) -> bool:
    rows = _first_rows(path)
    if ending(path) in _DELIMITERS and rows and not _begins_with_row(rows, plain_name(path)):
        return ends_by_name(rows[0]) is not None
    return bool(rows) and len(rows[0]) in (2, 3) and len({len(row) for row in rows}) == 1


def _first_rows(path: Path) -> list[list[str]]:
    """Rows at the begin of a text; none, if there are none, or it is no text, or cannot be read."""
    end = ending(path)
    if path.is_dir() or end not in (*_DELIMITERS, ".txt", ".el", ".edges"):
        return []
    try:
        with pa.input_stream(str(path), compression=packing(path)) as stream:
            text = stream.read(_BYTES)
    except OSError:
        return []       # who opens it tells why
    whole = len(text) < _BYTES
    lines = [line for line in text.decode("utf-8-sig", "replace").splitlines() if line.strip()]
    lines = lines if whole else lines[:-1]      # the last one may have been cut
    if end in _DELIMITERS:
        return list(csv.reader(lines, delimiter=_DELIMITERS[end]))
    return [line.strip().split("\t" if "\t" in line.strip() else None) for line in lines
            if line.lstrip()[:1] not in ("#", "%") or line.strip().count("\t") > 1]      # a head may begin so


def _begins_with_row(rows: Sequence[Sequence[str]], stem: str) -> bool:
    """Whether the first of two or three values each looks like the others, and not like names of columns."""
    first, rest = rows[0], rows[1:]
    if len(first) not in (2, 3) or not rest or any(len(row) != len(first) for row in rest):
        return False
    # A program that has no names writes numbers from 0 on in their place.
    ends_told = ends_by_name(first)
    if ends_told is not None and are_surely_ends(ends_told):
        return False
    if id_column(first, stem) is not None or any("_".join(words(name)) in _KNOWN for name in first):
        return False
    if list(first) == [str(i) for i in range(len(first))]:
        return False
    columns = [[row[i] for row in rest] for i in range(len(first))]
    ends = {*columns[0], *columns[-1]}
    return (len(set(first)) < len(first) or first[0] in ends or first[-1] in ends or first[1] in columns[1]
            or any(is_number_text(name) and all(map(is_number_text, column))
                   for name, column in zip(first, columns, strict=True)))


def _are_triples(rows: Sequence[Sequence[str]], in_splits: bool) -> bool:
    """Whether rows of three are heads, relations and tails, rather than edges with a number or a text each."""
    head, relation, tail = ([row[i] for row in rows] for i in range(3))
    numbers = [all(map(is_number_text, column)) for column in (head, relation, tail)]
    if numbers[2] and not numbers[0]:
        return False
    if numbers[1] and not (in_splits and all(map(str.isdecimal, tail)) and len(set(relation)) <= len(set(head))):
        return False
    return len(set(relation)) <= len(set(tail))
