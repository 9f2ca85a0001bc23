"""Where a run goes: user's texts are texts and no patterns, and a job that comes to nothing leaves nothing."""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from mpignn.config import CONFIG, JOBS, METRICS, Config
from mpignn.errors import ConfigError, DataError
from mpignn.job import runs
from mpignn.job.run_folder import NewTables, RunFolder
from mpignn.options import load_config
from mpignn.storage import claim
from mpignn.storage.check import check
from mpignn.storage.write import partition_graph


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(claim, "_held", {})


def make_run(path: str, checkpoint: bool = True) -> Path:
    run = Path(path)
    (run / "checkpoints" / "step-000000003" if checkpoint else run).mkdir(parents=True)
    return run


@pytest.mark.parametrize("name", ["toy", "g*", "g[1]", "g?", "a b", "toy.v1", "x-20260101-000000"])
def test_the_newest_run_of_a_graph_is_found_by_its_name_and_nothing_else(name):
    for other in ("toy-link", "g1", "gg", "toyv1", "x", "toy.v2", "a", "x-20260101-000000"):
        if other != name:
            make_run(f"runs/{other}-20260301-000000")
    assert runs.newest_run(name) is None
    make_run(f"runs/{name}-20260202-000000", checkpoint=False)
    make_run(f"runs/{name}-20260101-000000")
    make_run(f"runs/{name}-20260101-000000-9")
    newest = make_run(f"runs/{name}-20260101-000000-10")
    assert runs.newest_run(name) == newest


@pytest.mark.parametrize(("graph", "name"), [
    ("wordnet", "wordnet"), ("graphs/toy", "toy"), ("graphs/toy.v1", "toy.v1"), ("graphs/toy/graph.h5", "toy"),
    ("graphs/toy/", "toy"), ("g[1]", "g[1]"), (".", "HERE"), ("graph.h5", "HERE")])
def test_runs_are_called_as_their_graph(graph, name, tmp_path):
    assert runs.run_name(graph) == name.replace("HERE", tmp_path.name)


def test_a_run_folder_may_be_in_one_that_is_called_checkpoints(tmp_path):
    run = make_run("checkpoints/mine")
    (run / "checkpoints" / "step-000000007").mkdir()
    make_run("checkpoints/other", checkpoint=False)
    assert runs.run_of(run) == run
    assert runs.run_of(run / "checkpoints" / "step-000000007") == run
    for path in (run.parent, run.parent / "other", run / "checkpoints" / "step-000000008"):
        with pytest.raises(DataError, match="neither a run folder with checkpoints nor a checkpoint in one"):
            runs.run_of(path)


def choose(run_dir: str | None, **more):
    return RunFolder(load_config(None, more | ({} if run_dir is None else {"run_dir": run_dir})), ["g"], 1)


def test_what_a_job_made_is_removed_and_nothing_else(tmp_path):
    for run_dir in (None, "runs/one", "deep/er/one"):
        folder = choose(run_dir)
        assert folder.path.is_dir()
        folder.discard()
        assert list(tmp_path.iterdir()) == []
    mine = Path("runs/mine")
    mine.mkdir(parents=True)
    choose("runs/mine").discard()
    assert list(mine.iterdir()) == []
    folder = choose("runs/mine/deeper")
    (mine / "note").write_text("of the user")
    folder.discard()
    assert [path.name for path in mine.iterdir()] == ["note"]


def test_a_graph_of_tables_lives_as_long_as_its_job(tmp_path):
    Path("new").mkdir()
    Path("new/e.csv").write_text("src,dst\na,b\n")
    partition_graph(Path("new"), "g", 1)
    config = load_config(None, {"run_dir": "run"})
    folder = RunFolder(config, ["new"], 1, NewTables(lambda tables: Path("g")))
    (graph,) = folder.graphs
    assert check(graph) == [] and graph.parent == folder.path
    folder.clear()
    assert not graph.exists()
    graph.mkdir()       # of a job that was killed
    folder.discard()
    assert not Path("run").exists()

    def refuse(tables: Path) -> Path:
        raise DataError(f"{tables} are refused")

    with pytest.raises(DataError, match="new are refused"):
        RunFolder(config, ["new"], 1, NewTables(refuse))
    with pytest.raises(ConfigError, match="--on-unknown has no effect, since g is no tables"):
        RunFolder(config, ["g"], 1, NewTables(refuse, "drop"))
    assert not Path("run").exists()
    assert RunFolder(config, ["new"], 1).graphs == [Path("new")]        # of a job that takes no tables


