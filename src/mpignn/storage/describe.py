"""What `mpignn info GRAPH` prints."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.graph.array_key import EDGE, NODE, ArrayKey
from mpignn.graph.types import etype_key
from mpignn.partition.report import balance_of_all
from mpignn.storage.degrees import in_degrees
from mpignn.storage.halo import halos
from mpignn.storage.read import GraphFile
from mpignn.storage.remote_share import remote_shares
from mpignn.storage.user_names import IdReader

_SHOWN_PARTS = 8
_SHOWN_NAMES = 5


def describe(path: str | Path, degrees: bool = False, fanouts: Sequence[int] = (), batch_size: int = 1000,
             halo: bool = False) -> str:
    """Sizes, data, splits, balance and edge cut of a partitioned graph, in lines.  Not collective.

    Args:
        path: The folder, or graph.h5 in it.
        degrees: Count the in-degrees, too.
        fanouts: Tell how much of what a batch samples so is remote, as `remote_shares` does; none: nothing of that.
        batch_size: Seeds of such a batch.
        halo: Tell what `--replicate halo` would copy, as `mpignn.storage.halo.halos` does.

    Raises:
        DataError: A graph that cannot be read.
    """
    with GraphFile(path) as graph:
        lines = list(_lines(graph, degrees))
        if halo:
            lines += _copied(graph)
        return "\n".join(lines + list(_sampled(graph, fanouts, batch_size) if fanouts else ()))


def _lines(graph: GraphFile, degrees: bool) -> Iterable[str]:
    report, data = graph.report, _data(graph)
    files = [graph.path, *graph.part_paths]
    yield (f"{graph.path.parent}: {graph.num_parts} partitions, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB, "
           f"graph id {graph.graph_id}")
    for ntype in graph.schema.ntypes:
        of = report["nodes"][ntype]
        yield f"nodes {ntype}: {of['count']:,}{''.join(data[NODE, ntype])}"
        yield f"  per partition {_parts(of['per_part'])}, balance {of['balance']:.3f}"
        yield f"  halo {_parts(of['halo'])}"
        yield from _ids(graph, ntype)
        yield from _classes(graph, ntype)
        yield from _splits(report, ntype)
    for etype in graph.schema.etypes:
        key = etype_key(etype)
        of = report["edges"][key]
        yield f"edges {key}: {of['count']:,}{''.join(data[EDGE, key])}"
        yield (f"  per partition {_parts(of['per_part'])}, balance {of['balance']:.3f}; cut {of['cut']:,} "
               f"({of['cut_share']:.1%}), of neighbors drawn {of['remote_share']:.1%}")
        if degrees:
            found = in_degrees(graph, etype)
            yield f"  in-degrees {found.text()}; at most {found.largest:,}"
        yield from _classes(graph, key)
        yield from _splits(report, key)
    if len(report["nodes"]) + len(report["edges"]) > 2:
        yield (f"of all types: balance of nodes {balance_of_all(report, 'nodes'):.3f}, of edges "
               f"{balance_of_all(report, 'edges'):.3f}")
    if graph.tables is not None:
        yield (f"made of tables; new ones become such a graph by `mpignn partition NEW OUT --parts P --like "
               f"{graph.path.parent}`")
    yield (f"edge cut {report['cut_share']:.1%}; of the neighbors that uniform sampling picks, "
           f"{report['remote_share']:.1%} are of another partition")


def _copied(graph: GraphFile) -> Iterable[str]:
    found, book = halos(graph), graph.book
    whole = 8 * book.num_nodes() + sum(
        8 * book.num_nodes(e[2]) + graph.infos[ArrayKey.edge(e, "indices").path].dtype.itemsize * book.num_edges(e)
        for e in graph.schema.etypes)
    yield "with --replicate halo, where each partition is on a node of its own, that node copies of the others"
    yield f"  nodes {_parts([each.nodes for each in found])}, their in-edges {_parts([each.edges for each in found])}"
    yield (f"  {_parts([round(each.nbytes / 1e6, 1) for each in found])} MB; the structure of the whole graph, for "
           f"--replicate topology, is {whole / 1e6:,.1f} MB")


def _sampled(graph: GraphFile, fanouts: Sequence[int], batch_size: int) -> Iterable[str]:
    found = remote_shares(graph, fanouts, batch_size)
    seeds = "training nodes" if found.of_training else "nodes"
    yield f"batches of {found.num_seeds:,.0f} {seeds}, those of a batch in one partition; on average:"
    for number, (fanout, hop) in enumerate(zip(reversed(fanouts), found.hops, strict=True), 1):
        yield (f"  hop {number}, fanout {fanout}: {hop.count:,.0f} edges, {hop.share:.1%} of them from another "
               "partition")
    yield f"  features of {found.inputs.count:,.0f} nodes, {found.inputs.share:.1%} of them in another partition"


def _ids(graph: GraphFile, ntype: str) -> Iterable[str]:
    stored = graph.user_names.ids.get(ntype)
    if stored is not None:
        count = graph.book.num_nodes(ntype)
        first = IdReader(stored).read(np.arange(min(_SHOWN_NAMES, count)))
        yield f"  ids of your own: {_first(first.of(0, len(first)), count)}"


def _classes(graph: GraphFile, key: str) -> Iterable[str]:
    for name, texts in graph.user_names.classes.get(key, {}).items():
        yield f"  {len(texts)} classes of {name}: {_first(texts[:_SHOWN_NAMES], len(texts))}"


def _first(names: Sequence[object], count: int) -> str:
    """The first names of so many."""
    return ", ".join(map(str, names)) + (", ..." if len(names) < count else "")


def _splits(report: Mapping[str, Any], key: str) -> Iterable[str]:
    for name, of in report["splits"].get(key, {}).items():
        yield f"  split {name}: {of['count']:,}, per partition {_parts(of['per_part'])}, balance {of['balance']:.3f}"
    if report["overlap"].get(key):
        yield f"  {report['overlap'][key]:,} ids are in more than one split"


def _data(graph: GraphFile) -> Mapping[tuple[str, str], list[str]]:
    """What each type has of data, by kind and type."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, info in graph.infos.items():
        key = ArrayKey.parse(path)
        if key.data_name is not None:
            found[key.kind, key.owner].append(f"; {key.data_name} {info.dtype} {list(info.row_shape) or ''}".rstrip())
    return found


def _parts(counts: Sequence[float]) -> str:
    """The counts; of many, the smallest and the largest."""
    if len(counts) <= _SHOWN_PARTS:
        return " ".join(f"{n:,}" for n in counts)
    return f"{min(counts):,} to {max(counts):,}"
