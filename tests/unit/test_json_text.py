"""What is written as JSON is JSON."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import mpignn
from mpignn.errors import ConfigError
from mpignn.json_text import to_json
from mpignn.train.packing import plain
from mpignn.train.report import RunReport, report_evaluation


def strict(text):
    """A value by the standard, which knows no other constants than true, false and null."""
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")
    return json.loads(text, parse_constant=refuse)


def test_numbers_that_are_not_finite_are_null():
    found = {"a": float("nan"), "b": [1.5, float("inf"), ("x", -np.inf)], "c": None, "d": True, "e": np.float64("nan")}
    assert strict(to_json(found)) == {"a": None, "b": [1.5, None, ["x", None]], "c": None, "d": True, "e": None}
    assert strict(to_json(found, 1)) == strict(to_json(found))
    assert to_json({"a": 1.5, "b": [2]}) == '{"a": 1.5, "b": [2]}'


def test_files_of_a_run_are_json_whatever_they_are_told(tmp_path, capsys):
    report = RunReport(tmp_path, ["acc"])
    report.begin(anew=False)
    report.step({"epoch": 0, "step": 0, "loss": float("nan"), "seconds": float("inf")})
    report.close()
    assert strict((tmp_path / "metrics.jsonl").read_text()) == {
        "event": "step", "epoch": 0, "step": 0, "loss": None, "seconds": None}
    report_evaluation(tmp_path, {"test_acc": float("nan"), "val_acc": 0.5})
    assert strict((tmp_path / "eval.json").read_text()) == {"test_acc": None, "val_acc": 0.5}


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_checkpoint_remembers_no_number_that_it_could_not_give_back(value):
    with pytest.raises(ConfigError, match=r"about.best.1 is .*, for which JSON has no word"):
        plain({"best": [1.0, value]}, "about")


def test_python_s_own_words_are_written_nowhere():
    for path in Path(mpignn.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dumps", "json.dump"):
                assert "allow_nan=False" in ast.unparse(node), f"{path}:{node.lineno}: {ast.unparse(node)}"
