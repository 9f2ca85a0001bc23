"""How much memory a job is said to take."""

import numpy as np
import pytest

from mpignn.config import Config
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import ArrayInfo, Schema
from mpignn.job.memory_plan import make_plan
from mpignn.mpi.layout import lay_out
from mpignn.options import load_config
from mpignn.roles import Role, Topology, assign_roles
from mpignn.store.cut import place

LOOP = ("n", "to", "n")
N, E = 1_000_000, 20_000_000
BOOK = RangePartitionBook(Schema(("n",), (LOOP,)), {"n": np.array([0, N // 2, N])}, {LOOP: np.array([0, E // 2, E])})
INFOS = {name: ArrayInfo(name, np.dtype(dtype), shape) for name, dtype, shape in [
    ("node/n/data/features", np.float32, (100,)), ("node/n/orig_id", np.int64, ()),
    ("edge/n:to:n/indptr", np.int64, ()), ("edge/n:to:n/indices", np.int32, ())]}
STRUCTURE, FEATURES = 8 * N + 8 * (N + 1) + 4 * E, 400 * N


def plan(nodes, *, config=None, replicate="none", model=True, servers=None, halos=None):
    topology = Topology(tuple(nodes), assign_roles(nodes, servers))
    placement = place(BOOK, INFOS, topology, lambda _, row: 20 * row, replicate, halos=halos)
    return make_plan(placement, {"n": 100_000}, config or Config(), 120_000, model), placement


@pytest.mark.parametrize(("replicate", "structure", "features"), [
    ("none", STRUCTURE / 2, FEATURES / 2), ("topology", STRUCTURE, FEATURES / 2), ("all", STRUCTURE, FEATURES)])
def test_a_node_holds_its_share_and_its_copies(replicate, structure, features):
    made, placement = plan([0, 0, 1, 1], replicate=replicate)
    for node, kinds in enumerate(made.nodes):
        assert kinds["structure"] == pytest.approx(structure, abs=64)
        assert kinds["features"] == pytest.approx(features, abs=512)
        assert kinds["structure"] + kinds["features"] == lay_out(placement.specs(node), placement.topology, node).nbytes


@pytest.mark.parametrize(("nodes", "halos"), [
    ([0, 0, 1, 1], (300_000, 0)), ([0, 0, 1, 1, 2, 2, 3, 3], (10_000, 10_000)), ([0, 0], (1, 1))])
def test_a_halo_is_what_the_report_counts_and_what_servers_elsewhere_have_of_its_partition(nodes, halos):
    made, _ = plan(nodes, replicate="halo", halos={"n": halos})
    without, _ = plan(nodes, halos={"n": halos})
    away = N - N // len(made.nodes)
    for node, kinds in enumerate(made.nodes):
        around = min(away, halos[2 * node // len(made.nodes)] + max(0, N // 2 - N // len(made.nodes)))
        edges = 20 * (away - (away - around) ** 2 / max(1, away))
        assert kinds["halo"] == pytest.approx(24 * around + 4 * edges, abs=2)
        assert {kind: size for kind, size in kinds.items() if kind != "halo"} | {"halo": 0} == without.nodes[node]


def test_servers_hold_no_batches_and_trainers_of_a_node_share_the_graph():
    made, _ = plan([0, 0, 0])
    server, *trainers = made.ranks
    assert made.roles == (Role.SERVER, Role.TRAINER, Role.TRAINER)
    assert set(server) == {"process"} and trainers[0] == trainers[1]
    assert made.of_node(0) == sum(made.nodes[0].values()) + sum(server.values()) + 2 * sum(trainers[0].values())
    one, _ = plan([0, 0])
    assert one.nodes[0]["structure"] == made.nodes[0]["structure"]


@pytest.mark.parametrize(("flags", "kind"), [
    ({"batch_size": 2000}, "batches"), ({"fanouts": (10, 10, 20)}, "batches"),
    ({"hidden": 512}, "model"), ({"precision": "fp64"}, "model"), ({"aggregator": "pool"}, "model"),
    ({"residual": True}, "model"), ({"layer_norm": True}, "model"), ({"jk": "cat"}, "model"),
    ({"out_layers": 2}, "model"),
    ({"eval_fanouts": (20, 20, 20)}, "batches")])
def test_more_of_it_takes_more(flags, kind):
    before, _ = plan([0, 0])
    after, _ = plan([0, 0], config=load_config(None, flags))
    assert after.ranks[1][kind] > before.ranks[1][kind]
    assert after.ranks[0] == before.ranks[0]


def test_batches_prepared_together_take_more_where_rows_of_other_nodes_come():
    for nodes, grows in ([0, 0], 1), ([0, 0, 1, 1], 3):
        few, many = (plan(nodes, config=load_config(None, {"prefetch": k}))[0].ranks[1]["batches"] for k in (1, 3))
        assert many == pytest.approx(grows * few)


def test_no_batch_is_larger_than_the_graph():
    made, _ = plan([0], config=load_config(None, {"fanouts": (-1, -1, -1), "global_batch_size": 10**9}), model=False)
    assert made.ranks[0]["batches"] < 2 * (FEATURES + 3 * (4 * E + 40 * N)) * 1.001


def test_without_a_model_none_is_counted():
    made, _ = plan([0, 0], model=False)
    assert made.ranks[1]["model"] == 0


def test_what_a_process_holds_already_is_not_counted_again():
    made, _ = plan([0, 0, 1, 1])
    base = made.ranks[1]["process"]
    assert made.to_come(1, 0) - made.to_come(1, 1000) == 1000
    assert made.to_come(1, base) == made.to_come(1, 10 * base)
    assert sum(made.to_come(rank, 0) for rank in range(4)) == made.of_node(0) + made.of_node(1)


def test_the_table_tells_equal_nodes_and_ranks_once():
    made, _ = plan([rank // 10 for rank in range(1000)])
    lines = made.lines()
    assert len(lines) < 12
    assert any("trainer rank" in line and "MiB" in line for line in lines)


@pytest.mark.parametrize(("nodes", "servers", "shares"), [
    ([0, 0, 0], None, [1]), ([0, 0, 1, 1], None, [0.5, 0.5]), ([0, 0, 1], 0, [2 / 3, 1 / 3])])
def test_tensors_of_the_trainers_are_where_their_owners_are(nodes, servers, shares):
    assert all(kinds["tensors"] == 0 for kinds in plan(nodes, servers=servers)[0].nodes)
    made, _ = plan(nodes, config=load_config(None, {"tensor_bytes": 1000}), servers=servers)
    assert [kinds["tensors"] for kinds in made.nodes] == pytest.approx([1000 * N * share for share in shares], rel=1e-5)
    assert any("tensors" in line for line in made.lines())


def test_ranking_links_keeps_rows_of_all_nodes():
    config = load_config(None, {"task": "link_prediction", "hidden": 64})
    assert plan([0, 0], config=config)[0].nodes[0]["tensors"] == 2 * 64 * 4 * N
    assert plan([0, 0], config=config, model=False)[0].nodes[0]["tensors"] == 0


@pytest.mark.parametrize(("flags", "bytes_of_a_node"), [
    ({}, 0), ({"embed": "all", "embed_dim": 16}, 16 * 4 * 5 + 4),
    ({"embed": "all", "embed_dim": 16, "precision": "fp64", "embed_optimizer": "adagrad"}, 16 * 8 * 4),
    ({"embed": "all", "embed_dim": 16, "embed_precision": "bf16"}, 16 * (3 * 2 + 2 * 4) + 4),
    ({"features": "none", "embed_optimizer": "sgd"}, 128 * 4 * 3), ({"features": "none", "embed": "off"}, 0)])
def test_trainers_share_the_rows_of_embeddings(flags, bytes_of_a_node):
    made, _ = plan([0, 0, 1, 1], config=load_config(None, flags))
    assert [kinds["embeddings"] for kinds in made.nodes] == [N // 2 * bytes_of_a_node] * 2
