"""The same models in plain PyTorch Geometric and in mpignn: are they as accurate, and how long is an epoch?

    python -m mpignn partition wordnet-hetero graphs/wordnet --parts 1
    python jobs/bench/vs_pyg.py graphs/wordnet --pyg PYG/bin/python [--models gin gat hgt sage] [--seeds 3]
        [--np 1 4] [--epochs 10] [--repeats 5] [--core 0] [--out FILE]

PYG is an environment with what jobs/bench/peers/requirements-pyg.txt says; GRAPH has one partition.  Of several edge
types each model has layers for each, summed (`gat`: R-GAT).  Both have the settings below, the same splits, a learning
rate that falls evenly to 0 and parameters drawn from the same distributions, and are tested after the last epoch by
sampled neighbors.

Accuracy is that of `mpirun -np N python -m mpignn train` for each N and seed, and of the peer for each seed.  Epochs
are of one process and thread each, in turn, after one that warms up; with --core both are bound to it.  CPU ratios,
the peer's CPU seconds divided by ours, say more on a busy machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

import mpignn as mg
from machine import header, spread
from mpignn.bench.machine import describe
from mpignn.storage.read import GraphFile

MODELS = ("gin", "gat", "hgt", "sage")
_PEER = Path(__file__).resolve().parent / "peers" / "pyg_training.py"


def main() -> None:
    if sys.argv[1:2] == ["--ours"]:
        _ours(*sys.argv[2:])
        return
    options = _options()
    print(header(), flush=True)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "graph.npz"
        np.savez(source, **_arrays(options.graph))
        for model in options.models:
            accuracy = _accuracy(options, model, source, Path(folder))
            epochs = _epochs(options, model, source) if options.repeats else None
            found[model] = {"accuracy": accuracy, "epochs": epochs}
            _tell(model, accuracy, epochs)
            if options.out:
                _write(options, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path, help="folder of `mpignn partition`, of one partition")
    parser.add_argument("--pyg", type=Path, required=True, help="Python of PyTorch Geometric's environment")
    parser.add_argument("--operator", type=Path, help="library with the operator of torch-sparse that NeighborLoader "
                        "needs, where neither that nor pyg-lib is installed")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--np", nargs="*", type=int, default=(1, 4), help="ranks, each serving and training")
    parser.add_argument("--seeds", type=int, default=3, help="of which accuracy is measured; 0: it is not")
    parser.add_argument("--epochs", type=int, default=10, help="before the test (default: 10)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs timed; 0: none (default: 5)")
    parser.add_argument("--core", type=int, help="bind what is timed to this core")
    parser.add_argument("--fanouts", type=int, nargs="+", default=(10, 10), help="seeds' layer first")
    parser.add_argument("--batch-size", type=int, default=1000, help="of all ranks together")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--out", type=Path, help="JSON file for all single values")
    options = parser.parse_args()
    if not (options.graph / "graph.h5").is_file():
        parser.error(f"{options.graph} is no partitioned graph: python -m mpignn partition SOURCE {options.graph} "
                     "--parts 1")
    if not options.pyg.is_file():
        parser.error(f"--pyg {options.pyg}: no such file; how to make its environment stands in "
                     f"{_PEER.with_name('requirements-pyg.txt')}")
    return options


def _write(options: argparse.Namespace, found: Mapping[str, object]) -> None:
    given = {name: str(value) for name, value in vars(options).items()}
    told = {"date": time.strftime("%Y-%m-%d"), "settings": given, "each epoch": ["seconds", "CPU seconds", "loss"]}
    options.out.write_text(json.dumps(describe() | told | {"models": found}, indent=1) + "\n")


def _arrays(graph: Path) -> dict[str, np.ndarray]:
    """What the peer reads: numbers of nodes, edges, features, labels, splits."""
    part, rows, *_ = mg.load_partition(graph, 0)
    found = {f"num_nodes/{ntype}": np.asarray(part.num_nodes(ntype)) for ntype in part.schema.ntypes}
    found |= {f"edges/{':'.join(etype)}": np.stack([ends.numpy() for ends in part.ends(etype)]).astype(np.int64)
              for etype in part.schema.etypes}
    for key, values in rows.items():
        ntype, name = key.rsplit("/", 1)
        found[f"{name}/{ntype}"] = values.float().numpy() if name == "features" else values.long().numpy()
    with GraphFile(graph) as file:
        return found | {f"split/{ntype}/{name}": file.split(ntype, name) for ntype in part.schema.ntypes
                        for name in file.splits(ntype)}


def _accuracy(options: argparse.Namespace, model: str, source: Path, folder: Path) -> dict[str, list[float]]:
    """On the split test, of each seed: the peer's, and ours by number of ranks."""
    found: dict[str, list[float]] = {"PyG": []} | {f"np {ranks}": [] for ranks in options.np}
    for seed in range(options.seeds):
        with _Peer(options, model, source, seed) as peer:
            for _ in range(options.epochs):
                peer.ask("train")
            found["PyG"].append(peer.ask("test")[2])
        for ranks in options.np:
            run = folder / f"{model}-{seed}-{ranks}"
            command = [Path(sys.executable).parent / "mpirun", "-np", ranks, sys.executable, "-m", "mpignn", "train",
                       options.graph, *_words(options, model, seed), "--epochs", options.epochs, "--eval-every", 0,
                       "--servers-per-node", 0, "--run-dir", run, "--log", "warning"]
            subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
            final = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
            found[f"np {ranks}"].append(final["test_acc"])
    return found


