"""The command `slurm`: job scripts for a batch scheduler, printed or handed over."""

import argparse
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from mpignn import say
from mpignn.batch import CHAIN, COMMANDS, INTERFACES, LAUNCHERS, SWEEP, Setting, Step, hand_over, runs, script
from mpignn.cli_data import refuse_mpirun
from mpignn.config import AUTO, Config
from mpignn.errors import ConfigError, os_errors
from mpignn.graph.likeness import one_of
from mpignn.options import nearest
from mpignn.partition.methods import METHODS
from mpignn.schedulers import PASSED_ON, SCHEDULERS, SLURM, Allocation
from mpignn.tables.endings import table_of

KINDS = (*COMMANDS, CHAIN, SWEEP)


@dataclass(frozen=True)
class Commands:
    """The commands that jobs run, as the command line has them.

    Attributes:
        read: Parses the words behind a command, or raises `ConfigError`.
        configured: The settings that parsed words of `train` mean, or raises `ConfigError`.
        parsers: Parser of each command, by its name.
    """

    read: Callable[[str, Sequence[str]], argparse.Namespace]
    configured: Callable[[argparse.Namespace], Config]
    parsers: Mapping[str, argparse.ArgumentParser]


# Options of `slurm`: fields of `Allocation` and `Setting`.
_ALLOCATION = {"job_name": "name of the job (default: mpignn- and the command)", "nodes": "number of nodes",
               "ntasks_per_node": "ranks on each node (default: 2; of partition: 1)",
               "cpus_per_task": "cores of each rank", "time": "time limit of the job, as Slurm reads it",
               "warning": "seconds before that limit at which training stops with a checkpoint (default: 120, or half "
                          "of the time)"}
_SETTING = {"scheduler": "of which the script is; PBS is PBS Pro and OpenPBS",
            "launcher": "mpirun of Open MPI, mpiexec of MPICH, srun; auto: by the mpirun that is there",
            "mpi": "of srun: pmi2 for MPICH, pmix for Open MPI", "python": "interpreter that has mpignn",
            "venv": "virtual environment to enter", "container": "image that has mpignn, for Apptainer",
            "container_args": "words for Apptainer, as in --container-args='--bind /scratch'"}
_CHOICES = {"scheduler": tuple(SCHEDULERS), "launcher": tuple(LAUNCHERS), "mpi": INTERFACES}


def slurm_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (f"mpignn slurm [options] [{' | '.join(KINDS)}] ...   (behind these words: as without slurm)\n"
                    "       mpignn slurm [options] chain SRC GRAPH ...   (options of partition, train and infer)\n"
                    '       mpignn slurm [options] sweep GRAPH ... --grid "lr=0.01 0.001" --grid "hidden=64 256"')
    parser.epilog = ("chain: partition, train, infer and report, each once the one before has done well.  sweep: "
                     "train, once for each setting of the grid or file.  docs/guide/schedulers.md says more.")
    for name, text in (*_ALLOCATION.items(), *_SETTING.items()):
        value = getattr(Allocation() if name in _ALLOCATION else Setting(), name)
        number: dict[str, Any] = {"type": int} if isinstance(value, int) or name == "warning" else {}
        told = value not in (None, "") and "default" not in text
        parser.add_argument(_flag(name), dest=name, default=None if name == "ntasks_per_node" else value, **number,
                            metavar=None if name in _CHOICES else name.upper(), choices=_CHOICES.get(name),
                            help=text + (f" (default: {value})" if told else ""))
    parser.add_argument("--module", dest="modules", action="append", default=[], metavar="NAME",
                        help="environment module to load; may be repeated")
    parser.add_argument("--setup", action="append", default=[], metavar="LINE",
                        help="line of shell to run once modules are loaded; may be repeated")
    parser.add_argument("--exclusive", action="store_true", help="nodes are for this job alone")
    parser.add_argument("--submit", action="store_true", help="hand the jobs over and print their numbers, not the "
                                                              "script")
    parser.add_argument("--grid", action="append", default=[], metavar='"NAME=VALUE ..."',
                        help="of sweep: values of an option of train; may be repeated: each with each")
    parser.add_argument("--settings", metavar="FILE", help="of sweep: options of train, a line for each run")
    parser.add_argument("--at-once", type=int, metavar="N", help="of sweep: so many runs at a time (default: all)")
    parser.add_argument("--sbatch", "--qsub", "--bsub", dest="others", action="append", default=[], metavar="OPTION",
                        help="any other option of the scheduler, as in --sbatch=--hint=nomultithread or "
                             "--qsub='-P project'; may be repeated")
    passed_on = parser.add_argument_group("passed on to the scheduler, under the names of sbatch")
    for name in PASSED_ON:
        passed_on.add_argument(f"--{name}", dest=f"asked {name}", metavar="VALUE", default=argparse.SUPPRESS)
    parser.set_defaults(takes_words=True)


