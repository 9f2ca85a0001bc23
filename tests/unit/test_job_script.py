"""Job scripts that `mpignn slurm` prints: what Slurm and the shell make of them, with stand-ins for launchers."""

import os
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from mpignn.batch import LAUNCHERS
from mpignn.cli import main
from mpignn.config import field_names
from mpignn.schedulers import PASSED_ON

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
    (["--array", "1-3", "--run-dir", "r"], ["--array", "--run-dir"]), (["partition", "src"], ["OUT"]),
    (["train", "info"], ["./info"]), (["--tme", "3"], ["did you mean --time?"]), (["infer", "run"], ["--out"]),
    (["--hiden", "3"], ["did you mean --hidden?"]), (["--fanouts", "3,3", "--layers", "4"], ["one fanout per layer"]),
    (["eval", "run", "graph", "more"], ["unexpected 'more'"]), (["graph", "--grid", "lr=1 2"], ["slurm sweep"]),
    (["sweep", "graph"], ["--grid", "--settings"]), (["sweep", "graph", "--grid", "lr=0.1"], ["one setting only"]),
    (["sweep", "graph", "--grid", "lr"], ["--grid lr"]), (["sweep", "graph", "--grid", "lr='a"], ["no closing quot"]),
    (["sweep", "graph", "--grid", "hiden=1 2"], ["did you mean --hidden?"]),
    (["sweep", "graph", "--grid", "hidden=1 x"], ["--hidden"]),
    (["sweep", "g", "--settings", "none"], ["none", "read"]),
    (["sweep", "g", "--resume", "r", "--grid", "lr=1 2"], ["r"]), (["sweep", "g", "--at-once", "0", "--grid", "lr=1 2"],
                                                               ["--at-once"]),
    (["sweep", "g", "--array", "1-2", "--grid", "lr=1 2"], ["--array", "--at-once"]),
    (["chain", "src"], ["SRC", "1 name(s)"]), (["chain", "src", "g", "--hiden", "3"], ["did you mean --hidden?"]),
    (["chain", "src", "g", "--parts", "x"], ["--parts"]), (["chain", "src", "g", "--array", "1-2"], ["--array"]),
    (["chain", "src", "g", "--resume", "r"], ["--resume"]), (["chain", "s", "g", "--out", "x.foo"], ["x.foo", ".csv"]),
    (["infer", "run", "--out", "x.foo"], ["x.foo", ".csv"]), (["chain", "s", "g", "--method", "no"], ["no", "metis"]),
    (["partition", "src", "out", "--method", "no"], ["no", "metis"]),
    (["--lr", "1", "train", "g"], ["behind the word train"]),
    (["chain", "src", "g", "--dry-run"], ["--dry-run"]), (["--mpi", "pmix", "graph"], ["--launcher srun"]),
    (["--container-args=-B x", "g"], ["--container"]),
    (["--scheduler", "pbs", "--launcher", "srun", "g"], ["Slurm's"]), (["--scheduler", "sge", "g"], ["slurm", "lsf"]),
    (["--scheduler", "pbs", "--qos", "high", "g"], ["--qos", "--qsub"]), (["--warning", "0", "g"], ["--warning"]),
    (["--scheduler", "pbs", "--mem", "much", "g"], ["--mem", "200G"]), (["--time", "2", "--warning", "130", "g"],
                                                                        ["--warning", "--time"]),
    (["--scheduler", "lsf", "--nodes", "2", "--gpus", "3", "g"], ["--gpus", "2 node"]),
    (["--scheduler", "pbs", "--job-name", "1 job", "g"], ["--job-name", "begin"])])
def test_what_cannot_be_meant_is_refused(words, parts, capsys):
    err = refused(capsys, *words)
    assert all(part in err for part in parts), err


@pytest.mark.parametrize("time", ["30", "30:00", "1:30:00", "2-12", "2-12:30", "2-12:30:00", "UNLIMITED"])
def test_times_of_slurm_are_taken(time, capsys):
    assert f"--time={time}" in options(printed(capsys, "graph", "--time", time))


