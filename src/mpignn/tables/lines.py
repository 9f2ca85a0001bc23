"""Lines of a text: where rows begin in a stretch of it; and in which line a row stands, and which line is not UTF-8.

The latter are for errors only: the file is read once more.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol

from mpignn.tables.table_file import Look, Reached

_CHUNK = 1 << 22
_MAY_BE_SKIPPED = (b"\n\n", b"\n\r", b"\n#", b"\n%", b"\n ", b"\n\t")     # what a line begins with that may be no row


class Bytes(Protocol):
    """What bytes can be read from, as Arrow does."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    def read(self, size: int = -1) -> bytes:
        """At most as many bytes; none at the end."""

    def close(self) -> None:
        """Not read from any more."""


class Stretch:
    """The bytes of a file from one place to another."""

    closed = False

    def __init__(self, stream: IO[bytes], begin: int, end: int) -> None:
        self.begin = begin
        self._stream, self._left = stream, end - begin
        stream.seek(begin)

    def read(self, size: int = -1) -> bytes:
        """As much as is asked for, or what is left."""
        found = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(found)
        return found

    def close(self) -> None:
        """Close what is read from."""
        self._stream.close()


def has_cr_alone(path: Path) -> bool:
    """Whether a text begins with lines that CR alone ends."""
    with open(path, "rb") as stream:
        begin = stream.read(_CHUNK)
    return b"\r" in begin and b"\n" not in begin


def line_begin(stream: IO[bytes], place: int) -> int:
    """Where the first line begins that begins at a place of a text or behind it; its end, if none does."""
    if not place:
        return 0
    stream.seek(place - 1)
    while chunk := stream.read(_CHUNK):
        found = chunk.find(b"\n")
        if found >= 0:
            return stream.tell() - len(chunk) + found + 1
    return stream.tell()


def look_at_rows(text: Stretch, skipped: Callable[[bytes], bool], delimiter: bytes | None, reached: Reached
                 ) -> tuple[Look, Look]:
    """What stands in a stretch of lines, if it begins between values, and if it begins in a value in quotes.

    Args:
        text: From the begin of a line.
        skipped, delimiter: As in `line_of_row`.
        reached: Told how far it is.
    """
    inside, num_rows = [False, delimiter is not None], [0, 0]
    begins: list[int | None] = [None, None]
    after, place = _end_of_line(delimiter), text.begin
    for lines in _whole_lines(text):
        reached.tell_place(place)
        if b'"' not in lines or delimiter is None:
            count = _count_rows(lines, skipped)
            for way in 0, 1:
                if not inside[way] and count:
                    begins[way] = place if begins[way] is None else begins[way]
                    num_rows[way] += count
            place += len(lines)
            continue
        for line in lines.splitlines(keepends=True):
            is_row = not skipped(line.rstrip(b"\r\n"))
            for way in 0, 1:
                if not inside[way] and is_row:
                    begins[way] = place if begins[way] is None else begins[way]
                    num_rows[way] += 1
            if b'"' in line:
                same = inside[0] == inside[1]
                inside[0] = after(line, inside[0])
                inside[1] = inside[0] if same else after(line, inside[1])
            place += len(line)
    one, other = (Look(place if begin is None else begin, count, ends_inside)
                  for begin, count, ends_inside in zip(begins, num_rows, inside, strict=True))
    return one, other


def _whole_lines(text: Bytes) -> Iterator[bytes]:
    """A text some lines at a time."""
    rest = b""
    while chunk := text.read(_CHUNK):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield rest + chunk[:end]
        rest = chunk[end:] if end else rest + chunk
    if rest:
        yield rest


def _count_rows(lines: bytes, skipped: Callable[[bytes], bool]) -> int:
    """How many of some lines without quotes are rows."""
    # Single bytes are looked for many times faster than two.
    odd = any(mark[1:] in lines and mark in lines for mark in _MAY_BE_SKIPPED)
    odd |= lines[:1].strip(b"\n\r#% \t\xef") == b""
    if odd or (b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n")):
        return sum(not skipped(line) for line in lines.splitlines())
    return lines.count(b"\n") + (not lines.endswith(b"\n"))


def line_of_row(stream: Bytes, row: int, skipped: Callable[[bytes], bool], delimiter: bytes | None) -> int | None:
    """The line in which a row begins, counted from 1.

    Args:
        stream: The text, from its begin.
        row: Which row, counted from 0; a header is one.
        skipped: Whether a line is no row; asked of lines that do not continue a value in quotes.
        delimiter: Separates values that may be in quotes; None: there are no quotes.

    Returns:
        None: There are no lines, as where CR alone separates rows, or no such row.
    """
    begun = 0
    for number, line, begins, _ in _lines(stream, skipped, delimiter):
        if begins and begun == row:
            return None if b"\r" in line.rstrip(b"\r") else number
        begun += begins
    return None


def unclosed_quote(stream: Bytes, skipped: Callable[[bytes], bool], delimiter: bytes | None) -> int | None:
    """The line in which the row begins that has a quote without an end, counted from 1; None: there is none."""
    begin, unclosed = 0, False
    for number, _, begins, inside in _lines(stream, skipped, delimiter):
        begin, unclosed = number if begins else begin, inside
    return begin if unclosed else None


def line_not_utf8(stream: Bytes) -> int | None:
    """The first line that is not UTF-8, counted from 1; None: all are."""
    for number, line in enumerate(split_lines(stream), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return None


def _lines(stream: Bytes, skipped: Callable[[bytes], bool], delimiter: bytes | None
           ) -> Iterator[tuple[int, bytes, bool, bool]]:
    """Number of each line, the line, whether a row begins there, and whether it ends inside a value in quotes."""
    inside, after = False, _end_of_line(delimiter)
    for number, line in enumerate(split_lines(stream), 1):
        begins = not inside and not skipped(line)
        inside = after(line, inside)
        yield number, line, begins, inside


def _end_of_line(delimiter: bytes | None) -> Callable[[bytes, bool], bool]:
    """What tells of a line, and whether it begins inside a value in quotes, whether it ends inside one."""
    before = rb"(?:^|%s)" % re.escape(delimiter or b",")
    whole, begin = re.compile(before + rb'"(?:[^"]|"")*"(?!")'), re.compile(before + b'"')

    def ends_inside(line: bytes, inside: bool) -> bool:
        if inside:
            _, closing, line = line.replace(b'""', b"").partition(b'"')
            inside, line = not closing, b" " + line
        if not inside and delimiter is not None and b'"' in line:
            inside = begin.search(whole.sub(b" ", line)) is not None
        return inside

    return ends_inside


def split_lines(stream: Bytes) -> Iterator[bytes]:
    """The lines of a text, without what ends them, but for CR."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
