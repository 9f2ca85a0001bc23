"""Copies of part files on a node's own disk, for jobs that read the same graph there one after the other.

A copy lies in a folder that has the graph's id, which hashes all that the graph holds: a copy that is there is the one
that is wanted.  Its blocks have their checksums, which are compared when they are read.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from zlib_ng.zlib_ng import crc32

from mpignn import stop
from mpignn.errors import ConfigError, DataError, Stopped, os_errors
from mpignn.large.disk import check_space, full_disk_named
from mpignn.progress import BYTES, counting
from mpignn.storage.atomic import whole
from mpignn.storage.read import GraphFile
from mpignn.storage.schema import MEND, part_file

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 24


def folder_meant(text: str | Path) -> Path:
    """A folder whose name may have variables of the environment in it, which each node has for itself, as ``$TMPDIR``.

    Not collective.
    """
    return Path(os.path.expandvars(text))


def staged(folder: Path, graph_id: str, parts: Iterable[int]) -> dict[int, Path]:
    """Where the copies of part files are.  Not collective."""
    return {part: folder / graph_id / part_file(part) for part in parts}


def stage(path: Path, folder: Path, parts: Iterable[int]) -> None:
    """Copy part files that are not there yet.  Not collective; several processes may do so at a time.

    Args:
        path: The graph: its folder, or graph.h5 in it.
        folder: The folder with the copies of all graphs; made if it is not there.
        parts: Numbers of the part files.

    Raises:
        ConfigError: The folder cannot be made, or written to; or it has a variable in it that is not set here.
        DataError: A part file is missing, or damaged.
        ResourceError: Not enough room there.
        Stopped: This process was asked to stop meanwhile.
    """
    started = time.perf_counter()
    if "$" in str(folder):
        raise ConfigError(f"--stage {folder}: a variable in it is not set on {os.uname().nodename}: name the folder "
                          "itself, or set the variable")
    with GraphFile(path) as graph:
        copies, sizes = staged(folder, graph.graph_id, parts), {}
        for part, copy in copies.items():
            sizes[part] = graph.part_paths[part].stat().st_size
            if copy.is_file() and copy.stat().st_size == sizes[part]:
                del sizes[part]
        if not sizes:
            return
        with os_errors(ConfigError, f"{folder}: cannot copy part files there"):
            (folder / graph.graph_id).mkdir(parents=True, exist_ok=True)
        check_space(folder / graph.graph_id, sum(sizes.values()))
        with counting(sum(sizes.values()), BYTES) as advance:
            for part in sizes:
                _copy(graph.part_paths[part], copies[part], int(graph.part_crcs[part]), advance)
    seconds = time.perf_counter() - started
    log.info("copied %d part file(s), %.1f MB, to %s in %.1f s", len(sizes), sum(sizes.values()) / 1e6, folder, seconds)


def _copy(source: Path, copy: Path, crc: int, advance: Callable[[int], None]) -> None:
    """Copy a file, which gets its name when all of it is there and sound."""
    with os_errors(ConfigError, f"{copy}: cannot be written"), full_disk_named(copy), whole(copy) as partial:
        found = 0
        with open(partial, "wb") as out:
            for chunk in _chunks(source):
                if stop.wish() is not None:
                    raise Stopped("asked to stop")
                out.write(chunk)
                found = crc32(chunk, found)
                advance(len(chunk))
        if found != crc:
            raise DataError(f"{source}: expected CRC-32 {crc:08x} of the file, got {found:08x}; {MEND}")


def _chunks(path: Path) -> Iterator[bytes]:
    with os_errors(DataError, f"{path}: cannot be read"), open(path, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
