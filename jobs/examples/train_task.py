"""A task with a model of one's own: the built-in loop trains it, then it is measured and used with all neighbors.

    mpirun -np 8 python jobs/examples/train_task.py GRAPH        # or without mpirun, in one process
"""

import sys

import torch

import mpignn as mg


class Model(mg.nn.Stack):                               # layers that are called as layer(block, x)
    def __init__(self, columns, outputs):
        super().__init__([mg.nn.SAGEConv(columns, 64, "pool"), mg.nn.SAGEConv(64, outputs)], dropout=0.2,
                         activation=torch.nn.functional.elu)


def main(g, world):                                     # runs on the trainers, while the servers serve
    config = mg.settings()                              # what mg.run was given, and defaults
    task = mg.NodeClassification(g, config)
    network = mg.make_network(g, task, config, Model(g.ndata["features"].shape[1], task.outputs))
    sampler = mg.LaborSampler(config.sampling.fanouts, prefetch_node_feats=["features"], prefetch_labels=["labels"])
    loader = mg.NodeDataLoader(g, g.split("train"), sampler, global_batch_size=500, shuffle=True)
    found = mg.fit(g, network, task, config, loader)    # val_acc, test_acc by sampled neighbors; a run folder
    found |= {f"{name}_whole": value for name, value in
              mg.evaluate(g, network, task, config, "test", whole=True).items()}
    mg.infer(g, network, task, "pred.h5")               # of all nodes, in original ids
    if g.trainers.rank == 0:
        print("found", found, flush=True)


if __name__ == "__main__":
    mg.run(main, graph=sys.argv[1], fanouts=(10, 10), epochs=3, lr=0.01, seed=1)
