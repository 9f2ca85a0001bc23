"""What a run cost, as parts of its page: time of each trainer, rows that were moved, memory."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from mpignn.report import forms
from mpignn.report.charts import Curve, Piece, bar, heat, legend, plot
from mpignn.report.elements import paragraph, table, value
from mpignn.report.figures import Figures

# Of a bar of time: what is in none of them is the rest, such as callbacks and checkpoints.
_PARTS = (("sample_s", "sampling", "t-sample"), ("fetch_s", "fetching", "t-fetch"),
          ("compute_s", "computing", "t-compute"), ("sync_s", "gradients and waiting for others", "t-sync"))
_BESIDE = (("load_s", "waiting for batches", "t-fetch"), *_PARTS[2:])       # where a thread prepares these
_EVEN = 1.05        # times the mean: what is not worth a word
_MOST_STACKS = 8            # ranks whose stacks are shown, of those that hung
_MOST_RANKS = 64            # whose memory is shown
_TARGETS = {"self": "own rows", "node": "of the same node", "remote": "of other nodes", "cache": "of the cache"}
_SHADES = ("t-compute", "t-fetch", "t-sync", "t-sample")


def time(run: Figures) -> list[str]:
    """Where the time of each trainer went, in all and by epoch."""
    trainers, balance = run["trainers"], run["balance"]
    if trainers is None:
        return []
    count = len(trainers["seconds"])
    of_trainer = [{name: trainers[name][t] for name in trainers} for t in range(count)]
    beside = any(sum(of[name] for name, _, _ in _PARTS) > 1.02 * of["seconds"] for of in of_trainer)
    parts, full = _BESIDE if beside else _PARTS, max(trainers["seconds"]) or 1.0
    shown = balance["shown"]
    numbers = ("seconds", "sample_s", "fetch_s", "compute_s", "sync_s", "wait_s")
    rows = [[f"trainer {t}", bar(_pieces(of_trainer[t], parts), full, forms.seconds),
             *(value(trainers[name][t], f"{trainers[name][t]:.2f}") for name in numbers)] for t in shown]
    parts_of_bars = [*parts, ("", "rest", "t-rest")]
    return [_told(balance, count), paragraph(
        "Batches are prepared in a thread beside the computing: of sampling and fetching, bars show what was waited "
        "for.", "soft") if beside else "",
        legend([Piece(0, name, style) for _, name, style in parts_of_bars]),
        table("trainers", ["", "", "seconds", "sampling", "fetching", "computing", "gradients", "waiting for rows"],
              rows, texts=2),
        paragraph(f"The {len(shown)} busiest of {count} trainers.", "soft") if len(shown) < count else "",
        paragraph("Waiting for rows of other nodes is in the other columns, too.", "soft")
        if any(trainers["wait_s"]) else "", _by_epoch(run, parts), _busy(run), _balance(run)]


def _told(balance: Mapping[str, Any], count: int) -> str:
    slowest = balance["slowest"]
    if count < 2:
        return ""
    times = balance["largest_to_mean"]["busy"] or 1.0
    if times < _EVEN:
        return paragraph(f"All trainers are busy for about as long; trainer {slowest} is the slowest, at {times:.2f} "
                         "times the mean.")
    return paragraph(f"Trainer {slowest} is the slowest: it is busy {forms.seconds(balance['busy_s'][slowest])}, "
                     f"{times:.2f} times the mean, and the others wait for it where gradients are summed.")


def _pieces(of: Mapping[str, float], parts: Sequence[tuple[str, str, str]]) -> list[Piece]:
    pieces = [Piece(of[name], text, style) for name, text, style in parts]
    return [*pieces, Piece(max(0.0, of["seconds"] - sum(piece.value for piece in pieces)), "rest", "t-rest")]


def _by_epoch(run: Figures, parts: Sequence[tuple[str, str, str]]) -> str:
    """The seconds of an epoch that go into each part, in the mean of the trainers."""
    epochs = run["time_by_epoch"]
    if len(epochs) < 2:
        return ""
    curves = [Curve(text.split()[0], [(epoch["epoch"] + 1, epoch["mean"][name]) for epoch in epochs], f"c{place}")
              for place, (name, text, _) in enumerate(parts)]
    drawn = plot(curves, forms.short, "epoch", "seconds of each epoch, mean of the trainers", from_0=True)
    return f'<div class="plots one">{drawn}</div>'


def _busy(run: Figures) -> str:
    """A picture of how long each trainer was busy in each epoch."""
    epochs, shown = run["time_by_epoch"], run["balance"]["shown"]
    if len(epochs) < 2:
        return ""
    most = max(max(epoch["busy_s"]) for epoch in epochs) or 1.0
    picture = heat([[epoch["busy_s"][place] / most for epoch in epochs] for place in range(len(shown))],
                   lambda row, column: f"trainer {shown[row]}, epoch {epochs[column]['epoch']}: busy "
                                       f"{forms.seconds(epochs[column]['busy_s'][row])}",
                   lambda row, column: "right")
    return (f'<h3>Busy in each epoch</h3><div class="strip-heat" style="--rows:{len(shown)}">{picture}</div>'
            '<p class="soft">A row for each trainer, a column for each epoch; the darker, the longer it was busy, and '
            f"not waiting for others: at most {escape(forms.seconds(most))}.</p>")


def _balance(run: Figures) -> str:
    trainers, balance = run["trainers"], run["balance"]
    rows = [[f"trainer {t}", value(balance["busy_s"][t], f"{balance['busy_s'][t]:.2f}"),
             *(value(trainers[name][t], forms.count(trainers[name][t])) for name in ("seeds", "edges", "rows"))]
            for t in balance["shown"]]
    ratios = balance["largest_to_mean"]
    rows.append(["largest to mean", *(value(ratios[name], forms.number(ratios[name], 3))
                                      for name in ("busy", "seeds", "edges", "rows"))])
    inner = table("balance", ["", "seconds busy", "seeds", "sampled edges", "input rows"], rows)
    return f"<details><summary>Work of each trainer</summary>{inner}</details>"


def moved(run: Figures) -> list[str]:
    """Rows and bytes by kind, hop and where they came from."""
    entries = run["moved"]
    if not entries:
        return []
    places: dict[str, None] = dict.fromkeys([*_TARGETS, *(entry["target"] for entry in entries)])
    targets = [place for place in places if any(entry["target"] == place for entry in entries)]
    lines = sorted({(entry["kind"], entry["hop"]) for entry in entries}, key=lambda line: (
        line[0] != "structure", line[0], -1 if line[1] is None else line[1]))
    counts = {(entry["kind"], entry["hop"], entry["target"]): entry for entry in entries}
    whole = [sum(entry["bytes"] for entry in entries if (entry["kind"], entry["hop"]) == line) for line in lines]
    rows = []
    for line in lines:
        found = [counts.get((*line, target), {"calls": 0, "rows": 0, "bytes": 0}) for target in targets]
        pieces = [Piece(of["bytes"], _name(target), style)
                  for of, target, style in zip(found, targets, _SHADES, strict=False)]
        rows.append([_kind(*line), bar(pieces, max(whole) or 1, forms.size),
                     *(cell for of in found for cell in (value(of["rows"], forms.count(of["rows"])),
                                                         value(of["bytes"], forms.size(of["bytes"])))),
                     value(sum(of["calls"] for of in found), forms.count(sum(of["calls"] for of in found)))])
    head = ["", "bytes", *(text for target in targets for text in (f"rows {_name(target)}", "bytes")), "messages"]
    return [legend([Piece(0, _name(target), style) for target, style in zip(targets, _SHADES, strict=False)]),
            table("moved", head, rows, texts=2),
            paragraph(f"The cache had {forms.percent(run['cache_hits'])} of the rows that other nodes hold.")
            if run["cache_hits"] is not None else "",
            paragraph("What kernels read in place, in the memory of their node, is not moved.", "soft")]


def _name(target: str) -> str:
    return _TARGETS.get(target, target)


def _kind(kind: str, hop: int | None) -> str:
    return escape(kind if hop is None else f"{kind}, hop {hop}")


def used_memory(run: Figures) -> list[str]:
    """What trainers held for themselves, and what was planned for them and for their nodes."""
    found = run["memory"]
    if found is None:
        return []
    shown = sorted(found["trainers"], key=lambda of: -(of["used"] or 0))[:_MOST_RANKS]
    most = max([1, *(of["planned"] for of in shown), *(of["used"] or 0 for of in shown)])
    rows = [[f"rank {of['rank']}", bar([Piece(of["used"] or 0, "held", "t-compute")], most, forms.memory),
             value(of["used"], forms.memory(of["used"])), value(of["planned"], forms.memory(of["planned"])),
             value(None if of["used"] is None else of["used"] / of["planned"],
                   "–" if of["used"] is None else forms.percent(of["used"] / of["planned"]))]
            for of in sorted(shown, key=lambda of: of["rank"])]
    plans = [[f"{what} {', '.join(map(str, group['of'][:8]))}{', ...' if len(group['of']) > 8 else ''}",
              escape(", ".join(f"{kind} {forms.memory(size)}" for kind, size in group["bytes"].items() if size)),
              value(sum(group["bytes"].values()), forms.memory(sum(group["bytes"].values())))]
             for what, groups in (("node", found["nodes"]), ("rank", found["ranks"])) for group in groups]
    held = table("memory", ["trainer", "", "held for itself", "planned", "of the plan"], rows, texts=2)
    used = any(of["used"] for of in shown)
    return [held if used else "", f"<details{'' if used else ' open'}><summary>The plan</summary>"
            f"{table('plan', ['', 'of what', 'in all'], plans, texts=2)}</details>"]


def hang(run: Figures) -> str:
    """What each rank was doing that gave up; those that waited for no rank, which others may have waited for, first."""
    ranks = sorted(run["hang"], key=lambda rank: (bool(rank["waits_for"]), rank["who"]))
    if not ranks:
        return ""
    rows = [[escape(rank["who"]), escape(", ".join(filter(None, (rank["phase"], rank["detail"])))),
             escape(rank["waits_for"] or "no rank: it was at work"),
             value(rank["quiet_s"], forms.seconds(rank["quiet_s"]))] for rank in ranks]
    stacks = "".join(f"<h3>{escape(rank['who'])}</h3><pre>{escape(_before(rank))}\n\n"
                     f"{escape(chr(10).join(''.join(stack) for stack in rank['stacks']))}</pre>"
                     for rank in ranks[:_MOST_STACKS])
    return (table("hang", ["rank", "in phase", "waiting for", "quiet for"], rows, texts=3)
            + f"<details><summary>Last phases, and stacks</summary>{stacks}</details>")


def _before(rank: Mapping[str, Any]) -> str:
    """The last phases of a rank, and how long before its end they began."""
    return "\n".join(f"{forms.seconds(rank['at'] - began):>12} before: {name}" for began, name in rank["phases"])