def slurm(arguments: argparse.Namespace, commands: Commands) -> int:
    """Print job scripts, or hand the jobs over.

    Raises:
        ConfigError: Words that the job would refuse, or the scheduler.
    """
    refuse_mpirun("slurm")
    given, words = vars(arguments), list(arguments.words)
    kind = words.pop(0) if words and words[0] in KINDS else "train"
    if words and words[0] in commands.parsers and words[0] not in KINDS:
        raise ConfigError(f"slurm: no script is made of the command {words[0]}, but of: {', '.join(KINDS)}; a graph "
                          f"of that name is ./{words[0]}")
    _check_kind(kind, given)
    asked, setting = _asked(kind, given)
    steps = _chain(words, commands) if kind == CHAIN else [_sweep(words, given, commands) if kind == SWEEP else
                                                           _step(kind, words, commands, asked)]
    if given["submit"]:
        numbers = _submit(hand_over(setting, asked, steps), setting.scheduler)
        say.tell(_next(steps, setting, asked, numbers))
    else:
        say.deliver((hand_over(setting, asked, steps) if kind == CHAIN else script(setting, asked, steps[0])), end="")
    return 0


def _asked(kind: str, given: Mapping[str, Any]) -> tuple[Allocation, Setting]:
    allocation = {name: given[name] for name in (*_ALLOCATION, "exclusive", "others")}
    if given["ntasks_per_node"] is None:
        allocation["ntasks_per_node"] = 1 if kind == "partition" else Allocation().ntasks_per_node
    passed_on = {key.removeprefix("asked "): value for key, value in given.items() if key.startswith("asked ")}
    setting = Setting(**{name: given[name] for name in (*_SETTING, "modules", "setup")})
    if given["mpi"] != Setting().mpi and given["launcher"] != "srun":
        raise ConfigError("--mpi is of --launcher srun: give that, too, or leave it out")
    if given["container_args"] and given["container"] is None:
        raise ConfigError("--container-args has no effect without --container: leave it out, or name the image")
    return Allocation(**allocation, passed_on=passed_on), setting


def _check_kind(kind: str, given: Mapping[str, Any]) -> None:
    """Raise if there are options of `sweep` without it, or one is missing, or an array is asked for that is one."""
    of_sweep = {"--grid": given["grid"], "--settings": given["settings"], "--at-once": given["at_once"]}
    idle = [flag for flag, value in of_sweep.items() if value not in (None, [])]
    if kind != SWEEP and idle:
        raise ConfigError(f"slurm: {idle[0]} is of sweep: leave it out, or write slurm sweep ...")
    if kind == SWEEP and not (given["grid"] or given["settings"]):
        raise ConfigError('slurm sweep: say what differs: --grid "lr=0.01 0.001", or --settings FILE with the options '
                          "of a run in each line")
    if kind in (CHAIN, SWEEP) and "asked array" in given:
        raise ConfigError(f"slurm {kind}: leave out --array" + (
            ": the array has a job for each setting; --at-once 2 lets two run at a time" if kind == SWEEP else ""))


