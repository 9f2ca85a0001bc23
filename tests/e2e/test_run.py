"""A training program of one's own runs unchanged on any number of ranks, and ends as it should."""

import json
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpirun import MPIS, ROOT, missing, mpirun, run

EXAMPLE = str(ROOT / "jobs/examples/train_sage.py")
TASK = str(ROOT / "jobs/examples/train_task.py")


def program(words, np_, mpi, cwd):
    if missing(mpi):
        pytest.skip(missing(mpi))
    return run([sys.executable, *words], cwd=cwd) if np_ == 1 else mpirun(words, np_, mpi, cwd=cwd)


def losses(done):
    assert done.returncode == 0, str(done)
    return np.array([float(x) for x in re.findall(r"loss ([\d.]+)", done.stdout)])


@pytest.fixture(scope="module")
def alone(graphs, tmp_path_factory):
    """The example's losses in one process."""
    return losses(program([EXAMPLE, str(graphs["one"])], 1, "mpich", tmp_path_factory.mktemp("alone")))


def test_the_example_is_short_and_learns(alone):
    lines = (ROOT / "jobs/examples/train_sage.py").read_text().split("import sys\n")[1].splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 30
    assert alone.shape == (9,) and alone[-1] < 0.6 * alone[0]


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_the_example_learns_the_same_on_any_number_of_ranks(alone, graphs, tmp_path, mpi):
    got = losses(program([EXAMPLE, str(graphs["metis4"])], 3, mpi, tmp_path))
    np.testing.assert_allclose(got, alone, rtol=1e-4)


def test_a_task_with_a_model_and_a_loader_of_ones_own(graphs, source, tmp_path):
    assert sum(bool(line.strip()) for line in Path(TASK).read_text().splitlines()) < 40
    found = []
    for np_, cut in (1, "one"), (3, "metis4"):
        folder = tmp_path / str(np_)
        folder.mkdir()
        done = program([TASK, str(graphs[cut])], np_, "mpich", folder)
        assert done.returncode == 0, str(done)
        found.append({name: float(value) for name, value in re.findall(r"'(\w+)': ([\d.]+)", done.stdout)})
        with h5py.File(folder / "pred.h5") as file:
            said = file["node/_N/prediction"][:]
        test = np.load(source / "test_mask.npy")
        assert np.mean(said[test] == np.load(source / "labels.npy")[test]) == pytest.approx(found[-1]["test_acc_whole"])
        (run_dir,) = (folder / "runs").iterdir()
        events = 3 * 5 + 3 + 1 + 1      # steps, epochs, classes and the end
        assert len((run_dir / "metrics.jsonl").read_text().splitlines()) == events
    assert found[0].keys() == {"val_acc", "test_acc", "test_acc_whole"} and found[0]["test_acc_whole"] > 0.6
    assert found[1] == pytest.approx(found[0], abs=0.005)       # in float32


def script(folder, body, **config):
    settings = "".join(f", {key}={value!r}" for key, value in config.items())
    path = folder / "script.py"
    path.write_text(f"import sys\nimport mpignn as mg\n\ndef main(g, world):\n    {body}\n\n"
                    f"mg.run(main, sys.argv[1:] if len(sys.argv) > 2 else sys.argv[1]{settings})\nprint('after')\n")
    return str(path)


def test_initialize_gives_the_same_world_or_refuses(graphs, tmp_path):
    body = ("print('same', mg.initialize() is world is mg.initialize(servers_per_node=1))\n"
            "    mg.initialize(servers_per_node=2)")
    done = program([script(tmp_path, body, servers_per_node=1), str(graphs["one"])], 2, "mpich", tmp_path)
    assert done.returncode == 1 and "same True" in done.stdout, str(done)
    assert "ConfigError: the job runs already, with servers_per_node = 1" in done.stderr, str(done)


def test_an_exception_on_one_trainer_is_printed_there_and_ends_the_job(graphs, tmp_path):
    body = "assert world.rank != 2, 'not on this one'"
    done = program([script(tmp_path, body), str(graphs["one"])], 3, "mpich", tmp_path)
    assert done.returncode not in (0, 3) and not done.timed_out, str(done)
    assert done.stderr.count("Traceback") == 1 and "not on this one" in done.stderr, str(done)
    assert "trainer 1/2 [world 2] failed in phase 'main'" in done.stderr, str(done)


