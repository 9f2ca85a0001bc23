"""A job takes the memory that its plan says: formulas against processes, for every model and kind of task.

Shapes: N nodes in all.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import read_graph
from mpignn.models import MODELS, takes_types
from mpignn.options import load_config
from mpignn.roles import BOTH, Topology
from mpignn.samplers import SAMPLERS
from mpignn.storage.write import partition_graph
from mpignn.train.trained_model import read_trained
from mpirun import ROOT, python, run

N, SEEDS = 30_000, 1500
ALONE = Topology((0,), (BOTH,))
LEAST, MOST = 0.5, 1.15     # of the plan


def typed_source(relations: int) -> dict[str, np.ndarray]:
    """A graph of 12 edges a node; of two node types if it has several relations."""
    rng, ntypes = np.random.default_rng(0), ("a",) if relations == 1 else ("a", "b")
    size, arrays = N // len(ntypes), {}
    for ntype in ntypes:
        arrays[f"num_nodes/{ntype}"] = np.array(size)
        arrays[f"node/{ntype}/features"] = rng.standard_normal((size, 64), dtype=np.float32)
        arrays[f"node/{ntype}/labels"] = rng.integers(0, 40, size)
    for number in range(relations):
        key = f"{ntypes[number % len(ntypes)]}:r{number}:{ntypes[number // 2 % len(ntypes)]}"
        for end in ("src", "dst"):
            arrays[f"edge/{key}/{end}"] = rng.integers(0, size, 12 * N // relations)
        arrays[f"edge/{key}/data/kind"] = rng.integers(0, 3, 12 * N // relations)
    for key in ("a", next(key for key in arrays if key.endswith("src")).split("/")[1]):
        arrays |= {f"split/{key}/train": np.arange(SEEDS), f"split/{key}/val": np.arange(SEEDS, SEEDS + 500)}
    return arrays


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, Path]:
    """Graphs, by the number of their relations."""
    folder, found = tmp_path_factory.mktemp("memory"), {}
    for name, relations in (("one", 1), ("many", 12)):
        np.savez(folder / f"{name}.npz", **typed_source(relations))
        partition_graph(folder / f"{name}.npz", folder / name, 1, method="range")
        found[name] = folder / name
    return found


# What getrusage tells begins with what the process held that started it, which is pytest.
TELLING = """
import re, sys
from mpignn.cli import main
code = main(sys.argv[1:])
print("most bytes:", int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) << 10)
sys.exit(code)
"""


def most_held(folder: Path, *words: str) -> int:
    """The bytes that the process of a command holds at most, which gets a folder that is not there yet as RUN.

    Compiling kernels takes memory, too: a command that had to is run once more.
    """
    for run_dir in folder / "compiling", folder / "run":
        before = kernels()
        done = run([python(), "-c", TELLING, *(word.replace("RUN", str(run_dir)) for word in words)], 400, fresh=True)
        assert done.returncode == 0, str(done)
        if kernels() == before:
            break
    return int(re.search(r"most bytes: (\d+)", done.stdout)[1])


def kernels() -> set[Path]:
    """Those that are compiled and kept."""
    return set((ROOT / "src" / "mpignn" / "kernels").rglob("*.nbc"))


def as_words(flags: dict) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]


def expect(most_bytes: int, plan: MemoryPlan, most: float) -> None:
    told = f"{most_bytes >> 20} MiB measured, {plan.of_node(0) >> 20} planned: {plan.ranks[0]}, {plan.nodes[0]}"
    assert LEAST * plan.of_node(0) <= most_bytes <= most * plan.of_node(0), told


def compare(graph: Path, folder: Path, flags: dict) -> None:
    """Train, look what the process held, and ask the plan."""
    flags = {"fanouts": "10,10", "batch_size": str(SEEDS), "hidden": "256", "epochs": "1"} | flags
    most_bytes = most_held(folder, "train", str(graph), *as_words(flags), "--run-dir=RUN")
    plan = read_graph(graph, ALONE, "none", 1).plan_training(load_config(None, {**flags, "graph": str(graph)}))
    expect(most_bytes, plan, MOST)


def compare_inference(graph: Path, folder: Path, flags: dict) -> None:
    """Let a network that was not trained compute the rows of all nodes, and compare that job with its plan."""
    run_dir = str(folder / "trained")
    flags = {"fanouts": "1,1", "batch_size": "50", "epochs": "0", "hidden": "1024"} | flags
    done = run([python(), "-m", "mpignn", "train", str(graph), *as_words(flags), f"--run-dir={run_dir}"], 400)
    assert done.returncode == 0, str(done)
    most_bytes = most_held(folder, "infer", run_dir, "--out=RUN.h5")
    goal, config = read_trained(Path(run_dir)).goal, load_config(Path(run_dir, "config.toml"), {})
    expect(most_bytes, read_graph(graph, ALONE, "none", 1).plan_inference(config, goal.ntype, goal.outputs), 1.0)


LARGE = [("many", {"model": "rgcn", "hidden": "512", "fanouts": "2,5"}), ("one", {"model": "gatv2"})]
OTHERS = [("many", {"model": "rgcn", "bases": "4", "fanouts": "5,5"}),
          *[("many", {"model": name, "fanouts": "5,5", **({"norm": "right"} if "norm" in model.settings else {})})
            for name, model in MODELS.items() if model.learns and takes_types(model)],
          ("many", {"model": "sage", "fanouts": "5,5", "combine": "attention"}),
          *[("one", {"model": model}) for model in ("gcn", "gat", "gin", "mlp")],
          *[("one", {"model": "sage", "aggregator": how}) for how in ("mean", "sum", "gcn", "pool")],
          ("one", {"precision": "fp64"}), ("one", {"fanouts": "4,4,4"}), ("one", {"fanouts": "-1"}),
          ("one", {"embed": "all", "embed_dim": "256"}),
          ("one", {"model": "none", "task": "link_prediction", "embed": "all", "embed_dim": "192",
                   "decoder": "distmult", "fanouts": "0"}),
          *[("one", {"sampler": sampler, "fanouts": "5,5"}) for sampler in SAMPLERS],
          ("one", {"task": "edge_classification", "labels": "kind", "fanouts": "5,5"}),
          *[("one", {"task": "link_prediction", "batch_size": "1000", "fanouts": "5,5"} | flags) for flags in (
              {"num_negatives": "30"}, {"negatives": "in_batch", "num_negatives": "50"}, {"decoder": "rotate"})]]


def names(cases) -> list[str]:
    return [" ".join([graph, *flags.values()]) for graph, flags in cases]


@pytest.mark.parametrize(("graph", "flags"), LARGE, ids=names(LARGE))
def test_rows_of_relations_and_of_edges_are_planned(sources, tmp_path, graph, flags):
    compare(sources[graph], tmp_path, flags)


@pytest.mark.long
@pytest.mark.parametrize(("graph", "flags"), OTHERS, ids=names(OTHERS))
def test_a_job_takes_what_its_plan_says(sources, tmp_path, graph, flags):
    compare(sources[graph], tmp_path, flags)


INFERRED = [*[("one", {"model": model}) for model in ("sage", "gatv2", "gcn", "gat", "gin", "gine", "mlp")],
            ("many", {"model": "rgcn"}),
            ("many", {"model": "sage"}), ("many", {"model": "hgt"}), ("many", {"model": "gat", "combine": "attention"}),
            ("many", {"model": "rgcn", "bases": "4"}), ("one", {"model": "sage", "aggregator": "pool"}),
            ("one", {"model": "sage", "precision": "fp64"}),
            ("one", {"model": "none", "task": "link_prediction", "embed": "all", "embed_dim": "960", "fanouts": "0"})]


@pytest.mark.parametrize("cases", [[*LARGE, *OTHERS], INFERRED], ids=["training", "inference"])
def test_every_model_is_compared(cases):
    assert {flags["model"] for _, flags in cases if "model" in flags} == MODELS.keys()


@pytest.mark.long
@pytest.mark.parametrize(("graph", "flags"), INFERRED, ids=names(INFERRED))
def test_inference_takes_what_its_plan_says(sources, tmp_path, graph, flags):
    compare_inference(sources[graph], tmp_path, flags)
