"""Charts as HTML and SVG, which stretch to the width of the page while their texts stay readable.

A chart is drawn in a box of 1000 by 1000, stretched by the browser; lines and dots keep their width, and texts are HTML
at shares of the box.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_BOX = 1000
_FEW = 60       # points that are shown as dots, too
Form = Callable[[float], str]


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: Stands at its end, unless it is the title of the chart.
        points: (x, y) by rising x.
        style: Class of it in the style sheet.
        is_faint: Whether it is background to others: thin, without dots and label.
    """

    label: str
    points: Sequence[Sequence[float]]
    style: str = "c0"
    is_faint: bool = False


def plot(curves: Sequence[Curve], y_form: Form, x_name: str, title: str, from_0: bool = False) -> str:
    """A chart of curves over a common x from 0 on.

    Args:
        curves: Those without points are left out.
        y_form: Tells a value.
        x_name: What x counts, such as epochs.
        title: What y is.
        from_0: Whether y begins at 0; else it shows the differences, over several orders of magnitude by a logarithmic
            axis.
    """
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return ""
    ys = [y for curve in curves for _, y in curve.points]
    logs = not from_0 and min(ys) > 0 and max(ys) / min(ys) > 50
    low, high, marks = _log_axis(min(ys), max(ys)) if logs else _axis(0.0 if from_0 else min(ys), max(ys))
    right = max(x for curve in curves for x, _ in curve.points) or 1

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log(y / low) / math.log(high / low)) if logs else (y - low) / (high - low)
        return x / right * _BOX, (1 - share) * _BOX

    grid = "".join(f'<path class="grid" d="M0 {at(0, mark)[1]:.0f}H{_BOX}"/>' for mark in marks)
    drawn = "".join(_line(curve, at) for curve in sorted(curves, key=lambda curve: not curve.is_faint))
    left = "".join(f'<span style="top:{at(0, mark)[1] / 10:.2f}%">{escape(y_form(mark))}</span>' for mark in marks)
    below = "".join(f'<span style="left:{mark / right * 100:.2f}%">{mark:g}</span>'
                    for mark in _axis(0, right, whole=True)[2] if mark <= right)
    named = [curve for curve in curves if not curve.is_faint]
    told = [curve for curve in named if curve.label != title]
    ends = _apart([at(*curve.points[-1])[1] / 10 for curve in told])
    labels = "".join(f'<span class="{curve.style}" style="top:{top:.2f}%">{escape(curve.label)}</span>'
                     for curve, top in zip(told, ends, strict=True))
    log_note = " (logarithmic)" if logs else ""
    named_box = "box named" if labels else "box"
    return (f'<figure class="plot"><figcaption>{escape(title)}{log_note}</figcaption><div class="{named_box}">'
            f'<div class="y">{left}</div><svg viewBox="0 0 {_BOX} {_BOX}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(title)}">{grid}{drawn}{_strips(named, right, y_form, x_name)}</svg>'
            f'<div class="ends">{labels}</div><div class="x">{below}</div></div>'
            f'<div class="xname">{escape(x_name)}</div></figure>')


def _line(curve: Curve, at: Callable[[float, float], tuple[float, float]]) -> str:
    places = [at(x, y) for x, y in curve.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    if curve.is_faint and len(places) > 1:
        return f'<path class="line faint {curve.style}" d="{path}"/>'
    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places) if len(places) <= _FEW else ""
    return (f'<path class="line {curve.style}" d="{path}"/>'
            + (f'<path class="dots {curve.style}" d="{dots}"/>' if dots else ""))


def _strips(curves: Sequence[Curve], right: float, form: Form, x_name: str) -> str:
    """Upright strips, one for each x, that tell the values there when the mouse is on them."""
    values: dict[float, list[str]] = {}
    for curve in curves:
        for x, y in curve.points:
            values.setdefault(x, []).append(f"{curve.label} {form(y)}")
    xs = sorted(values)
    edges = [0.0, *((a + b) / 2 for a, b in zip(xs, xs[1:], strict=False)), right]
    return "".join(
        f'<rect class="strip" x="{begin / right * _BOX:.1f}" y="0" width="{(end - begin) / right * _BOX:.1f}" '
        f'height="{_BOX}"><title>{escape(f"{x_name} {x:g}: " + ", ".join(values[x]))}</title></rect>'
        for x, begin, end in zip(xs, edges, edges[1:], strict=False))


