"""torch.distributed on GPUs: reductions, and gradients by DDP, are those of the CPU.  Each rank uses a GPU of its own
where there are enough; else they share one, which NCCL allows to ranks that it takes for different hosts.

    mpirun -np N python gpu_job.py
"""

import os

import torch
import torch.distributed as dist

from mpignn.mpi.process_group import init_process_group, wrap
from mpignn.mpi.world import initialize


def check_all_reduce(where: str) -> None:
    n, r = dist.get_world_size(), dist.get_rank()
    for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8):
        for op, expected in ((dist.ReduceOp.SUM, n * (n + 1) // 2), (dist.ReduceOp.MAX, n), (dist.ReduceOp.MIN, 1)):
            tensor = torch.full((3, 1000), r + 1, dtype=dtype, device=where)
            dist.all_reduce(tensor, op=op)
            assert (tensor == expected).all(), (dtype, op, tensor)
    mean = torch.full((5,), float(r), device=where)
    dist.all_reduce(mean, op=dist.ReduceOp.AVG)
    assert (mean == (n - 1) / 2).all(), mean
    flags = torch.tensor([r == 0, False], device=where)     # of a type that NCCL does not reduce
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    assert flags.tolist() == [True, False]


def gradients(world, where: str) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(40, 300), torch.nn.ReLU(), torch.nn.Linear(300, 3)).double().to(where)
    wrapped = wrap(model, world)
    for step in range(3):
        x = torch.randn(20 * (world.rank + 1), 40, dtype=torch.float64,
                        generator=torch.Generator().manual_seed(10 * step + world.rank)).to(where)
        wrapped(x).square().mean().backward()
    return [p.grad.cpu() for p in model.parameters()]


if __name__ == "__main__":
    world = initialize(servers_per_node=0)
    if torch.cuda.device_count() < world.size:
        os.environ["NCCL_HOSTID"] = f"host {world.rank}"
    where = f"cuda:{world.rank % torch.cuda.device_count()}"
    torch.cuda.set_device(where)
    group = init_process_group(world)
    check_all_reduce(where)
    assert group._gpus is not None, "NCCL is not used"
    for here, there in zip(gradients(world, "cpu"), gradients(world, where), strict=True):
        torch.testing.assert_close(there, here)
    print(f"rank {world.rank} has checked NCCL", flush=True)
