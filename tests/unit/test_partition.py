"""Assigning nodes to partitions, numbering them anew, and the report."""

import errno
import os
import tempfile
from unittest.mock import patch

import kaminpar
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_assignment, random_graph, random_hetero_graph
from mpignn.errors import ConfigError, DataError, ResourceError
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.csc import csc_from_coo
from mpignn.graph.types import ETYPE, NTYPE, GraphData, etype_key
from mpignn.partition.assign import assign, check_choice, checked_assignment
from mpignn.partition.kaminpar import _write_parhip
from mpignn.partition.methods import METHODS
from mpignn.partition.relabel import new_indptr, relabel
from mpignn.partition.report import PartTally, make_report
from mpignn.partition.union import union_graph
from mpignn.storage.write import partition_graph


def ring_of_cliques(cliques=4, size=12):
    """Dense groups joined by one edge each, ids shuffled; every edge in both directions."""
    ids = np.random.default_rng(3).permutation(cliques * size)
    pairs = {(c * size + i, c * size + j) for c in range(cliques) for i in range(size) for j in range(size) if i != j}
    for c in range(cliques):
        here, there = c * size, (c + 1) % cliques * size + 1
        pairs |= {(here, there), (there, here)}
    src, dst = ids[np.array(sorted(pairs))].T
    return GraphData({NTYPE: cliques * size}, {ETYPE: csc_from_coo(src, dst, cliques * size)}), ids, cliques


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [random_graph, random_hetero_graph])
def test_every_node_gets_a_partition_and_the_same_one_again(method, make):
    data = make(2, 50, 200)
    for parts in (1, 2, 3, 9):
        first, again = (assign(data, parts, method, seed=0 if method == "range" else 5) for _ in range(2))
        for ntype, count in data.num_nodes.items():
            assert first[ntype].shape == (count,)
            assert ((first[ntype] >= 0) & (first[ntype] < parts)).all()
            assert np.array_equal(first[ntype], again[ntype])


@pytest.mark.parametrize("method", ["random", "range"])
def test_random_and_range_give_each_partition_as_many_nodes_to_one(method):
    for nodes, parts in ((50, 7), (3, 8), (64, 8)):
        sizes = np.bincount(assign(random_graph(0, nodes, 10), parts, method)[NTYPE], minlength=parts)
        assert sizes.max() - sizes.min() <= 1


def test_range_ascends_and_random_depends_on_the_seed():
    data = random_graph(0, 50)
    assert (np.diff(assign(data, 4, "range")[NTYPE]) >= 0).all()
    assert not np.array_equal(assign(data, 4, "random", 0)[NTYPE], assign(data, 4, "random", 1)[NTYPE])


@pytest.mark.parametrize("method", ["metis", "kaminpar"])
def test_libraries_find_the_cliques(method):
    data, ids, cliques = ring_of_cliques()
    parts = assign(data, cliques, method)[NTYPE][ids].reshape(cliques, -1)
    assert (parts == parts[:, :1]).all() and len(set(parts[:, 0])) == cliques


def test_streaming_keeps_more_edges_within_partitions_than_chance():
    data, ids, cliques = ring_of_cliques()
    (csc,) = data.csc.values()
    dst = np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))
    cuts = {}
    for method in ("ldg", "random"):
        parts = assign(data, cliques, method, seed=1)[NTYPE]
        assert np.bincount(parts).tolist() == [12] * cliques
        cuts[method] = np.mean(parts[csc.indices] != parts[dst])
    assert cuts["ldg"] < 0.4 * cuts["random"]
    assert not np.array_equal(assign(data, 4, "ldg", 1)[NTYPE], assign(data, 4, "ldg", 2)[NTYPE])


@pytest.mark.parametrize("data", [random_graph(0, 5, 0), random_hetero_graph(1, 3, 4)])
def test_streaming_takes_more_partitions_than_nodes_and_graphs_without_edges(data):
    parts = np.concatenate(list(assign(data, 9, "ldg").values()))
    assert len(set(parts)) == parts.size


