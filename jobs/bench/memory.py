"""Does a job take the memory that its plan says?

    python jobs/bench/memory.py GRAPH [--np 2 3 4] [--seconds 40]

For each number of ranks, a job that only moves data, one that trains GraphSAGE and one that infers with it are
started, watched for some seconds and ended.  Told of each rank is its peak of private memory, from /proc; where it
infers, its share of the rows of two layers is in there, which the plan counts to the node.  Told of the node are these,
the segment, and the pages of libraries, which ranks share and which count once, as large as the rank that has most of
them sees them.  A sum of PSS would say less where other programs on the machine use the same libraries; it is told too.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from machine import header
from mpignn.job.open_graph import read_graph
from mpignn.options import load_config
from mpignn.roles import Role, Topology, assign_roles
from processes import children, memory, rank_of, status

_MIB = 1 << 20
KINDS, CLASSES = ("data only", "GraphSAGE", "infer"), 47        # of `mpignn synth`


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--np", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    arguments = parser.parse_args()
    print(header())
    print(f"{'MiB: measured / plan':24s} {'server':>18s} {'trainer':>18s} {'node in all':>22s} {'PSS':>8s}")
    for np in arguments.np:
        for kind in arguments.kinds:
            _compare(arguments, np, kind)


def _compare(arguments: argparse.Namespace, np: int, kind: str) -> None:
    flags = {"graph": str(arguments.graph), "fanouts": arguments.fanouts}
    topology = Topology((0,) * np, assign_roles((0,) * np))
    opened = read_graph(arguments.graph, topology, "none", 1)
    config = load_config(None, flags)
    plan = (opened.plan_inference(config, None, CLASSES) if kind == "infer"
            else opened.plan_training(config, kind == "GraphSAGE"))
    own, files, segment, pss = _watch(arguments, np, kind)
    told = []
    for role in Role.SERVER, Role.TRAINER:
        ranks = [rank for rank in range(np) if topology.roles[rank] == role]
        planned = max(sum(plan.ranks[rank].values()) for rank in ranks)
        told.append(_ratio(max(own[rank] for rank in ranks), planned))
    total = sum(own.values()) + files + segment
    what = f"np {np}, {kind}"
    in_all = _ratio(total, plan.of_node(0))
    print(f"{what:24s} {told[0]:>18s} {told[1]:>18s} {in_all:>22s} {pss / _MIB:8.0f}", flush=True)


def _watch(arguments: argparse.Namespace, np: int, kind: str) -> tuple[dict[int, int], int, int, int]:
    """Peaks: private bytes by rank, library pages, segment, and the sum of PSS."""
    with tempfile.TemporaryDirectory() as folder:
        run, graph = str(Path(folder) / "run"), str(arguments.graph)
        program = [sys.executable, "-m", "mpignn"]
        train = [*program, "train", graph, "--fanouts", arguments.fanouts, "--run-dir", run]
        job = [*train, "--epochs", "1000", *(["--data-path-only"] if kind == "data only" else [])]
        if kind == "infer":
            subprocess.run([*train, "--epochs", "0", "--eval-fanouts", "1,1,1"], check=True, stdout=subprocess.DEVNULL)
            job = [*program, "infer", run, graph, "--out", str(Path(folder) / "pred.h5")]
        command = [str(Path(sys.executable).parent / "mpirun"), "-np", str(np), *job]
        job = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        own: dict[int, int] = defaultdict(int)
        files = segment = pss = 0
        end = time.monotonic() + arguments.seconds
        while job.poll() is None and time.monotonic() < end:
            ranks = {pid: rank for pid in children(job.pid) if (rank := rank_of(pid)) is not None}
            for pid, rank in ranks.items():
                now = status(pid)
                # The kernel keeps the peak of the whole; what is shared only grows, so the rest was private.
                own[rank] = max(own[rank], now.get("VmHWM", 0) - now.get("RssFile", 0) - now.get("RssShmem", 0))
                files, segment = max(files, now.get("RssFile", 0)), max(segment, now.get("RssShmem", 0))
            pss = max(pss, sum(map(memory, ranks)))
            time.sleep(0.2)
        if job.poll() not in (None, 0):
            sys.exit(f"{' '.join(command)} ended with {job.returncode}")
        if job.poll() is None:
            job.terminate()
        job.wait()
    return own, files, segment, pss


def _ratio(measured: int, planned: int) -> str:
    return f"{measured / _MIB:.0f} / {planned / _MIB:.0f} = {measured / planned:.2f}"


if __name__ == "__main__":
    main()
