"""Calling differentiable functions of our own, of which torch does not tell what they return."""

from typing import Any

import torch
from torch.autograd import Function


def apply(function: type[Function], *args: Any) -> torch.Tensor:
    """The tensor that a function of ``args`` returns.  Not collective."""
    result: torch.Tensor = function.apply(*args)
    return result


def apply_for_two(function: type[Function], *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The two tensors that a function of ``args`` returns.  Not collective."""
    first, second = function.apply(*args)
    return first, second
