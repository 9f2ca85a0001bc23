"""DistDGL and mpignn do the same work in turn, on the same machine and graph: how do they compare?

    python -m mpignn synth graphs/p200k
    python jobs/bench/vs_distdgl.py graphs/p200k --dgl DGL/bin/python [--nodes 2] [--method random] [--rounds 5]
        [--kinds data fp32 bf16] [--out FILE]

GRAPH is a folder of arrays; both cut it into as many partitions as there are nodes, once, into --work.  DGL is an
environment with what jobs/bench/peers/requirements.txt says; ours runs by MPICH, beside the Python that runs this.
Each node has a server and a trainer of one thread each.
Several nodes are simulated, DistDGL's by a private /dev/shm each, or hosts of tests/testbed, which needs root as well:

    S=$(HOSTS_COUNT=2 HOSTS_SLOTS=2 tests/testbed/hosts-up.sh)
    python jobs/bench/vs_distdgl.py graphs/p200k --dgl DGL/bin/python --nodes 2 --hosts $S
    tests/testbed/hosts-down.sh $S

`data` is sampling and fetching alone; `fp32` and `bf16` train GraphSAGE, DistDGL in fp32 both times, and evaluate after
each epoch.  Ratios are of each round, DistDGL's figure divided by ours.  CPU is that of all processes, from the
end of the first epoch to that of the last, evaluations included: it says more than seconds where other work is on the
machine.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import header, spread
from mpignn.bench.machine import describe
from watched import Watched, watch

_PEERS = Path(__file__).resolve().parent / "peers"
_DATA_FLAGS = ("--data-path-only",)
_TRAIN_FLAGS = ("--hidden", "256", "--eval-every", "1", "--checkpoint-every", "0")
# A machine of DistDGL: its server and its trainer. With a /dev/shm of its own, since DGL names what is there by graph.
_MACHINE = """trap 'kill $(jobs -p) 2>/dev/null' EXIT; trap 'exit 1' TERM
DGL_ROLE=server "$@" & DGL_ROLE=client "$@" & wait -n && wait -n"""
_PRIVATE = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$0" "$@"')


def main() -> None:
    options = _options()
    work = options.work or options.graph.with_name(f"{options.graph.name}-peers")
    parts = [work / f"{name}-{options.nodes}-{options.method}" for name in ("distdgl", "mpignn")]
    _cut(options, *parts)
    print(header(), flush=True)
    rounds = []
    for number in range(options.rounds):
        rounds.append({"load": os.getloadavg()[0]} | _round(options, *parts))
        print(f"round {number + 1}, load {rounds[-1]['load']:.1f}: {_short(rounds[-1])}", flush=True)
    print(f"{'':34s} {'DistDGL':>22s} {'mpignn':>22s} {'ratio':>22s}")
    for kind in options.kinds:
        for what in rounds[0][kind]["mpignn"]:
            _row(kind, what, rounds)
    if options.out:
        given = {name: str(value) for name, value in vars(options).items()}
        options.out.write_text(json.dumps(describe() | {"settings": given, "rounds": rounds}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="folder that `mpignn synth` wrote")
    parser.add_argument("--dgl", type=Path, required=True, help="Python of DGL's environment")
    parser.add_argument("--nodes", type=int, default=1, help="each with a server and a trainer (default: 1)")
    parser.add_argument("--method", choices=("metis", "random"), default="metis", help="of partitioning")
    parser.add_argument("--hosts", type=Path, help="state folder of tests/testbed/hosts-up.sh; nodes are its hosts")
    parser.add_argument("--kinds", nargs="+", choices=("data", "fp32", "bf16"), default=("data",))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="of each job, at least 2 (default: 3)")
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000, help="of each trainer")
    parser.add_argument("--flags", default="", help="further ones of `mpignn train`, such as '--access owner'")
    parser.add_argument("--mpirun-flags", help="of ours (default: -bind-to core; of several nodes that are simulated, "
                        "each has a core to itself, and hosts are not bound)")
    parser.add_argument("--work", type=Path, help="folder for what is cut (default: GRAPH-peers)")
    parser.add_argument("--seconds", type=float, default=900, help="most that a job may take")
    parser.add_argument("--out", type=Path, help="JSON file for all single values")
    options = parser.parse_args()
    if options.epochs < 2 or options.rounds < 1 or options.nodes < 1:
        parser.error("--epochs is at least 2, --rounds and --nodes at least 1")
    if not (options.graph / "meta.json").is_file():
        parser.error(f"{options.graph} is no folder of `mpignn synth`: python -m mpignn synth {options.graph}")
    if not options.dgl.is_file():
        parser.error(f"--dgl {options.dgl}: no such file; how to make DGL's environment stands in "
                     f"{_PEERS / 'requirements.txt'}")
    return options


def _cut(options: argparse.Namespace, distdgl: Path, ours: Path) -> None:
    """Cut the graph for both, where that has not been done."""
    for out, command in (
            (distdgl, [options.dgl, _PEERS / "distdgl_cut.py", options.graph, "OUT", str(options.nodes),
                       options.method]),
            (ours, [sys.executable, "-m", "mpignn", "partition", options.graph, "OUT", "--parts", str(options.nodes),
                    "--method", options.method])):
        if not out.exists():
            new = out.with_name(f"{out.name}.new")
            shutil.rmtree(new, ignore_errors=True)
            new.parent.mkdir(parents=True, exist_ok=True)
            words = [str(new if word == "OUT" else word) for word in command]
            if subprocess.run(words, stdout=subprocess.DEVNULL).returncode:
                sys.exit(f"{' '.join(words)} failed")
            new.rename(out)         # whole


def _round(options: argparse.Namespace, distdgl: Path, ours: Path) -> dict:
    found = {}
    for kind in options.kinds:
        flags = _DATA_FLAGS if kind == "data" else _TRAIN_FLAGS
        peer = (found["fp32"]["DistDGL"] if kind == "bf16" and "fp32" in found
                else _figures(_run_distdgl(options, distdgl, kind == "data"), kind))
        precision = () if kind == "data" else ("--precision", kind)
        found[kind] = {"DistDGL": peer, "mpignn": _figures(_run_ours(options, ours, (*flags, *precision)), kind)}
    return found


def _figures(seen: Watched, kind: str) -> dict[str, float]:
    figures = {"epoch, s": statistics.median(epoch["seconds"] for epoch in seen.epochs),
               "CPU an epoch, s": (seen.cpu_s[-1] - seen.cpu_s[0]) / (len(seen.epochs) - 1),
               "peak memory, MiB": seen.peak_bytes / 2**20}
    if kind == "data":
        return figures | {"launch to first batch, s": seen.first_step_s,
                          "M edges an epoch": seen.epochs[-1]["edges"] / 1e6}
    return figures | {"evaluation, s": statistics.median(epoch["validate_s"] for epoch in seen.epochs),
                      "launch to last evaluation, s": seen.at[-1],
                      "validation accuracy": seen.epochs[-1]["val_acc"]}


def _run_distdgl(options: argparse.Namespace, parts: Path, data_path_only: bool) -> Watched:
    classes = json.loads((options.graph / "meta.json").read_text())["num_classes"]
    with tempfile.TemporaryDirectory() as folder:
        addresses, told = Path(folder) / "addresses", Path(folder) / "metrics.jsonl"
        hosts = [_address(options, machine) for machine in range(options.nodes)]
        ports = _free_ports(options.nodes + 1)
        addresses.write_text("".join(f"{host} {port}\n" for host, port in zip(hosts, ports[:-1], strict=True)))
        env = os.environ | {
            "OMP_NUM_THREADS": "1", "DGLBACKEND": "pytorch", "DGL_DIST_MODE": "distributed", "DGL_GRAPH_FORMAT": "csc",
            "DGL_IP_CONFIG": str(addresses), "DGL_CONF_PATH": str(parts / "graph.json"), "DGL_NUM_SERVER": "1",
            "DGL_NUM_SAMPLER": "0", "DGL_NUM_CLIENT": str(options.nodes), "DGL_GROUP_ID": "0",
            "MASTER_ADDR": hosts[0], "MASTER_PORT": str(ports[-1]), "WORLD_SIZE": str(options.nodes)}
        commands = []
        for machine in range(options.nodes):
            where = _PRIVATE if options.hosts is None else (options.hosts / "on", f"h{machine + 1}")
            commands.append([str(word) for word in (
                *where, "env", f"RANK={machine}", f"DGL_SERVER_ID={machine}", "bash", "-c", _MACHINE, "machine",
                options.dgl, _PEERS / "distdgl_process.py", "--addresses", addresses, "--machine", machine,
                "--parts", parts / "graph.json", "--out", told, "--fanouts", options.fanouts,
                "--batch-size", options.batch_size, "--epochs", options.epochs + 1, "--classes", classes,
                *(_DATA_FLAGS if data_path_only else ()))])
        return watch(commands, env, told, options.epochs, options.seconds)


def _run_ours(options: argparse.Namespace, parts: Path, flags: tuple[str, ...]) -> Watched:
    with tempfile.TemporaryDirectory() as folder:
        run, ranks, launch = Path(folder) / "run", 2 * options.nodes, Path(sys.executable).parent / "mpirun"
        start = [launch, "-np", ranks]
        nodes = ["--ranks-per-node", 2] if options.nodes > 1 else []
        if options.hosts is not None:
            start = [options.hosts / "on", "h1", launch, "-launcher", "ssh", "-launcher-exec", options.hosts / "rsh",
                     "-f", options.hosts / "machinefile", "-n", ranks]
            nodes = []
        command = [*start, *_binding(options), sys.executable, "-m", "mpignn", "train", parts,
                   "--fanouts", options.fanouts, "--batch-size", options.batch_size, "--epochs", options.epochs + 1,
                   "--run-dir", run, *nodes, *flags, *options.flags.split()]
        return watch([[str(word) for word in command]], os.environ | {"OMP_NUM_THREADS": "1"}, run / "metrics.jsonl",
                     options.epochs, options.seconds)


def _binding(options: argparse.Namespace) -> list[str]:
    """By rank alone, all servers would share one core, and all trainers another one."""
    if options.mpirun_flags is not None:
        return list(options.mpirun_flags.split())
    if options.hosts is not None:
        return ["-bind-to", "none"]
    cores = sorted(os.sched_getaffinity(0))
    of_ranks = [str(cores[node % len(cores)]) for node in range(options.nodes) for _ in range(2)]
    return ["-bind-to", "core" if options.nodes == 1 else f"user:{','.join(of_ranks)}"]


def _address(options: argparse.Namespace, machine: int) -> str:
    if options.hosts is None:
        return f"127.0.0.{machine + 1}"
    return subprocess.run([options.hosts / "addr", f"h{machine + 1}"], check=True, capture_output=True,
                          text=True).stdout.strip()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


def _short(found: dict) -> str:
    return "; ".join(f"{kind} epoch {of['DistDGL']['epoch, s']:.2f} / {of['mpignn']['epoch, s']:.2f} s"
                     for kind, of in found.items() if kind != "load")


def _row(kind: str, what: str, rounds: list[dict]) -> None:
    theirs, ours = ([found[kind][who][what] for found in rounds] for who in ("DistDGL", "mpignn"))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    print(f"{f'{kind}: {what}':34s} " + " ".join(f"{spread(values):>22s}" for values in (theirs, ours, ratios)))


if __name__ == "__main__":
    main()
