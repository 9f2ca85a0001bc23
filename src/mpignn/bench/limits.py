"""What a machine can do at most, timed beside what the program does."""

import numpy as np

from mpignn.bench.timing import Timed

COPY = "plain copy"
RANDOM_READS = "random reads"
_MOST_WORDS = 1 << 26
_READS = 1_000_000


def plain_copy(num_bytes: int, amount: float | None = None, unit: str = "GB/s") -> Timed:
    """Copying between two arrays that no cache holds.

    Args:
        num_bytes: How many are copied.
        amount: How much that is, in the unit without its ``/s``; None: the bytes that are read and written.
        unit: That of a rate.
    """
    source, target = np.ones(max(1, num_bytes // 8)), np.ones(max(1, num_bytes // 8))

    def call(_: int) -> float:
        np.copyto(target, source)
        return 2 * source.nbytes / 1e9 if amount is None else amount
    return Timed(COPY, unit, call)


def random_reads(num_words: int) -> Timed:
    """Reading words of 4 bytes anywhere in memory, in millions a second.

    Args:
        num_words: How large that memory is; more than 256 MiB makes no difference.
    """
    words = np.ones(max(1, min(num_words, _MOST_WORDS)), np.int32)
    places = np.random.default_rng(0).integers(0, words.size, _READS)
    out = np.empty(_READS, np.int32)

    def call(_: int) -> float:
        np.take(words, places, out=out, mode="clip")
        return _READS / 1e6
    return Timed(RANDOM_READS, "M reads/s", call)
