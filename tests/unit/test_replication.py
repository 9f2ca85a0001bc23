"""Who holds a copy of what, and how it is cut over the servers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.errors import ConfigError
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.roles import Role, Topology, assign_roles, group_nodes
from mpignn.store import cut
from mpignn.store.cut import place

S, T = Role.SERVER, Role.TRAINER
LOOP = ("n", "to", "n")
BOOK = RangePartitionBook(Schema(("n",), (LOOP,)), {"n": np.array([0, 30, 30, 70, 100])},
                          {LOOP: np.array([0, 90, 90, 210, 300])})
INFOS = {name: ArrayInfo(name, np.dtype(dtype), shape) for name, dtype, shape in [
    ("node/n/data/features", np.float32, (5,)), ("node/n/orig_id", np.int64, ()),
    ("edge/n:to:n/indptr", np.int64, ()), ("edge/n:to:n/indices", np.int32, ()),
    ("edge/n:to:n/data/weight", np.float64, ())]}

topologies = st.builds(
    lambda nodes, servers: Topology(nodes, assign_roles(nodes, servers)),
    st.lists(st.integers(0, 5), min_size=1, max_size=14).map(sorted).map(lambda nodes: group_nodes(nodes, None)),
    st.sampled_from([None, 0]))


@st.composite
def with_idle_nodes(draw):
    """A topology some of whose nodes only train."""
    topology = draw(topologies)
    idle = draw(st.sets(st.integers(0, len(topology.nodes) - 1), max_size=len(topology.nodes) - 1))
    return Topology(topology.node_of_rank, tuple(
        T if node in idle else role for node, role in zip(topology.node_of_rank, topology.roles, strict=True)))


@given(with_idle_nodes(), st.integers(1, 7))
def test_groups_are_whole_nodes_of_the_width_asked_for(topology, width):
    groups = topology.copy_groups(width)
    serving = [n for n in topology.nodes if topology.servers_of(n)[0] < topology.servers_of(n)[1]]
    for node, (first, last) in enumerate(groups):
        held_by = [n for n in serving if first <= topology.servers_of(n)[0] < last]
        assert first == topology.servers_of(held_by[0])[0] and last == topology.servers_of(held_by[-1])[1]
        assert width <= len(held_by) < 2 * width or len(held_by) == len(serving) < 2 * width
        assert node in held_by or node not in serving
    assert [span[0] for span in groups] == sorted(span[0] for span in groups)


def edge_start(_, row):
    return 3 * row


@given(with_idle_nodes(), st.integers(1, 3), st.sampled_from(["none", "halo", "topology", "all"]))
def test_where_servers_cut_is_read_partition_by_partition(topology, width, replicate):
    """Each part file is opened once for all edge types: of a thousand files few can be open at a time."""
    etypes = tuple(("n", name, "n") for name in "abc")
    book = RangePartitionBook(Schema(("n",), etypes), {"n": BOOK.node_ranges["n"]},
                              dict.fromkeys(etypes, 10 * BOOK.node_ranges["n"]))
    rows = []

    def start(etype, row):
        rows.append(row)
        return 10 * row

    place(book, {}, topology, start, replicate, width)
    parts = np.searchsorted(BOOK.node_ranges["n"], rows, side="right")
    whole = replicate in ("topology", "all")
    groups = {last - first for first, last in topology.copy_groups(width)} if whole else set()
    assert (np.diff(parts) < 0).sum() <= len({len(topology.server_ranks)} | groups) - 1


@pytest.mark.parametrize(("nodes", "limit", "chosen"), [
    ((0, 1), 100 * 2 * 8 + 300 * 4, "topology"),        # two ends of each row of indptr; indices
    ((0, 1), 100 * 2 * 8 + 300 * 4 - 1, "none"), ((0, 0), 2**30, "none")])
def test_a_small_structure_is_on_every_node_if_nothing_else_is_asked_for(monkeypatch, nodes, limit, chosen):
    monkeypatch.setattr(cut, "SMALL_BYTES", limit)
    topology = Topology(nodes, assign_roles(nodes, None))
    assert place(BOOK, INFOS, topology, edge_start, cut.AUTO).replicate == chosen
    assert place(BOOK, INFOS, topology, edge_start).replicate == "none"


def test_only_some_nodes_serve():
    assert assign_roles([0, 0, 1, 1], None, 1) == (S, T, T, T)
    assert assign_roles([0, 0, 1, 1], 2, 1) == (S, S, T, T)
    assert assign_roles([0, 0, 1, 1], 0, 1) == (S | T, S | T, T, T)
    for wrong in 0, 3:
        with pytest.raises(ConfigError, match=f"server-nodes is {wrong}; it must be in 1..2"):
            assign_roles([0, 0, 1, 1], None, wrong)
