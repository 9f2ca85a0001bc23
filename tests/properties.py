"""Sequences of operations, drawn by hypothesis, that every job must do as NumPy does: on tensors, and on graphs.

The first rank draws them and tells the others, so that all do the same.  What must come out is worked out on every rank
from the source alone.

Shapes: T trainers, N rows.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from graphs import edge_list, graphs, random_assignment
from mpignn.comm.writable import REDUCTIONS
from mpignn.graph.types import etype_key
from mpignn.storage.write import write_graph

N = 97
_IDS = st.lists(st.integers(0, N - 1), max_size=12)
_INDICES = st.one_of(_IDS, _IDS.map(lambda ids: np.array(ids, np.int64)), st.slices(N), st.integers(0, N - 1),
                     st.lists(st.booleans(), min_size=N, max_size=N).map(np.array))
_WHO, _VALUE = st.integers(0, 7), st.integers(0, 9)
_ROUNDS = st.lists(st.one_of(
    st.tuples(st.sampled_from(sorted(REDUCTIONS)), st.lists(st.tuples(_WHO, _INDICES, _VALUE), max_size=8)),
    st.tuples(st.just("own"), st.lists(st.tuples(
        st.sampled_from(["set", "read", "flush", *sorted(REDUCTIONS)]), _WHO, _INDICES, _VALUE), max_size=10)),
    st.tuples(st.just("local"), _VALUE)), min_size=1, max_size=6)
TENSORS = st.tuples(st.sampled_from(["float32", "float64", "int64", "int8", "uint8"]),
                    st.sampled_from([(), (3,), (2, 2)]), st.sampled_from(["_N", "even"]), _ROUNDS, _INDICES)
GRAPHS = st.tuples(graphs(), st.integers(1, 4), st.sampled_from(["none", "topology", "all"]), st.integers(0, 99))


def examples(world, strategy, count: int) -> list:
    """Some examples of a strategy, the same on all ranks and each time."""
    found = []
    if world.rank == 0:
        @settings(max_examples=count, derandomize=True, database=None, phases=[Phase.generate], deadline=None,
                  suppress_health_check=list(HealthCheck))
        @given(strategy)
        def note(example):
            found.append(example)
        note()
    return world.all.bcast(found)


def tensor_as_numpy(g, rank: int, size: int, example) -> None:
    """Rounds of writes by all trainers, with a sync and a look at everything after each."""
    import torch

    from mpignn.store.tensor import DistTensor
    dtype, row, policy, rounds, last = example
    t = DistTensor((N, *row), getattr(torch, dtype), part_policy=policy, g=g,
                   init_func=lambda shape, dtype, ids: ids.reshape(-1, *[1] * len(row)).to(dtype).expand(shape))
    known = np.broadcast_to(np.arange(N).reshape(-1, *[1] * len(row)), (N, *row)).astype(dtype)
    for kind, steps in rounds:
        if kind == "own":
            _own_rows(t, rank, size, steps, known)
        elif kind == "local":
            known += np.array(steps, known.dtype)
            t.local.add_(steps)
        else:
            for who, index, value in steps:
                REDUCTIONS[kind].at(known, index, np.array(value, known.dtype))
                if who % size == rank:
                    getattr(t, f"{kind}_")(index, value)
        t.sync()
        np.testing.assert_array_equal(t[:], known, err_msg=kind)
        np.testing.assert_array_equal(t.local, known[t.local_ids])
        np.testing.assert_array_equal(t[last], known[last])
        assert t.count_nonzero() == np.count_nonzero(known)
        t.sync()
    t.free()


def _own_rows(t, rank: int, size: int, steps, known: np.ndarray) -> None:
    """Each trainer does as it likes to rows that no other touches, and sees at once what it did."""
    for way, who, index, value in steps:
        ids = np.atleast_1d(np.arange(N)[index])
        ids, value = ids[ids % size == who % size], np.array(value, known.dtype)
        mine = who % size == rank
        if way == "flush":
            t.flush()
        elif way == "read":
            if mine:
                np.testing.assert_array_equal(t[ids], known[ids])
        elif way == "set":
            known[ids] = value
            if mine:
                t[ids] = value.item()
        else:
            REDUCTIONS[way].at(known, ids, value)
            if mine:
                getattr(t, f"{way}_")(ids, value.item())


def graph_as_loops(world, example) -> None:
    """Ids, data, degrees and edges of a graph, asked for at random."""
    from mpignn.job.open_graph import open_graph
    data, num_parts, replicate, seed = example
    assignment = random_assignment(data, num_parts, seed)
    folder = Path(world.all.bcast(tempfile.mkdtemp() if world.rank == 0 else None))
    if world.rank == 0:
        write_graph(data, assignment, num_parts, folder / "g", out_edges=True)
    world.all.barrier()
    with open_graph(world, folder / "g", replicate) as g:
        if world.trainers is not None:
            _ask(g, data, assignment, np.random.default_rng([seed, world.rank]))
    if world.rank == 0:
        shutil.rmtree(folder)


def _ask(g, data, assignment, rng: np.random.Generator) -> None:
    orig = {t: np.argsort(parts, kind="stable") for t, parts in assignment.items()}
    new = {t: np.argsort(order) for t, order in orig.items()}

    def some(count: int) -> np.ndarray:
        return rng.integers(0, count, rng.integers(0, 30)) if count else np.empty(0, np.int64)

    for ntype, count in data.num_nodes.items():
        ids = some(count)
        np.testing.assert_array_equal(g.orig_nids(ids, ntype), orig[ntype][ids])
        np.testing.assert_array_equal(g.new_nids(ids, ntype), new[ntype][ids])
        np.testing.assert_array_equal(g.book.nid2partid(ids, ntype), assignment[ntype][orig[ntype][ids]])
        for name, rows in data.node_data[ntype].items():
            np.testing.assert_array_equal(g.nodes[ntype].data[name][ids], rows[orig[ntype][ids]])
    for etype in data.csc:
        src_type, _, dst_type = etype
        found = sorted(edge_list(data, etype), key=lambda edge: (new[dst_type][edge[0]], edge[1:]))
        dst, src, edge = np.array(found, np.int64).reshape(-1, 3).T
        dst, src = new[dst_type][dst], new[src_type][src]
        sources, targets = some(data.num_nodes[src_type]), some(data.num_nodes[dst_type])
        np.testing.assert_array_equal(g.in_degrees(targets, etype), (dst == targets[:, None]).sum(1))
        np.testing.assert_array_equal(g.out_degrees(sources, etype), (src == sources[:, None]).sum(1))
        ids = some(edge.size)
        for got, expected in zip(g.find_edges(ids, etype), (src[ids], dst[ids]), strict=True):
            np.testing.assert_array_equal(got, expected)
        weights = data.edge_data[etype]["weight"]
        np.testing.assert_array_equal(g.edges[etype].data["weight"][ids], weights[edge[ids]], err_msg=etype_key(etype))
        first = [np.flatnonzero((src == src[i]) & (dst == dst[i]))[0] for i in ids]
        np.testing.assert_array_equal(g.edge_ids(src[ids], dst[ids], etype), first)
