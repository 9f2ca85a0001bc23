"""Which format a file is in, by the ending of its name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mpignn.errors import DataError
from mpignn.tables.arrow import ArrowFile
from mpignn.tables.delimited import DelimitedFile, Dialect
from mpignn.tables.edge_list import edge_list
from mpignn.tables.json_lines import JsonLines
from mpignn.tables.parquet import ParquetTable
from mpignn.tables.table_file import TableFile

_Header = Sequence[str] | None
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_TEXTS: dict[str, Callable[[Path, str | None, _Header, Sequence[str]], TableFile]] = {
    ".csv": lambda path, packed, header, as_text: DelimitedFile(path, packed, Dialect(","), header, as_text),
    ".tsv": lambda path, packed, header, as_text: DelimitedFile(path, packed, Dialect("\t"), header, as_text),
    **dict.fromkeys((".txt", ".el", ".edges"), edge_list),
    **dict.fromkeys((".jsonl", ".ndjson"), lambda path, packed, header, as_text: JsonLines(path, packed, as_text)),
}
_BINARY: dict[str, Callable[[Path], TableFile]] = {
    ".parquet": ParquetTable, ".pq": ParquetTable, ".feather": ArrowFile, ".arrow": ArrowFile, ".ipc": ArrowFile}
NAMED = (".jsonl", ".ndjson", *_BINARY)
"""Endings of those whose columns always have names."""

ENDINGS = (*_TEXTS, *_BINARY)
"""Endings of names of files that can be read; those of texts may be followed by .gz or .zst."""


def ending(path: Path) -> str | None:
    """The ending that tells the format; None: not one of a table."""
    name = path.name.lower()
    plain = next((name.removesuffix(packed) for packed in _PACKED if name.endswith(packed)), name)
    return next((e for e in (*_TEXTS, *(_BINARY if plain == name else ())) if plain.endswith(e)), None)


def plain_name(path: Path) -> str:
    """The name of a file, or of a folder of files, without the ending that tells the format."""
    end = ending(path)
    return path.name if end is None else path.name[:path.name.lower().rindex(end)]


def packing(path: Path) -> str | None:
    """How a text is compressed, by its ending, as Arrow calls that; None: it is not."""
    return next((method for last, method in _PACKED.items() if path.name.lower().endswith(last)), None)


def open_file(path: Path, header: _Header, as_text: Sequence[str]) -> TableFile:
    """Open one file of a table.

    Raises:
        DataError: It is no table that can be read, or one of a format that has names, and other names are given.
    """
    found = ending(path)
    if found is None:
        raise DataError(f"{path}: not a table that can be read; the name of one ends in {', '.join(ENDINGS)}")
    if header is not None and found in NAMED:
        raise DataError(f"{path}: its columns have names; header is for texts without a line of names: leave it out")
    if found in _BINARY:
        return _BINARY[found](path)
    return _TEXTS[found](path, packing(path), header, as_text)
