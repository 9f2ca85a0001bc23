"""What `info GRAPH --fanouts`, `--degrees` and `--halo` tell, against counting by hand and what the sampler draws."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from services import serve

from graphs import edge_list, graphs, random_assignment, random_graph, random_hetero_graph
from mpignn.cli import main
from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, GraphData
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.storage import degrees, halo, remote_share
from mpignn.storage.degrees import in_degrees
from mpignn.storage.halo import Halo, halos
from mpignn.storage.read import GraphFile
from mpignn.storage.remote_share import remote_shares
from mpignn.storage.write import partition_graph, write_graph

files_reused = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shares(folder, fanouts, batch_size=10**9):
    with GraphFile(folder) as graph:
        return remote_shares(graph, fanouts, batch_size)


def in_rows(data, etype):
    """Sources of the in-edges of each destination."""
    rows = [[] for _ in range(data.num_nodes[etype[2]])]
    for dst, src, _ in edge_list(data, etype):
        rows[dst].append(src)
    return rows


def seeds_of(data):
    found = {t: data.splits.get(t, {}).get("train", np.empty(0, int)).tolist() for t in data.num_nodes}
    return found if any(found.values()) else {t: list(range(count)) for t, count in data.num_nodes.items()}


@given(data=graphs(max_nodes=8, max_edges=16), num_parts=st.integers(1, 3), fanout=st.integers(-1, 3))
@files_reused
def test_the_first_hop_is_the_mean_of_all_that_may_be_drawn(data, num_parts, fanout, tmp_path_factory, monkeypatch):
    for module in (remote_share, degrees):
        monkeypatch.setattr(module, "_CHUNK" if module is remote_share else "_CHUNK_ROWS", 3)
    folder, parts = tmp_path_factory.mktemp("made") / "g", random_assignment(data, num_parts)
    write_graph(data, parts, num_parts, folder)
    count = remote = 0
    for etype in data.csc:
        rows = in_rows(data, etype)
        for seed in seeds_of(data)[etype[2]]:
            sets = list(combinations(rows[seed], len(rows[seed]) if fanout < 0 else min(fanout, len(rows[seed]))))
            away = [sum(parts[etype[0]][src] != parts[etype[2]][seed] for src in some) for some in sets]
            count, remote = count + len(sets[0]), remote + np.mean(away)
    found = shares(folder, (fanout,))
    owners = {parts[t][i] for t, ids in seeds_of(data).items() for i in ids}
    assert found.hops[0].count * len(owners) == pytest.approx(count)
    assert found.hops[0].remote * len(owners) == pytest.approx(remote)


def outcomes(rows, frontier, fanout):
    """All that one hop may draw: its edges' sources, each equally likely."""
    sets = [list(combinations(rows[node], min(fanout, len(rows[node])))) for node in sorted(frontier)]
    return [[src for some in choice for src in some] for choice in product(*sets)]


