"""The state of models, optimizers and loaders as plain data: arrays by name, and a tree that JSON can hold.

What `pack` takes, `unpack` gives back equal and of the same type; what could not come back so is refused.  Types are
looked at exactly, since a subclass holds more than its base.  A node of the tree is an object whose first key says
what it stands for.
"""

import json
import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from mpignn.errors import ConfigError
from mpignn.storage.snapshot import array_name

_DEEPEST = 100              # levels of a state; one that holds itself has more than any number
_LONGEST_PART = 200         # characters of a key in the name of an array
_LONGEST_INT = 10_000       # bits that Python turns into decimal digits without objection
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}        # by bytes of an element
_SEQUENCES = {"list": list, "tuple": tuple, "size": torch.Size}
_MAPPINGS = {"dict": dict, "ordered": OrderedDict, "counter": Counter}
_SETS = {"set": set, "frozenset": frozenset}
_BYTES: dict[str, type[bytes] | type[bytearray]] = {"bytes": bytes, "bytearray": bytearray}
_TENSORS = (torch.Tensor, torch.nn.Parameter)


def pack(state: Any, keys: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """A tree that stands for ``state``; its tensors and arrays are added to ``arrays`` by the keys that lead to them.

    Args:
        state: Dicts, lists, tuples and sets of tensors, arrays, numbers, texts, bytes and None, in any depth.
        keys: Where ``state`` is.
        arrays: (N, ...) by name, in the byte order of this machine, C-contiguous; extended.

    Raises:
        ConfigError: Something else is in it.
    """
    kind = type(state)
    _check_depth(keys)
    if kind in _TENSORS:
        return _pack_tensor(state, keys, arrays)
    if kind is np.ndarray:
        return _pack_array(state, keys, arrays)
    if (word := _word(_MAPPINGS, kind)) is not None:
        tree = {word: [[_pack_key(key, keys), pack(value, (*keys, part), arrays)]
                       for part, (key, value) in zip(_parts(state), state.items(), strict=True)]}
        metadata = getattr(state, "_metadata", None)        # by which modules of torch know states of older versions
        return tree if metadata is None else tree | {"metadata": pack(metadata, (*keys, "_metadata"), arrays)}
    if (word := _word(_SEQUENCES, kind)) is not None:
        return {word: [pack(value, (*keys, str(number)), arrays) for number, value in enumerate(state)]}
    return _pack_value(state, keys)


def unpack(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """What `pack` was given; its tensors and arrays are copies, tensors on the CPU and without a graph."""
    kind, found = next(iter(tree.items()))
    match kind:
        case "value":
            return found
        case "float":
            return float(found)
        case "int":
            return int(found, 16)
        case "complex":
            return complex(*map(float, found))
        case "text":
            return bytes.fromhex(found).decode("utf-8", "surrogatepass")
        case "bytes" | "bytearray":
            return _BYTES[kind].fromhex(found)
        case "scalar":
            return np.ndarray((), found, bytes.fromhex(tree["bytes"]))[()]
        case "numpy":
            value = unpack(found, arrays)
            return np.str_(value) if isinstance(value, str) else np.bytes_(value)
        case "tensor":
            return _unpack_tensor(arrays[found], tree)
        case "array":
            return _unpack_array(arrays[found], tree)
        case "set" | "frozenset":
            return _SETS[kind](unpack(value, arrays) for value in found)
        case "list" | "tuple" | "size":
            return _SEQUENCES[kind](unpack(value, arrays) for value in found)
    state = _MAPPINGS[kind]()
    for key, value in found:
        state[unpack(key, arrays) if isinstance(key, dict) else key] = unpack(value, arrays)
    if "metadata" in tree:
        state._metadata = unpack(tree["metadata"], arrays)
    return state


def plain(values: Any, where: str) -> Any:
    """Settings and the like as JSON gives them back: NumPy's numbers and arrays, tuples and paths as what they mean.

    Args:
        values: Dicts by text and sequences of finite numbers, texts and None, in any depth.
        where: What they are called in messages.

    Raises:
        ConfigError: Something else is in them.
    """
    if isinstance(values, np.ndarray | np.generic) and values.dtype.kind in "biufUS":
        values = values.tolist()
    if hasattr(values, "__fspath__"):
        values = values.__fspath__()
    if isinstance(values, Mapping):
        wrong = [key for key in values if not isinstance(key, str)]
        if wrong:
            raise ConfigError(f"{where}: the key {wrong[0]!r} is no text: {where} has texts for keys")
        return {str(key): plain(value, f"{where}.{key}") for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value, f"{where}.{number}") for number, value in enumerate(values)]
    if isinstance(values, float) and not math.isfinite(values):
        raise ConfigError(f"{where} is {values}, for which JSON has no word: give None or a text")
    if values is not None and not isinstance(values, bool | int | float | str):
        raise ConfigError(f"{where} is a {type(values).__name__}: it must be a number, a text, None, or a dict or "
                          "list of these")
    return values


def _pack_tensor(state: torch.Tensor, keys: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    if state.layout is not torch.strided or state.is_quantized or state.is_meta or state.is_nested:
        raise _refused(keys, "no dense tensor")
    rows, name = state.detach().cpu().resolve_conj().resolve_neg().contiguous(), array_name(*keys)
    tree: dict[str, Any] = {"tensor": name, "dtype": str(rows.dtype), "shape": list(rows.shape)}
    if type(state) is not torch.Tensor:
        tree["parameter"] = state.requires_grad
    try:
        found = rows.numpy()
    except TypeError:       # NumPy has no such type: the bits are kept
        if rows.itemsize not in _BITS:
            raise _refused(keys, f"of the type {rows.dtype}") from None
        found = rows.view(_BITS[rows.itemsize]).numpy()
    arrays[name] = np.atleast_1d(found)
    return tree


def _unpack_tensor(stored: np.ndarray, tree: Mapping[str, Any]) -> torch.Tensor:
    dtype = getattr(torch, tree["dtype"].removeprefix("torch."))
    rows = torch.from_numpy(stored.copy()).view(dtype).reshape(tree["shape"])
    return torch.nn.Parameter(rows, tree["parameter"]) if "parameter" in tree else rows


def _pack_array(state: np.ndarray, keys: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    dtype, name = state.dtype, array_name(*keys)
    if dtype.names is not None or dtype.hasobject or dtype.kind not in "biufcMmUSV":
        raise _refused(keys, f"an array of the type {dtype}")
    tree: dict[str, Any] = {"array": name, "shape": list(state.shape)}
    native = np.ascontiguousarray(state, dtype.newbyteorder("="))
    if dtype.kind not in "biufc":       # HDF5 has no such type: the bytes are kept
        arrays[name] = np.frombuffer(native.tobytes(), np.uint8)
    else:
        arrays[name] = native
    return tree if dtype == arrays[name].dtype and dtype.isnative else tree | {"dtype": dtype.str}


def _unpack_array(stored: np.ndarray, tree: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(tree.get("dtype", stored.dtype))
    if dtype.kind not in "biufc":
        stored = np.ndarray(tree["shape"], dtype.newbyteorder("="), stored.tobytes())
    return stored.reshape(tree["shape"]).astype(dtype)


def _pack_key(key: Any, keys: tuple[str, ...]) -> Any:
    """A key of a mapping: as it is where JSON keeps it, else as a tree."""
    tree = _pack_value(key, (*keys, _shown(key)))
    return key if type(key) in (int, str) and "value" in tree else tree


def _pack_value(state: Any, keys: tuple[str, ...]) -> Any:
    """A tree without arrays; this is also what keys of mappings and members of sets may be."""
    kind = type(state)
    _check_depth(keys)
    if isinstance(state, np.generic):
        return _pack_scalar(state, keys)
    if state is None or kind is bool or (kind is int and state.bit_length() <= _LONGEST_INT) or (
            kind is float and math.isfinite(state)):
        return {"value": state}
    if kind is float:
        return {"float": repr(state)}
    if kind is int:
        return {"int": hex(state)}
    if kind is complex:
        return {"complex": [repr(state.real), repr(state.imag)]}
    if kind is str:
        whole = not any("\ud800" <= letter <= "\udfff" for letter in state)
        return {"value": state} if whole else {"text": state.encode("utf-8", "surrogatepass").hex()}
    if (word := _word(_BYTES, kind)) is not None:
        return {word: state.hex()}
    if (word := _word(_SETS, kind)) is not None:
        return {word: sorted((_pack_value(value, (*keys, _shown(value))) for value in state), key=json.dumps)}
    if (word := _word(_SEQUENCES, kind)) is not None:       # a tuple in a set or as a key
        return {word: [_pack_value(value, (*keys, str(number))) for number, value in enumerate(state)]}
    raise _refused(keys, f"a {kind.__name__}")


def _pack_scalar(state: np.generic, keys: tuple[str, ...]) -> Any:
    dtype = state.dtype
    if isinstance(state, np.str_ | np.bytes_):
        return {"numpy": _pack_value("".join(state) if isinstance(state, str) else bytes(bytearray(state)), keys)}
    if dtype.names is not None or dtype.hasobject or dtype.itemsize == 0 or dtype.kind not in "biufcMmV":
        raise _refused(keys, f"a NumPy scalar of the type {dtype}")
    return {"scalar": dtype.str, "bytes": state.tobytes().hex()}


def _check_depth(keys: tuple[str, ...]) -> None:
    if len(keys) > _DEEPEST:
        raise _refused(keys[:10], f"more than {_DEEPEST} levels deep, or holds itself")


def _parts(state: Mapping[Any, Any]) -> Iterator[str]:
    """A text for each key of a mapping, no two the same: the key's own wherever that is free."""
    taken: set[str] = set()
    for key in state:
        text = _shown(key)[:_LONGEST_PART]
        number = next(n for n in range(len(taken) + 1) if _numbered(text, n) not in taken)
        taken.add(_numbered(text, number))
        yield _numbered(text, number)


def _shown(key: Any) -> str:
    """A key in the name of an array and in messages."""
    plain_int = isinstance(key, int) and key.bit_length() <= _LONGEST_INT
    return str(key) if plain_int or isinstance(key, str) else type(key).__name__


def _numbered(text: str, number: int) -> str:
    return text if number == 0 else f"{text} ({number})"


def _word(kinds: Mapping[str, type], kind: type) -> str | None:
    """The word in the tree for exactly this type."""
    return next((word for word, known in kinds.items() if known is kind), None)


def _refused(keys: tuple[str, ...], what: str) -> ConfigError:
    return ConfigError(f"{'.'.join(keys)} is {what}: a checkpoint holds dense tensors, arrays, numbers, texts, bytes, "
                       "None, and dicts, lists, tuples and sets of these")
