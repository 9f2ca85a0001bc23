"""Pages of `mpignn report`, as programs read them, and run folders to make pages of."""

import json
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "br"}
FINAL = {"event": "final", "val_acc": 0.75, "test_acc": 0.5, "epochs": 2, "seconds": 5.0}


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


def job(trainers=2, nodes=1, source="g", **more):
    """A line of jobs.jsonl, of a server and some trainers on each node."""
    on = [node for node in range(nodes) for _ in range(1 + trainers // nodes)]
    serves = [number % (1 + trainers // nodes) == 0 for number in range(len(on))]
    plan = {"ranks": [{"of": list(range(len(on))), "bytes": {"process": 250 << 20, "model": 1 << 20}}],
            "nodes": [{"of": list(range(nodes)), "bytes": {"structure": 1 << 20}}]}
    return {"began": "2026-01-02T03:04:05Z", "command": ["mpignn", "train", "a b"], "launcher": "srun",
            "batch_job": {"scheduler": "Slurm", "id": "17"}, "versions": {"mpignn": "0.1.0"}, "platform": "Linux",
            "mpi": "MPICH",
            "machines": [{"name": "n1", "cpu": "x", "cores": 16, "memory_bytes": 1 << 34}],
            "machine_of_rank": [0] * len(on), "node_of_rank": on, "serves": serves,
            "trains": [not serve for serve in serves], "threads": [1] * len(on), "device": ["cpu"] * len(on),
            "graphs": [{"path": "g", "graph_id": "1", "source_id": source, "partitions": 2, "nodes": {"a": 5, "b": 7},
                        "edges": {"a:r:b": 9}, "plan": plan}], **more}


def classes(names, confusion, split="test"):
    """A line that tells of classes."""
    counts = {"actual": [sum(row) for row in confusion],
              "predicted": [sum(column) for column in zip(*confusion, strict=True)],
              "right": [row[place] for place, row in enumerate(confusion)]}
    return {"event": "classes", "split": split, "names": names, "known": None, "confusion": confusion, **counts}
