"""A record of each batch scheduler: what scripts ask for, what it tells a job, how jobs are handed over and put back.

Job scripts of all of them are made of this one description; see `batch`.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mpignn.errors import ConfigError

PASSED_ON = ("partition", "account", "qos", "constraint", "mem", "mem-per-cpu", "gpus", "gpus-per-node",
             "gpus-per-task", "gres", "array", "reservation", "dependency", "begin", "licenses", "mail-type",
             "mail-user", "output", "error")
"""What may be asked of a scheduler under the names of sbatch, which takes all of it."""

GPU_OPTIONS = ("gpus", "gpus-per-node", "gpus-per-task", "gres")


@dataclass(frozen=True)
class Allocation:
    """What is asked of a scheduler for a job.

    Attributes:
        job_name: Name of the job; None: mpignn and the command.
        nodes: Number of nodes.
        ntasks_per_node: Ranks on each node.
        cpus_per_task: Cores of each rank.
        time: Time limit, as Slurm reads it.
        warning: Seconds before that limit at which a job that trains is asked to stop; None: 120, or half of the time.
        exclusive: Whether the nodes are for this job alone.
        passed_on: Values of some of `PASSED_ON`.
        others: Other options of the scheduler, as they are written there, such as ``--hint=nomultithread``.
    """

    job_name: str | None = None
    nodes: int = 1
    ntasks_per_node: int = 2
    cpus_per_task: int = 1
    time: str = "01:00:00"
    warning: int | None = None
    exclusive: bool = False
    passed_on: Mapping[str, str] = field(default_factory=dict)
    others: Sequence[str] = ()

    @property
    def ranks(self) -> int:
        return self.nodes * self.ntasks_per_node

    @property
    def stop_before(self) -> int:
        """Seconds before the limit at which a job that trains is asked to stop."""
        usual = 120 if self.seconds is None else min(120, self.seconds // 2)
        return usual if self.warning is None else self.warning

    @property
    def seconds(self) -> int | None:
        """The time limit; None: there is none.

        Raises:
            ConfigError: It is no time.
        """
        if not _TIME.fullmatch(self.time):
            raise ConfigError(f"--time: {self.time!r} is no time of Slurm's: give minutes, hours:minutes:seconds, or "
                              "days-hours")
        if not self.time[0].isdigit():
            return None
        days, dash, rest = self.time.rpartition("-")
        numbers = [int(word) for word in rest.split(":")]
        if dash:
            hours, minutes, seconds = (numbers + [0, 0])[:3]
        elif len(numbers) < 3:      # minutes, or minutes:seconds
            hours, (minutes, seconds) = 0, (numbers + [0])[:2]
        else:
            hours, minutes, seconds = numbers
        return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


@dataclass(frozen=True)
class Wanted:
    """What a script says of its job beside its `Allocation`.

    Attributes:
        name: Name of the job.
        trains: Whether it is to be stopped in time and put back into the queue.
        tasks: How many jobs its array has; 0: it is none.
        at_once: How many of them may run at a time; None: all.
    """

    name: str
    trains: bool = False
    tasks: int = 0
    at_once: int | None = None

    @property
    def limit(self) -> str:
        return "" if self.at_once is None else f"%{self.at_once}"


@dataclass(frozen=True)
class Scheduler:
    """One scheduler; what stands in a shell script is written as it stands there.

    Attributes:
        title: Its name, as messages tell it.
        comment: What its directives begin with.
        directives: Words of each directive.
        submit: Command that reads a script from standard input and prints the job's number, and whatever else.
        number: Options of ``sed -n`` that find that number in what it prints.
        after: Options of the command for a job that waits for the end of job ``$id``, and is gone if that one fails.
        cancel: What ends a job, the number of which follows.
        job, name, task: What a job has in its variables: its number (of an array: that of the whole), its name, and its
            number in the array, from 1.
        variables: Names of the variables that a job has, by what they say; see `launcher.batch_job`.
        folder: Line that goes to the folder in which the job was handed over; empty: it begins there.
        hostfile: File with a line for each rank; empty: launchers know the nodes by themselves.
        warns: Whether it sends a signal before the end of the time; else a job looks at the clock.
        requeue: Command that puts the running job back into the queue; empty: it does so by the exit code.
        requeue_by_hand: What to type for that after its end, where the command was missing or refused; empty: nothing.
    """

    title: str
    comment: str
    directives: Callable[[Allocation, Wanted], list[str]]
    submit: str
    number: str
    after: str
    cancel: str
    job: str
    name: str
    task: str
    variables: Mapping[str, str]
    folder: str
    hostfile: str
    warns: bool
    requeue: str
    requeue_by_hand: str


def _slurm(asked: Allocation, wanted: Wanted) -> list[str]:
    output = "%x-%A_%a.log" if wanted.tasks or "array" in asked.passed_on else "%x-%j.log"
    options = {"job-name": wanted.name, "nodes": asked.nodes, "ntasks-per-node": asked.ntasks_per_node,
               "cpus-per-task": asked.cpus_per_task, "time": asked.time, "output": output, **asked.passed_on}
    if wanted.tasks:
        options["array"] = f"1-{wanted.tasks}{wanted.limit}"
    lines = [f"--{key}={_quoted(str(value))}" for key, value in options.items()]
    lines += ["--exclusive"] if asked.exclusive else []
    lines += [_other(word) for word in asked.others] + ["--open-mode=append"]
    return lines + ([f"--signal=B:USR1@{asked.stop_before}", "--requeue"] if wanted.trains else [])


def _pbs(asked: Allocation, wanted: Wanted) -> list[str]:
    given = _known("PBS", "qsub", asked, "partition", "account", "mem", "gpus", "gpus-per-node", "gpus-per-task",
                   "begin", "mail-user", "output", "error", "dependency")
    chunk = {"ncpus": asked.ntasks_per_node * asked.cpus_per_task, "mpiprocs": asked.ntasks_per_node,
             "ompthreads": asked.cpus_per_task, "mem": _pbs_size(given.get("mem")), "ngpus": _gpus_of_node(asked)}
    select = ":".join([str(asked.nodes), *(f"{key}={value}" for key, value in chunk.items() if value)])
    lines = [f"-N {_plain_name('PBS', wanted.name)}", f"-l select={select}",
             f"-l place=scatter{':excl' if asked.exclusive else ''}"]
    if (seconds := asked.seconds) is not None:
        lines.append(f"-l walltime={seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}")
    flags = {"partition": "-q", "account": "-A", "begin": "-a", "mail-user": "-M", "output": "-o", "error": "-e",
             "dependency": "-W depend="}
    lines += [f"{flag}{'' if flag.endswith('=') else ' '}{_quoted(given[key])}" for key, flag in flags.items()
              if key in given]
    lines += [] if "error" in given else ["-j oe"]
    if wanted.tasks:
        lines.append(f"-J 1-{wanted.tasks}{wanted.limit}")
    return [*lines, "-V", "-r y" if wanted.trains else "-r n", *map(_other, asked.others)]


def _lsf(asked: Allocation, wanted: Wanted) -> list[str]:
    given = _known("LSF", "bsub", asked, "partition", "account", "constraint", "mem", "gpus", "gpus-per-node",
                   "gpus-per-task", "begin", "mail-user", "output", "error", "dependency")
    name = _plain_name("LSF", wanted.name)
    array = f"[1-{wanted.tasks}]{wanted.limit}" if wanted.tasks else ""
    lines = [f'-J "{name}{array}"', f"-n {asked.ranks}", f'-R "span[ptile={asked.ntasks_per_node}]"']
    if asked.cpus_per_task > 1:
        lines.append(f'-R "affinity[core({asked.cpus_per_task})]"')
    if "constraint" in given:
        lines.append(f'-R "select[{given["constraint"]}]"')
    if size := _pbs_size(given.get("mem")):
        lines.append(f'-R "rusage[mem={size.upper()}/host]"')
    if gpus := _gpus_of_node(asked):
        lines.append(f'-gpu "num={gpus}"')
    if (seconds := asked.seconds) is not None:
        minutes = math.ceil(seconds / 60)
        lines.append(f"-W {minutes // 60}:{minutes % 60:02d}")
    flags = {"partition": "-q", "account": "-P", "begin": "-b", "mail-user": "-u", "error": "-e", "dependency": "-w"}
    lines += [f"{flag} {_quoted(given[key])}" for key, flag in flags.items() if key in given]
    lines.append(f"-o {_quoted(given.get('output', name + ('-%J_%I.log' if wanted.tasks else '-%J.log')))}")
    lines += ["-x"] if asked.exclusive else []
    if wanted.trains:
        lines += [] if seconds is None else [f"-wa USR1 -wt {math.ceil(asked.stop_before / 60)}"]
        lines.append('-Q "75"')
    return lines + [_other(word) for word in asked.others]


SLURM, PBS, LSF = "slurm", "pbs", "lsf"
SCHEDULERS: Mapping[str, Scheduler] = {
    SLURM: Scheduler(
        "Slurm", "#SBATCH", _slurm, submit="sbatch --parsable", number="'s/^\\([0-9][0-9]*\\).*/\\1/p'",
        after="--dependency=afterok:$id --kill-on-invalid-dep=yes", cancel="scancel",
        job="${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}", name="$SLURM_JOB_NAME", task="$SLURM_ARRAY_TASK_ID",
        variables={"id": "SLURM_JOB_ID", "name": "SLURM_JOB_NAME", "partition": "SLURM_JOB_PARTITION",
                   "account": "SLURM_JOB_ACCOUNT", "nodes": "SLURM_JOB_NODELIST", "restarts": "SLURM_RESTART_COUNT",
                   "array": "SLURM_ARRAY_JOB_ID", "task": "SLURM_ARRAY_TASK_ID"},
        folder="", hostfile="", warns=True, requeue='scontrol requeue "$SLURM_JOB_ID"',
        requeue_by_hand="scontrol requeue $SLURM_JOB_ID"),
    PBS: Scheduler(
        "PBS", "#PBS", _pbs, submit="qsub", number="'s/^\\([0-9][][0-9]*[^ ]*\\)$/\\1/p'",
        after="-W depend=afterok:$id", cancel="qdel", job="${PBS_JOBID%%[.[]*}", name="$PBS_JOBNAME",
        task="$PBS_ARRAY_INDEX",
        variables={"id": "PBS_JOBID", "name": "PBS_JOBNAME", "partition": "PBS_QUEUE", "account": "PBS_ACCOUNT",
                   "array": "PBS_ARRAY_ID", "task": "PBS_ARRAY_INDEX"},
        folder='cd "$PBS_O_WORKDIR" || exit 1', hostfile="$PBS_NODEFILE", warns=False,
        requeue='qrerun "$PBS_JOBID"', requeue_by_hand=""),
    LSF: Scheduler(
        "LSF", "#BSUB", _lsf, submit="bsub", number="'s/^Job <\\([0-9]*\\)>.*/\\1/p'",
        after='-w "done($id)" -ti', cancel="bkill", job="$LSB_JOBID", name="${LSB_JOBNAME%%[[]*}", task="$LSB_JOBINDEX",
        variables={"id": "LSB_JOBID", "name": "LSB_JOBNAME", "partition": "LSB_QUEUE", "account": "LSB_PROJECT_NAME",
                   "nodes": "LSB_HOSTS", "task": "LSB_JOBINDEX"},
        folder="", hostfile="$LSB_DJOB_HOSTFILE", warns=True, requeue="",
        requeue_by_hand=""),
}

_TIME = re.compile(r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|infinite|unlimited", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.,:;=+@%/()\[\]{}&|*!?~^-]+")
_SIZE = re.compile(r"(\d+)([KMGT]?)B?", re.IGNORECASE)


def _quoted(value: str) -> str:
    """A value as schedulers read it: they know double quotes, and nothing inside them but what ends them."""
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


def _other(word: str) -> str:
    name, equals, value = word.partition("=")
    return name + equals + (_quoted(value) if equals and not value.startswith('"') else value)


def _known(title: str, command: str, asked: Allocation, *names: str) -> Mapping[str, str]:
    """What is passed on, if a scheduler has something for all of it."""
    for name in asked.passed_on:
        if name not in names:
            raise ConfigError(f"--{name}: {title} has nothing like it: leave it out, or write what your site has for "
                              f"it as it stands behind {command}, as in --{command}='-l ...'")
    return asked.passed_on


def _plain_name(title: str, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.+-]*", name):
        raise ConfigError(f"--job-name: {title} does not take {name!r}: use letters, digits and _ . + -, and begin "
                          "with a letter")
    return name


def _pbs_size(text: str | None) -> str | None:
    """Memory of a node, which sbatch reads in MB where no unit stands behind it."""
    if text is None:
        return None
    if not (found := _SIZE.fullmatch(text)):
        raise ConfigError(f"--mem: {text!r} is no size: give a number and K, M, G or T, as in 200G")
    return f"{found[1]}{found[2].lower() or 'm'}b"


def _gpus_of_node(asked: Allocation) -> int | None:
    """GPUs of a node, in whatever way they are asked for."""
    for name, per_node in (("gpus-per-node", 1.0), ("gpus-per-task", float(asked.ntasks_per_node)),
                           ("gpus", 1 / asked.nodes)):
        if name in asked.passed_on:
            text = asked.passed_on[name]
            number = int(text) * per_node if text.isdigit() else 0.5
            if number != int(number) or number < 1:
                raise ConfigError(f"--{name}: {text!r} is no number of GPUs that {asked.nodes} node(s) can share")
            return int(number)
    return None
