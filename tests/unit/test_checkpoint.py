"""Checkpoints of a whole run in one process: any cut of the same graph goes on from them, and nothing else does."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from holder import Holder
from services import serve

from graphs import random_hetero_graph
from mpignn.comm.group import LocalGroup
from mpignn.errors import ConfigError, DataError
from mpignn.nn import DistEmbedding, SparseAdam
from mpignn.roles import BOTH, Topology
from mpignn.storage import snapshot
from mpignn.store.graph import DistGraph
from mpignn.store.tensor import DistTensor
from mpignn.train import checkpoint
from mpignn.train.checkpoint_series import Checkpoints

GRAPH = random_hetero_graph(2, 25, 60)
EDGES = "paper:cites:paper"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("mpignn.storage.arrays.BLOCK_BYTES", 64)
    monkeypatch.setattr("mpignn.store.original._CHUNK", 4)


@pytest.fixture
def open_graph():
    """Opens the graph in a cut of its own; all are closed in the end."""
    opened = []

    def make(parts: int, source_id: str = "same"):
        served = serve(GRAPH, parts=parts, seed=parts)
        g = DistGraph(served.published, Topology((0,), (BOTH,)), LocalGroup(), {}, source_id=source_id)
        opened.append(g)
        return SimpleNamespace(g=g, orig=served.orig, new=served.new)
    yield make
    for g in opened:
        g.close()


def test_rows_that_no_checkpoint_would_hold_are_refused(open_graph, tmp_path):
    g = open_graph(2).g
    named, bare = (DistEmbedding(9, 2, name, part_policy="even", g=g) for name in ("rows", None))
    for model in (bare, torch.nn.Sequential(torch.nn.ReLU(), bare), SparseAdam([named, bare], 0.1)):
        for keep in (partial(checkpoint.save, tmp_path, 1, g), partial(Checkpoints, tmp_path, g)):
            with pytest.raises(ConfigError, match="model has an embedding without a name"):
                keep(model=model)
    checkpoint.save(tmp_path, 1, g, model=torch.nn.Sequential(named), optimizer=SparseAdam([named], 0.1))


def model_and_optimizer(seed: int, steps: int):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.9))
    for _ in range(steps):
        model(torch.ones(2, 4)).sum().backward()
        optimizer.step()
    return model, optimizer


def tensors(g) -> dict[str, DistTensor]:
    sizes = {"author": (g.num_nodes("author"), 3), "even": (17,), EDGES: (g.num_edges("cites"), 2)}
    return {policy: DistTensor(shape, torch.float64, name=f"of {policy}", part_policy=policy, persistent=True, g=g)
            for policy, shape in sizes.items()}


def fill(made, opened) -> None:
    """Values that are functions of original ids alone."""
    made["author"][:] = torch.from_numpy(opened.orig["author"]).double()[:, None] * torch.tensor([1, 10, 100.0])
    made["even"][:] = torch.arange(17).double()
    made[EDGES][:] = edge_values(opened)


def edge_values(opened) -> torch.Tensor:
    """(E, 2) original destination, and place in its row, of each edge."""
    g, etype = opened.g, opened.g.schema.etype("cites")
    _, dst = g.find_edges(torch.arange(g.num_edges(etype)), etype)
    start = np.concatenate([[0], np.cumsum(g.in_degrees(np.arange(g.num_nodes("paper")), etype).numpy())])
    orig = torch.from_numpy(opened.orig["paper"])[dst]
    return torch.stack([orig, torch.arange(dst.numel()) - torch.from_numpy(start)[dst]], 1).double()


def test_a_run_goes_on_in_any_cut_of_the_graph(open_graph, tmp_path):
    first, second = open_graph(3), open_graph(5)
    model, optimizer = model_and_optimizer(0, 3)
    fill(tensors(first.g), first)
    path = checkpoint.save(tmp_path, 3, first.g, settings={"lr": 0.1}, about={"epoch": 1}, model=model, optim=optimizer)
    assert path.name == "step-000000003" and checkpoint.latest(tmp_path) == path

    other, other_optimizer = model_and_optimizer(1, 1)
    mine = tensors(second.g)
    loaded = checkpoint.load(tmp_path, second.g, settings={"lr": 0.1}, model=other, optim=other_optimizer)
    assert (loaded.path, loaded.step, loaded.about) == (path, 3, {"epoch": 1})
    for policy, expected in (("author", torch.from_numpy(second.orig["author"]).double()[:, None]
                              * torch.tensor([1, 10, 100.0])),
                             ("even", torch.arange(17).double()), (EDGES, edge_values(second))):
        assert torch.equal(mine[policy][:], expected), policy
    for found, was in ((model, optimizer), (other, other_optimizer)):       # both go on alike
        was.zero_grad()
        found(torch.ones(2, 4)).sum().backward()
        was.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_the_files_do_not_tell_the_cut(open_graph, tmp_path):
    for parts in (1, 4):
        opened = open_graph(parts)
        fill(tensors(opened.g), opened)
        checkpoint.save(tmp_path / str(parts), 8, opened.g)
    for name in (snapshot.STATE, snapshot.MANIFEST):
        one, four = ((tmp_path / cut / "step-000000008" / name).read_bytes() for cut in "14")
        assert one == four


def test_tensors_that_are_not_there_yet_are_made(open_graph, tmp_path):
    opened = open_graph(2)
    bits = DistTensor((6, 2), torch.bfloat16, name="bits", part_policy="even", persistent=True, g=opened.g)
    bits[:] = torch.arange(12).reshape(6, 2).bfloat16() / 7
    checkpoint.save(tmp_path, 0, opened.g)
    later = open_graph(3)
    checkpoint.load(tmp_path, later.g)
    again = DistTensor((6, 2), torch.bfloat16, name="bits", part_policy="even", persistent=True, g=later.g,
                       init_func=lambda shape, dtype: torch.zeros(shape, dtype=dtype))
    assert torch.equal(again[:], bits[:])


def test_what_belongs_to_something_else_is_refused_with_the_difference(open_graph, tmp_path):
    opened = open_graph(2)
    model, _ = model_and_optimizer(0, 0)
    DistTensor((6,), torch.float32, name="t", part_policy="even", persistent=True, g=opened.g)
    checkpoint.save(tmp_path, 0, opened.g, settings={"lr": 0.1, "seed": 3}, model=model)

    def refused(text: str, source_id: str = "same", length: int = 6, settings=None, **objects):
        g = open_graph(2, source_id).g
        DistTensor((length,), torch.float32, name="t", part_policy="even", persistent=True, g=g)
        with pytest.raises(ConfigError, match=text) as found:
            checkpoint.load(tmp_path, g, settings=settings or {"lr": 0.1, "seed": 3}, **objects)
        assert found.value.agreed

    refused("another graph: same there, other here", source_id="other", model=model)
    refused("lr: 0.1 there, 0.2 here; seed: 3 there, nothing here", settings={"lr": 0.2}, model=model)
    refused(r"tensor t: .*\[6\].* there, .*\[7\].* here", length=7, model=model)
    refused("model: state there, nothing here; net: nothing there, state here", net=model)


def test_the_one_before_is_taken_where_the_newest_is_damaged(open_graph, tmp_path, caplog):
    opened = open_graph(2)
    made = tensors(opened.g)
    for step in (1, 2, 3):
        made["even"][:] = float(step)
        checkpoint.save(tmp_path, step, opened.g)
    raw = bytearray((tmp_path / "step-000000003" / snapshot.STATE).read_bytes())
    array = snapshot.read_manifest(tmp_path / "step-000000003").arrays[snapshot.array_name("tensors", "of even")]
    raw[array.offset + 70] ^= 1         # rows, which only their reader looks at
    (tmp_path / "step-000000003" / snapshot.STATE).write_bytes(raw)
    (tmp_path / "step-000000002" / snapshot.MANIFEST).unlink()
    assert checkpoint.load(tmp_path, opened.g).step == 1
    assert (made["even"][:] == 1).all()
    assert "rows 8..15 of tensors/of%20even are damaged" in caplog.text and "no whole checkpoint" in caplog.text
    with pytest.raises(DataError, match="damaged"):         # asked for by name
        checkpoint.load(tmp_path / "step-000000003", opened.g)
    (tmp_path / "step-000000001" / snapshot.MANIFEST).write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(tmp_path, opened.g)
    with pytest.raises(DataError, match="no checkpoint there"):
        checkpoint.load(tmp_path / "nowhere", opened.g)
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_the_last_and_the_best_are_kept(open_graph, tmp_path):
    g = open_graph(1).g
    for step in range(6):
        checkpoint.save(tmp_path, step, g, keep=2, best=1 if step else None)
    assert [step for step, _ in snapshot.found_in(tmp_path)] == [1, 4, 5]
    checkpoint.save(tmp_path, 6, g, keep=1, best=[1, 4])
    assert [step for step, _ in snapshot.found_in(tmp_path)] == [1, 4, 6]


@pytest.mark.parametrize("state", [
    {"a": [1, 2.5, float("nan"), None, "x", (True, -0.0)], 3: {"b": torch.tensor(2.0), "c": np.arange(3)}},
    {"bf": torch.arange(6).reshape(2, 3).bfloat16(), "bits": torch.tensor([True, False]), "none": torch.empty(0, 4)},
])
def test_any_state_comes_back_as_it_was(state, open_graph, tmp_path):
    g, found = open_graph(1).g, Holder()
    checkpoint.save(tmp_path, 0, g, thing=Holder(state))
    checkpoint.load(tmp_path, g, thing=found)
    assert repr(found.state) == repr(state)


def test_a_state_that_cannot_be_stored_is_named(open_graph, tmp_path):
    class Holder:
        def state_dict(self):
            return {"x": [1, {"y": object()}]}

        def load_state_dict(self, state): ...

    with pytest.raises(ConfigError, match=r"state.thing.x.1.y is a object"):
        checkpoint.save(tmp_path, 0, open_graph(1).g, thing=Holder())
    assert list(tmp_path.iterdir()) == []
