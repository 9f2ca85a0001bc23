"""Learn a vector for each node, beside GraphSAGE, in a loop of one's own that can be stopped and goes on.

    mpirun -np 8 python jobs/examples/train_embeddings.py GRAPH FOLDER

Checkpoints go to FOLDER.  Send mpirun SIGUSR1: all ranks leave with exit code 75; the same line goes on from there, on
any number of ranks.
"""

import sys

import torch
from torch.nn.functional import cross_entropy

import mpignn as mg


def main(g, world):
    sampler = mg.NeighborSampler([5, 10], prefetch_labels=["labels"])
    loader = mg.NodeDataLoader(g, g.split("train"), sampler, global_batch_size=200, shuffle=True)
    rows = mg.DistEmbedding(g.num_nodes(), 32, "rows")
    model = mg.wrap(mg.nn.GraphSAGE(32, 32, 47, num_layers=2), world)
    optimizer, of_rows = torch.optim.Adam(model.parameters(), lr=1e-2), mg.SparseAdagrad([rows], lr=0.1)
    kept = mg.Checkpoints(sys.argv[2], g, every=50, model=model, optimizer=optimizer, of_rows=of_rows, loader=loader)
    kept.resume()
    for epoch in range(loader.state_dict()["epoch"], 10):
        loader.set_epoch(epoch)
        for input_nodes, _, blocks in loader:
            logits = model(blocks, rows(input_nodes))
            loss = loader.scale * cross_entropy(logits, blocks[-1].dstdata["labels"], reduction="sum")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            of_rows.step(1 / g.trainers.size)
            mean = loss.detach()
            torch.distributed.all_reduce(mean, torch.distributed.ReduceOp.AVG)
            if g.trainers.rank == 0:
                print(f"epoch {epoch} step {kept.steps}: loss {mean.item():.6f}", flush=True)
            kept.step()


if __name__ == "__main__":
    mg.stop.listen()
    mg.run(main, graph=sys.argv[1])
