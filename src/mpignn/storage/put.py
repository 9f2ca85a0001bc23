"""Arrays that are added to a graph when it is partitioned, or take the place of some that it has.

Shapes: N nodes, E edges of a type.
"""

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.errors import ConfigError
from mpignn.graph.likeness import one_of
from mpignn.graph.types import ETYPE, NTYPE, GraphData, Schema, V, etype_key
from mpignn.storage.canonical import as_array, canonical
from mpignn.storage.forms.npy import read_npy
from mpignn.storage.named_arrays import STRUCTURE, flat, typed
from mpignn.storage.user_names import named_arrays
from mpignn.storage.validate import chunks

log = logging.getLogger(__name__)

_FORMS = "node/TYPE/NAME, edge/SRC:REL:DST/data/NAME or split/TYPE/NAME"
_FLAT_FORMS = "NAME, edge_NAME, NAME_mask"
_WHERE = "put"


def with_arrays(data: GraphData, put: Mapping[str, object], keep_dtype: bool = False,
                tables: str | Path | None = None) -> GraphData:
    """A graph with more data and splits, or with others under the same names.  Not collective.

    Names of classes go with the labels that they are of; and what is known of the tables that data was made of, with
    any of that data, since new tables would not become what took its place.

    Args:
        data: The graph, canonical.
        put: Arrays, or paths of .npy files, in original ids, by the names that they have in an .npz file, as
            `mpignn.storage.named_arrays` lists them.  Edges of a graph that was partitioned before are numbered by
            destination, then by source, both by original id, and equal ones in the order of the source.
        keep_dtype: As for `canonical`.
        tables: A TOML file that describes tables of nodes, with the users' ids, as `mpignn.tables.more` reads them.

    Raises:
        ConfigError: A name that means nothing in this graph, is there twice, or is that of its structure.
        DataError: A file that cannot be read, or an array or table that does not fit.
    """
    if not put and tables is None:
        return data
    for name in put:
        _check_name(name, data.schema)
    arrays = {name: _array(name, found) for name, found in put.items()}
    found = [_flat(data, {name: array for name, array in arrays.items() if "/" not in name}),
             _typed(data, {name: array for name, array in arrays.items() if "/" in name})]
    if tables is not None:
        from mpignn.tables.more import read_more  # here, for who puts arrays needs no Apache Arrow

        found.append(read_more(Path(tables), data, keep_dtype))
    new_arrays = _each_once(found)
    splits = _merged(data.splits, *(some.splits for some in found))
    new = [canonical(replace(some, splits=splits), keep_dtype) for some in found]
    before = data.partitioning
    return replace(data, node_data=_merged(data.node_data, *(some.node_data for some in new)),
                   edge_data=_merged(data.edge_data, *(some.edge_data for some in new)), splits=splits,
                   class_names=_merged(_kept_names(data, new), *(some.class_names for some in new)),
                   tables=_kept_tables(data, new),
                   partitioning=before and replace(before, source_id=_other_id(before.source_id, new_arrays)))


def _check_name(name: str, schema: Schema) -> None:
    etypes = [etype_key(etype) for etype in schema.etypes]
    unnamed = schema == Schema((NTYPE,), (ETYPE,))
    match name.split("/"):
        case ["node", key, _]:
            known = list(schema.ntypes)
        case ["edge", key, "data", _]:
            known = etypes
        case ["split", key, _]:
            known = [*schema.ntypes, *etypes]
        case [_] if unnamed and name not in STRUCTURE:
            return
        case _:
            forms = f"{_FLAT_FORMS}, {_FORMS}" if unnamed else _FORMS
            raise ConfigError(f"put {name!r}: what can be put is named {forms}; nodes and edges stay as they are")
    if key not in known:
        raise ConfigError(f"put {name!r}: {key!r} is not {one_of(key, known)}")


