"""What jobs of `recording_job.py` drew."""

from dataclasses import fields
from pathlib import Path

import numpy as np

from mpignn.sampling.canonical import CanonicalRows, union

NAMES = tuple(field.name for field in fields(CanonicalRows) if field.name != "hop")
JOB = str(Path(__file__).with_name("recording_job.py"))
DRAWING_JOB = str(Path(__file__).with_name("drawing_job.py"))


def recorded(folder: Path) -> list[dict[str, CanonicalRows]]:
    """What each trainer drew, by ``epoch.step/hop``."""
    trainers = []
    for path in sorted(folder.glob("trainer-*.npz")):
        with np.load(path) as arrays:
            places = {key.rpartition("/")[0] for key in arrays}
            trainers.append({place: CanonicalRows(int(place.rpartition("/")[2]), **{
                name: arrays[f"{place}/{name}"] for name in NAMES}) for place in places})
    return trainers


def arrays_of(rows: CanonicalRows, step: str) -> dict[str, np.ndarray]:
    """What `recorded` reads of the rows of one hop of a step ``epoch.step``."""
    return {f"{step}/{rows.hop}/{name}": getattr(rows, name) for name in NAMES}


def drawn(trainers: list[dict[str, CanonicalRows]]) -> dict[str, str]:
    """Digest of what all trainers together drew, by ``epoch.step/hop``."""
    return {place: union([trainer[place] for trainer in trainers]).digest() for place in trainers[0]}
