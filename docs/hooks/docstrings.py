"""Docstrings in Google's style as Markdown."""

import re
from collections.abc import Iterator

_SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes|Example|Examples|Note)( \(.*\))?:$")
_CODE = re.compile(r"(``.+?``|`[^`]+`)", re.DOTALL)


def markdown(docstring: str) -> str:
    """The Markdown of a docstring whose indentation is cleaned, as by ``inspect.getdoc``."""
    return "\n".join(_blocks(docstring.splitlines())).strip() + "\n"


def summary(docstring: str) -> str:
    """The first sentence, in a line, as Markdown."""
    first = docstring.split("\n\n")[0].replace("\n", " ")
    return inline(re.split(r"(?<=[.])\s", first)[0])


def inline(text: str) -> str:
    """Words of a docstring or help as Markdown: names in one pair of backticks, the rest not to be taken for markup."""
    parts = _CODE.split(text)
    return "".join("`" + part.strip("`") + "`" if number % 2 else re.sub(r"([*\[\]<_|~])", r"\\\1", part)
                   for number, part in enumerate(parts))


def _blocks(lines: list[str]) -> Iterator[str]:
    section: list[str] = []
    title = None
    for line in [*lines, "END:"]:
        found = _SECTION.match(line)
        inside = title is not None and (not line or line.startswith(" "))
        if inside:
            section.append(line)
            continue
        if title is not None:
            yield from _section(title, section)
            title, section = None, []
        if found:
            title = line[:-1]
        elif line != "END:":
            section.append(line)
            if not line:
                yield from _paragraph(section)
                section = []
            continue
        yield from _paragraph(section)
        section = []


def _paragraph(lines: list[str]) -> Iterator[str]:
    """Text, which is a sample where it is indented."""
    text = "\n".join(lines).strip("\n")
    if text:
        yield f"```python\n{_dedented(lines)}\n```\n" if text.startswith("  ") else inline(text) + "\n"


def _dedented(lines: list[str]) -> str:
    depth = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[depth:] for line in lines).strip("\n")


def _section(title: str, lines: list[str]) -> Iterator[str]:
    """A list of what is named, or a text."""
    yield f"**{title}**\n"
    text = _dedented(lines)
    entries = re.split(r"\n(?=\S)", text)
    named = [re.match(r"(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): +(.*)", entry, re.DOTALL) for entry in entries]
    if title.split()[0] in ("Args", "Raises", "Attributes") and all(named):
        for entry in filter(None, named):
            yield f"- `{entry[1]}`: {inline(' '.join(entry[2].split()))}"
        yield ""
    else:
        yield inline(text) + "\n"
