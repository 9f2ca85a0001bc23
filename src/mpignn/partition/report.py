"""How good a partitioning is: edge cut, halo, balance.

Shapes: P partitions, R rows, e edges in them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mpignn.graph.bits import Bits
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import EType, etype_key

Tally = tuple[Mapping[EType, int], Mapping[EType, tuple[float, int]], Mapping[str, int]]     # cut, remote, halo


class PartTally:
    """Counts, while the edges of one partition go by, how many of their sources are elsewhere.

    Attributes:
        cut: Edges of each type whose source another partition owns.
        remote: For each edge type, the sum over the rows that have in-edges of the share of these that are cut,
            and the number of such rows.
    """

    def __init__(self, book: RangePartitionBook, part: int) -> None:
        self._book = book
        self._part = part
        self._halo = {t: np.zeros(book.num_nodes(t), bool) for t in {e[0] for e in book.canonical_etypes}}
        self.cut = dict.fromkeys(book.canonical_etypes, 0)
        self.remote = dict.fromkeys(book.canonical_etypes, (0.0, 0))

    def add(self, etype: EType, degree: np.ndarray, sources: np.ndarray) -> None:
        """Count some rows.

        Args:
            degree: (R,) int64 in-degrees.
            sources: (e,) new ids of the sources, row after row.
        """
        ranges = self._book.node_ranges[etype[0]]
        outside = (sources < ranges[self._part]) | (sources >= ranges[self._part + 1])
        self._halo[etype[0]][sources[outside]] = True
        running = np.concatenate([[0], np.cumsum(outside)])
        end = np.cumsum(degree)
        cut = running[end] - running[end - degree]
        filled = degree > 0
        total, rows = self.remote[etype]
        self.remote[etype] = (total + float((cut[filled] / degree[filled]).sum()), rows + int(filled.sum()))
        self.cut[etype] += int(running[-1])

    def halo(self) -> dict[str, int]:
        """Nodes of each type that another partition owns and an edge of this one starts from."""
        return {t: int(seen.sum()) for t, seen in self._halo.items()}


def make_report(book: RangePartitionBook, tallies: Sequence[Tally],
                splits: Mapping[str, Mapping[str, Iterable[np.ndarray]]]) -> dict[str, Any]:
    """What is written to /report and printed.

    Args:
        tallies: ``(cut, remote, halo())`` of the `PartTally` of each partition.
        splits: New ids of each split, some at a time and each once, by node type or key of an edge type.

    Returns:
        A dict that JSON can hold.  ``balance`` is the largest partition over the mean; ``cut_share`` the share of
        edges whose source another partition owns; ``remote_share`` the share of the neighbors of an evenly drawn
        destination that another partition owns: what uniform sampling fetches; ``overlap`` the ids that are in more
        than one split.
    """
    report: dict[str, Any] = {"num_parts": book.num_partitions(), "nodes": {}, "edges": {}, "splits": {}, "overlap": {}}
    for ntype in book.ntypes:
        report["nodes"][ntype] = {**_balance(np.diff(book.node_ranges[ntype])),
                                  "halo": [halo.get(ntype, 0) for _, _, halo in tallies]}
    for etype in book.canonical_etypes:
        cut = sum(part_cut[etype] for part_cut, _, _ in tallies)
        remote = [part_remote[etype] for _, part_remote, _ in tallies]
        report["edges"][etype_key(etype)] = {
            **_balance(np.diff(book.edge_ranges[etype])), "cut": cut, "cut_share": _share(cut, book.num_edges(etype)),
            "remote_share": _share(sum(s for s, _ in remote), sum(n for _, n in remote))}
    for key, named in splits.items():
        ranges = book.node_ranges[key] if key in book.node_ranges else book.edge_ranges[book.to_canonical_etype(key)]
        tally = _SplitTally(ranges)
        report["splits"][key] = {name: _balance(tally.per_part(pieces)) for name, pieces in named.items()}
        report["overlap"][key] = tally.overlap
    every = [part_remote[e] for _, part_remote, _ in tallies for e in book.canonical_etypes]
    report["cut_share"] = _share(sum(e["cut"] for e in report["edges"].values()), book.num_edges())
    report["remote_share"] = _share(sum(s for s, _ in every), sum(n for _, n in every))
    return report


def balance_of_all(report: Mapping[str, Any], what: str) -> float:
    """The largest partition over the mean, in ``nodes`` or ``edges`` of all types together.  Not collective."""
    found: float = _balance(np.sum([of["per_part"] for of in report[what].values()], axis=0))["balance"]
    return found


class _SplitTally:
    """Counts the splits of a type, which go by one after the other.

    Attributes:
        overlap: How many ids were in more than one.
    """

    def __init__(self, ranges: np.ndarray) -> None:
        self.overlap = 0
        self._ranges = ranges
        self._once, self._again = Bits(int(ranges[-1])), Bits(int(ranges[-1]))

    def per_part(self, pieces: Iterable[np.ndarray]) -> np.ndarray:
        """(P,) how many ids of a split each partition has."""
        counts = np.zeros(self._ranges.size - 1, np.int64)
        for ids in pieces:
            counts += np.bincount(np.searchsorted(self._ranges, ids, side="right") - 1, minlength=counts.size)
            repeated = ids[self._once.marked(ids)]
            self.overlap += int(np.count_nonzero(~self._again.marked(repeated)))
            self._again.mark(repeated)
            self._once.mark(ids)
        return counts


def _balance(per_part: np.ndarray) -> dict[str, Any]:
    total = int(per_part.sum())
    return {"count": total, "per_part": per_part.tolist(),
            "balance": float(per_part.max() * per_part.size / total) if total else 1.0}


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0
