"""What users give to a `store.tensor.DistTensor` as what is stored: indices as row numbers, rows as arrays, types.

Shapes: N rows of the tensor, K rows asked for or given, W elements of a row.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from mpignn.errors import ConfigError, DataError, IDError

Index = slice | ArrayLike         # an integer, integers of one dimension, a slice, or a mask
RowsLike = torch.Tensor | ArrayLike

_STORED_AS = {torch.bfloat16: torch.int16}      # NumPy has no such type: its bits are kept


def row_numbers(index: Any, num_rows: int, name: str) -> tuple[np.ndarray, bool]:
    """(K,) int64 row numbers meant by an index, not checked, and whether it is a single integer.  Not collective.

    Args:
        index: An integer, integers of one dimension, a slice, or a mask of N booleans.
        num_rows: N.
        name: Name of the tensor, for messages.

    Raises:
        IDError: An index of another kind.
    """
    if isinstance(index, slice):
        return np.arange(*index.indices(num_rows), dtype=np.int64), False
    if isinstance(index, tuple) or index is None or index is Ellipsis:
        raise IDError(f"row of {name}: index by rows only, then index what comes back")
    ids = np.asarray(index.detach().cpu() if isinstance(index, torch.Tensor) else index)
    if ids.dtype == np.bool_:
        if ids.shape != (num_rows,):
            raise IDError(f"row of {name}: a mask of shape {ids.shape} for {num_rows} rows")
        return np.flatnonzero(ids), False
    if ids.size == 0:
        ids = ids.astype(np.int64)      # an empty list is of floats
    return np.atleast_1d(ids), ids.ndim == 0


def rows_to_write(given: Any, shape: tuple[int, ...], dtype: torch.dtype, name: str) -> np.ndarray:
    """Rows of a shape, in the type that they are stored in, C-contiguous.  Not collective.

    Args:
        given: A tensor or an array of that shape and type, numbers that the type can hold, or one for all.
        shape: (K, ...), or that of one row.
        dtype: Type of the tensor.
        name: Name of the tensor, for messages.

    Raises:
        DataError: Rows of another shape or type.
    """
    if isinstance(given, np.ndarray) and not given.flags.writeable:
        given = given.copy()        # torch warns of arrays that are read only
    typed = isinstance(given, torch.Tensor | np.ndarray | np.generic)
    rows = torch.as_tensor(given).detach().cpu()
    if rows.ndim == 0 or not typed:         # what has no type of its own takes that of the tensor
        if not torch.can_cast(rows.dtype, dtype):
            raise DataError(f"{name}: {given} is not of the type {dtype}")
        rows = torch.tensor(rows.item() if rows.ndim == 0 else given, dtype=dtype)
        rows = rows.expand(shape) if rows.ndim == 0 else rows
    if rows.dtype != dtype or tuple(rows.shape) != shape:
        raise DataError(f"{name}: expected {dtype} {shape}, or one number, got {described(rows)}: rows are neither "
                        "cast nor repeated")
    return np.ascontiguousarray(as_array(rows.contiguous()))


def takes_ids(init_func: Callable[..., Any]) -> bool:
    """Whether a function that gives first values wants the numbers of the rows: it has three arguments."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(parameter.kind in kinds for parameter in inspect.signature(init_func).parameters.values()) >= 3


def stored_type(dtype: torch.dtype) -> np.dtype:
    """What NumPy calls a type of torch, or one with the same bits."""
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"dtype is {dtype!r}, not one of torch's such as torch.float32")
    try:
        return torch.empty(0, dtype=_STORED_AS.get(dtype, dtype)).numpy().dtype
    except TypeError as error:
        raise ConfigError(f"a DistTensor cannot hold {dtype}") from error


def as_array(tensor: torch.Tensor) -> np.ndarray:
    """The memory of a contiguous tensor as an array of the type that it is stored in."""
    return tensor.view(_STORED_AS.get(tensor.dtype, tensor.dtype)).numpy()


def described(value: Any) -> str:
    """Type and shape of what was given, for messages."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    return f"a {type(value).__name__}"
