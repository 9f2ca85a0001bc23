"""The checks of `make lint` see every file; what they cannot see of the words."""

import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FOLDERS = ("src", "tests", "jobs", "data", "docs")


def test_style_is_checked_in_all_folders():
    """Left to itself, ruff leaves out folders named dist or build."""
    if not (BIN / "ruff").exists():
        pytest.skip("ruff is not installed")
    shown = subprocess.run([BIN / "ruff", "check", "--show-files", *FOLDERS], cwd=ROOT, text=True,
                           capture_output=True, check=True).stdout.split()
    tree = [path for top in FOLDERS for path in (ROOT / top).rglob("*.py")]
    assert {Path(name) for name in shown} >= set(tree)


def test_types_are_checked_strictly_in_all_modules():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["files"] == ["src/mpignn"] and settings["strict"]
    assert not {"exclude", "disable_error_code"} & set(settings)
    for of_some in settings["overrides"]:
        own = [name for name in of_some["module"] if name.startswith("mpignn") or name == "*"]
        assert not own or of_some.keys() == {"module", "disallow_subclassing_any"}      # numba's classes have no types
    in_files = [path.name for path in (ROOT / "src").rglob("*.py") if "# mypy:" in path.read_text()]
    assert in_files == []


def test_few_lines_are_left_out_each_for_a_reason():
    left_out = [line for path in (ROOT / "src").rglob("*.py") for line in path.read_text().splitlines()
                if "type: ignore" in line]
    assert len(left_out) < 25
    assert [line for line in left_out if not re.search(r"# type: ignore\[[a-z-]+\]  # \w", line)] == []


def test_no_sentence_of_a_docstring_begins_with_of():
    """Readers want the subject first."""
    found = [f"{path.relative_to(ROOT)}:{number}" for path in sorted((ROOT / "src").rglob("*.py"))
             for number, line in enumerate(path.read_text().splitlines(), 1)
             if re.search(r'(""" *|^ +|\. +|\w: )Of [a-z`]', line)]
    assert found == []


def test_words_that_are_identifiers_have_one_spelling():
    """One search finds an identifier and what is written about it."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(path for top in FOLDERS
             for kind in ("py", "md", "sh", "toml") for path in sorted((ROOT / top).rglob(f"*.{kind}")))]
    found = [f"{path.relative_to(ROOT)}:{number}" for path in files
             for number, line in enumerate(path.read_text().splitlines(), 1)
             if re.search("optimi" "s(e|ation)|neighbo" "ur", line, re.IGNORECASE)]
    assert len(files) > 300 and found == []


def test_type_checkers_of_other_programs_see_the_types():
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    assert "py.typed" in settings["options.package_data"]["mpignn"].split()
    assert (ROOT / "src" / "mpignn" / "py.typed").is_file()
