"""All that is told of some runs: the figures and advice of each, and what differs between them."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpignn.config import sections
from mpignn.log import phase
from mpignn.progress import each
from mpignn.report.advice import advise
from mpignn.report.figures import Figures, as_toml, figures_of, more_is_better
from mpignn.report.read import read_run


def gather(folders: Sequence[Path]) -> Figures:
    """Read runs.  Not collective.

    Returns:
        ``runs``: figures of each, as `figures_of` gives them, with ``advice``.  ``differing``: by name of a setting, or
        of a fact about the jobs, the value of each run.  ``metric``: by which they are compared; None: they are of
        different tasks or graphs, or none has come to any.  ``order``: places of the runs, the best by that first;
        those that diverged or have none come last.

    Raises:
        ConfigError, DataError: As `read_run`.
    """
    with phase("read runs"):
        runs = [read_run(folder) for folder in each(folders, "run")]
    figures = [figures_of(run, name) for run, name in zip(runs, _names(folders), strict=True)]
    for of_run in figures:
        of_run["advice"] = advise(of_run)
    kinds = {(of_run["result"]["metric"], of_run["job"]["task"], _graph(of_run)) for of_run in figures
             if of_run["result"]["metric"] is not None}
    metric = kinds.pop()[0] if len(kinds) == 1 else None
    reached = [None if metric is None or of_run["state"]["kind"] == "diverged" else
               of_run["result"]["values"].get(f"val_{metric}") for of_run in figures]
    if metric is None or all(value is None for value in reached):
        return {"runs": figures, "differing": _differing(figures), "metric": None, "order": list(range(len(figures)))}
    sign = -1 if more_is_better(metric) else 1
    order = sorted(range(len(figures)), key=lambda place: (reached[place] is None, sign * (reached[place] or 0)))
    return {"runs": figures, "differing": _differing(figures), "metric": metric, "order": order}


def _graph(run: Figures) -> str | None:
    """The graph of a run, the same in every cut."""
    graphs = run["job"].get("graphs") or [{}]
    found: str | None = graphs[-1].get("source_id", run["job"]["graph"])
    return found


def _names(folders: Sequence[Path]) -> list[str]:
    """What runs are called: the last piece of their path, or all of it where several have the same."""
    last = [folder.resolve().name for folder in folders]
    often = Counter(last)
    return [name if often[name] == 1 else str(folder) for name, folder in zip(last, folders, strict=True)]


def _differing(runs: Sequence[Figures]) -> dict[str, list[Any]]:
    usual = {option.name: as_toml(option.default) for _, kind in sections() for option in dataclasses.fields(kind)}
    names = dict.fromkeys(name for run in runs for name in run["settings"])
    found = {name: [run["settings"].get(name, usual.get(name)) for run in runs] for name in names}
    found |= {"graph": [run["job"]["graph"] for run in runs], "ranks": [run["job"].get("ranks") for run in runs],
              "mpignn": [run["job"].get("versions", {}).get("mpignn") for run in runs]}
    return {name: values for name, values in found.items() if any(value != values[0] for value in values)}