@pytest.mark.parametrize("body", ["g.ndata['nope']", "{}['nope']"])
def test_a_program_alone_gets_its_errors_as_they_are(graphs, tmp_path, body):
    path = script(tmp_path, body)
    done = program([path, str(graphs["one"])], 1, "mpich", tmp_path)
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1, str(done)
    assert f'File "{path}", line 5, in main' in done.stderr and "nope" in done.stderr.splitlines()[-1], str(done)


def test_trainers_that_all_leave_main_by_sys_exit_leave_in_order(graphs, tmp_path):
    done = program([script(tmp_path, "sys.exit(5)"), str(graphs["one"])], 3, "mpich", tmp_path)
    assert done.returncode == 5 and "bort" not in done.stderr and "Traceback" not in done.stderr, str(done)


def test_a_trainer_that_leaves_main_alone_ends_the_job(graphs, tmp_path):
    body = "sys.exit(5) if world.rank == 1 else world.trainers.barrier()"
    done = program([script(tmp_path, body), str(graphs["one"])], 3, "mpich", tmp_path)
    assert done.returncode != 0 and not done.timed_out, str(done)
    assert "world rank 1 has come to the end of the graph" in done.stderr, str(done)


@pytest.mark.parametrize("np_", [1, 3])
def test_what_all_agree_on_is_told_once(graphs, tmp_path, np_):
    done = program([script(tmp_path, "pass"), str(tmp_path / "nope")], np_, "mpich", tmp_path)
    assert done.returncode == 3 and done.stderr.count("mpignn: error:") == 1, str(done)
    done = program([script(tmp_path, "pass", serverz=1), str(graphs["one"])], np_, "mpich", tmp_path)
    assert done.returncode == 2 and done.stderr.count("mpignn: error:") == 1, str(done)
    assert "did you mean servers_per_node?" in done.stderr or "unknown" in done.stderr, str(done)


def test_several_graphs(graphs, tmp_path):
    # One text, as two ranks print at the same time.
    body = "a, b = g; print(f'both {a.num_nodes()} {b.num_nodes()} {a.num_edges() == b.num_edges()}')"
    done = program([script(tmp_path, body), str(graphs["one"]), str(graphs["metis4"])], 3, "mpich", tmp_path)
    assert done.returncode == 0 and done.stdout.count("both 4000 4000 True") == 2, str(done)
    assert done.stdout.count("after") == 3


@pytest.mark.parametrize(("given", "found"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "active"}, "ACTIVE")])
def test_threads_of_torch_wait_asleep_unless_told_otherwise(graphs, tmp_path, given, found):
    """As the library of these threads tells when torch loads it."""
    done = run([sys.executable, "-m", "mpignn", "train", str(graphs["one"]), "--epochs", "1", "--run-dir", "run"],
               cwd=tmp_path, env={"OMP_DISPLAY_ENV": "true", **given})
    assert done.returncode == 0, str(done)
    assert set(re.findall(r"OMP_WAIT_POLICY = '(\w+)'", done.stderr)) == {found}, str(done)


TWICE = """
import json, sys
import torch
import mpignn as mg
def main(g, world):
    total = torch.ones(1)
    torch.distributed.all_reduce(total)
    assert total.item() == world.trainers.size
    settings = mg.settings()
    if world.trainer_index == 0:
        print(json.dumps([settings.train.lr, settings.train.run_dir]), flush=True)
mg.run(main, sys.argv[1], lr=0.5)
mg.run(main, sys.argv[1])
mg.run(lambda g, world: None, sys.argv[1], run_dir="third", hang_timeout=500)
"""


@pytest.mark.parametrize(("np_", "mpi"), [(1, "mpich"), (3, "mpich"), (3, "openmpi")])
def test_a_program_may_run_several_times(graphs, tmp_path, np_, mpi):
    done = program(["-c", TWICE, str(graphs["one"])], np_, mpi, tmp_path)
    assert done.returncode == 0, str(done)
    (first, here), (second, there) = (json.loads(line) for line in done.stdout.splitlines())
    assert (first, second) == (0.5, 0.003) and here != there
    assert all((tmp_path / path / "config.toml").is_file() for path in (here, there, "third"))
