"""Partitions that have equally much of what is asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_graph, random_hetero_graph
from mpignn.errors import ConfigError
from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.kernels.stream import find_losses, relieve
from mpignn.partition.assign import assign
from mpignn.partition.balance import BALANCES
from mpignn.partition.methods import METHODS
from mpignn.partition.report import balance_of_all
from mpignn.partition.union import union_graph
from mpignn.storage.describe import describe
from mpignn.storage.write import partition_graph

ABLE = [method.name for method in METHODS.values() if method.balances]


def skewed(size=400):
    """Papers and authors, two groups each that have most edges within; the first group has all of the training papers,
    the second one papers that are cited most."""
    rng = np.random.default_rng(0)
    ends = {"cites": [], "writes": []}
    for group, edges in ((0, 4000), (1, 16000)):
        ends["cites"].append(rng.integers(group * size, (group + 1) * size, (2, edges)))
        ends["writes"].append(rng.integers(group * size, (group + 1) * size, (2, 1000)))
    ends = {name: np.concatenate(found, 1) for name, found in ends.items()}
    csc = {("paper", "cites", "paper"): csc_from_coo(*ends["cites"], 2 * size),
           ("author", "writes", "paper"): csc_from_coo(*ends["writes"], 2 * size)}
    splits = {"paper": {"train": np.arange(size)}, "author:writes:paper": {"train": np.arange(800)}}
    return GraphData({"paper": 2 * size, "author": 3 * size}, csc, splits=splits)


def shares(data, assignment, num_parts):
    """The largest partition over the mean, of each amount."""
    parts = np.concatenate(list(assignment.values()))
    return {what: np.bincount(parts, amounts, num_parts).max() * num_parts / amounts.sum()
            for amounts_of in BALANCES.values() for what, amounts in amounts_of(data)}


@pytest.mark.parametrize("method", ABLE)
def test_all_that_is_asked_for_is_within_five_percent(method):
    data = skewed()
    for num_parts in (2, 4):
        before = shares(data, assign(data, num_parts, method), num_parts)
        found = assign(data, num_parts, method, balance=tuple(BALANCES))
        assert max(before.values()) > 1.2
        assert max(shares(data, found, num_parts).values()) <= 1.05
        again = assign(data, num_parts, method, balance="nodes, edges,train,types")
        assert all(np.array_equal(found[t], again[t]) for t in data.num_nodes)


def test_what_is_not_asked_for_is_left_as_the_cut_wants_it():
    data = skewed()
    found = shares(data, assign(data, 2, "metis", balance=["edges"]), 2)
    assert found["in-edges"] <= 1.05 and found["nodes"] <= 1.05 and found["training nodes paper"] > 1.2


@given(graphs(max_nodes=12))
def test_amounts_are_what_loops_count(data):
    ntypes = [(t, i) for t, count in data.num_nodes.items() for i in range(count)]
    edges = {e: edge_list(data, e) for e in data.csc}
    found = {what: dict(zip(ntypes, amounts.tolist(), strict=True))
             for amounts_of in BALANCES.values() for what, amounts in amounts_of(data)}
    for node in ntypes:
        assert found["nodes"][node] == 1
        assert found["in-edges"][node] == sum(dst == node[1] for e in edges if e[2] == node[0] for dst, *_ in edges[e])
        for ntype in data.num_nodes:
            assert found[f"nodes {ntype}"][node] == (node[0] == ntype)
            train = data.splits[ntype]["train"]
            assert found[f"training nodes {ntype}"][node] == (node[0] == ntype and node[1] in train)
    for etype in data.csc:
        train = data.splits.get(etype_key(etype), {}).get("train")
        if train is not None:
            for node in ntypes:
                assert found[f"training edges {etype_key(etype)}"][node] == sum(
                    edge in train and (etype[2], dst) == node for dst, _, edge in edges[etype])


def test_training_edges_count_where_their_destination_is():
    data = skewed()
    dst = np.empty(2000, np.int64)
    csc = data.csc["author", "writes", "paper"]
    dst[csc.edge_ids] = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
    (amounts,) = (amounts for what, amounts in BALANCES["train"](data) if what.startswith("training edges"))
    assert np.array_equal(amounts[:csc.num_dst], np.bincount(dst[:800], minlength=csc.num_dst))
    assert amounts.sum() == 800


@given(graphs(max_nodes=12), st.integers(2, 4), st.integers(0, 9))
def test_each_move_makes_what_is_above_limits_less(data, num_parts, seed):
    indptr, indices = union_graph(data)
    count, rng = indptr.size - 1, np.random.default_rng(seed)
    parts = rng.integers(0, num_parts, count)
    first, columns = np.arange(0, 2 * count + 1, 2), np.tile(np.array([0, 1], np.int32), count)
    amounts = rng.integers(0, 4, 2 * count)
    loads = np.array([np.bincount(parts, amounts[c::2], num_parts) for c in range(2)]).astype(np.int64)
    limits = np.maximum(-(-loads.sum(1) // num_parts), 1)

    def excess():
        return (np.maximum(loads - limits[:, None], 0).sum(1) / limits).sum()

    for node in rng.permutation(count):
        before, losses = excess(), np.empty(count)
        find_losses(indptr, indices, first, columns, amounts, limits, loads, parts, losses)
        moved = relieve(indptr, indices, np.array([node]), first, columns, amounts, limits, loads, parts)
        assert moved == np.isfinite(losses[node])
        assert excess() < before if moved else excess() == before
        assert np.array_equal(loads, [np.bincount(parts, amounts[c::2], num_parts) for c in range(2)])


def test_what_cannot_be_reached_is_told(caplog):
    src = np.arange(1, 101)
    data = GraphData({NTYPE: 101}, {ETYPE: csc_from_coo(src, 0 * src, 101)})        # one node has all in-edges
    assign(data, 4, "ldg", balance=["edges"])
    assert caplog.messages == ["the partition that has most in-edges has 4.00 times the mean: "
                               "no node that could move makes it less"]


def test_a_balance_that_is_unknown_or_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'types'"):
        assign(random_graph(), 2, "metis", balance=["typs"])
    (tmp_path / "parts.txt").write_text("0\n")
    for method, why in (("random", "those of random stay as they are.*methods metis, kaminpar, ldg"),
                        (tmp_path / "parts.txt", "partitions that are given"), (lambda *_: 0, "that are given")):
        with pytest.raises(ConfigError, match=why):
            assign(random_graph(), 2, method, balance=["nodes"])


def test_info_tells_the_balance_of_all_types_together(tmp_path):
    data = random_hetero_graph(2, 60, 200)
    report = partition_graph(data, tmp_path / "g", 3, "metis", balance=["types", "edges"])
    edges = np.sum([of["per_part"] for of in report["edges"].values()], axis=0)
    assert balance_of_all(report, "edges") == edges.max() * 3 / edges.sum()
    assert f"balance of nodes {balance_of_all(report, 'nodes'):.3f}, of edges {edges.max() * 3 / edges.sum():.3f}" in (
        describe(tmp_path / "g"))
    partition_graph(random_graph(), tmp_path / "h", 2, "range")
    assert "of all types" not in describe(tmp_path / "h")
