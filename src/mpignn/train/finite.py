"""Whether numbers are still numbers.

What overflows once is infinite or NaN from then on, and every comparison with NaN is false: ranks, shares of right
answers and predictions made of it look like results.
"""

import math

import torch


def is_finite(x: torch.Tensor) -> bool:
    """Whether no number of a tensor of any shape and type is infinite or NaN.  Not collective.

    By the extremes, in one pass without memory of its own.
    """
    if x.numel() == 0 or not x.is_floating_point():
        return True
    low, high = torch.aminmax(x.detach())
    return math.isfinite(low) and math.isfinite(high)
