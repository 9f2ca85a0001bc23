"""All models, tasks and decoders, and samplers by turns, on graphs of one type and of two, with features and without:
what is not refused before anything is loaded trains.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mpignn.models import MODELS
from mpignn.samplers import SAMPLERS
from mpignn.storage.write import partition_graph
from mpirun import MPIS, missing, mpirun, run

JOB = str(Path(__file__).parent / "lines_job.py")
NODES, EDGES = 40, 120
TASKS = {"node_classification": "labels", "node_multilabel": "rows", "node_regression": "number",
         "edge_classification": "labels", "edge_regression": "number", "link_prediction": None}
DECODERS = ("dot", "distmult", "complex", "transe", "rotate")
_NUMBERS = itertools.count()


def make_graph(folder: Path, name: str, ntypes: tuple[str, ...], features: bool) -> None:
    rng, first, last = np.random.default_rng(0), ntypes[0], ntypes[-1]
    edge = f"{first}:to:{last}"
    arrays = {f"num_nodes/{ntype}": NODES for ntype in ntypes}
    arrays |= {f"node/{ntype}/features": rng.random((NODES, 4), np.float32) for ntype in ntypes if features}
    arrays |= {f"node/{first}/labels": rng.integers(0, 3, NODES), f"node/{first}/rows": rng.integers(0, 2, (NODES, 3)),
               f"node/{first}/number": rng.random(NODES), f"edge/{edge}/data/labels": rng.integers(0, 3, EDGES),
               f"edge/{edge}/data/number": rng.random(EDGES), f"node/{first}/small": np.arange(NODES, dtype="u1") % 3,
               f"node/{first}/bits": rng.integers(0, 2, (NODES, 4)) > 0,
               f"node/{first}/ids": rng.integers(0, 9, (NODES, 4))}
    for etype in {edge, f"{last}:from:{first}"} if len(ntypes) > 1 else {edge}:
        arrays |= {f"edge/{etype}/{end}": rng.integers(0, NODES, EDGES) for end in ("src", "dst")}
    for key, count in ((first, NODES), (edge, EDGES)):
        parts = np.split(rng.permutation(count), [count // 2, count * 3 // 4])
        arrays |= {f"split/{key}/{split}": ids for split, ids in zip(("train", "val", "test"), parts, strict=True)}
    np.savez(folder / f"{name}.npz", **arrays)
    partition_graph(folder / f"{name}.npz", folder / name, 2, "range", keep_dtype=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("combinations")
    for ntypes, features in itertools.product((("a",), ("a", "b")), (True, False)):
        make_graph(out, f"{len(ntypes)}{'' if features else '-bare'}", ntypes, features)
    return out


def outcomes(folder: Path, lines: list[list[str]], np_: int = 1, mpi: str = "mpich") -> list[dict]:
    """What becomes of command lines in one job."""
    (folder / "lines.json").write_text(json.dumps(lines))
    words = [JOB, str(folder / "lines.json"), str(folder / "out.json")]
    done = run([sys.executable, *words], 400) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    return json.loads((folder / "out.json").read_text())


def line(folder: Path, graph: str, *words: str) -> list[str]:
    return ["train", str(folder / graph), "--run-dir", str(folder / f"run-{next(_NUMBERS)}"), "--hidden", "8",
            "--fanouts", "3,3", "--epochs", "1", "--checkpoint-every", "0", "--log", "warning", *words]


def errors(found: dict) -> list[str]:
    return [text for text in found["said"].splitlines() if "WARNING" not in text]


@pytest.mark.long
@pytest.mark.parametrize("embed", ["auto", "off", "all"])
@pytest.mark.parametrize("graph", ["2-bare", "1-bare", "1", "2"])
def test_what_is_not_refused_before_loading_trains(folder, graph, embed):
    lines, samplers = [], itertools.cycle(SAMPLERS)
    for model, (task, labels) in itertools.product(MODELS, TASKS.items()):
        for decoder in DECODERS if labels is None else (None,):
            words = ["--model", model, "--task", task, "--embed", embed]
            words += ["--embed-dim", "8"] if graph.endswith("bare") and embed != "off" else []
            words += ["--decoder", decoder] if decoder else ["--labels", labels]
            words += ["--sampler", next(samplers)] if MODELS[model].sees_neighbors else []
            lines.append(line(folder, graph, *words))
    for words, found in zip(lines, outcomes(folder, lines), strict=True):
        assert found["code"] in (0, 2, 3), (words, found)
        assert len(errors(found)) == (found["code"] != 0), (words, found)
        only_labels_tell = {"none", "node_classification"} <= set(words)
        assert found["began"] == (found["code"] == 0) or only_labels_tell, (words, found)


REFUSED = {
    "mlp takes one of each": ("2", ["--model", "mlp"]), "choose --norm right": ("2", ["--model", "gcn"]),
    "--combine has no effect: the graph has one edge type": ("1", ["--combine", "max"]),
    "8 hidden columns cannot be shared out among 3 heads": ("1", ["--model", "gat", "--heads", "3"]),
    "--hidden 7: decoder rotate takes halves": ("1", ["--task", "link_prediction", "--decoder", "rotate", "--hidden",
                                                      "7"]),
    "model none learns nothing here": ("1", ["--model", "none", "--task", "link_prediction", "--hidden", "4"]),
    "--heads has no effect with --model sage": ("1", ["--heads", "2"]),
    "--embed-dim has no effect": ("1", ["--embed-dim", "8"]),
    "--edge-mask kept: sampler labor draws from all edges": ("1", ["--sampler", "labor", "--edge-mask", "kept"]),
    "cannot be cut into 3 diagonal blocks": ("1", ["--model", "rgcn", "--bases", "3", "--regularizer", "bdd"]),
    "give --hidden 4": ("1", ["--model", "none", "--task", "edge_classification"]),
    "passes on 128 columns of 'a', but node_regression asks for 1": (
        "1-bare", ["--model", "none", "--task", "node_regression", "--labels", "number"]),
}
LATE = {    # what only the labels tell, on all trainers alike
    "passes on 4 columns of 'a', but node_classification asks for 3": ("1-bare", ["--model", "none", "--embed-dim",
                                                                                     "4"]),
}


@pytest.mark.parametrize("mpi", MPIS)
def test_what_is_refused_is_told_once_and_by_all(folder, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    wanted = REFUSED | LATE
    lines = [line(folder, graph, *words) for graph, words in wanted.values()]
    rows_alone = line(folder, "2-bare", "--model", "none", "--task", "link_prediction", "--embed-dim", "8")
    run_dir = rows_alone[rows_alone.index("--run-dir") + 1]
    lines += [rows_alone, ["eval", run_dir], ["infer", run_dir, "--out", str(folder / f"{mpi}.h5")],
              ["infer", run_dir, "--out", str(folder / "no.h5"), "--split", "nosuch"]]
    *refusals, trained, measured, used, unused = outcomes(folder, lines, 3, mpi)
    for why, found in zip(wanted, refusals, strict=True):
        assert found["code"] in (2, 3) and (not found["began"] or why in LATE), (why, found)
    assert trained["code"] == measured["code"] == used["code"] == 0, (trained, measured, used)
    assert unused["code"] == 2 and not unused["began"] and not (folder / "no.h5").exists(), unused


def test_what_is_refused_is_told_in_one_line(folder):
    wanted = REFUSED | LATE
    lines = [line(folder, graph, *words) for graph, words in wanted.values()]
    for why, found in zip(wanted, outcomes(folder, lines), strict=True):
        assert found["code"] in (2, 3) and len(errors(found)) == 1 and why in found["said"], (why, found)
        assert found["began"] == (why in LATE), (why, found)


def test_data_of_all_types_is_learnt_from(folder):
    words = [["--labels", "small"], ["--features", "bits"], ["--features", "ids"], ["--features", "rows"]]
    lines = [line(folder, "1", *some) for some in words]
    assert [found["code"] for found in outcomes(folder, lines)] == [0] * len(lines)
