"""Models that see no neighbors: what the features, or what is learnt of each node, is good for alone.

Shapes: S sources of the first block, D destinations of the last.
"""

from collections.abc import Mapping

import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.kernels.rng import derive
from mpignn.nn.dense import Linear
from mpignn.nn.stack import Rows, Stack, of_one_type, widths


class MLP(Stack):
    """Linear layers on the seeds' own rows, with ReLU and keyed dropout between them.

    Args:
        in_feats, hidden, num_classes: Columns of the input, of each layer between, and of the output.
        num_layers: Layers; they need not be as many as blocks.
        dropout: Chance of dropping an element between two layers.
        input_dropout: The same for the input.
    """

    def __init__(self, in_feats: int, hidden: int, num_classes: int, num_layers: int, dropout: float = 0.5,
                 input_dropout: float = 0.0) -> None:
        super().__init__([Linear(*pair) for pair in widths(in_feats, hidden, num_classes, num_layers)], dropout,
                         input_dropout)

    @property
    def needs_source_info(self) -> bool:
        return False

    def forward(self, blocks: list[Block], x: Rows, key: int | None = None) -> Rows:
        """As `Stack.forward`, of at least one block; only the seeds are used, the first sources of every block."""
        last = blocks[-1]
        for number in range(self.num_layers):
            x = self.forward_layer(number, last, x, key)
        return x

    def _call(self, number: int, block: Block, x: Rows, key: int) -> torch.Tensor:
        out: torch.Tensor = self.layers[number](of_one_type(x)[:block.num_dst_nodes()])
        return out

    def _drop_input(self, block: Block, x: Rows, key: int) -> torch.Tensor:
        own = of_one_type(x)[:block.num_dst_nodes()]
        dropped: torch.Tensor = self.input_dropout(own, derive(key, 0), block.dst_orig[block.schema.ntype()])
        return dropped


class NoModel(nn.Module):
    """What enters comes out: for tasks that learn nothing but rows of the nodes themselves.

    Attributes:
        num_layers: 1: one block is enough, which need not have edges.
        needs_source_info: Never.

    Args:
        in_feats: Columns of each node type that has any.
        num_classes: Columns that the task asks for.

    Raises:
        ConfigError: These differ.
    """

    num_layers, needs_source_info = 1, False

    def __init__(self, in_feats: Mapping[str, int], num_classes: int) -> None:
        super().__init__()
        for ntype, width in in_feats.items():
            if width != num_classes:
                raise ConfigError(f"model none passes on {width} columns of {ntype!r}, but {num_classes} are asked "
                                  "for: choose another --model, or as many columns")

    def forward(self, blocks: list[Block], x: Rows, key: int | None = None) -> Rows:
        """As `Stack.forward`, of at least one block; the seeds are the first sources of every block."""
        return self.forward_layer(0, blocks[-1], x, key)

    def forward_layer(self, number: int, block: Block, x: Rows, key: int | None = None) -> Rows:
        """As `Stack.forward_layer`."""
        if isinstance(x, torch.Tensor):
            return x[:block.num_dst_nodes()]
        return {ntype: rows[:block.num_dst[ntype]] for ntype, rows in x.items()}
