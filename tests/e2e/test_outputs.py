"""What a command writes, and where: outputs are checked before the work, and a standard output that fails ends none."""

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from mpirun import MPIS, environment, forked, launcher, missing, python, read_only, run

TRAIN = ["--fanouts", "2", "--hidden", "4", "--epochs", "3"]
MPIGNN = [sys.executable, "-m", "mpignn"]


def shell(line: str, *words: str, cwd: Path, **env: str):
    """Run a command whose words are ``"$@"`` in a line of the shell."""
    return run(["bash", "-c", f"set -o pipefail; {line}", "bash", *words], cwd=cwd, env=env, fresh=True)


@pytest.mark.parametrize(("line", "said"), [('"$@" | head -1', ""), ('"$@" > /dev/full', "No space left on device"),
                                            ('"$@" >&-', ""), ('PYTHONIOENCODING=ascii "$@"', "test accuracy")])
def test_a_standard_output_that_fails_ends_no_training(graphs, tmp_path, line, said):
    done = shell(line, *MPIGNN, "train", str(graphs["one"]), *TRAIN, "--run-dir", "rün", cwd=tmp_path)
    assert done.returncode == 0 and said in done.stdout + done.stderr, str(done)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, str(done)
    events = [json.loads(line)["event"] for line in (tmp_path / "rün" / "metrics.jsonl").read_text().splitlines()]
    assert events.count("epoch") == 3 and events[-1] == "final"
    assert (tmp_path / "rün" / "trained").is_dir()


def test_a_standard_output_that_fails_is_an_error_where_it_is_what_a_command_is_for(graphs, tmp_path):
    for words in (["slurm", "graph"], ["--help"]):
        done = shell('"$@" > /dev/full', *MPIGNN, *words, cwd=tmp_path)
        assert done.returncode == 4 and "No space left" in done.stderr and "Traceback" not in done.stderr, str(done)
    for words in (["info", str(graphs["one"])], ["info"]):
        done = shell('"$@" | true', *MPIGNN, *words, cwd=tmp_path)
        assert done.returncode == 0 and done.stderr == "", str(done)


