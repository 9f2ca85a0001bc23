"""Kernels that are kept are loaded by all trainers at once; what is not kept is compiled by one of the machine, or
beforehand."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from test_partition_on_ranks import common_folder

from mpignn.kernels import compiled

WORK = SimpleNamespace(config=None, is_own_program=False)


class Kernel:
    """What calls one kernel would: ``path`` is there when it is kept, and says who has compiled it."""

    def __init__(self, path, rank):
        self.path, self.rank, self.ready = path, rank, False

    def __call__(self):
        if not self.ready and not self.path.exists():
            if compiled._loading:
                raise compiled._NotKept
            with open(self.path, "x") as file:      # fails where two do so
                file.write(str(self.rank))
        self.ready = True


@pytest.mark.ranks(1, 3, 5, ranks_per_node=(None, 2))
@pytest.mark.parametrize("kept", [(), (0, 3), (0, 1, 2, 3, 4, 5)])
def test_each_is_compiled_by_one_and_ready_on_all(world, kept):
    from mpignn.job.launch import _warm
    with common_folder(world) as folder:
        if world.rank == 0:
            for number in kept:
                (folder / str(number)).write_text("before")
        world.all.barrier()
        calls = [Kernel(folder / str(number), world.rank) for number in range(6)]
        trainer = SimpleNamespace(kernel_calls=lambda *_: calls) if world.is_trainer else None
        _warm(world, trainer, WORK, [])
        assert all(call.ready for call in calls) == world.is_trainer
        world.all.barrier()
        compiled_by = [int(call.path.read_text()) for number, call in enumerate(calls) if number not in kept]
        trainers = world.topology.trainer_ranks
        assert set(compiled_by) <= set(trainers)
        # The first has the longest, and nothing else; the others share what is left.
        assert compiled_by[1:].count(compiled_by[0] if compiled_by else None) == (
            max(len(compiled_by) - 1, 0) if len(trainers) == 1 else 0)
        assert len(set(compiled_by)) == min(len(trainers), len(compiled_by))


@pytest.mark.ranks(1)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_what_is_compiled_beforehand_is_all_that_jobs_need(world, index):
    """Of all models, precisions and optimizers, with edge weights and times of the usual types."""
    from mpignn.config import Config, EmbeddingConfig, LoaderConfig, ModelConfig, TrainConfig
    from mpignn.job import trainer, warm_up
    from mpignn.models import MODELS
    from mpignn.sampling.warm import small_graph
    for calls in warm_up.groups().values():
        assert all(map(compiled.load, calls)), "the tests begin with compiling them"
    graph = small_graph(np.dtype(index), {np.dtype(np.float32), np.dtype(np.bool_)}, {np.dtype(np.int64)})
    of_graph, trainer.published_graph = trainer.published_graph, lambda g: g
    try:
        for model, precision, optimizer, own in itertools.product(MODELS, ("fp32", "fp64", "bf16"), ("sgd", "adam"),
                                                                  (False, True)):
            config = Config(model=ModelConfig(model=model), train=TrainConfig(precision=precision),
                            embedding=EmbeddingConfig(embed_optimizer=optimizer), loader=LoaderConfig(cache="10%"))
            for number, call in enumerate(trainer.kernel_calls(config, [graph], own)):
                assert compiled.load(call), (model, precision, optimizer, own, number)
    finally:
        trainer.published_graph = of_graph
