"""What a benchmark has found: figures, as a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TIMES = {"s": 1.0, "ms": 1e3, "us": 1e6}        # in a second; other units are of rates, of which more is better


@dataclass(frozen=True)
class Figure:
    """One thing that was timed several times.

    Attributes:
        name: What it is.
        unit: A unit of time, one of `TIMES`, or of a rate.
        values: Those of the single times, in their order.
        limit: Name of the figure that says what the machine can do at most, timed in turn with this one; or empty.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    limit: str = ""

    def of(self, limit: "Figure") -> list[float]:
        """What share of a limit was reached, each time."""
        shares = [own / most for own, most in zip(self.values, limit.values, strict=True)]
        return [1 / share for share in shares] if self.unit in TIMES else shares


def to_dict(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures for JSON: ``of_limit`` is the median share of the limit; None where there is none."""
    named = {figure.name: figure for figure in figures}
    return [{"name": figure.name, "unit": figure.unit, "median": statistics.median(figure.values),
             "minimum": min(figure.values), "maximum": max(figure.values), "values": list(figure.values),
             "limit": figure.limit or None,
             "of_limit": statistics.median(figure.of(named[figure.limit])) if figure.limit else None}
            for figure in figures]


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of a table of what `to_dict` returned."""
    rows = [("", "median", "minimum", "maximum", "", "of the limit")]
    for one in found:
        share = "" if one["of_limit"] is None else f"{100 * one['of_limit']:.3g} % of {one['limit']}"
        rows.append((one["name"], *(f"{one[key]:.4g}" for key in ("median", "minimum", "maximum")), one["unit"], share))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(word.rjust(width) if 0 < at < 4 else word.ljust(width)
                      for at, (word, width) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
