"""Edges that a batch of edges does not see, from the command line: which type leads back is told, or found."""

import json
import sys

import numpy as np
import pytest

from mpignn.storage.write import partition_graph
from mpirun import MPIS, missing, mpirun, run

AUTHORS, PAPERS, WRITTEN = 60, 80, 400


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """Authors who write papers, by three names of the reverse type: ``rev_writes``, another one, and two candidates."""
    folder, rng = tmp_path_factory.mktemp("links"), np.random.default_rng(0)
    author, paper = rng.integers(0, AUTHORS, WRITTEN), rng.integers(0, PAPERS, WRITTEN)
    order = rng.permutation(WRITTEN)
    made = {}
    for name, more in {"named": {"rev_writes": (paper, author)}, "found": {"by": (paper[order], author[order])},
                       "two": {"by": (paper, author), "of": (paper, author)}, "none": {},
                       "another": {"cited": (paper, author[order])}, "fewer": {"by": (paper[1:], author[1:])},
                       "found=by": {"a=b": (paper, author)}}.items():
        arrays = {"num_nodes/author": AUTHORS, "num_nodes/paper": PAPERS, "edge/author:writes:paper/src": author,
                  "edge/author:writes:paper/dst": paper, "split/author:writes:paper/train": np.arange(0, WRITTEN, 2),
                  "split/author:writes:paper/val": np.arange(1, WRITTEN, 8)}
        for relation, (src, dst) in more.items():
            arrays |= {f"edge/paper:{relation}:author/src": src, f"edge/paper:{relation}:author/dst": dst}
        np.savez(folder / f"{name}.npz", **arrays)
        made[name] = partition_graph(folder / f"{name}.npz", folder / name, 2, method="random") and folder / name
    return {name: folder / name for name in made}


def train(graph, run_dir, *words, np_=1, mpi="mpich"):
    words = ["-m", "mpignn", "train", str(graph), "--run-dir", str(run_dir), "--task", "link_prediction", "--model",
             "rgcn", "--embed-dim", "8", "--hidden", "8", "--fanouts", "3", "--dropout", "0", "--epochs", "1",
             "--global-batch-size", "50", *words]
    return run([sys.executable, *words]) if np_ == 1 else mpirun(words, np_, mpi)


def losses(run_dir):
    events = map(json.loads, (run_dir / "metrics.jsonl").read_text().splitlines())
    return [event["loss"] for event in events if event["event"] == "step"]


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_the_reverse_type_is_found_by_name_by_its_edges_or_as_told(links, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    exclude, told = ["--exclude", "reverse_types"], {}
    for name, graph, words, np_ in (
            ("name", "named", exclude, 1), ("edges", "found", exclude, 3),
            ("told", "two", [*exclude, "--reverse-etypes", "writes=by"], 1),
            ("full", "found=by", [*exclude, "--reverse-etypes", "author:writes:paper=paper:a=b:author"], 1)):
        done = train(links[graph], tmp_path / name, *words, np_=np_, mpi=mpi)
        assert done.returncode == 0, str(done)
        told[name] = losses(tmp_path / name)
    assert told["edges"] == pytest.approx(told["name"], abs=1e-6)
    assert told["full"] == told["name"] and len(told["name"]) == 4


@pytest.mark.parametrize(("graph", "words", "parts"), [
    ("none", [], ["author:writes:paper", "no edge type leads from paper to author"]),
    ("fewer", [], ["paper:by:author", "--reverse-etypes author:writes:paper=paper:by:author"]),
    ("another", [], ["paper:cited:author", "are not those of author:writes:paper the other way round"]),
    ("two", [], ["paper:by:author and paper:of:author", "--reverse-etypes author:writes:paper=paper:by:author"]),
    ("two", ["--reverse-etypes", "writes=with"], ["--reverse-etypes", "'with'"]),
    ("two", ["--reverse-etypes", "writes"], ["--reverse-etypes", "'writes'", "EDGE_TYPE=EDGE_TYPE"]),
    ("two", ["--reverse-etypes", "by=of"], ["does not lead back"]),
    ("named", ["--exclude", "reverse_id"], ["reverse_id", "author:writes:paper", "reverse_types"]),
    ("named", ["--exclude", "self", "--reverse-etypes", "writes=rev_writes"], ["--reverse-etypes", "reverse_types"]),
])
def test_what_is_not_found_is_refused_with_one_line(links, tmp_path, graph, words, parts):
    done = train(links[graph], tmp_path / "run", "--exclude", "reverse_types", *words)
    assert done.returncode == 2 and done.stderr.count("mpignn: error:") == 1, str(done)
    assert "Traceback" not in done.stderr, str(done)
    looks_at_edges = not words and graph in ("another", "two")
    assert ("loaded and verified" in done.stderr) == looks_at_edges, str(done)
    assert not (tmp_path / "run").exists(), str(done)
    for part in parts:
        assert part in done.stderr, str(done)
