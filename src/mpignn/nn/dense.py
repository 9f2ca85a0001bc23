"""Matrix products in the type of the rows: bfloat16 rows meet float32 parameters as their bfloat16 copies.

The parameters, their gradients and the optimizer stay float32.

Shapes: N rows, F columns in, G columns out.
"""

import torch
from torch import nn
from torch.nn.functional import linear


class Linear(nn.Linear):
    """`torch.nn.Linear` whose product is computed, and whose result is, in the type of the rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


def product(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, G) ``x @ weight`` in the type of ``x``."""
    return x @ weight.to(x.dtype)