@pytest.mark.parametrize("method", ["metis", "kaminpar"])
def test_libraries_take_more_partitions_than_nodes_and_graphs_without_edges(method):
    for data, parts in ((random_graph(0, 3, 9), 5), (random_graph(0, 30, 0), 4)):
        found = assign(data, parts, method)[NTYPE]
        assert np.bincount(found, minlength=parts).max() <= -(-found.size // parts)


def test_the_file_that_kaminpar_reads_is_that_of_the_format(tmp_path):
    indptr, indices = np.array([0, 1, 3, 3, 4]), np.array([1, 0, 3, 1])
    for width in (4, 8):
        path = tmp_path / f"graph{width}"
        with path.open("wb") as file:
            _write_parhip(file, indptr, indices.astype(f"i{width}"))
        words = np.fromfile(path, "<u8", 3 + 5)
        assert words[1:3].tolist() == [4, 4] and words[0] == (11 if width == 4 else 3)
        assert np.array_equal((words[3:].astype(int) - 8 * words.size) // width, indptr)
        assert np.fromfile(path, f"<i{width}", offset=8 * words.size).tolist() == indices.tolist()
        graph = kaminpar.load_graph(str(path), kaminpar.GraphFileFormat.PARHIP)
        assert [[n for n, _ in graph.neighbors(node)] for node in range(4)] == [[1], [0, 3], [], [1]]


def test_kaminpar_leaves_no_file_also_where_it_fails(tmp_path, monkeypatch):
    seen = []

    def cut(path, num_parts, seed):
        seen.append((os.path.samefile(os.path.dirname(os.readlink(path)), tmp_path), list(tmp_path.iterdir())))
        raise ValueError("no such preset")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("mpignn.partition.kaminpar.call_apart", lambda function, count: function())
    monkeypatch.setattr("mpignn.partition.kaminpar._cut", cut)
    data, *_ = ring_of_cliques()
    with pytest.raises(ValueError):
        assign(data, 4, "kaminpar")
    assert seen == [(True, [])]         # a file of that folder without a name there


def test_errors_of_kaminpar_say_what_to_do(tmp_path, monkeypatch):
    data, *_ = ring_of_cliques()
    monkeypatch.setattr("mpignn.partition.kaminpar._PRESET", "no such preset")
    with pytest.raises(ResourceError, match="KaMinPar failed.*Invalid context name"):
        assign(data, 4, "kaminpar")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
    with pytest.raises(ResourceError, match="set TMPDIR"):
        assign(data, 4, "kaminpar")


@pytest.mark.parametrize("method, name", [("metis", "METIS"), ("kaminpar", "KaMinPar")])
def test_where_no_process_can_be_started_the_library_is_named_and_no_folder(method, name, monkeypatch):
    def refuse():
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refuse)
    with pytest.raises(ResourceError, match=f"{name} failed .no process of its own could be started: Resource tempora"):
        assign(ring_of_cliques()[0], 4, method)


@pytest.mark.parametrize("what", ["_write_parhip", "tempfile.TemporaryFile"])
def test_a_file_for_kaminpar_that_cannot_be_written_is_told(what, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"mpignn.partition.kaminpar.{what}", refuse)
    monkeypatch.setattr(tempfile, "gettempdir", refuse)
    with pytest.raises(ResourceError, match="cannot be written: No space left on device; set TMPDIR"):
        assign(ring_of_cliques()[0], 4, "kaminpar")


@given(graphs(max_nodes=12))
def test_the_union_graph_is_symmetric_simple_and_has_every_edge(data):
    indptr, indices = union_graph(data)
    first, offset = {}, 0
    for ntype, count in data.num_nodes.items():
        first[ntype], offset = offset, offset + count
    expected = set()
    for etype in data.csc:
        for dst, src, _ in edge_list(data, etype):
            ends = src + first[etype[0]], dst + first[etype[2]]
            expected |= {ends, ends[::-1]} if ends[0] != ends[1] else set()
    found = [(int(u), v) for v in range(indptr.size - 1) for u in indices[indptr[v]:indptr[v + 1]]]
    assert len(found) == len(set(found)) and set(found) == expected


def test_a_function_is_given_the_union_graph_and_its_answer_is_checked():
    data = random_hetero_graph(2)
    total = sum(data.num_nodes.values())
    seen = {}

    def by_parity(indptr, indices, num_parts, weights):
        seen.update(indptr=indptr, num_parts=num_parts, weights=weights)
        return np.arange(total, dtype=np.int32) % num_parts

    parts = assign(data, 2, by_parity)
    assert np.array_equal(np.concatenate(list(parts.values())), np.arange(total) % 2)
    assert seen["indptr"].shape == (total + 1,) and seen["weights"].tolist() == [1] * total and seen["num_parts"] == 2
    for wrong, why in ((np.zeros(3, int), "one partition for each"), (np.full(total, 2), "node 0 is given partition 2"),
                       (np.zeros(total), "got float64")):
        with pytest.raises(DataError, match=why):
            assign(data, 2, lambda *_, wrong=wrong: wrong)


def test_a_file_has_one_partition_per_line(tmp_path):
    data = random_graph(0, 4, 6)
    path = tmp_path / "parts.txt"
    path.write_text("1\n0\n1\n1\n")
    assert assign(data, 2, path)[NTYPE].tolist() == [1, 0, 1, 1]
    for text, why in (("1\n0\n1\n", "each of 4 nodes"), ("1\n0\nx\n1\n", "parts.txt:3: expected the number"),
                      ("1\n0\n2\n1\n", "node 2 is given partition 2, not in 0..1"), ("1\n\n1\n1\n", "parts.txt:2")):
        path.write_text(text)
        with pytest.raises(DataError, match=why):
            assign(data, 2, path)


def test_unknown_methods_and_impossible_numbers_of_partitions_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'metis'"):
        assign(random_graph(), 2, "mettis")
    for parts in (0, -1):
        with pytest.raises(ConfigError, match="at least 1"):
            assign(random_graph(), parts, "random")
    with pytest.raises(ConfigError, match="seed is -1"):
        assign(random_graph(), 2, "random", seed=-1)
    for method in ("range", lambda indptr, *_: np.zeros(indptr.size - 1, int)):
        with pytest.raises(ConfigError, match="seed has no effect: .* needs none"):
            assign(random_graph(), 2, method, seed=1)
    with pytest.raises(DataError, match="assignment of 'author' nodes"):
        checked_assignment(random_hetero_graph().num_nodes, {"paper": np.zeros(30, int)}, 1)


@given(st.integers(1, 6), st.lists(st.integers(0, 5), max_size=30), st.integers(1, 31))
def test_new_ids_ascend_by_partition_then_by_original_id(num_parts, parts, at_a_time):
    parts = np.array(parts, np.int64) % num_parts
    with patch("mpignn.partition.relabel._CHUNK", at_a_time):
        found = relabel(parts, num_parts)
    assert np.argsort(found.new_id).tolist() == sorted(range(parts.size), key=lambda i: (parts[i], i))
    assert np.array_equal(np.sort(found.new_id), np.arange(parts.size))
    assert np.array_equal(np.diff(found.ranges), np.bincount(parts, minlength=num_parts))


@given(graphs(max_nodes=12), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=60)
def test_the_report_counts_what_loops_count(data, num_parts, rows_at_a_time):
    parts = random_assignment(data, num_parts)
    nodes = {t: relabel(p, num_parts) for t, p in parts.items()}
    indptr = {e: new_indptr(csc, nodes[e[2]].new_id) for e, csc in data.csc.items()}
    book = RangePartitionBook(data.schema, {t: r.ranges for t, r in nodes.items()},
                              {e: p[nodes[e[2]].ranges] for e, p in indptr.items()})
    rows = {e: [[] for _ in range(csc.num_dst)] for e, csc in data.csc.items()}
    for etype in data.csc:
        for dst, src, _ in edge_list(data, etype):
            rows[etype][dst].append(src)
    tallies = []
    for part in range(num_parts):
        tally = PartTally(book, part)
        for etype in data.csc:
            mine = np.flatnonzero(parts[etype[2]] == part)
            for begin in range(0, mine.size, rows_at_a_time):
                some = mine[begin:begin + rows_at_a_time]
                sources = np.array([s for d in some for s in rows[etype][d]], np.int64)
                tally.add(etype, np.array([len(rows[etype][d]) for d in some]), nodes[etype[0]].new_id[sources])
        tallies.append((tally.cut, tally.remote, tally.halo()))
    splits = {t: {name: np.array_split(nodes[t].new_id[ids], 2) for name, ids in data.splits[t].items()}
              for t in data.num_nodes}
    report = make_report(book, tallies, splits)

    for etype in data.csc:
        edges = edge_list(data, etype)
        cut = [parts[etype[0]][s] != parts[etype[2]][d] for d, s, _ in edges]
        shares = [np.mean([parts[etype[0]][s] != parts[etype[2]][d] for s in row])
                  for d, row in enumerate(rows[etype]) if row]
        of = report["edges"][etype_key(etype)]
        assert of["cut"] == sum(cut) and of["count"] == len(edges)
        assert of["remote_share"] == pytest.approx(np.mean(shares) if shares else 0)
    for ntype, count in data.num_nodes.items():
        halo = [{s for e in data.csc if e[0] == ntype for d, s, _ in edge_list(data, e)
                 if parts[e[2]][d] == part and parts[ntype][s] != part} for part in range(num_parts)]
        assert report["nodes"][ntype]["halo"] == [len(h) for h in halo]
        assert report["nodes"][ntype]["per_part"] == np.bincount(parts[ntype], minlength=num_parts).tolist()
        train = report["splits"][ntype]["train"]
        assert train["per_part"] == np.bincount(parts[ntype][data.splits[ntype]["train"]],
                                                minlength=num_parts).tolist()
        assert train["balance"] == (max(train["per_part"]) * num_parts / train["count"] if train["count"] else 1)
        assert report["nodes"][ntype]["count"] == count


def test_ids_in_several_splits_are_counted():
    book = RangePartitionBook(random_graph().schema, {NTYPE: [0, 9]}, {ETYPE: [0, 0]})
    splits = {NTYPE: {"train": [np.array([1]), np.array([2, 3])], "val": [np.array([3, 4])],
                      "test": [np.array([3, 1])]}}
    tally = PartTally(book, 0)
    report = make_report(book, [(tally.cut, tally.remote, tally.halo())], splits)
    assert report["overlap"] == {NTYPE: 2}


def test_a_library_that_is_not_there_is_told_before_anything_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("mpignn.partition.assign.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="kaminpar is not installed: pip install kaminpar, or --method metis"):
        check_choice(2, "kaminpar", 0, ())
    assert check_choice(1, "kaminpar", 0, ()) and check_choice(2, "metis", 0, ())
    (tmp_path / "edges.csv").write_text("src,dst\n1,\n")       # which would be an error, too
    with pytest.raises(ConfigError, match="not installed"):
        partition_graph(tmp_path / "edges.csv", tmp_path / "out", 2, method="kaminpar")
