"""What all loaders share: every id once, equal steps, and passes that go on where they stopped."""

import itertools

import numpy as np
import pytest
import torch
from services import serve
from test_loader import Trainer, graphs_of

from graphs import random_graph
from mpignn.errors import ConfigError, DataError
from mpignn.loader.base import DistDataLoader
from mpignn.loader.node import NodeDataLoader
from mpignn.sampling.neighbor import NeighborSampler

SERVED = serve(random_graph(1))


class Told(Trainer):
    """A trainer that hears what all say."""

    def __init__(self, rank, said):
        super().__init__(rank, len(said))
        self._said = said

    def allgather(self, value):
        assert value == self._said[self.rank]
        return self._said


def loaders(ids, trainers, **options):
    return [DistDataLoader(ids, g=g, **options) for g in graphs_of(SERVED, trainers)]


def together(batches):
    return torch.cat([*batches, torch.empty(0, dtype=torch.int64)])


@pytest.mark.parametrize("trainers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("count", [0, 1, "T-1", "T", "T+1", 4097])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_id_exactly_once_and_equal_steps(count, trainers, shuffle):
    count = eval(count, {"T": trainers}) if isinstance(count, str) else count
    ids = 10 + np.random.default_rng(0).permutation(5000)[:count]
    of_all = loaders(ids, trainers, batch_size=100, shuffle=shuffle, seed=3)
    got = [list(loader) for loader in of_all]
    assert {len(batches) for batches in got} == {len(of_all[0])} == {-(-count // (100 * trainers))}
    assert sorted(together(sum(got, [])).tolist()) == sorted(ids.tolist())
    for step in zip(*got, strict=True):
        sizes = [batch.shape[0] for batch in step]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("trainers", [2, 3])
def test_a_step_is_the_same_ids_for_any_number_of_trainers(trainers):
    ids = np.arange(1000)
    (one,) = loaders(ids, 1, global_batch_size=64, shuffle=True)
    several = loaders(ids, trainers, global_batch_size=64, shuffle=True)
    for whole, parts in zip(one, zip(*several, strict=True), strict=True):
        assert whole.tolist() == sorted(together(parts).tolist())


def test_the_order_is_that_of_the_ids():
    ids = np.random.default_rng(0).permutation(50)
    for step, batch in enumerate(DistDataLoader(ids, 8)):
        assert batch.dtype == torch.int64 and batch.tolist() == sorted(ids[8 * step:8 * step + 8].tolist())
    typed = DistDataLoader({"a": [3, 1], "b": [7]}, 3, lambda ids: {kind: of_kind + 1 for kind, of_kind in ids.items()})
    assert [{kind: of_kind.tolist() for kind, of_kind in batch.items()} for batch in typed] == [{"a": [2, 4], "b": [8]}]


@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("stop", [0, 1, 5, 7])
def test_a_pass_goes_on_where_it_stopped(prefetch, stop):
    def make(trainers=1):
        return loaders(np.arange(40), trainers, global_batch_size=6, shuffle=True, prefetch=prefetch)

    (whole,), (begun,), (resumed,) = make(), make(), make()
    for loader in whole, begun:
        loader.set_epoch(2)
    expected = [batch.tolist() for batch in whole]
    assert whole.state_dict() == {"epoch": 2, "step": 7}
    assert [batch.tolist() for batch in itertools.islice(begun, stop)] == expected[:stop]
    state = {"epoch": 2, "step": stop}
    assert begun.state_dict() == state
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state
    resumed.set_epoch(2)        # as loops do at the top of each epoch
    assert [batch.tolist() for batch in resumed] == expected[stop:] and len(resumed) == 7
    assert resumed.state_dict() == {"epoch": 2, "step": 7}
    assert [batch.tolist() for batch in resumed] == expected     # another pass is a whole one
    others = make(3)
    for loader in others:
        loader.load_state_dict(state)
    assert [sorted(together(parts).tolist()) for parts in zip(*others, strict=True)] == expected[stop:]


def test_the_state_counts_what_was_delivered():
    loader = DistDataLoader(np.arange(40), 6, prefetch=4)
    assert loader.state_dict() == {"epoch": 0, "step": 0}
    for step, _ in enumerate(loader):
        assert loader.state_dict() == {"epoch": 0, "step": step + 1}
    loader.set_epoch(1)
    assert loader.state_dict() == {"epoch": 1, "step": 0}


@pytest.mark.parametrize("state", [{"epoch": 0}, {"epoch": 0, "step": 8}, {"epoch": 0, "step": -1},
                                   {"epoch": 0, "step": "1"}, 3])
def test_states_of_other_loaders_are_refused(state):
    with pytest.raises(ConfigError, match="state"):
        DistDataLoader(np.arange(40), 6).load_state_dict(state)


@pytest.mark.parametrize("drop_last", [False, True])
def test_own_ids_are_not_dealt_and_steps_are_equal(drop_last):
    own = [np.arange(0, 10), np.arange(10, 13), np.arange(0)]
    graphs, counts = graphs_of(SERVED, 3), [ids.size for ids in own]
    for rank, g in enumerate(graphs):
        g._trainers = Told(rank, counts)
    made = [DistDataLoader(ids, 4, g=g, use_ddp=False, drop_last=drop_last, shuffle=True)
            for ids, g in zip(own, graphs, strict=True)]
    assert [len(loader) for loader in made] == [0 if drop_last else 3] * 3
    got = [list(loader) for loader in made]
    if not drop_last:
        for ids, batches in zip(own, got, strict=True):
            assert sorted(together(batches).tolist()) == ids.tolist()
        sizes = []
        for _ in zip(*made, strict=True):
            assert len({loader.global_size for loader in made}) == 1 and made[0].scale == 3 / made[0].global_size
            sizes.append(made[0].global_size)
        assert sizes == [7, 4, 2]


@pytest.mark.parametrize("trainers", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_padding_evens_the_shares_out(trainers, count):
    made = loaders(np.arange(count), trainers, global_batch_size=7, pad="repeat", shuffle=True)
    (plain,) = loaders(np.arange(count), 1, global_batch_size=7, shuffle=True)
    for whole, *parts in zip(plain, *made, strict=True):
        assert {part.shape[0] for part in parts} == {-(-whole.shape[0] // trainers)}
        assert all(part.unique().shape == part.shape for part in parts)
        assert together(parts).unique().tolist() == whole.tolist()
        assert made[0].global_size == together(parts).shape[0] and made[0].scale == trainers / made[0].global_size


@pytest.mark.parametrize(("options", "error", "part"), [
    ({"num_workers": 2}, ConfigError, "num_workers is 2: .*MPI"),
    ({"pad": "zeros"}, ConfigError, "pad is 'zeros'"),
    ({"use_ddp": False, "pad": "repeat"}, ConfigError, "own ids"),
    ({"use_ddp": False, "batch_size": None, "global_batch_size": 3}, ConfigError, "own ids"),
    ({"ids": [1.5]}, DataError, "float64"),
    ({"ids": [[1]]}, DataError, "one dimension"),
])
def test_what_cannot_be_is_refused(options, error, part):
    with pytest.raises(error, match=part):
        DistDataLoader(**({"ids": [1], "batch_size": 2} | options))


def test_tensors_go_to_the_device():
    (g,) = graphs_of(SERVED, 1)
    for batch in DistDataLoader([1, 2], 2, device="meta"):
        assert batch.device.type == "meta"
    sampler = NeighborSampler([2], prefetch_node_feats=["features"], prefetch_labels=["labels"])
    for inputs, outputs, (block,) in NodeDataLoader(g, [1, 2], sampler, batch_size=2, device="meta"):
        assert {t.device.type for t in (inputs, outputs, *block.srcdata.values(), *block.dstdata.values())} == {"meta"}