def test_an_output_is_refused_before_the_work(source, graphs, tmp_path):
    for name in ("there", "ro"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.npz").write_text("precious")
    (tmp_path / "dangling").symlink_to("nowhere")
    lasting = {path: path.lstat() for path in tmp_path.iterdir()}
    program = ("import sys\nfrom mpignn.cli import main\nimport mpignn.storage.sources as sources\n"
               "sources.read_source = sources.Path.is_fifo = None\n"      # whoever works before it looks fails
               "import mpignn.storage.write as write, mpignn.storage.datasets_knowledge as knowledge\n"
               "write.read_source = knowledge.load_knowledge = None\n"
               "print(*[main(words) for words in {calls!r}])")
    calls = [["partition", str(source), out, "--parts", "2"] for out in ("there", "none/out", "file.npz/out",
                                                                        "dangling")]
    calls += [["synth", out, "--nodes", "100000000"] for out in ("there", "none/out", "file.npz/out", "dangling")]
    calls += [["data", "nations", "--out", out] for out in ("file.npz", "none/out.npz", "file.npz/out.npz")]
    done = run([sys.executable, "-c", program.format(calls=calls)], cwd=tmp_path, fresh=True)
    assert done.stdout.split() == ["2"] * len(calls), str(done)
    assert done.stderr.count("mpignn: error:") == len(calls) and "Traceback" not in done.stderr, str(done)
    assert {path: path.lstat() for path in tmp_path.iterdir()} == lasting


@pytest.fixture(scope="module")
def trained(graphs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    done = run([*MPIGNN, "train", str(graphs["one"]), *TRAIN, "--run-dir", "run"], cwd=folder)
    assert done.returncode == 0, str(done)
    return folder / "run"


def test_infer_refuses_an_output_before_the_work(graphs, trained, tmp_path):
    graph = graphs["one"]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(graph / "graph.h5")
    before = (graph / "graph.h5").read_bytes()
    # In one process there is one job: what is refused leaves it as it was.
    calls = [["infer", str(trained), "--out", str(out)] for out in (
        "/dev/null", "none/pred.h5", ".", "pipe", "link", graph / "part-00000.h5", trained / "config.toml",
        *sorted(trained.glob("trained/*/*.h5")))]
    assert len(calls) == 8
    program = ("import mpignn.cli, mpignn.job.open_graph\nmpignn.job.open_graph._load = None\n"       # nothing is read
               f"print(*[mpignn.cli.main(words) for words in {calls!r}])")
    done = run([sys.executable, "-c", program], cwd=tmp_path)
    assert done.stdout.split() == ["2"] * len(calls), str(done)
    assert done.stderr.count("mpignn: error:") == len(calls) and "Traceback" not in done.stderr, str(done)
    assert (graph / "graph.h5").read_bytes() == before and Path("/dev/null").is_char_device()


def test_infer_replaces_what_it_wrote_beside_what_it_reads(graphs, trained):
    outs = [graphs["one"] / "pred.h5", trained / "infer" / "pred.h5"]
    calls = [["infer", str(trained), "--out", str(out)] for out in outs]
    (trained / "infer").mkdir(exist_ok=True)
    for out in outs:
        out.write_text("of an earlier job")
    done = run([sys.executable, "-c", f"import mpignn.cli\nprint(*[mpignn.cli.main(words) for words in {calls!r}])"])
    assert done.stdout.splitlines()[-1] == "0 0", str(done)
    assert {out.read_bytes()[1:4] for out in outs} == {b"HDF"}
    outs[0].unlink()


def test_infer_writes_through_a_link(trained, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "pred.h5").write_text("old")
    (tmp_path / "link.h5").symlink_to("disk/pred.h5")
    done = run([*MPIGNN, "infer", str(trained), "--out", "link.h5"], cwd=tmp_path)
    assert done.returncode == 0, str(done)
    assert (tmp_path / "link.h5").is_symlink() and (tmp_path / "disk" / "pred.h5").read_bytes()[1:4] == b"HDF"
    assert sorted(path.name for path in tmp_path.glob("**/*")) == ["disk", "link.h5", "pred.h5"]


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
@pytest.mark.parametrize("np", [1, 3])
def test_a_run_that_cannot_be_written_is_used_and_left_as_it_is(trained, tmp_path, np, mpi):
    """Also where others have measured it, whose claim nobody can judge."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    if np > 1:
        (trained / "eval").mkdir(exist_ok=True)
        (trained / "eval" / ".claim-1").write_text("{}")
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    start = [*read_only(trained), *(launcher(np, mpi) if np > 1 else ()), python(mpi), "-m", "mpignn"]
    for command, words, said in (("eval", [], "; eval.json is not written"), ("infer", ["--out", "p.csv"], "p.csv")):
        done = run([*start, command, str(trained), *words], cwd=tmp_path)
        told = f"{trained / command} cannot be written (Read-only file system): this job keeps nothing there"
        assert done.returncode == 0 and done.stderr.count("WARNING") == 1 and told in done.stderr, str(done)
        assert done.stdout.rstrip().endswith(said), str(done)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 4001
    done = run([*start, "train", "--resume", str(trained)], cwd=tmp_path)
    assert done.returncode == 4 and f"{trained}: cannot be written: Read-only file system" in done.stderr, str(done)
    assert done.stderr.count("mpignn: error:") == 1 and "Traceback" not in done.stderr, str(done)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]


# Progress.

LONG = ["--fanouts", "2", "--hidden", "4", "--batch-size", "10", "--epochs", "2", "--eval-every", "0"]


def at_a_terminal(command: list[str], cwd: Path) -> bytes:
    """What a terminal shows of a command."""
    master, slave = pty.openpty()
    job = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL, cwd=cwd, env={
        **environment(), "TERM": "xterm"}, start_new_session=True)
    os.close(slave)
    shown = b""
    try:
        while select.select([master], [], [], 120)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:         # all have closed it
                break
            shown += piece
        assert job.wait(10) == 0, shown
    finally:
        job.kill()
        os.close(master)
    return shown


@pytest.mark.parametrize("mpi", [None, *MPIS])
def test_a_bar_is_shown_at_the_terminal_of_the_launcher_and_nowhere_else(graphs, tmp_path, mpi):
    if mpi is not None and missing(mpi):
        pytest.skip(missing(mpi))
    words = ["-m", "mpignn", "train", str(graphs["one"]), *LONG, "--run-dir"]
    start = [sys.executable] if mpi is None else [*launcher(2, mpi), python(mpi)]
    # A rank looks for its launcher, which is no parent of one that is forked.
    shown = at_a_terminal([*(forked(start) if mpi is None else start), *words, "one"], tmp_path)
    assert b"\x1b[K" in shown and b": step " in shown and b" left, " in shown, shown
    done = run([*start, *words, "two"], cwd=tmp_path)
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr, str(done)
