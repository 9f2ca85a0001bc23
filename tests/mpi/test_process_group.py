"""torch.distributed over MPI: its collectives, and gradients by DDP and by one flat sum."""

import numpy as np
import pytest

pytestmark = pytest.mark.each_library


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


def twin(world):
    """A process group of torch's own backend gloo over the same ranks."""
    import os
    import tempfile
    from datetime import timedelta

    import torch.distributed as dist
    path = world.all.bcast(tempfile.mkdtemp() if world.rank == 0 else None)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    return dist.ProcessGroupGloo(dist.FileStore(os.path.join(path, "store"), world.size), world.rank, world.size,
                                 timedelta(seconds=60))


def operations(group, n: int, r: int, dtype) -> dict:
    """What each operation of a group gives on this rank, of tensors that no two ranks have alike."""
    import torch
    import torch._C._distributed_c10d as c10d

    def rows(*shape):
        made = torch.arange(int(np.prod(shape))).reshape(shape) * (r + 2) % 7
        return (made > 2) if dtype is torch.bool else made.to(dtype)

    def options(kind, **values):
        made = kind()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    root, found = n - 1, {}
    def empty(*shape):
        return torch.zeros(shape, dtype=dtype)

    found["broadcast"] = rows(2, 3)
    group.broadcast([found["broadcast"]], options(c10d.BroadcastOptions, rootRank=root)).wait()
    found["allgather"] = [empty(2, 3) for _ in range(n)]
    group.allgather([found["allgather"]], [rows(2, 3)], c10d.AllgatherOptions()).wait()
    found["gather"] = [empty(4) for _ in range(n)] if r == root else []
    group.gather([found["gather"]] if r == root else [], [rows(4)], options(c10d.GatherOptions, rootRank=root)).wait()
    found["scatter"] = empty(3)
    group.scatter([found["scatter"]], [list(rows(n, 3))] if r == root else [],
                  options(c10d.ScatterOptions, rootRank=root)).wait()
    found["alltoall"] = empty(n, 2)
    alike = group.alltoall_base if hasattr(group, "alltoall_base") else group.all_to_all_single
    alike(found["alltoall"], rows(n, 2), [], [], c10d.AllToAllOptions()).wait()
    found["alltoall uneven"] = empty(n * (r + 1), 2)
    alike(found["alltoall uneven"], rows(n * (n + 1) // 2, 2), [r + 1] * n, list(range(1, n + 1)),
          c10d.AllToAllOptions()).wait()
    if dtype is not torch.bool:
        found["reduce_scatter"] = empty(2)
        group.reduce_scatter([found["reduce_scatter"]], [list(rows(n, 2))], c10d.ReduceScatterOptions()).wait()
        found["allreduce"] = rows(2, 2)
        group.allreduce([found["allreduce"]], options(c10d.AllreduceOptions, reduceOp=c10d.ReduceOp.MAX)).wait()
        reduced = rows(5)
        group.reduce([reduced], options(c10d.ReduceOptions, rootRank=root)).wait()
        found["reduce"] = reduced if r == root else None        # gloo leaves anything elsewhere
    found["received"] = empty(3, 2)
    under_way = [group.send([rows(3, 2)], (r + 1) % n, 7), group.recv([found["received"]], (r - 1) % n, 7)]
    for work in under_way:
        work.wait()
    group.barrier(c10d.BarrierOptions()).wait()
    return found


@pytest.mark.ranks(2, 3)
def test_every_operation_gives_what_gloo_gives(world):
    import torch
    dist, gloo = start(world), twin(world)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool):
        ours, theirs = (operations(group, world.size, world.rank, dtype) for group in (dist.group.WORLD, gloo))
        for name, expected in theirs.items():
            got = ours[name]
            if isinstance(expected, list):
                assert len(got) == len(expected) and all(map(torch.equal, got, expected)), (name, dtype)
            elif expected is not None:
                assert torch.equal(got, expected), (name, dtype, got, expected)


@pytest.mark.ranks(2, 3)
def test_messages_between_ranks(world):
    import torch
    dist, n, r = start(world), world.size, world.rank
    if r == 0:      # from whoever comes first, and into a tensor of any layout
        senders = []
        for _ in range(n - 1):
            landing = torch.zeros(4, 2).t()
            senders.append(dist.recv(landing))
            assert (landing == senders[-1]).all()
        assert sorted(senders) == list(range(1, n))
    else:
        dist.send(torch.full((2, 4), float(r)), 0)
    dist.barrier()          # from any source, what follows might come first
    big = torch.full((1 << 20,), float(r))        # none waits in send until the other one receives
    sent = dist.isend(big, (r + 1) % n)
    big.zero_()                                  # which what is under way does not mind
    came = torch.empty(1 << 20)
    coming = dist.irecv(came, (r - 1) % n)
    sent.wait()
    coming.wait()
    assert sent.is_completed() and coming.is_completed() and (came == (r - 1) % n).all()
    objects = [{"rank": r}] if r == 0 else [None]
    if n == 2:
        dist.send_object_list(objects, 1) if r == 0 else dist.recv_object_list(objects, 0)
        assert objects == [{"rank": 0}]


@pytest.mark.ranks(2, 3)
def test_lists_and_shares_of_unequal_size(world):
    import torch

    from mpignn.errors import CommError
    dist, n, r = start(world), world.size, world.rank
    got = [torch.empty(k + 1) for k in range(n)]
    dist.all_to_all(got, [torch.full((r + 1,), float(10 * r + k)) for k in range(n)])
    assert [(len(row), *row.unique().tolist()) for row in got] == [(k + 1, 10 * k + r) for k in range(n)]
    share = torch.zeros(r + 1)
    dist.reduce_scatter(share, [torch.full((k + 1,), float(k)) for k in range(n)], op=dist.ReduceOp.AVG)
    assert (share == r).all()
    with pytest.raises(CommError, match="cannot be cut into"):
        dist.all_to_all_single(torch.empty(n + 1), torch.empty(n + 1))


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
            assert nccl.connect(world.all) is None
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
