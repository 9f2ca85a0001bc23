"""How fast is a checkpoint of many rows written, beside dd with fsync, and how long does training wait for it?

    python jobs/bench/checkpoint.py GRAPH [--np 3] [--dim 106] [--runs 7] [--folder /tmp]

One job on GRAPH with a persistent tensor of ``dim`` float32 for each node; 106 of them for 2.4 M nodes are 1 GB.  The
rows are owned by new id and written by original id.  Training stands still while a checkpoint is written, so the time
of `save` is what it waits.  Between two checkpoints dd writes a file of as many
bytes to the same folder, from /dev/zero, and calls fsync.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import header, spread


def main() -> None:
    if sys.argv[1] == "--job":
        job(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--np", type=int, default=3)
    parser.add_argument("--dim", type=int, default=106)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", default="/tmp")
    arguments = parser.parse_args()
    print(header())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        launched = subprocess.Popen([
            Path(sys.executable).parent / "mpirun", "-np", str(arguments.np), sys.executable, __file__, "--job",
            arguments.graph, str(arguments.dim), str(arguments.runs), folder])
        saved, copied = [], []
        for number in range(arguments.runs + 1):        # the first warms up
            seconds, size = map(float, answer(folder, number, launched).split())
            saved.append(size / seconds / 1e9)
            copied.append(size / dd(folder / "dd", int(size)) / 1e9)
            if number == 0:
                print(f"{size / 1e6:.0f} MB of rows by {arguments.np - 1} trainer(s)")
        launched.wait()
    saved, copied = saved[1:], copied[1:]
    print(f"checkpoint            {spread(saved)} GB/s")
    print(f"training waits        {spread([size / 1e9 / speed for speed in saved])} s")
    print(f"dd conv=fsync         {spread(copied)} GB/s")
    print(f"checkpoint / dd       {spread([a / b for a, b in zip(saved, copied, strict=True)])}")


def answer(folder: Path, number: int, launched: subprocess.Popen) -> str:
    """Let the job write a checkpoint; returns what it says of it."""
    (folder / f"go-{number}").touch()
    done = folder / f"done-{number}"
    while not done.exists():
        if launched.poll() is not None:
            sys.exit(f"the job ended with {launched.returncode}")
        time.sleep(0.01)
    return done.read_text()


def dd(path: Path, size: int) -> float:
    started = time.perf_counter()
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=4M", f"count={size}", "iflag=count_bytes", "conv=fsync"],
                   check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    path.unlink()
    return seconds


def job(graph: str, dim: str, runs: str, name: str) -> None:
    """What the ranks run."""
    import torch

    import mpignn as mg

    folder = Path(name)

    def work(g, world) -> None:
        tensor = mg.DistTensor((g.num_nodes(), int(dim)), torch.float32, name="rows", persistent=True, g=g,
                               init_func=lambda shape, dtype: torch.rand(shape, dtype=dtype))
        size = len(tensor) * int(dim) * 4
        for number in range(int(runs) + 1):
            while not (folder / f"go-{number}").exists():
                time.sleep(0.01)
            world.trainers.barrier()
            started = time.perf_counter()
            path = mg.checkpoint.save(folder / "checkpoints", number, g)
            world.trainers.barrier()
            seconds = time.perf_counter() - started
            if world.trainer_index == 0:
                shutil.rmtree(path)
                (folder / "told").write_text(f"{seconds} {size}")
                (folder / "told").rename(folder / f"done-{number}")
            world.trainers.barrier()

    mg.run(work, graph=graph, run_dir=str(folder / "run"))


if __name__ == "__main__":
    main()
