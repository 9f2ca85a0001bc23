"""How long is a training step of a three-layer GraphSAGE, compared with the same step in plain torch?

The blocks have the sizes of a batch of 1,000 seeds with fanouts 15, 10, 5 on a graph of 200,000 nodes; sources are
drawn uniformly.  A step gathers the features, runs forward and backward, and updates by Adam.  Plain torch has
index_select, embedding_bag and nn.Linear in the same order of operations.  All alternate in one process, one thread,
caches disturbed before each.

    python jobs/bench/step.py [--repeats 9]
"""

import argparse
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, embedding_bag

from machine import header, spread
from mpignn.buffers import Pool
from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import ETYPE, NTYPE, Schema
from mpignn.kernels import threads
from mpignn.kernels.gather import gather_rows
from mpignn.nn import GraphSAGE
from mpignn.train.optimizer import Adam, FlatParameters

NODES, COLUMNS, HIDDEN, CLASSES = 200_000, 100, 256, 47
SIZES = ((87_000, 166_000, 5), (14_200, 87_000, 10), (1_000, 14_200, 15))       # destinations, sources, in-edges


class Plain(nn.Module):
    """The model in torch operators: the map first where it shrinks the rows, as ours does."""

    def __init__(self, sizes):
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(*pair) for pair in sizes)
        self.neigh = nn.ModuleList(nn.Linear(*pair, bias=False) for pair in sizes)

    def forward(self, bags, x):
        for number, (own, neigh, (indices, offsets)) in enumerate(zip(self.own, self.neigh, bags, strict=True)):
            if number:
                x = torch.relu(x)
            source = neigh(x) if neigh.in_features > neigh.out_features else x
            mean = embedding_bag(indices, source, offsets, mode="mean")
            x = own(x[:offsets.shape[0]]) + (mean if source is not x else neigh(mean))
        return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    threads.set_num_threads(1)
    print(f"{header()}\none thread, {options.repeats} repeats; ms: median (min-max)")
    rng, blocks, bags = np.random.default_rng(0), [], []
    for num_dst, num_src, degree in SIZES:
        csc = CSC(np.arange(num_dst + 1, dtype=np.int64) * degree,
                  rng.integers(0, num_src, num_dst * degree).astype(np.int32))
        blocks.append(Block(Schema((NTYPE,), (ETYPE,)), {NTYPE: np.arange(num_src)}, {NTYPE: num_dst},
                            {NTYPE: np.arange(num_dst)}, {ETYPE: csc}))
        bags.append((torch.from_numpy(csc.indices).long(), torch.from_numpy(csc.indptr[:-1])))
    ids = np.sort(rng.choice(NODES, SIZES[0][1], replace=False))
    labels = torch.from_numpy(rng.integers(0, CLASSES, SIZES[-1][0]))
    table = torch.from_numpy(rng.standard_normal((NODES, COLUMNS), np.float32))
    sizes = [(COLUMNS, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, CLASSES)]
    torch.manual_seed(0)
    plain = Plain(sizes)
    jobs = {"plain torch": _plain(plain, bags, table, torch.from_numpy(ids), labels)}
    half, full = torch.bfloat16, torch.float32
    for name, dtype, stored in (("ours fp32", full, full), ("ours bf16", half, full),
                                ("ours bf16, bf16 features", half, half)):
        model = GraphSAGE(COLUMNS, HIDDEN, CLASSES, 3, dropout=0.0)
        for layer, own, neigh in zip(model.layers, plain.own, plain.neigh, strict=True):
            layer.load_state_dict({"fc_self.weight": own.weight, "fc_self.bias": own.bias,
                                   "fc_neigh.weight": neigh.weight})
        jobs[name] = _ours(model, blocks, table.to(stored), ids, labels, dtype)
    junk = torch.zeros(96 << 20, dtype=torch.uint8)
    times, losses = {name: [] for name in jobs}, {name: [] for name in jobs}
    for _ in range(options.repeats + 1):
        for name, job in jobs.items():
            junk += 1
            start = time.perf_counter()
            losses[name].append(job())
            times[name].append(1e3 * (time.perf_counter() - start))
    for name, values in times.items():
        ratios = [mine / theirs for mine, theirs in zip(values[1:], times["plain torch"][1:], strict=True)]
        print(f"{name:26} {spread(values[1:], '.0f'):>16}   of plain torch: {spread(ratios, '.2f')}   "
              f"loss {losses[name][0]:.4f} -> {losses[name][-1]:.4f}")


def _plain(model, bags, table, ids, labels):
    optimizer = torch.optim.Adam(model.parameters(), 0.003)

    def step() -> float:
        optimizer.zero_grad()
        loss = cross_entropy(model(bags, table.index_select(0, ids)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def _ours(model, blocks, table, ids, labels, dtype):
    parameters = FlatParameters(model.parameters())
    optimizer, pool, rows = Adam(parameters, 0.003), Pool(), table.view(torch.int8).numpy()

    def step() -> float:
        parameters.grad.zero_()
        gathered = pool.empty((ids.size, rows.shape[1]), np.int8)
        gather_rows(rows, ids, 0, gathered)
        x = torch.from_numpy(gathered).view(table.dtype).to(dtype)
        loss = cross_entropy(model(blocks, x).float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


if __name__ == "__main__":
    main()
