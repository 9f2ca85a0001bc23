"""Job scripts that `mpignn slurm` prints: what Slurm and the shell make of them, with stand-ins for launchers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpignn.cli import main
from mpignn.config import field_names
from mpignn.slurm import LAUNCHERS, PASSED_ON

TELL = """#!{python}
import sys
print({version!r}) if sys.argv[1:] == ["--version"] else print(*sys.argv, sep="|")
"""
VERSIONS = {"openmpi": "mpirun (Open MPI) 5.0.11", "mpich": "HYDRA build details:\n    Version: 5.0.2", "other": "?"}


def printed(capsys, *words: str) -> str:
    assert main(["slurm", *words]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys, *words: str) -> str:
    assert main(["slurm", *words]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("mpignn: error:") == 1
    return err


def options(text: str) -> set[str]:
    return {line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")}


def started(text: str, folder: Path, version: str = "mpich", name: str = "mpirun", job_name: str = "x") -> list[str]:
    """The words that the launcher is started with by a script; ``python`` lies beside the launcher."""
    for program in (name, "python"):
        tell = folder / program
        tell.write_text(TELL.format(python=sys.executable, version=VERSIONS[version]))
        tell.chmod(0o755)
    script = folder / "job.sbatch"
    script.write_text(text)
    done = subprocess.run(["bash", script], text=True, capture_output=True, cwd=folder, env={
        **os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": job_name})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.rstrip("\n").split("|")


def test_a_script_starts_the_run_it_was_made_for(tmp_path, capsys):
    text = printed(capsys, "graphs/my graph", "--nodes", "4", "--ntasks-per-node", "9", "--time", "1-0", "--fanouts",
                   "5,-1", "--data-path-only", "--run-dir", "runs/a b")
    assert {"--nodes=4", "--ntasks-per-node=9", "--time=1-0", "--signal=B:USR1@120", "--requeue"} <= options(text)
    words = started(text, tmp_path)
    assert words[words.index("python"):] == ["python", "-m", "mpignn", "train", "graphs/my graph", "--fanouts", "5,-1",
                                             "--data-path-only", "--run-dir", "runs/a b", "--resume", "auto"]


@pytest.mark.parametrize(("version", "binding"), [
    ("openmpi", ["--map-by", "slot:PE=3", "--bind-to", "core"]), ("mpich", ["-bind-to", "core:3"]), ("other", [])])
def test_the_launcher_that_is_there_is_told_in_its_own_words(version, binding, tmp_path, capsys):
    words = started(printed(capsys, "graph", "--cpus-per-task", "3"), tmp_path, version)
    assert words[0].endswith("mpirun") and words[1:words.index("python")] == binding


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_may_be_named(launcher, tmp_path, capsys):
    name = "mpirun" if launcher == "auto" else launcher
    assert started(printed(capsys, "graph", "--launcher", launcher), tmp_path, name=name)[0].endswith(name)


def test_the_launcher_beside_the_interpreter_comes_first(tmp_path, capsys):
    (tmp_path / "bin with space").mkdir()
    (tmp_path / "elsewhere").mkdir()
    text = printed(capsys, "graph", "--python", str(tmp_path / "bin with space" / "python"))
    started(text, tmp_path / "bin with space")
    words = started(text, tmp_path / "elsewhere", "openmpi")
    assert words[0] == str(tmp_path / "bin with space" / "mpirun")


def test_sbatch_gets_its_own_options(capsys):
    given = {name: "2" for name in PASSED_ON}
    text = printed(capsys, "graph", "--exclusive", "--sbatch=--hint=nomultithread", "--sbatch=--no-kill",
                   *[f"--{name}={value}" for name, value in given.items()])
    assert {f"--{name}=2" for name in PASSED_ON} | {"--exclusive", "--hint=nomultithread", "--no-kill"} <= options(text)
    assert text.count("--output") == 1


def test_no_option_of_slurm_is_one_of_a_run():
    assert not {name.replace("-", "_") for name in (*PASSED_ON, "nodes", "time", "sbatch")} & field_names()


@pytest.mark.parametrize("name", ["my job", "$HOME", "a;rm -rf b", "`date`", "ü", "%x", "#1", "a$(id)"])
def test_hostile_names_are_only_names(name, tmp_path, capsys):
    text = printed(capsys, f"graphs/{name}", "--job-name", name)
    (line,) = [line for line in text.splitlines() if "--job-name" in line]
    assert line.removeprefix("#SBATCH --job-name=").strip('"') == name
    words = started(text, tmp_path, job_name=name)
    assert f"graphs/{name}" in words and f"runs/{name}-7" in words


@pytest.mark.parametrize(("words", "parts"), [
    (["--nodes", "0"], ["--nodes", "less than 1"]), (["--ntasks-per-node", "-1"], ["less than 1"]),
    (["--cpus-per-task", "x"], ["invalid int"]), (["--time", "soon"], ["--time", "no time of Slurm's"]),
    (["--time", ""], ["--time"]), (["--job-name", "a\nb"], ["--job-name"]), (["--job-name", 'a"b'], ["--job-name"]),
    (["--job-name", "a/b"], ["slash"]), (["--job-name", ""], ["--job-name"]), (["--mem", ""], ["--mem"]),
    (["--partition", "a\n#SBATCH --uid=0"], ["--partition"]), (["--sbatch", "hint"], ["--sbatch=--hint"]),
    (["gra\nph"], ["does not print"]), (["--python", "a\nb"], ["does not print"]), (["--launcher", "mpi"], ["mpi"]),
    (["--array", "1-3", "--run-dir", "r"], ["--array", "--run-dir"]), (["partition", "src"], ["./partition"]),
    (["train", "info"], ["./info"]), (["--tme", "3"], ["did you mean --time?"]), (["infer", "run"], ["--out"]),
    (["--hiden", "3"], ["did you mean --hidden?"]), (["--fanouts", "3,3", "--layers", "4"], ["one fanout per layer"]),
    (["eval", "run", "graph", "more"], ["unexpected 'more'"])])
def test_what_cannot_be_meant_is_refused(words, parts, capsys):
    err = refused(capsys, *words)
    assert all(part in err for part in parts), err


@pytest.mark.parametrize("time", ["30", "30:00", "1:30:00", "2-12", "2-12:30", "2-12:30:00", "UNLIMITED"])
def test_times_of_slurm_are_taken(time, capsys):
    assert f"--time={time}" in options(printed(capsys, "graph", "--time", time))


@pytest.mark.parametrize("words", [["eval", "runs/a b", "graph"], ["infer", "runs/a b", "--out", "p q.h5"]])
def test_runs_can_be_used_by_a_job(words, tmp_path, capsys):
    text = printed(capsys, "--nodes", "2", *words)
    assert "--requeue" not in options(text) and f"--job-name=mpignn-{words[0]}" in options(text)
    found = started(text, tmp_path)
    assert found[found.index("python"):] == ["python", "-m", "mpignn", *words]


def test_the_interpreter_must_be_there(tmp_path, capsys):
    (tmp_path / "job.sbatch").write_text(printed(capsys, "graph", "--python", "no/such python"))
    done = subprocess.run(["bash", tmp_path / "job.sbatch"], text=True, capture_output=True)
    assert done.returncode == 127 and "no such program: no/such python" in done.stderr


@pytest.mark.parametrize(("config", "words"), [
    ("", ["train", "--resume", "runs/first"]), ("", ["train", "--resume=runs/first"]),
    ('[train]\nrun_dir = "runs/mine"\n', ["train", "graph"]),
    ('[checkpoint]\nresume = "runs/first"\n', ["train", "graph"])])
def test_a_run_that_is_named_gets_no_other_folder(config, words, tmp_path, capsys):
    (tmp_path / "job.toml").write_text(config)
    words = [*words, "--config", str(tmp_path / "job.toml")]
    text = printed(capsys, *words)
    found = started(text, tmp_path)
    own = [] if "resume" in config + str(words) else ["--resume", "auto"]
    assert found[found.index("python"):] == ["python", "-m", "mpignn", *words, *own]
    assert "--array" in refused(capsys, "--array", "1-3", *words)
