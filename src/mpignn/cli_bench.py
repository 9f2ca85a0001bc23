"""The command `bench`: what this machine, and the program on it, reach."""

import argparse
from pathlib import Path
from typing import Any

from mpignn import say
from mpignn.bench.benchmarks import BENCHMARKS, Asked, Benchmark, Where
from mpignn.cli_data import refuse_mpirun
from mpignn.cli_parser import Parser
from mpignn.config import field_names
from mpignn.errors import ConfigError
from mpignn.launcher import is_first
from mpignn.options import add_flags, load_config, nearest

_QUIET = {"log": "warning"}
_NUMBERS: dict[str, Any] = {"nodes": 50_000, "repeats": 7, "parts": 4, "np": 2, "trainers": (1, 2, 4)}


def bench_arguments(parser: Parser) -> None:
    taken = {*(name for benchmark in BENCHMARKS.values() for name in benchmark.settings), "log"}
    parser.add_argument("benchmark", metavar="BENCHMARK", help="; ".join(f"{b.name}: {b.text}"
                                                                         for b in BENCHMARKS.values()))
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="partitioned graph, or for partition what a graph is "
                                                                  "made of (default: a synthetic one)")
    parser.add_argument("--nodes", metavar="N", type=int, help="nodes of the synthetic graph (default: 50000)")
    parser.add_argument("--repeats", metavar="N", type=int,
                        help="how often each thing is timed (default: 7)")
    parser.add_argument("--parts", metavar="N", type=int, help="partitions that partition makes (default: 4)")
    parser.add_argument("-np", dest="np", metavar="N", type=int, help="ranks of the jobs of startup (default: 2)")
    parser.add_argument("--trainers", metavar="N,...", type=_numbers,
                        help="trainers of the jobs of scale, one number after the other (default: 1,2,4)")
    parser.add_argument("--json", action="store_true", help="write JSON to standard output, not a table")
    parser.add_argument("--out", metavar="FILE", help="write JSON to a file, too; replaced if it is there")
    parser.set_rare(add_flags(parser, skip=[name for name in field_names() if name not in taken]))


def bench(arguments: argparse.Namespace) -> int:
    from mpignn.bench.runner import lines, run
    from mpignn.json_text import to_json
    benchmark = BENCHMARKS.get(arguments.benchmark)
    if benchmark is None:
        raise ConfigError(f"unknown benchmark {arguments.benchmark!r}{nearest(arguments.benchmark, BENCHMARKS)}")
    asked = _asked(benchmark, arguments)
    if benchmark.where is Where.ALONE:
        refuse_mpirun(f"bench {benchmark.name}, which starts jobs itself,")
    code, result = run(benchmark, asked)
    if code == 0 and is_first():
        say.deliver(to_json(result, 1) if arguments.json else "\n".join(lines(result)))
        if arguments.out is not None:
            say.tell(f"wrote {arguments.out}", on_stderr=arguments.json)
    return code


def _asked(benchmark: Benchmark, arguments: argparse.Namespace) -> Asked:
    """What was asked for; raises what is wrong with it."""
    flags = {name: value for name, value in vars(arguments).items() if name in field_names() - {"graph"}}
    numbers = {name: getattr(arguments, name) for name in _NUMBERS if getattr(arguments, name) is not None}
    takes = {*benchmark.settings, *benchmark.takes, "log", "repeats"}
    takes |= set() if benchmark.where is Where.TRAINERS else {"nodes"}
    for name in sorted((flags.keys() | numbers.keys()) - takes):
        raise ConfigError(f"{_flag(name)} has no effect on bench {benchmark.name}: leave it out")
    if arguments.graph is not None and benchmark.where is Where.TRAINERS:
        raise ConfigError(f"bench {benchmark.name} reads no graph: leave {arguments.graph} out")
    if arguments.graph is not None and "nodes" in numbers:
        raise ConfigError(f"--nodes has no effect, since {arguments.graph} is read: leave one out")
    for name, value in numbers.items():
        least = min(value) if isinstance(value, tuple) else value
        if least < 1:
            raise ConfigError(f"{_flag(name)}: {least} is less than 1")
    chosen = _QUIET | ({"servers_per_node": 0} if benchmark.all_train else {}) | flags
    return Asked(graph=arguments.graph, config=load_config(None, chosen), given=frozenset(flags),
                 out=None if arguments.out is None else Path(arguments.out), **(_NUMBERS | numbers))


def _flag(name: str) -> str:
    return "-np" if name == "np" else f"--{name.replace('_', '-')}"


def _numbers(text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    return tuple(int(word) for word in text.split(","))
