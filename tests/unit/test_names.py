"""Names are the user's: none of them means anything to the program, whatever it is."""

import sys
from dataclasses import fields
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from services import serve
from torch import nn

from graphs import random_graph, random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.config import ModelConfig, field_names
from mpignn.errors import ConfigError, DataError
from mpignn.graph.block import EID, NID, TIME, Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import GraphData
from mpignn.loader.node import NodeDataLoader
from mpignn.nn import HeteroGraphConv, SAGEConv, make_model
from mpignn.nn.names import module_key
from mpignn.roles import BOTH, Topology
from mpignn.sampling.neighbor import NeighborSampler
from mpignn.storage.read import GraphFile
from mpignn.storage.write import partition_graph
from mpignn.store.graph import DistGraph
from mpignn.store.placement import EVEN, EVEN_BESIDE_TYPE
from mpignn.store.tensor import DistTensor
from mpignn.train import checkpoint
from mpirun import run

ODD = ("..", "a.b", "a_b", "a%2Eb", "%", " ", "two words", "=", "a=b", ",", "*", "g[1]", "-1", "0", "1e3", "nan",
       "true", "\u00e4\u4e2d\U0001f600", "rev_to", "'", '"', "\\", "\n", "~", "None")


def reserved(folder):
    """Every word that means something somewhere in the program or in its files."""
    partition_graph(random_hetero_graph(2), folder, 2, method="random", out_edges=True)
    words = {EVEN, *dir(nn.ModuleDict()), *dir(nn.ParameterDict()), NID, EID, TIME, "train", "val", "test", "features",
             "labels", *field_names(), *(field.name for field in fields(Block))}

    def visit(name, item):
        words.update(name.split("/"), item.attrs)

    for path in folder.glob("*.h5"):
        with h5py.File(path, "r") as file:
            words.update(file.attrs)
            file.visititems(visit)
    return sorted(word for word in words if word and ":" not in word and word not in ODD) + list(ODD)


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A graph of which every type, and all data and splits, have such a name; in memory and partitioned."""
    folder = tmp_path_factory.mktemp("names")
    words = reserved(folder / "plain")
    sizes = {word: 3 + number % 4 for number, word in enumerate(words)}
    rng, etypes = np.random.default_rng(0), [(a, b, a) for a, b in zip(words, words[1:] + words[:1], strict=True)]
    csc = {e: CSC(np.arange(sizes[e[2]] + 1), np.sort(rng.integers(0, sizes[e[0]], sizes[e[2]]))) for e in etypes}
    node_data = {t: {word: np.arange(n, dtype=np.float32)[:, None] for word in (t, "features")}
                 for t, n in sizes.items()}
    data = GraphData(sizes, csc, node_data, {e: {e[0]: np.arange(sizes[e[2]])} for e in etypes},
                     {t: {t: np.arange(2)} for t in sizes})
    partition_graph(data, folder / "graph", 2, method="random")
    return SimpleNamespace(words=words, data=data, path=folder / "graph")


def test_files_hold_any_name(named):
    with GraphFile(named.path) as file:
        assert file.schema == named.data.schema and len(named.words) > 150
        for word in named.words:
            assert file.splits(word) == (word,) and file.split(word, word).size == 2


def test_modules_of_any_name_are_called_and_kept(named):
    served = serve(named.data, 2)
    etypes = served.published.schema.etypes
    seeds = {t: np.arange(2) for t in named.words}
    (block,) = NeighborSampler([2]).sample(served.published, seeds, 0)[2]
    x = {t: torch.ones(block.num_src_nodes(t), 1) for t in named.words}
    for mods in ({e[1]: SAGEConv(1, 1) for e in etypes}, {e: SAGEConv(1, 1) for e in etypes}):
        layer = HeteroGraphConv(mods)
        assert set(layer(block, x)) == set(named.words)
        assert len(list(layer.parameters())) == sum(len(list(m.parameters())) for m in mods.values())
        HeteroGraphConv({e: SAGEConv(1, 1) for e in mods}).load_state_dict(layer.state_dict())
    assert [module_key(name) for name in ("follows", "user:likes:item", "a_b")] == ["follows", "user:likes:item", "a_b"]
    widths = dict.fromkeys(named.words, 1)
    model = make_model(ModelConfig(model="rgcn", hidden=2), served.published.schema, widths, 2, 1)
    assert set(model([block], x)) == set(named.words)


def test_rows_of_a_type_of_any_name_go_on_in_another_cut(named, tmp_path):
    def opened(parts):
        served = serve(named.data, parts, seed=parts)
        return DistGraph(served.published, Topology((0,), (BOTH,)), LocalGroup(), {}, source_id="same"), served.orig

    def tensors(g):
        sizes = {t: g.num_nodes(t) for t in named.words} | {EVEN_BESIDE_TYPE: 9}
        return {t: DistTensor((n,), torch.int64, name=t, part_policy=t, persistent=True, g=g) for t, n in sizes.items()}

    first, orig = opened(3)
    with first as g:
        made = tensors(g)
        for t, tensor in made.items():
            tensor[:] = torch.from_numpy(orig[t]) if t in orig else torch.arange(9)
        checkpoint.save(tmp_path, 1, g)
        made[EVEN].to_hdf5(tmp_path / "rows.h5", "..")
    second, orig = opened(2)
    with second as g:
        checkpoint.load(tmp_path, g)
        for t, tensor in tensors(g).items():
            assert tensor[:].tolist() == (orig[t].tolist() if t in orig else list(range(9))), t
        with pytest.raises(DataError, match=":even"):
            DistTensor((99,), torch.int64, part_policy=EVEN, g=g)


@pytest.mark.parametrize("name", [".", "a//b", "/a", "a/.", "a\0"])
def test_a_name_that_no_file_can_hold_is_refused(name, tmp_path):
    with DistGraph(serve(random_graph()).published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g:
        tensor = DistTensor((3,), torch.int64, part_policy=EVEN, g=g)
        with pytest.raises(ConfigError, match="cannot be a name in an HDF5 file"):
            tensor.to_hdf5(tmp_path / "rows.h5", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [NID, TIME])
def test_data_under_the_name_of_ids_does_not_take_their_place(name):
    data = random_graph()
    data.node_data["_N"][name] = np.zeros(40)
    with DistGraph(serve(data).published, Topology((0,), (BOTH,)), LocalGroup(), {}) as g:
        sampler = NeighborSampler([2], prefetch_node_feats=[name])
        with pytest.raises(ConfigError, match=f"{name}.*another name"):
            NodeDataLoader(g, np.arange(9), sampler, batch_size=3)


def test_a_job_reads_any_name(named, tmp_path):
    """The type named train is the only one with a split of that name, and has data of that name."""
    words = ["-m", "mpignn", "train", str(named.path), "--run-dir", str(tmp_path / "run"), "--model", "rgcn", "--task",
             "node_regression", "--labels", "train", "--hidden", "2", "--fanouts", "1", "--epochs", "1"]
    for command in (words, ["-m", "mpignn", "check", str(named.path)]):
        done = run([sys.executable, *command])
        assert done.returncode == 0, str(done)
