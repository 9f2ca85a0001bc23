"""What `partition` has read of a source that takes long, kept beside what is made of it until that is there.

A command that is killed or stopped behind its reading leaves a folder, and the next one that reads the same takes the
graph from it.  The folder says of what it is: files by size and time, options, versions; and the checksum of each
array.  Arrays that lie in files already are linked to and not copied, there and when they are taken up, so that two
commands at once do each other no harm.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.errors import DataError, MpignnError, ResourceError
from mpignn.graph.csc import CSC
from mpignn.graph.types import GraphData, etype_key, parse_etype
from mpignn.graph.user_ids import UserIds
from mpignn.large.arrays import Cast, FileArray, LargeArray
from mpignn.large.disk import full_disk_named
from mpignn.large.scratch import Scratch
from mpignn.storage.atomic import remove
from mpignn.storage.forms.tables import reads_described
from mpignn.storage.source_id import Checksums
from mpignn.storage.sources import form_of
from mpignn.version import version

log = logging.getLogger(__name__)

_CONTENTS, _ARRAY = "contents.json", ".array"
_LIBRARIES = ("mpignn", "pyarrow")
_SMALL_BYTES = 1 << 16      # of arrays that are in memory when they are taken up
_DEPTH = 8      # of folders in folders; what is deeper is not kept


class KeptRead:
    """The folder of one graph that is being made.

    Attributes:
        path: Its path.
    """

    def __init__(self, source: object, options: Mapping[str, Any], scratch: Scratch, checksums: Checksums) -> None:
        """Collective over the group of ``scratch``.

        Args:
            source: What is read; nothing is kept of what does not take long.
            options: How it is read.
            scratch: Says what is made, and who has it.
            checksums: Those of the arrays of the graph, which others need, too.
        """
        self.path = scratch.out.with_name(f".{scratch.out.name}.read")
        self._source, self._options, self._scratch, self._checksums = source, options, scratch, checksums
        self._made_of = scratch.group.by_first(lambda: _made_of(source, options))

    def load(self) -> GraphData | None:
        """The graph that a command has left; None: none, or one of something else.

        Collective over the group.  What users call things only the first rank gets.
        """
        group = self._scratch.group
        found: tuple[GraphData, list[int]] | None = None

        def look() -> tuple[GraphData, list[int]] | None:
            nonlocal found
            with suppress(OSError, ValueError, KeyError, TypeError):        # damaged: it is read again
                found = self._look()
            return found and (replace(found[0], user_ids={}), found[1])

        told = group.by_first(look)
        if told is None:
            return None
        data, crcs = told if found is None else found
        there = self._crcs(data)
        if not group.by_first(lambda: there == crcs):
            return None
        if group.rank == 0:
            log.warning("%s: taken up, a command that was stopped had left it: the source is not read again", self.path)
        return data

    def keep(self, data: GraphData) -> None:
        """Write the folder, over one that is there, unless there is no room for it.  Collective over the group.

        Args:
            data: The graph; what users call things is needed on the first rank only.
        """
        if self._made_of is None:
            return
        crcs = self._crcs(data)
        if self._scratch.group.rank == 0:
            made = self._scratch.folder / "read"
            try:
                with full_disk_named(self.path):
                    self._write(data, crcs, made)
            except ResourceError:       # a quota that nobody has told of
                remove(made)

    def remove(self) -> None:
        """Remove the folder, if it is there.  Not collective."""
        if self._is_ours():
            remove(self.path)

    def _look(self) -> tuple[GraphData, list[int]] | None:
        """What lies there of the same graph, and the checksums of its arrays."""
        if self._made_of is None or not self._is_ours():
            return None
        contents = json.loads((self.path / _CONTENTS).read_text())
        if contents["made_of"] != self._made_of:
            return None
        taken, crcs = dict[str, Path](), list[int]()
        return _graph(contents, lambda told: self._take(told, taken, crcs)), crcs

    def _take(self, told: Mapping[str, Any], taken: dict[str, Path], crcs: list[int]) -> np.ndarray:
        """An array of the folder, by a file of this command's own, so that nobody takes it away."""
        crcs.append(told["crc"])
        name = told["file"]
        if name not in taken:
            path = self.path / name     # of other files it is the path
            taken[name] = path if path == Path(name) else self._scratch.folder / f"taken-{name}"
            if path != taken[name]:
                _link(path, taken[name], copies=False)
                taken[name] = taken[name] if taken[name].exists() else path
        array = FileArray(taken[name], np.dtype(told["dtype"]), tuple(told["shape"]), told["offset"])
        if array.offset + array.nbytes > array.path.stat().st_size:
            raise ValueError(f"{array.path} is too short")
        cast = array if told["cast"] is None else Cast(array, np.dtype(told["cast"]))
        return np.asarray(cast) if cast.nbytes <= _SMALL_BYTES else cast.rows

    def _write(self, data: GraphData, crcs: list[int], made: Path) -> None:
        arrays = [array for _, array in _arrays(data)]
        in_memory = sum(array.nbytes for array in map(_source, arrays) if isinstance(array, np.ndarray))
        whole = sum(array.nbytes for array in arrays)
        if shutil.disk_usage(made.parent).free < in_memory + 2 * whole:     # what is made comes first
            log.info("%s: not kept, there is too little room on the disk", self.path)
            return
        made.mkdir()
        names, left, numbers = dict[Path, str](), iter(crcs), count()

        def told(array: LargeArray) -> dict[str, Any]:
            source = _source(array)
            if not isinstance(source, FileArray):
                name, offset = f"{next(numbers)}{_ARRAY}", 0
                np.ascontiguousarray(source).tofile(made / name)
            elif source.path.parent != self._scratch.folder:
                name, offset = str(source.path.absolute()), source.offset
            else:
                if source.path not in names:
                    names[source.path] = f"{next(numbers)}{_ARRAY}"
                    _link(source.path, made / names[source.path], copies=True)
                name, offset = names[source.path], source.offset
            return {"file": name, "dtype": source.dtype.str, "shape": [int(n) for n in source.shape],
                    "offset": offset,
                    "cast": array.dtype.str if isinstance(array, Cast) else None, "crc": next(left)}

        contents = {"made_of": self._made_of} | _contents(data, told)
        (made / _CONTENTS).write_text(json.dumps(contents, allow_nan=False))
        if _made_of(self._source, self._options) != self._made_of or self.path.exists() and not self._is_ours():
            remove(made)        # the source has changed meanwhile; or something of the user's is there
            return
        remove(self.path)
        made.rename(self.path)

    def _crcs(self, data: GraphData) -> list[int]:
        """The checksums of all arrays in order; on other ranks without those of what users call things."""
        return [(self._checksums.of if common else self._checksums.of_own)(array) for common, array in _arrays(data)]

    def _is_ours(self) -> bool:
        """Whether the folder is such a one, or what a command that was killed has left of it."""
        with suppress(OSError):
            return self.path.is_dir() and all(
                inside.name == _CONTENTS or inside.suffix == _ARRAY for inside in self.path.iterdir())
        return False


