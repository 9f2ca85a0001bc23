"""What every model learns of a graph with several types does not depend on the ranks, nor on being stopped."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphs import random_hetero_graph
from mpignn.models import COMBINED_BY, JUMPS, MODELS, takes, takes_types
from mpignn.storage.write import partition_graph
from mpirun import mpirun, run

LINES_JOB = str(Path(__file__).parent / "lines_job.py")
OPTIONS = {"combine": COMBINED_BY, "residual": (False, True), "dropout": (0.5, 0.0), "attention_dropout": (0.0, 0.4),
           "input_dropout": (0.0, 0.3), "layer_norm": (True, False), "jk": JUMPS, "out_layers": (0, 2),
           "edge_feats": (False, "attr"), "edge_weight": (False, "weight")}
ALWAYS = {"gcn": ["--norm", "right"], "gine": ["--edge-feats", "attr"]}


def cases():
    """Two for each model, with each value of each option that it takes by turns."""
    for place, (name, model) in enumerate(MODELS.items()):
        if not model.learns or not takes_types(model):
            continue
        taken = {option: values for option, values in OPTIONS.items() if takes(model, option)}
        for turn in (2 * place, 2 * place + 1):
            values = {option: values[turn % len(values)] for option, values in taken.items()}
            words = [f"--{option.replace('_', '-')}" + ("" if value is True else f"={value}")
                     for option, value in values.items() if value is not False]
            always = [word for word in ALWAYS.get(name, []) if f"{ALWAYS[name][0]}={ALWAYS[name][1]}" not in words]
            yield ["--model", name, *words, *always]


CASES = list(cases())


def outcomes(folder: Path, graph: str, runs: str, np_: int, mpi: str = "mpich", *more: str,
             cases=CASES) -> list[np.ndarray]:
    """Losses and metrics of cases, learnt in one job."""
    lines = [["train", str(folder / graph), "--run-dir", str(folder / f"{runs}-{number}"), *words, "--precision",
              "fp64", "--hidden", "8", "--embed-dim", "4", "--fanouts", "3,4", "--global-batch-size", "40", "--lr",
              "0.05", "--epochs", "2", "--log", "warning", *more] for number, words in enumerate(cases)]
    (folder / "lines.json").write_text(json.dumps(lines))
    words = [LINES_JOB, str(folder / "lines.json"), str(folder / "out.json")]
    done = run([sys.executable, *words], 400) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    for words, found in zip(lines, json.loads((folder / "out.json").read_text()), strict=True):
        assert found["code"] == 0, (words, found)
    return [learnt(folder / f"{runs}-{number}") for number in range(len(cases))]


def learnt(run_dir: Path) -> np.ndarray:
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    return np.array([*losses, events[-1]["val_acc"], events[-1]["test_acc"]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Papers with features, authors and venues without; in one partition and in three."""
    out, graph = tmp_path_factory.mktemp("models"), random_hetero_graph(0, 120, 500)
    data = {ntype: {name: rows for name, rows in named.items() if name != "features" or ntype == "paper"}
            for ntype, named in graph.node_data.items()}
    draw = np.random.default_rng(1)
    attr = {e: dict(named) | {"attr": draw.standard_normal((graph.csc[e].num_edges, 3))}
            for e, named in list(graph.edge_data.items())[:-1]}
    splits = map(np.sort, np.split(np.random.default_rng(0).permutation(120), [80, 100]))
    named = dict(zip(("train", "val", "test"), splits, strict=True))
    graph = replace(graph, node_data=data, edge_data=attr, splits={"paper": named})
    for parts in (1, 3):
        partition_graph(graph, out / f"typed-{parts}", parts, method="random")
    return out


@pytest.fixture(scope="module")
def alone(folder):
    return outcomes(folder, "typed-1", "alone", 1)


def test_every_case_learns_something_else(alone):
    assert len({tuple(losses[:3]) for losses in alone}) == len(CASES)
    assert all(np.isfinite(losses).all() for losses in alone)


def agree(found, expected, cases=CASES):
    for words, got, wanted in zip(cases, found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, err_msg=" ".join(words))


def test_losses_do_not_depend_on_the_ranks(folder, alone):
    agree(outcomes(folder, "typed-3", "three", 3, "openmpi"), alone)


def test_what_is_stopped_goes_on_to_the_same(folder, alone):
    """One case of each model: the first of one, the second of the next, and so on."""
    chosen = [2 * model + model % 2 for model in range(len(CASES) // 2)]
    cases = [CASES[number] for number in chosen]
    outcomes(folder, "typed-3", "stopped", 3, "mpich", "--epochs", "1", cases=cases)
    found = outcomes(folder, "typed-1", "stopped", 1, "mpich", "--resume", "auto", cases=cases)
    agree(found, [alone[number] for number in chosen], cases)
