"""Who holds a copy of what, and how it is cut over the servers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.errors import ConfigError
from mpignn.graph.array_key import ArrayKey
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.mpi.layout import lay_out
from mpignn.roles import Role, Topology, assign_roles, group_nodes
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


@given(with_idle_nodes(), st.integers(1, 3), st.sampled_from(["none", "topology", "all"]))
def test_each_group_holds_every_row_of_what_is_replicated(topology, width, replicate):
    placement = place(BOOK, INFOS, topology, edge_start, replicate, width)
    plain = {spec.name: spec for spec in place(BOOK, INFOS, topology, edge_start).specs(0)}
    for node in topology.nodes:
        first, last = placement.groups[node]
        specs = placement.specs(node)
        assert {spec.name for spec in specs} == set(INFOS)
        for spec in specs:
            if replicate == "all" or replicate == "topology" and ArrayKey.parse(spec.name).is_structure:
                assert spec.bounds[first] == 0 and spec.bounds[last] == plain[spec.name].num_rows
                assert list(spec.bounds) == sorted(spec.bounds)
                if width == 1 and topology.servers_of(node)[0] < topology.servers_of(node)[1]:
                    assert (first, last) == topology.servers_of(node)
            else:
                assert spec == plain[spec.name]


@given(with_idle_nodes(), st.integers(1, 3))
def test_a_rank_knows_where_the_rows_it_may_ask_for_lie(topology, width):
    """The layout that a rank computes for another node is that node's own, as far as this rank reads from it."""
    placement = place(BOOK, INFOS, topology, edge_start, "topology", width)
    for node in topology.nodes:
        specs = placement.specs(node)
        for other in topology.nodes:
            seen, own = lay_out(specs, topology, other), lay_out(placement.specs(other), topology, other)
            for spec in specs:
                if spec.bounds[seen.first] < spec.bounds[seen.last]:
                    assert seen.offsets[spec.name] == own.offsets[spec.name]


def test_only_some_nodes_serve():
    assert assign_roles([0, 0, 1, 1], None, 1) == (S, T, T, T)
    assert assign_roles([0, 0, 1, 1], 2, 1) == (S, S, T, T)
    assert assign_roles([0, 0, 1, 1], 0, 1) == (S | T, S | T, T, T)
    for wrong in 0, 3:
        with pytest.raises(ConfigError, match=f"server-nodes is {wrong}; it must be in 1..2"):
            assign_roles([0, 0, 1, 1], None, wrong)
