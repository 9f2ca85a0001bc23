"""Every command, alone and under both launchers: it does its work, or says why not, and ends."""

import sys

import pytest

from mpignn.cli import _COMMANDS
from mpirun import MPIS, missing, mpirun, run

# Arguments of each command; what it prints where it works.
USES = {
    "train": (["{graph}", "--fanouts", "2", "--hidden", "4", "--epochs", "1", "--run-dir", "run"], "test accuracy"),
    "eval": (["run"], "test accuracy"),
    "infer": (["run", "--out", "pred.h5"], "wrote pred.h5"),
    "partition": (["{source}", "cut", "--parts", "2"], "cut: 2 partitions"),
    "describe": (["{tables}"], '[edges."paper:cites:paper"]'),
    "check": (["{graph}"], "no problem found"),
    "info": ([], "mpi4py"),
    "bench": (["gather", "{graph}", "--repeats", "1", "--fanouts", "2"], "% of plain copy"),
    "data": (["nations", "--out", "nations.npz", "--from", "/dev/null"], ""),
    "report": (["run"], "wrote run/report.html"),
    "warmup": ([], "all kernels were compiled before"),
    "slurm": (["{graph}"], "#SBATCH"),
    "completion": (["bash"], "mpignn"),
    "synth": (["made", "--nodes", "1000", "--avg-degree", "4"], "wrote made"),
}
OF_JOBS = ("train", "eval", "infer", "info", "partition", "check", "bench", "warmup")
ONE_PROCESS = [name for name in USES if name not in OF_JOBS]
EXIT_CODES = {"data": 3}        # /dev/null is no package


def words(command, source, graphs):
    named = {"source": source, "graph": graphs["one"], "tables": source.parent / "tables"}
    return [word.format(**named) for word in (command, *USES[command][0])]


def sound(done, command):
    text = done.stdout + done.stderr
    assert not done.timed_out and "Traceback" not in text, str(done)
    assert done.returncode == EXIT_CODES.get(command, 0), str(done)
    assert text.count("mpignn: error:") == (command in EXIT_CODES), str(done)
    assert USES[command][1] in done.stdout, str(done)


def test_every_command_is_used_here():
    assert set(USES) == set(_COMMANDS)


def test_every_command_works_alone(source, graphs, tmp_path):
    for command in USES:
        sound(run([sys.executable, "-m", "mpignn", *words(command, source, graphs)], cwd=tmp_path), command)


@pytest.mark.parametrize("mpi", MPIS)
def test_every_command_works_on_two_ranks_or_refuses_them(source, graphs, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    for command in OF_JOBS:
        sound(mpirun(["-m", "mpignn", *words(command, source, graphs)], 2, mpi, cwd=tmp_path), command)
    before = sorted(tmp_path.iterdir())
    calls = [words(command, source, graphs) for command in ONE_PROCESS] + [["info", str(graphs["one"])]]
    # One piece: what two ranks print piece by piece at the same time comes mixed out of the launcher.
    program = f"from mpignn.cli import main\nprint(''.join(f'{{main(words)}} ' for words in {calls!r}), end='')"
    done = mpirun(["-c", program], 2, mpi, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.split() == ["2"] * 2 * len(calls), str(done)
    assert done.stderr.count("mpignn: error:") == done.stderr.count("without mpirun") == len(calls), str(done)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["partition", "info"])
def test_srun_without_its_mpi_plugin_starts_no_command_several_times(source, graphs, tmp_path, command):
    """The first task tells, and the others leave in silence."""
    for rank in "01":
        done = run([sys.executable, "-m", "mpignn", *words(command, source, graphs)], cwd=tmp_path,
                   env={"SLURM_PROCID": rank, "SLURM_STEP_NUM_TASKS": "2"})
        assert done.returncode == 2 and done.stdout == "" and not any(tmp_path.iterdir()), str(done)
        assert done.stderr.count("mpignn: error:") == (rank == "0"), str(done)


def test_an_error_is_told_where_a_rank_is_left_behind_without_a_job(tmp_path):
    done = run([sys.executable, "-m", "mpignn", "check", "none"], cwd=tmp_path, env={"SLURM_PROCID": "1"})
    assert done.returncode == 3 and done.stderr.count("mpignn: error:") == 1, str(done)


def test_threads_are_as_many_as_omp_num_threads_says(tmp_path):
    done = run([sys.executable, "-m", "mpignn", "info"], cwd=tmp_path, env={"OMP_NUM_THREADS": "7"})
    assert done.returncode == 0 and "7 thread(s) each" in done.stdout, str(done)


ENDINGS = """
import sys
import mpignn
world = mpignn.initialize()
if sys.argv[1] == "hook":
    sys.excepthook = lambda kind, error, trace: print("my hook:", error, file=sys.stderr, flush=True)
if sys.argv[1] == "all exit":
    sys.exit(5)
if world.rank == 1:
    if sys.argv[1] == "exit":
        sys.exit(3)
    if sys.argv[1] == "return":
        raise SystemExit
    if sys.argv[1] == "print":
        sys.stdout = open("/dev/full", "w")
        print("something", flush=True)
    raise RuntimeError("injected")
world.all.barrier()
"""


@pytest.mark.parametrize(("mpi", "how", "said"), [
    ("mpich", "exit", "world rank 1 has left the program"), ("openmpi", "return", "world rank 1 has left the program"),
    ("mpich", "hook", "my hook: injected"), ("openmpi", "hook", "my hook: injected"),
    ("mpich", "print", "No space left on device"), ("openmpi", "raise", "RuntimeError: injected")])
def test_a_rank_that_leaves_after_initialize_ends_the_job(tmp_path, mpi, how, said):
    if missing(mpi):
        pytest.skip(missing(mpi))
    done = mpirun(["-c", ENDINGS, how], 3, mpi, timeout=60)
    assert not done.timed_out and done.returncode != 0 and said in done.stderr, str(done)
    assert done.stderr.count("Traceback") == (how != "hook") and "[world" in done.stderr, str(done)


def test_ranks_that_all_leave_after_initialize_leave_in_order(tmp_path):
    done = mpirun(["-c", ENDINGS, "all exit"], 3, timeout=60)
    assert done.returncode == 5 and "bort" not in done.stderr and "mpignn:" not in done.stderr, str(done)
