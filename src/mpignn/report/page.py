"""The page of one run, or of several: everything in one file, and nothing of it from elsewhere."""

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from mpignn.json_text import to_json
from mpignn.report import forms
from mpignn.report.charts import Curve, Piece, bar, legend, plot
from mpignn.report.elements import paragraph, section, table, value
from mpignn.report.figures import Figures

_WORDS = {"acc": "accuracy", "macro_f1": "macro F1", "micro_f1": "micro F1", "roc_auc": "ROC AUC", "mrr": "MRR",
          "average_precision": "average precision", "rmse": "RMSE", "mse": "MSE", "mae": "MAE"}
_SPLITS = {"val": "validation", "test": "test"}
# Of a bar of time: what is not in any of the others is the rest, such as callbacks and checkpoints.
_PARTS = (("sample_s", "sampling", "t-sample"), ("fetch_s", "fetching", "t-fetch"),
          ("compute_s", "computing", "t-compute"), ("sync_s", "gradients and waiting for others", "t-sync"))
_BESIDE = (("load_s", "waiting for batches", "t-fetch"), *_PARTS[2:])
_SHOWN_TRAINERS = 64


def make_page(runs: Sequence[Figures]) -> str:
    """The page as text.  Not collective."""
    style = resources.files("mpignn.report").joinpath("page.css").read_text(encoding="utf-8")
    title = runs[0]["name"] if len(runs) == 1 else f"{len(runs)} runs"
    figures = to_json({"runs": list(runs)}).replace("<", "\\u003c")
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
            f"<title>{escape(title)} – mpignn</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
            f"{_of_run(runs[0])}\n</main>\n"
            f'<script type="application/json" id="figures">{figures}</script>\n</body>\n</html>\n')


def metric_name(key: str) -> str:
    """``val_acc`` as words."""
    split, _, name = key.partition("_")
    return f"{_SPLITS.get(split, split)} {_WORDS.get(name, name)}"


def state_line(run: Figures) -> str:
    """How the run has ended, in one sentence."""
    state, result = run["state"], run["result"]
    steps = f"{state['steps']:,} step{'' if state['steps'] == 1 else 's'}"
    match state["kind"]:
        case "diverged":
            return f"This run diverged after {steps}: {state['problem']}"
        case "finished":
            return f"Finished: {result['epochs']} epochs, {steps}, in {forms.seconds(result['seconds'])}"
        case "stopped":
            return f"Stopped on request after {steps}; `train --resume {run['folder']}` goes on"
        case "unfinished":
            return f"Not finished: {steps} so far; it is under way, or was killed"
    return "Nothing came of this run: no step was made"


def _of_run(run: Figures) -> str:
    return "".join([_header(run), _headline(run), section("Learning", *_learning(run)), section("Time", *_time(run)),
                    section("What was run", *_what(run)),
                    section("Not recorded", *(paragraph(note) for note in run["notes"]))])


def _header(run: Figures) -> str:
    job = run["job"]
    facts = [job["task"], job["model"], job["graph"]]
    if "ranks" in job:
        facts.append(f"{job['ranks']} rank{'' if job['ranks'] == 1 else 's'} on {len(job['machines'])} "
                     f"machine{'' if len(job['machines']) == 1 else 's'}")
        facts.append(job["began"][:10])
    return (f'<header><p class="eyebrow">mpignn run</p><h1>{escape(run["name"])}</h1>'
            f'{paragraph(state_line(run), "state " + run["state"]["kind"])}'
            f'<p class="facts">{escape(" · ".join(str(fact) for fact in facts if fact))}</p></header>')


def _headline(run: Figures) -> str:
    result = run["result"]
    tiles = [(metric_name(key), forms.number(found), found, _of_epoch(key, result))
             for key, found in result["values"].items() if found is not None]
    tiles += [("loss", forms.number(result["loss"]), result["loss"], "of the last epoch"),
              ("time of the run", forms.seconds(result["seconds"] or result["training_s"]),
               result["seconds"] or result["training_s"], f"{forms.seconds(result['training_s'])} in epochs"),
              ("throughput", forms.rate(result["seeds_per_s"]), result["seeds_per_s"],
               f"seeds; {forms.rate(result['edges_per_s'])} edges")]
    return '<dl class="tiles">' + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value(exact, shown)}</dd><dd class=small>{escape(below)}</dd></div>"
        for name, shown, exact, below in tiles if exact is not None) + "</dl>"


