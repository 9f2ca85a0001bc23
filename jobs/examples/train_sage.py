"""GraphSAGE on a partitioned graph, with a training loop of one's own.

    mpirun -np 8 python jobs/examples/train_sage.py GRAPH        # or without mpirun, in one process
"""

import sys

import torch
from torch.nn.functional import cross_entropy

import mpignn as mg


def main(g, world):                                     # runs on the trainers, while the servers serve
    sampler = mg.NeighborSampler([5, 10, 15], prefetch_node_feats=["features"], prefetch_labels=["labels"])
    loader = mg.NodeDataLoader(g, g.split("train"), sampler, global_batch_size=1000, shuffle=True)
    model = mg.wrap(mg.nn.GraphSAGE(g.ndata["features"].shape[1], 64, 47, num_layers=3), world)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(3):
        loader.set_epoch(epoch)
        for step, (_, _, blocks) in enumerate(loader):
            logits = model(blocks, blocks[0].srcdata["features"])
            loss = loader.scale * cross_entropy(logits, blocks[-1].dstdata["labels"], reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = loss.detach()
            torch.distributed.all_reduce(mean, torch.distributed.ReduceOp.AVG)      # over the global batch
            if g.trainers.rank == 0:
                print(f"epoch {epoch} step {step}: loss {mean.item():.6f}", flush=True)


if __name__ == "__main__":
    mg.run(main, graph=sys.argv[1])
