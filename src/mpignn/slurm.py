"""A Slurm job script for a command on several ranks."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mpignn.errors import ConfigError

COMMANDS = ("train", "eval", "infer")
LAUNCHERS: dict[str, tuple[str, ...]] = {
    "auto": (),
    "mpirun": ("mpirun", "--map-by", "slot:PE={cpus}", "--bind-to", "core"),
    "mpiexec": ("mpiexec", "-bind-to", "core:{cpus}"),
    "srun": ("srun", "--mpi=pmi2", "--cpu-bind=cores", "--cpus-per-task={cpus}"),
}
"""How ranks are started and bound: Open MPI's mpirun, MPICH's mpiexec, and srun for MPICH; auto: by the mpirun that is
there."""

PASSED_ON = ("partition", "account", "qos", "constraint", "mem", "mem-per-cpu", "gpus", "gpus-per-node",
             "gpus-per-task", "gres", "array", "reservation", "dependency", "begin", "licenses", "mail-type",
             "mail-user", "output", "error")
"""Options of sbatch that need no word of ours; any other one goes by ``--sbatch``."""

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.,:;=+@%/()\[\]{}&|*!?~^-]+")

_HEAD = """\
#!/usr/bin/env bash
# Made by `mpignn slurm`: {tasks} ranks on each of {nodes} node(s), of which the first serves and the others train.
{options}
set -u
export OMP_NUM_THREADS={cpus}
python={python}
command -v -- "$python" >/dev/null || {{ echo "no such program: $python" >&2; exit 127; }}
PATH=$(dirname -- "$(command -v -- "$python")"):$PATH       # the mpirun of a virtual environment lies beside its Python
{start}
"""

# Each MPI's mpirun refuses the other one's options.
_FIND_OUT = """\
case $(mpirun --version 2>&1) in
    *"Open MPI"*) start=({openmpi}) ;;
    *HYDRA*) start=({mpich}) ;;
    *) start=(mpirun) ;;
esac"""

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
        job_name: Name of the job; None: mpignn and the command.
        nodes: Number of nodes.
        ntasks_per_node: Ranks on each node.
        cpus_per_task: Cores of each rank.
        time: Time limit, as Slurm reads it.
        launcher: One of `LAUNCHERS`.
        python: Interpreter that has mpignn.
        exclusive: Whether the nodes are for this job alone.
        passed_on: Values of some of `PASSED_ON`.
        sbatch: Other options of sbatch, as they are written there, such as ``--hint=nomultithread``.
    """

    job_name: str | None = None
    nodes: int = 1
    ntasks_per_node: int = 2
    cpus_per_task: int = 1
    time: str = "01:00:00"
    launcher: str = "auto"
    python: str = "python"
    exclusive: bool = False
    passed_on: Mapping[str, str] = field(default_factory=dict)
    sbatch: Sequence[str] = ()


def script(wanted: Allocation, command: str, words: Sequence[str], names_run: bool = False,
           resumes: bool = False) -> str:
    """The text of a job script; one that trains goes on with its run and is put back into the queue when stopped.

    Args:
        wanted: What is asked of Slurm.
        command: One of `COMMANDS`.
        words: Behind it, as a user types them.
        names_run: Whether these say in which folder the run is; else the job has one of its own.
        resumes: Whether they say what to go on from; else the job goes on with that folder.

    Raises:
        ConfigError: Something that Slurm would not take, or read as something else.
    """
    _check(wanted, words)
    if names_run and "array" in wanted.passed_on:
        raise ConfigError("--array with the folder of a run: all jobs of the array would share it; leave out --run-dir "
                          "or the run to --resume, and each gets one of its own")
    cpus, trains = wanted.cpus_per_task, command == "train"
    name = wanted.job_name if wanted.job_name is not None else f"mpignn-{command}"
    options = {"job-name": name, "nodes": wanted.nodes, "ntasks-per-node": wanted.ntasks_per_node,
               "cpus-per-task": cpus, "time": wanted.time, "output": "%x-%j.log", **wanted.passed_on}
    lines = [_option(f"--{key}", str(value)) for key, value in options.items()]
    lines += ["#SBATCH --exclusive"] if wanted.exclusive else []
    lines += [_option(*word.split("=", 1)) for word in wanted.sbatch]
    lines += ["#SBATCH --open-mode=append"]
    lines += ["#SBATCH --signal=B:USR1@120", "#SBATCH --requeue"] if trains else []
    start = f"start=({_launcher(wanted.launcher, cpus)})"
    if wanted.launcher == "auto":
        start = _FIND_OUT.format(openmpi=_launcher("mpirun", cpus),
                                 mpich=_launcher("mpiexec", cpus).replace("mpiexec", "mpirun"))
    head = _HEAD.format(tasks=wanted.ntasks_per_node, nodes=wanted.nodes, options="\n".join(lines), cpus=cpus,
                        python=shlex.quote(wanted.python), start=start)
    job = f'"${{start[@]}}" "$python" -m mpignn {shlex.join([command, *words])}'
    if not trains:
        return f"{head}\nexec {job}\n"
    if not names_run:
        job += ' --run-dir "runs/$SLURM_JOB_NAME-$SLURM_JOB_ID"'
    if not resumes:
        job += " --resume auto"
    return f"{head}\n{WAITING.replace('{command}', job)}"


def _launcher(name: str, cpus: int) -> str:
    return shlex.join(word.format(cpus=cpus) for word in LAUNCHERS[name])


def _option(name: str, value: str | None = None) -> str:
    """A line that sbatch reads; it knows double quotes, and nothing inside them but what ends them."""
    if value is None:
        return f"#SBATCH {name}"
    return f"#SBATCH {name}={value if _PLAIN.fullmatch(value) else f'{chr(34)}{value}{chr(34)}'}"


def _check(wanted: Allocation, words: Sequence[str]) -> None:
    for flag, count in (("--nodes", wanted.nodes), ("--ntasks-per-node", wanted.ntasks_per_node),
                        ("--cpus-per-task", wanted.cpus_per_task)):
        if count < 1:
            raise ConfigError(f"{flag}: {count} is less than 1")
    if not _TIME.fullmatch(wanted.time):
        raise ConfigError(f"--time: {wanted.time!r} is no time of Slurm's: give minutes, hours:minutes:seconds, or "
                          "days-hours")
    if wanted.launcher not in LAUNCHERS:
        raise ConfigError(f"--launcher: {wanted.launcher!r} is not one of: {', '.join(LAUNCHERS)}")
    if "/" in (wanted.job_name or ""):
        raise ConfigError(f"--job-name: {wanted.job_name!r} has a slash, and names the log file and the run folder")
    for flag, value in {"job-name": wanted.job_name, **wanted.passed_on}.items():
        if value is not None and not _is_told_to_sbatch(value):
            raise ConfigError(f"--{flag}: {value!r} cannot be written into a job script: leave out quotes, backslashes "
                              "and line ends, and give at least one character")
    for word in wanted.sbatch:
        if not re.match(r"--?[a-zA-Z]", word) or not _is_told_to_sbatch(word):
            raise ConfigError(f"--sbatch: {word!r} is no option of sbatch: write it as in "
                              "--sbatch=--hint=nomultithread")
    for word in (wanted.python, *words):
        if not word.isprintable():
            raise ConfigError(f"{word!r} cannot be written into a job script: it has a character that does not print")


def _is_told_to_sbatch(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set("\"'\\")