def _axis(low: float, high: float, whole: bool = False) -> tuple[float, float, list[float]]:
    """Ends of an axis and its marks, at round numbers."""
    span = high - low or abs(high) or 1.0
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return first * step, last * step, [round(n * step, 12) for n in range(first, last + 1)]


def _log_axis(low: float, high: float) -> tuple[float, float, list[float]]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = -(-(last - first) // 5) or 1
    return 10.0 ** first, 10.0 ** last, [10.0 ** n for n in range(first, last + 1, step)]


def _apart(tops: Sequence[float], least: float = 8.0) -> list[float]:
    """Heights in percent of labels that want to be at ``tops``, moved so that they do not overlap."""
    order = sorted(range(len(tops)), key=tops.__getitem__)
    found = list(tops)
    least = min(least, 100 / max(1, len(tops)))
    for before, this in zip(order, order[1:], strict=False):
        found[this] = max(found[this], found[before] + least)
    over = found[order[-1]] - 100 if order else 0
    if over > 0:        # push them up again, the last one first
        found[order[-1]] = 100.0
        for this, after in zip(reversed(order[:-1]), reversed(order[1:]), strict=True):
            found[this] = min(found[this], found[after] - least)
    return found


@dataclass(frozen=True)
class Piece:
    """A part of a bar: its length, what it is, and its class in the style sheet."""

    value: float
    name: str
    style: str


def bar(pieces: Sequence[Piece], full: float, form: Form) -> str:
    """A bar of pieces side by side, as long as their sum is of ``full``."""
    drawn = "".join(
        f'<i class="{piece.style}" style="width:{piece.value / full * 100:.2f}%" '
        f'title="{escape(piece.name)} {escape(form(piece.value))}"></i>' for piece in pieces if piece.value > 0)
    return f'<div class="bar">{drawn}</div>'


def legend(pieces: Sequence[Piece]) -> str:
    """What the colours of bars mean."""
    return ('<p class="legend">'
            + " ".join(f'<span><i class="{piece.style}"></i>{escape(piece.name)}</span>' for piece in pieces) + "</p>")


def heat(shares: Sequence[Sequence[float]], told: Callable[[int, int], str], style: Callable[[int, int], str],
         titled: int = 4000) -> str:
    """A picture of a matrix: the larger a share from 0 to 1, the stronger the colour; cells of 0 are left out.

    Args:
        shares: Rows of it.
        told: What a cell says when the mouse is on it.
        style: Class of a cell.
        titled: Where more cells than these are drawn, none says anything, to keep the page small.
    """
    height, width = len(shares), max(map(len, shares), default=0)
    cells = [(row, column, share) for row, of in enumerate(shares) for column, share in enumerate(of) if share > 0]
    if len(cells) <= titled:
        drawn = "".join(
            f'<rect class="{style(row, column)}" x="{column}" y="{row}" width="1" height="1" '
            f'opacity="{_strength(share):.2f}"><title>{escape(told(row, column))}</title></rect>'
            for row, column, share in cells)
    else:
        groups: dict[tuple[str, float], list[str]] = {}
        for row, column, share in cells:
            key = style(row, column), round(_strength(share), 1)
            groups.setdefault(key, []).append(f"M{column} {row}h1v1h-1z")
        drawn = "".join(f'<path class="{name}" opacity="{strength}" d="{"".join(paths)}"/>'
                        for (name, strength), paths in groups.items())
    return (f'<svg class="heat" viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
            f'style="aspect-ratio:{width}/{height}">{drawn}</svg>')


def _strength(share: float) -> float:
    return 0.12 + 0.88 * math.sqrt(min(1.0, share))
