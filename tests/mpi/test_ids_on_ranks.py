"""Ids of tables that ranks read together: those that one process has in memory."""

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_partition_on_ranks import common_folder

from mpignn.errors import DataError
from mpignn.large.scratch import scratch_in
from mpignn.tables.id_map import IdMap
from mpignn.tables.ids import NewIds, TableIds
from mpignn.tables.table import Table

KINDS = {"texts": lambda number: f"node {number}", "integers": lambda number: number - 40,
         "mixed": lambda number: f"{number - 9}" if number % 3 else f"0{number}"}


def column_in(path, values):
    """A table of one column, in groups of a few rows."""
    pq.write_table(pa.table({"id": values}), path, row_group_size=3)


def table_of(path, world):
    """The table, open for this rank's share, and its blocks."""
    world.all.barrier()
    table = Table.open([path], group=world.all)
    return table, table.batches(["id"])


def same(found, expected):
    assert found.values.dtype == expected.values.dtype and np.array_equal(found.values[:], expected.values)
    assert (found.bounds is None) == (expected.bounds is None)
    assert found.bounds is None or np.array_equal(found.bounds[:], expected.bounds)


def answered(ids, world, path):
    """Nodes of the ids in a table, as all ranks know them together, rank by rank."""
    _, blocks = table_of(path, world)
    lookup = ids.ask()
    for block in blocks:
        lookup.add(block.columns["id"])
    own = [node for nodes in lookup.answers() for node in nodes.tolist()]
    return [node for of_rank in world.all.allgather(own) for node in of_rank]


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("memory", [400, 20_000, 1 << 30])
@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_those_of_one_process(world, kind, memory):
    name = KINDS[kind]
    numbers = random.Random(0).sample(range(80), 60)
    asked = random.Random(1).choices([*range(100), None], k=200)
    with common_folder(world) as folder, scratch_in(folder, folder / "out", world.all, memory) as scratch:
        if world.rank == 0:
            column_in(folder / "nodes.parquet", [name(number) for number in numbers])
            for part in 0, 1:
                column_in(folder / f"asked{part}.parquet", [None if number is None else name(number)
                                                            for number in asked[part::2]])
        table, blocks = table_of(folder / "nodes.parquet", world)
        ids = TableIds.read(blocks, "id", table, scratch)
        columns = [pq.read_table(folder / f"asked{part}.parquet")["id"].combine_chunks() for part in (0, 1)]
        known = IdMap.build([pq.read_table(folder / "nodes.parquet")["id"].combine_chunks()])
        assert len(ids) == 60
        same(ids.user_ids(), known.user_ids())
        new, grown = NewIds(scratch), IdMap()
        for part in 0, 1:
            path = folder / f"asked{part}.parquet"
            assert answered(ids, world, path) == known.find(columns[part]).tolist()
            assert answered(new, world, path) == grown.grow(columns[part]).tolist()
            assert len(new) == len(grown)
        same(new.user_ids(), grown.user_ids())
        world.all.barrier()     # the files go now


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("memory", [400, 1 << 30])
def test_the_first_bad_id_is_told_on_all_ranks(world, memory):
    names = [f"n{number}" for number in range(40)]
    cases = {"late": ({30: "n2", 35: "n31"}, "row 31: the id 'n2' stands in .*row 3, too"),
             "early": ({8: "n7", 35: None}, "row 9: the id 'n7' stands in .*row 8, too"),
             "missing": ({20: "", 39: "n0"}, "row 21: there is no id")}
    with common_folder(world) as folder, scratch_in(folder, folder / "out", world.all, memory) as scratch:
        for case, (changes, says) in cases.items():
            if world.rank == 0:
                column_in(folder / f"{case}.parquet", [changes.get(row, name) for row, name in enumerate(names)])
            table, blocks = table_of(folder / f"{case}.parquet", world)
            with pytest.raises(DataError, match=f"^{folder}/{case}.parquet, {says}") as found:
                TableIds.read(blocks, "id", table, scratch)
            assert found.value.agreed or world.size == 1
