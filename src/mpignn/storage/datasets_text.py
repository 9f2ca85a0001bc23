"""Node features out of text.

Shapes: N texts, F features.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[a-z]{2,}")


def hashed_words(texts: Sequence[str], dim: int) -> np.ndarray:
    """Count the words of each text in ``dim`` signed buckets.  Not collective.

    A word is two or more of the letters a to z, case ignored; its CRC-32 gives bucket and sign.
    Feature hashing: Weinberger, Dasgupta, Langford, Smola and Attenberg 2009.

    Returns:
        (N, F) int32 counts.
    """
    rows, buckets, signs = [], [], []
    known: dict[str, tuple[int, int]] = {}
    for row, text in enumerate(texts):
        for word in _WORD.findall(text.lower()):
            if word not in known:
                code = zlib.crc32(word.encode())
                known[word] = (code % dim, 1 if code >> 31 else -1)
            bucket, sign = known[word]
            rows.append(row)
            buckets.append(bucket)
            signs.append(sign)
    counts = np.zeros((len(texts), dim), np.int32)
    np.add.at(counts, (rows, buckets), signs)
    return counts


def unit_rows(counts: np.ndarray) -> np.ndarray:
    """Rows scaled to Euclidean length 1, as float32; rows of zeros stay so."""
    values = counts.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.where(length > 0, length, 1)