@pytest.mark.parametrize("theirs", [None, "config.toml"])
def test_a_job_may_do_without_a_folder_that_it_cannot_write(theirs, tmp_path, monkeypatch, caplog):
    """One that is missing in a folder of others, or one that all may write with a file of others in it."""
    for name in ("new", "tmp", "run/infer" if theirs else "run"):
        Path(name).mkdir(parents=True)
    Path("new/e.csv").write_text("src,dst\na,b\n")
    partition_graph(Path("new"), "g", 1)
    if theirs is not None:
        Path("run/infer", theirs).touch()
    there = sorted(Path("run").rglob("*"))

    def cannot(**given: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    if theirs is None:
        monkeypatch.setattr(tempfile, "TemporaryFile", cannot)
    else:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != theirs)
    config, tables = load_config(None, {"run_dir": "run/infer"}), NewTables(lambda tables: Path("g"))
    folder = RunFolder(config, ["new"], 1, tables, may_lack=True)
    assert folder.kept is None and check(folder.graphs[0]) == []
    assert ("(config.toml: Permission denied)" if theirs else "(Read-only file system)") in caplog.text
    with folder.held():
        folder.fill(config, {}, {})
    folder.discard()
    assert list(Path("tmp").iterdir()) == [] and sorted(Path("run").rglob("*")) == there
    RunFolder(config, ["g"], 1, tables, may_lack=True)
    assert list(Path("tmp").iterdir()) == []                # not even made where no graph is


def test_a_folder_of_another_run_is_refused_and_left_as_it_was():
    run = make_run("other")
    (run / "metrics.jsonl").touch()
    with pytest.raises(ConfigError, match="holds the metrics of another run"):
        choose("other")
    assert sorted(path.name for path in run.iterdir()) == ["checkpoints", "metrics.jsonl"]
    assert choose("other", resume="auto").path == run


def test_a_run_folder_is_one_jobs(monkeypatch):
    folder = choose("run")
    with monkeypatch.context() as another:
        another.setattr(claim, "_job", ["another job"])
        another.setattr(claim, "_held", {})
        with pytest.raises(ConfigError, match="run is in use by another job: process"):
            choose("run")
    with folder.held():
        pass
    assert choose("run").claim_name != folder.claim_name


@pytest.mark.parametrize("agreed", [None, True, False])
def test_a_rank_that_shares_a_claim_forgets_it_with_its_run(monkeypatch, agreed):
    """Unless that rank is about to abort the job, which gives back what any rank has."""
    folder = choose("run")
    owner = claim.share(folder.path, folder.claim_name)
    monkeypatch.setattr(claim, "_held", {})                 # as in another process of the job
    error = ConfigError("as on all ranks, or on this one alone")
    error.agreed = bool(agreed)
    with suppress(ConfigError), folder.held():
        claim.check(folder.path / "eval")
        if agreed is not None:
            raise error
    assert list(claim._held) == ([folder.path.resolve()] if agreed is False else [])
    assert owner._holds(claim._read(owner.path))            # others may still write
    owner.release()


def test_a_name_that_no_folder_can_have_is_refused():
    Path("file").touch()
    with pytest.raises(ConfigError, match="file is no folder"):
        choose("file")


def test_a_graph_is_no_run_folder():
    Path("g").mkdir()
    (Path("g") / "graph.h5").touch()
    with pytest.raises(ConfigError, match="g is a partitioned graph"):
        choose("g")
    assert [path.name for path in Path("g").iterdir()] == ["graph.h5"]


def test_a_refused_job_leaves_nothing_and_a_run_stays(tmp_path):
    folder = choose("runs/mine")
    with folder.held():
        folder.fill(Config(), {"access": "rma"}, {})
        folder.discard()
    assert not (tmp_path / "runs").exists()
    folder = choose("runs/mine")
    with folder.held():
        folder.fill(Config(), None, {})
        (folder.path / METRICS).touch()
        folder.discard()
    assert {path.name for path in folder.path.iterdir()} == {CONFIG, JOBS, METRICS}
