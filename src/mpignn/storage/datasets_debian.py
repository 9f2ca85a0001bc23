"""The packages of a Debian archive as a heterogeneous graph, from the lists that apt keeps.

Node types: package; virtual, a name that exists only because others name it; maintainer; source; tag.  An edge
type for each kind of relation between a package and another node, and for its reverse.

Shapes: N packages, F features.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.files import read_file
from mpignn.graph.types import EType, GraphData
from mpignn.storage.datasets_arrays import sorted_csc, sorted_splits
from mpignn.storage.datasets_packages import PACKAGE_BYTES, package_lists
from mpignn.storage.datasets_text import hashed_words, unit_rows

_DIM = 128
_RELATIONS = ("Depends", "Pre-Depends", "Recommends", "Suggests", "Enhances", "Breaks", "Conflicts", "Replaces",
              "Provides")
_PACKAGE_NAME = re.compile(r"\s*([a-z0-9][a-z0-9+.-]*)")
_TAG = re.compile(r"[a-z0-9-]+::[a-z0-9:+.-]+")


def load_debian(dump: Path | None = None) -> GraphData:
    """Build the graph from a file that ``apt-cache dumpavail`` wrote, or from this machine's lists.

    Not collective.

    Raises:
        DataError: The text has no package records.
        ResourceError: apt-cache cannot be run.
    """
    text = package_lists() if dump is None else read_file(dump, PACKAGE_BYTES).decode("utf-8", "replace")
    return debian_graph(text)


def debian_graph(text: str) -> GraphData:
    """The graph of the packages in control records, the first version of each.

    Packages have ``features`` (N, F), the hashed words of their short description, float32 with rows of length 1,
    and ``labels`` (N,), their section, numbered in alphabetical order.  Their names are left out of the features:
    they give the section away.  Train, val and test get 10, 10 and 80 % of the *sources*, by a hash of the name,
    so that the binaries of a source are on one side.

    Raises:
        DataError: There are no records.
    """
    records: dict[str, dict[str, str]] = {}
    for record in _records(text):
        records.setdefault(record["Package"], record)
    if not records:
        raise DataError("there are no package records: run `apt-get update`, or give a file that "
                        "`apt-cache dumpavail` wrote")
    names = sorted(records)
    ids: dict[str, dict[str, int]] = {ntype: {} for ntype in ("package", "virtual", "maintainer", "source", "tag")}
    ids["package"] = {name: number for number, name in enumerate(names)}
    edges: dict[EType, list[tuple[int, int]]] = defaultdict(list)
    for name in names:
        for relation, ntype, other in _relations(name, records[name], ids["package"]):
            number = ids[ntype].setdefault(other, len(ids[ntype]))
            edges["package", relation, ntype].append((ids["package"][name], number))

    num_nodes = {ntype: len(known) for ntype, known in ids.items()}
    csc = {}
    for etype in sorted(edges):
        source, relation, target = etype
        src, dst = np.array(edges[etype], np.int64).T
        csc[etype] = sorted_csc(src, dst, num_nodes[source], num_nodes[target])
        csc[target, f"rev_{relation}", source] = sorted_csc(dst, src, num_nodes[target], num_nodes[source])
    sections = [records[name].get("Section", "") for name in names]
    number_of = {section: number for number, section in enumerate(sorted(set(sections)))}
    counts = hashed_words([records[name].get("Description", "") for name in names], _DIM)
    data = {"features": unit_rows(counts), "labels": np.array([number_of[section] for section in sections])}
    return GraphData(num_nodes, csc, {"package": data},
                     splits={"package": _split([_source(name, records[name]) for name in names])})


def _records(text: str) -> Iterator[dict[str, str]]:
    """The fields of each control record; continued lines are joined by a space."""
    for block in text.split("\n\n"):
        record: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                # A description goes on with its long form, which is not wanted.
                if key and key != "Description":
                    record[key] += " " + line.strip()
            elif ":" in line:
                key, value = line.split(":", 1)
                record[key] = value.strip()
        if "Package" in record:
            yield record


def _relations(name: str, record: dict[str, str], packages: dict[str, int]) -> Iterator[tuple[str, str, str]]:
    """(relation, node type, other end) of each edge of a package; each distinct one once, none to itself."""
    for field in _RELATIONS:
        found = (_PACKAGE_NAME.match(part) for part in re.split(r"[,|]", record.get(field, "")))
        for other in dict.fromkeys(match[1] for match in found if match):
            if other != name:
                yield field.lower(), "package" if other in packages else "virtual", other
    yield "maintained_by", "maintainer", record.get("Maintainer", "")
    yield "built_from", "source", _source(name, record)
    for tag in dict.fromkeys(_TAG.findall(record.get("Tag", ""))):
        yield "tagged", "tag", tag


def _source(name: str, record: dict[str, str]) -> str:
    return record.get("Source", name).split(" ")[0]


def _split(sources: list[str]) -> dict[str, np.ndarray]:
    share = {source: int.from_bytes(hashlib.blake2b(source.encode(), digest_size=8).digest()) / 2**64
             for source in set(sources)}
    place = np.array([share[source] for source in sources])
    return sorted_splits([np.flatnonzero(place < 0.1), np.flatnonzero((place >= 0.1) & (place < 0.2)),
                          np.flatnonzero(place >= 0.2)])
