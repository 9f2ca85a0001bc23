"""The command `bench`: what this machine, and the program on it, reach."""

import argparse
from pathlib import Path

from mpignn import say
from mpignn.bench.benchmarks import BENCHMARKS, Asked, Benchmark
from mpignn.cli_parser import Parser
from mpignn.config import WorldConfig, field_names
from mpignn.errors import ConfigError
from mpignn.launcher import is_first
from mpignn.options import add_flags, load_config, nearest

_QUIET = {"log": "warning", "progress": "none"}


def bench_arguments(parser: Parser) -> None:
    taken = {*WorldConfig.__dataclass_fields__, *(name for b in BENCHMARKS.values() for name in b.settings), "log"}
    parser.add_argument("benchmark", metavar="BENCHMARK", help="; ".join(f"{b.name}: {b.text}"
                                                                         for b in BENCHMARKS.values()))
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="partitioned graph (default: a synthetic one)")
    parser.add_argument("--nodes", metavar="N", type=int, help="nodes of the synthetic graph (default: 50000)")
    parser.add_argument("--repeats", metavar="N", type=int, default=7,
                        help="how often each thing is timed (default: 7)")
    parser.add_argument("--json", action="store_true", help="write JSON to standard output, not a table")
    parser.add_argument("--out", metavar="FILE", help="write JSON to a file, too; replaced if it is there")
    parser.set_rare(add_flags(parser, skip=[name for name in field_names() if name not in taken]))


def bench(arguments: argparse.Namespace) -> int:
    from mpignn.bench.runner import lines, run
    from mpignn.json_text import to_json
    benchmark = BENCHMARKS.get(arguments.benchmark)
    if benchmark is None:
        raise ConfigError(f"unknown benchmark {arguments.benchmark!r}{nearest(arguments.benchmark, BENCHMARKS)}")
    code, result = run(benchmark, _asked(benchmark, arguments))
    if code == 0 and is_first():
        say.deliver(to_json(result, 1) if arguments.json else "\n".join(lines(result)))
    return code


def _asked(benchmark: Benchmark, arguments: argparse.Namespace) -> Asked:
    """What was asked for; raises what is wrong with it."""
    flags = {name: value for name, value in vars(arguments).items() if name in field_names() - {"graph"}}
    idle = sorted(flags.keys() - {*WorldConfig.__dataclass_fields__, *benchmark.settings, "log"})
    if idle:
        raise ConfigError(f"--{idle[0].replace('_', '-')} has no effect on bench {benchmark.name}: leave it out")
    if arguments.graph is not None and arguments.nodes is not None:
        raise ConfigError(f"--nodes has no effect, since {arguments.graph} is read: leave one out")
    for name, least in ("repeats", 1), ("nodes", 1):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name}: {value} is less than {least}")
    return Asked(arguments.graph, 50_000 if arguments.nodes is None else arguments.nodes, arguments.repeats,
                 load_config(None, _QUIET | flags), frozenset(flags),
                 None if arguments.out is None else Path(arguments.out))
