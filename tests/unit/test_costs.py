"""The formulas of docs/concepts/costs.md against what is made."""

import pickle
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema, etype_key
from mpignn.mpi.layout import lay_out
from mpignn.roles import Topology, assign_roles
from mpignn.store.cut import place

SHAPES = [(nodes, parts, relations) for nodes, parts in ((2, 3), (40, 40), (100, 30)) for relations in (2, 60)]


@contextmanager
def taken():
    """How many bytes Python objects have come to take in the block; a list of one number once it has ended."""
    found = []
    tracemalloc.start()
    yield found
    found.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()


def job(nodes, parts, relations):
    """Three ranks on each node, one of them serves; a graph of five node types."""
    ntypes = tuple(f"type {n}" for n in range(5))
    etypes = tuple((ntypes[n % 5], f"relation {n}", ntypes[n % 3]) for n in range(relations))
    book = RangePartitionBook(Schema(ntypes, etypes), {t: np.arange(parts + 1) * 1_000_003 for t in ntypes},
                              {e: np.arange(parts + 1) * 10_000_019 for e in etypes})
    named = [(f"node/{t}/{what}", shape) for t in ntypes for what, shape in (
        ("orig_id", ()), ("new_id", ()), ("data/features", (128,)), ("data/labels", ()))]
    named += [(f"edge/{etype_key(e)}/{what}", ()) for e in etypes for what in ("indptr", "indices")]
    infos = {name: ArrayInfo(name, np.dtype(np.int64), shape) for name, shape in named}
    hosts = tuple(rank // 3 for rank in range(3 * nodes))
    return book, infos, Topology(hosts, assign_roles(hosts))


@pytest.mark.parametrize(("nodes", "parts", "relations"), SHAPES)
def test_what_ranks_hold_and_are_sent(nodes, parts, relations):
    book, infos, topology = job(nodes, parts, relations)
    servers, arrays = len(topology.server_ranks), len(infos)
    made = place(book, infos, topology, lambda etype, row, direction="in": 10 * row + 1)
    held = sum(ranges.nbytes for ranges in (*book.node_ranges.values(), *book.edge_ranges.values()))
    assert held == 8 * (parts + 1) * (5 + relations)
    sent = len(pickle.dumps(made)) - held
    assert sent <= 60 * relations * servers + 300 * arrays + 100 * len(topology.node_of_rank) + 2000
    with taken() as cuts:
        specs = made.specs(0)
    assert cuts[0] <= 40 * (5 + relations) * servers + 800 * arrays
    with taken() as layout:
        lay_out(specs, topology, nodes - 1)
    assert layout[0] <= 100 * arrays + 2000


@pytest.mark.parametrize(("nodes", "parts"), [(4, 4), (4, 8), (4, 3), (9, 4)])
def test_numbers_read_where_servers_cut(nodes, parts):
    book, infos, topology = job(nodes, parts, 7)
    read = []
    place(book, infos, topology, lambda etype, row, direction="in": read.append(row) or row)
    within = [row for row in read if row % 1_000_003]
    assert len(read) == 7 * (nodes + 1)
    assert len(within) == 7 * sum((place * parts) % nodes != 0 for place in range(nodes + 1))
