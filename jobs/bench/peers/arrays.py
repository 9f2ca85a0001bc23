"""A graph that `mpignn synth` wrote, for programs of DGL's environment."""

from pathlib import Path

import dgl
import numpy as np
import torch

SPLITS = ("train_mask", "val_mask", "test_mask")


def read(folder: Path, name: str) -> torch.Tensor:
    """The array ``name``."""
    return torch.from_numpy(np.load(folder / f"{name}.npy"))


def read_graph(folder: Path) -> dgl.DGLGraph:
    """The graph with its features, labels and splits."""
    g = dgl.graph(("csc", (read(folder, "indptr"), read(folder, "indices"), torch.empty(0, dtype=torch.int64))))
    for name in ("features", "labels", *SPLITS):
        g.ndata[name] = read(folder, name)
    return g
