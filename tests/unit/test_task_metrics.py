"""Which metrics fit which task, told once: settings, commands and tasks refuse the others before anything is loaded."""

from types import SimpleNamespace

import pytest

from mpignn import cli
from mpignn.comm.group import LocalGroup
from mpignn.config import TaskConfig
from mpignn.errors import ConfigError
from mpignn.options import load_config
from mpignn.tasks import HITS, METRICS, TASKS, check_metrics
from mpignn.train.api import _TASKS
from mpignn.train.metrics import _KINDS, make_metric
from mpignn.train.tasks.link import LinkPrediction


def test_every_task_and_every_metric_is_in_the_record():
    assert set(TASKS) == set(_TASKS) == set(TaskConfig.__dataclass_fields__["task"].metadata["choices"])
    assert set(METRICS) == {*_KINDS, HITS}
    for task, judged in TASKS.items():
        check_metrics(task, judged.usual)
        assert [make_metric(name).name for name in judged.usual] == list(judged.usual)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("metric", ["acc", "macro_f1", "micro_f1", "roc_auc", "average_precision", "rmse", "mse", "mae",
                                    "mrr", "hits@7"])
def test_metrics_that_do_not_fit_are_refused_and_those_that_do_named(task, metric):
    fits = {"c": "acc macro_f1 micro_f1 roc_auc average_precision", "r": "rmse mse mae", "l": "mrr hits@7"}[
        "l" if task == "link_prediction" else "r" if task.endswith("regression") else "c"].split()
    if metric in fits:
        check_metrics(task, [metric])
        return
    with pytest.raises(ConfigError, match=f"{metric}' does not fit {task}; those that fit {task} are: {fits[0]}, "):
        check_metrics(task, [fits[0], metric])


@pytest.mark.parametrize(("names", "part"), [
    ("accuracy", "'accuracy' is not one of: acc"), ("hits@0", "'hits@0' is not one of"), ("hits@x", "is not one of"),
    ("hits@k", "with k from 1 on"), ("hits@01", "is not one of"), ("hits@\u0663", "is not one of"),
    ("", "--metrics is empty"), ("acc,acc", "named twice"), ("acc,rmse", "does not fit"),
])
@pytest.mark.parametrize("command", [["train", "no-graph"], ["slurm", "no-graph"], ["info", "no-graph", "--plan"]])
def test_commands_refuse_them_before_they_look_for_the_graph(command, names, part, capsys):
    assert cli.main([*command, "--metrics", names]) == 2
    told = capsys.readouterr().err
    assert part in told and told.count("\n") == 1, told


def test_no_metric_at_all(tmp_path):
    (tmp_path / "job.toml").write_text("[task]\nmetrics = []\n")
    with pytest.raises(ConfigError, match="metrics: the list is empty: leave it out for the default"):
        load_config(tmp_path / "job.toml", {})


def test_a_task_of_a_program_is_judged_by_its_own_kind_whatever_the_settings_name():
    g = SimpleNamespace(schema=SimpleNamespace(etypes=()), trainers=LocalGroup())
    goal = SimpleNamespace()
    with pytest.raises(ConfigError, match="does not fit link_prediction"):
        LinkPrediction(g, load_config(None, {"metrics": ["acc"]}), goal)