def _made_of(source: object, options: Mapping[str, Any]) -> Any:
    """What a graph is read from, as JSON has it; None where it is not kept, or that cannot be told."""
    given = {name: value for name, value in options.items() if value}
    put = given.pop("put", None) or {}
    if not isinstance(source, Path) or not all(isinstance(path, str | os.PathLike) for path in put.values()):
        return None
    try:        # what is wrong here, reading says better
        reads = form_of(source).reads
        if reads is None:
            return None
        read = [*reads(source), *map(Path, put.values())]
        if "put_tables" in given:
            read += reads_described(Path(given["put_tables"]))
        if "like" in given:
            read.append(Path(given["like"]))
        found = sorted({file.absolute() for path in read for file in _files(path, _DEPTH)})
        return {"source": str(source.absolute()),
                "put": {name: str(Path(path).absolute()) for name, path in put.items()},
                "options": {name: value if isinstance(value, bool) else str(value) for name, value in given.items()},
                "files": [[str(file), (status := file.stat()).st_size, status.st_mtime_ns] for file in found],
                "versions": [version(name) for name in _LIBRARIES]}
    except (MpignnError, OSError):
        return None


def _files(path: Path, depth: int) -> Iterator[Path]:
    """A path, and all that is in it.

    Raises:
        DataError: Folders in folders without end, or nearly so.
    """
    if depth == 0:
        raise DataError(f"{path}: too deep")
    yield path
    if path.is_dir():
        for inside in path.iterdir():
            yield from _files(inside, depth - 1)


def _source(array: LargeArray) -> np.ndarray | FileArray:
    return array.source if isinstance(array, Cast) else array


def _arrays(data: GraphData) -> list[tuple[bool, LargeArray]]:
    """All arrays, in the order of `_contents`, and whether every rank has them."""
    found: list[LargeArray] = []
    common: list[LargeArray] = []
    _contents(data, found.append)
    _contents(replace(data, user_ids={}), common.append)
    return [(number < len(common), array) for number, array in enumerate(found)]


def _contents(data: GraphData, told: Callable[[LargeArray], Any]) -> dict[str, Any]:
    """A graph as JSON can hold it, with ``told(array)`` in the place of each array."""
    def each(named: Mapping[str, LargeArray]) -> dict[str, Any]:
        return {name: told(array) for name, array in named.items()}

    return {
        "num_nodes": dict(data.num_nodes),
        "csc": {etype_key(e): each({"indptr": csc.indptr, "indices": csc.indices}
                                   | ({} if csc.edge_ids is None else {"edge_ids": csc.edge_ids}))
                for e, csc in data.csc.items()},
        "node_data": {ntype: each(named) for ntype, named in data.node_data.items()},
        "edge_data": {etype_key(e): each(named) for e, named in data.edge_data.items()},
        "splits": {key: each(named) for key, named in data.splits.items()},
        "user_ids": {ntype: each({"values": ids.values} | ({} if ids.bounds is None else {"bounds": ids.bounds}))
                     for ntype, ids in data.user_ids.items()},
        "class_names": data.class_names, "tables": data.tables}


def _graph(contents: Mapping[str, Any], array: Callable[[Mapping[str, Any]], np.ndarray]) -> GraphData:
    """The inverse of `_contents`, whose arrays ``array`` makes of what was told of them, in the same order."""
    def each(named: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: array(told) for name, told in named.items()}

    return GraphData(
        contents["num_nodes"], {parse_etype(key): CSC(**each(named)) for key, named in contents["csc"].items()},
        {ntype: each(named) for ntype, named in contents["node_data"].items()},
        {parse_etype(key): each(named) for key, named in contents["edge_data"].items()},
        {key: each(named) for key, named in contents["splits"].items()},
        {ntype: UserIds(**each(named)) for ntype, named in contents["user_ids"].items()},
        {key: {name: tuple(texts) for name, texts in named.items()} for key, named in contents["class_names"].items()},
        contents["tables"])


def _link(path: Path, to: Path, copies: bool) -> None:
    """Give a file a second name; where the file system has no such, copy it, or leave it if it shall not be copied."""
    try:
        os.link(path, to)
    except OSError:
        if copies:
            shutil.copyfile(path, to)
