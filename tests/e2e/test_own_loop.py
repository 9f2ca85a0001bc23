"""A training loop of one's own is stopped at a step and goes on, on other ranks too, as if nothing had happened."""

import re
import signal
import sys
import uuid

import numpy as np
import pytest

from mpirun import MPIS, ROOT, kill, launcher, missing, mpirun, processes, python, run, start

EXAMPLE = str(ROOT / "jobs/examples/train_embeddings.py")
STEPS, STOPPED = 120, 75


def losses(output: str) -> dict[int, float]:
    """By number of the step; fails where a step is told twice."""
    found = re.findall(r"step (\d+): loss ([\d.]+)", output)
    assert len(dict(found)) == len(found)
    return {int(step): float(loss) for step, loss in found}


@pytest.fixture(scope="module")
def alone(graphs, tmp_path_factory):
    """The losses of one process that nobody stops."""
    folder = tmp_path_factory.mktemp("alone")
    done = run([sys.executable, EXAMPLE, str(graphs["one"]), str(folder / "kept")], cwd=folder)
    assert done.returncode == 0, str(done)
    return losses(done.stdout)


def test_the_example_learns(alone):
    values = np.array([alone[step] for step in range(STEPS)])
    assert values[-10:].mean() < 0.7 * values[:10].mean()


@pytest.mark.parametrize("mpi", ["mpich", pytest.param("openmpi", marks=pytest.mark.long)])
def test_a_loop_of_ones_own_is_stopped_and_goes_on_on_other_ranks(alone, graphs, tmp_path, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    token, told = uuid.uuid4().hex, {}
    job = start([*launcher(3, mpi), python(mpi), EXAMPLE, str(graphs["metis4"]), str(tmp_path / "kept")], token,
                cwd=tmp_path, fresh=False)
    try:
        lines = []
        for line in job.stdout:
            lines.append(line)
            if "step 20:" in line:
                job.send_signal(signal.SIGUSR1)
        output = "".join(lines)
        assert job.wait(60) == STOPPED, output
    finally:
        kill(processes(token))
        job.stdout.close()
        job.wait()
    assert output.count("mpignn: stopped: asked to stop after") == 1 and "Traceback" not in output, output
    told = losses(output)
    newest = max(path.name for path in (tmp_path / "kept").glob("step-*"))
    assert 21 <= len(told) < STEPS and newest == f"step-{len(told):09d}"
    done = mpirun([EXAMPLE, str(graphs["random4"]), str(tmp_path / "kept")], 2, "mpich", cwd=tmp_path)
    assert done.returncode == 0, str(done)
    rest = losses(done.stdout)
    assert sorted([*told, *rest]) == list(range(STEPS))
    told |= rest
    np.testing.assert_allclose([told[step] for step in range(STEPS)], [alone[step] for step in range(STEPS)], rtol=2e-3)


WORLD_LOOP = """
import os, signal, sys
import mpignn as mg
world = mg.initialize()
with mg.open_graph(world, sys.argv[1]) as g:
    if world.is_trainer:
        kept = mg.Checkpoints(sys.argv[2], g)
        kept.resume()
        while True:
            if world.rank == world.size - 1 and kept.steps % 5 == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            kept.step()
"""


@pytest.mark.parametrize(("np_", "mpi"), [(1, "mpich"), (3, "mpich"),
                                         pytest.param(3, "openmpi", marks=pytest.mark.long)])
def test_a_loop_without_run_leaves_with_the_same_exit_code(graphs, tmp_path, np_, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    words = ["-c", WORLD_LOOP, str(graphs["one"]), str(tmp_path / "kept")]
    for steps in (4, 9):
        done = run([sys.executable, *words], cwd=tmp_path) if np_ == 1 else mpirun(words, np_, mpi, cwd=tmp_path)
        assert done.returncode == STOPPED and "Traceback" not in done.stderr, str(done)
        assert done.stderr.count(f"mpignn: stopped: asked to stop after {steps} steps") == 1, str(done)


def test_a_loop_that_keeps_nothing_ends_by_a_signal(graphs, tmp_path):
    script = "import mpignn as mg, os, signal\nmg.run(lambda g, world: os.kill(os.getpid(), signal.SIGTERM), 'graph')"
    (tmp_path / "graph").symlink_to(graphs["one"])
    assert run([sys.executable, "-c", script], cwd=tmp_path).returncode == -signal.SIGTERM


@pytest.mark.by_turns
@pytest.mark.parametrize("mpi", MPIS)
def test_a_wrapped_module_learns_without_a_warning(mpi):
    """What torch says of a module, that it uses all its parameters: on another rank it may not."""
    if missing(mpi):
        pytest.skip(missing(mpi))
    program = ("import torch; import mpignn as mg; world = mg.initialize(servers_per_node=0)\n"
               "model = mg.wrap(torch.nn.Linear(3, 2), world)\n"
               "for _ in range(2): model(torch.ones(2, 3)).sum().backward()\n")
    done = mpirun(["-c", program], 2, mpi)
    assert done.returncode == 0 and "find_unused_parameters" not in done.stderr, str(done)
