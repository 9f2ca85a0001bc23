"""Gives every public function that takes ids or sizes these in all forms: equal results, or one error of ours.

``arguments_job.py FOLDER``, in one process; it partitions a graph there.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import mpignn as mg
from graphs import random_graph
from mpignn.errors import MpignnError

IDS, EDGES = np.arange(2, 8), np.arange(3, 9)
GOOD_IDS = {"list": list, "range": lambda a: range(a[0], a[-1] + 1), "int32": lambda a: a.astype("i4"),
            "uint8": lambda a: a.astype("u1"), "uint64": lambda a: a.astype("u8"), "swapped": lambda a: a.astype(">i8"),
            "tensor": torch.tensor, "tensor32": lambda a: torch.tensor(a, dtype=torch.int32)}
BAD_IDS = {"negative": lambda a: -a - 1, "floating": lambda a: a + 0.0, "rows": lambda a: a[:, None],
           "huge": lambda a: np.array([2**64 - 1], np.uint64), "text": lambda a: ["a"], "nothing": lambda a: [None]}
GOOD_NUMBERS = (np.int64(3), np.uint8(3), np.uint64(3), np.array(3), torch.tensor(3))
BAD_NUMBERS = (3.0, np.float64(3), -3, 10**30, "3", True, float("nan"), 2.5, [3], torch.tensor([3, 4]))


def main(g, world) -> None:
    folder = Path(sys.argv[1])
    sampler = mg.NeighborSampler([2, 2])
    tensor = mg.DistTensor((g.num_nodes(), 2), torch.float32, "tensor", g=g)
    rows = mg.DistEmbedding(g.num_nodes(), 4, "rows", g=g)

    def nodes(ids=IDS, sampler=sampler, **options):
        return list(mg.NodeDataLoader(g, ids, sampler, **({} if "global_batch_size" in options else {"batch_size": 3})
                                      | options))

    def edges(negative=None, **options):
        return list(mg.EdgeDataLoader(g, EDGES, sampler, **{"batch_size": 3} | options, negative_sampler=negative))

    of_ids = {"find_edges": lambda form: g.find_edges(form(EDGES)), "in_degrees": lambda form: g.in_degrees(form(IDS)),
              "data": lambda form: g.ndata["features"][form(IDS)], "tensor": lambda form: tensor[form(IDS)],
              "rows": lambda form: rows(form(IDS)), "sample": lambda form: mg.sample_neighbors(g, form(IDS), 2),
              "in_subgraph": lambda form: mg.in_subgraph(g, form(IDS)), "owners": lambda form: g.rank_of(form(IDS)),
              "originals": lambda form: g.orig_nids(form(IDS)), "new": lambda form: g.new_nids(form(IDS)),
              "nodes": lambda form: nodes(form(IDS)),
              "edges": lambda form: list(mg.EdgeDataLoader(g, form(EDGES), sampler, batch_size=3)),
              "any": lambda form: list(mg.DistDataLoader(form(IDS), 3, g=g))}
    for name, call in of_ids.items():
        wanted = flat(call(np.asarray))
        for form, give in GOOD_IDS.items():
            assert flat(call(give)) == wanted, (name, form)
        for form, give in BAD_IDS.items():
            if name != "any" or form not in ("negative",):      # they need be no ids of the graph
                refuse(lambda call=call, give=give: call(give), (name, form))

    of_numbers = {
        "fanout": lambda n: nodes(sampler=mg.NeighborSampler([n, 2])),
        "fanouts": lambda n: mg.settings(fanouts=[n] * 3),
        "labor": lambda n: nodes(sampler=mg.LaborSampler([n, 2])), "drawn": lambda n: mg.sample_neighbors(g, IDS, n),
        "layers": lambda n: nodes(sampler=mg.MultiLayerFullNeighborSampler(n)),
        "batch": lambda n: nodes(batch_size=n), "global batch": lambda n: nodes(global_batch_size=n),
        "prefetch": lambda n: nodes(prefetch=n), "seed": lambda n: nodes(seed=n, shuffle=True),
        "epoch": lambda n: mg.NodeDataLoader(g, IDS, sampler, batch_size=3).set_epoch(n),
        "uniform": lambda n: edges(mg.negative.Uniform(n)),
        "per source": lambda n: edges(mg.negative.PerSourceUniform(n)),
        "edge batch": lambda n: edges(batch_size=n), "columns": lambda n: mg.DistEmbedding(g.num_nodes(), n, g=g),
        "shape": lambda n: mg.DistTensor((g.num_nodes(), n), torch.float32, g=g),
        "every": lambda n: mg.Checkpoints(folder / "kept", g, every=n), "hidden": lambda n: mg.settings(hidden=n),
        "parts": lambda n: mg.partition_graph(random_graph(), fresh(folder), n, "random"),
        "partition's seed": lambda n: mg.partition_graph(random_graph(), fresh(folder), 2, "random", seed=n)}
    for name, call in of_numbers.items():
        wanted = flat(call(3))
        for number in GOOD_NUMBERS:
            assert flat(call(number)) == wanted, (name, number)
        for number in BAD_NUMBERS:
            if name not in ("hidden", "fanouts") or number != "3":      # texts are what flags are
                refuse(lambda call=call, number=number: call(number), (name, number))
    for name in (3, np.int64(3), 2.5, None):
        refuse(lambda name=name: mg.load_partition(folder / "graph", name), ("part", name))
        if name is not None:
            refuse(lambda name=name: g.num_edges(name), ("edge type", name))
    print("all tried")


def refuse(call, what) -> None:
    try:
        call()
    except MpignnError:
        return
    raise AssertionError(f"{what} is taken")


def flat(found) -> str:
    """What a call gave, for comparison, down to the numbers."""
    if isinstance(found, torch.Tensor | np.ndarray):
        return repr(found.tolist())
    if isinstance(found, list | tuple):
        return "".join(map(flat, found))
    if isinstance(found, mg.Block):
        return flat([part.indices for part in found.csc.values()])
    return repr(found) if isinstance(found, dict | mg.Config | None) else type(found).__name__


def fresh(folder: Path) -> Path:
    """A name of a folder that is not there."""
    return folder / f"cut-{len(list(folder.iterdir()))}"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    mg.partition_graph(random_graph(), place / "graph", 2, "range")
    mg.run(main, place / "graph", run_dir=place / "run", log="warning", hidden=np.int64(3), lr=np.float32(0.1),
           fanouts=range(3, 6), eval_fanouts=torch.tensor([2, 2, 2]))
