"""Pages of `mpignn report`, as programs read them, and run folders to make pages of."""

import json
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """A page, taken apart; one whose elements do not close raises.

    Attributes:
        tables: Rows of cells by name of the table: exact values where a cell has one, else its text.
        figures: The figures that the page carries.
        text: All that is to be read.
        links: Whatever the page asks for from elsewhere.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._rows: list[list[str]] = []
        self._script = ""
        self.feed(html)
        self.close()
        assert not self._open, self._open
        self.figures = json.loads(self._script)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag not in _VOID:
            self._open.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href") and not value.startswith("data:,")]
        if tag == "table":
            self._rows = self.tables.setdefault(named["data-name"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "data" and "td" in self._open:
            self._rows[-1][-1] = named["value"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open and self._open.pop() == tag, f"</{tag}> inside {self._open}"

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self._script += data
        elif self._open[-1:] != ["style"]:
            self.text += data
            if {"td", "th"} & set(self._open) and "data" not in self._open:
                self._rows[-1][-1] += data


def write_run(folder: Path, events: list[dict], settings: str = "", jobs: list[dict] = (), tail: str = "") -> Path:
    """A run folder with these lines; ``tail`` stands behind them in metrics.jsonl."""
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events) + tail)
    (folder / "config.toml").write_text(settings)
    if jobs:
        (folder / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    return folder


def step(epoch: int, number: int, loss: float | None) -> dict:
    """A line of metrics.jsonl."""
    return {"event": "step", "epoch": epoch, "step": number, "loss": loss, "seconds": 0.1}


def epoch(number: int, loss: float, val_acc: float | None = 0.5, **more) -> dict:
    """Likewise; without ``trainers`` it is one of an earlier version."""
    return {"event": "epoch", "epoch": number, "val_acc": val_acc, "loss": loss, "seconds": 2.0, "sample_s": 0.5,
            "fetch_s": 0.25, "compute_s": 1.0, "sync_s": 0.125, "seeds": 100, "edges": 1000, "rows": 500,
            "seeds_per_trainer": [100], **more}


def trainers(*busy: float, **more) -> dict[str, list]:
    """What an epoch tells of trainers that compute for so long, and wait for the slowest."""
    count, longest = len(busy), max(busy)
    return {"seconds": [longest + 1.0] * count, "load_s": [0.5] * count, "sample_s": [0.25] * count,
            "fetch_s": [0.25] * count, "compute_s": list(busy), "sync_s": [longest - own + 0.5 for own in busy],
            "wait_s": [0.0] * count, "seeds": [50] * count, "edges": [500] * count, "rows": [250] * count,
            "memory_bytes": [1 << 28] * count, **more}
