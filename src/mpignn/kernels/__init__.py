"""Loops at the speed of C: numba functions, arrays in and arrays out, the GIL released."""

import os
from pathlib import Path


def cache_in(folder: Path) -> None:
    """Keep compiled kernels in ``folder`` if they cannot be kept beside their source.

    Call it before the first kernel is imported: numba reads this setting once.  Not collective.
    """
    if not os.access(Path(__file__).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
