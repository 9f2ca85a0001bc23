"""What jobs of `recording_job.py` and others drew."""

import pickle
from pathlib import Path

from mpignn.sampling.canonical import CanonicalRows, union

JOB = str(Path(__file__).with_name("recording_job.py"))
DRAWING_JOB = str(Path(__file__).with_name("drawing_job.py"))


def record(folder: Path, trainer: int, rows: dict[str, CanonicalRows]) -> None:
    """Keep what a trainer drew, by ``epoch.step/hop``; in one piece, as NumPy's files are slow to read by names."""
    (folder / f"trainer-{trainer}.pickle").write_bytes(pickle.dumps(rows))


def recorded(folder: Path) -> list[dict[str, CanonicalRows]]:
    """What each trainer drew, by ``epoch.step/hop``."""
    return [pickle.loads(path.read_bytes()) for path in sorted(folder.glob("trainer-*.pickle"))]


def drawn(trainers: list[dict[str, CanonicalRows]]) -> dict[str, str]:
    """Digest of what all trainers together drew, by ``epoch.step/hop``."""
    return {place: union([trainer[place] for trainer in trainers]).digest() for place in trainers[0]}