def _of_epoch(key: str, result: dict[str, Any]) -> str:
    if result["best_epoch"] is None:
        return ""
    return f"best, of epoch {result['best_epoch']}" if key.startswith("val_") else \
        f"by the parameters of epoch {result['best_epoch']}"


def _learning(run: Figures) -> list[str]:
    curves = run["curves"]
    loss = plot([Curve("each step", curves["step_loss"], "c0", is_faint=True),
                 Curve("loss", curves["loss"])], forms.short, "epoch", "loss")
    plots = [loss, *(plot([Curve(metric_name(name), points, "c1")], forms.short, "epoch", metric_name(name))
                     for name, points in curves.items() if name.startswith("val_"))]
    epochs = run["epochs"]
    if not any(plots):
        return []
    head = ["epoch", "loss", *(metric_name(name) for name in curves if name.startswith("val_")), "seconds", "seeds/s",
            "edges/s"]
    rows = [[value(epoch["epoch"], str(epoch["epoch"])), value(epoch["loss"], forms.number(epoch["loss"])),
             *(value(epoch.get(name), forms.number(epoch.get(name))) for name in curves if name.startswith("val_")),
             value(epoch["seconds"], f"{epoch['seconds']:.2f}"),
             *(value(epoch[unit] / (epoch["seconds"] or 1e-9), forms.scaled(epoch[unit] / (epoch["seconds"] or 1e-9)))
               for unit in ("seeds", "edges"))] for epoch in epochs]
    return [f'<div class="plots">{"".join(plots)}</div>',
            f"<details><summary>Each epoch</summary>{table('epochs', head, rows, texts=0)}</details>" if rows else ""]


def _time(run: Figures) -> list[str]:
    trainers, balance = run["trainers"], run["balance"]
    if trainers is None:
        return []
    count = len(trainers["seconds"])
    inside = [sum(trainers[name][t] for name, _, _ in _PARTS) <= 1.02 * trainers["seconds"][t] for t in range(count)]
    parts = _PARTS if all(inside) else _BESIDE
    full = max(trainers["seconds"]) or 1.0
    order = sorted(range(count), key=lambda t: -balance["busy_s"][t])
    shown = sorted(order[:_SHOWN_TRAINERS])
    rows = [[f"trainer {t}", bar(_pieces({name: trainers[name][t] for name in trainers}, parts), full, forms.seconds),
             *(value(trainers[name][t], f"{trainers[name][t]:.2f}") for name in
               ("seconds", "sample_s", "fetch_s", "compute_s", "sync_s", "wait_s"))] for t in shown]
    slowest = balance["slowest"]
    told = (f"Trainer {slowest} is the slowest: it is busy {forms.seconds(balance['busy_s'][slowest])}, "
            f"{balance['largest_to_mean']['busy'] or 1:.2f} times the mean. The others wait for it where gradients are "
            "summed." if count > 1 else "")
    beside = "" if parts is _PARTS else ("Batches are prepared in a thread beside the computing, so sampling and "
                                         "fetching count only as far as they are waited for.")
    return [*(paragraph(text) for text in (told, beside) if text),
            legend([Piece(0, name, style) for _, name, style in parts] + [Piece(0, "rest", "t-rest")]),
            table("trainers", ["", "of all epochs, seconds", "in all", "sampling", "fetching", "computing", "gradients",
                               "of these waiting for rows"], rows, texts=2)]


def _pieces(of: dict[str, float], parts: Sequence[tuple[str, str, str]]) -> list[Piece]:
    pieces = [Piece(of[name], text, style) for name, text, style in parts]
    return [*pieces, Piece(max(0.0, of["seconds"] - sum(piece.value for piece in pieces)), "rest", "t-rest")]


def _what(run: Figures) -> list[str]:
    job, settings = run["job"], run["settings"]
    pairs: list[tuple[str, str]] = []
    if "command" in job:
        pairs = [("command", f"<code>{escape(job['command'])}</code>")]
    return ['<dl class="pairs">' + "".join(f"<dt>{escape(name)}</dt><dd>{text}</dd>" for name, text in pairs) + "</dl>"
            if pairs else "",
            table("settings", ["setting that is no default", "value"],
                  [[f"<code>{escape(name)}</code>", f"<code>{escape(_told(found))}</code>"]
                   for name, found in settings.items()], texts=2) if settings else ""]


def _told(found: Any) -> str:
    return ",".join(map(str, found)) if isinstance(found, list) else str(found).lower() if isinstance(found, bool) \
        else str(found)
