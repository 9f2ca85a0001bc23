"""What a server makes of the files that it loads."""

import re
import zlib

import h5py
import numpy as np
import pytest
from services import serve

from graphs import random_graph
from mpignn.comm.local import LocalTransport
from mpignn.errors import ConfigError, DataError
from mpignn.job import server
from mpignn.roles import BOTH, Topology, assign_roles
from mpignn.storage.read import GraphFile
from mpignn.storage.write import partition_graph
from mpignn.store.cut import place
from mpignn.store.graph import DistGraph


def load(folder, threads=1):
    """All rows of a graph, as a job of one rank has them."""
    with GraphFile(folder) as file:
        placement = place(file.book, file.served, Topology((0,), assign_roles((0,))), file.edge_start, "none", 1)
    transport = LocalTransport(placement.specs(0))
    server.load(transport, folder, 0, threads)
    return transport


def overwrite(folder, name, at, value):
    """Change an element of the first part, with a checksum that is right."""
    with h5py.File(folder / "part-00000.h5", "r+") as file:
        data = file[f"edge/_N:_E:_N/{name}"]
        data[at] = value
        data.attrs["crc32"] = np.array([zlib.crc32(data[()])], np.uint32)


@pytest.mark.parametrize("threads", [1, 3])
def test_all_rows_are_loaded_with_any_number_of_threads(tmp_path, threads):
    partition_graph(random_graph(1), tmp_path / "g", 3, "random")
    transport = load(tmp_path / "g", threads)
    with GraphFile(tmp_path / "g") as file:
        for name, array in transport.arrays.items():
            expected = np.empty_like(array.flat)
            file.read(name, 0, array.spec.num_rows, expected)
            assert np.array_equal(array.flat, expected), name


@pytest.mark.parametrize(("name", "at", "value", "says"), [
    ("indices", 3, 40, "indices holds node 40, but the graph has 40 nodes of type _N"),
    ("indices", 0, -1, "indices holds node -1"),
    ("indptr", 2, 10 ** 6, "indptr does not ascend"),
    ("indptr", 0, -1, "indptr does not ascend"),
])
def test_ids_outside_the_graph_are_refused_though_their_checksum_is_right(tmp_path, name, at, value, says):
    partition_graph(random_graph(1), tmp_path / "g", 2, "range")
    overwrite(tmp_path / "g", name, at, value)
    with pytest.raises(DataError, match=re.escape(says)):
        load(tmp_path / "g")


def test_a_rank_that_only_serves_is_told_that_it_has_no_trainers():
    g = DistGraph(serve(random_graph(1), parts=2).published, Topology((0,), (BOTH,)), None, {})
    for what in ("trainers", "registry"):
        with pytest.raises(ConfigError, match="only serves"):
            getattr(g, what)
    g.close()