@pytest.mark.parametrize(("time", "signal"), [("1", 30), ("2:30", 75), ("4", 120), ("UNLIMITED", 120)])
def test_a_job_is_told_to_stop_in_the_second_half_of_its_time(time, signal, capsys):
    assert f"--signal=B:USR1@{signal}" in options(printed(capsys, "graph", "--time", time))
    assert "--signal=B:USR1@20" in options(printed(capsys, "graph", "--time", time, "--warning", "20"))


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


def directives(text: str, comment: str) -> list[list[str]]:
    """The words of the directives, as a scheduler reads them: all before the first command, none behind it."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith(comment) for line in lines[first:])
    return [shlex.split(line.removeprefix(comment)) for line in lines[:first] if line.startswith(comment)]


def flags_of(text: str, comment: str) -> dict[str, list[str]]:
    """Values of each flag of PBS or LSF; of one without a value: an empty one."""
    found = defaultdict(list)
    for words in directives(text, comment):
        while words:
            flag = words.pop(0)
            assert flag.startswith("-"), flag
            found[flag].append(words.pop(0) if words and not words[0].startswith("-") else "")
    return found


WANTED = ("--nodes", "3", "--ntasks-per-node", "4", "--cpus-per-task", "2", "--time", "1-02:30", "--mem", "200G",
          "--gpus-per-node", "2", "--partition", "long", "--account", "me", "--exclusive", "--job-name", "mine")


def parses(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_pbs_is_asked_for_the_same(capsys):
    text = printed(capsys, "--scheduler", "pbs", *WANTED, "--qsub=-P project", "train", "graph", "--hidden", "8")
    parses(text)
    found = flags_of(text, "#PBS")
    resources = dict(word.split("=", 1) for word in found["-l"])
    nodes, *chunk = resources["select"].split(":")
    assert nodes == "3" and dict(word.split("=") for word in chunk) == {
        "ncpus": "8", "mpiprocs": "4", "ompthreads": "2", "mem": "200gb", "ngpus": "2"}
    assert resources["place"] == "scatter:excl" and resources["walltime"] == "26:30:00"
    assert {flag: values[0] for flag, values in found.items() if flag != "-l"} == {
        "-N": "mine", "-q": "long", "-A": "me", "-j": "oe", "-V": "", "-r": "y", "-P": "project"}
    assert f"--time-limit {26 * 3600 + 1800 - 120}" in text and 'cd "$PBS_O_WORKDIR"' in text and "qrerun" in text


def test_lsf_is_asked_for_the_same(capsys):
    text = printed(capsys, "--scheduler", "lsf", *WANTED, "--constraint", "gen9", "train", "graph", "--hidden", "8")
    parses(text)
    found = flags_of(text, "#BSUB")
    assert found["-R"] == ["span[ptile=4]", "affinity[core(2)]", "select[gen9]", "rusage[mem=200GB/host]"]
    assert {flag: values[0] for flag, values in found.items() if flag != "-R"} == {
        "-J": "mine", "-n": "12", "-gpu": "num=2", "-W": "26:30", "-q": "long", "-P": "me", "-o": "mine-%J.log",
        "-x": "", "-wa": "USR1", "-wt": "2", "-Q": "75"}
    assert "--time-limit" not in text and "scontrol" not in text


@pytest.mark.parametrize(("scheduler", "variable", "hosts"), [
    ("pbs", "PBS_NODEFILE", ["-f", "/nodes", "-n", "4"]), ("lsf", "LSB_DJOB_HOSTFILE", ["-f", "/nodes", "-n", "4"])])
def test_a_launcher_that_does_not_know_the_scheduler_gets_its_nodes(scheduler, variable, hosts, tmp_path, capsys,
                                                                    monkeypatch):
    monkeypatch.setenv(variable, "/nodes")
    monkeypatch.setenv("PBS_O_WORKDIR", str(tmp_path))
    monkeypatch.setenv("PBS_JOBNAME" if scheduler == "pbs" else "LSB_JOBNAME", "x")
    monkeypatch.setenv("PBS_JOBID" if scheduler == "pbs" else "LSB_JOBID", "7.host" if scheduler == "pbs" else "7")
    words = started(printed(capsys, "--scheduler", scheduler, "--nodes", "2", "train", "graph"), tmp_path)
    assert words[1:7] == ["-bind-to", "core:1", *hosts] and words[words.index("--run-dir") + 1] == "runs/x-7"


def test_srun_talks_by_the_interface_that_is_named(tmp_path, capsys):
    words = started(printed(capsys, "graph", "--launcher", "srun", "--mpi", "pmix"), tmp_path, name="srun")
    assert "--mpi=pmix" in words and "--cpu-bind=cores" in words


def test_modules_environment_and_lines_come_first(tmp_path, capsys):
    (tmp_path / "my venv" / "bin").mkdir(parents=True)
    (tmp_path / "my venv" / "bin" / "activate").write_text("echo venv >> order\n")
    text = printed(capsys, "graph", "--module", "gcc/13", "--module", "mpi", "--venv", "my venv", "--setup",
                   "echo line >> order")
    (tmp_path / "profile").write_text('module() { echo "$@" >> order; }\n')
    started(text.replace("/etc/profile", "./profile"), tmp_path)
    assert (tmp_path / "order").read_text().splitlines() == ["load gcc/13 mpi", "line", "venv"]


def test_a_container_is_started_by_the_launcher_of_the_machine(tmp_path, capsys):
    (tmp_path / "apptainer").symlink_to("/bin/true")
    text = printed(capsys, "graph", "--container", "my image.sif", "--container-args=--bind /scratch", "--gpus", "1",
                   "--hidden", "8")
    words = started(text, tmp_path)
    assert words[words.index("apptainer"):][:9] == ["apptainer", "exec", "--nv", "--bind", "/scratch", "my image.sif",
                                                    "python", "-m", "mpignn"]


def test_each_job_of_a_sweep_has_its_setting_and_folder(tmp_path, capsys, monkeypatch):
    (tmp_path / "lines").write_text("# two of them\n--lr 0.1\n\n--lr 0.2 --dropout 0.3\n")
    text = printed(capsys, "sweep", "my graph", "--fanouts", "3,3", "--grid", "hidden=8 16", "--settings",
                   str(tmp_path / "lines"), "--at-once", "2")
    parses(text)
    assert {"--array=1-4%2", "--output=%x-%A_%a.log"} <= options(text)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    settings = [["--lr", "0.1", "--hidden=8"], ["--lr", "0.1", "--hidden=16"],
                ["--lr", "0.2", "--dropout", "0.3", "--hidden=8"], ["--lr", "0.2", "--dropout", "0.3", "--hidden=16"]]
    for number, setting in enumerate(settings, 1):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        words = started(text, tmp_path)
        assert words[words.index("train"):] == ["train", "my graph", "--fanouts", "3,3", *setting, "--run-dir",
                                                f"runs/x-5/{number}", "--resume", "auto"]
    in_one = printed(capsys, "sweep", "graph", "--run-dir", "out/all", "--grid", "lr=0.1 0.2", "--scheduler", "lsf")
    assert flags_of(in_one, "#BSUB")["-J"] == ["mpignn-sweep[1-2]"] and "out/all/\"$LSB_JOBINDEX\"" in in_one
    pbs = printed(capsys, "sweep", "graph", "--grid", "lr=0.1 0.2", "--scheduler", "pbs", "--at-once", "1")
    assert flags_of(pbs, "#PBS")["-J"] == ["1-2%1"]


SUBMIT = {"slurm": ("sbatch", 'echo "$n;cluster"'), "pbs": ("qsub", 'echo "$n.host"'),
          "lsf": ("bsub", 'echo "Job <$n> is submitted to queue <normal>."')}
AFTER = {"slurm": "--dependency=afterok:{0} --kill-on-invalid-dep=yes", "pbs": "-W depend=afterok:{0}.host",
         "lsf": "-w done({0}) -ti"}


@pytest.fixture(params=SUBMIT)
def scheduler(request, tmp_path, monkeypatch) -> str:
    """A scheduler whose command keeps what it gets, the number of a job in the name, and refuses the fourth job."""
    program, says = SUBMIT[request.param]
    (tmp_path / program).write_text(f"""#!/usr/bin/env bash