def _words(options: argparse.Namespace, model: str, seed: int) -> list[object]:
    """Flags of `mpignn train` that say what the peer is told."""
    heads = ["--heads", options.heads] if model in ("gat", "hgt") else []
    return ["--model", model, "--hidden", options.hidden, *heads, "--dropout", options.dropout, "--embed", "off",
            "--fanouts", ",".join(map(str, reversed(options.fanouts))), "--global-batch-size", options.batch_size,
            "--lr", options.lr, "--schedule", "linear", "--weight-decay", options.weight_decay, "--seed", seed]


def _epochs(options: argparse.Namespace, model: str, source: Path) -> dict[str, list[list[float]]]:
    """Seconds, CPU seconds and loss of epochs in turn."""
    with tempfile.TemporaryDirectory() as folder, _Peer(options, model, source, 0) as peer:
        words = [__file__, "--ours", options.graph, json.dumps(_words(options, model, 0)), Path(folder) / "run",
                 options.repeats + 1]
        with _Process(options, sys.executable, words) as ours:
            both = [(peer.ask("train"), ours.ask("train")) for _ in range(options.repeats + 1)][1:]
    return {"PyG": [theirs for theirs, _ in both], "mpignn": [our for _, our in both]}


def _ours(graph: str, words: str, run: str, epochs: str) -> None:
    """Train by the same loop as `mpignn train`, an epoch for each line on standard input."""
    flags = [str(word) for word in json.loads(words)]
    settings = {name.removeprefix("--").replace("-", "_"): value for name, value in zip(flags[::2], flags[1::2],
                                                                                     strict=True)}
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)       # what jobs print is no answer
    done = ("eval_every", 0), ("checkpoint_every", 0), ("progress", "none"), ("log", "warning"), ("epochs", int(epochs))

    def train(g: mg.DistGraph, world: object) -> None:
        config, turns = mg.settings(), _Turns(answers)
        task = mg.NodeClassification(g, config)
        turns.wait()
        mg.fit(g, mg.make_network(g, task, config), task, config, callbacks=[turns])

    mg.run(train, graph=graph, run_dir=run, **(settings | dict(done)))


class _Turns(mg.Callback):
    """Tells of each epoch, and begins the next one when asked to."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers

    def wait(self) -> None:
        self.done = not sys.stdin.readline()
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def epoch(self, event: Mapping[str, Any]) -> None:
        found = time.perf_counter() - self._began, time.process_time() - self._cpu, event["loss"]
        print(json.dumps(found), file=self._answers, flush=True)
        self.wait()


class _Process:
    """Answers each line with a line of JSON."""

    def __init__(self, options: argparse.Namespace, python: Path | str, words: Sequence[object]) -> None:
        bound = [] if options.core is None else ["taskset", "-c", options.core]
        self._command = [str(word) for word in (*bound, python, *words)]

    def __enter__(self) -> "_Process":
        self._peer = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
        return self

    def __exit__(self, *error: object) -> None:
        self._peer.communicate()

    def ask(self, what: str) -> tuple[float, float, float]:
        """Seconds, CPU seconds, and what was found."""
        self._peer.stdin.write(f"{what}\n")
        self._peer.stdin.flush()
        answer = self._peer.stdout.readline()
        if not answer:
            sys.exit(f"{' '.join(self._command)} ended with {self._peer.wait()}: run it to see why")
        return tuple(json.loads(answer))


class _Peer(_Process):
    def __init__(self, options: argparse.Namespace, model: str, source: Path, seed: int) -> None:
        names = "fanouts", "batch_size", "hidden", "heads", "dropout", "lr", "weight_decay", "epochs"
        operator = None if options.operator is None else str(options.operator.resolve())
        settings = {name: getattr(options, name) for name in names} | {"model": model, "seed": seed,
                                                                       "operator": operator}
        super().__init__(options, options.pyg, [_PEER, source, json.dumps(settings)])


def _tell(model: str, accuracy: dict[str, list[float]], epochs: dict[str, list[list[float]]] | None) -> None:
    means = {who: statistics.mean(values) for who, values in accuracy.items() if values}
    text = ", ".join(f"{who} {mean:.4f} ({min(accuracy[who]):.4f}-{max(accuracy[who]):.4f})"
                     for who, mean in means.items())
    if means:
        print(f"{model}: test accuracy {text}", flush=True)
    if epochs is not None:
        pairs = list(zip(epochs["PyG"], epochs["mpignn"], strict=True))
        wall, cpu = ([theirs[which] / ours[which] for theirs, ours in pairs] for which in (0, 1))
        of_each = ", ".join(f"{who} {spread([epoch[1] for epoch in of], '.2f')}" for who, of in epochs.items())
        print(f"{model}: CPU s an epoch {of_each}; ratio {spread(cpu, '.2f')}, of wall seconds {spread(wall, '.2f')}",
              flush=True)


if __name__ == "__main__":
    main()
