"""Command lines at random: a graph, and what a user may type about it, all from the number of a case.

Flags and their values come from the program's own parser and its record of settings, so that a new flag takes part on
the day that it is made.  ``python tests/commands.py NUMBER FOLDER`` writes a source and prints the command lines.

Shapes: N nodes of a type, E edges of a type.
"""

import argparse
import dataclasses
import random
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpignn import cli, cli_data, config, options
from mpignn.models import MODELS, takes_types
from mpignn.partition.balance import BALANCES
from mpignn.partition.methods import METHODS

# Names that Python, torch or the program use themselves are among those of types, relations and data.
_NTYPES = ("n", "user", "even", "type", "to", "train", "a.b", "a_b", "self", "_N", "forward", "node")
_RELATIONS = ("r", "to", "rev_r", "a.b", "a_b", "even", "data", "weight")
_JUNK = {int: ("-2", "x", "", "1.5", "99999999999999999999"), float: ("nan", "inf", "-1", "x", "1e400"),
         str: ("nosuch", "", "a b", "*", "ü", "../up", "a:b:c"),
         cli_data.num_bytes: ("0", "-1", "x", "1.5X", "1e9", "")}
_FRACTIONS = ("0", "0.1", "0.5", "0.01")
# What would take long, or ends a job on purpose, is drawn from these.
_SHORT = {"epochs": ("0", "1", "2"), "hang_timeout": ("0", "300"), "time_limit": ("600", "0"), "nodes": ("30", "60"),
          "resume": (None, "auto", "nosuch"), "seed": tuple("01234567"), "avg_degree": ("3", "0"), "device": ("cpu",),
          "memory": ("1K", "20k", "0.1G")}
_TASK_DATA = {"node_classification": "labels", "node_multilabel": "tags", "node_regression": "size",
              "edge_classification": "kind", "edge_regression": "weight"}
_DATA = ("labels", "tags", "size", "kind", "weight", "features", "keep", "other")
_METRICS = ("acc", "macro_f1", "micro_f1", "roc_auc", "average_precision", "rmse", "mse", "mae", "mrr", "hits@1",
            "hits@5", "hits@0")
_SETTINGS = {option.name: option for _, kind in config.sections() for option in dataclasses.fields(kind)}


@dataclass(frozen=True)
class Case:
    """A graph and what is done with it.

    Attributes:
        number: Number of the case.
        arrays: Arrays of the source, an .npz file.
        commands: Words behind ``mpignn``, one after the other in one folder: ``source.npz`` is there, ``graph`` and
            ``run`` are what the first ones make if all is well.  Each is tried even if one before it was refused.
    """

    number: int
    arrays: dict[str, np.ndarray]
    commands: tuple[tuple[str, ...], ...]


def make_case(number: int) -> Case:
    """The case of a number, the same each time."""
    rng = random.Random(number)
    arrays, ntypes, etypes = _graph(rng, np.random.default_rng(number))
    names = {"ntype": ntypes, "etype": etypes}
    partition = ["partition", "source.npz", "graph", *_some_flags(rng, "partition", names, 1)]
    if not any(word.startswith("--parts") for word in partition):
        partition.append(f"--parts={rng.choice((1, 2, 3))}")
    commands = [partition, _train(rng, names),
                ["eval", "run", "graph", *_some_flags(rng, "eval", names, rng.choice((0, 0, 1)))],
                ["infer", "run", "graph", "--out=pred.h5", *_some_flags(rng, "infer", names, rng.choice((0, 0, 1)))],
                _other(rng, names)]
    return Case(number, arrays, tuple(map(tuple, commands)))


def write_source(case: Case, folder: Path) -> None:
    """Write the graph of a case, for `mpignn partition`."""
    np.savez(folder / "source.npz", **case.arrays)