cd {tmp_path}; n=$(($(ls script-* 2>/dev/null | wc -l) + 1)); cat > script-$n; echo "$*" >> calls
[ $n != "${{REFUSED:-none}}" ] || {{ rm script-$n; echo "no such queue" >&2; exit 1; }}
{says}
""")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return request.param


CHAIN = ("chain", "my tables", "graphs/mine", "--parts", "4", "--hidden", "8", "--seed", "3", "--stage", "$TMPDIR/g",
         "--top-k", "5", "--gpus", "1")


def test_a_chain_is_handed_over_job_after_job(scheduler, tmp_path, capfd):
    assert main(["slurm", "--scheduler", scheduler, "--submit", *CHAIN]) == 0
    out, err = capfd.readouterr()
    end = ".host" if scheduler == "pbs" else ""
    assert out.splitlines()[:4] == [f"{name}: job {number}{end}" for number, name in enumerate(
        ("partition", "train", "infer", "report"), 1)] and not err
    assert "runs/mine/report.html" in out.splitlines()[4]
    calls = (tmp_path / "calls").read_text().splitlines()
    before = "--parsable " if scheduler == "slurm" else ""
    assert [call.strip() for call in calls] == [before.strip(), *(before + AFTER[scheduler].format(n)
                                                                  for n in (1, 2, 3))]
    scripts = [(tmp_path / f"script-{number}").read_text() for number in (1, 2, 3, 4)]
    for text, has in zip(scripts, ("partition 'my tables' graphs/mine --parts 4 --seed 3",
                                   "train graphs/mine --hidden 8 --seed 3 --stage '$TMPDIR/g' --run-dir runs/mine --",
                                   "infer runs/mine --stage '$TMPDIR/g' --top-k 5 --out runs/mine/predictions.csv",
                                   "report runs/mine\n"), strict=True):
        parses(text)
        assert f"-m mpignn {has}" in text
    assert [any("gpu" in word for words in directives(text, text.splitlines()[2].split()[0]) for word in words)
            for text in scripts] == [False, True, True, False]


def test_what_a_scheduler_refuses_is_told_with_what_is_there_already(scheduler, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("REFUSED", "3")
    assert main(["slurm", "--scheduler", scheduler, "--submit", *CHAIN]) == 2
    out, err = capfd.readouterr()
    assert out.count("job") == 2 and "no such queue" in err and "did not take the job infer" in err
    assert f"{ {'slurm': 'scancel 1 2', 'pbs': 'qdel 1.host 2.host', 'lsf': 'bkill 1 2'}[scheduler]}" in err


def test_one_job_and_a_sweep_are_handed_over(scheduler, capfd):
    assert main(["slurm", "--scheduler", scheduler, "--submit", "partition", "src", "out"]) == 0
    assert capfd.readouterr().out.startswith("partition: job 1")
    assert main(["slurm", "--scheduler", scheduler, "--submit", "sweep", "graph", "--grid", "lr=0.1 0.2"]) == 0
    assert "report runs/mpignn-sweep-2/*" in capfd.readouterr().out


def test_a_machine_without_the_scheduler_is_told_of(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert "no sbatch here" in refused(capsys, "--submit", "graph")


def test_a_printed_chain_is_what_is_handed_over(tmp_path, capsys):
    text = printed(capsys, *CHAIN, "--job-name", "all of it")
    parses(text)
    assert all(f'--job-name="all of it-{step}"' in text for step in ("partition", "train", "infer", "report"))
