"""How much faster is an epoch with more trainers?

One server and so many trainers, which have the cores of this machine between them, share global batches of one size,
so all make the same steps.  Beside each stands what it would be if the first number of trainers scaled without loss.
"""

import json
import sys

from mpignn.bench.benchmarks import Asked
from mpignn.bench.figures import Figure
from mpignn.bench.graphs import temporary_folder
from mpignn.bench.jobs import mpirun, run
from mpignn.comm.group import LocalGroup


def measure(graph: str, asked: Asked) -> list[Figure]:
    """Run `bench epoch` with each number of trainers.  Not collective.

    Raises:
        ConfigError, ResourceError: There is no launcher; or a job has failed.
    """
    found = {trainers: _epochs(graph, asked, trainers) for trainers in asked.trainers}
    first, values = next(iter(found.items()))
    figures = []
    for trainers, seconds in found.items():
        linear = f"{trainers} without loss"
        figures += [Figure(f"epoch, {trainers} trainer(s)", "s", seconds, linear),
                    Figure(linear, "s", tuple(value * first / trainers for value in values))]
    return figures


def _epochs(graph: str, asked: Asked, trainers: int) -> tuple[float, ...]:
    config = asked.config
    size = config.global_batch_size(max(asked.trainers))
    with temporary_folder(LocalGroup()) as folder:
        out = folder / "epoch.json"
        run([*mpirun(trainers + 1), sys.executable, "-m", "mpignn", "bench", "epoch", graph, "--repeats",
             str(asked.repeats), "--fanouts", ",".join(map(str, config.sampling.fanouts)), "--hidden",
             str(config.model.hidden), "--global-batch-size", str(size), "--servers-per-node", "1", "--out", str(out)])
        figures = json.loads(out.read_text(encoding="utf-8"))["figures"]
    return tuple(next(figure["values"] for figure in figures if figure["name"] == "training epoch"))
