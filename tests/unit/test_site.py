"""The documentation as a site, without the program that builds it: pages, links, and the reference that is made."""

import ast
import dataclasses
import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest

import mpignn
from mpignn import cli, errors
from mpignn.config import sections
from mpirun import ROOT, environment

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "hooks"))
from docstrings import inline, markdown, summary  # noqa: E402
from reference import GROUPS  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, str]:
    """The pages that are made, by path; in a process of its own, since some names bring in MPI."""
    out = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, DOCS / "hooks" / "reference.py", out], check=True, timeout=120, env=environment())
    return {str(page.relative_to(out)): page.read_text() for page in out.rglob("*.md")}


@pytest.fixture(scope="module")
def pages(made) -> dict[str, str]:
    """All pages of the site."""
    return {str(page.relative_to(DOCS)): page.read_text() for page in DOCS.rglob("*.md")} | made


def anchors(text: str) -> set[str]:
    """What links into a page may name."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.M), re.M):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        found.append(slug if slug not in found else f"{slug}_{found.count(slug)}")
    return set(found)


def links(text: str) -> list[tuple[str, str]]:
    """Where a page leads to: paths and anchors, without addresses of other sites."""
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.DOTALL | re.M)
    return [(path, anchor) for path, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", prose)
            if not re.match(r"\w+:", path)]


def test_the_navigation_names_each_page_and_no_other(pages):
    named = re.findall(r"^ +- (?:.*: )?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == sorted(pages), "name new pages in nav of mkdocs.yml"


def test_links_of_pages_lead_somewhere_in_the_site(pages):
    wrong = []
    for name, text in pages.items():
        for path, anchor in links(text):
            target = ((DOCS / name).parent / path).resolve() if path else DOCS / name
            inside = str(target.relative_to(DOCS)) if target.is_relative_to(DOCS) else None
            there = inside is not None and (inside in pages or target.is_file())
            if not there or anchor and anchor not in anchors(pages.get(inside, "")):
                wrong.append(f"{name}: {path}#{anchor}")
    assert wrong == []


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"])
def test_links_of_files_beside_the_site_lead_to_files(name):
    for path, anchor in links((ROOT / name).read_text()):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors((ROOT / path).read_text()), f"{path}#{anchor}"


def test_the_reference_has_each_public_name_once_and_says_what_it_is(made):
    listed = Counter(re.findall(r"^\| \[`(\w+)`\]", made["reference/api.md"], re.M))
    assert listed == Counter(mpignn.__all__) == Counter(" ".join(GROUPS.values()).split())
    told = re.findall(r"^\| \[`\w+`\]\((\S+)\) \| (.*) \|$", made["reference/api.md"], re.M)
    assert len(told) == len(mpignn.__all__) and all(re.search(r"\w", text) for _, text in told)


def test_the_reference_has_the_exit_code_of_each_error(made):
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and kind.__module__ == errors.__name__ and name != "LeftBehind":
            (text,) = re.findall(rf"^## `{name}`$(.*?)(?=^## |\Z)", made["reference/api-errors.md"], re.DOTALL | re.M)
            assert f"**Exit code**: {kind.exit_code}." in text, name


def test_the_reference_has_each_command_and_setting(made):
    assert re.findall(r"^## `mpignn (\w+)`", made["reference/commands.md"], re.M) == list(cli._COMMANDS)
    flags = Counter(re.findall(r"^\| \**`--([\w-]+)", made["reference/settings.md"], re.M))
    assert flags == Counter(option.name.replace("_", "-") for _, kind in sections()
                            for option in dataclasses.fields(kind) if option.name != "graph")


def said() -> str:
    """What the program can say: all texts of its modules, ``...`` in the place of values."""
    texts = []
    for path in (ROOT / "src" / "mpignn").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                texts.append("".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_errors_of_the_page_on_troubleshooting_are_those_of_the_program():
    tables = re.findall(r"^\| the error says .*?\n\n", (DOCS / "troubleshooting.md").read_text(), re.DOTALL | re.M)
    fragments = [found for table in tables for found in re.findall(r"^\| `([^`]+)`", table, re.M)]
    text = said()
    assert len(fragments) > 15 and [found for found in fragments if found not in text] == []


def test_docstrings_become_markdown():
    text = ("Do ``a`` of `b` * c.  More.\n\n    x = 1\n      y\n\nArgs:\n    a: First\n        of it.\n"
            "    *rest: Others.\n\nReturns:\n    What: it.\n    And more.\n\nNot collective.")
    assert markdown(text) == ("Do `a` of `b` \\* c.  More.\n\n```python\nx = 1\n  y\n```\n\n**Args**\n\n"
                              "- `a`: First of it.\n- `*rest`: Others.\n\n**Returns**\n\nWhat: it.\nAnd more.\n\n"
                              "Not collective.\n")
    assert summary("All edges of `a`: of\none.  More.") == "All edges of `a`: of one."
    assert inline("<b>_x_ `<c>`") == "\\<b>\\_x\\_ `<c>`"
