"""What programs give to functions, in the one form that these go on with."""

import operator
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
