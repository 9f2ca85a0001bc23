"""What holds for files of all formats: names of columns that tell them apart, and errors of Arrow made ours."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from mpignn.errors import DataError


def check_names(path: Path, names: Sequence[str]) -> None:
    """Make sure that each column has a name of its own.

    Raises:
        DataError: Two have the same.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}; give each a name of its own")


UNREADABLE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowKeyError, pa.ArrowIndexError, pa.ArrowNotImplementedError,
              pa.ArrowSerializationError, OSError, UnicodeDecodeError)
"""What Arrow raises of what it cannot read."""


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[None]:
    """Turn what Arrow says of a file that it cannot read into one of our errors.

    Args:
        path: Path of the file.
        kind: What it should be.

    Raises:
        DataError: Arrow raised an error.
    """
    try:
        yield
    except pa.ArrowMemoryError as error:
        raise DataError(f"{path}: needs more memory than there is: {first_line(error)}; it is damaged, or holds too "
                        "much in one piece: write it again, in smaller ones") from error
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as {kind}: {first_line(error)}; it is damaged, or was not written to "
                        "its end: write it again") from error


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without a full stop."""
    return str(error).partition("\n")[0].strip().rstrip(".")


def is_number_text(value: str | bytes) -> bool:
    """Whether a text is how a number is written."""
    try:
        float(value)
    except ValueError:
        return False
    return True
