"""`bench`: every benchmark on a small graph, alone and on ranks; what it tells is what it writes."""

import json
import re
import statistics
import sys

import pytest

from mpignn.bench.benchmarks import BENCHMARKS, Where
from mpirun import MPIS, missing, mpirun, python, run

# What makes a benchmark small; each takes what it depends on.
SMALL = {"fanouts": "3,2", "batch_size": "20", "hidden": "8", "embed_dim": "4", "parts": "2", "np": "1",
         "trainers": "1"}
STARTS_JOBS = [name for name, benchmark in BENCHMARKS.items() if benchmark.where is Where.ALONE]


def words(name: str, graph: list[str], *more: str) -> list[str]:
    benchmark = BENCHMARKS[name]
    takes = {*benchmark.settings, *benchmark.takes}
    small = [word for key, value in SMALL.items() if key in takes
             for word in ("-np" if key == "np" else f"--{key.replace('_', '-')}", value)]
    return ["-m", "mpignn", "bench", name, *([] if benchmark.where is Where.TRAINERS else graph), *small,
            "--repeats", "1" if name in STARTS_JOBS else "2", *more]


def check(done, name: str, out) -> dict:
    assert done.returncode == 0 and "Traceback" not in done.stderr, str(done)
    found = json.loads(out.read_text())
    assert found["benchmark"] == name and f"bench {name}" in found["command"]
    assert found["machine"]["usable_cores"] > 0 and found["versions"]["numpy"] and found["mpi"]
    named = {figure["name"]: figure for figure in found["figures"]}
    assert len(named) == len(found["figures"]) and any(figure["of_limit"] for figure in named.values()), found
    assert found["repeats"] == (1 if name in STARTS_JOBS else 2)
    for figure in named.values():
        values = figure["values"]
        assert len(values) == found["repeats"] and min(values) > 0
        assert (figure["minimum"], figure["median"], figure["maximum"]) == (
            min(values), statistics.median(values), max(values))
        (row,) = [line for line in done.stdout.splitlines() if line.startswith(figure["name"] + "  ")]
        told = row.removeprefix(figure["name"]).split()
        assert told[:3] == [f"{figure[key]:.4g}" for key in ("median", "minimum", "maximum")]
        assert figure["unit"] in row
        if figure["limit"]:
            limit = named[figure["limit"]]["values"]
            shares = [a / b if figure["unit"].endswith("/s") else b / a for a, b in zip(values, limit, strict=True)]
            assert figure["of_limit"] == pytest.approx(statistics.median(shares))
            assert f"{100 * figure['of_limit']:.3g} % of {figure['limit']}" in row
    return found


def one_of(request, mpi: str) -> str:
    """A library, unless it is not to be tested."""
    only = request.config.getoption("--mpi")
    if only not in (None, mpi) or missing(mpi):
        pytest.skip(missing(mpi) or f"--mpi {only}")
    return mpi


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.by_turns
@pytest.mark.parametrize("name", BENCHMARKS)
def test_it_measures_alone(name, mpi, tmp_path, request):
    done = run([python(one_of(request, mpi)), *words(name, ["--nodes", "200"], "--out", "found.json")], cwd=tmp_path)
    found = check(done, name, tmp_path / "found.json")
    assert found.get("graph") == (None if name == "allreduce" else "synthetic, 200 nodes")
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.by_turns
@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name not in STARTS_JOBS])
def test_it_measures_on_two_ranks(graphs, source, name, mpi, tmp_path, request):
    graph = source if BENCHMARKS[name].reads_source else graphs["random4"]
    done = mpirun(words(name, [str(graph)], "--out", "found.json"), 2, one_of(request, mpi), cwd=tmp_path)
    found = check(done, name, tmp_path / "found.json")
    assert found["command"].startswith("mpirun -np 2 python") and re.match("2 on 1 node", found["ranks"])


def test_json_is_told_in_the_place_of_a_table_and_no_folder_is_left(graphs, tmp_path):
    done = run([sys.executable, *words("gather", ["--nodes", "200"], "--json")], env={"TMPDIR": str(tmp_path)},
               fresh=False)
    assert json.loads(done.stdout)["benchmark"] == "gather" and not any(tmp_path.iterdir()), str(done)


@pytest.mark.parametrize(("more", "code", "told"), [
    (["sampel"], 2, "did you mean sample?"),
    (["sample", "--repeats", "0"], 2, "--repeats: 0 is less than 1"),
    (["sample", "--features", "x"], 2, "--features has no effect on bench sample"),
    (["sample", "graph", "--nodes", "9"], 2, "--nodes has no effect"),
    (["allreduce", "graph"], 2, "bench allreduce reads no graph"),
    (["allreduce", "--nodes", "9"], 2, "--nodes has no effect"),
    (["load", "-np", "2"], 2, "-np has no effect on bench load"),
    (["scale", "--trainers", "1,x"], 2, "--trainers"),
    (["scale", "--trainers", "1,0"], 2, "--trainers: 0 is less than 1"),
    (["aggregate", "{graph}", "--hidden", "9", "--heads", "4"], 2, "not a multiple of --heads 4"),
    (["sample", "--nodes", "5"], 2, "nodes is 5"),
    (["sample", "--fanouts", "x"], 2, "not a whole number"),
    (["sample", "--out", "no/where.json"], 2, "cannot write a file there"),
    (["sample", "nothing-there"], 3, "nothing-there"),
    (["gather", "{graph}", "--features", "none"], 2, "choose other data by --features")])
def test_bad_words_end_with_one_line(graphs, more, code, told, tmp_path):
    line = ["-m", "mpignn", "bench", *(word.format(graph=graphs["random4"]) for word in more)]
    for np in 1, 2:
        done = run([sys.executable, *line], cwd=tmp_path) if np == 1 else mpirun(line, 2, cwd=tmp_path)
        assert done.returncode == code and done.stdout == "" and told in done.stderr, str(done)
        assert done.stderr.count("mpignn: error:") == 1 and "Traceback" not in done.stderr, str(done)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", STARTS_JOBS)
def test_one_that_starts_jobs_refuses_to_be_one(name):
    done = mpirun(["-m", "mpignn", "bench", name], 2)
    assert done.returncode == 2 and "starts jobs itself" in done.stderr, str(done)
    assert done.stderr.count("mpignn: error:") == 1, str(done)


def test_a_job_that_fails_is_told_of(tmp_path):
    done = run([sys.executable, *words("startup", ["no-graph"])], cwd=tmp_path)
    assert done.returncode == 4 and "ended with exit code 3" in done.stderr and "no-graph" in done.stderr, str(done)
    assert done.stderr.count("mpignn: error:") == 2 and not any(tmp_path.iterdir()), str(done)
