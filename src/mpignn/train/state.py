"""The state of models, optimisers and loaders as plain data: arrays by name, and a tree that JSON can hold."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from mpignn.errors import ConfigError
from mpignn.storage.snapshot import array_name

_STORED_AS = {torch.bfloat16: torch.int16}      # NumPy has no such type: its bits are kept


def pack(state: Any, keys: tuple[str | int, ...], arrays: dict[str, np.ndarray]) -> Any:
    """A tree that stands for ``state``; its tensors and arrays are added to ``arrays`` by the keys that lead to them.

    Args:
        state: Dicts, lists and tuples of tensors, arrays, numbers, texts and None, in any depth.
        keys: Where ``state`` is.
        arrays: (N, ...) by name, extended.

    Raises:
        ConfigError: Something else is in it.
    """
    if isinstance(state, torch.Tensor):
        rows = state.detach().cpu().contiguous()
        name = array_name(*keys)
        arrays[name] = np.atleast_1d(rows.view(_STORED_AS.get(rows.dtype, rows.dtype)).numpy())
        return {"tensor": name, "dtype": str(rows.dtype), "shape": list(rows.shape)}
    if isinstance(state, np.ndarray):
        name = array_name(*keys)
        arrays[name] = np.atleast_1d(np.ascontiguousarray(state))
        return {"array": name, "shape": list(state.shape)}
    if isinstance(state, np.generic):
        state = state.item()
    if isinstance(state, float) and not math.isfinite(state):
        return {"float": repr(state)}
    if state is None or isinstance(state, bool | int | float | str):
        return {"value": state}
    if isinstance(state, Mapping) and all(isinstance(key, int | str) for key in state):
        return {"dict": [[key, pack(value, (*keys, key), arrays)] for key, value in state.items()]}
    if isinstance(state, list | tuple):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [pack(value, (*keys, number), arrays) for number, value in enumerate(state)]}
    raise ConfigError(f"{'.'.join(map(str, keys))} is a {type(state).__name__}: a checkpoint holds tensors, arrays, "
                      "numbers, texts, and dicts and lists of these")


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `pack` was given; its tensors and arrays are copies."""
    ((kind, found),) = ((k, v) for k, v in tree.items() if k not in ("dtype", "shape"))
    if kind == "tensor":
        dtype = getattr(torch, tree["dtype"].removeprefix("torch."))
        rows = torch.from_numpy(arrays[found].copy()).view(dtype)
        return rows.reshape(tree["shape"])
    if kind == "array":
        return arrays[found].reshape(tree["shape"]).copy()
    if kind == "dict":
        return {key: unpack(value, arrays) for key, value in found}
    if kind in ("list", "tuple"):
        return (list if kind == "list" else tuple)(unpack(value, arrays) for value in found)
    return float(found) if kind == "float" else found
