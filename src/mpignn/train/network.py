"""All that learns in a run: the rows that enter, the layers on blocks, and what is read off the result.

Shapes: S sources of the first block, D destinations of the last, F columns of a feature.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from mpignn.graph.block import Block
from mpignn.graph.types import Schema

Rows = torch.Tensor | dict[str, torch.Tensor]       # by node type where the graph has several types


class Inputs(nn.Module):
    """The rows that the first layer reads.

    On a homogeneous graph these are the features.  Else a linear map brings the features of each node type to the same
    number of columns, and a type without features has one learnt row that all its nodes share.

    Attributes:
        columns: Of what comes out.

    Args:
        schema: Of the graph.
        features: Name of the node data.
        widths: F for each node type; 0 where it has no features.
        hidden: Columns that several types are brought to.
        dtype: Of what comes out.
    """

    def __init__(self, schema: Schema, features: str, widths: Mapping[str, int], hidden: int, dtype: torch.dtype):
        super().__init__()
        self._schema, self._features, self._dtype = schema, features, dtype
        self.columns = widths[schema.ntypes[0]] if schema.is_homogeneous else hidden
        self.maps = nn.ModuleDict()         # by number of the node type: its name may be none for a module
        self.shared = nn.ParameterDict()
        for number, ntype in enumerate(() if schema.is_homogeneous else schema.ntypes):
            if widths[ntype]:
                self.maps[str(number)] = nn.Linear(widths[ntype], hidden, dtype=dtype)
            else:
                self.shared[str(number)] = nn.Parameter(torch.randn(1, hidden, dtype=dtype) * hidden ** -0.5)

    def forward(self, block: Block) -> Rows:
        """(S, columns) rows of the sources of a first block, whose frames hold the features.  Not collective."""
        rows = {ntype: self.of_type(ntype, block.src_frames.get(ntype, {}).get(self._features), ids)
                for ntype, ids in block.src_ids.items()}
        return rows[self._schema.ntype()] if self._schema.is_homogeneous else rows

    def of_type(self, ntype: str, features: torch.Tensor | None, ids: np.ndarray) -> torch.Tensor:
        """(S, columns) rows of some nodes of a type.  Not collective.

        Args:
            ntype: Node type.
            features: (S, F) their features, in any floating-point type; None where the type has none.
            ids: (S,) int64 their global ids.
        """
        number = str(self._schema.ntypes.index(ntype))
        if number in self.shared:
            return self.shared[number].expand(ids.size, -1)
        features = features.to(self._dtype)
        return self.maps[number](features) if number in self.maps else features


class Network(nn.Module):
    """A model on blocks, with its inputs.

    Attributes:
        inputs: `Inputs`.
        model: Layers: ``model(blocks, rows)``.
    """

    def __init__(self, inputs: Inputs, model: nn.Module):
        super().__init__()
        self.inputs, self.model = inputs, model

    def forward(self, blocks: list[Block]) -> Rows:
        """(D, ...) what the model says of the last block's destinations.  Not collective.

        Args:
            blocks: One per layer, input layer first, with the features that its `Inputs` read.
        """
        return self.model(blocks, self.inputs(blocks[0]))
