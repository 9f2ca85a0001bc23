"""Data sets that come with the program, by name."""

from pathlib import Path

from mpignn.graph.types import GraphData
from mpignn.storage.datasets import bundled_names, load_bundled
from mpignn.storage.form import Form


def is_bundled(path: Path) -> bool:
    """Whether a path is none, but the name of a data set."""
    return str(path) in bundled_names() and not path.exists()


def read_bundled(path: Path) -> GraphData:
    """The data set of that name."""
    return load_bundled(str(path))


FORMS = (Form(f"a bundled data set: {', '.join(bundled_names())}", is_bundled, read_bundled, last=True),)
