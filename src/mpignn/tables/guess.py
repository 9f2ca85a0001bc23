"""A first description of the tables of a folder, or of one table of edges, by names of files and columns.

Values are looked at where names leave open what they mean: which nodes the ends of edges are.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mpignn.errors import DataError
from mpignn.graph.likeness import SPLITS
from mpignn.graph.types import EType, etype_key
from mpignn.tables.column_names import (
    ENDS,
    LABELS,
    RELATIONS,
    SPLIT_COLUMNS,
    TIMES,
    WEIGHTS,
    are_surely_ends,
    ends_by_name,
    id_column,
    is_called_as_table,
    singular,
    words,
)
from mpignn.tables.description import (
    ANY,
    USUAL_SHARES,
    ByColumn,
    ByMask,
    Column,
    Description,
    Edges,
    Nodes,
    Split,
    split_columns,
    split_of,
)
from mpignn.tables.formats import ending
from mpignn.tables.kinds import is_list, is_number, is_text
from mpignn.tables.left_out import note, note_of_text, told
from mpignn.tables.nameless import of_two_columns, parts_of, sheets_of
from mpignn.tables.sheet import Sheet
from mpignn.tables.toml import checked, comment, to_toml

log = logging.getLogger(__name__)

_FEW = 50           # values of a text, of which columns can well be made
_FOR_PEOPLE = ("readme", "license", "licence", "notes", "changelog", "requirements")
_ALL_NODES, _ALL_EDGES = "node", "edge"         # names of types where the tables give none
_PLAIN_NODES = ("node", "vertex", "vertice")
_PLAIN_EDGES = ("edge", "link", "graph", "edgelist", "relation")


@dataclass(frozen=True)
class Guess:
    """What tables seem to mean.

    Attributes:
        description: As far as it is clear.
        problems: Tables that are not in it, each with why, and what to write.
        doubts: What may be otherwise, and what to write then.
    """

    description: Description
    problems: tuple[str, ...]
    doubts: tuple[str, ...]


def guess(path: Path) -> Guess:
    """Look at the tables of a folder, or at one table of edges.  Not collective.

    Raises:
        DataError: There is no table, or one cannot be read.
    """
    sheets = sheets_of(tables_at(path))
    for sheet in sheets:
        names = sheet.table.names
        if all(name.strip().lstrip("-").replace(".", "").isdigit() for name in names):
            raise DataError(f"{sheet.path}: its first line is {', '.join(names)}, which are no names of columns: "
                            "write a first line such as: src,dst, or into graph.toml header = [\"src\", \"dst\"]")
    if path.is_dir():
        return _of_sheets(path, sheets)
    return _of_sheets(path, sheets, one_table=True)


def is_table(path: Path) -> bool:
    """Whether a path is that of a table, by its name.  Not collective."""
    return ending(path) is not None


def has_tables(folder: Path) -> bool:
    """Whether there are tables in a folder.  Not collective."""
    return any(_is_table(entry) for entry in folder.iterdir())


def describe(path: Path) -> str:
    """The text of a TOML file that describes the tables of a folder, with remarks on what is not clear.

    Not collective.

    Raises:
        DataError: There is no table, or one cannot be read.
    """
    found = guess(path)
    return "".join(f"{comment(remark)}\n" for remark in (*found.problems, *found.doubts)) + to_toml(found.description)


def guessed(path: Path) -> Description:
    """The description of tables that are clear.  Not collective.

    Raises:
        DataError: Something is not, or there are no edges; says what to write where.
    """
    found = guess(path)
    for problem in found.problems:
        more = "" if path.is_file() else f"; `mpignn describe {path} > graph.toml` writes the rest"
        raise DataError(f"{problem}{more}, and `mpignn partition graph.toml GRAPH` takes it")
    if not found.description.edges:
        seen = ", ".join(str(file) for nodes in found.description.nodes.values() for file in nodes.files)
        raise DataError(f"{path}: these are tables of nodes: {seen}; there is none of edges, such as edges.csv with "
                        "columns src and dst")
    for line in (*found.doubts, *told(path, found.description)):
        log.warning("%s", line)
    return checked(found.description)


def tables_at(path: Path) -> list[Path]:
    """The table at a path, or those of a folder in the order of their names.  Not collective.

    Raises:
        DataError: There is none.
    """
    if path.is_file():
        return [path]
    found = sorted(entry for entry in path.iterdir() if _is_table(entry))
    # What is text beside other tables is there to be read by people.
    found = [entry for entry in found if ending(entry) != ".txt"] or found
    # So is what is text beside the splits of a knowledge graph.
    parts = {file for files in parts_of(found).values() for file in files.values() if ending(file) == ".txt"}
    found = [entry for entry in found if not parts or ending(entry) != ".txt" or entry in parts]
    if not found:
        raise DataError(f"{path}: there is no table in it; expected files such as nodes.csv and edges.csv")
    return found


def _is_table(entry: Path) -> bool:
    if entry.name.startswith((".", "_")) or entry.stem.casefold() in _FOR_PEOPLE:
        return False
    if entry.is_dir():
        inside = [file for file in entry.iterdir() if not file.name.startswith((".", "_"))]
        return ending(entry) is not None or (
            bool(inside) and all(file.is_file() and ending(file) is not None for file in inside))
    return ending(entry) is not None


def _of_sheets(path: Path, sheets: Sequence[Sheet], one_table: bool = False) -> Guess:
    by_ends = {sheet.path: ends_by_name(sheet.names) for sheet in sheets}
    of_nodes: dict[str, tuple[Sheet, str | None]] = {}
    others, problems, doubts = [], [], []
    for sheet in sheets:
        if one_table or not _is_of_nodes(sheet, by_ends[sheet.path]):
            others.append(sheet)
            continue
        ntype = _ALL_NODES if _is_called(sheet, _PLAIN_NODES) else singular(sheet.stem)
        if ntype in of_nodes:
            problems.append(_twice(of_nodes[ntype][0].path, sheet.path, ntype))
        else:
            of_nodes[ntype] = sheet, id_column(sheet.names, sheet.stem)
    edges: dict[EType, Edges] = {}
    for sheet in others:
        sheet, ends, doubt = of_two_columns(sheet, by_ends[sheet.path] or _ends_by_type(sheet, of_nodes),
                                            [(of, name) for of, name in of_nodes.values() if name is not None])
        doubts += doubt
        relation = _relation_column(sheet)
        types = None if ends is None else [_type_of(sheet, column, of_nodes) for column in ends]
        if ends is None:
            problems.append(_what_is_it(sheet))
        elif types is None or None in types:
            problems.append(_whose_ends(sheet, ends, of_nodes))
        else:
            src, dst = (str(ntype) for ntype in types)
            etype = src, _relation(sheet.stem, src, dst) if relation is None else ANY, dst
            if etype in edges:
                problems.append(_twice(edges[etype].files[0], sheet.path, etype_key(etype)))
            else:
                edges[etype] = _edges(sheet, ends, relation, etype)
    nodes = {ntype: _nodes(sheet, column, of_nodes) for ntype, (sheet, column) in of_nodes.items()}
    has_labels = any(table.labels for table in (*nodes.values(), *edges.values()))
    has_split = any(table.split for table in (*nodes.values(), *edges.values()))
    if edges and not has_labels and not has_split:
        largest = max(edges, key=lambda etype: sum(_size(file) for file in edges[etype].files))
        edges[largest] = replace(edges[largest], split=USUAL_SHARES, notes=(
            "there are no labels: these edges are to be predicted, train --task link_prediction",
            *edges[largest].notes))
    return Guess(Description(str(path), nodes, edges), tuple(problems), tuple(doubts))


def _is_of_nodes(sheet: Sheet, ends: tuple[str, str] | None) -> bool:
    """Whether a table has nodes as rows; ``ends`` are columns that could be those of edges."""
    column = id_column(sheet.names, sheet.stem)
    if ends is None or _is_called(sheet, _PLAIN_NODES):
        return column is not None or _is_called(sheet, _PLAIN_NODES)
    # Edges may have ids, too.
    if column is None or column in ends or _is_called(sheet, _PLAIN_EDGES) or are_surely_ends(ends):
        return False
    return is_called_as_table(column, sheet.stem)


def _is_called(sheet: Sheet, names: Sequence[str]) -> bool:
    return singular(sheet.stem.casefold()) in names


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())


_OfNodes = Mapping[str, tuple[Sheet, str | None]]


def _ends_by_type(sheet: Sheet, of_nodes: _OfNodes) -> tuple[str, str] | None:
    """The only two columns that are called as types of nodes are."""
    found = [name for name in sheet.names if _hint(name, of_nodes) in of_nodes]
    if len(found) != 2:
        found = [name for name in sheet.names if words(name)[-1:] == ["id"] and len(words(name)) > 1]
    return (found[0], found[1]) if len(found) == 2 else None


def _relation_column(sheet: Sheet) -> str | None:
    """The column that seems to name the relation of each edge."""
    if "relation" in sheet.header:
        return "relation"
    by_words = {"_".join(words(name)): name for name in reversed(sheet.names)}
    found = next((by_words[name] for name in RELATIONS if name in by_words), None)
    return found if found is not None and is_text(sheet.kind(found)) and _repeats(sheet, found) else None


def _repeats(sheet: Sheet, column: str) -> bool:
    """Whether the values of a column are few, or come again and again, as those of relations do."""
    return len(sheet.sample(column)) > 0 and _are_classes(sheet, column)


def _are_classes(sheet: Sheet, column: str) -> bool:
    """The same, or none are known."""
    sample = sheet.sample(column)
    return len(pc.unique(sample)) <= max(_FEW, len(sample) // 2)


def _hint(column: str, of_nodes: _OfNodes) -> str | None:
    """The type of nodes that the name of a column tells, whether it is known or not."""
    rest = [word for word in words(column) if word not in ENDS and word not in ("id", "ids", "key", "node", "index")
            and not word.isdigit()]
    if not rest:
        return None
    known = {ntype.casefold(): ntype for ntype in of_nodes}
    name = singular("_".join(rest))
    return known.get(name, name)


def _type_of(sheet: Sheet, column: str, of_nodes: _OfNodes) -> str | None:
    """The type of the nodes that a column names; None: not clear."""
    hint = _hint(column, of_nodes)
    if hint in of_nodes:
        return hint
    if not of_nodes:
        return hint or _ALL_NODES
    if len(of_nodes) == 1 and hint is None:
        return next(iter(of_nodes))
    with_ids = {ntype: (of, name) for ntype, (of, name) in of_nodes.items() if name is not None}
    sample = sheet.sample(column)
    shares = {ntype: _share(sample, of, name) for ntype, (of, name) in with_ids.items()}
    best = max(shares.values(), default=0)
    found = [ntype for ntype, share in shares.items() if share == best]
    if best >= 0.5 and len(found) == 1:
        return found[0]
    return hint if best == 0 else None


def _share(sample: pa.Array, sheet: Sheet, column: str) -> float:
    """How much of a sample is among the values of a column."""
    if not len(sample):
        return 0
    found = pa.array([False] * len(sample))
    for block in sheet.table.batches([column], {column: pa.string()}):
        found = pc.or_(found, pc.is_in(sample, block.columns[column]))
    return float(pc.mean(found.cast(pa.int8())).as_py())


def _relation(stem: str, src: str, dst: str) -> str:
    """The name of the edges of a table, by its name."""
    if singular(stem.casefold()) in _PLAIN_EDGES:
        return _ALL_EDGES
    between = [word for word in words(stem) if singular(word) not in (src.casefold(), dst.casefold())]
    parts = words(stem)
    named_by_ends = len(parts) > 2 and singular(parts[0]) == src.casefold() and singular(parts[-1]) == dst.casefold()
    name = "_".join(between) if named_by_ends and between else stem
    return name.replace(":", "_").replace("/", "_")


def _nodes(sheet: Sheet, column: str | None, of_nodes: _OfNodes) -> Nodes:
    features, notes, labels = [], list(sheet.notes), None
    split, large = sheet.split or _by_masks(sheet), sheet.large([name for name in sheet.names if name != column])
    masks = split_columns(split)
    for name in sheet.names:
        kind, plain = sheet.kind(name), "_".join(words(name))
        if name == column or name in masks:
            continue
        if labels is None and plain in LABELS and (is_number(kind) or is_text(kind) and _are_classes(sheet, name)):
            labels = name
        elif split is None and plain in SPLIT_COLUMNS and _tells_split(sheet, name):
            split = ByColumn(name)
        elif _hint(name, of_nodes) in of_nodes and words(name)[-1:] == ["id"]:
            notes.append(note(name, f"ids of {_hint(name, of_nodes)}",
                              f'they may be edges, too, of this file, src = "{column}", dst = "{name}"'))
        elif words(name)[-1:] in (["id"], ["ids"]):
            notes.append(note(name, "which seems to hold ids"))
        elif _is_feature(kind):
            features.append(Column(name, "standard") if name in large else Column(name))
        else:
            notes.append(note_of_text(name, sheet.sample(name), _FEW) if is_text(kind) else
                         note(name, f"of type {kind}"))
    if labels is not None and split is None:
        split = USUAL_SHARES
    return Nodes(files=sheet.files, header=sheet.header, id=column, features=tuple(features),
                 labels=() if labels is None else (labels,), split=split, notes=tuple(notes))


def _is_feature(kind: pa.DataType) -> bool:
    if is_list(kind):
        kind = kind.value_type
    return is_number(kind) and not (pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _edges(sheet: Sheet, ends: tuple[str, str], relation: str | None, etype: EType) -> Edges:
    src, name_of_type, dst = etype
    found = Edges(files=sheet.files, header=sheet.header, src=ends[0], dst=ends[1], relation=relation,
                  split=sheet.split)
    notes = list(sheet.notes)
    if sheet.split is not None:
        notes.append("the files are splits: these edges are to be predicted, train --task link_prediction")
    for name in sheet.names:
        kind, plain = sheet.kind(name), "_".join(words(name))
        if name in (*ends, relation):
            continue
        if found.weights is None and plain in WEIGHTS and is_number(kind):
            found = replace(found, weights=name)
        elif found.time is None and plain in TIMES and is_number(kind):
            found = replace(found, time=name)
        elif not found.labels and plain in LABELS and (is_number(kind) or is_text(kind)):
            found = replace(found, labels=(name,))
        elif found.split is None and plain in SPLIT_COLUMNS and _tells_split(sheet, name):
            found = replace(found, split=ByColumn(name))
        elif is_number(kind) and not set(name) & set(":/") and words(name)[-1:] != ["id"]:
            found = replace(found, data={**found.data, name: Column(name)})
        else:
            notes.append(note(name, f"of type {kind}"))
    if found.labels and found.split is None:
        found = replace(found, split=USUAL_SHARES)
    named = f'reverse = "rev_{name_of_type}"'
    notes.append(f"also the other way round: {named if src != dst or relation is not None else 'reverse = true'}")
    return replace(found, notes=tuple(notes))


def _by_masks(sheet: Sheet) -> Split | None:
    """The split that columns such as ``train_mask`` tell."""
    by_words = {tuple(words(name)): name for name in sheet.names if is_number(sheet.kind(name))}
    found = [(split, by_words[split, "mask"]) for split in SPLITS if (split, "mask") in by_words]
    return ByMask(tuple(found)) if found else None


def _tells_split(sheet: Sheet, column: str) -> bool:
    if not is_text(sheet.kind(column)):
        return False
    return all(split_of(text) is not None for text in pc.unique(sheet.sample(column)).to_pylist())


def _twice(one: Path, other: Path, name: str) -> str:
    return (f"{one} and {other} are both {name}: name one otherwise, or write into graph.toml the one, or both as one "
            f'table: files = ["{one}", "{other}"]')


def _what_is_it(sheet: Sheet) -> str:
    columns = ", ".join(sheet.names)
    return (f"{sheet.path}: are these nodes or edges? Its columns are {columns}. Write into graph.toml: "
            f'[nodes.{singular(sheet.stem)}] with files = "{sheet.path}" and id = one of the columns, or '
            f'[edges."SOURCE:{sheet.stem}:DESTINATION"] with files, src = and dst = one of the columns')


def _whose_ends(sheet: Sheet, ends: tuple[str, str], of_nodes: _OfNodes) -> str:
    return (f"{sheet.path}: which nodes are {ends[0]} and {ends[1]}? The node types are {', '.join(of_nodes)}. Write "
            f'into graph.toml: [edges."SOURCE:{sheet.stem}:DESTINATION"] with files = "{sheet.path}", src = '
            f'"{ends[0]}", dst = "{ends[1]}"')
