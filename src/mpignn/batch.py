"""Job scripts for a batch scheduler: of one command on several ranks, of an array, of jobs that wait for each other."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mpignn.errors import ConfigError
from mpignn.schedulers import GPU_OPTIONS, SCHEDULERS, SLURM, Allocation, Scheduler, Wanted

COMMANDS = ("partition", "train", "eval", "infer")
CHAIN, SWEEP = "chain", "sweep"

LAUNCHERS: Mapping[str, tuple[str, ...]] = {
    "auto": (),
    "mpirun": ("mpirun", "--map-by", "slot:PE={cpus}", "--bind-to", "core"),
    "mpiexec": ("mpiexec", "-bind-to", "core:{cpus}"),
    "srun": ("srun", "--mpi={mpi}", "--cpu-bind=cores", "--cpus-per-task={cpus}"),
}
"""How ranks are started and bound: Open MPI's mpirun, MPICH's mpiexec, and srun; auto: by the mpirun that is there."""

_OF_HOSTFILE = {"mpirun": "--hostfile", "mpiexec": "-f"}
INTERFACES = ("pmi2", "pmix")
"""What srun and the MPI library may talk by: MPICH's, and Open MPI's."""


@dataclass(frozen=True)
class Setting:
    """How a job finds its program and starts it.

    Attributes:
        scheduler: One of `SCHEDULERS`.
        launcher: One of `LAUNCHERS`.
        mpi: One of `INTERFACES`, for srun.
        python: Interpreter that has mpignn.
        modules: Environment modules to load.
        venv: A virtual environment to enter; None: none.
        container: An image that has mpignn, for Apptainer; None: none.
        container_args: Words for it, such as ``--bind /scratch``; None: none.
        setup: Lines of shell before the environment is entered.
    """

    scheduler: str = SLURM
    launcher: str = "auto"
    mpi: str = "pmi2"
    python: str = "python"
    modules: Sequence[str] = ()
    venv: str | None = None
    container: str | None = None
    container_args: str | None = None
    setup: Sequence[str] = ()


@dataclass(frozen=True)
class Step:
    """One job.

    Attributes:
        command: Command of mpignn.
        words: Behind it, as a user types them.
        alone: Whether it is one process, without launcher.
        run: Whether the job is given a run folder of its own, which its words do not name.
        resumes: Whether a job that trains goes on with that folder; else its words say what to go on from.
        settings: More words, for each job of an array.
        parent: Folder of the folders of an array's runs; None: one with the name and number of the array.
        at_once: How many jobs of an array may run at a time; None: all.
        limited: Whether its words give a job that trains a time limit.
        within: Folder in which it makes another one; None: it makes none.
    """

    command: str
    words: Sequence[str]
    alone: bool = False
    run: bool = False
    resumes: bool = False
    settings: Sequence[Sequence[str]] = ()
    parent: str | None = None
    at_once: int | None = None
    limited: bool = False
    within: str | None = None

    @property
    def trains(self) -> bool:
        return self.command == "train"


_HEAD = """\
#!/usr/bin/env bash
# Made by `mpignn slurm`: {what}.
{directives}
{setup}set -u
export OMP_NUM_THREADS={cpus}
"""

_PYTHON = """\
python={python}
command -v -- "$python" >/dev/null || {{ echo "no such program: $python" >&2; exit 127; }}
PATH=$(dirname -- "$(command -v -- "$python")"):$PATH       # the mpirun of a virtual environment lies beside its Python
"""

_CONTAINER = """\
python={python}
for inside in apptainer singularity none; do command -v "$inside" >/dev/null && break; done
[ "$inside" != none ] || {{ echo "no such program: apptainer" >&2; exit 127; }}
"""

# Each MPI's mpirun refuses the other one's options.
_FIND_OUT = """\
case $(mpirun --version 2>&1) in
    *"Open MPI"*) start=({openmpi}) ;;
    *HYDRA*) start=({mpich}) ;;
    *) start=(mpirun) ;;
esac"""

WAITING = """\
# The launcher is told to stop before the end of the time, and tells the ranks, which write a checkpoint and leave with
# exit code 75.  A rank that is still starting shall not die of it.
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
"""

_REQUEUE = """\
if [ "$code" -eq 75 ]; then
    {requeue} && exec sleep 300     # which the scheduler ends
    echo "stopped with a checkpoint, and cannot go back into the queue from here; on a login node:  {by_hand}" >&2
