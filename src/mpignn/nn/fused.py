"""A whole GraphSAGE layer as one differentiable function.

Rows go through the matrix product in chunks that stay in the cache, next to the ReLU and its mask; own rows and
aggregate lie side by side, so that one product does for both; results lie in memory that was used before.  Three
fifths of the time that the parts take one by one.

Shapes: S sources, D destinations, F columns in, G columns out.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mpignn.duties import serve
from mpignn.graph.csc import CSC
from mpignn.kernels.segment import segment_sum, transpose
from mpignn.nn.apply import apply
from mpignn.nn.reused_memory import empty, stored

_CHUNK = 1024       # rows: 512 and 4096 are slower by 2 to 6 %, all at once by a third


def sage_linear(csc: CSC, x: torch.Tensor, w_self: torch.Tensor, w_neigh: torch.Tensor, bias: torch.Tensor | None,
                mean: bool, relu: bool) -> torch.Tensor:
    """``x_v W_self + AGG(x_u) W_neigh + b``, with or without ReLU, where AGG is the mean or the sum.

    Args:
        csc: D destinations, the first of the sources.
        x: (S, F), on the CPU; checked by `mpignn.nn.message`.
        w_self, w_neigh: (G, F).
        bias: (G,) or None.
        mean: The mean, not the sum.
        relu: Set what is below 0 to 0.

    Returns:
        (D, G), once differentiable in all tensors.  Not collective.
    """
    return apply(_SageLinear, x, w_self, w_neigh, bias, csc, mean, relu)


class _SageLinear(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, w_self: torch.Tensor, w_neigh: torch.Tensor, bias: torch.Tensor | None,
                csc: CSC, mean: bool, relu: bool) -> torch.Tensor:
        weight = torch.cat([w_self.detach(), w_neigh.detach()], 1)
        columns = x.shape[1]
        both = empty(csc.num_dst, weight[:1].to(x.dtype))
        pair = stored(both)
        segment_sum(csc.indptr, csc.indices, stored(x), pair[:, columns:], own=pair[:, :columns], mean=mean)
        out = empty(csc.num_dst, weight[:, 0].to(x.dtype)[None])
        turned = weight.to(x.dtype).t()
        for rows, product in _chunks(both, out):
            serve()
            if bias is None:
                torch.mm(rows, turned, out=product)
            else:
                torch.addmm(bias.detach().to(x.dtype), rows, turned, out=product)
            if relu:
                product.clamp_(min=0)
        ctx.save_for_backward(both, weight, out if relu else None)
        ctx.csc, ctx.mean, ctx.num_src, ctx.has_bias = csc, mean, x.shape[0], bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        both, weight, out = ctx.saved_tensors
        csc, columns = ctx.csc, both.shape[1] // 2
        grad = grad.contiguous()
        grad_weight, grad_bias = torch.zeros_like(weight), weight.new_zeros(weight.shape[0])
        grad_both = empty(both.shape[0], both) if ctx.needs_input_grad[0] else None
        scale = None
        if ctx.mean and grad_both is not None:
            scale = (1 / torch.from_numpy(np.maximum(np.diff(csc.indptr), 1)).to(weight.dtype))[:, None]
        narrow = weight.to(both.dtype)
        for at in range(0, both.shape[0], _CHUNK):
            serve()
            part = slice(at, at + _CHUNK)
            piece = grad[part]
            if out is not None:
                piece = torch.ops.aten.threshold_backward(piece, out[part], 0)
            if piece.dtype == weight.dtype:
                grad_weight.addmm_(piece.t(), both[part])
            else:
                grad_weight += piece.t() @ both[part]
            if ctx.has_bias:
                grad_bias += piece.sum(0, dtype=weight.dtype)
            if grad_both is not None:
                product = torch.mm(piece, narrow, out=grad_both[part])
                if scale is not None:
                    product[:, columns:] *= scale[part]
        grad_x = None
        if grad_both is not None:
            grad_x, pair = empty(ctx.num_src, both[:, :columns]), stored(grad_both)
            segment_sum(*transpose(csc.indptr, csc.indices, ctx.num_src), pair[:, columns:], stored(grad_x),
                        start=pair[:, :columns])
        return (grad_x, grad_weight[:, :columns], grad_weight[:, columns:], grad_bias if ctx.has_bias else None, None,
                None, None)


def _chunks(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    return zip(*(tensor.split(_CHUNK) for tensor in tensors), strict=True)
