"""JSON as all programs read it: there are no words for NaN and infinity in it, though Python's writes some."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any


def to_json(value: Any, indent: int | None = None) -> str:
    """One value as JSON.  Numbers that are not finite are null.

    Args:
        value: Numbers, texts, truth values and None, and mappings and sequences of these.
        indent: Spaces by which each level is moved in; None: all in one line.
    """
    return json.dumps(_speakable(value), indent=indent, allow_nan=False)


def _speakable(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _speakable(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [_speakable(found) for found in value]
    return value
