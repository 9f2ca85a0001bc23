"""The figures of a run: numbers, lists and texts, as they go into JSON.

Each is a number of the run folder or a sum, mean or quotient of such; None stands for what was not recorded.

Shapes: T trainers, E epochs.
"""

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from mpignn.config import sections
from mpignn.report.read import Event, Run
from mpignn.tasks import TASKS

_MOST_POINTS = 400      # of a curve; where there are more, several are averaged
_MOST_TRAINERS = 64     # that are told one by one: the busiest ones
_TIMES = ("seconds", "load_s", "sample_s", "fetch_s", "compute_s", "sync_s", "wait_s")
_ASIDE = ("graph", "run_dir", "log", "progress", "resume")      # settings that are told elsewhere, or of no interest
Figures = dict[str, Any]


def figures_of(run: Run, name: str) -> Figures:
    """All figures of a run, which is called ``name`` on the page.  Not collective."""
    epochs, trainers = run.all("epoch"), _trainers(run)
    told: Figures = {
        "name": name, "folder": str(run.path), "state": _state(run), "metrics": _metrics(run),
        "result": _result(run), "job": _job(run), "settings": _changed(run.settings),
        "curves": _curves(run), "epochs": [_flat(epoch) for epoch in epochs], "trainers": trainers,
        "moved": _moved(run), "cache_hits": _cache_hits(run), "memory": _memory(run, trainers),
        "classes": _classes(run), "hang": run.hang, "notes": _notes(run),
    }
    told["balance"] = _balance(trainers)
    told["time_by_epoch"] = _by_epoch(run, told["balance"])
    return told


def _state(run: Run) -> dict[str, Any]:
    """How the run has ended: ``kind``, and what the event says that tells so."""
    steps = run.all("step")
    events = [("diverged", run.last("diverged") or _first_bad(run)), ("finished", run.last("final")),
              ("stopped", run.last("stopped")), ("hung", {} if run.hang else None),
              ("unfinished" if steps else "empty", {})]
    kind, event = next((kind, event) for kind, event in events if event is not None)
    return {"kind": kind, "problem": event.get("problem"), "steps": event.get("steps", len(steps))}


def _first_bad(run: Run) -> Event | None:
    """As a line ``diverged``, the first step whose loss is not finite; None: there is none, or nothing is learnt."""
    steps = run.all("step")
    learns = any(_is_finite(step.get("loss")) for step in steps) or any(
        value is not None for epoch in run.all("epoch") for name, value in epoch.items() if name.startswith("val_"))
    bad = next((step for step in steps if learns and not _is_finite(step.get("loss"))), None)
    return None if bad is None else {
        "problem": f"the loss of epoch {bad['epoch']}, step {bad['step']} is not finite: lower --lr"}


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _metrics(run: Run) -> list[str]:
    """Names of what was measured, the one that chooses first."""
    named = run.settings.get("metrics")
    if named:
        return list(named)
    told = run.last("final") or run.last("epoch") or {}
    usual = TASKS[run.settings["task"]].usual if run.settings.get("task") in TASKS else ()
    return [key.removeprefix("val_") for key in told if key.startswith("val_")] or list(usual)


def more_is_better(metric: str) -> bool:
    """Whether a model is the better, the larger a metric."""
    return metric not in ("mse", "rmse", "mae")


def _result(run: Run) -> dict[str, Any]:
    epochs, metrics = run.all("epoch"), _metrics(run)
    final = run.last("final") or run.last("stopped") or {}
    first = metrics[0] if metrics else None
    reached = [(epoch[f"val_{first}"], epoch["epoch"]) for epoch in epochs if _is_finite(epoch.get(f"val_{first}"))]
    best = (max if first is None or more_is_better(first) else min)(reached, key=lambda pair: pair[0], default=None)
    seconds = sum(epoch["seconds"] for epoch in epochs)
    values = {key: final.get(key) for name in metrics for key in (f"val_{name}", f"test_{name}") if key in final}
    if best is not None and first is not None:
        values = {f"val_{first}": best[0], **values}
    return {
        "metric": first, "values": values, "evaluation": run.evaluation,
        "best_epoch": None if best is None else best[1], "epochs": len(epochs), "steps": len(run.all("step")),
        "loss": epochs[-1]["loss"] if epochs else None, "seconds": final.get("seconds"), "training_s": seconds or None,
        "seeds_per_s": sum(epoch["seeds"] for epoch in epochs) / seconds if seconds else None,
        "edges_per_s": sum(epoch["edges"] for epoch in epochs) / seconds if seconds else None,
        "validate_s": _sum(epoch.get("validate_s") for epoch in epochs),
    }


