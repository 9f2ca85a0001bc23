"""The command line: ``mpirun -np N python -m mpignn [COMMAND] ...``."""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mpignn import __doc__ as summary
from mpignn import cli_batch, cli_bench, cli_data, cli_info, cli_report, launcher, say, stop
from mpignn.cli_parser import HELPS, Parser
from mpignn.config import CONFIG, Config, WorldConfig, field_names
from mpignn.errors import ConfigError, MpignnError, paths_named
from mpignn.files import almost_named
from mpignn.job.ending import FIRST_TELLS_S
from mpignn.job.launch import launch
from mpignn.job.runs import check_version
from mpignn.job.settings import check_moved, checked, configure, configure_training, of_run
from mpignn.job.work import DryRun, Evaluation, Inference, Training
from mpignn.options import add_flags, check_effects, load_config, named_choices, nearest
from mpignn.progress import display
from mpignn.version import version


def entry() -> None:
    """Run the program and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code.  Errors are told once, by the first rank of the job."""
    say.set_up()
    first = launcher.is_first()
    display.begin_command(argv)
    try:
        arguments = _parse(list(argv), first)
        if arguments.command in _JOBS:
            stop.listen()
        else:
            stop.stop_listening()
        with paths_named():
            return int(arguments.command(arguments))
    except MpignnError as error:
        if first:
            say.print_error(error)
        elif not error.agreed:      # told before MPI began: a launcher ends all ranks when one leaves with a code
            with suppress(KeyboardInterrupt):       # as it does with this one
                time.sleep(FIRST_TELLS_S)
        return error.exit_code
    except KeyboardInterrupt:
        told, code = stop.interrupted()
        if first:
            say.complain(told)
        return code
    except BrokenPipeError:         # the reader of our output, such as `head`, has seen enough
        return 0
    finally:
        display.end_command()


def _parse(argv: list[str], first: bool) -> argparse.Namespace:
    parser = _parser()
    if not argv or argv[0] not in (*_COMMANDS, *HELPS, "--version"):
        if argv and not argv[0].startswith("-"):
            raise ConfigError(f"unknown command {argv[0]!r}{nearest(argv[0], _COMMANDS)}")
        argv = ["train", *argv]
    if not first and {*HELPS, "--version"} & set(argv):
        sys.exit(0)
    arguments, unknown = parser.parse_known_args(_join_numbers(argv))
    if "takes_words" in arguments:
        arguments.words = unknown
    else:
        _refuse_unknown(argv[0], unknown, [_subparser(parser, argv[0])])
    _refuse_empty(argv[0], arguments, _subparser(parser, argv[0]))
    return arguments


def _refuse_unknown(command: str, words: Sequence[str], parsers: Sequence[argparse.ArgumentParser]) -> None:
    """Raise if there are words that none of some parsers has taken."""
    if words:
        known = [flag for parser in parsers for action in parser._actions for flag in action.option_strings]
        word = words[0].split("=")[0]
        what = f"unknown option {word}{nearest(word, known)}" if word.startswith("-") else f"unexpected {word!r}"
        raise ConfigError(f"{command}: {what}")


