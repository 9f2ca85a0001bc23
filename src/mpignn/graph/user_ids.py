"""What users call their nodes: texts or numbers, as they came in the users' own tables.

Shapes: N nodes of a type, B bytes of text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UserIds:
    """The users' ids of the nodes of a type, by original id.  The arrays may lie in files, and be read by slices alone.

    Attributes:
        values: (N,) int64 or uint64, where ids are numbers; else (B,) uint8, all texts in UTF-8, one after the other.
        bounds: (N + 1,) int64: text i is ``values[bounds[i]:bounds[i + 1]]``; None where ids are numbers.
    """

    values: np.ndarray
    bounds: np.ndarray | None = None

    def __len__(self) -> int:
        return int(self.values.size if self.bounds is None else self.bounds.size - 1)

    @staticmethod
    def of_texts(texts: Sequence[str]) -> "UserIds":
        """Those of as many nodes as there are texts.  Not collective."""
        encoded = [text.encode() for text in texts]
        bounds = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=bounds[1:])
        return UserIds(np.frombuffer(b"".join(encoded), np.uint8), bounds)

    def of(self, first: int, last: int) -> list[str] | list[int]:
        """The ids of the nodes ``first:last``.  Not collective."""
        if self.bounds is None:
            numbers: list[int] = self.values[first:last].tolist()
            return numbers
        bounds = self.bounds[first:last + 1]
        data = self.values[bounds[0]:bounds[-1]].tobytes()
        ends = (bounds - bounds[0]).tolist()
        return [data[begin:end].decode() for begin, end in zip(ends, ends[1:], strict=False)]
