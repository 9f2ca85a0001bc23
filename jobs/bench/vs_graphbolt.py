"""GraphBolt and mpignn draw neighbors in turn, one process each, on the same graph: how do they compare?

    python -m mpignn synth graphs/p200k
    python jobs/bench/vs_graphbolt.py graphs/p200k --dgl DGL/bin/python [--threads 1] [--repeats 15] [--out FILE]

DGL is an environment with what jobs/bench/peers/requirements.txt says.  "One hop" is picking the neighbors of 20,000
random nodes; "batches" is drawing all hops for random seeds and giving the nodes their positions.  Weights are random;
of two node types, as in sampling.py, are even and odd nodes.  Both have the structure in memory, with node ids of 4
bytes.  Ratios are of edges a second in each repeat; CPU ratios, of edges a CPU second, say more on a busy machine.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

import numpy as np

from machine import header, spread
from mpignn.bench.machine import describe
from mpignn.kernels import threads
from sampling import Call, OneHop, blocks, read, serve, two_types

_PEER = Path(__file__).resolve().parent / "peers" / "graphbolt_sampling.py"
_WARM = 2       # repeats that do not count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="folder that `mpignn synth` wrote")
    parser.add_argument("--dgl", type=Path, required=True, help="Python of DGL's environment")
    parser.add_argument("--threads", type=int, default=1, help="of either (default: 1)")
    parser.add_argument("--fanouts", default="5,10,15", help="input layer first")
    parser.add_argument("--batch-size", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file for all single values")
    options = parser.parse_args()
    if not (options.graph / "indptr.npy").is_file():
        parser.error(f"{options.graph} is no folder of `mpignn synth`: python -m mpignn synth {options.graph}")
    if not options.dgl.is_file():
        parser.error(f"--dgl {options.dgl}: no such file; how to make DGL's environment stands in "
                     f"{_PEER.with_name('requirements.txt')}")
    print(header(), flush=True)
    calls, found = _calls(options), {}
    command = [options.dgl, _PEER, options.graph, str(options.threads), str(options.batch_size), options.fanouts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL,
                          env=os.environ | {"OMP_NUM_THREADS": str(options.threads), "DGLBACKEND": "pytorch"}) as peer:
        for kind, call in calls.items():
            runs = [(_ask(peer, kind, repeat), call(repeat)) for repeat in range(options.repeats + _WARM)][_WARM:]
            found[kind] = {name: [run[who] for run in runs] for who, name in enumerate(("GraphBolt", "mpignn"))}
            _tell(kind, runs)
        peer.stdin.close()
    if options.out:
        given = {name: str(value) for name, value in vars(options).items()}
        what = ["seconds", "CPU seconds", "edges"]
        options.out.write_text(json.dumps(describe() | {"settings": given, "each": what, "kinds": found}) + "\n")


def _calls(options: argparse.Namespace) -> dict[str, Call]:
    """What mpignn does, by kind; kinds are those of the peer."""
    threads.set_num_threads(options.threads)
    csc, orig = read(options.graph)
    (etype,) = csc
    weights = {etype: np.random.default_rng(0).random(csc[etype][1].size, np.float32)}
    published, typed = serve(csc, orig, weights), serve(*two_types(csc[etype], orig[etype[0]]))
    fanouts = [int(fanout) for fanout in options.fanouts.split(",")]
    return {**{f"one hop, fanout {fanout}": OneHop(published, fanout) for fanout in (10, 25)},
            "batches": blocks(published, fanouts, options.batch_size),
            "weighted batches": blocks(published, fanouts, options.batch_size, "weight"),
            "batches of two node types": blocks(typed, [-(-fanout // 2) for fanout in fanouts], options.batch_size)}


def _ask(peer: subprocess.Popen, kind: str, repeat: int) -> tuple[float, float, int]:
    peer.stdin.write(f"{repeat} {kind}\n")
    peer.stdin.flush()
    answer = peer.stdout.readline()
    if not answer:
        raise SystemExit(f"{' '.join(map(str, peer.args))} ended with {peer.wait()}: run it to see why")
    return tuple(json.loads(answer))


def _tell(kind: str, runs: list) -> None:
    rates = [[run[who][2] / run[who][0] / 1e6 for run in runs] for who in (0, 1)]
    ratios = [ours / theirs for theirs, ours in zip(*rates, strict=True)]
    cpu = [(ours[2] / ours[1]) / (theirs[2] / theirs[1]) for theirs, ours in runs]
    print(f"{kind}: GraphBolt {spread(rates[0], '.1f')}, mpignn {spread(rates[1], '.1f')} M edges/s, "
          f"ratio {spread(ratios, '.2f')}, of CPU {spread(cpu, '.2f')}; "
          f"{runs[-1][0][2]} and {runs[-1][1][2]} edges", flush=True)


if __name__ == "__main__":
    main()
