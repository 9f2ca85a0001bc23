"""The page of one run, or of several: everything in one file, and nothing of it from elsewhere."""

from collections.abc import Sequence
from html import escape
from importlib import resources
from typing import Any

from mpignn.json_text import to_json
from mpignn.report import forms
from mpignn.report.elements import marked, paragraph, section, setting, table, value
from mpignn.report.figures import Figures
from mpignn.report.page_outcome import classes, learning, metric_name
from mpignn.report.page_several import compared, overlaid
from mpignn.report.page_work import hang, moved, time, used_memory

_MOST_EPOCHS = 200          # that are told one by one
_MOST_BYTES = 1_600_000     # of a page of several runs: those that do not fit are not shown one by one


def make_page(report: Figures) -> str:
    """The page as text.  Not collective.

    Args:
        report: What `mpignn.report.gather.gather` found.
    """
    report = {**report, "runs": [_newest(run) for run in report["runs"]]}
    runs = report["runs"]
    title = runs[0]["name"] if len(runs) == 1 else f"{len(runs)} runs"
    body = _of_one(runs[0]) if len(runs) == 1 else _of_several(report, _MOST_BYTES - len(to_json(report)))
    return document(title, body, report)


def document(title: str, body: str, figures: Figures) -> str:
    """A page in one file.  Not collective.

    Args:
        title: What it is called.
        body: HTML.
        figures: What it shows, which it carries for programs.
    """
    style = resources.files("mpignn.report").joinpath("page.css").read_text(encoding="utf-8")
    carried = to_json(figures).replace("<", "\\u003c")
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
            f"<title>{escape(title)} – mpignn</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n"
            f'</main>\n<script type="application/json" id="figures">{carried}</script>\n</body>\n</html>\n')


def _newest(run: Figures) -> Figures:
    """A run with no more than its newest epochs one by one; how many are left out stands in its notes."""
    count = len(run["epochs"])
    if count <= _MOST_EPOCHS:
        return run
    left_out = f"on this page: the first {count - _MOST_EPOCHS} epochs one by one; `report --json` has all"
    return {**run, "epochs": run["epochs"][-_MOST_EPOCHS:], "time_by_epoch": run["time_by_epoch"][-_MOST_EPOCHS:],
            "notes": [*run["notes"], left_out]}


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
            return f"Stopped on request after {steps}; `mpignn train --resume {run['folder']}` goes on"
        case "hung":
            longest = max(rank["quiet_s"] for rank in run["hang"])
            return f"This run hung after {steps}: nothing happened for {forms.seconds(longest)}"
        case "unfinished":
            return f"Not finished: {steps} so far; it is under way, or was killed"
    return "Nothing came of this run: no step was made"


def _of_one(run: Figures) -> str:
    return f"{_header(run)}{_headline(run)}{_sections(run)}"


def _of_several(report: Figures, room: int) -> str:
    """The page of several runs, each of which is told below as far as there is room for so many bytes."""
    runs, order = report["runs"], report["order"]
    diverged = [run["name"] for run in runs if run["state"]["kind"] == "diverged"]
    told = [f"Diverged: {', '.join(diverged)}."] if diverged else []
    if report["metric"] is not None:
        best = runs[order[0]]
        reached = best["result"]["values"][f"val_{report['metric']}"]
        told.append(f"The best is {best['name']}, with a {metric_name('val_' + report['metric'])} of "
                    f"{forms.number(reached)}.")
    parts = [f'<header><p class="eyebrow">mpignn runs</p><h1>{len(runs)} runs</h1>'
             f'{paragraph(" ".join(told), "state") if told else ""}</header>',
             section("What differs", compared(report)), section("Learning", overlaid(report))]
    each: list[str] = []
    for place in order:
        run = runs[place]
        inner = (f"<details class=run><summary>{escape(run['name'])}</summary>{paragraph(state_line(run), 'state')}"
                 f"{_headline(run)}{_sections(run)}</details>")
        if sum(map(len, each)) + len(inner) <= room:
            each.append(inner)
    if len(each) < len(runs):
        each.append(paragraph(f"{len(runs) - len(each)} more have no room on this page: report them by themselves.",
                              "soft"))
    return "".join([*parts, section("Each run", *each)])