fi
"""

_HAND_OVER = """\
#!/usr/bin/env bash
# Made by `mpignn slurm`: hands {count} job(s) over to {title}, each of which waits for the one before.
set -u -o pipefail
id= ids=
hand_over() {{       # name; the job's script is read from standard input
    id=$({submit} ${{id:+{after}}} | sed -n {number})
    if [ -z "$id" ]; then
        echo "{title} did not take the job $1${{ids:+; to take back the ones before: {cancel}$ids}}" >&2
        exit 1
    fi
    ids="$ids $id"
    echo "$1: job $id"
}}
"""
_END = "END_OF_THE_JOB_SCRIPT"


def script(setting: Setting, asked: Allocation, step: Step) -> str:
    """The text of a job script; one that trains goes on with its run and is put back into the queue when stopped.

    Args:
        setting: How it finds the program.
        asked: What is asked of the scheduler.
        step: What it does.

    Raises:
        ConfigError: Something that the scheduler would not take, or read as something else.
    """
    scheduler = SCHEDULERS[setting.scheduler]
    asked = _asked_for(asked, step)
    _check(setting, asked, step)
    wanted = Wanted(_name(asked, step), step.trains, len(step.settings), step.at_once)
    directives = "\n".join(f"{scheduler.comment} {words}" for words in scheduler.directives(asked, wanted))
    head = _HEAD.format(what=_what(asked, step), directives=directives, cpus=asked.cpus_per_task,
                        setup="".join(f"{line}\n" for line in _setup(setting, scheduler)))
    return head + _start(setting, asked, scheduler, step) + _body(setting, asked, scheduler, step)


def hand_over(setting: Setting, asked: Allocation, steps: Sequence[Step]) -> str:
    """The text of a shell script that hands jobs over, each of which waits for the end of the one before.

    Args:
        setting, asked: As for `script`.
        steps: What they do.

    Raises:
        ConfigError: As `script` does.
    """
    scheduler = SCHEDULERS[setting.scheduler]
    text = _HAND_OVER.format(count=len(steps), title=scheduler.title, submit=scheduler.submit, after=scheduler.after,
                             number=scheduler.number, cancel=scheduler.cancel)
    for step in steps:
        name = asked.job_name if asked.job_name is None or len(steps) == 1 else f"{asked.job_name}-{step.command}"
        text += f"\nhand_over {step.command} <<'{_END}'\n{script(setting, replace(asked, job_name=name), step)}{_END}\n"
    return text


def runs(setting: Setting, asked: Allocation, step: Step) -> str:
    """The folders of an array's runs, as a shell finds them once the array has begun."""
    return f"{step.parent or f'runs/{shlex.quote(_name(asked, step))}-*'}/*"


def _name(asked: Allocation, step: Step) -> str:
    named = SWEEP if step.settings else step.command
    return asked.job_name if asked.job_name is not None else f"mpignn-{named}"


def _what(asked: Allocation, step: Step) -> str:
    if step.alone or asked.ranks == 1:
        return f"{step.command}, by one process"
    ranks = f"{asked.ntasks_per_node} ranks on each of {asked.nodes} node(s)"
    if step.command == "partition":
        return f"{ranks}, which cut a graph together"
    if step.settings:
        return f"{len(step.settings)} jobs of {ranks}; when they have ended: mpignn report RUNS/*"
    return f"{ranks}, of which the first of a node serves and the others work"


def _asked_for(asked: Allocation, step: Step) -> Allocation:
    """What this step needs of what is asked for: GPUs only where something computes on them."""
    if step.alone:
        asked = replace(asked, nodes=1, ntasks_per_node=1, cpus_per_task=1)
    if step.command in ("partition", "report"):
        kept = {name: value for name, value in asked.passed_on.items()
                if name not in GPU_OPTIONS or name == "gres" and "gpu" not in value}
        asked = replace(asked, passed_on=kept)
    return asked


def _setup(setting: Setting, scheduler: Scheduler) -> list[str]:
    """What comes before anything else: the folder, modules, environment."""
    lines = [scheduler.folder] if scheduler.folder else []
    if setting.modules:
        lines += ["command -v module >/dev/null || . /etc/profile",
                  f"module load {shlex.join(setting.modules)} || exit 1"]
    lines += setting.setup      # which may bring the environment to the node
    return lines if setting.venv is None else [*lines, f". {shlex.quote(setting.venv)}/bin/activate || exit 1"]


def _start(setting: Setting, asked: Allocation, scheduler: Scheduler, step: Step) -> str:
    text = (_PYTHON if setting.container is None else _CONTAINER).format(python=shlex.quote(setting.python))
    if step.alone or step.command == "partition" and asked.ranks == 1:
        return text + "start=(env)     # one process needs no launcher\n"
    if setting.launcher != "auto":
        return text + f"start=({_launcher(setting.launcher, setting, asked, scheduler)})\n"
    openmpi, mpich = (_launcher(name, setting, asked, scheduler) for name in ("mpirun", "mpiexec"))
    return text + _FIND_OUT.format(openmpi=openmpi, mpich=mpich.replace("mpiexec", "mpirun", 1)) + "\n"


def _launcher(name: str, setting: Setting, asked: Allocation, scheduler: Scheduler) -> str:
    words = shlex.join(word.format(cpus=asked.cpus_per_task, mpi=setting.mpi) for word in LAUNCHERS[name])
    if scheduler.hostfile:
        words += f' {_OF_HOSTFILE[name]} "{scheduler.hostfile}" -n {asked.ranks}'
    return words


