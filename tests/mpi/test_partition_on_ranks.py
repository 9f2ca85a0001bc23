"""Graphs that all ranks partition together: the same files as one process writes, whatever fits memory."""

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from graphs import ends, masks, random_graph, random_hetero_graph
from mpignn.errors import ConfigError, DataError, ResourceError, Stopped
from mpignn.graph.types import ETYPE, NTYPE, etype_key
from mpignn.storage.check import check
from mpignn.storage.write import partition_graph


@contextmanager
def common_folder(world):
    folder = Path(world.all.bcast(tempfile.mkdtemp() if world.rank == 0 else None))
    yield folder
    world.all.barrier()
    if world.rank == 0:
        shutil.rmtree(folder)


def write_npy(data, folder):
    """A graph of one type as a folder of arrays, its edges in the order of their ids."""
    src, dst = ends(data, ETYPE)
    arrays = {"src": src, "dst": dst.astype(np.uint64), **data.node_data[NTYPE],
              **{f"edge_{name}": array for name, array in data.edge_data[ETYPE].items()},
              **masks(data, NTYPE, data.num_nodes[NTYPE])}
    folder.mkdir()
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def write_hdf5(data, path):
    """A graph of several types as datasets."""
    import h5py
    with h5py.File(path, "w") as file:
        for ntype, count in data.num_nodes.items():
            file[f"num_nodes/{ntype}"] = count
        for ntype, named in data.node_data.items():
            for name, array in named.items():
                file[f"node/{ntype}/{name}"] = array
        for etype in data.csc:
            src, dst = ends(data, etype)
            base = f"edge/{etype_key(etype)}"
            file[f"{base}/src"], file[f"{base}/dst"] = src.astype(np.uint16), dst
            for name, array in data.edge_data[etype].items():
                file[f"{base}/data/{name}"] = array
        for key, named in data.splits.items():
            for name, ids in named.items():
                file[f"split/{key}/{name}"] = ids
    return path


def sources(folder):
    """Graphs in forms that are read some rows at a time, and in one that the first rank reads alone."""
    yield write_npy(random_graph(3, 37, 301), folder / "npy")
    yield write_npy(random_graph(4, 1, 0), folder / "no-edges")
    yield write_hdf5(random_hetero_graph(2, 40, 211), folder / "typed.h5")
    yield write_hdf5(random_hetero_graph(5, 9, 50), folder / "small.h5")
    partition_graph(folder / "typed.h5", folder / "cut", 5, "random")
    yield folder / "cut"
    yield "wordnet"


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("memory", [400, 1 << 30])
def test_the_files_are_those_of_one_process(world, memory):
    with common_folder(world) as folder, patch("mpignn.storage.forms.hdf5._LARGE_BYTES", 1), \
            patch("mpignn.storage.graph_arrays._SMALL_BYTES", 16):
        given = world.all.bcast(list(sources(folder)) if world.rank == 0 else None)
        if memory == 400 or world.size < 3:
            given.pop()         # WordNet is large
        for number, source in enumerate(given):
            options = {"method": ("random", "metis", "propagation", "ldg")[number % 4], "out_edges": number != 3,
                       "keep_dtype": number % 2 == 1}
            report = partition_graph(source, folder / f"together{number}", 3, **options, memory=memory,
                                     group=world.all)
            if world.rank == 0:
                assert report == partition_graph(source, folder / f"alone{number}", 3, **options)
                names = sorted(path.name for path in (folder / f"alone{number}").iterdir())
                assert names == sorted(path.name for path in (folder / f"together{number}").iterdir())
                for name in names:
                    assert ((folder / f"together{number}" / name).read_bytes()
                            == (folder / f"alone{number}" / name).read_bytes()), (source, name)


@pytest.mark.ranks(1, 2, 3)
def test_what_is_wrong_is_told_on_all_ranks_and_nothing_is_left(world):
    with common_folder(world) as folder:
        if world.rank == 0:
            write_npy(random_graph(3, 37, 301), folder / "npy")
            bad = np.load(folder / "npy" / "src.npy")
            bad[250] = 99
            shutil.copytree(folder / "npy", folder / "bad")
            np.save(folder / "bad" / "src.npy", bad)
        world.all.barrier()
        there = world.all.bcast(sorted(folder.iterdir()))

        def raises(error, match, source="npy", **options):
            with pytest.raises(error, match=match) as found:
                partition_graph(folder / source, folder / "out", 2, **{"method": "random", "memory": 900} | options,
                                group=world.all)
            assert found.value.agreed or world.size == 1
            world.all.barrier()
            assert sorted(folder.iterdir()) == there

        raises(DataError, r"src\[250\] = 99 but there are 37 nodes", "bad")
        raises(DataError, "no such file or folder", "nothing")
        raises(ConfigError, "nosuch.* is neither a file nor", method="nosuch")
        full = OSError(28, "No space left on device")
        with patch("mpignn.storage.array_writers.RowWriter.write_to", side_effect=full if world.rank == world.size - 1
                   else None):
            raises(ResourceError, "out: cannot be written: No space left on device")
        with patch("mpignn.large.arrays.FileArray.create", side_effect=full):
            raises(ResourceError, "out: cannot be written: No space left on device")


@pytest.mark.ranks(1, 2, 3)
def test_all_ranks_check_a_graph_together(world):
    with common_folder(world) as folder:
        graph = folder / "graph"
        partition_graph(random_hetero_graph(2, 40, 211), graph, 5, "random", out_edges=True, group=world.all)
        assert check(graph, world.all) == []
        if world.rank == 0:
            for part in 1, 4:
                path = graph / f"part-{part:05d}.h5"
                raw = bytearray(path.read_bytes())
                raw[-3] ^= 4
                path.write_bytes(raw)
        world.all.barrier()
        found = check(graph, world.all)
        assert len(found) >= 2 and any("part-00001" in line for line in found) and any("part-00004" in line
                                                                                        for line in found)
        assert sorted(found) == sorted(check(graph)) and found == world.all.bcast(found)
        world.all.barrier()
        if world.rank == 0:
            (graph / "part-00002.h5").unlink()
        world.all.barrier()
        assert any("part-00002.h5: no such file" in line for line in check(graph, world.all))


@pytest.mark.ranks(1, 2, 3)
def test_a_cut_of_a_stopped_command_is_taken_up_by_any_ranks(world):
    def fail(*_):
        raise Stopped("as it may be")

    with common_folder(world) as folder:
        data = random_hetero_graph(2, 40, 211)
        options = {"num_parts": 3, "method": "propagation", "memory": 400}
        with patch("mpignn.storage.write._write", fail), pytest.raises(Stopped):
            partition_graph(data, folder / "out", **options, group=world.all)
        world.all.barrier()
        assert [path.name for path in folder.iterdir()] == [".out.assigned.npz"]
        world.all.barrier()
        with patch("mpignn.storage.write.assign", fail):
            partition_graph(data, folder / "out", **options, group=world.all)
        if world.rank == 0:
            partition_graph(data, folder / "alone", **options)
            assert sorted(path.name for path in folder.iterdir()) == ["alone", "out"]
            for path in (folder / "alone").iterdir():
                assert path.read_bytes() == (folder / "out" / path.name).read_bytes()
