"""What the models have in common: a layer per block, and what goes between two layers.

Shapes: S sources and D destinations of a node type, F columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mpignn.duties import serve
from mpignn.errors import ConfigError, DataError
from mpignn.graph.block import Block
from mpignn.graph.on_edges import OnEdges
from mpignn.kernels.rng import derive
from mpignn.nn.dropout import KeyedDropout

Rows = torch.Tensor | Mapping[str, torch.Tensor]
Ends = torch.Tensor | tuple[torch.Tensor, torch.Tensor]     # rows of the sources, or of sources and destinations


@dataclass(frozen=True)
class ByItself:
    """``W x_v + b``.

    Attributes:
        weight: (G, F) W; None: nothing.
        bias: (G,) b; None: nothing.
        edges_read_own: Whether what in-edges bring depends on ``x_v``, too.
    """

    weight: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    edges_read_own: bool = False


class Stack(nn.Module):
    """Layers with an activation, unless these have their own, and keyed dropout between them.

    Rows are tensors where the graph has one node type and one edge type, dicts of them by node type elsewhere.

    Attributes:
        layers: Called as ``layer(block, x)``.
        activation: What rows between two layers go through; None: nothing.
        on_edges: What layers read of the edges, of a graph with one edge type; of each block's frame.
        needs_source_info: The blocks must say more of their sources: `NeighborSampler` with ``source_info``.
    """

    on_edges = OnEdges()

    def __init__(self, layers: Sequence[nn.Module], dropout: float, input_dropout: float = 0.0,
                 activation: Callable[[torch.Tensor], torch.Tensor] | None = torch.relu_) -> None:
        super().__init__()
        if len(layers) < 1:
            raise ConfigError(f"a model needs at least 1 layer, not {len(layers)}")
        self.layers = nn.ModuleList(layers)
        self.dropout, self.input_dropout = KeyedDropout(dropout), KeyedDropout(input_dropout)
        self.activation = activation

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def needs_source_info(self) -> bool:
        return self.input_dropout.p > 0

    def forward(self, blocks: list[Block], x: Rows, key: int | None = None) -> Rows:
        """The output of the last block's destinations.  Not collective.

        Args:
            blocks: One per layer, input layer first.
            x: (S, F) rows of the sources of the first block.
            key: What dropout is drawn from, equal on all trainers; the blocks' own if not given.

        Raises:
            ConfigError: There are more or fewer blocks than layers.
        """
        self.check_blocks(blocks)
        key = blocks[-1].key if key is None else key
        for number, block in enumerate(blocks):
            x = self.forward_layer(number, block, x, key)
        return x

    def check_blocks(self, blocks: Sequence[Block]) -> None:
        """Raise `ConfigError` if there are more or fewer blocks than layers.  Not collective."""
        if len(blocks) != len(self.layers):
            raise ConfigError(f"{len(self.layers)} layers but {len(blocks)} blocks: the fanouts do not match the model")

    def forward_layer(self, number: int, block: Block, x: Rows, key: int | None = None) -> Rows:
        """One layer and what goes between it and the next: `forward` is a loop over this.  Not collective.

        Args:
            number: Number of the layer, from 0.
            block: With the layer's in-edges.
            x: (S, F) rows of its sources: features for layer 0, else what this returned for the layer before.
            key: As in `forward`.

        Returns:
            (D, F) rows of its destinations.
        """
        key = block.key if key is None else key
        if number == 0:
            x = self.entering(block, self._drop_input(block, x, key))
        serve()     # layers take long, in both directions
        x = self._call(number, block, x, key)
        _serve_on_the_way_back(x)
        return x if number == len(self.layers) - 1 else self.leaving(number, block, x, key)

    def entering(self, block: Block, x: Rows) -> Rows:
        """(S, F) what the first layer reads, of the rows that enter the model.  Not collective."""
        return x

    def leaving(self, number: int, block: Block, x: Rows, key: int) -> Rows:
        """(D, F) rows of a layer as the next one gets them.  Not collective."""
        if isinstance(x, torch.Tensor):
            return self._between(x, derive(key, number + 1), block.dst_orig[block.schema.etype()[2]])
        return {t: self._between(rows, derive(key, number + 1, block.schema.ntypes.index(t)), block.dst_orig[t])
                for t, rows in x.items()}

    def _between(self, x: torch.Tensor, key: int, orig: np.ndarray) -> torch.Tensor:
        dropped: torch.Tensor = self.dropout(x if self.activation is None else self.activation(x), key, orig)
        return dropped

    def convolve(self, number: int, block: Block, x: Rows | Ends, key: int) -> Rows:
        """What one layer makes by itself, without what goes between two layers.  Not collective.

        Args:
            number, block, key: As in `forward_layer`.
            x: As there, or rows of the sources and of the destinations.
        """
        out: Rows = self.layers[number](block, x, **self.edge_arguments(block, x))
        return out

    def edge_arguments(self, block: Block, x: Rows | Ends) -> dict[str, torch.Tensor]:
        """(E, ...) ``edge_feat`` and (E,) ``edge_weight``, of those that layers read, in the type of rows ``x``.

        Not collective.

        Raises:
            DataError: A block has no such data.
        """
        found: dict[str, torch.Tensor] = {}
        if self.on_edges.names:
            frame = block.edge_frames.get(block.schema.etype(), {})
            missing = next((name for name in self.on_edges.names if name not in frame), None)
            if missing is not None:
                raise DataError(f"layers read edge data {missing!r}, which the blocks do not have: give the sampler "
                                f"prefetch_edge_feats=[{missing!r}]")
            rows = x[0] if isinstance(x, tuple) else of_one_type(x)
            if self.on_edges.feats is not None:
                feats = frame[self.on_edges.feats]
                found["edge_feat"] = feats.reshape(feats.shape[0], self.on_edges.columns).to(rows.dtype)
            if self.on_edges.weight is not None:
                found["edge_weight"] = frame[self.on_edges.weight].reshape(-1).to(rows.dtype)
        return found

    def by_itself(self, number: int) -> "ByItself | None":
        """What a layer gives each destination whether or not it has in-edges; None if that is not a sum of its own.

        ``convolve`` then is this and `by_edges`.  Not collective.
        """
        return None

    def by_edges(self, number: int, block: Block, x: tuple[torch.Tensor, torch.Tensor], key: int) -> torch.Tensor:
        """(D, F) what in-edges bring, of a model that has `by_itself`.  Not collective.

        Args:
            number, block, key: As in `convolve`.
            x: Rows of the sources and of the destinations; these are empty where `ByItself` says so.
        """
        raise NotImplementedError

    def _call(self, number: int, block: Block, x: Rows, key: int) -> Rows:
        return self.convolve(number, block, x, key)

    def _drop_input(self, block: Block, x: Rows, key: int) -> Rows:
        if not self.training or self.input_dropout.p == 0:
            return x
        if block.src_orig is None:
            raise DataError("dropout of the input needs the original ids of the sources: give the sampler source_info")
        if isinstance(x, torch.Tensor):
            dropped: torch.Tensor = self.input_dropout(x, derive(key, 0), block.src_orig[block.schema.ntype()])
            return dropped
        return {t: self.input_dropout(rows, derive(key, 0, block.schema.ntypes.index(t)), block.src_orig[t])
                for t, rows in x.items()}


def _serve_on_the_way_back(x: Rows) -> None:
    """Do the duties of this process when gradients come to these rows, too."""
    for rows in (x,) if isinstance(x, torch.Tensor) else x.values():
        if rows.requires_grad:
            rows.register_hook(_serve)
            return      # once a layer is enough


def _serve(_: torch.Tensor) -> None:
    serve()


def of_one_type(x: Rows) -> torch.Tensor:
    """Rows of the only node type.  Not collective.

    Raises:
        DataError: They come by node type.
    """
    if not isinstance(x, torch.Tensor):
        raise DataError("the model is for graphs with one node type, and takes one tensor of rows")
    return x


def widths(in_feats: int, hidden: int, out_feats: int, num_layers: int) -> list[tuple[int, int]]:
    """Columns into and out of each layer."""
    sizes = [in_feats] + [hidden] * (num_layers - 1) + [out_feats]
    return list(zip(sizes, sizes[1:], strict=False)) if num_layers > 0 else []
