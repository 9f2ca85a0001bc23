"""What batches of edges hold does not depend on ranks, nodes, partitions, prefetch, threads or the MPI library."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mpirun import missing, mpirun, run
from recorded import drawn, recorded

JOB = str(Path(__file__).parents[1] / "edge_job.py")


def seen(folder: Path) -> tuple[dict, dict, list[int]]:
    """Digests of what was drawn, all pairs of each step in order, and how many edges each trainer was given."""
    pairs: dict[str, list[np.ndarray]] = {}
    shares = []
    for path in sorted(folder.glob("pairs-*.npz")):
        with np.load(path) as arrays:
            ends = dict(arrays)
        for key, of_step in ends.items():
            pairs.setdefault(key, []).append(of_step)
        shares.append(sum(len(of_step) for key, of_step in ends.items() if key.endswith("positive")))
    in_order = {key: sorted(map(tuple, np.concatenate(parts).tolist())) for key, parts in pairs.items()}
    return drawn(recorded(folder)), in_order, shares


def job(folder: Path, graph: Path, np_: int, mpi: str, prefetch: int, *settings: str):
    folder.mkdir()
    words = [JOB, str(folder), str(graph), str(prefetch), *settings]
    done = run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)
    assert done.returncode == 0, str(done)
    return seen(folder)


@pytest.fixture(scope="module")
def reference(graphs, tmp_path_factory):
    """One process, one partition."""
    return job(tmp_path_factory.mktemp("edges") / "job", graphs["one"], 1, "mpich", 1)


def test_edges_are_neither_negatives_nor_seen(reference, graphs):
    _, pairs, (count,) = reference
    for key, positive in pairs.items():
        if key.endswith("positive"):
            negative = pairs[key.replace("positive", "negative")]
            assert len(negative) == 2 * len(positive) and not set(negative) & set(positive)
    steps = {key.partition("/")[0] for key in pairs}
    assert len(steps) == 3 * -(-count // 3 // 400) and count > 3 * 1000


@pytest.mark.parametrize(("mpi", "np_", "graph", "prefetch", "settings"), [
    ("mpich", 1, "random4", 4, ()), ("mpich", 2, "metis4", 2, ()),
    ("mpich", 3, "random4", 3, ("ranks_per_node=1", "replicate=none")),
    ("openmpi", 4, "metis4", 4, ("ranks_per_node=2", "access=owner", "replicate=none")),
    ("openmpi", 5, "one", 1, ("ranks_per_node=2", "access=rma")),
])
def test_jobs_of_any_shape_see_the_same(reference, graphs, tmp_path, mpi, np_, graph, prefetch, settings):
    if missing(mpi):
        pytest.skip(missing(mpi))
    rows, pairs, (count,) = reference
    got_rows, got_pairs, shares = job(tmp_path / "job", graphs[graph], np_, mpi, prefetch, *settings)
    assert got_pairs == pairs and got_rows == rows
    assert sum(shares) == count and max(shares) - min(shares) <= len(pairs)      # at most one a step
