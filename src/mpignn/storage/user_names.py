"""What users call nodes and classes, in graph.h5: written, verified, and read some at a time.

Ids of nodes lie in order of original id, so that the files of every cut have the same.  They may be many: no rank holds
those of all nodes, and whoever needs some reads them.

Shapes: N nodes of a type, B bytes of their ids' texts, K nodes asked about.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import GraphData, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.array_writers import write_array
from mpignn.storage.arrays import StoredArray, damage_named, read_pieces, read_rows, stored_array, verify_block

ClassNames = Mapping[str, Mapping[str, tuple[str, ...]]]

_STEP = 1 << 16         # ids in hand at a time
_NEAR = 1 << 12         # bytes between two that are read together: to read them takes as long as to ask twice
_KINDS = {"texts": (np.dtype(np.uint8),), "numbers": (np.dtype(np.int64), np.dtype(np.uint64))}


@dataclass(frozen=True)
class StoredIds:
    """Where the users' ids of a node type are: a `UserIds` whose arrays are in a file.

    Attributes:
        values: (N,) numbers, or (B,) bytes of texts.
        bounds: (N + 1,) where texts begin; None where ids are numbers.
    """

    values: StoredArray
    bounds: StoredArray | None


@dataclass(frozen=True)
class UserNames:
    """What users call things in a graph, as every rank knows it.

    Attributes:
        ids: The ids of nodes by node type, for types whose nodes have other ones than their original ids.
        classes: Names of classes by node type or edge type key, and by name of the labels.
    """

    ids: Mapping[str, StoredIds] = field(default_factory=dict)
    classes: ClassNames = field(default_factory=dict)


def text_type(num_bytes: int) -> np.dtype:
    """The type of UTF-8 texts of at most so many bytes, padded by zeros, in HDF5 files."""
    found: np.dtype = h5py.string_dtype("utf-8", max(1, num_bytes))
    return found


def encoded(texts: Sequence[object], dtype: np.dtype | None = None) -> np.ndarray:
    """Texts as an array of a `text_type`, by default of that for the longest one."""
    as_bytes = [str(text).encode() for text in texts]
    return np.array(as_bytes, text_type(max(map(len, as_bytes), default=1)) if dtype is None else dtype)


def named_arrays(data: GraphData) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of users' names of a graph by their names in graph.h5, in order of these; those of ids may lie in
    files."""
    for ntype, ids in sorted(data.user_ids.items()):
        if ids.bounds is not None:
            yield f"ids/{ntype}/bounds", ids.bounds
        yield f"ids/{ntype}/values", ids.values
    for key, named in sorted(data.class_names.items()):
        for name, texts in sorted(named.items()):
            yield f"names/{key}/{name}", encoded(texts)


def write_names(file: h5py.File, data: GraphData) -> None:
    """Write what `named_arrays` yields."""
    for name, array in named_arrays(data):
        write_array(file, name, array)


def names_report(data: GraphData) -> dict[str, Any]:
    """What the report of a graph says of its users' names: nothing where it has none."""
    ids = {ntype: "numbers" if ids.bounds is None else "texts" for ntype, ids in sorted(data.user_ids.items())}
    classes = {key: {name: len(texts) for name, texts in sorted(named.items())}
               for key, named in sorted(data.class_names.items()) if named}
    return ({"user_ids": ids} if ids else {}) | ({"class_names": classes} if classes else {})


def read_names(file: h5py.File, path: str, report: Mapping[str, Any], num_nodes: Mapping[str, int]) -> UserNames:
    """Where the ids are, and the names of classes.

    Args:
        file: Open graph.h5.
        path: Its path.
        report: The graph's: it says what there is.
        num_nodes: N by node type.

    Raises:
        DataError: Something is damaged, or not there.
    """
    found, classes = {}, {}
    for ntype, kind in report.get("user_ids", {}).items():
        values, bounds = _stored(file, path, f"ids/{ntype}/values"), None
        if kind == "texts":
            bounds = _stored(file, path, f"ids/{ntype}/bounds")
        held = bounds or values
        if (values.dtype not in _KINDS[kind] or held.shape != (num_nodes[ntype] + (kind == "texts"),)
                or (bounds is not None and bounds.dtype != np.int64)):
            raise values.damaged(f"expected the ids of {num_nodes[ntype]} nodes as {kind}, got {values.dtype} "
                                 f"{values.shape}")
        found[ntype] = StoredIds(values, bounds)
    for key, named in report.get("class_names", {}).items():
        classes[key] = {name: _read_texts(_stored(file, path, f"names/{key}/{name}"), count)
                        for name, count in named.items()}
    return UserNames(found, classes)


def _stored(file: h5py.File, path: str, name: str) -> StoredArray:
    with damage_named(f"{path}: {name}"):
        return stored_array(file, path, name)


