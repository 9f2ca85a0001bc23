"""How numbers are told to people."""

import math


def number(value: float | None, digits: int = 4) -> str:
    """A measured number: so many digits behind the point, or that many in all where it is large or tiny."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.{digits - 1}g}"


def short(value: float) -> str:
    """A mark of an axis."""
    return f"{value:.0e}" if value and not 1e-3 <= abs(value) < 1e5 else f"{value:g}"


def count(value: float | None) -> str:
    """A whole number."""
    return "–" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return "–"
    if value < 100:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    whole = round(value)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def rate(value: float | None) -> str:
    """How many in a second."""
    return "–" if value is None else scaled(value) + "/s"


def scaled(value: float) -> str:
    """A large number, short."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.3g}"


def size(value: float | None) -> str:
    """Bytes that were moved."""
    if value is None:
        return "–"
    factor, unit = next((pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if value >= pair[0]), (1, "B"))
    return f"{value / factor:,.1f} {unit}" if factor > 1 else f"{value:.0f} {unit}"


def memory(value: float | None) -> str:
    """Bytes that are held."""
    return "–" if value is None else f"{value / 2**20:,.0f} MiB" if value < 10 * 2**30 else f"{value / 2**30:,.1f} GiB"


def percent(value: float | None) -> str:
    """A share."""
    return "–" if value is None else f"{value * 100:.1f} %" if value < 0.1 else f"{value * 100:.0f} %"
