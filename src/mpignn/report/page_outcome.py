"""What a run has learnt, as parts of its page: curves, epochs, classes."""

from collections.abc import Sequence
from html import escape
from typing import Any

from mpignn.report import forms
from mpignn.report.charts import Curve, Piece, bar, heat, plot
from mpignn.report.elements import paragraph, table, value
from mpignn.report.figures import Figures

_WORDS = {"acc": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1", "roc_auc": "ROC AUC", "mrr": "MRR",
          "amri": "AMRI",
          "average_precision": "average precision", "rmse": "RMSE", "mse": "MSE", "mae": "MAE"}
_SPLITS = {"val": "validation", "test": "test"}
_MOST_PAIRS = 8         # of classes that are taken for each other
_NAMED = 24             # classes whose names stand beside the picture of their confusion


def metric_name(key: str) -> str:
    """``val_acc`` as words.  Not collective."""
    split, _, name = key.partition("_")
    return f"{_SPLITS.get(split, split)} {_WORDS.get(name, name)}"


def learning(run: Figures) -> list[str]:
    """Curves and a table of the epochs."""
    curves = run["curves"]
    measured = [name for name in curves if name.startswith("val_")]
    plots = [plot([Curve("each step", curves["step_loss"], "c0", is_faint=True), Curve("loss", curves["loss"])],
                  forms.short, "epoch", "loss"),
             *(plot([Curve(metric_name(name), curves[name], "c0")], forms.short, "epoch", metric_name(name))
               for name in measured)]
    if not any(plots):
        return []
    head = ["epoch", "loss", *map(metric_name, measured), "seconds", "seeds/s", "edges/s"]
    rows = [[value(epoch["epoch"], str(epoch["epoch"])),
             *(value(epoch.get(name), forms.number(epoch.get(name))) for name in ("loss", *measured)),
             value(epoch["seconds"], f"{epoch['seconds']:.2f}"),
             *(_rate(epoch, unit) for unit in ("seeds", "edges"))] for epoch in run["epochs"]]
    return [f'<div class="plots">{"".join(plots)}</div>',
            f"<details><summary>Each epoch</summary>{table('epochs', head, rows, texts=0)}</details>" if rows else ""]


def _rate(epoch: dict[str, Any], unit: str) -> str:
    rate = epoch[unit] / epoch["seconds"] if epoch["seconds"] else None
    return value(rate, "–" if rate is None else forms.scaled(rate))


def classes(run: Figures) -> list[str]:
    """A table of the classes, and which are taken for which."""
    if not run["classes"]:
        return []
    counts = run["classes"][0]
    names = class_names(counts)
    most = max(*counts["actual"], *counts["predicted"], 1)
    order = sorted(range(len(names)), key=lambda place: -counts["actual"][place])
    rows = [[escape(names[c]), bar([Piece(counts["actual"][c], "seeds", "t-compute")], most, forms.count),
             value(counts["actual"][c], forms.count(counts["actual"][c])),
             value(counts["predicted"][c], forms.count(counts["predicted"][c])),
             *(value(counts[name][c], forms.number(counts[name][c], 3)) for name in ("precision", "recall", "f1"))]
            for c in order]
    of_table = table("classes", ["class", "", "seeds", "predicted", "precision", "recall", "F1"], rows, texts=2)
    if len(rows) > _NAMED:
        of_table = f"<details open><summary>All {len(rows)} classes</summary><div class=tall>{of_table}</div></details>"
    told = f"Of the split {counts['split']}, by {counts['by']}."
    return [paragraph(told, "soft"), of_table, _confusion(counts, names, order)]


def class_names(counts: dict[str, Any]) -> list[str]:
    """What each class is called: its name, or its number where it has none."""
    names = counts["names"] or []
    return [names[place] if place < len(names) else str(place) for place in range(len(counts["actual"]))]


def _confusion(counts: dict[str, Any], names: Sequence[str], order: Sequence[int]) -> str:
    matrix = counts["confusion"]
    if matrix is None or len(names) < 2:
        return ""
    shares = [[matrix[true][said] / (counts["actual"][true] or 1) for said in order] for true in order]

    def told(row: int, column: int) -> str:
        true, said = order[row], order[column]
        return (f"{names[true]} taken for {names[said]}: {matrix[true][said]:,} of {counts['actual'][true]:,}, "
                f"{forms.percent(shares[row][column])}")

    picture = heat(shares, told, lambda row, column: "right" if row == column else "wrong")
    pairs = sorted(((matrix[true][said], true, said) for true in order for said in order
                    if true != said and matrix[true][said]), key=lambda pair: -pair[0])[:_MOST_PAIRS]
    rows = [[escape(names[true]), escape(names[said]), value(count, forms.count(count)),
             value(count / counts["actual"][true], forms.percent(count / counts["actual"][true]))]
            for count, true, said in pairs]
    most = table("confused", ["class", "taken for", "seeds", "of the class"], rows, texts=2) if rows else ""
    few = len(names) <= _NAMED
    left = "".join(f"<span><b>{escape(names[c])}</b></span>" for c in order) if few else ""
    upright = ' class="upright"' if max(map(len, names)) > 2 else ""
    below = "".join(f"<span><b{upright}>{escape(names[c])}</b></span>" for c in order) if few else ""
    return ('<h3>What is taken for what</h3><div class="confusion"><div>'
            f'<div class="matrix{"" if few else " bare"}"><div class="rows">{left}</div>{picture}'
            f'<div class="columns">{below}</div></div>'
            f'<p class="soft">A row for each class of the seeds, a column for each that was predicted; the darker, the '
            f"larger the part of the row.</p></div><div>{most}</div></div>")
