"""What is learnt does not depend on ranks, servers, nodes, partitions or the MPI library."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from graphs import write_hetero_cuts
from mpignn.samplers import SAMPLERS, USUAL
from mpirun import MPIS, missing, mpirun, run
from recorded import DRAWING_JOB, JOB, drawn, recorded

STEPS = 16


def losses(run_dir: Path) -> np.ndarray:
    events = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return np.array([event["loss"] for event in events if event["event"] == "step"])


def train(folder: Path, graph: Path, np_: int, mpi: str, group: int | None, precision: str, *more: str):
    """Run a recorded job; returns its losses and the recorded rows of each trainer."""
    folder.mkdir()
    words = [JOB, str(folder), "train", str(graph), "--fanouts", "3,4,5", "--hidden", "16", "--dropout", "0.5",
             "--global-batch-size", str(2400 // STEPS), "--epochs", "1", "--lr", "0.01", "--precision", precision,
             "--eval-every", "0", "--run-dir", str(folder / "run"), "--replicate", "none", *more]
    if group is not None:
        words += ["--ranks-per-node", str(group)]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    return losses(folder / "run"), recorded(folder)


@pytest.fixture(scope="module")
def reference(graphs, tmp_path_factory):
    """One process, one partition."""
    return "fp64", train(tmp_path_factory.mktemp("fp64") / "job", graphs["one"], 1, "mpich", None, "fp64")


@pytest.fixture(scope="module")
def reference32(graphs, tmp_path_factory):
    """The same in single precision."""
    return "fp32", train(tmp_path_factory.mktemp("fp32") / "job", graphs["one"], 1, "mpich", None, "fp32")


def check(reference, graphs, tmp_path, mpi, np_, graph, group, *more):
    if missing(mpi):
        pytest.skip(missing(mpi))
    precision, (expected, (whole,)) = reference
    got, parts = train(tmp_path / "job", graphs[graph], np_, mpi, group, precision, *more)
    assert got.shape == (STEPS,)
    if precision == "fp64":
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    else:
        np.testing.assert_allclose(got[:10], expected[:10], rtol=1e-5)
    assert drawn(parts) == drawn([whole]) and len(whole) == 3 * STEPS
    for step in range(STEPS):       # no trainer computes another's seeds, and all have as many
        seeds = [part[f"0.{step}/0"].dst.size for part in parts]
        assert sum(seeds) == 2400 // STEPS and max(seeds) - min(seeds) <= 1


def test_the_loss_falls(reference, reference32):
    for _, (got, _) in reference, reference32:
        assert got[-10:].mean() < 0.8 * got[:10].mean()


# Each value of each setting is in some job with either library.
JOBS = [
    ("mpich", 2, "metis4", None), ("mpich", 3, "random4", 1, "--access", "rma", "--prefetch", "3"),
    ("mpich", 4, "metis4", None, "--servers-per-node", "2", "--replicate", "auto"),
    ("mpich", 4, "metis4", 1, "--replicate", "topology", "--replicate-nodes", "2"),
    ("mpich", 4, "metis4", 2, "--access", "owner", "--replicate", "topology"),
    ("mpich", 5, "one", 2, "--access", "owner", "--servers-per-node", "0"),
    ("mpich", 5, "metis4", 2, "--server-nodes", "2", "--replicate", "all"),
    ("mpich", 6, "random4", 2, "--access", "rma", "--cache", "10%", "--replicate", "halo"),
    ("mpich", 6, "metis4", 3, "--access", "rma", "--cache", "10%", "--cache-policy", "schedule"),
    ("openmpi", 2, "random4", 1, "--access", "owner", "--replicate", "halo"),
    ("openmpi", 3, "one", None, "--prefetch", "3"),
    ("openmpi", 4, "metis4", 1, "--replicate", "all"),
    ("openmpi", 4, "metis4", 2, "--access", "owner", "--servers-per-node", "0", "--replicate", "auto"),
    ("openmpi", 4, "metis4", 2, "--server-nodes", "1", "--servers-per-node", "2"),      # a node serves, one trains
    ("openmpi", 5, "metis4", 2, "--access", "rma", "--replicate", "topology"),
    ("openmpi", 3, "random4", 1, "--access", "owner", "--cache", "30K", "--cache-policy", "degree"),
    ("openmpi", 4, "random4", 2, "--servers-per-node", "0", "--access", "owner", "--cache", "20%", "--cache-policy",
     "schedule", "--prefetch", "3"),
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: " ".join(map(str, job)))
def test_jobs_of_any_shape_learn_the_same(reference, graphs, tmp_path, job):
    mpi, np_, graph, group, *more = job
    check(reference, graphs, tmp_path, mpi, np_, graph, group, *more)
    if "--access" in more:
        told = json.loads((tmp_path / "job" / "run" / "access.json").read_text())
        asked, nodes = more[more.index("--access") + 1], -(-np_ // group)
        assert told["asked"] == asked and told["paths"] == [[asked] * nodes] * nodes


@pytest.fixture(scope="module")
def by_sampler(graphs, tmp_path_factory):
    """One process, one partition, with each other sampler."""
    folder = tmp_path_factory.mktemp("samplers")
    return {name: train(folder / name, graphs["one"], 1, "mpich", None, "fp64", "--sampler", name)
            for name in SAMPLERS if name != USUAL}


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize(("sampler", "graph", "group"), [
    pytest.param(name, graph, group, marks=marks) for graph, group, marks in (
        ("random4", 1, ()), ("metis4", None, pytest.mark.long)) for name in SAMPLERS if name != USUAL])
def test_every_sampler_draws_the_same(by_sampler, reference, graphs, tmp_path, sampler, mpi, graph, group):
    check(("fp64", by_sampler[sampler]), graphs, tmp_path, mpi, 3, graph, group, "--sampler", sampler)
    assert drawn(by_sampler[sampler][1]) != drawn(reference[1][1])


@pytest.mark.parametrize(("mpi", "np_", "graph", "group"), [
    ("mpich", 3, "random4", 1), pytest.param("openmpi", 3, "one", None, marks=pytest.mark.long)])
def test_single_precision_too(reference32, graphs, tmp_path, mpi, np_, graph, group):
    check(reference32, graphs, tmp_path, mpi, np_, graph, group)


@pytest.mark.long
@pytest.mark.parametrize("precision", ["reference", "reference32"])
@pytest.mark.parametrize(("mpi", "np_", "graph", "group"), [
    job for job in itertools.product(("mpich", "openmpi"), (2, 3, 5), ("one", "random4", "metis4"), (None, 1, 2))
    if job not in JOBS and (job[3] is None or job[3] < job[1])])
def test_every_other_shape_too(request, graphs, tmp_path, mpi, np_, graph, group, precision):
    check(request.getfixturevalue(precision), graphs, tmp_path, mpi, np_, graph, group)


@pytest.fixture(scope="module")
def hetero_graphs(tmp_path_factory):
    return write_hetero_cuts(tmp_path_factory.mktemp("hetero"))


def draw(folder: Path, graph: Path, np_: int, mpi: str, **settings):
    """What `drawing_job` drew: digests by way, step and hop."""
    folder.mkdir()
    told = {"threads": 1, "prefetch": 1, "replicate": "none"} | settings
    words = [DRAWING_JOB, str(folder), str(graph), json.dumps(told)]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    return drawn(recorded(folder))


@pytest.fixture(scope="module")
def all_ways(hetero_graphs, tmp_path_factory):
    return draw(tmp_path_factory.mktemp("ways") / "job", hetero_graphs / "one", 1, "mpich")


DRAWN = [
    ("mpich", 1, "metis5", {"threads": 2, "prefetch": 4}),
    ("mpich", 3, "random8", {"ranks_per_node": 1, "prefetch": 3}),
    ("openmpi", 4, "random3", {"ranks_per_node": 2, "threads": 2, "prefetch": 2, "replicate": "halo"}),
    ("mpich", 5, "metis5", {"ranks_per_node": 2, "replicate": "topology", "prefetch": 4}),
]


@pytest.mark.parametrize(("mpi", "np_", "graph", "settings"), DRAWN)
def test_every_way_to_draw_gives_the_same_everywhere(all_ways, hetero_graphs, tmp_path, mpi, np_, graph, settings):
    if missing(mpi):
        pytest.skip(missing(mpi))
    assert len(all_ways) == 11 * 2 * 5      # ways, hops, steps
    assert draw(tmp_path / "job", hetero_graphs / graph, np_, mpi, **settings) == all_ways


@pytest.mark.long
@pytest.mark.parametrize(("mpi", "np_", "graph", "group"), list(itertools.product(
    ("mpich", "openmpi"), (2, 4), ("one", "random8", "metis5"), (None, 1))))
def test_every_way_to_draw_in_every_other_shape(all_ways, hetero_graphs, tmp_path, mpi, np_, graph, group):
    if missing(mpi):
        pytest.skip(missing(mpi))
    nodes = {} if group is None else {"ranks_per_node": group}
    assert draw(tmp_path / "job", hetero_graphs / graph, np_, mpi, threads=np_ // 2, prefetch=np_, **nodes) == all_ways