def _body(setting: Setting, asked: Allocation, scheduler: Scheduler, step: Step) -> str:
    inside = '"$python"'
    if setting.container is not None:
        nv = "--nv " if any(name in asked.passed_on for name in GPU_OPTIONS) else ""
        args = shlex.join(shlex.split(setting.container_args or ""))
        inside = f'"$inside" exec {nv}{args + " " if args else ""}{shlex.quote(setting.container)} "$python"'
    job = f'"${{start[@]}}" {inside} -m mpignn {shlex.join([step.command, *step.words])}'
    text = "\n"
    if step.settings:
        text += _choice(scheduler, step.settings)
        parent = f'"runs/{scheduler.name}-{scheduler.job}"' if step.parent is None else shlex.quote(step.parent)
        job += f' "$@" --run-dir {parent}/"{scheduler.task}"'
    elif step.run:
        text += f'run=${{RUN_DIR:-runs/{scheduler.name}-{_own_number(scheduler)}}}\n\n'
        job += ' --run-dir "$run"'
    if step.within is not None:
        text += f"mkdir -p {shlex.quote(step.within)} || exit 1\n"
    if not step.trains:
        return f"{text}exec {job}\n"
    if step.resumes:
        job += " --resume auto"
    if not scheduler.warns and asked.seconds is not None and not step.limited:
        job += f" --time-limit {asked.seconds - asked.stop_before}"
    return f'{text}{WAITING.replace("{command}", job)}{requeue(setting.scheduler, step.run)}exit "$code"\n'


def requeue(name: str, run: bool) -> str:
    """What a script does when its ranks have stopped with a checkpoint.

    Args:
        name: One of `SCHEDULERS`.
        run: Whether the script has its run folder in ``$run``, which another job would not have.
    """
    scheduler = SCHEDULERS[name]
    if not scheduler.requeue:
        return ""       # the exit code does it
    again = f"{'RUN_DIR=' + chr(39) + '$run' + chr(39) + ' ' if run else ''}{scheduler.submit.split()[0]} SCRIPT"
    by_hand = f"{scheduler.requeue_by_hand}  or, once it is forgotten,  {again}" if scheduler.requeue_by_hand else again
    return _REQUEUE.format(requeue=scheduler.requeue, by_hand=by_hand)


def _own_number(scheduler: Scheduler) -> str:
    """That of the job alone, also in an array that the user asks for."""
    return "$SLURM_JOB_ID" if scheduler is SCHEDULERS[SLURM] else scheduler.job


def _choice(scheduler: Scheduler, settings: Sequence[Sequence[str]]) -> str:
    cases = "".join(f"    {number}) set -- {shlex.join(words)} ;;\n" for number, words in enumerate(settings, 1))
    return (f'case {scheduler.task} in\n{cases}'
            f'    *) echo "no setting has the number {scheduler.task}" >&2; exit 2 ;;\nesac\n')


def _check(setting: Setting, asked: Allocation, step: Step) -> None:
    for flag, count in (("--nodes", asked.nodes), ("--ntasks-per-node", asked.ntasks_per_node),
                        ("--cpus-per-task", asked.cpus_per_task), ("--warning", asked.stop_before),
                        ("--at-once", 1 if step.at_once is None else step.at_once)):
        if count < 1:
            raise ConfigError(f"{flag}: {count} is less than 1")
    if step.trains and asked.seconds is not None and asked.seconds <= asked.stop_before:
        raise ConfigError(f"--warning: {asked.stop_before} s are no less than the {asked.seconds} s of --time")
    if setting.launcher == "srun" and setting.scheduler != SLURM:
        raise ConfigError(f"--launcher: srun is Slurm's: leave it out with --scheduler {setting.scheduler}")
    if "/" in (asked.job_name or ""):
        raise ConfigError(f"--job-name: {asked.job_name!r} has a slash, and names the log file and the run folder")
    for flag, value in {"job-name": asked.job_name, **asked.passed_on}.items():
        if value is not None and not _is_told(value):
            raise ConfigError(f"--{flag}: {value!r} cannot be written into a job script: leave out quotes, backslashes "
                              "and line ends, and give at least one character")
    for word in asked.others:
        if not re.match(r"--?[a-zA-Z]", word) or not _is_told(word.replace('"', "")):
            raise ConfigError(f"--sbatch: {word!r} is no option of {SCHEDULERS[setting.scheduler].title}: write it as "
                              "in --sbatch=--hint=nomultithread")
    written = [setting.python, setting.venv, setting.container, setting.container_args, *setting.modules,
               *setting.setup, *step.words, *(word for words in step.settings for word in words)]
    for text in written:
        if text is not None and not text.isprintable():
            raise ConfigError(f"{text!r} cannot be written into a job script: it has a character that does not print")


def _is_told(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set("\"'\\")
