"""The command `info`: a graph as it is, as a page too, or what a job with it would take; or the environment."""

import argparse
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpignn import say
from mpignn.cli_data import refuse_mpirun
from mpignn.cli_parser import Parser
from mpignn.config import Config, field_names
from mpignn.errors import ConfigError, ResourceError, os_errors
from mpignn.job.job import Job
from mpignn.job.memory_plan import MemoryPlan
from mpignn.job.open_graph import Opened, read_graph
from mpignn.job.settings import checked, configure
from mpignn.log import phase
from mpignn.models import is_own
from mpignn.options import add_flags, load_config
from mpignn.roles import Topology, assign_roles, group_nodes
from mpignn.version import version


def info_arguments(parser: Parser) -> None:
    parser.add_argument("graph", metavar="GRAPH", nargs="?", help="partitioned graph; without it: the environment")
    parser.epilog = ("GRAPH with --fanouts, and --batch-size if it is not 1000, tells how much of what batches draw "
                     "and read is of other partitions; all other settings are those of a job, for --plan, --html and "
                     "--json.")
    parser.add_argument("--html", metavar="FILE", help="write a page: what keeps the graph from being learnt, degrees, "
                        "labels, splits, batches, memory of a job; replaced if it is there")
    parser.add_argument("--json", action="store_true", help="write the same figures to standard output")
    parser.add_argument("--degrees", action="store_true", help="count the in-degrees of each edge type")
    parser.add_argument("--halo", action="store_true", help="tell what train --replicate halo would copy to each node")
    parser.add_argument("--plan", action="store_true", help="show how much memory a training job would take")
    parser.add_argument("-np", dest="np", metavar="N", type=int, help="ranks of that job (default: 2)")
    parser.add_argument("--nodes", metavar="M", type=int,
                        help="nodes that they are spread over (default: 1)")
    parser.add_argument("--config", metavar="FILE", help="TOML file of that job; the flags below override it")
    parser.set_rare(add_flags(parser, skip=("graph",)))


def info(arguments: argparse.Namespace) -> int:
    _refuse_idle(arguments)
    if arguments.graph is not None:
        refuse_mpirun("info GRAPH")
        with phase(f"read {arguments.graph}"):
            if arguments.html is not None or arguments.json:
                return _inspected(arguments)
            found = "\n".join(_plan(arguments)) if arguments.plan else _described(arguments)
        say.deliver(found)
        return 0
    text = _environment()
    if text is not None:        # told behind the job, which a reader that has seen enough shall not abort
        say.deliver(text)
    return 0


def _refuse_idle(arguments: argparse.Namespace) -> None:
    """Raise if something that was given has no effect."""
    of_page = [name for name in ("html", "json") if getattr(arguments, name)]
    of_graph = [name for name in ("degrees", "halo") if getattr(arguments, name)]
    of_job = arguments.plan or of_page
    for what in (*of_page, *of_graph, *(["plan"] if arguments.plan else [])):
        if arguments.graph is None:
            raise ConfigError(f"info --{what}: name the graph, as in info GRAPH --{what}")
    if arguments.plan and of_graph:
        raise ConfigError(f"info: --plan tells of a job and --{of_graph[0]} of the graph: leave one out")
    if of_page and (arguments.plan or of_graph):
        raise ConfigError(f"info: --{of_page[0]} tells all that --{(of_graph or ['plan'])[0]} tells: leave that out")
    if of_job:
        return
    # How a graph is sampled tells something without a job.
    flags = [name for name in vars(arguments) if name in field_names() - {"graph"}]
    told = {"fanouts", "batch_size"} if arguments.graph is not None and "fanouts" in flags else set()
    own = {"-np": arguments.np, "--nodes": arguments.nodes, "--config": arguments.config}
    idle = ["--" + name.replace("_", "-") for name in flags if name not in told] + [
        flag for flag, value in own.items() if value is not None]
    for what in idle[:1]:
        sampled = ", nor without a graph and --fanouts" if what in ("--fanouts", "--batch-size") else ""
        raise ConfigError(f"info: {what} has no effect without --plan{sampled}: leave it out, or give info GRAPH "
                          f"{'--fanouts 10,5 or ' if sampled else ''}--plan")


