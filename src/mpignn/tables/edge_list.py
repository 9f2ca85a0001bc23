"""Lists of edges as SNAP writes them: two ids in a line, separated by blanks or tabs, comments after # or %."""

import re
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mpignn.errors import DataError
from mpignn.tables.checks import is_number_text
from mpignn.tables.delimited import DelimitedFile, Dialect
from mpignn.tables.lines import Bytes

_COMMENT = re.compile(rb"^[ \t]*[#%].*\n?", re.MULTILINE)
_BEGIN, _END, _BLANKS = re.compile(rb"^[ \t]+", re.MULTILINE), re.compile(rb"[ \t]+(?=\r?$)", re.MULTILINE), \
    re.compile(rb"[ \t]{2,}")
_LEAST = 1 << 16


def edge_list(path: Path, packed: str | None, header: Sequence[str] | None, as_text: Sequence[str]) -> DelimitedFile:
    """A list of edges as a table of the columns ``src`` and ``dst``, and ``value`` if there are three.

    Where the second of three is a text, and the third is one, too, or the first is no text either, and the second ones
    do not differ more often than the third ones at the beginning of the file, these are ``head``, ``relation`` and
    ``tail``.

    Args:
        path: The file.
        packed: As in `mpignn.tables.delimited.DelimitedFile`.
        header: Other names, of as many columns as there are; where the first line has a tab between any two of these,
            only tabs separate values, which may hold blanks, and no line is a comment.
        as_text: Columns whose types are not guessed.

    Raises:
        DataError: There is no edge in it.
    """
    if header is not None and _is_by_tabs(path, packed, len(header)):
        return DelimitedFile(path, packed, Dialect("\t", quotes=False), header, as_text)
    return DelimitedFile(path, packed, _DIALECT, _names(path, packed) if header is None else header, as_text)


def _is_by_tabs(path: Path, packed: str | None, width: int) -> bool:
    try:
        with pa.input_stream(str(path), compression=packed) as stream:
            line = stream.read(_LEAST).partition(b"\n")[0]
    except OSError:
        return False        # who reads it tells why
    values = [value.strip() for value in line.rstrip(b"\r").split(b"\t")]
    # A head may begin with #; what names two columns behind it is a comment, as SNAP writes it.
    return len(values) == width and all(values) and (width > 2 or not _skipped(line))


def _names(path: Path, packed: str | None) -> list[str]:
    try:
        with pa.input_stream(str(path), compression=packed) as stream:
            lines = _Lines(stream).read(_LEAST).split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}; it is damaged, or was not written to its end: write it "
                        "again") from error
    width = lines[0].count(b"\t") + 1
    if width < 2:
        raise DataError(f"{path}: no edges in it; expected lines of two ids, separated by blanks or a tab")
    if width == 3 and _are_triples([line.split(b"\t") for line in lines]):
        return ["head", "relation", "tail"]
    return ["src", "dst", *(["value"] if width == 3 else [f"value_{i}" for i in range(1, width - 1)])]


def _are_triples(rows: Sequence[Sequence[bytes]]) -> bool:
    """Whether rows of three begin a list of heads, relations and tails, rather than of edges with a text each."""
    rows = [row for row in rows if len(row) == 3]       # the last one may have been cut
    head, relation, tail = map(is_number_text, rows[0])
    return not relation and (head or not tail) and (
        len({row[1] for row in rows}) <= len({row[2] for row in rows}))


class _Lines:
    """A stream of the lines that are no comments, values separated by one tab."""

    closed = False

    def __init__(self, stream: Bytes) -> None:
        self._stream = stream
        self._rest = b""
        self._ready = b""

    def read(self, size: int = -1) -> bytes:
        """As much as is asked for, or what is left."""
        while len(self._ready) < size:
            chunk = self._stream.read(max(size, _LEAST))
            text = self._rest + chunk
            end = text.rfind(b"\n") + 1 if chunk else len(text)
            self._ready += _clean(text[:end])
            self._rest = text[end:]
            if not chunk:
                break
        given, self._ready = self._ready[:size], self._ready[size:]
        return given

    def close(self) -> None:
        """Close what is read from."""
        self._stream.close()


def _clean(text: bytes) -> bytes:
    text = text.removeprefix(b"\xef\xbb\xbf")
    if b"#" in text or b"%" in text:
        text = _COMMENT.sub(b"", text)
    if b" " in text:
        text = text.replace(b" ", b"\t")
    if b"\t\t" in text:
        text = _BLANKS.sub(b"\t", text)
    if b"\n\t" in text or text.startswith(b"\t"):
        text = _BEGIN.sub(b"", text)
    if b"\t\n" in text or b"\t\r" in text or text.endswith(b"\t"):
        text = _END.sub(b"", text)
    return text


def _skipped(line: bytes) -> bool:
    return line.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"", b"#", b"%")


_DIALECT = Dialect("\t", quotes=False, skipped=_skipped, cleaned=lambda stream: _Lines(stream))
