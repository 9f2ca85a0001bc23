"""What is computed for all nodes, layer by layer and spread over trainers, is what one process computes at once."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from test_dist_graph import GRAPHS, opened

from graphs import edge_list
from mpignn.errors import ConfigError, TrainingError
from mpignn.models import MODELS as RECORDS
from mpignn.models import takes_types

SHAPES = {"ranks_per_node": (None, 2)}
LONG = pytest.mark.long
MODELS = [("sage", "one type"), ("sage", "no edges"), ("gcn", "one type"), ("gat", "one type"), ("mlp", "one type"),
          *((name, "types") for name, model in RECORDS.items() if model.learns and takes_types(model)),
          ("all around sage", "types"),
          ("sage", "a type without nodes"), ("rgcn", "a type without nodes"), ("a layer per type", "types"),
          ("layers for some types", "types"), pytest.param("a layer per type", "a type without nodes", marks=LONG),
          pytest.param("gatv2", "one type", marks=LONG)]


def make_stack(model, g, columns):
    """Three layers."""
    from mpignn.config import ModelConfig
    from mpignn.nn import HeteroGraphConv, SAGEConv, make_model
    from mpignn.nn.stack import Stack
    if model.removeprefix("all around ") in RECORDS:
        more = {"jk": "cat", "residual": True, "layer_norm": True, "out_layers": 2} if model not in RECORDS else {}
        config = ModelConfig(model=model.removeprefix("all around "), hidden=8, heads=2,
                             norm="both" if g.is_homogeneous else "right", **more)
        return make_model(config, g.schema, columns, 5, 3)
    etypes = g.canonical_etypes if model == "a layer per type" else written_etypes(g)
    return Stack([HeteroGraphConv({etype: SAGEConv(of, to) for etype in etypes})
                  for of, to in ((3, 8), (8, 8), (8, 5))], dropout=0.5)


def written_etypes(g):
    """The edge types that lead to nodes of the first type which has some from nodes of its own."""
    ntype = next(src for src, _, dst in g.canonical_etypes if src == dst)
    return [etype for etype in g.canonical_etypes if etype[2] == ntype]


def scored_by_whole_numbers(g, num_nodes, seed):
    """Rows of small whole numbers, so that scores are equal: as tensors by original id, and spread; and a decoder.

    Collective over the trainers.
    """
    import torch

    from mpignn.nn.decoder import make_decoder
    from mpignn.store.tensor import DistTensor

    generator = torch.Generator().manual_seed(seed)
    dense = {t: torch.randint(-1, 2, (n, 4), generator=generator).float() for t, n in num_nodes.items()}
    rows = {t: DistTensor(tuple(of_type.shape), torch.float32, part_policy=t, g=g,
                          init_func=lambda shape, dtype, ids, t=t: dense[t][g.orig_nids(ids, t)])
            for t, of_type in dense.items()}
    decoder = make_decoder("distmult", len(g.canonical_etypes), 4)
    decoder.weight.data.copy_(torch.arange(decoder.weight.numel()).view_as(decoder.weight) % 3)
    return dense, rows, decoder


@pytest.mark.parametrize("model, name", MODELS)
@pytest.mark.ranks(1, 3, 5, **SHAPES)
def test_layers_one_after_the_other_give_what_whole_neighborhoods_give(world, model, name):
    with opened(world, GRAPHS[name]) as g:
        if world.trainers is None:
            return
        import torch

        from mpignn.sampling.neighbor import ALL, NeighborSampler
        from mpignn.store.graph import published_graph
        from mpignn.train.inference import DrawnRows, by_samples, layerwise
        from mpignn.train.network import Inputs, Network

        torch.manual_seed(0)
        widths = dict.fromkeys(g.ntypes, 3)
        inputs = Inputs(g.schema, "features", widths, torch.float32)
        stack = make_stack(model, g, inputs.columns)
        network = Network(inputs, stack).eval()
        options = {"source_info": stack.needs_source_info}
        everything = {t: np.arange(g.num_nodes(t)) for t in g.ntypes}
        wanted = g.ntypes if model != "layers for some types" else (written_etypes(g)[0][2],)
        sampler, whole = NeighborSampler([2, 1, 2], **options), NeighborSampler([ALL], **options)
        for found, dense, key in (
                (layerwise(g, network, whole, wanted, batch_size=4), NeighborSampler([ALL] * 3, **options), 0),
                (by_samples(g, network, sampler, wanted, key=5, batch_size=4), sampler, 5)):
            _, _, blocks = dense.sample(published_graph(g), everything, key)
            features = {t: g.nodes[t].data["features"][ids] for t, ids in blocks[0].src_ids.items()}
            with torch.no_grad():
                expected = stack(blocks, inputs.of_nodes(features, blocks[0].src_ids))
            expected = expected if isinstance(expected, dict) else {g.ntypes[0]: expected}
            for t in wanted:
                torch.testing.assert_close(found[t].read_together(everything[t]), expected[t], rtol=1e-5, atol=1e-5)
                if key and g.num_nodes(t):
                    some = np.arange(4 + g.trainers.rank) % g.num_nodes(t)
                    drawn = DrawnRows(g, network, sampler, t, key).read_together(some, batch_size=2)
                    torch.testing.assert_close(drawn, expected[t][some], rtol=1e-5, atol=1e-5)
        for ntype in set(g.ntypes) - set(wanted):
            for infer in (lambda t=ntype: layerwise(g, network, whole, [t]),
                          lambda t=ntype: by_samples(g, network, sampler, [t], key=5)):
                with pytest.raises(ConfigError, match=f"gives nodes of type '{ntype}' no rows") as raised:
                    infer()
                assert raised.value.agreed


@pytest.mark.parametrize("filtered", [True, False])
@pytest.mark.parametrize("name", ["one type", "types"])
@pytest.mark.ranks(1, 3, 4, **SHAPES)
def test_links_have_the_ranks_that_plain_loops_give_them(world, name, filtered):
    with opened(world, GRAPHS[name]) as g:
        if world.trainers is None:
            return
        import torch

        from mpignn.train.link_ranking import rank_links, ranks_and_rivals

        data, rank, size = GRAPHS[name], g.trainers.rank, g.trainers.size
        dense, rows, decoder = scored_by_whole_numbers(g, data.num_nodes, 0)
        for number, etype in enumerate(g.canonical_etypes):
            eids = np.arange(rank, g.num_edges(etype), 2 * size)
            ranks, held_against = (found.view(2, -1) for found in ranks_and_rivals(
                g, rows, decoder, etype, eids, filtered, None, 0))
            assert torch.equal(ranks.view(-1), rank_links(g, rows, decoder, etype, eids, filtered, None, 0))
            drawn = rank_links(g, rows, decoder, etype, eids, filtered, 3, key=9)
            assert drawn.shape == (2 * eids.size,) and (drawn <= 4).all() and (drawn >= 1).all()
            src, dst = g.find_edges(eids, etype)
            src, dst = g.orig_nids(src, etype[0]).tolist(), g.orig_nids(dst, etype[2]).tolist()
            scores = (dense[etype[0]] * decoder.weight[number].detach()) @ dense[etype[2]].T
            true = {(s, d) for d, s, _ in edge_list(data, etype)}
            for place, (s, d) in enumerate(zip(src, dst, strict=True)):
                for side, line, me, others in (
                        (0, scores[s], d, [(s, v) for v in range(len(scores[s]))]),
                        (1, scores[:, d], s, [(v, d) for v in range(len(scores))])):
                    rivals = [float(line[v]) for v, pair in enumerate(others)
                              if v != me and not (filtered and pair in true)]
                    mine = float(line[me])
                    expected = 1 + sum(x > mine for x in rivals) + sum(x == mine for x in rivals) / 2
                    assert ranks[side, place] == expected, (etype, s, d, side)
                    assert held_against[side, place] == len(rivals)
        for tensor in rows.values():
            tensor.local[:] = torch.inf         # of which some scores are NaN, and others infinite
            tensor.sync()
        assert rank_links(g, rows, decoder, etype, eids, filtered, None, 0).isnan().all()


@pytest.mark.parametrize("name", ["one type", "types"])
@pytest.mark.ranks(1, 3, 4, **SHAPES)
def test_new_links_are_those_that_plain_loops_find(world, name):
    with opened(world, GRAPHS[name]) as g:
        if world.trainers is None:
            return
        import torch

        from mpignn.train import top_links

        top_links._CHUNK_EDGES = 5
        data, rank, size = GRAPHS[name], g.trainers.rank, g.trainers.size
        dense, rows, decoder = scored_by_whole_numbers(g, data.num_nodes, 1)
        for number, etype in enumerate(g.canonical_etypes):
            sources = np.arange(rank, data.num_nodes[etype[0]], size)[::-1].copy()
            scores = (dense[etype[0]] * decoder.weight[number].detach()) @ dense[etype[2]].T
            taken = {(s, d) for d, s, _ in edge_list(data, etype)}
            taken |= {(s, s) for s in sources.tolist()} if etype[0] == etype[2] else set()
            for k in (1, 4, 1000):
                ids, best = top_links.best_links(g, rows, decoder, etype, sources, k, candidates=3)
                assert ids.shape == best.shape == (sources.size, min(k, data.num_nodes[etype[2]]))
                for row, s in enumerate(sources.tolist()):
                    new = sorted((-float(scores[s, d]), d) for d in range(data.num_nodes[etype[2]])
                                 if (s, d) not in taken)[:k]
                    assert ids[row].tolist() == [d for _, d in new] + [-1] * (ids.shape[1] - len(new)), (etype, s, k)
                    assert best[row, :len(new)].tolist() == [-score for score, _ in new]
        for tensor in rows.values():
            tensor.local[:] = torch.inf
            tensor.sync()
        with pytest.raises(TrainingError, match="not finite"):
            top_links.best_links(g, rows, decoder, etype, sources[:1], 2)
        g.trainers.barrier()


@pytest.mark.ranks(1, 3, 5, **SHAPES)
def test_a_file_of_scores_has_the_bytes_that_one_process_writes(world):
    with opened(world, GRAPHS["types"]) as g:
        if world.trainers is None:
            return
        import torch

        from mpignn.nn.decoder import make_decoder
        from mpignn.options import load_config
        from mpignn.storage.array_writers import RowWriter, make_file, write_crcs
        from mpignn.storage.arrays import ArrayType
        from mpignn.store.tensor import DistTensor
        from mpignn.train import predictions
        from mpignn.train.network import Inputs, Network
        from mpignn.train.tasks.goal import Goal
        from mpignn.train.tasks.link import LinkPrediction

        predictions._BLOCK = 4
        data, etype = GRAPHS["types"], ("paper", "in", "venue")
        goal = Goal("link_prediction", None, (etype,), "features", {}, None, 1, None)
        task = LinkPrediction(g, load_config(None, {}), goal)
        dense = {t: torch.arange(3.0 * data.num_nodes[t]).view(-1, 3) % 7 for t in ("paper", "venue")}
        rows = {t: DistTensor(tuple(of_type.shape), torch.float32, part_policy=t, g=g,
                              init_func=lambda shape, dtype, ids, t=t: dense[t][g.orig_nids(ids, t)])
                for t, of_type in dense.items()}
        inputs = Inputs(g.schema, "features", {}, torch.float32)
        network = Network(inputs, torch.nn.Identity(), make_decoder("dot", 4, 3))
        folder = Path(world.trainers.bcast(tempfile.mkdtemp() if world.trainers.rank == 0 else None))
        predictions.write(g, task, network, rows, "train", folder / "shared.h5")
        if world.trainers.rank == 0:
            ids = data.splits["paper:in:venue"]["train"]
            ends = {edge: (src, dst) for dst, src, edge in edge_list(data, etype)}
            src, dst = (np.array([ends[edge][end] for edge in ids.tolist()], np.int64) for end in (0, 1))
            expected = {f"node/{t}/embedding": of_type.numpy() for t, of_type in dense.items()}
            base = "edge/paper:in:venue"
            expected |= {f"{base}/src": src, f"{base}/dst": dst,
                         f"{base}/score": (dense["paper"][src] * dense["venue"][dst]).sum(1).numpy()}
            alone = folder / "alone.h5"
            made = make_file(alone, {name: ArrayType(of_name.shape, of_name.dtype)
                                     for name, of_name in expected.items()}, {"task": task.kind, "split": "train"})
            writer = RowWriter(alone, made)
            for name, of_name in expected.items():
                writer.write(name, 0, of_name)
            writer.close()
            write_crcs(alone, made, writer.pieces)
            assert ids.size > 4 and alone.read_bytes() == (folder / "shared.h5").read_bytes()