def _step(command: str, words: Sequence[str], commands: Commands, asked: Allocation) -> Step:
    try:
        job = commands.read(command, words)
    except ConfigError as error:
        late = next((word for word in words if word in KINDS), None)
        if late is None:
            raise
        raise ConfigError(f"{error}; options of the job stand behind the word {late}") from None
    _check_job(job)
    if command == "partition":
        return Step(command, words, within=str(Path(job.out).parent))
    if command != "train":
        return Step(command, words)
    config = commands.configured(job)       # refuses what the job would refuse; a run need not be there yet
    resume = config.checkpoint.resume
    named = config.train.run_dir is not None or resume not in (None, AUTO)
    if named and "array" in asked.passed_on:
        raise ConfigError("--array with the folder of a run: all jobs of the array would share it; leave out --run-dir "
                          "or the run to --resume, and each gets one of its own")
    return Step(command, words, run=not named, resumes=resume is None,
                limited=config.checkpoint.time_limit is not None)


def _sweep(words: Sequence[str], given: Mapping[str, Any], commands: Commands) -> Step:
    grids = [_values(text) for text in given["grid"]]
    lines = [[]] if given["settings"] is None else _lines(Path(given["settings"]))
    settings = [[*line, *point] for line in lines for point in product(*grids)]
    if len(settings) < 2:
        raise ConfigError("slurm sweep: there is one setting only: give more values, or write slurm train ...")
    for more in settings:
        config = commands.configured(commands.read("train", [*words, *more]))
        if config.checkpoint.resume not in (None, AUTO):
            raise ConfigError("slurm sweep: leave out --resume: each run goes on by itself")
    parents = {commands.configured(commands.read("train", [*words, *more])).train.run_dir for more in settings}
    if len(parents) > 1:
        raise ConfigError("slurm sweep: --run-dir is the folder of all runs, each of which gets one in it: give it "
                          "once, behind sweep")
    return Step("train", _without(words, "--run-dir"), resumes=config.checkpoint.resume is None, settings=settings,
                parent=parents.pop(), at_once=given["at_once"], limited=config.checkpoint.time_limit is not None)


def _values(text: str) -> list[str]:
    """The words of an option with each of its values: of ``lr=0.1 0.01``, ``--lr=0.1`` and ``--lr=0.01``."""
    name, equals, rest = text.partition("=")
    values = _split(rest, f"--grid {text}")
    if not equals or not re.fullmatch(r"-{0,2}[a-z][\w-]*", name) or not values:
        raise ConfigError(f'--grid {text}: expected an option and its values, as in --grid "lr=0.01 0.001"')
    return [f"--{name.lstrip('-').replace('_', '-')}={value}" for value in values]


