"""A Slurm job script for a training run, made from the run's own settings."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LAUNCHERS = {
    "mpirun": "mpirun --map-by slot:PE={cpus} --bind-to core",
    "mpiexec": "mpiexec -bind-to core:{cpus}",
    "srun": "srun --mpi=pmi2 --cpu-bind=cores --cpus-per-task={cpus}",
}
"""How ranks are started and bound: Open MPI's mpirun, MPICH's mpiexec, and srun for MPICH."""

_SCRIPT = """\
#!/usr/bin/env bash
# Made by `mpignn slurm`: {tasks} ranks on each of {nodes} node(s), of which the first serves and the others train.
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node={tasks}
#SBATCH --cpus-per-task={cpus}
#SBATCH --time={time}
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
set -u
export OMP_NUM_THREADS={cpus}

"""

WAITING = """\
# Slurm signals this script two minutes before the end of its time; it passes that on to the launcher, and that to the
# ranks, which write a checkpoint and leave with exit code 75.  A rank that is still starting shall not die of it.
launcher=
trap 'signalled=yes; [ -z "$launcher" ] || kill -USR1 "$launcher"' USR1
(
    trap '' USR1
    exec {command}
) &
launcher=$!

signalled=yes
while [ -n "$signalled" ]; do       # a signal ends `wait`, but not the launcher
    signalled=
    wait "$launcher"
    code=$?
done
[ "$code" -eq 75 ] && scontrol requeue "$SLURM_JOB_ID" && exec sleep 300     # which Slurm ends
exit "$code"
"""


@dataclass(frozen=True)
class Allocation:
    """What is asked of Slurm.

    Attributes:
        name: Of the job.
        nodes: Number of nodes.
        tasks: Ranks on each node.
        cpus: Cores of each rank.
        time: Time limit, as Slurm reads it.
        launcher: One of `LAUNCHERS`.
        python: Interpreter that has mpignn.
    """

    name: str = "mpignn-train"
    nodes: int = 1
    tasks: int = 2
    cpus: int = 1
    time: str = "01:00:00"
    launcher: str = "mpirun"
    python: str = "python"


def script(wanted: Allocation, settings: Mapping[str, Any]) -> str:
    """The text of a job script that begins a run or goes on with it, and is put back into the queue when stopped.

    Args:
        wanted: What is asked of Slurm.
        settings: Of the run, by name; a text or True, as flags give them.
    """
    flags = [shlex.quote(str(settings["graph"]))] if "graph" in settings else []
    for name, value in settings.items():
        if name not in ("graph", "run_dir", "resume"):
            flag = "--" + name.replace("_", "-")
            flags.append(flag if value is True else f"{flag}={shlex.quote(str(value))}")
    run_dir = shlex.quote(str(settings["run_dir"])) if "run_dir" in settings else '"runs/$SLURM_JOB_NAME-$SLURM_JOB_ID"'
    launcher = LAUNCHERS[wanted.launcher].format(cpus=wanted.cpus)
    command = " ".join([launcher, shlex.quote(wanted.python), "-m mpignn train", *flags, "--run-dir", run_dir,
                        "--resume auto"])
    head = {"name": wanted.name, "nodes": wanted.nodes, "tasks": wanted.tasks, "cpus": wanted.cpus, "time": wanted.time}
    return _SCRIPT.format(**head) + WAITING.replace("{command}", command)
