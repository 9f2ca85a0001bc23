"""Each rule of a report speaks above its threshold and not below, and the options that it names are there."""

import re

import pytest

from mpignn import cli
from mpignn.partition.methods import METHODS
from mpignn.report.advice import RULES, advise
from mpignn.report.figures import figures_of
from mpignn.report.read import Run
from pages import FINAL, classes, epoch, job, step, trainers


def run(told=None, epochs=1, values=None, settings=None, events=(), jobs=None, moved=(), **more):
    """A run of two trainers and some epochs; whatever is not said is as it should be."""
    told = trainers(8.0, 8.0) if told is None else told
    values = [0.5] * epochs if values is None else values
    found = [epoch(number, 1.0, value, trainers=told, moved=list(moved), **{"validate_s": 0.1, **more})
             for number, value in enumerate(values)]
    found += [step(0, 0, 1.0), *events, FINAL]
    by_kind = {}
    for event in found:
        by_kind.setdefault(event["event"], []).append(event)
    return figures_of(Run("run", settings or {}, [job()] if jobs is None else jobs, by_kind), "run")


def rows(**of):
    return [{"kind": "feature", "hop": None, "target": target, "calls": 1, "rows": number, "bytes": number}
            for target, number in of.items()]


TWO = [job(nodes=2)]
CONFUSED = [classes(None, [[2, 0, 1], [1, 0, 0], [0, 0, 0]])]
# Rule, runs where it speaks, runs where it does not.
CASES = {
    "diverged": ([run(events=[{"event": "diverged", "epoch": 0, "steps": 1, "problem": "x"}])], [run()]),
    "waiting": ([run(trainers(8.0, 8.0, wait_s=[4.0, 4.0]), jobs=[job(replicate=kept)])
                 for kept in ("none", "halo", "topology", "all")], [run(trainers(8.0, 8.0, wait_s=[2.0, 2.0]))]),
    "cut": ([run(moved=rows(node=6, remote=5), jobs=TWO)], [run(moved=rows(node=8, remote=5), jobs=TWO),
                                                           run(moved=rows(node=6, remote=5))]),
    "sampling": ([run(trainers(8.0, 8.0, sample_s=[4.0, 4.0]))], [run(trainers(8.0, 8.0, sample_s=[3.0, 3.0]))]),
    "gradients": ([run(trainers(8.0, 8.0, sync_s=[3.0, 4.0]))], [run(trainers(8.0, 8.0, sync_s=[1.0, 6.0]))]),
    "imbalance": ([run(trainers(8.0, 4.0)), run(trainers(8.0, 4.0, edges=[900, 100]))],
                  [run(trainers(8.0, 7.5)), run(trainers(8.0))]),
    "validation": ([run(validate_s=2.0)], [run(validate_s=1.0), run(validate_s=None)]),
    "threads": ([run(jobs=[job(threads=[1, 9, 8])])], [run(jobs=[job(threads=[9, 8, 8])])]),
    "idle": ([run()], [run(jobs=[job(threads=[1, 4, 4])])]),
    "longer": ([run(values=[0.1, 0.2])], [run(values=[0.2, 0.1]), run(values=[0.1])]),
    "shorter": ([run(values=[0.1, 0.3, *[0.2] * 5]), run(values=[2.0, 1.0, *[3.0] * 5], settings={"metrics": ["acc"]})],
                [run(values=[0.1, 0.2, 0.3, 0.4, 0.2, 0.2]), run(values=[0.3, 0.2, 0.2])]),
    "classes": ([run(events=CONFUSED)], [run(), run(events=[classes(None, [[1, 1], [0, 0]])])]),
    "memory": ([run(trainers(8.0, 8.0, memory_bytes=[400 << 20] * 2))], [run(), run(jobs=[])]),
}


def test_each_rule_has_cases():
    assert CASES.keys() == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("name", CASES)
def test_a_rule_speaks_where_its_figure_says_so(name):
    speaks, silent = CASES[name]
    for figures in speaks:
        (said,) = [advice for advice in advise(figures) if advice["rule"] == name]
        assert said["figure"] > said["above"] and said["text"]
    for figures in silent:
        assert name not in [advice["rule"] for advice in advise(figures)]


def test_a_run_that_recorded_nothing_gets_no_advice():
    assert advise(figures_of(Run("run"), "run")) == []


def test_the_options_that_are_named_are_there():
    parser = cli._parser()
    words = {flag for command in ("train", "partition") for action in cli._subparser(parser, command)._actions
             for flag in action.option_strings}
    texts = [advice["text"] for speaks, _ in CASES.values() for figures in speaks for advice in advise(figures)]
    named = [code for text in texts for code in re.findall(r"`([^`]+)`", text)]
    assert named
    for code in named:
        flags = re.findall(r"--[a-z-]+", code)
        assert flags and set(flags) <= words, code
        for method in re.findall(r"--method (\w+)", code):
            assert method in METHODS
