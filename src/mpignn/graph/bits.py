"""Which of many numbers were met, a bit for each.

Shapes: N numbers, n of them in hand.
"""

import numpy as np


class Bits:
    """Marks on the numbers 0 to N - 1.

    Attributes:
        octets: (ceil(N / 8),) uint8; number i is bit i % 8 of octet i // 8.
    """

    def __init__(self, count: int) -> None:
        self.octets = np.zeros(-(-count // 8), np.uint8)

    def mark(self, numbers: np.ndarray) -> None:
        """Mark (n,) numbers.  Not collective."""
        np.bitwise_or.at(self.octets, numbers >> 3, (1 << (numbers & 7)).astype(np.uint8))

    def marked(self, numbers: np.ndarray) -> np.ndarray:
        """(n,) booleans: which of some numbers are marked.  Not collective."""
        found: np.ndarray = (self.octets[numbers >> 3] >> (numbers & 7)) & 1 == 1
        return found

    def of_stretch(self, first: int, last: int) -> np.ndarray:
        """(last - first,) booleans: which of the numbers ``first:last`` are marked.  Not collective."""
        begin = first // 8
        bits = np.unpackbits(self.octets[begin:-(-last // 8)], bitorder="little")
        return bits[first - 8 * begin:last - 8 * begin].astype(bool)
