"""Event files of a run have the numbers of its metrics.jsonl, also where it goes on."""

import importlib.util
import json

import numpy as np
import pytest

from mpignn.errors import ConfigError
from mpignn.train import tensorboard
from mpignn.train.report import RunReport

EPOCH = {"seconds": 2.0, "seeds": 100, "edges": 700, "sample_s": 0.5, "fetch_s": 0.25, "compute_s": 1.0,
         "sync_s": 0.125, "validate_s": 0.5}


def curves(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(point.step, point.value) for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def epochs(report: RunReport, numbers, steps: int = 3) -> None:
    for epoch in numbers:
        for step in range(steps):
            report.step({"epoch": epoch, "step": step, "loss": 1 / (1 + epoch * steps + step), "seconds": 0.1})
        report.epoch({"epoch": epoch, "loss": 0.5 / (1 + epoch), "val_acc": epoch / 10, **EPOCH})


def same(points, expected) -> None:
    assert [step for step, _ in points] == [step for step, _ in expected]
    np.testing.assert_array_equal([value for _, value in points], np.float32([value for _, value in expected]))


def test_curves_are_the_metrics_and_go_on_with_the_run(tmp_path):
    report = RunReport(tmp_path, ["acc"], progress="none", tensorboard=True)
    report.begin(anew=False)
    report.plan(4, 3, 0)
    epochs(report, [0, 1])
    kept = report.settle()
    epochs(report, [2])         # is lost: the job ends before the next checkpoint
    report.close()
    report = RunReport(tmp_path, ["acc"], progress="none", tensorboard=True)
    report.go_on(kept)
    report.plan(4, 3, 6)
    epochs(report, [2, 3])
    report.stop({"finished": True, "val_acc": 0.3, "test_acc": 0.25, "epochs": 4, "seconds": 9.0})
    report.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    passes = [line for line in lines if line["event"] == "epoch"]
    found = curves(tmp_path)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    same(found["step/loss"], [(number, line["loss"]) for number, line in enumerate(steps, 1)])
    ends = [3, 6, 9, 12]
    for tag, name in (("epoch/loss", "loss"), ("val/acc", "val_acc"), ("time/sample_s", "sample_s"),
                      ("time/seconds", "seconds")):
        same(found[tag], [(end, line[name]) for end, line in zip(ends, passes, strict=True)])
    same(found["rate/seeds_per_s"], [(end, line["seeds"] / line["seconds"])
                                     for end, line in zip(ends, passes, strict=True)])
    same(found["test/acc"], [(12, 0.25)])


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(ConfigError, match=r"pip install 'mpignn\[tensorboard\]'"):
        tensorboard.check_installed()
