"""What models of graphs with several types have in common: rows of all node types in one width.

Shapes: S sources of a node type, F columns.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from mpignn.errors import DataError
from mpignn.graph.block import Block
from mpignn.graph.types import Schema
from mpignn.nn.dense import Linear
from mpignn.nn.stack import Ends, Rows, Stack


class TypedStack(Stack):
    """A `Stack` that tells types apart.

    Where there are several node types, each has a matrix of its own that brings its features to ``hidden`` columns;
    nodes of a type without features begin with one learnt row, the same for all of the type.

    Args:
        schema: Types of the graph.
        in_feats: Columns of the input of each node type that has any.
        hidden: Columns that rows of all node types are brought to.
        layers: The first one takes `columns_in` columns.
        dropout, input_dropout, activation: As for `Stack`.
    """

    def __init__(self, schema: Schema, in_feats: Mapping[str, int], hidden: int, layers: Sequence[nn.Module],
                 dropout: float, input_dropout: float,
                 activation: Callable[[torch.Tensor], torch.Tensor] | None = torch.relu_) -> None:
        super().__init__(layers, dropout, input_dropout, activation)
        self.inputs, self.learnt = nn.ModuleDict(), nn.ParameterDict()      # by number: names may hold dots
        for number, ntype in () if _enter_as_they_are(schema, in_feats) else enumerate(schema.ntypes):
            if ntype in in_feats:
                self.inputs[str(number)] = Linear(in_feats[ntype], hidden)
            else:
                self.learnt[str(number)] = nn.Parameter(torch.randn(hidden) / max(hidden, 1)**0.5)

    def entering(self, block: Block, x: Rows) -> Rows:
        if not self.inputs and not self.learnt:
            return x
        given = {block.schema.ntype(): x} if isinstance(x, torch.Tensor) else x
        return {ntype: self.inputs[str(n)](given[ntype]) if str(n) in self.inputs else
                self._learnt(n, given).expand(block.num_src_nodes(ntype), -1)
                for n, ntype in enumerate(block.schema.ntypes)}

    def _learnt(self, number: int, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The row of a type without features, in the type of the rows of those that have some."""
        row: torch.Tensor = self.learnt[str(number)]
        return row.to(next(iter(given.values())).dtype) if given else row


def of_types(x: Rows | Ends) -> Mapping[str, torch.Tensor]:
    """Rows by node type.  Not collective.

    Raises:
        DataError: They are not by node type.
    """
    if not isinstance(x, Mapping):
        raise DataError("the model is for graphs with several types, and takes rows by node type")
    return x


def columns_in(schema: Schema, in_feats: Mapping[str, int], hidden: int) -> int:
    """Columns of the rows that the first layer of a `TypedStack` reads."""
    return next(iter(in_feats.values())) if _enter_as_they_are(schema, in_feats) else hidden


def _enter_as_they_are(schema: Schema, in_feats: Mapping[str, int]) -> bool:
    return len(schema.ntypes) == 1 and len(in_feats) == 1
