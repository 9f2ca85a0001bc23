"""In which line of a text a row stands, and which line is not UTF-8.  For errors only: the file is read once more."""

import re
from collections.abc import Callable, Iterator
from typing import IO

_CHUNK = 1 << 22


def line_of_row(stream: IO[bytes], row: int, skipped: Callable[[bytes], bool], delimiter: bytes | None) -> int | None:
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


def unclosed_quote(stream: IO[bytes], skipped: Callable[[bytes], bool], delimiter: bytes | None) -> int | None:
    """The line in which the row begins that has a quote without an end, counted from 1; None: there is none."""
    begin, unclosed = 0, False
    for number, _, begins, inside in _lines(stream, skipped, delimiter):
        begin, unclosed = number if begins else begin, inside
    return begin if unclosed else None


def line_not_utf8(stream: IO[bytes]) -> int | None:
    """The first line that is not UTF-8, counted from 1; None: all are."""
    for number, line in enumerate(split_lines(stream), 1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
    return None


def _lines(stream: IO[bytes], skipped: Callable[[bytes], bool], delimiter: bytes | None
           ) -> Iterator[tuple[int, bytes, bool, bool]]:
    """Number of each line, the line, whether a row begins there, and whether it ends inside a value in quotes."""
    before = rb"(?:^|%s)" % re.escape(delimiter or b",")
    whole, begin = re.compile(before + rb'"(?:[^"]|"")*"'), re.compile(before + b'"')
    inside = False
    for number, line in enumerate(split_lines(stream), 1):
        begins = not inside and not skipped(line)
        rest = line
        if inside:
            _, closing, rest = line.replace(b'""', b"").partition(b'"')
            inside, rest = not closing, b" " + rest
        if not inside and delimiter is not None and b'"' in rest:
            inside = begin.search(whole.sub(b" ", rest)) is not None
        yield number, line, begins, inside


def split_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a text, without what ends them, but for CR."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest
