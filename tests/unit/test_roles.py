"""Who serves and who trains, for any nodes and options."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.errors import ConfigError
from mpignn.roles import BOTH, Role, Topology, assign_roles, group_nodes

nodes_of_ranks = st.lists(st.integers(0, 4), min_size=1, max_size=16)
S, T = Role.SERVER, Role.TRAINER


@pytest.mark.parametrize("nodes, servers_per_node, expected", [
    ([0], None, [BOTH]),
    ([0, 0], None, [S, T]),
    ([0, 0, 0], None, [S, T, T]),
    ([0, 0, 1, 1], None, [S, T, S, T]),
    ([0, 1, 0, 1], None, [S, S, T, T]),
    ([0, 0, 1], None, [S, T, BOTH]),
    ([0, 1, 2], None, [BOTH, BOTH, BOTH]),
    ([0, 0, 0], 0, [BOTH, BOTH, BOTH]),
    ([0, 0, 0], 2, [S, S, T]),
    ([0, 0, 0, 1, 1], 2, [S, S, T, S, S]),
])
def test_roles(nodes, servers_per_node, expected):
    assert list(assign_roles(nodes, servers_per_node)) == expected


@pytest.mark.parametrize("nodes, servers_per_node, message", [
    ([0], 1, "none is left to train"),
    ([0, 0], 2, "none is left to train"),
    ([0, 0, 1], 2, "node 1 has 1 ranks"),
    ([0, 0], 3, "node 0 has 2 ranks"),
    ([0, 0], -1, "servers-per-node is -1"),
])
def test_roles_that_cannot_be_dealt(nodes, servers_per_node, message):
    with pytest.raises(ConfigError, match=message):
        assign_roles(nodes, servers_per_node)


@given(nodes_of_ranks)
def test_by_default_every_node_serves_and_every_node_trains(nodes):
    roles = assign_roles(nodes)
    for node in set(nodes):
        here = [role for role, where in zip(roles, nodes, strict=True) if where == node]
        assert sum(S in role for role in here) == 1
        assert sum(T in role for role in here) == max(1, len(here) - 1)


@given(nodes_of_ranks, st.none() | st.integers(1, 5))
def test_simulated_nodes_split_nodes_and_never_join_them(nodes, ranks_per_node):
    groups = group_nodes(nodes, ranks_per_node)
    assert sorted(set(groups)) == list(range(max(groups) + 1))
    assert list(dict.fromkeys(groups)) == sorted(set(groups))      # numbered by first appearance
    for a in range(len(nodes)):
        for b in range(len(nodes)):
            if groups[a] == groups[b]:
                assert nodes[a] == nodes[b]
            elif ranks_per_node is None:
                assert nodes[a] != nodes[b]
    if ranks_per_node is not None:
        assert max(map(groups.count, groups)) <= ranks_per_node


@pytest.mark.parametrize("ranks_per_node", [0, -3])
def test_a_simulated_node_has_a_rank(ranks_per_node):
    with pytest.raises(ConfigError, match="at least 1"):
        group_nodes([0, 0], ranks_per_node)


@given(nodes_of_ranks)
def test_servers_and_trainers_are_numbered_by_node(nodes):
    nodes = group_nodes(nodes, None)
    topology = Topology(nodes, assign_roles(nodes))
    for ranks, role, of_node in ((topology.server_ranks, S, topology.servers_of),
                                 (topology.trainer_ranks, T, topology.trainers_of)):
        assert sorted(ranks) == [r for r, have in enumerate(topology.roles) if role in have]
        assert [nodes[r] for r in ranks] == sorted(nodes[r] for r in ranks)
        for node in topology.nodes:
            first, last = of_node(node)
            assert {nodes[r] for r in ranks[first:last]} == {node}
            assert first == 0 if node == 0 else first == of_node(node - 1)[1]
