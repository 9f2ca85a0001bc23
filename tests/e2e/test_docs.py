"""Every sample of the documentation runs, and every name that it promises is there.

In ``README.md`` and ``docs``: fenced blocks of Python are files where their first line is a comment with the name of
one, and programs if they start a job themselves; else they are what ``main(g, world)`` does, one block of a page after
the other.  Indented lines are commands.
"""

import re
import shlex
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from mpirun import ROOT, mpirun, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
STARTS = ("mg.run(", "mg.initialize(")
# What cannot or need not run here, and where it does run: set-up and all tests by the continuous integration, the
# default job by test_default_job.py, batch jobs by tests/cluster, downloads by tests/network, programs of a page above.
ELSEWHERE = re.compile(r"make |pip install |sbatch |python -m mpignn data |mpirun -np N python -m mpignn$|"
                       r"mpirun -np 3 python train.py$")
SMALL = ("--hidden", "8", "--epochs", "1", "--fanouts", "3,3", "--global-batch-size", "500")


def told(value: object) -> str:
    """A parameter of a test, as its name shows it."""
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


def programs(page: Path) -> list[str]:
    """Fenced blocks of Python that are whole programs, and not files that a command runs."""
    return [block for block in _fenced(page) if any(start in block for start in STARTS)
            and block not in files(page).values()]


def files(page: Path) -> dict[str, str]:
    """Fenced blocks of Python that are files, by name."""
    return {found[1]: block for block in _fenced(page) if (found := re.match(r"# (\w+\.py)\n", block))}


def snippets(page: Path) -> list[str]:
    """The other ones."""
    return [block for block in _fenced(page) if block not in (*programs(page), *files(page).values())]


def commands(page: Path) -> list[str]:
    """Indented lines outside of fences, without their comments."""
    found = []
    for paragraph in re.split(r"\n\s*\n", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
        if paragraph.lstrip("\n").startswith("    "):
            lines = [line.split("  #")[0].split("# ")[0].strip() for line in paragraph.splitlines()]
            found += [line.rstrip(";") for line in lines if line]
    return found


def _fenced(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture
def folder(graphs, source, tmp_path) -> Path:
    """A folder with what the samples name: a partitioned graph, and its source."""
    (tmp_path / "graph").symlink_to(graphs["metis4"])
    (tmp_path / "SRC").symlink_to(source)
    for name in "jobs", "docs":
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=told)
def test_snippets_run_on_trainers(page, folder):
    body = textwrap.indent("\n".join(snippets(page)), "    ")
    (folder / "page.py").write_text("import numpy as np\nimport torch\n\nimport mpignn as mg\n\n\ndef main(g, world):\n"
                                    f"{body}\n\nmg.run(main, graph='graph')\n")
    done = mpirun(["page.py"], 3, cwd=folder)
    assert done.returncode == 0, done


@pytest.mark.parametrize("page, number", [(page, number) for page in PAGES for number in range(len(programs(page)))],
                         ids=told)
def test_programs_run(page, number, folder):
    (folder / "train.py").write_text(programs(page)[number])
    done = mpirun(["train.py"], 3, cwd=folder)
    assert done.returncode == 0, done


def runnable(page: Path) -> list[str]:
    return [line for line in commands(page) if not ELSEWHERE.match(line)]


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=told)
def test_commands_run(page, folder):
    for name, text in files(page).items():
        (folder / name).write_text(text)
    for number, line in enumerate(runnable(page)):
        as_typed = page.name == "README.md" and line.startswith("python ")      # ranks: as in test_default_job.py
        done = run(_here(line, number), cwd=folder, fresh=as_typed)
        assert done.returncode == 0, f"{line}\n{done}"


def _here(line: str, number: int) -> list[str]:
    """A documented command as it runs here: this Python, three ranks, small settings, folders that are there.

    The bundled graph is that of test_default_job.py.
    """
    words = shlex.split(line)
    if words[0] == "mpirun":
        at = words.index("python")
        job = words[at + 1:]
        extra = SMALL if "train" in job else ()
        return [str(Path(sys.executable).with_name("mpirun")), "-np", "3", sys.executable,
                *("graph" if word in ("GRAPH", "wordnet") else word for word in job), *extra]
    assert words[0] == "python", f"neither run nor known to run elsewhere: {line}"
    words = [sys.executable, *("graph" if word == "GRAPH" else word for word in words[1:])]
    if "partition" in words:        # what it would write is there already
        words = [f"new-{number}" if word == "graph" else word for word in words]
    return words if "synth" not in words else [*words, "--nodes", "2000", "--avg-degree", "5"]


def test_the_page_on_tests_names_each_file_and_no_other():
    rows = [line for line in (ROOT / "docs/develop/tests.md").read_text().splitlines() if line.startswith("|")]
    patterns = re.findall(r"`(\w+/[\w*.]+)`", "".join(rows))
    named = {pattern: set((ROOT / "tests").glob(pattern)) for pattern in patterns}
    assert all(named.values()), [pattern for pattern, files in named.items() if not files]
    there = set((ROOT / "tests").glob("*/test_*.py"))
    assert there <= set().union(*named.values()), there - set().union(*named.values())


def test_all_folders_of_tests_are_run():
    """The settings name them, for their order."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    there = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/test_*.py")}
    assert there == set(settings["testpaths"])


def test_the_page_on_the_source_tree_names_what_is_there_and_all_packages():
    source, text = ROOT / "src" / "mpignn", (ROOT / "docs/develop/source-tree.md").read_text()
    paths = re.findall(r"`([a-z_]+(?:/[a-z_]*)*(?:\.py)?)`", text)
    named = {path for path in paths if "/" in path or path.endswith(".py")}
    packages = {f"{path.parent.name}/" for path in source.glob("*/__init__.py")}
    assert packages <= named
    missing = {name for name in named if not (source / name).exists() and not (ROOT / name).exists()}
    assert missing <= {"tasks/"}, missing       # a folder in train/


def test_names_that_pages_mention_exist():
    """In a process of its own, since some bring in MPI."""
    text = "".join(page.read_text() for page in PAGES)
    names = {dotted.rstrip(".") for dotted in re.findall(r"\bmg\.([A-Za-z_][\w.]*)", text)}
    lines = "".join(f"mg.{name}\n" for name in sorted(names))
    done = run([sys.executable, "-c", f"import mpignn as mg\n{lines}"])
    assert names and done.returncode == 0, str(done)


@pytest.mark.parametrize("page", PAGES, ids=told)
def test_files_that_pages_mention_exist(page):
    for name in set(re.findall(r"`((?:docs|tests|jobs|data)/[\w./-]+\.\w+)`", page.read_text())):
        assert (ROOT / name).exists(), name
