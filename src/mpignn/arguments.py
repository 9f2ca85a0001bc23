"""What programs give to functions, in the one form that these go on with."""

import json
import operator
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpignn.errors import ConfigError


def whole_number(value: Any, what: str, low: int = 0, below: int = 1 << 63) -> int:
    """``value`` as an int: of Python, NumPy or torch, or an array of one.  Not collective.

    Args:
        value: The number.
        what: What it is called in messages.
        low, below: The least that it may be, and what it must be less than.

    Raises:
        ConfigError: No whole number, a truth value, or one outside.
    """
    try:
        number = operator.index(value)
    except (TypeError, RuntimeError):       # torch's own of a tensor of several
        number = None
    if number is None or isinstance(value, bool):
        raise ConfigError(f"{what} is {value!r}, which is no whole number")
    if not low <= number < below:
        bound = f"at least {low}" if number < low else f"less than {below}"
        raise ConfigError(f"{what} is {number}; it must be {bound}")
    return number


def given_path(value: str | os.PathLike[str], what: str) -> Path:
    """``value`` as a path.  Not collective.

    Raises:
        ConfigError: It is empty, which would be the current folder.
    """
    if not os.fspath(value):
        raise ConfigError(f"{what} is empty: give a path; that of the current folder is a dot")
    return Path(value)


def named_values(texts: Sequence[str] | None, what: str) -> dict[str, Any]:
    """Numbers, truth values and texts out of ``NAME=VALUE``, by name.  Not collective.

    Args:
        texts: What was given; None is nothing.
        what: The setting, as messages call it.

    Raises:
        ConfigError: A text is not of that form, or a name comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not (equals and name.strip().isidentifier()) or name.strip() in found:
            raise ConfigError(f"{what}: {text!r} must be NAME=VALUE, each name once, such as depth=3,act=relu")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[name.strip()] = value.strip()
    return found


def num_bytes(text: str) -> int | None:
    """The bytes that a text such as ``500M`` or ``1.5G`` means: a number with K, M, G or T, or of bytes; None: no such.

    Not collective.
    """
    found = re.fullmatch(r"(\d{1,18}(?:\.\d*)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        return None
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def share_or_bytes(text: str, what: str) -> tuple[float | None, int | None]:
    """The share that a text such as ``5%`` means, or else the bytes that one such as ``500M`` does.  Not collective.

    Args:
        text: What was said.
        what: What it is called in messages.

    Raises:
        ConfigError: It means neither, or a share that is 0 or more than all.
    """
    found = re.fullmatch(r"(\d{1,3}(?:\.\d*)?)\s*%", text.strip())
    if found is not None and 0 < float(found[1]) <= 100:
        return float(found[1]) / 100, None
    size = num_bytes(text)
    if size is None or size >= 1 << 63:
        raise ConfigError(f"{what}: {text!r} is neither a share such as 5% nor a number of bytes such as 500M or 1.5G")
    return None, size