def test_later_hops_are_near_the_mean_of_all_that_may_be_drawn(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    data = GraphData({NTYPE: 6}, {ETYPE: csc_from_coo(rng.integers(0, 6, 15), rng.integers(0, 6, 15), 6)},
                     splits={NTYPE: {"train": np.array([1, 4])}})
    parts = np.array([0, 0, 1, 0, 1, 1])
    write_graph(data, {NTYPE: parts}, 2, tmp_path / "g")
    rows, exact = in_rows(data, ETYPE), np.zeros((3, 2))
    for seed in (1, 4):         # each is the only one of its partition
        first = outcomes(rows, {seed}, 2)
        for one in first:
            second = outcomes(rows, {seed, *one}, 1)
            for two in second:
                inputs = {seed, *one, *two}
                exact += np.array([[len(ids), sum(parts[i] != parts[seed] for i in ids)] for ids in (one, two, inputs)]
                                  ) / len(first) / len(second) / 2
    monkeypatch.setattr(remote_share, "_BATCHES", 4000)
    found = shares(tmp_path / "g", (1, 2))
    measured = np.array([[share.count, share.remote] for share in (*found.hops, found.inputs)])
    assert found.of_training and found.num_seeds == 1
    np.testing.assert_allclose(measured[0], exact[0])
    np.testing.assert_allclose(measured[1:], exact[1:], atol=0.06)


def drawn(served, part, blocks):
    """Edges that each block has, the seeds' first, and the input nodes; and those of them that are remote."""
    book = served.published.book
    hops = [np.concatenate([book.nid2partid(block.src_ids[e[0]][csc.indices], e[0]) for e, csc in block.csc.items()])
            for block in reversed(blocks)]
    hops.append(np.concatenate([book.nid2partid(ids, ntype) for ntype, ids in blocks[0].src_ids.items()]))
    return np.array([[owners.size, (owners != part).sum()] for owners in hops])


@pytest.mark.parametrize("make", [random_graph, random_hetero_graph])
@pytest.mark.parametrize("batch_size", [20, 10**6])
def test_the_sampler_draws_what_is_expected(make, batch_size, tmp_path, monkeypatch):
    data, num_parts, fanouts = make(2, 600, 6000), 3, (2, 3, 4)
    parts = random_assignment(data, num_parts)
    write_graph(data, parts, num_parts, tmp_path / "g")
    served, sampler, seeds = serve(data, parts), NeighborSampler(fanouts), seeds_of(data)
    counted, batches = np.zeros((4, 2)), 0.0
    for part in range(num_parts):
        mine = [(t, served.new[t][i]) for t, ids in seeds.items() for i in ids if parts[t][i] == part]
        rng, size = np.random.default_rng(part), min(batch_size, len(mine))
        for number in range(20):
            chosen = [mine[i] for i in rng.choice(len(mine), size, replace=False)]
            nodes = {t: np.array([i for of, i in chosen if of == t], np.int64) for t in data.num_nodes}
            blocks = sampler.sample(served.published, nodes, 100 * part + number)[2]
            counted += len(mine) / size * drawn(served, part, blocks)
            batches += len(mine) / size
    monkeypatch.setattr(remote_share, "_BATCHES", 60)
    found = shares(tmp_path / "g", fanouts, batch_size)
    expected = np.array([[share.count, share.remote] for share in (*found.hops, found.inputs)])
    np.testing.assert_allclose(counted / batches, expected, rtol=0.03)


def test_partitions_without_seeds_and_graphs_without_nodes(tmp_path):
    data = GraphData({NTYPE: 4}, {ETYPE: csc_from_coo(np.array([0, 1, 2]), np.array([3, 3, 3]), 4)},
                     splits={NTYPE: {"train": np.array([3])}})
    write_graph(data, {NTYPE: np.array([0, 1, 1, 2])}, 4, tmp_path / "g")
    found = shares(tmp_path / "g", (-1, 2))
    assert found.num_seeds == 1 and found.hops[0].count == 2 and found.hops[0].share == 1
    assert found.hops[1].count == 3 and found.inputs.count == 4 and found.inputs.share == 0.75
    write_graph(GraphData({NTYPE: 0}, {ETYPE: csc_from_coo(np.empty(0, int), np.empty(0, int), 0)}),
                {NTYPE: np.empty(0, int)}, 2, tmp_path / "none")
    empty = shares(tmp_path / "none", (3, 2))
    assert [hop.count for hop in empty.hops] == [0, 0] and empty.inputs.share == 0


def test_of_many_partitions_some_are_looked_at(tmp_path, monkeypatch):
    data = random_graph(1, 200, 2000)
    partition_graph(data, tmp_path / "g", 20, "random")
    exact = shares(tmp_path / "g", (3,))
    monkeypatch.setattr(remote_share, "_MOST_PARTS", 4)
    asked: list[int] = []
    monkeypatch.setattr(remote_share._Walk, "batch", lambda _, part, *more: asked.append(part) or np.ones((2, 2)))
    assert shares(tmp_path / "g", (3,)).hops == exact.hops
    assert sorted(set(asked)) == [0, 5, 10, 15]


@given(data=graphs())
@files_reused
def test_degrees_are_counted_by_powers_of_two(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "g"
    partition_graph(data, folder, 3, "random")
    with GraphFile(folder) as graph:
        for etype in data.csc:
            known = [len(row) for row in in_rows(data, etype)]
            found = in_degrees(graph, etype)
            classes = [sum(degree.bit_length() == power for degree in known) for power in range(found.counts.size)]
            assert found.counts.tolist() == classes and sum(classes) == len(known)
            assert found.largest == max(known, default=0) and (found.counts[-1] or found.counts.size == 1)


@pytest.mark.parametrize(("words", "code", "told"), [
    (["g", "--degrees"], 0, "in-degrees 0: 10, 2-3: 9, 4-7: 13, 8-15: 8; at most 11"),
    (["g", "--fanouts", "3,2"], 0, "hop 1, fanout 2: "), (["g", "--fanouts", "3,2"], 0, "hop 2, fanout 3: "),
    (["g", "--fanouts", "-1", "--batch-size", "4"], 0, "batches of 4 training nodes"),
    (["g", "--fanouts", "3,x"], 2, "fanouts"), (["g", "--fanouts", "-2"], 2, "fanouts"),
    (["g", "--fanouts", "3", "--batch-size", "0"], 2, "batch"), (["g", "--fanouts", "3", "--hidden", "3"], 2, "--plan"),
    (["--fanouts", "3"], 2, "--fanouts has no effect without --plan"),
    (["--degrees"], 2, "info --degrees: name the graph"), (["g", "--plan", "--degrees"], 2, "leave one out")])
def test_info_tells_it(words, code, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    partition_graph(random_graph(1), "g", 2, "random")
    assert main(["info", *words]) == code
    assert told in "".join(capsys.readouterr())


@given(data=graphs(max_nodes=8, max_edges=16), num_parts=st.integers(1, 3))
@files_reused
def test_a_halo_is_what_lies_around_a_partition(data, num_parts, tmp_path_factory):
    folder, parts, expected = tmp_path_factory.mktemp("made") / "g", random_assignment(data, num_parts), []
    write_graph(data, parts, num_parts, folder)
    rows = {etype: in_rows(data, etype) for etype in data.csc}
    for part in range(num_parts):
        around = {(etype[0], src) for etype in data.csc for dst, src, _ in edge_list(data, etype)
                  if parts[etype[2]][dst] == part != parts[etype[0]][src]}
        kept = [(ntype, rows[etype][node]) for ntype, node in around for etype in data.csc if etype[2] == ntype]
        edges = sum(len(row) for _, row in kept)
        expected.append(Halo(len(around), edges, 8 * len(around) + 16 * len(kept) + 4 * edges))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(halo, "_CHUNK", 3)
        with GraphFile(folder) as graph:
            assert halos(graph) == expected


def test_info_tells_of_the_halo(tmp_path, capsys):
    partition_graph(random_graph(1, 60, 300), tmp_path / "g", 3, "random")
    assert main(["info", str(tmp_path / "g"), "--halo"]) == 0
    told = capsys.readouterr().out.splitlines()[-3:]
    with GraphFile(tmp_path / "g") as graph:
        found = halos(graph)
    assert told[0].startswith("with --replicate halo, where each partition is on a node of its own")
    assert told[1] == (f"  nodes {' '.join(str(of.nodes) for of in found)}, their in-edges "
                       f"{' '.join(str(of.edges) for of in found)}")
    assert told[2].endswith(f"is {(60 * 16 + 300 * 4) / 1e6:.1f} MB")
    assert main(["info", str(tmp_path / "g"), "--halo", "--plan"]) == 2
    assert "--plan tells of a job and --halo of the graph" in capsys.readouterr().err
    assert main(["info", "--halo"]) == 2
    assert "info GRAPH --halo" in capsys.readouterr().err