def _read_texts(array: StoredArray, count: int) -> tuple[str, ...]:
    if array.dtype.kind != "S" or array.shape != (count,):
        raise array.damaged(f"expected {count} texts, got {array.dtype} {array.shape}")
    texts = np.empty(array.shape, array.dtype)
    read_rows(array, 0, count, texts)
    with damage_named(array.where):
        return tuple(np.char.decode(texts, "utf-8").tolist())


class IdReader:
    """Reads ids of one node type from the file, whichever are asked for.  Not collective.

    A block of the file is verified when the first of its ids is read.
    """

    def __init__(self, stored: StoredIds) -> None:
        self._values = _Pieces(stored.values)
        self._bounds = None if stored.bounds is None else _Pieces(stored.bounds)

    def read(self, ids: np.ndarray) -> UserIds:
        """The users' ids of some nodes, in their order.

        Args:
            ids: (K,) int64 original ids, any order, repeats allowed.

        Raises:
            DataError: The file is damaged.
        """
        if self._bounds is None:
            numbers, place = self._values.read(ids, ids + 1)
            return UserIds(numbers[place])
        bounds, place = self._bounds.read(ids, ids + 2)
        begin, end = bounds[place], bounds[place + 1]
        array = self._values.array
        if ids.size and not (begin.min() >= 0 and (begin <= end).all() and end.max() <= array.shape[0]):
            raise array.damaged(f"the ids lie outside its {array.shape[0]} bytes")
        return _gathered(*self._values.read(begin, end), end - begin)


def _gathered(data: np.ndarray, place: np.ndarray, size: np.ndarray) -> UserIds:
    """The texts that begin at (K,) places of some bytes and have (K,) sizes, one after the other."""
    bounds = np.zeros(size.size + 1, np.int64)
    np.cumsum(size, out=bounds[1:])
    if not size.size or np.array_equal(place, place[0] + bounds[:-1]):      # they lie so already
        first = int(place[0]) if size.size else 0
        return UserIds(data[first:first + int(bounds[-1])], bounds)
    return UserIds(data[np.repeat(place - bounds[:-1], size) + np.arange(bounds[-1])], bounds)


