"""Data sets by name: what is bundled with the program, and what `mpignn data` prepares from packages.

Shapes: S synsets, F features, K non-zero features, M stored edges.
"""

import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from mpignn.errors import DataError, UnknownName
from mpignn.graph.types import EType, GraphData
from mpignn.storage.datasets_arrays import random_split, sorted_csc, symmetric_csc
from mpignn.storage.datasets_packages import check_sha256
from mpignn.storage.datasets_text import unit_rows

_WORDNET_SHA256 = "cf81f632420fc6a34d28bf8b191d56b98aeb17055369da987ec290247fbd5853"
WORDNET_DIM = 128

Heterogeneous = tuple[dict[str, int], dict[EType, np.ndarray], dict[str, np.ndarray]]


def bundled_names() -> tuple[str, ...]:
    """The names that `load_bundled` takes."""
    return tuple(_BUNDLED)


def load_bundled(name: str) -> GraphData:
    """Load a data set that is installed with the program.  Not collective.

    Node data are ``features``, float32, and ``labels``, int64; the split is a random one of 10, 10 and 80 %.

    - ``wordnet``: the synsets of WordNet 3.0, all relations merged, both directions.
    - ``wordnet-hetero``: synsets and words, 27 relations as WordNet has them; words have no node data.

    Raises:
        UnknownName: No such data set.
        DataError: The file is missing or damaged.
    """
    if name not in _BUNDLED:
        raise UnknownName(f"bundled data set {name!r} is not one of: {', '.join(_BUNDLED)}")
    return _BUNDLED[name]()


def _wordnet() -> GraphData:
    num_nodes, relations, node_data = _read_wordnet()
    pairs = [pair for (source, _, _), pair in relations.items() if source == "synset"]
    csc = symmetric_csc(*np.concatenate(pairs, axis=1), num_nodes["synset"])
    return GraphData({"synset": num_nodes["synset"]}, {("synset", "related", "synset"): csc}, {"synset": node_data},
                     splits={"synset": random_split(num_nodes["synset"])})


def _wordnet_hetero() -> GraphData:
    num_nodes, relations, node_data = _read_wordnet()
    csc = {etype: sorted_csc(*pair, num_nodes[etype[0]], num_nodes[etype[2]]) for etype, pair in relations.items()}
    return GraphData(num_nodes, csc, {"synset": node_data}, splits={"synset": random_split(num_nodes["synset"])})


def _read_wordnet() -> Heterogeneous:
    return decode_wordnet(read_bundle(bundled_file("wordnet/wordnet.npz"), _WORDNET_SHA256))


_BUNDLED = {"wordnet": _wordnet, "wordnet-hetero": _wordnet_hetero}


def bundled_file(name: str) -> Path:
    """Where a file of the top-level folder ``data`` lies, installed or in a source tree."""
    return Path(str(resources.files("mpignn"))) / "data" / name


def decode_wordnet(arrays: Mapping[str, np.ndarray]) -> Heterogeneous:
    """The inverse of ``bundle`` in ``data/wordnet/prepare.py``.

    Args:
        arrays: ``labels`` (S,), the lexicographer file of each synset; the non-zero signed word counts of the
            glosses as ``features_per_row`` (S,), ``feature_column`` (K,) and ``feature_count`` (K,); edges,
            relation after relation and sorted within each, as ``relations``, ``relation_sizes`` and the bytes of
            each source's step from the one before, ``src_step`` (4, M), and of destination minus source,
            ``dst_offset`` (4, M); ``reversed_relations``, pairs of a relation and the stored one that it is the
            reverse of; ``num_words``.

    Returns:
        The numbers of nodes; the (2, .) sources and destinations of each relation; the node data of the synsets,
        features (S, F) with rows of length 1.
    """
    per_row = arrays["features_per_row"]
    counts = np.zeros((per_row.size, WORDNET_DIM), np.int8)
    rows = np.repeat(np.arange(per_row.size), per_row)
    counts[rows, arrays["feature_column"]] = arrays["feature_count"]
    node_data = {"features": unit_rows(counts), "labels": arrays["labels"].astype(np.int64)}

    src = np.cumsum(_join_bytes(arrays["src_step"]))
    stored = np.split(np.stack([src, src + _join_bytes(arrays["dst_offset"])]), np.cumsum(arrays["relation_sizes"]), 1)
    pairs = dict(zip(arrays["relations"].tolist(), stored[:-1], strict=True))
    pairs |= {name: pairs[other][::-1] for name, other in arrays["reversed_relations"].tolist()}
    relations = {("word" if name == "sense_of" else "synset", name, "synset"): pairs[name] for name in sorted(pairs)}
    return {"synset": per_row.size, "word": int(arrays["num_words"])}, relations, node_data


def read_bundle(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a bundled file.

    Raises:
        DataError: The file is missing or not the one that was bundled.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: the program was installed without its data; install it again")
    with np.load(io.BytesIO(check_sha256(path, sha256)), allow_pickle=False) as bundle:
        return dict(bundle)


def _join_bytes(planes: np.ndarray) -> np.ndarray:
    """(M,) int64 out of (4, M) bytes, the lowest ones first."""
    return np.ascontiguousarray(planes.T).view("<i4").ravel().astype(np.int64)
