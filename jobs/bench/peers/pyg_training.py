"""Trains a model of PyTorch Geometric's layers by its `NeighborLoader`, in an environment of its own.

`jobs/bench/vs_pyg.py` starts it: GRAPH SETTINGS, an npz file that it has written and JSON.  A line `train` on standard
input asks for an epoch, `test` for the accuracy on the split test; the answer is a line of JSON: wall and CPU seconds,
and the loss or the accuracy.  What is before the first line is not timed.
"""

import json
import sys
import time
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import torch
import torch_geometric.typing
from torch import nn
from torch.nn.functional import cross_entropy, dropout
from torch_geometric.data import HeteroData
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GATConv, GINConv, HeteroConv, HGTConv, SAGEConv

Rows = dict[str, torch.Tensor]


def main() -> None:
    path, settings = sys.argv[1], SimpleNamespace(**json.loads(sys.argv[2]))
    torch.set_num_threads(1)
    torch.manual_seed(settings.seed)
    if settings.operator:
        torch.ops.load_library(settings.operator)
        torch_geometric.typing.WITH_TORCH_SPARSE = True
    data, target, splits = _read(path)
    model = Model(data, target, settings)
    _start_as_mpignn(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)
    loaders = {split: NeighborLoader(data, settings.fanouts, (target, splits[split]), batch_size=settings.batch_size,
                                     shuffle=split == "train") for split in ("train", "test")}
    steps = max(1, settings.epochs * len(loaders["train"]))
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
    asked = {"train": lambda: _train(model, loaders["train"], optimizer, falling, target),
             "test": lambda: _test(model, loaders["test"], target)}
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        found = asked[line.strip()]()
        print(json.dumps([time.perf_counter() - began, time.process_time() - cpu, found]), flush=True)


def _read(path: str) -> tuple[HeteroData, str, dict[str, torch.Tensor]]:
    """The graph, the node type of its labels, and the splits."""
    data, splits, target = HeteroData(), {}, ""
    for key, array in np.load(path).items():
        kind, name, *more = key.split("/")
        if kind == "num_nodes":
            data[name].num_nodes = int(array)
        elif kind == "features":
            data[name].x = torch.from_numpy(array)
        elif kind == "labels":
            data[name].y, target = torch.from_numpy(array), name
        elif kind == "edges":
            data[tuple(name.split(":"))].edge_index = torch.from_numpy(array)
        else:
            splits[more[0]] = torch.from_numpy(array)
    return data, target, splits


class Model(nn.Module):
    """Layers for each edge type, whose results are summed, or `HGTConv`, as mpignn's models of these names have them.

    Rows of each node type are brought to the hidden columns first; a type without features has one learnt row.  A graph
    of one type has neither.
    """

    def __init__(self, data: HeteroData, target: str, settings: SimpleNamespace) -> None:
        super().__init__()
        self.kind, self.drop = settings.model, settings.dropout
        hidden, classes, self.typed = settings.hidden, int(data[target].y.max()) + 1, len(data.node_types) > 1
        first = hidden if self.typed else data[target].num_features
        self.inputs, self.learnt = nn.ModuleDict(), nn.ParameterDict()
        for ntype in data.node_types if self.typed else ():
            if "x" in data[ntype]:
                self.inputs[ntype] = nn.Linear(data[ntype].num_features, hidden)
            else:
                self.learnt[ntype] = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        self.convs, self.own, self.last = nn.ModuleList(), nn.ModuleList(), None
        outs = [*[hidden] * (len(settings.fanouts) - 1), hidden if self.kind == "hgt" else classes]
        for number, (a, b) in enumerate(zip([first, *outs], outs, strict=False)):
            at_end = number == len(outs) - 1
            if self.kind == "hgt":
                self.convs.append(HGTConv(a, b, data.metadata(), settings.heads))
            else:
                make = {"gin": lambda a=a, b=b: GINConv(nn.Sequential(nn.Linear(a, hidden), nn.ReLU(),
                                                                      nn.Linear(hidden, b))),
                        "sage": lambda a=a, b=b: SAGEConv(a, b), "gat": self._gat(a, b, at_end, settings.heads)}
                self.convs.append(HeteroConv({etype: make[self.kind]() for etype in data.edge_types}, aggr="sum"))
            if self.kind == "gat" and self.typed:
                self.own.append(nn.ModuleDict({ntype: nn.Linear(a, b) for ntype in data.node_types}))
        if self.kind == "hgt":
            self.last = nn.Linear(hidden, classes)

    def _gat(self, a: int, b: int, at_end: bool, heads: int):
        """Heads side by side between two layers, one head at the end; loops where there is one edge type."""
        count = 1 if at_end else heads
        return lambda: GATConv(a, b // count, count, add_self_loops=not self.typed)

    def forward(self, x: Mapping[str, torch.Tensor], edges: Mapping[tuple, torch.Tensor],
                counts: Mapping[str, int]) -> Rows:
        rows: Rows = dict(x)
        if self.typed:
            rows = {ntype: linear(x[ntype]) for ntype, linear in self.inputs.items()}
            rows |= {ntype: row.expand(counts[ntype], -1) for ntype, row in self.learnt.items()}
        for number, conv in enumerate(self.convs):
            if number:
                rows = {ntype: dropout(self._activated(of_type), self.drop, self.training)
                        for ntype, of_type in rows.items()}
            out = conv(rows, edges)
            if self.own:
                out = {ntype: linear(rows[ntype]) + out.get(ntype, 0) for ntype, linear in self.own[number].items()}
            rows = rows | {ntype: of_type for ntype, of_type in out.items() if of_type is not None}
        return rows if self.last is None else {ntype: self.last(of_type) for ntype, of_type in rows.items()}

    def _activated(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "hgt":
            return x
        return torch.nn.functional.elu(x) if self.kind == "gat" else torch.relu(x)


def _start_as_mpignn(model: Model) -> None:
    """Draw from the distributions of mpignn, which are DGL's, where PyTorch Geometric has others."""
    gain = nn.init.calculate_gain("relu")
    for layer in model.modules():
        if isinstance(layer, SAGEConv):
            nn.init.xavier_uniform_(layer.lin_l.weight, gain)
            nn.init.xavier_uniform_(layer.lin_r.weight, gain)
        elif isinstance(layer, GATConv):
            for weight in (layer.lin.weight, layer.att_src, layer.att_dst):
                nn.init.xavier_normal_(weight, gain)


def _forward(model: Model, batch: HeteroData, target: str) -> tuple[torch.Tensor, torch.Tensor]:
    count = batch[target].batch_size
    out = model(batch.x_dict, batch.edge_index_dict, {ntype: batch[ntype].num_nodes for ntype in batch.node_types})
    return out[target][:count], batch[target].y[:count]


def _train(model: Model, loader: NeighborLoader, optimizer: torch.optim.Optimizer,
           falling: torch.optim.lr_scheduler.LambdaLR, target: str) -> float:
    model.train()
    total = seen = 0.0
    for batch in loader:
        optimizer.zero_grad()
        out, labels = _forward(model, batch, target)
        loss = cross_entropy(out, labels)
        loss.backward()
        optimizer.step()
        falling.step()
        total, seen = total + loss.item() * len(labels), seen + len(labels)
    return total / seen


@torch.no_grad()
def _test(model: Model, loader: NeighborLoader, target: str) -> float:
    model.eval()
    right = seen = 0
    for batch in loader:
        out, labels = _forward(model, batch, target)
        right, seen = right + int((out.argmax(1) == labels).sum()), seen + len(labels)
    return right / seen


if __name__ == "__main__":
    main()