def _sum(values: Any) -> float | None:
    """The sum, if all are known and there are any."""
    found = list(values)
    return sum(found) if found and None not in found else None


def _job(run: Run) -> dict[str, Any]:
    """What was run: the last job, and how many there were."""
    told: dict[str, Any] = {"jobs": len(run.jobs), "task": run.settings.get("task"), "model": run.settings.get("model"),
                            "graph": run.settings.get("graph")}
    if run.jobs:
        last = run.jobs[-1]
        told |= {"command": shlex.join(last["command"]), "ranks": len(last["node_of_rank"]),
                 **{key: value for key, value in last.items() if key != "command"}}
    return told


def _changed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are no defaults, by name."""
    usual = {option.name: option.default for _, kind in sections() for option in dataclasses.fields(kind)}
    return {name: value for name, value in settings.items()
            if name not in _ASIDE and value != as_toml(usual.get(name))}


def as_toml(value: Any) -> Any:
    """A setting as a file has it."""
    return list(value) if isinstance(value, tuple) else value


def _curves(run: Run) -> dict[str, Any]:
    """Points by name of curve, (x, y): x counts epochs that are done."""
    steps, epochs = run.all("step"), run.all("epoch")
    length = 1 + max((step["step"] for step in steps), default=0)
    curves = {"step_loss": _thinned([(step["epoch"] + (step["step"] + 1) / length, step["loss"]) for step in steps
                                     if _is_finite(step.get("loss"))]),
              "loss": _thinned([(epoch["epoch"] + 1, epoch["loss"]) for epoch in epochs
                                if _is_finite(epoch.get("loss"))])}
    for name in _metrics(run):
        curves[f"val_{name}"] = _thinned([(epoch["epoch"] + 1, epoch[f"val_{name}"]) for epoch in epochs
                                          if _is_finite(epoch.get(f"val_{name}"))])
    return {name: [list(point) for point in points] for name, points in curves.items()}


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of points that lie side by side, so that there are not too many."""
    together = -(-len(points) // _MOST_POINTS)
    if together <= 1:
        return list(points)
    groups = (points[at:at + together] for at in range(0, len(points), together))
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _flat(epoch: Event) -> Event:
    """An epoch without what is told of each trainer."""
    return {key: value for key, value in epoch.items()
            if key not in ("event", "trainers", "moved", "seeds_per_trainer")}


def _recorded(run: Run) -> list[Event]:
    """The epochs that tell of each trainer, of as many trainers as the last of them."""
    found = [epoch for epoch in run.all("epoch") if "trainers" in epoch]
    return [epoch for epoch in found if len(epoch["trainers"]["seconds"]) == len(found[-1]["trainers"]["seconds"])]


def _trainers(run: Run) -> dict[str, list[Any]] | None:
    """Sums over the epochs by name, (T,) each; memory is the largest."""
    epochs = _recorded(run)
    if not epochs:
        return None
    columns = {name: list(zip(*(epoch["trainers"][name] for epoch in epochs), strict=True))
               for name in epochs[-1]["trainers"]}
    return {name: [max(of) if name == "memory_bytes" else sum(of) for of in column]
            for name, column in columns.items()}


def _balance(trainers: Mapping[str, Sequence[float]] | None) -> dict[str, Any] | None:
    """How evenly trainers work: (T,) seconds that each is ``busy_s`` and not waiting for others, the ``slowest``, the
    busiest ones in order of their numbers (``shown``), and what the largest share is to the mean."""
    if trainers is None:
        return None
    busy = [seconds - sync for seconds, sync in zip(trainers["seconds"], trainers["sync_s"], strict=True)]
    shares = {"busy": busy, **{name: trainers[name] for name in ("seeds", "edges", "rows")}}
    by_time = sorted(range(len(busy)), key=lambda trainer: -busy[trainer])
    return {"slowest": by_time[0], "busy_s": busy, "shown": sorted(by_time[:_MOST_TRAINERS]),
            "largest_to_mean": {name: max(of) * len(of) / sum(of) if sum(of) > 0 else None
                                for name, of in shares.items()}}


def _by_epoch(run: Run, balance: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Seconds of each epoch: the ``mean`` of the trainers by name, and how long each that is shown was ``busy_s``."""
    shown = () if balance is None else balance["shown"]
    return [{"epoch": epoch["epoch"], "mean": {name: sum(of[name]) / len(of[name]) for name in _TIMES},
             "busy_s": [round(of["seconds"][t] - of["sync_s"][t], 6) for t in shown]}
            for epoch in _recorded(run) for of in (epoch["trainers"],)]


def _moved(run: Run) -> list[dict[str, Any]]:
    """Calls, rows and bytes of all recorded epochs by kind, hop and target."""
    total: dict[tuple[Any, ...], list[int]] = {}
    for epoch in run.all("epoch"):
        for entry in epoch.get("moved", ()):
            counts = total.setdefault((entry["kind"], entry["hop"], entry["target"]), [0, 0, 0])
            for place, unit in enumerate(("calls", "rows", "bytes")):
                counts[place] += entry[unit]
    return [{"kind": kind, "hop": hop, "target": target, "calls": counts[0], "rows": counts[1], "bytes": counts[2]}
            for (kind, hop, target), counts in total.items()]


def _cache_hits(run: Run) -> float | None:
    """The part of the feature rows of other nodes that were in the cache; None: there is no cache, or no such rows."""
    rows = {target: sum(entry["rows"] for entry in _moved(run)
                        if entry["kind"] == "feature" and entry["target"] == target) for target in ("cache", "remote")}
    return rows["cache"] / sum(rows.values()) if rows["cache"] else None


def _memory(run: Run, trainers: Mapping[str, Sequence[int]] | None) -> dict[str, Any] | None:
    """Bytes by kind that were planned for each node and rank, and what each trainer had for itself."""
    graphs = run.jobs[-1]["graphs"] if run.jobs else []
    if not graphs:
        return None
    job, plan = run.jobs[-1], graphs[-1]["plan"]
    ranks = [rank for rank, trains in enumerate(job["trains"]) if trains]
    planned = {rank: sum(group["bytes"].values()) for group in plan["ranks"] for rank in group["of"]}
    used = [None] * len(ranks) if trainers is None or len(trainers["seconds"]) != len(ranks) \
        else list(trainers["memory_bytes"])
    return {"nodes": plan["nodes"], "ranks": plan["ranks"],
            "trainers": [{"rank": rank, "planned": planned[rank], "used": mine}
                         for rank, mine in zip(ranks, used, strict=True)]}


def _classes(run: Run) -> list[dict[str, Any]]:
    """The counts of each split, with precision, recall and F1 of each class; those of evaluation first."""
    found = [{"by": "all neighbors", **counts} for counts in run.evaluated_classes]
    found += [{"by": "sampled neighbors", **counts} for counts in run.all("classes")[-1:]]
    for counts in found:
        columns = list(zip(counts["right"], counts["predicted"], counts["actual"], strict=True))
        counts["precision"] = [right / predicted if predicted else None for right, predicted, _ in columns]
        counts["recall"] = [right / actual if actual else None for right, _, actual in columns]
        counts["f1"] = [2 * right / (predicted + actual) if predicted + actual else None
                        for right, predicted, actual in columns]
    return found


def _notes(run: Run) -> list[str]:
    """What the run did not record, or has not come to."""
    task, epochs = run.settings.get("task"), run.all("epoch")
    has_classes = task is not None and task in TASKS and (task.endswith(("classification", "multilabel")))
    notes = [
        (not run.settings, "the settings: there is no config.toml"),
        (not run.jobs, "command, versions, machines and memory plan: there is no jobs.jsonl"),
        (bool(epochs) and not _recorded(run), "times, rows and memory of each trainer: metrics.jsonl has none of them"),
        (not epochs, "any epoch: none came to its end"),
        (has_classes and not run.all("classes") and not run.evaluated_classes,
         f"figures of single classes: `mpignn eval {shlex.quote(str(run.path))}` counts them"),
        (run.is_cut_off, "the last line of metrics.jsonl: it is cut off, and left out here"),
    ]
    return [text for holds, text in notes if holds]
