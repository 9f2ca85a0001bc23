"""Whatever is typed ends well or with one clear error: command lines at random, see `commands`.

``python tests/commands.py NUMBER FOLDER`` shows the command lines of a case that failed here.
"""

import json
import math
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from commands import make_case, write_source
from mpignn.options import load_config
from mpirun import MPIS, missing, mpirun, python, run

LIMIT_S = 120           # for one command: the machine may be busy
MEASURED_IN_0_1 = ("acc", "macro_f1", "micro_f1", "roc_auc", "average_precision", "mrr", "hits@")
FINE, REFUSED, STOPPED = 0, (1, 2, 3, 4), 75        # 1 is a loss that is not finite


def alone(words, folder: Path) -> tuple[int | None, str]:
    """Run a command in one process; its exit code, None where time was out, and all that it wrote."""
    done = run([python(), "-m", "mpignn", *words], LIMIT_S, cwd=folder)
    return None if done.timed_out else done.returncode, done.stdout + done.stderr


def under_mpirun(mpi: str, np_: int):
    """As `alone`, on several ranks; what wants one process is started without mpirun by the caller."""
    def call(words, folder: Path) -> tuple[int | None, str]:
        done = mpirun(["-m", "mpignn", *words], np_, mpi, LIMIT_S, cwd=folder)
        return None if done.timed_out else done.returncode, done.stdout + done.stderr
    return call


def problems_of(number: int, folder: Path, on_ranks=alone) -> list[str]:
    """Run a case; returns what is wrong, each with its command line.

    Args:
        on_ranks: Runs the commands that a job of several ranks can be.
    """
    case, found = make_case(number), []
    write_source(case, folder)
    for words in case.commands:
        before = set(folder.iterdir())
        start = on_ranks if words[0] in ("train", "eval", "infer", "partition", "check") else alone
        code, text = start(words, folder)
        made = set(folder.iterdir()) - before
        wrong = wrong_with(words, code, text, made, folder)
        found += [f"case {number}: mpignn {shlex.join(words)}: exit code {code}: {what}\n{text}" for what in wrong]
        if wrong and words[0] in ("partition", "train"):
            break           # what follows from a fault says nothing new
    return found


def wrong_with(words, code: int | None, text: str, made: set[Path], folder: Path) -> list[str]:
    """What is wrong with how a command ended."""
    told, wrong = text.count("mpignn: error:"), []
    if code is None:
        return ["a hang"]
    if "Traceback" in text:
        return ["a traceback"]
    if code == STOPPED and any(word.startswith("--time-limit") for word in words):
        return []
    if code in REFUSED:
        if told != 1:
            wrong.append(f"{told} lines of errors")
        if made and code != 1:
            wrong.append(f"left {sorted(path.name for path in made)}")
        return wrong
    if code != FINE:
        return ["an exit code that means nothing"]
    if told:
        wrong.append("an error, and an exit code of success")
    checks = {"train": wrong_with_run, "eval": wrong_with_eval, "infer": wrong_with_pred}
    return wrong + checks.get(words[0], lambda _: [])(folder)


def wrong_with_run(folder: Path) -> list[str]:
    """What is wrong with a run folder: its configuration is read again, its reports are sane."""
    load_config(folder / "run" / "config.toml", {})
    lines = [strict_json(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    if not lines or lines[-1]["event"] != "final":
        return ["no event `final` in metrics.jsonl"]
    return [what for line in lines for what in wrong_with_numbers(line)]


def wrong_with_eval(folder: Path) -> list[str]:
    """What is wrong with a file eval.json."""
    return wrong_with_numbers(strict_json((folder / "run" / "eval" / "eval.json").read_text()))


def wrong_with_pred(folder: Path) -> list[str]:
    """What is wrong with predictions: that they are not finite."""
    wrong = []

    def visit(name: str, item) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and not np.isfinite(item[()]).all():
            wrong.append(f"pred.h5: {name} is not finite")
    with h5py.File(folder / "pred.h5") as file:
        file.visititems(visit)
    return wrong


def wrong_with_numbers(line: dict) -> list[str]:
    """What is wrong with the numbers of a report: not finite, or outside the range of the metric that they are."""
    wrong = []
    for key, value in line.items():
        if isinstance(value, float):
            metric = key.partition("_")[2]
            low, high = 0, 1 if metric.startswith(MEASURED_IN_0_1) and key.startswith(("val_", "test_")) else math.inf
            if not math.isfinite(value) or not low <= value <= high and key != "loss":
                wrong.append(f"{key} is {value}")
    return wrong


def strict_json(line: str):
    """JSON as the standard has it: without NaN and Infinity."""
    def refuse(name: str):
        raise AssertionError(f"{name} is no JSON: {line}")
    return json.loads(line, parse_constant=refuse)


def run_cases(numbers, tmp_path: Path, on_ranks=alone) -> None:
    found = []
    for number in numbers:
        (tmp_path / str(number)).mkdir()
        found += problems_of(number, tmp_path / str(number), on_ranks)
    assert not found, "\n".join(found)


def test_a_case_is_the_same_each_time():
    assert make_case(7).commands == make_case(7).commands


def test_some_command_lines(tmp_path):
    run_cases([2, 3, 7, 8], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("block", range(100))
def test_many_command_lines(tmp_path, block):
    run_cases(range(100 + 4 * block, 104 + 4 * block), tmp_path)


@pytest.mark.parametrize("mpi", MPIS)
def test_a_command_line_on_three_ranks(tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    run_cases([1003], tmp_path, under_mpirun(mpi, 3))


@pytest.mark.long
@pytest.mark.parametrize("block", range(16))
@pytest.mark.parametrize("mpi", MPIS)
def test_command_lines_on_three_ranks(tmp_path, mpi, block):
    if missing(mpi):
        pytest.skip(missing(mpi))
    run_cases(range(2000 + 2 * block, 2002 + 2 * block), tmp_path, under_mpirun(mpi, 3))
