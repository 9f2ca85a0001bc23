"""After the warm-up no kernel that batches run is compiled anew: their signatures are compared."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# The loaders and samplers run in a process of their own, in which nothing was compiled before.
PROGRAM = """
import importlib, pkgutil, sys
from dataclasses import replace
sys.path[:0] = {paths}
import numpy as np
from numba.core.dispatcher import Dispatcher
from services import MixedTransport, serve
from test_choice import weighted
from test_neighbor import CITES, hetero
from test_temporal import graph_of
import mpignn as mg
from mpignn import kernels, negative
from mpignn.sampling.warm import warming

modules = [importlib.import_module("mpignn.kernels." + m.name) for m in pkgutil.iter_modules(kernels.__path__)]
# What is inlined, or called by other kernels only, is compiled with these.
ALL = {{m.__name__ + "." + name: f for m in modules for name, f in vars(m).items() if isinstance(f, Dispatcher)
       and f.py_func.__module__ == m.__name__ and f.targetoptions.get("nogil")}}

def compiled():
    return {{name: set(f.signatures) for name, f in ALL.items()}}

graph = weighted(hetero(60, 20, 600, seed=3))
rng = np.random.default_rng(0)
nodes = {{t: {{"born": rng.integers(0, 9, n)}} for t, n in graph.num_nodes.items()}}
edges = {{e: data | {{"when": rng.integers(0, 9, graph.csc[e].num_edges)}} for e, data in graph.edge_data.items()}}
graph = replace(graph, node_data=nodes, edge_data=edges)
served = [serve(graph, 3, 3, visible, dtype, out_edges={out_edges}, partial=MixedTransport)
          for dtype in (np.int32, np.int64) for visible in (None, (1, 2))]
only_nodes = {only_nodes}
for call in warming([s.published for s in served], {chosen_by}, only_nodes):
    call()
before = compiled()
seeds, gone = {{"paper": np.arange(60)[::-2]}}, {{CITES: np.arange(0, 600, 7)}}
seeds["paper"].flags.writeable = False
for s in served:
    options = {options}
    for more in options:
        for eids in [False] if only_nodes else [False, True]:
            for repl in False, True:
                sampler = mg.NeighborSampler([3, 2], replace=repl, return_eids=eids, source_info=True, **more)
                times = {{"times": {{"paper": np.arange(30)}}}} if sampler.temporal else {{}}
                sampler.sample(s.published, seeds, 0, gone if eids else None, **times)
    if only_nodes:
        continue
    mg.LaborSampler([3]).sample(s.published, seeds, 0, gone)
    if {out_edges}:
        for more in {{}}, {{"prob": "w"}}, {{"mask": "m"}}, {{"exclude_edges": gone}}:
            mg.sample_neighbors(s.published, seeds, 3, "out", **more)
    g = graph_of(s)
    for make in negative.Uniform, negative.GlobalUniform, negative.InBatch, negative.Local:
        loader = mg.EdgeDataLoader(g, {{CITES: np.arange(100)}}, mg.NeighborSampler([3]), batch_size=60, shuffle=True,
                                   exclude="reverse_id", negative_sampler=make(2, exclude_edges=True))
        assert len(list(loader)) == 2
    assert len(list(mg.NodeDataLoader(g, seeds, mg.NeighborSampler([3], prefetch_node_feats=["born"]),
                                      batch_size=20))) == 2
after = compiled()
new = {{name: after[name] - before[name] for name in ALL if after[name] != before[name]}}
assert not new, new
left = sorted(name.removeprefix("mpignn.kernels.") for name, signatures in after.items() if not signatures)
print(*left)
"""
WAYS = """[{}, {"prob": "w"}, {"mask": "m"}, {"prob": "w", "mask": "m"}, {"edge_timestamp_attr_name": "when"},
           {"node_timestamp_attr_name": "born", "prob": "w", "mask": "m"}]"""
NAMED = """[{}, {"mask": "m"}, {"edge_timestamp_attr_name": "when", "mask": "m"}]"""
CHOOSING = {"older.mark_older", "weigh.close_gaps", "weigh.count_allowed", "weigh.pick_weighted", "weigh.take"}


@pytest.mark.parametrize(("only_nodes", "chosen_by", "out_edges", "options", "unused"), [
    (False, None, True, WAYS, ()),
    (True, (), False, "[{}]", {*CHOOSING, "pick.find_excluded", "pick.pick_neighbors_left"}),
    pytest.param(False, {"m", "when"}, False, NAMED, (), marks=pytest.mark.long),
    pytest.param(False, (), False, "[{}]", CHOOSING, marks=pytest.mark.long)])
def test_batches_compile_nothing_that_was_not_warmed_up(only_nodes, chosen_by, out_edges, options, unused):
    program = PROGRAM.format(paths=[str(HERE), str(HERE.parent)], only_nodes=only_nodes, chosen_by=repr(chosen_by),
                             out_edges=out_edges, options=options)
    done = subprocess.run([sys.executable, "-c", program], timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    left = {name for name in done.stdout.split() if name.split(".")[0] in ("older", "pick", "relabel", "view", "weigh")}
    # All kernels of sampling were run, but those not asked for, and those of graphs with very many nodes.
    assert left == {*unused, "relabel.tag", "relabel.sort_keys", "relabel.place_sorted"}


@pytest.mark.long
def test_kernels_for_very_many_nodes_are_warmed_up_where_there_are_so_many():
    program = PROGRAM.format(paths=[str(HERE), str(HERE.parent)], only_nodes=False, chosen_by="set()",
                             out_edges=False, options="[{}]")
    patched = "import mpignn.samplers; mpignn.samplers.MOST_IN_BITMAPS = 20\n" + program
    done = subprocess.run([sys.executable, "-c", patched], timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not {name for name in done.stdout.split() if name in ("relabel.tag", "relabel.sort_keys")}
