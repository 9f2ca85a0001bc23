"""What differs between runs, as parts of their page: a table, and their curves over each other."""

from collections.abc import Sequence
from html import escape
from typing import Any

from mpignn.report import forms
from mpignn.report.charts import Curve, plot
from mpignn.report.elements import setting, table, value
from mpignn.report.figures import Figures
from mpignn.report.page_outcome import metric_name

_COLORS = 6        # runs whose curves have a color and a name: the first ones of the table
_STATES = {"diverged": "diverged", "hung": "hung", "unfinished": "not finished", "stopped": "stopped",
           "empty": "nothing came of it"}


def compared(report: Figures) -> str:
    """A table of the runs, the best first: settings that differ, and what came out."""
    runs, differing = report["runs"], report["differing"]
    measured = list(dict.fromkeys(key for run in runs for key in run["result"]["values"]))
    head = ["run", *map(metric_name, measured), *differing, "loss", "epochs", "time", "seeds/s"]
    rows = []
    for rank, place in enumerate(report["order"]):
        run = runs[place]
        result, name = run["result"], escape(run["name"])
        state = _STATES.get(run["state"]["kind"])
        told = f"<b>{name}</b>" if rank == 0 and report["metric"] is not None else name
        rows.append([told + (f' <span class="warn">{state}</span>' if state else ""),
                     *(value(result["values"].get(key), forms.number(result["values"].get(key))) for key in measured),
                     *(_setting(values[place]) for values in differing.values()),
                     value(result["loss"], forms.number(result["loss"])),
                     value(result["epochs"], str(result["epochs"])),
                     value(result["seconds"] or result["training_s"],
                           forms.seconds(result["seconds"] or result["training_s"])),
                     value(result["seeds_per_s"], forms.rate(result["seeds_per_s"]))])
    return table("runs", head, rows)


def _setting(found: Any) -> str:
    return "–" if found is None else f"<code>{escape(setting(found))}</code>"


def overlaid(report: Figures) -> str:
    """The loss and each metric of all runs."""
    runs, order = report["runs"], report["order"]
    names = list(dict.fromkeys(name for run in runs for name in run["curves"] if name.startswith("val_")))
    plots = [plot(_curves(runs, order, name), forms.short, "epoch", "loss" if name == "loss" else metric_name(name))
             for name in ("loss", *names)]
    more = f'<p class="soft">The first {_COLORS} of the table have a color.</p>' if len(runs) > _COLORS else ""
    return f'<div class="plots">{"".join(plots)}</div>{more}' if any(plots) else ""


def _curves(runs: Sequence[Figures], order: Sequence[int], name: str) -> list[Curve]:
    return [Curve(runs[place]["name"], runs[place]["curves"].get(name, []), f"c{min(rank, _COLORS)}",
                  is_faint=rank >= _COLORS) for rank, place in enumerate(order)]