def _refuse_empty(command: str, arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise if a word is empty, as that of a variable is which nobody has set: a path of that is the current folder."""
    for action in parser._actions:
        given = getattr(arguments, action.dest, None)
        if given == "" or isinstance(given, list) and "" in given:
            name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest.upper()
            raise ConfigError(f"{command}: {name} is empty: write what it shall be, or leave it out")


def _join_numbers(argv: list[str]) -> list[str]:
    """``--fanouts -1,-1`` as ``--fanouts=-1,-1``: argparse takes the list for a flag."""
    words: list[str] = []
    for word in argv:
        if re.match(r"-\d", word) and words and words[-1].startswith("--") and "=" not in words[-1]:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _subparser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    (choice,) = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    found: argparse.ArgumentParser = choice.choices[command]
    return found


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="mpignn", description=summary,
                    epilog="Without a command: train.  Start it as `mpirun -np N python -m mpignn ...`; "
                           "only train, eval, infer, partition, check and bench want more than one rank.")
    parser.add_argument("--version", action="version", version=f"mpignn {version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for name, (text, add_arguments, run) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        add_arguments(command)
        command.set_defaults(command=run)
    return parser


def _train_arguments(parser: Parser) -> None:
    parser.add_argument("graph", metavar="GRAPH", nargs="?", default=argparse.SUPPRESS,
                        help="partitioned graph, or a bundled data set (default: wordnet)")
    parser.add_argument("--config", metavar="FILE", help="TOML file; flags override it")
    parser.add_argument("--dry-run", action="store_true",
                        help="do the first steps, tell what an epoch would take, and write nothing")
    parser.set_rare(add_flags(parser, skip=("graph",)))


def _train(arguments: argparse.Namespace) -> int:
    flags = {k: v for k, v in vars(arguments).items() if k not in ("command", "config", "dry_run")}
    work = (DryRun if arguments.dry_run else Training)(checked(configure_training(arguments.config, flags), flags),
                                                       flags)
    stop.limit(work.config.checkpoint.time_limit)
    return launch(work)


def _run_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run; if it has not ended: its best parameters so far")
    parser.add_argument("graph", metavar="GRAPH", nargs="?", default=argparse.SUPPRESS,
                        help="the graph, however it is partitioned; or new tables, if the run's graph was made of such "
                             "(default: that of the run)")
    taken = (*WorldConfig.__dataclass_fields__, "log", "model")
    parser.set_rare(add_flags(parser, skip=[name for name in field_names() if name not in taken]))
    parser.add_argument("--sampled", action="store_true", help="sample neighbors as in training, do not take all")
    parser.add_argument("--on-unknown", choices=("error", "drop"), help="of tables: whether edges with an end that is "
                        "no node are an error or are left out (default: as when the run's graph was made)")


def _of_run(arguments: argparse.Namespace, what: str) -> tuple[Config, dict[str, Any], Path]:
    """The settings of a run, those that were given now, and its folder."""
    run = Path(arguments.run)
    if not (run / CONFIG).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {CONFIG}{'' if run.exists() else almost_named(run)}")
    check_version(run)
    flags = {name: value for name, value in vars(arguments).items() if name in field_names()}
    config = of_run(run, None, {**flags, "run_dir": str(run / what)})
    if "model" in flags:
        check_moved(config.model.model, load_config(None, {}, run / CONFIG).model.model, run)
    check_effects(config, flags)
    return config, flags, run


def _eval(arguments: argparse.Namespace) -> int:
    config, flags, run = _of_run(arguments, "eval")
    return launch(Evaluation(config, flags, run, arguments.sampled, arguments.on_unknown))


def _infer_arguments(parser: Parser) -> None:
    _run_arguments(parser)
    parser.add_argument("--out", metavar="FILE", required=True,
                        help="file to write: .csv, .tsv, .csv.gz, .parquet or .h5; replaced if it is there")
    parser.add_argument("--split", help="edges to score, where the task is about edges (default: test, if there are "
                                        "such)")
    parser.add_argument("--nodes", metavar="FILE", help="ids of the nodes that are meant, one a line, where nodes are "
                                                        "predicted (default: all)")
    parser.add_argument("--top-k", metavar="K", type=int, help="the K best new links of each source, where links are "
                                                               "predicted")
    parser.add_argument("--sources", metavar="FILE", help="of --top-k: ids of the sources that are meant, one a line "
                                                          "(default: all)")


def _infer(arguments: argparse.Namespace) -> int:
    config, flags, run = _of_run(arguments, "infer")
    sources, nodes = (None if name is None else Path(name) for name in (arguments.sources, arguments.nodes))
    return launch(Inference(config, flags, run, arguments.sampled, arguments.on_unknown, Path(arguments.out),
                            arguments.split, arguments.top_k, sources, nodes))


def _slurm(arguments: argparse.Namespace) -> int:
    parser = _parser()

    def read(command: str, words: Sequence[str]) -> argparse.Namespace:
        job, unknown = parser.parse_known_args([command, *words])
        _refuse_unknown("slurm", unknown, [_subparser(parser, name) for name in ("slurm", command)])
        _refuse_empty(command, job, _subparser(parser, command))
        return job

    def configured(job: argparse.Namespace) -> Config:
        flags = {k: v for k, v in vars(job).items() if k in field_names()}
        return checked(configure(job.config, flags), flags)

    parsers = {name: _subparser(parser, name) for name in _COMMANDS}
    return cli_batch.slurm(arguments, cli_batch.Commands(read, configured, parsers))


def _completion_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(_SHELLS)}")
    parser.epilog = "For bash: mpignn completion bash >> ~/.bash_completion, and start a new shell."


_SHELLS = ("bash", "zsh", "tcsh")


def _completion(arguments: argparse.Namespace) -> int:
    cli_data.refuse_mpirun("completion")
    if arguments.shell not in _SHELLS:
        raise ConfigError(f"completion: SHELL: {arguments.shell!r} is not one of: {', '.join(_SHELLS)}")
    try:
        import shtab
    except ImportError:
        raise ConfigError("completion needs the package shtab: pip install shtab") from None
    parser, named = _parser(), named_choices()
    for command in _COMMANDS:
        for action in _subparser(parser, command)._actions:
            action.choices = named.get(action.dest, action.choices)
    say.deliver(shtab.complete(parser, arguments.shell))
    return 0


_COMMANDS = {
    "train": ("Train a model on a partitioned graph.", _train_arguments, _train),
    "eval": ("Measure what a run has learnt, with all neighbors.", _run_arguments, _eval),
    "infer": ("Write what a run's network says of all nodes, under your own ids.", _infer_arguments, _infer),
    "partition": ("Cut a graph into HDF5 partitions.", cli_data.partition_arguments, cli_data.partition),
    "describe": ("Print what tables seem to mean, as the TOML file that partition takes.", cli_data.describe_arguments,
                 cli_data.describe),
    "check": ("Verify a partitioned graph; exit code 3 and a list if anything is wrong.", cli_data.check_arguments,
              cli_data.check),
    "info": ("Show a graph, its balance and edge cut; or the environment.", cli_info.info_arguments, cli_info.info),
    "data": ("Prepare a public data set from a package.", cli_data.data_arguments, cli_data.data),
    "report": ("Show what came out of runs, on one page.", cli_report.report_arguments, cli_report.report),
    "bench": ("Measure what this machine, and the program on it, reach.", cli_bench.bench_arguments, cli_bench.bench),
    "slurm": ("Print job scripts for Slurm, PBS or LSF: one job, a chain of them, a sweep.", cli_batch.slurm_arguments,
              _slurm),
    "warmup": ("Compile the kernels of all common jobs, so that a first job starts as fast as the next.",
               lambda parser: None, cli_data.warmup),
    "synth": ("Make a synthetic graph with planted communities.", cli_data.synth_arguments, cli_data.synth),
    "completion": ("Print the script by which a shell completes commands and options.", _completion_arguments,
                   _completion),
}


_JOBS = (_train, _eval, _infer)        # they look for wishes to stop