def _sections(run: Figures) -> str:
    return "".join([
        section("Where it hung", hang(run)), section("What to try", _advice(run)), section("Learning", *learning(run)),
        section("Classes", *classes(run)), section("Time", *time(run)), section("Rows that were moved", *moved(run)),
        section("Memory", *used_memory(run)), section("What was run", *_what(run)),
        section("Not told", *(paragraph(note) for note in run["notes"]))])


def _advice(run: Figures) -> str:
    told = "".join(f"<li>{marked(advice['text'])}</li>" for advice in run["advice"])
    return f'<ul class="advice">{told}</ul>' if told else ""


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
        f"parameters of epoch {result['best_epoch']}"


def _what(run: Figures) -> list[str]:
    job, settings = run["job"], run["settings"]
    pairs: list[tuple[str, str]] = []
    if "command" in job:
        versions = job["versions"]
        by = f" under {job['launcher']}" if job["launcher"] else ""
        servers, trainers = sum(job["serves"]), sum(job["trains"])
        pairs = [("command", f"`{job['command']}`"),
                 ("began", job["began"].replace("T", " ").replace("Z", " UTC")
                  + (f", and went on in {job['jobs']} jobs in all" if job["jobs"] > 1 else "")),
                 ("ranks", f"{job['ranks']}{by}: {servers} serve, {trainers} train; "
                  f"{_range(job['threads'])} thread{'s' if max(job['threads']) > 1 else ''} each"),
                 ("nodes", f"{len(set(job['node_of_rank']))}"),
                 *(("machine", _machine(machine, count)) for machine, count in _alike(job["machines"])),
                 ("devices", ", ".join(sorted(set(job["device"])))),
                 *(("graph", _graph(graph)) for graph in job["graphs"]),
                 *([("batch job", ", ".join(f"{name} {text}" for name, text in job["batch_job"].items()))]
                   if job.get("batch_job") else []),
                 ("versions", ", ".join(f"{name} {versions[name]}" for name in versions)),
                 ("MPI", job["mpi"]), ("platform", job["platform"])]
    shown = "".join(f"<dt>{escape(name)}</dt><dd>{marked(text)}</dd>" for name, text in pairs)
    rows = [[f"<code>{escape(name)}</code>", f"<code>{escape(setting(found))}</code>"]
            for name, found in settings.items()]
    changed = table("settings", ["setting", "value"], rows, texts=2, narrow=True)
    return [f'<dl class="pairs">{shown}</dl>' if shown else "",
            f"<h3>Settings that are no defaults</h3>{changed}" if rows else ""]


def _range(values: Sequence[int]) -> str:
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _alike(machines: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Machines of a kind once, by the first of them, and how many there are."""
    kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for machine in machines:
        kinds.setdefault((machine["cpu"], machine["cores"], machine["memory_bytes"]), []).append(machine)
    return [(of[0], len(of)) for of in kinds.values()]


def _machine(machine: dict[str, Any], count: int) -> str:
    others = f" and {count - 1} more" if count > 1 else ""
    memory = forms.memory(machine["memory_bytes"])
    return f"{machine['name']}{others}: {machine['cpu']}, {machine['cores']} cores, {memory}"


def _graph(graph: dict[str, Any]) -> str:
    parts = graph["partitions"]
    counts = (f"{sum(graph[what].values()):,} {what}" + (f" ({_by_type(graph[what])})" if len(graph[what]) > 1 else "")
              for what in ("nodes", "edges"))
    copies = {"halo": ", in-edges of the halo on each node", "topology": ", its structure on each node",
              "all": ", all of it on each node"}.get(graph.get("replicate", "none"), "")
    return (f"{graph['path']}: {', '.join(counts)}, {parts} partition{'' if parts == 1 else 's'}{copies}, "
            f"id {graph['graph_id']}")


def _by_type(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
