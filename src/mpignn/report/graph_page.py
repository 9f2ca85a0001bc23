"""The page of a graph before training, in the look of the page of a run."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mpignn.report import forms
from mpignn.report.charts import Curve, Piece, bar, plot
from mpignn.report.elements import marked, paragraph, section, table, value
from mpignn.report.figures import Figures
from mpignn.report.graph_rules import FAILURE
from mpignn.report.page import document

_MOST_CLASSES = 60      # that are told one by one


def make_graph_page(graph: Figures) -> str:
    """The page as text.  Not collective.

    Args:
        graph: What `mpignn.storage.inspect_graph.inspect_graph` found, with ``problems`` and ``memory``.
    """
    failures, doubts = ([told for told in graph["problems"] if (told["severity"] == FAILURE) == hard]
                        for hard in (True, False))
    name = Path(graph["path"]).name
    body = "".join([
        _header(graph, name, len(failures), len(doubts)), _headline(graph),
        section("What keeps it from being learnt", _list(failures)), section("What to look at", _list(doubts)),
        section("Splits", _splits(graph)), section("Labels", *_labels(graph)),
        section("Nodes", _nodes(graph)), section("Edges", _edges(graph)),
        section("Degrees", *_degrees(graph)), section("A batch", *_growth(graph)),
        section("Memory of a job", *_memory(graph))])
    return document(name, body, graph)


def _header(graph: Figures, name: str, failures: int, doubts: int) -> str:
    parts = graph["parts"]
    state = ("Nothing was found that keeps this graph from being learnt" if not failures else
             f"{failures} finding{'' if failures == 1 else 's'} will keep it from being learnt")
    more = f"; {doubts} more to look at" if doubts else ""
    facts = [graph["path"], f"{parts} partition{'' if parts == 1 else 's'}", forms.size(graph["bytes"]),
             f"id {graph['graph_id']}"]
    return (f'<header><p class="eyebrow">mpignn graph</p><h1>{escape(name)}</h1>'
            f'{paragraph(state + more, "state diverged" if failures else "state")}'
            f'<p class="facts">{escape(" · ".join(facts))}</p></header>')


def _headline(graph: Figures) -> str:
    nodes, edges = (sum(of["count"] for of in graph[what].values()) for what in ("nodes", "edges"))
    train = sum(of["train"]["count"] for of in graph["splits"].values() if "train" in of)
    tiles = [("nodes", forms.scaled(nodes), nodes, _types(graph["nodes"])),
             ("edges", forms.scaled(edges), edges, _types(graph["edges"])),
             ("training seeds", forms.scaled(train), train, "of nodes or edges"),
             ("cut edges", forms.percent(graph["cut_share"]), graph["cut_share"],
              f"{forms.percent(graph['remote_share'])} of neighbors drawn")]
    return '<dl class="tiles">' + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value(exact, shown)}</dd><dd class=small>{escape(below)}</dd></div>"
        for name, shown, exact, below in tiles) + "</dl>"


def _types(of: dict[str, Any]) -> str:
    return f"{len(of)} type{'' if len(of) == 1 else 's'}"


def _list(problems: Sequence[dict[str, Any]]) -> str:
    told = "".join(f"<li>{marked(problem['text'])}</li>" for problem in problems)
    return f'<ul class="advice">{told}</ul>' if told else ""


def _number(found: float | None) -> str:
    return value(found, forms.count(found))


def _splits(graph: Figures) -> str:
    rows = [[escape(key), escape(name), _number(of["count"]), value(of["balance"], f"{of['balance']:.2f}"),
             _number(of["isolated"])] for key, splits in graph["splits"].items() for name, of in _in_order(splits)]
    return table("splits", ["type", "split", "count", "largest / mean partition", "without in-edges"], rows,
                 texts=2) if rows else ""


def _in_order(splits: dict[str, Any]) -> list[tuple[str, Any]]:
    """Splits as they are used."""
    names = ("train", "val", "test")
    return sorted(splits.items(), key=lambda pair: (names.index(pair[0]) if pair[0] in names else len(names), pair[0]))


def _labels(graph: Figures) -> list[str]:
    parts = []
    for key, labels in graph["labels"].items():
        if not labels["splits"]:
            parts.append(paragraph(f"{key}: {labels['kind']}, not counted one by one."))
            continue
        splits = [name for name, _ in _in_order(labels["splits"])]
        totals = {name: max(1, sum(labels["splits"][name])) for name in splits}
        order = sorted(range(labels["classes"]), key=lambda place: -sum(labels["splits"][name][place]
                                                                       for name in splits))
        largest = max((labels["splits"][splits[0]][place] for place in order), default=0) if splits else 0
        rows = [[escape(labels["names"][place] if labels["names"] else str(place)),
                 bar([Piece(labels["splits"][splits[0]][place], splits[0], "t-compute")], largest or 1, forms.count),
                 *(value(labels["splits"][name][place],
                         f"{labels['splits'][name][place]:,} ({labels['splits'][name][place] / totals[name]:.1%})")
                   for name in splits)] for place in order[:_MOST_CLASSES]] if splits else []
        if rows:
            parts += [f"<h3>{escape(key)}: {labels['classes']} {escape(labels['kind'])}</h3>",
                      f'<div class="tall">{table(f"labels {key}", ["class", "", *splits], rows, texts=2)}</div>']
        if labels["classes"] > _MOST_CLASSES:
            parts.append(paragraph(f"{labels['classes'] - _MOST_CLASSES} more have fewer.", "soft"))
    return parts


def _nodes(graph: Figures) -> str:
    rows = [[escape(ntype), _data(of), _number(of["count"]), value(of["balance"], f"{of['balance']:.2f}"),
             _number(max(of["halo"], default=0))] for ntype, of in graph["nodes"].items()]
    return table("nodes", ["type", "data", "count", "largest / mean partition", "largest halo"], rows, texts=2)


def _data(of: dict[str, Any]) -> str:
    return escape("; ".join(f"{name} {kind}" for name, kind in of["data"].items()) or "–")


def _edges(graph: Figures) -> str:
    rows = [[escape(key), _data(of), _number(of["count"]), value(of["balance"], f"{of['balance']:.2f}"),
             value(of["cut_share"], forms.percent(of["cut_share"])),
             value(of["mean_degree"], f"{of['mean_degree']:.1f}"), _number(of["largest_degree"])]
            for key, of in graph["edges"].items()]
    head = ["type", "data", "count", "largest / mean partition", "cut", "mean in-degree", "largest"]
    return table("edges", head, rows, texts=2)


def _degrees(graph: Figures) -> list[str]:
    plots, tables = [], []
    for key, of in graph["edges"].items():
        points = [(float(power), float(number)) for power, number in enumerate(of["degrees"])]
        plots.append(plot([Curve(key, points)], forms.scaled, "in-degree class: 0, 1, 2–3, 4–7, 8–15, ...", key,
                          from_0=True))
        rows = [[escape(str(hub["node"])), _number(hub["degree"])] for hub in of["hubs"]]
        if rows:
            tables.append(f"<details><summary>{escape(key)}: nodes with the most in-edges</summary>"
                          f"{table(f'hubs {key}', ['node', 'in-edges'], rows, narrow=True)}</details>")
    return [f'<div class="plots">{"".join(plots)}</div>', *tables]


def _growth(graph: Figures) -> list[str]:
    growth = graph["growth"]
    seeds = "training nodes" if growth["of_training"] else "nodes"
    rows = [["seeds", "", value(growth["seeds"], forms.count(growth["seeds"])), ""]]
    rows += [[f"hop {number}", str(hop["fanout"]), value(hop["edges"], forms.count(hop["edges"])),
              value(hop["remote"], forms.percent(hop["remote"]))] for number, hop in enumerate(growth["hops"], 1)]
    rows.append(["nodes whose features are read", "", value(growth["inputs"], forms.count(growth["inputs"])),
                 value(growth["inputs_remote"], forms.percent(growth["inputs_remote"]))])
    told = ",".join(map(str, growth["fanouts"]))
    return [paragraph(f"On average, of batches of {growth['batch_size']:,} {seeds} with `--fanouts {told}`."),
            table("growth", ["", "fanout", "edges, or nodes", "of other partitions"], rows)]


def _memory(graph: Figures) -> list[str]:
    memory = graph["memory"]
    rows = [[escape(what), escape(", ".join(f"{kind} {forms.memory(size)}" for kind, size in kinds.items() if size)),
             value(sum(kinds.values()), forms.memory(sum(kinds.values())))]
            for what, kinds in memory["parts"]]
    nodes = f"{memory['nodes']} node{'' if memory['nodes'] == 1 else 's'}"
    return [paragraph(f"Of training with {memory['ranks']} ranks on {nodes}: {forms.memory(memory['largest_node'])} on "
                      "the largest node; `info GRAPH --plan` tells of other jobs."),
            table("memory", ["", "of it", "in all"], rows, texts=2)]