def _lines(path: Path) -> list[list[str]]:
    with os_errors(ConfigError, f"--settings {path}: cannot be read"):
        lines = path.read_text(encoding="utf-8").splitlines()
    found = [_split(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)
             if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise ConfigError(f"--settings {path}: there is no line with options")
    return found


def _split(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {str(error).lower()}") from None


def _chain(words: Sequence[str], commands: Commands) -> list[Step]:
    """Partition, train, infer and report, each with those of the options that it has."""
    places, dealt = _deal(words, {name: commands.parsers[name] for name in ("partition", "train", "infer")})
    if len(places) != 2:
        raise ConfigError("slurm chain: name the source and the partitioned graph to make of it, as in slurm chain SRC "
                          f"graphs/mine --parts 4; these are {len(places)} name(s)")
    source, graph = places
    config = commands.configured(commands.read("train", [graph, *dealt["train"]]))
    if config.checkpoint.resume not in (None, AUTO):
        raise ConfigError("slurm chain: leave out --resume: a job that trains goes on by itself")
    run = config.train.run_dir or f"runs/{Path(graph).name}"
    trained = [] if config.train.run_dir else ["--run-dir", run]
    out = [] if any(word.split("=")[0] == "--out" for word in dealt["infer"]) else ["--out", f"{run}/predictions.csv"]
    steps = [Step("partition", [source, graph, *dealt["partition"]], within=str(Path(graph).parent)),
             Step("train", [graph, *dealt["train"], *trained], resumes=config.checkpoint.resume is None,
                  limited=config.checkpoint.time_limit is not None),
             Step("infer", [run, *dealt["infer"], *out]), Step("report", [run], alone=True)]
    for step in steps:
        _check_job(commands.read(step.command, step.words))
    return steps


def _check_job(job: argparse.Namespace) -> None:
    """Raise for words that `partition` or `infer` would refuse however the files are that it reads."""
    given = vars(job)
    method, out = given.get("method"), given.get("out")
    if method is not None and method not in METHODS and not Path(method).is_file():
        raise ConfigError(f"--method {method}: neither a file nor {one_of(method, METHODS)}")
    if out is not None and "top_k" in given:        # predictions
        table_of(Path(out))


_NOT_IN_A_CHAIN = {"--dry-run": "a chain is there to train", "--sampled": "give it to infer by hand",
                   "--like": "new tables want no training: partition them, and infer RUN NEW"}
_NOT_OF_INFER = ("--model", "--model-args", "--on-unknown")       # of the run, and of its graph


def _deal(words: Sequence[str], parsers: Mapping[str, argparse.ArgumentParser]
          ) -> tuple[list[str], dict[str, list[str]]]:
    """The words that are no options, and the options of each command that has them, with their values."""
    places: list[str] = []
    dealt: dict[str, list[str]] = {name: [] for name in parsers}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            places.append(word)
            continue
        name = word.partition("=")[0]
        if name in _NOT_IN_A_CHAIN:
            raise ConfigError(f"slurm chain: leave out {name}: {_NOT_IN_A_CHAIN[name]}")
        has = {step: action for step, parser in parsers.items() if not (step == "infer" and name in _NOT_OF_INFER)
               and (action := parser._option_string_actions.get(name))}
        if not has:
            known = [flag for parser in parsers.values() for flag in parser._option_string_actions]
            raise ConfigError(f"slurm chain: unknown option {name}{nearest(name, known)}")
        taken = [word]
        nargs = next(iter(has.values())).nargs
        if "=" not in word and left and (nargs is None or nargs == "?" and not left[0].startswith("-")):
            taken.append(left.pop(0))
        for step in has:
            dealt[step] += taken
    return places, dealt


def _without(words: Sequence[str], flag: str) -> list[str]:
    """Words without an option and its value."""
    kept: list[str] = []
    for number, word in enumerate(words):
        if word.split("=")[0] != flag and (number == 0 or words[number - 1] != flag):
            kept.append(word)
    return kept


def _submit(text: str, scheduler: str) -> list[str]:
    """Hand jobs over; returns their numbers."""
    program = SCHEDULERS[scheduler].submit.split()[0]
    if shutil.which(program) is None:
        raise ConfigError(f"--submit: there is no {program} here: run this on a login node"
                          + (" or give --scheduler pbs or lsf" if scheduler == SLURM else "")
                          + "; without --submit the script is printed")
    done = subprocess.run(["bash"], input=text, text=True, stdout=subprocess.PIPE, check=False)
    say.deliver(done.stdout, end="")
    if done.returncode:
        raise ConfigError(f"--submit: {program} refused, see above")
    return re.findall(r": job (\S+)$", done.stdout, re.MULTILINE)


def _next(steps: Sequence[Step], setting: Setting, asked: Allocation, numbers: Sequence[str]) -> str:
    """What to type when the jobs have ended."""
    last = steps[-1]
    end = f"to end {'them' if len(numbers) > 1 else 'it'}: {SCHEDULERS[setting.scheduler].cancel} {' '.join(numbers)}"
    if last.settings:
        folder = runs(setting, asked, last).replace("-*/", f"-{re.split(r'[.[]', numbers[0])[0]}/")
        return f"{end}; when all have ended: python -m mpignn report {folder}"
    if last.command == "report":
        return f"{end}; when all have ended: {last.words[0]}/report.html"
    return end


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
