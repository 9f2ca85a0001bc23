"""One process of DistDGL, in DGL's environment: a server, or a trainer that goes through epochs.

`jobs/bench/vs_distdgl.py` starts it, and says by DGL_ROLE which of the two it is.  The first trainer writes what it
did to a file, in the form of metrics.jsonl of `mpignn train`.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import dgl
import torch
from dgl.nn import SAGEConv
from torch import nn
from torch.nn import functional


class Sage(nn.Module):
    """GraphSAGE with means, as `mpignn train --model sage` has it."""

    def __init__(self, widths: list[int], dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(SAGEConv(*pair, "mean") for pair in zip(widths[:-1], widths[1:], strict=True))
        self.dropout = nn.Dropout(dropout)

    def forward(self, blocks: list, rows: torch.Tensor) -> torch.Tensor:
        for layer, block in zip(self.layers[:-1], blocks[:-1], strict=True):
            rows = self.dropout(functional.relu(layer(block, rows)))
        return self.layers[-1](blocks[-1], rows)


class Clock:
    """Seconds, by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.spent[name] += now - self._last
        self._last = now


def main() -> None:
    options = _options()
    # DGL looks for its machine by the addresses of the host, which two on one host have both.
    dgl.distributed.rpc_client.get_local_machine_id = lambda _: options.machine
    dgl.distributed.initialize(options.addresses)       # a server serves in there, and leaves
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    torch.manual_seed(0)
    g = dgl.distributed.DistGraph("graph", part_config=options.parts)
    with Path("/dev/null" if torch.distributed.get_rank() else options.out).open("w", buffering=1) as out:
        _run(g, options, out)
    torch.distributed.barrier()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--addresses", required=True, help="file of DGL: address and port of each machine")
    parser.add_argument("--machine", type=int, required=True, help="which of these this is")
    parser.add_argument("--parts", required=True, help="graph.json of distdgl_cut.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--fanouts", required=True, help="input layer first")
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=0.003)
    parser.add_argument("--data-path-only", action="store_true")
    return parser.parse_args()


def _run(g, options, out) -> None:
    fanouts = [int(fanout) for fanout in options.fanouts.split(",")]
    training, validation = (_loader(g, split, fanouts, options.batch_size) for split in ("train_mask", "val_mask"))
    features, labels = g.ndata["features"], g.ndata["labels"]
    model = optimizer = None
    if not options.data_path_only:
        widths = [features.shape[1], *[options.hidden] * (len(fanouts) - 1), options.classes]
        model = nn.parallel.DistributedDataParallel(Sage(widths, options.dropout))
        optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    for epoch in range(options.epochs):
        torch.distributed.barrier()
        began, clock, edges = time.perf_counter(), Clock(), 0
        for step, (inputs, seeds, blocks) in enumerate(training):
            clock.lap("sample_s")
            rows, wanted = features[inputs], labels[seeds]
            clock.lap("fetch_s")
            if not epoch and not step:
                _tell(out, event="step", step=step)
            edges += sum(block.num_edges() for block in blocks)
            if model is not None:
                loss = functional.cross_entropy(model(blocks, rows), wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            clock.lap("compute_s")
        torch.distributed.barrier()
        seconds = time.perf_counter() - began
        accuracy = None if model is None else _accuracy(model.module, validation, features, labels)
        _tell(out, event="epoch", epoch=epoch, seconds=seconds, edges=int(_sum([edges])[0]), val_acc=accuracy,
              validate_s=time.perf_counter() - began - seconds, **clock.spent)


def _loader(g, split: str, fanouts: list[int], batch_size: int):
    ids = dgl.distributed.node_split(g.ndata[split], g.get_partition_book(), force_even=True)
    return dgl.dataloading.DistNodeDataLoader(g, ids, dgl.dataloading.NeighborSampler(fanouts), batch_size=batch_size,
                                              shuffle=split == "train_mask", drop_last=False)


@torch.no_grad()
def _accuracy(model: Sage, loader, features, labels) -> float:
    model.eval()
    right = total = 0
    for inputs, seeds, blocks in loader:
        right += int((model(blocks, features[inputs]).argmax(1) == labels[seeds]).sum())
        total += len(seeds)
    model.train()
    right, total = _sum([right, total])
    return right / total


def _sum(values: list[float]) -> list[float]:
    """Of all trainers."""
    found = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(found)
    return found.tolist()


def _tell(out, **event) -> None:
    out.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()