class _Pieces:
    """Reads stretches of an array of (N,), those that lie near each other together.

    Attributes:
        array: The array.
    """

    def __init__(self, array: StoredArray) -> None:
        self.array = array
        self._verified: set[int] = set()

    def read(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Elements that have all those of (K,) stretches among them, and the (K,) places where these begin."""
        array, place = self.array, np.zeros(begin.size, np.int64)
        if not begin.size:
            return np.empty(0, array.dtype), place
        order = np.argsort(begin, kind="stable")
        first, reach = begin[order], np.maximum.accumulate(end[order])
        far = np.append(True, first[1:] > reach[:-1] + _NEAR // array.row_bytes)
        starts, stops = first[far], reach[np.append(np.flatnonzero(far)[1:] - 1, begin.size - 1)]
        base, group = np.cumsum(stops - starts) - (stops - starts), np.cumsum(far) - 1
        place[order] = base[group] + first - starts[group]
        pieces = list(zip(starts.tolist(), stops.tolist(), strict=True))
        out = np.empty(int((stops - starts).sum()), array.dtype)
        with damage_named(array.where):
            self._verify(starts, stops)
            read_pieces(array, pieces, out)
        return out, place

    def _verify(self, starts: np.ndarray, stops: np.ndarray) -> None:
        """Verify the blocks that stretches touch, those that were not yet."""
        step = self.array.block_rows
        first, last = starts // step, (stops - 1) // step
        touched = {number for lo, hi in set(zip(first[stops > starts].tolist(), last[stops > starts].tolist(),
                                                strict=True)) for number in range(lo, hi + 1)}
        for number in sorted(touched - self._verified):
            verify_block(self.array, number)
            self._verified.add(number)


def longest_text(stored: StoredIds) -> int:
    """Bytes of the longest id, of ids that are texts.

    Raises:
        DataError: The file is damaged.
    """
    assert stored.bounds is not None, "ids are texts"
    pieces, found = _Pieces(stored.bounds), 0
    for first in range(0, stored.bounds.shape[0] - 1, _STEP):
        last = min(first + _STEP, stored.bounds.shape[0] - 1)
        bounds, _ = pieces.read(np.array([first]), np.array([last + 1]))
        found = max(found, int(np.diff(bounds).max()))
    return found


def validate_names(data: GraphData) -> None:
    """Raise if users' names cannot be those of a graph.  Not collective.

    Raises:
        DataError: Names the type, the first bad entry, and what was expected.
    """
    for ntype, ids in data.user_ids.items():
        if ntype not in data.num_nodes:
            raise DataError(f"ids are given for {ntype!r}, which is no node type of the graph")
        told = _problem_of_arrays(ids, data.num_nodes[ntype])
        for first in range(0, len(ids) if told is None else 0, _STEP):
            told = told or _problem_of_texts(_slice(ids, first, min(first + _STEP, len(ids))), first)
        if told is not None:
            raise DataError(f"ids of {ntype!r}: {told}")
    labels = {**data.node_data, **{etype_key(etype): named for etype, named in data.edge_data.items()}}
    for key, named in data.class_names.items():
        for name, texts in named.items():
            told = (f"there is no data {name!r} of {key!r}" if name not in labels.get(key, {}) else
                    _problem_of_classes(texts, labels[key][name]))
            if told is not None:
                raise DataError(f"names of the classes of {key}/{name}: {told}")


def check_names(names: UserNames) -> Iterator[str]:
    """What is wrong with users' names in a file, beside names of classes that cannot be read.  Not collective."""
    for stored in names.ids.values():
        where, reader = stored.values.where, IdReader(stored)
        count = stored.values.shape[0] if stored.bounds is None else stored.bounds.shape[0] - 1
        try:
            for first in range(0, count, _STEP):
                told = _problem_of_texts(reader.read(np.arange(first, min(first + _STEP, count))), first)
                if told is not None:
                    yield f"{where}: {told}"
                    break
        except DataError as error:
            yield str(error)


def _slice(ids: UserIds, first: int, last: int) -> UserIds:
    if ids.bounds is None:
        return UserIds(ids.values[first:last])
    bounds = ids.bounds[first:last + 1]
    return UserIds(ids.values[bounds[0]:bounds[-1]], bounds - bounds[0])


def _problem_of_arrays(ids: UserIds, num_nodes: int) -> str | None:
    """What keeps two arrays from being the ids of so many nodes."""
    values, bounds = ids.values, ids.bounds
    kind = "numbers" if bounds is None else "texts"
    if values.ndim != 1 or values.dtype not in _KINDS[kind]:
        return (f"expected {' or '.join(map(str, _KINDS[kind]))} in one dimension for {kind}, got {values.dtype} "
                f"{values.shape}")
    if bounds is not None and (bounds.ndim != 1 or bounds.dtype != np.int64 or not bounds.size or bounds[0] != 0
                               or bounds[-1] != values.size or _falls(bounds)):
        return f"the bounds of texts must be int64, begin with 0, never fall, and end with their {values.size} bytes"
    if len(ids) != num_nodes:
        return f"expected one for each of {num_nodes} nodes, got {len(ids)}"
    return None


def _falls(bounds: np.ndarray) -> bool:
    """Whether a bound is below the one before it."""
    return any((np.diff(bounds[first:first + _STEP + 1]) < 0).any() for first in range(0, bounds.size, _STEP))


def _problem_of_texts(ids: UserIds, first: int) -> str | None:
    """What keeps ids from being texts, those of the nodes from ``first`` on; None of numbers."""
    if ids.bounds is None:
        return None
    size = np.diff(ids.bounds)
    bad = np.zeros(size.size, bool)
    begun = ids.values[ids.bounds[:-1][size > 0]]
    bad[size > 0] = (begun & 0xC0) == 0x80      # a byte within a character
    zeros = np.flatnonzero(ids.values == 0)
    bad[np.searchsorted(ids.bounds, zeros, side="right") - 1] = True
    try:
        ids.values.tobytes().decode()
    except UnicodeDecodeError as error:
        bad[int(np.searchsorted(ids.bounds, error.start, side="right")) - 1] = True
    if not bad.any():
        return None
    node = int(np.argmax(bad))
    begin, end = ids.bounds[node:node + 2]
    return f"node {first + node} has {ids.values[begin:end].tobytes()!r}, which is no text in UTF-8 without zero bytes"


def _problem_of_classes(texts: tuple[str, ...], labels: Any) -> str | None:
    """What keeps texts from being the names of what labels say."""
    for text in texts:
        if not isinstance(text, str) or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            return f"{text!r} is no text in UTF-8 without zero bytes"
    if len(set(texts)) < len(texts):
        twice = next(text for place, text in enumerate(texts) if text in texts[:place])
        return f"{twice!r} is there twice"
    if len(labels.shape) > 1:
        return None if labels.shape[1:] == (len(texts),) else f"{len(texts)} for rows of shape {labels.shape[1:]}"
    if labels.dtype.kind not in "biu":
        return f"the labels are {labels.dtype}, and no classes"
    top = max((int(labels[first:first + _STEP].max()) for first in range(0, labels.shape[0], _STEP)), default=-1)
    return None if top < len(texts) else f"there are {len(texts)}, but a label is {top}"