def _array(name: str, given: object) -> np.ndarray:
    if not isinstance(given, str | os.PathLike):
        return as_array(given, f"{_WHERE}: {name}")
    if not str(given).endswith(".npy"):
        raise ConfigError(f"put {name}={given}: expected an .npy file; numpy.save('new.npy', array) writes one")
    return read_npy(Path(given))


def _flat(data: GraphData, arrays: Mapping[str, np.ndarray]) -> GraphData:
    """The arrays of a graph whose types have no names, as a graph with nothing else."""
    if not arrays:
        return GraphData(data.num_nodes, data.csc)
    csc = data.csc[ETYPE]
    return replace(flat({"indptr": csc.indptr, "indices": csc.indices, **arrays}, _WHERE), csc=data.csc)


def _typed(data: GraphData, arrays: Mapping[str, np.ndarray]) -> GraphData:
    """The same of arrays with types in their names."""
    structure = {f"num_nodes/{ntype}": np.array(count) for ntype, count in data.num_nodes.items()}
    for etype, csc in data.csc.items():
        structure |= {f"edge/{etype_key(etype)}/indptr": csc.indptr, f"edge/{etype_key(etype)}/indices": csc.indices}
    return replace(typed({**structure, **arrays}, _WHERE), csc=data.csc)


def _merged(*by_type: Mapping[Any, Mapping[str, V]]) -> dict[Any, dict[str, V]]:
    """Named things by type; the last that has a name counts."""
    found: dict[Any, dict[str, V]] = {}
    for named in by_type:
        for key, some in named.items():
            found[key] = {**found.get(key, {}), **some}
    return found


def _each_once(found: Iterable[GraphData]) -> dict[str, np.ndarray]:
    """All data, splits and names of some graphs by name; raises `ConfigError` if one is in two of them."""
    arrays: dict[str, np.ndarray] = {}
    for some in found:
        named = {f"node/{ntype}/{name}": array for ntype, of in some.node_data.items() for name, array in of.items()}
        named |= {f"edge/{etype_key(etype)}/data/{name}": array for etype, of in some.edge_data.items()
                  for name, array in of.items()}
        named |= {f"split/{key}/{name}": ids for key, of in some.splits.items() for name, ids in of.items()}
        for name in sorted(named.keys() & arrays.keys()):
            raise ConfigError(f"put {name!r} is there twice, under two names or in a table, too: leave one out")
        arrays |= named | dict(named_arrays(some))
    return arrays


def _kept_names(data: GraphData, new: Iterable[GraphData]) -> dict[str, dict[str, tuple[str, ...]]]:
    """The names of classes of what was not replaced."""
    replaced = {place for some in new for place in _places(some)}
    kept: dict[str, dict[str, tuple[str, ...]]] = {}
    for key, named in data.class_names.items():
        for name, texts in named.items():
            if (key, name) in replaced:
                log.warning("%s/%s: the %d names of its classes were those of the labels that it replaces, and are "
                            "left out", key, name, len(texts))
            else:
                kept.setdefault(key, {})[name] = texts
    return kept


def _kept_tables(data: GraphData, new: Iterable[GraphData]) -> Mapping[str, Any] | None:
    """How the data was made of tables, if all that was made is still there."""
    replaced = sorted(set(_places(data)) & {place for some in new for place in _places(some)})
    if data.tables is None or not replaced:
        return data.tables
    log.warning("%s was made of tables and is replaced, so no new tables can be made like this graph (--like)",
                "/".join(replaced[0]))
    return None


def _places(data: GraphData) -> Iterator[tuple[str, str]]:
    """Type and name of all data."""
    yield from ((ntype, name) for ntype, named in data.node_data.items() for name in named)
    yield from ((etype_key(etype), name) for etype, named in data.edge_data.items() for name in named)


def _other_id(source_id: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Hash of a source whose own hash is known, with other arrays."""
    digest = hashlib.blake2b(source_id.encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        for _, rows in chunks(np.atleast_1d(array)):
            digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()
