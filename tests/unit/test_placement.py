"""Which trainer owns which rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import Schema
from mpignn.roles import BOTH, Role, Topology, assign_roles
from mpignn.store.cut import server_rows
from mpignn.store.placement import trainer_rows

E = ("A", "e", "A")
CUTS = np.array([0, 10, 10, 35, 61])
BOOK = RangePartitionBook(Schema(("A",), (E,)), {"A": CUTS}, {E: CUTS * 3})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 1), st.sampled_from(["A", "A:e:A", "even"]))
def test_every_row_has_an_owner_on_the_node_of_its_server(ranks_on_node, servers, policy):
    nodes = [node for node, count in enumerate(ranks_on_node) for _ in range(count + servers)]
    topology = Topology(tuple(nodes), assign_roles(nodes, servers))
    num_rows = {"A": 61, "A:e:A": 183, "even": 7}[policy]
    cuts = trainer_rows(BOOK, topology, policy, num_rows)
    assert cuts[0] == 0 and cuts[-1] == num_rows and (np.diff(cuts) >= 0).all()
    assert cuts.size == len(topology.trainer_ranks) + 1
    if policy == "even":
        assert np.diff(cuts).max() - np.diff(cuts).min() <= 1
        return
    served = server_rows(CUTS * (3 if policy == "A:e:A" else 1), len(topology.server_ranks))
    for node in topology.nodes:
        s, t = topology.servers_of(node), topology.trainers_of(node)
        assert (cuts[t[0]], cuts[t[1]]) == (served[s[0]], served[s[1]])
        shares = np.diff(cuts[t[0]:t[1] + 1])
        assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize("roles", [(Role.SERVER, Role.TRAINER, Role.TRAINER), (BOTH, Role.TRAINER, Role.TRAINER)])
def test_where_a_node_lacks_a_role_all_trainers_get_equal_shares(roles):
    topology = Topology((0, 1, 2), roles)
    shares = np.diff(trainer_rows(BOOK, topology, "A", 61))
    assert shares.sum() == 61 and shares.max() - shares.min() <= 1
