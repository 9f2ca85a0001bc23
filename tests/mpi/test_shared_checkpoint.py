"""Checkpoints that all trainers write and read together: by original id, whole or not at all."""

import errno
import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from test_dist_graph import opened

from graphs import random_hetero_graph
from mpignn.errors import ResourceError

GRAPH = random_hetero_graph(2, 60, 150)
EDGES = "paper:cites:paper"
LAUNCHES = {"ranks_per_node": (None, 1, 2)}


@contextmanager
def trainers_with_folder(world):
    """The graph and a common folder, on trainers; None on a rank that only serves."""
    with patch("mpignn.storage.arrays.BLOCK_BYTES", 64), patch("mpignn.store.original._CHUNK", 8), \
            opened(world, GRAPH) as g:
        if world.trainers is None:
            yield None
            return
        folder = Path(world.trainers.bcast(tempfile.mkdtemp() if world.trainer_index == 0 else None))
        yield g, folder
        world.trainers.barrier()
        if world.trainer_index == 0:
            shutil.rmtree(folder)


def by_policy(g) -> dict[str, np.ndarray]:
    """What stands for each row in original ids, whatever the cut: (rows of this trainer's tensor, 2) by policy."""
    papers, etype = g.orig_nids(np.arange(g.num_nodes("paper")), "paper").numpy(), g.schema.etype("cites")
    _, dst = (ids.numpy() for ids in g.find_edges(np.arange(g.num_edges(etype)), etype))
    first = np.searchsorted(dst, dst)       # edges are ordered by destination
    return {"paper": np.stack([papers, papers * 7], 1), "even": np.stack([np.arange(37), np.arange(37) % 5], 1),
            EDGES: np.stack([papers[dst], np.arange(dst.size) - first], 1)}


@pytest.mark.ranks(1, 2, 4, **LAUNCHES)
def test_rows_are_written_and_read_by_original_id(world):
    import h5py
    import torch

    import mpignn as mg
    with trainers_with_folder(world) as found:
        if found is None:
            return
        g, folder = found
        values = by_policy(g)
        tensors = {policy: mg.DistTensor(rows.shape, torch.float64, policy, part_policy=policy, persistent=True, g=g)
                   for policy, rows in values.items()}
        for policy, tensor in tensors.items():
            tensor.local[:] = torch.from_numpy(values[policy])[tensor.local_ids]
            tensor.sync()
        path = mg.checkpoint.save(folder, 5, g)
        with h5py.File(path / "state.h5") as file:
            for policy, rows in values.items():
                expected = rows if policy == "even" else rows[np.lexsort(rows.T[::-1])]
                np.testing.assert_array_equal(file[f"tensors/{policy.replace(':', '%3A')}"], expected)
        for tensor in tensors.values():
            tensor.local.zero_()
            tensor.sync()
        assert mg.checkpoint.load(folder, g).step == 5
        for policy, tensor in tensors.items():
            np.testing.assert_array_equal(tensor[:].numpy(), values[policy])


@pytest.mark.ranks(2, 4)
def test_one_trainer_that_cannot_write_leaves_nothing(world):
    import torch

    import mpignn as mg
    from mpignn.storage.array_writers import RowWriter
    with trainers_with_folder(world) as found:
        if found is None:
            return
        g, folder = found
        mg.DistTensor((100, 8), torch.float64, "t", part_policy="even", persistent=True, g=g)
        mg.checkpoint.save(folder, 1, g)
        last = g.trainers.rank == g.trainers.size - 1
        full = OSError(errno.ENOSPC, "No space left on device")
        with patch.object(RowWriter, "write", side_effect=full) if last else nullcontext(), \
                pytest.raises(ResourceError, match="No space left on device; those written before are whole") as told:
            mg.checkpoint.save(folder, 2, g)
        assert told.value.agreed
        g.trainers.barrier()
        assert [path.name for path in folder.iterdir()] == ["step-000000001"]
