"""All that learns in a run: the rows that enter, the layers on blocks, and what is read off the result.

Shapes: S sources of the first block, D destinations of the last, F columns of a feature.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from torch import nn

from mpignn.errors import ConfigError
from mpignn.graph.block import Block
from mpignn.graph.types import Schema
from mpignn.nn.device import sent
from mpignn.nn.embedding import DistEmbedding
from mpignn.nn.stack import Rows


def rows_of(rows: Rows, ntype: str) -> torch.Tensor:
    """(D, ...) what a model says of the nodes of a type.  Not collective.

    Raises:
        ConfigError: It says nothing of them, which is so on all trainers, whose models are the same.
    """
    if isinstance(rows, torch.Tensor):
        return rows
    if ntype not in rows:
        raise ConfigError(f"the model gives nodes of type {ntype!r} no rows: its last layer writes none of "
                          "them").on_all()
    return rows[ntype]


class Inputs(nn.Module):
    """The rows that the first layer reads: the features, in the type that the model computes in, beside what is learnt
    of each node.

    A node type without either has no rows; the model knows what to do then.

    Attributes:
        columns: How many the rows of each node type have, of those that have any.
        reads: The node types that have features.
        embeddings: `DistEmbedding` by number of the node type.

    Args:
        schema: Types of the graph.
        features: Name of the node data.
        widths: F for each node type; 0 where it has no features.
        dtype: Type of what comes out; bfloat16 in training only, where evaluation and inference have float32.
        embeddings: By node type.
    """

    def __init__(self, schema: Schema, features: str, widths: Mapping[str, int], dtype: torch.dtype,
                 embeddings: Mapping[str, DistEmbedding] = MappingProxyType({})) -> None:
        super().__init__()
        columns = {t: widths.get(t, 0) + (embeddings[t].embedding_dim if t in embeddings else 0) for t in schema.ntypes}
        self.columns = {ntype: width for ntype, width in columns.items() if width}
        self.reads = tuple(ntype for ntype, width in widths.items() if width)
        self.embeddings = nn.ModuleDict({str(number): embeddings[ntype] for number, ntype in enumerate(schema.ntypes)
                                         if ntype in embeddings})      # names may hold dots
        self.features = features
        self.place: torch.Tensor
        self.register_buffer("place", torch.empty(0), persistent=False)     # goes where the network goes
        self._schema, self._dtype = schema, dtype

    def forward(self, block: Block) -> Rows:
        """(S, F) rows of the sources of a first block, whose frames hold the features.

        Collective over the trainers where there are embeddings.
        """
        return self.of_nodes({ntype: block.src_frames[ntype][self.features] for ntype in self.reads}, block.src_ids)

    def of_nodes(self, features: Mapping[str, torch.Tensor], ids: Mapping[str, np.ndarray]) -> Rows:
        """(S, F) rows of some nodes of each type.  Collective over the trainers where there are embeddings.

        Args:
            features: (S, F) their features, in any floating-point type, where the node type has such.
            ids: (S,) int64 their global ids.
        """
        dtype = self._dtype if self.training or self._dtype != torch.bfloat16 else torch.float32
        where = self.place.device
        rows = {ntype: sent(of_type, where).to(dtype) for ntype, of_type in features.items()}
        for number, embedding in self.embeddings.items():
            ntype = self._schema.ntypes[int(number)]
            learnt = sent(embedding(ids[ntype]), where).to(dtype)
            rows[ntype] = torch.cat([rows[ntype], learnt], 1) if ntype in rows else learnt
        return rows[self._schema.ntype()] if self._schema.is_homogeneous else rows


class Network(nn.Module):
    """A model on blocks, with its inputs.

    Attributes:
        inputs: `Inputs`.
        model: Layers: ``model(blocks, rows)``.
        head: What a task reads off the model's rows; None if it needs nothing else.
    """

    def __init__(self, inputs: Inputs, model: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.inputs, self.model, self.head = inputs, model, head

    @property
    def needs_source_info(self) -> bool:
        """Whether blocks must say more of their sources: `NeighborSampler` with ``source_info``."""
        return bool(getattr(self.model, "needs_source_info", False))

    def sent(self, x: torch.Tensor) -> torch.Tensor:
        """Rows where the network computes.  Not collective."""
        return sent(x, self.inputs.place.device)

    def forward(self, blocks: list[Block]) -> Rows:
        """(D, ...) what the model says of the last block's destinations, bfloat16 as float32.

        Collective over the trainers where there are embeddings.

        Args:
            blocks: One per layer, input layer first, with the features that its `Inputs` read.
        """
        rows = self.model(blocks, self.inputs(blocks[0]))
        return {t: _at_least_float32(r) for t, r in rows.items()} if isinstance(rows, dict) else _at_least_float32(rows)


def _at_least_float32(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype == torch.bfloat16 else x
