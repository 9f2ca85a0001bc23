"""What samplers tell of the sources of their blocks besides the ids, if they are asked to.

Shapes: S sources of a node type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpignn.graph.array_key import OUT
from mpignn.graph.block import Block
from mpignn.graph.types import EType
from mpignn.sampling.draw import Front, Workspace, read_fronts
from mpignn.sampling.fetch import RowReader, read_at_once
from mpignn.sampling.out import draw_out
from mpignn.sampling.rule import ALL, Rule
from mpignn.sampling.whole_rows import WholeRows, excluded
from mpignn.store.published import PublishedGraph


def tell_sources(graph: PublishedGraph, space: Workspace, fronts: Sequence[Front], rules: Mapping[EType, Rule],
                 blocks: Sequence[Sequence[Block]]) -> None:
    """Fill in original ids and degrees of all sources of the blocks of several batches.  Not collective.

    Args:
        graph: The graph.
        space: Memory for the results.
        fronts: Frontier of each batch after the last hop; the sources of each block are the first of its nodes.
        rules: Say which edges may be drawn, and so count.
        blocks: Blocks of each batch, written.
    """
    reader = RowReader(graph.transport)
    read_fronts(graph, space, fronts, graph.schema.etypes, reader)
    degrees = _degrees(graph, fronts, rules, reader)
    for front, of_front, made in zip(fronts, degrees, blocks, strict=True):
        leaving = _out_degrees(graph, front, rules)
        for block in made:
            block.src_orig = {t: ids.reshape(-1)[:block.num_src_nodes(t)] for t, ids in front.orig.items()}
            block.in_degrees = {e: count[:block.num_src_nodes(e[2])] for e, count in of_front.items()}
            block.out_degrees = {e: count[:block.num_src_nodes(e[0])] for e, count in leaving.items()}


def _degrees(graph: PublishedGraph, fronts: Sequence[Front], rules: Mapping[EType, Rule],
             reader: RowReader) -> list[dict[EType, np.ndarray]]:
    """(S,) int64 in-edges of each node that may be drawn, by edge type."""
    looking = {(n, e): WholeRows(graph, e, rule, front.bounds[e],
                                 None if front.times is None else front.times[e[2]], reader)
               for n, front in enumerate(fronts) for e, rule in rules.items() if rule.looks}
    reader.finish()
    for rows in looking.values():
        rows.ask_times(reader)
    reader.finish()
    found: list[dict[EType, np.ndarray]] = []
    for number, front in enumerate(fronts):
        found.append({})
        for etype, bounds in front.bounds.items():
            gone, taken = excluded(bounds, front.exclude.get(etype))
            if (number, etype) in looking:
                found[-1][etype] = looking[number, etype].count(gone, taken)
            else:
                found[-1][etype] = bounds[:, 1] - bounds[:, 0]
                if taken.size:
                    found[-1][etype] -= taken[:, 1] - taken[:, 0]
    return found


def _out_degrees(graph: PublishedGraph, front: Front, rules: Mapping[EType, Rule]) -> dict[EType, np.ndarray]:
    """(S,) int64 out-edges of each node that may be drawn, by edge type, where in-degrees do not tell of the sources.

    None where it depends on time: the times of the other ends are not known.
    """
    found = {}
    for etype, rule in rules.items():
        if etype[0] == etype[2] or etype not in graph.book.out_ranges or rule.timed:
            continue
        if rule.looks or etype in front.exclude:
            indptr, _, _ = draw_out(graph, front, {etype: replace(rule, fanout=ALL, replace=False)})[etype]
            found[etype] = np.diff(indptr)
        else:
            bounds = read_at_once(graph.transport, graph.adjacency(etype, OUT).rows, front.nodes[etype[0]])
            found[etype] = bounds[:, 1] - bounds[:, 0]
    return found
