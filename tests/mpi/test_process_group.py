"""torch.distributed over MPI: its collectives, and gradients by DDP and by one flat sum."""

import numpy as np
import pytest


def start(world):
    """torch.distributed with every rank as a trainer; a process starts it once and keeps it."""
    import torch.distributed as dist

    from mpignn.mpi.process_group import init_process_group
    from mpignn.mpi.world import initialize
    if not dist.is_initialized():
        init_process_group(initialize(servers_per_node=0))      # every rank trains
    return dist


@pytest.mark.ranks(1, 2, 3)
def test_rank_and_size_are_those_of_the_trainers(world):
    dist = start(world)
    assert dist.get_backend() == "mpignn"
    assert (dist.get_rank(), dist.get_world_size()) == (world.rank, world.size)


@pytest.mark.ranks(1, 2, 3)
def test_all_reduce(world):
    import torch
    dist, n, r = start(world), world.size, world.rank
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8):
        for op, expected in ((dist.ReduceOp.SUM, n * (n + 1) // 2), (dist.ReduceOp.MAX, n), (dist.ReduceOp.MIN, 1),
                             (dist.ReduceOp.PRODUCT, int(np.prod(range(1, n + 1))))):
            tensor = torch.full((2, 3), r + 1, dtype=dtype)
            dist.all_reduce(tensor, op=op)
            assert tensor.dtype == dtype and (tensor == expected).all(), (dtype, op)
    tensor = torch.full((), float(r))
    dist.all_reduce(tensor, op=dist.ReduceOp.AVG)
    assert tensor == (n - 1) / 2
    flags = torch.tensor([r == 0, False])
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    assert flags.tolist() == [True, False]


@pytest.mark.ranks(2, 3)
def test_tensors_of_any_layout(world):
    import torch
    dist, n = start(world), world.size
    whole = torch.zeros(4, 6)
    whole[:, ::2] += 1
    dist.all_reduce(whole[:, ::2])
    assert (whole[:, ::2] == n).all() and (whole[:, 1::2] == 0).all()
    dist.all_reduce(torch.empty(0))
    parameter = torch.nn.Parameter(torch.ones(3))
    dist.broadcast(parameter.data, 0)
    assert parameter.tolist() == [1, 1, 1]


@pytest.mark.ranks(1, 2, 3)
def test_broadcast_reduce_and_gathers(world):
    import torch
    dist, n, r = start(world), world.size, world.rank
    root = n - 1
    tensor = torch.full((5,), r, dtype=torch.int64)
    dist.broadcast(tensor, root)
    assert (tensor == root).all()
    tensor = torch.full((2,), float(r + 1))
    dist.reduce(tensor, root)
    assert (tensor == (n * (n + 1) / 2 if r == root else r + 1)).all()     # elsewhere it stays as it was
    for dtype in (torch.float32, torch.bfloat16, torch.bool):
        mine = torch.full((2,), r % 2, dtype=dtype)
        outputs = [torch.empty(2, dtype=dtype) for _ in range(n)]
        dist.all_gather(outputs, mine)
        assert [o[0].item() for o in outputs] == [k % 2 for k in range(n)]
        outputs = [torch.empty(2, dtype=dtype) for _ in range(n)] if r == root else None
        dist.gather(mine, outputs, root)
        assert outputs is None or [o[1].item() for o in outputs] == [k % 2 for k in range(n)]
    objects = [None] * n
    dist.all_gather_object(objects, {"rank": r})
    assert objects == [{"rank": k} for k in range(n)]
    flat = torch.empty(2 * n)
    getattr(dist, "all_gather_single", dist.all_gather_into_tensor)(flat, torch.full((2,), float(r)))
    assert flat.tolist() == [k for k in range(n) for _ in range(2)]
    dist.barrier()


@pytest.mark.ranks(2, 3)
def test_asynchronous_calls_give_completed_work(world):
    import torch
    dist = start(world)
    tensor = torch.ones(3)
    work = dist.all_reduce(tensor, async_op=True)
    assert work.is_completed() and work.wait()
    assert work.get_future().value()[0].data_ptr() == tensor.data_ptr()
    assert (tensor == world.size).all()


@pytest.mark.ranks(3)
def test_groups_of_some_ranks(world):
    import torch
    dist = start(world)
    pair = dist.new_group([0, 2])
    tensor = torch.full((2,), float(world.rank))
    if world.rank != 1:
        assert dist.get_rank(pair) == world.rank // 2
        dist.all_reduce(tensor, group=pair)
    assert tensor.tolist() == [[2, 2], [1, 1], [2, 2]][world.rank]


@pytest.mark.ranks(2)
def test_an_unknown_reduction_is_an_error(world):
    import torch

    from mpignn.errors import CommError
    dist = start(world)
    with pytest.raises(CommError, match="BXOR"):
        dist.all_reduce(torch.ones(1, dtype=torch.int64), op=dist.ReduceOp.BXOR)


@pytest.mark.ranks(2, 3)
def test_without_nccl_on_one_rank_there_is_none_on_any(world):
    from types import SimpleNamespace

    from mpignn.mpi import nccl
    start(world)
    connects = SimpleNamespace(ncclGetUniqueId=lambda where: 0)         # and nothing more: the next call would fail
    fails = SimpleNamespace(ncclGetUniqueId=lambda where: 3, ncclGetErrorString=lambda result: b"internal error")
    load = nccl._load
    try:
        for first, others in ((connects, None), (None, connects), (None, None), (fails, connects)):
            own = first if world.rank == 0 else others
            nccl._load = lambda own=own: own
            assert nccl.connect(world.world) is None
    finally:
        nccl._load = load


@pytest.mark.ranks(1, 2, 3)
def test_ddp_gives_the_gradients_of_one_flat_sum(world):
    """Uneven shares, an empty one too, and a parameter that only rank 0 uses."""
    import torch

    from mpignn.mpi.process_group import wrap
    dist, n, r = start(world), world.size, world.rank

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.extra, self.last = (torch.nn.Linear(4, 4, dtype=torch.float64) for _ in range(3))

        def forward(self, x, with_extra):
            x = torch.relu(self.first(x))
            return self.last(self.extra(x) if with_extra else x)

    torch.manual_seed(r)        # DDP takes the parameters of the first trainer
    model = Model()
    wrapped = wrap(model, world)
    for step in range(3):
        x = torch.randn(5 * r, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(10 * step + r))
        model.zero_grad()
        model(x, r == 0).square().sum().backward()
        flat = torch.cat([torch.zeros(p.numel(), dtype=p.dtype) if p.grad is None else p.grad.reshape(-1)
                          for p in model.parameters()])
        dist.all_reduce(flat, op=dist.ReduceOp.AVG)
        model.zero_grad()
        wrapped(x, r == 0).square().sum().backward()
        by_ddp = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        torch.testing.assert_close(by_ddp, flat, rtol=1e-12, atol=1e-14)
        assert n == 1 or flat.abs().sum() > 0