def _graph(rng: random.Random, draw: np.random.Generator) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Arrays of a graph of one or two node types, the names of these, and the keys of its edge types."""
    ntypes = rng.sample(_NTYPES, rng.choice((1, 1, 2)))
    sizes = {ntype: rng.randint(20, 60) for ntype in ntypes}
    ends = [(rng.choice(ntypes), rng.choice(ntypes)) for _ in range(1 if len(ntypes) == 1 else 3)]
    ends[0] = (ends[0][0], ntypes[0])
    etypes = [f"{src}:{name}:{dst}" for name, (src, dst) in zip(rng.sample(_RELATIONS, len(ends)), ends, strict=True)]
    arrays = {f"num_nodes/{ntype}": np.array(size) for ntype, size in sizes.items()}
    for ntype, size in sizes.items():
        for name, array in _node_data(rng, draw, size).items():
            arrays[f"node/{ntype}/{name}"] = array
    seeds = ntypes[:1] if rng.random() < 0.9 else ntypes
    for ntype in seeds:
        arrays |= _splits(rng, draw, ntype, sizes[ntype])
    for key, (src, dst) in zip(etypes, ends, strict=True):
        count = rng.randint(40, 150)
        ids = rng.choice((np.int64, np.int32))
        arrays[f"edge/{key}/src"] = draw.integers(0, sizes[src], count).astype(ids)
        arrays[f"edge/{key}/dst"] = draw.integers(0, sizes[dst], count).astype(ids)
        arrays[f"edge/{key}/data/weight"] = draw.random(count).astype(rng.choice((np.float32, np.float64)))
        arrays[f"edge/{key}/data/kind"] = draw.integers(0, 3, count).astype(rng.choice((np.int64, np.int8)))
        arrays[f"edge/{key}/data/keep"] = draw.random(count) < 0.7
    arrays |= _splits(rng, draw, etypes[0], arrays[f"edge/{etypes[0]}/src"].size)
    return arrays, ntypes, etypes


def _node_data(rng: random.Random, draw: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    found = {"labels": draw.integers(0, rng.choice((2, 4)), count).astype(rng.choice((np.int64, np.int32, np.uint8))),
             "tags": (draw.random((count, 3)) < 0.4).astype(rng.choice((np.uint8, np.float32, np.bool_))),
             "size": draw.standard_normal(rng.choice(((count,), (count, 2)))).astype(np.float32)}
    if rng.random() < 0.75:
        kind = rng.choice((np.float32, np.float32, np.float32, np.float64, np.float16, np.int64))
        found["features"] = (draw.standard_normal((count, 5)) * 2).astype(kind)
    return found


def _splits(rng: random.Random, draw: np.random.Generator, key: str, count: int) -> dict[str, np.ndarray]:
    parts = np.split(draw.permutation(count), sorted(rng.choices(range(1, count), k=2)))
    made = {f"split/{key}/{name}": np.sort(ids) for name, ids in zip(("train", "val", "test"), parts, strict=True)}
    return {name: ids for name, ids in made.items() if name.endswith("train") or rng.random() < 0.9}


def _train(rng: random.Random, names: dict) -> list[str]:
    """A training job that ends soon: mostly a task that the graph has data for, and some flags at random."""
    task = rng.choice(_SETTINGS["task"].metadata["choices"])
    one_type = len(names["ntype"]) == 1
    models = [name for name, model in MODELS.items() if one_type or takes_types(model)]
    layers = rng.choice((1, 2))
    flags = {"task": task, "model": rng.choice(models), "fanouts": ",".join(["3"] * layers), "hidden": "8",
             "embed_dim": "8", "epochs": "1", "batch_size": "20", "run_dir": "run"}
    if task in _TASK_DATA:
        flags["labels"] = _TASK_DATA[task]
    if rng.random() < 0.3:
        flags["metrics"] = ",".join(rng.sample(_METRICS, rng.choice((1, 1, 2))))
    words = {word.split("=")[0]: word for word in (f"--{k.replace('_', '-')}={v}" for k, v in flags.items())}
    for word in _some_flags(rng, "train", names, rng.choice((0, 1, 2, 3, 5))):
        if word.split("=")[0] == "--global-batch-size":
            words.pop("--batch-size", None)
        words[word.split("=")[0]] = word
    words["--run-dir"] = "--run-dir=run"
    return ["train", "graph", *words.values()]


def _other(rng: random.Random, names: dict) -> list[str]:
    """A command that runs in one process, with flags at random."""
    command = rng.choice(("check", "info", "info", "synth", "slurm", "report"))
    words = {"check": ["graph"], "info": ["graph"], "synth": ["made"], "slurm": ["graph"], "report": ["run"]}[command]
    if command == "info" and rng.random() < 0.7:
        words.append("--plan")
    if command == "synth":
        words.append("--nodes=40")
    return [command, *words, *_some_flags(rng, command, names, rng.choice((0, 1, 2)))]


def _some_flags(rng: random.Random, command: str, names: dict, count: int) -> list[str]:
    """Flags of a command with values, most of them good."""
    parser = cli._subparser(cli._parser(), command)
    actions = [action for action in parser._actions
               if action.option_strings and action.dest not in ("help", argparse.SUPPRESS, "config", "run_dir", "out",
                                                                   "stage")]
    return [_flag(rng, action, names) for action in rng.sample(actions, min(count, len(actions)))]


def _flag(rng: random.Random, action: argparse.Action, names: dict) -> str:
    flag = action.option_strings[0]
    if action.nargs == 0:
        return flag
    value = _value(rng, action, names)
    return flag if value is None else f"{flag}={value}"


def _value(rng: random.Random, action: argparse.Action, names: dict) -> str | None:
    """A value for a flag: one in fourteen is none that it takes."""
    option = _SETTINGS.get(action.dest)
    kind, many = options._kind(option) if option is not None else (action.type or str, False)
    if rng.random() < 1 / 14:
        return rng.choice(_JUNK[kind])
    if action.dest in _SHORT:
        return rng.choice(_SHORT[action.dest])
    choices = option.metadata["choices"] if option is not None else action.choices
    if choices:
        return rng.choice(list(choices))
    if kind is str:
        of_name = {"target_ntype": names["ntype"], "target_etype": [*names["etype"], names["etype"][0].split(":")[1]],
                   "metrics": _METRICS, "split": ("train", "val", "test"), "method": tuple(METHODS),
                   "balance": (*BALANCES, "train,types")}
        return rng.choice(of_name.get(action.dest, _DATA))
    low = 0 if option is None or option.metadata["low"] is None else int(option.metadata["low"])
    if kind is float:
        return rng.choice(_FRACTIONS)
    some = [str(rng.choice((low, low + 1, low + 2, 8))) for _ in range(rng.choice((1, 2, 3)) if many else 1)]
    return ",".join(some)


if __name__ == "__main__":
    chosen, where = make_case(int(sys.argv[1])), Path(sys.argv[2])
    where.mkdir(parents=True, exist_ok=True)
    write_source(chosen, where)
    for line in chosen.commands:
        print("python -m mpignn", shlex.join(line))
