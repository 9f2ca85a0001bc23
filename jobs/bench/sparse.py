"""How many rows per second does a step of SparseAdagrad update, and how does torch's sparse Adagrad do?

    mpirun -np 2 python jobs/bench/sparse.py [--rows 200000] [--hits 20000] [--steps 30] [--servers 0]

Every rank trains (``--servers 1``: the first one only serves).  In each step every trainer looks up so many rows, drawn
from all rows with repeats, gets gradients for them and lets the optimizer step: gradients of rows that other
trainers own go there.  The same ids and gradients then go to a `torch.nn.Embedding` of its own and
`torch.optim.Adagrad`; the two alternate.  Times are of the slowest trainer.
"""

import argparse
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import torch

from machine import header, spread
from mpignn.comm.local import LocalTransport
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ETYPE, NTYPE, Schema
from mpignn.mpi.transport import MpiTransport
from mpignn.mpi.world import describe_mpi, initialize
from mpignn.nn import DistEmbedding, SparseAdagrad
from mpignn.nn.reused_memory import keep_freed
from mpignn.store.registry import TensorRegistry

_WARM = 5       # steps that are not timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000, help="of the embedding")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--hits", type=int, default=20_000, help="rows that each trainer looks up in a step")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--servers", type=int, default=0, help="dedicated servers on each node")
    parser.add_argument("--ranks-per-node", type=int, help="simulate nodes of so many ranks")
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)        # of torch, about the checks of sparse tensors
    world = initialize(options.servers, options.ranks_per_node)
    cuts = np.array([0, 1])
    book = RangePartitionBook(Schema((NTYPE,), (ETYPE,)), {NTYPE: cuts}, {ETYPE: cuts})
    transport = LocalTransport([]) if world.size == 1 else MpiTransport(world, [])
    transport.publish()
    if world.trainers is not None:
        keep_freed()        # as in every job
        torch.set_num_threads(1)
        registry = TensorRegistry(book, world.topology, transport, world.trainers)
        _measure(SimpleNamespace(registry=registry), world, options)
        registry.close()
    world.finish()
    transport.free()


def _measure(g, world, options) -> None:
    trainers = world.trainers
    emb = DistEmbedding(options.rows, options.dim, part_policy="even", g=g)
    ours = SparseAdagrad([emb], lr=0.1)
    other = torch.nn.Embedding(options.rows, options.dim, sparse=True)
    theirs = torch.optim.Adagrad(other.parameters(), lr=0.1, eps=1e-10)
    rng = np.random.default_rng(trainers.rank)
    gradients = torch.from_numpy(rng.standard_normal((options.hits, options.dim), dtype=np.float32))
    names = ("mpignn step", "mpignn lookup, backward, step", "torch step", "torch lookup, backward, step")
    took = {name: [] for name in names}
    for number in range(_WARM + options.steps):
        ids = torch.from_numpy(rng.integers(0, options.rows, options.hits))
        for (step, whole), (embedding, optimizer) in zip((names[:2], names[2:]), ((emb, ours), (other, theirs)),
                                                         strict=True):
            trainers.barrier()
            optimizer.zero_grad()
            began = time.perf_counter()
            embedding(ids).backward(gradients)
            middle = time.perf_counter()
            optimizer.step()
            ended = time.perf_counter()
            slowest = np.max(trainers.allgather((ended - middle, ended - began)), axis=0)
            if number >= _WARM:
                took[step].append(slowest[0])
                took[whole].append(slowest[1])
    if trainers.rank == 0:
        print(header())
        print(f"$ mpirun -np {world.size} python {' '.join(sys.argv)}")
        print("\n".join(describe_mpi(world)))
        print(f"{options.rows} rows of {options.dim} float32, {options.hits} hits a step and trainer; million rows/s "
              "per trainer: median (min-max)")
        rates = {name: options.hits / np.array(seconds) / 1e6 for name, seconds in took.items()}
        for name, values in rates.items():
            print(f"{name:32s} {spread(values)}")
        print(f"step, mpignn / torch             {spread(rates['mpignn step'] / rates['torch step'])}")


if __name__ == "__main__":
    main()