def _inspected(arguments: argparse.Namespace) -> int:
    """Write the page of a graph, its figures, or both."""
    from mpignn.json_text import to_json
    from mpignn.report.graph_page import make_graph_page
    from mpignn.report.graph_rules import judge
    from mpignn.storage.atomic import check_file, new_file
    from mpignn.storage.inspect_graph import inspect_graph
    from mpignn.storage.read import GraphFile
    out = None if arguments.html is None else Path(arguments.html)
    if out is not None and out.suffix != ".html":
        raise ConfigError(f"--html {out}: its name must end in .html; --json writes the figures to standard output")
    config, opened = _opened(arguments)
    if out is not None:
        with GraphFile(arguments.graph) as graph:
            check_file(out, [graph.path, *graph.part_paths])
    with GraphFile(arguments.graph) as graph:
        found = inspect_graph(graph, config.sampling.fanouts, config.loader.batch_size)
    found |= {"problems": judge(found), "memory": _memory(opened.plan_training(config))}
    if out is not None:
        with os_errors(ResourceError, str(out)), new_file(out) as file:
            file.write_text(make_graph_page(found), encoding="utf-8")
    if arguments.json:
        say.deliver(to_json(found, 1))
    if out is not None:
        say.tell(f"wrote {out}", on_stderr=arguments.json)
    return 0


def _memory(plan: MemoryPlan) -> Mapping[str, Any]:
    """What a plan says, as figures."""
    return {"ranks": len(plan.ranks), "nodes": len(plan.nodes),
            "largest_node": max(plan.of_node(node) for node in range(len(plan.nodes))),
            "parts": [[what, dict(kinds)] for what, kinds in plan.distinct()]}


def _described(arguments: argparse.Namespace) -> str:
    """What `describe` says of a graph, and of sampling it where fanouts are given."""
    from mpignn.storage.describe import describe
    given = {name: value for name, value in vars(arguments).items() if name in ("fanouts", "batch_size")}
    config = load_config(None, given)
    return describe(arguments.graph, arguments.degrees, config.sampling.fanouts if given else (),
                    config.loader.batch_size, arguments.halo)


def _environment() -> str | None:
    """What a bug report should say, on the first rank; None on the others.  Collective over the job."""
    with Job.start(Config()) as job:
        from mpignn.mpi.world import describe_mpi
        world = job.world
        mpi = describe_mpi(world)
        world.finish()
    return None if world.rank > 0 else "\n".join([
        f"mpignn      {version()}, Python {platform.python_version()}, {platform.platform()}", *mpi,
        *(f"{name:11s} {version(name)}" for name in _PACKAGES),
        f"cores       {len(os.sched_getaffinity(0))} of {os.cpu_count()} for this rank"])


_PACKAGES = ("mpi4py", "torch", "numpy", "h5py", "scipy", "numba", "pymetis", "pyarrow", "greenlet")


def _opened(arguments: argparse.Namespace) -> tuple[Config, Opened]:
    """The settings of a job, and the metadata of its graph as they place it."""
    flags = {k: v for k, v in vars(arguments).items() if k in field_names()}
    config = checked(configure(arguments.config, flags), flags)
    if is_own(config.model.model):
        from mpignn.nn import own
        own.know(config.model)
    np = 2 if arguments.np is None else arguments.np
    num_nodes = 1 if arguments.nodes is None else arguments.nodes
    if not 1 <= num_nodes <= np:
        raise ConfigError(f"-np {np} on --nodes {num_nodes}: a job has at least one rank on each node")
    hosts = [rank * num_nodes // np for rank in range(np)]
    nodes = group_nodes(hosts, config.world.ranks_per_node)
    roles = assign_roles(nodes, config.world.servers_per_node, config.world.server_nodes)
    opened = read_graph(Path(arguments.graph), Topology(nodes, roles), config.world.replicate,
                        config.world.replicate_nodes)
    return config, opened


def _plan(arguments: argparse.Namespace) -> list[str]:
    """What `make_plan` says of a job with the settings given."""
    config, opened = _opened(arguments)
    return ["train", *opened.plan_training(config).lines(), "",
            "eval and infer", *opened.plan_inference(config).lines()]
