"""A model that sees no neighbours: what the features alone are good for.

Shapes: S sources of the first block, D destinations of the last, F columns in.
"""

import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.kernels.rng import derive
from mpignn.nn.dropout import KeyedDropout


class MLP(nn.Module):
    """Linear layers on the seeds' own rows, with ReLU and keyed dropout between them.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output.
        num_layers: Layers; they need not be as many as blocks.
        dropout: Chance of dropping an element between two layers.
    """

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5):
        super().__init__()
        if num_layers < 1:
            raise ConfigError(f"a model needs at least 1 layer, not {num_layers}")
        sizes = [in_feats] + [hidden] * (num_layers - 1) + [num_classes]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False))
        self.dropout = KeyedDropout(dropout)

    def forward(self, blocks: list[Block], x: torch.Tensor, key: int | None = None) -> torch.Tensor:
        """The output of the last block's destinations.  Not collective.

        Args:
            blocks: At least one; only the seeds are used, which are the first sources of every block.
            x: (S, F) rows of the sources of the first block.
            key: What dropout is drawn from, equal on all trainers; the blocks' own if not given.

        Returns:
            (D, num_classes).
        """
        last = blocks[-1]
        rows, key = last.dst_orig[last.schema.ntype()], last.key if key is None else key
        x = x[:last.num_dst_nodes()]
        for number, layer in enumerate(self.layers):
            if number:
                x = self.dropout(torch.relu_(x), derive(key, number), rows)
            x = layer(x)
        return x
