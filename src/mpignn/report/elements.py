"""Pieces of a page: tables whose cells carry their exact value, and sections."""

from collections.abc import Iterable, Sequence
from html import escape


def value(exact: float | str | None, shown: str) -> str:
    """A number as it is shown, with the exact one for programs."""
    return f'<data value="{"" if exact is None else escape(str(exact))}">{escape(shown)}</data>'


def table(name: str, head: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1, narrow: bool = False) -> str:
    """A table.

    Args:
        name: What it is called, for programs.
        head: What columns hold.
        rows: Cells, HTML already.
        texts: How many of the first columns are texts, set to the left; the others are numbers.
        narrow: Whether it is no wider than its texts.
    """
    def kind(place: int) -> str:
        return "" if place < texts else ' class="n"'

    first = "".join(f"<th{kind(place)}>{escape(text)}</th>" for place, text in enumerate(head))
    body = "".join("<tr>" + "".join(f"<td{kind(place)}>{cell}</td>" for place, cell in enumerate(row)) + "</tr>"
                   for row in rows)
    width = ' class="narrow"' if narrow else ""
    return (f'<div class="scroll"><table{width} data-name="{escape(name)}"><thead><tr>{first}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def section(title: str, *parts: str) -> str:
    """A part of the page under a title; nothing where there is nothing in it."""
    body = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of text, as `marked` takes it."""
    return f'<p class="{style}">{marked(text)}</p>' if style else f"<p>{marked(text)}</p>"


def marked(text: str) -> str:
    """Plain text as HTML; what stands between backticks is code."""
    return "".join(f"<code>{escape(piece)}</code>" if place % 2 else escape(piece)
                   for place, piece in enumerate(text.split("`")))


def setting(found: object) -> str:
    """The value of a setting, as a flag takes it."""
    if isinstance(found, list):
        return ",".join(map(str, found))
    if isinstance(found, float):
        return f"{found:g}"
    return str(found).lower() if isinstance(found, bool) else str(found)
