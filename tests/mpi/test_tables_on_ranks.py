"""Tables that all ranks read together: the same files as one process writes, whatever fits memory."""

import random

import pytest
from test_partition_on_ranks import common_folder

from mpignn.errors import DataError
from mpignn.storage.write import partition_graph
from random_tables import EDGES, write_tables


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("memory", [300, 1 << 30])
def test_the_files_are_those_of_one_process(world, memory):
    rng = random.Random(memory)
    for number, edges in list(enumerate(EDGES))[world.size % 3::3]:
        given = (rng.randrange(999), rng.choice([".csv", ".parquet"]), rng.randrange(1, 40), rng.randrange(90), edges,
                 ("texts", "numbers", "none")[number % 3])
        with common_folder(world) as folder:
            if world.rank == 0:
                write_tables(folder, *given)
            world.all.barrier()
            report = partition_graph(folder / "graph.toml", folder / "together", 2, "random", memory=memory,
                                     group=world.all)
            if world.rank == 0:
                assert report == partition_graph(folder / "graph.toml", folder / "alone", 2, "random"), given
                assert files_of(folder / "together") == files_of(folder / "alone"), given
            if number < 3:
                partition_graph(folder, folder / "like", 2, "random", like=folder / "together", memory=memory,
                                group=world.all)
                if world.rank == 0:
                    partition_graph(folder, folder / "alike", 2, "random", like=folder / "together")
                    assert files_of(folder / "like") == files_of(folder / "alike")


@pytest.mark.ranks(3)
@pytest.mark.parametrize("name, row, text, says", [
    ("cites", 33, "nobody,p1,0.5,", "cites.csv, line 34: src is 'nobody', which is no node of type paper: mend"),
    ("cites", 33, "p1,p1,,", "cites.csv, line 34: w is missing"),
    ("cites", 33, "p1,p1,much,", "'w' holds texts, not numbers"),
    ("cites", 33, "p1,p1", "cites.csv, line 34: 2 values"),
    ("papers", 17, "p3,1,u,u,train", "papers.csv, line 18: the id 'p3' stands in"),
    ("papers", 17, ",1,u,u,train", "papers.csv, line 18: there is no id"),
    ("papers", 17, "p16,1,u,u,never", "papers.csv, line 18: part is 'never', expected train, val, test"),
    ("topics", 11, "t1,t2,,1,", "topics.csv, line 12: how is missing"), ("gone", 0, "", "gone.csv")])
def test_what_is_wrong_is_told_on_all_ranks(world, name, row, text, says):
    with common_folder(world) as folder:
        if world.rank == 0:
            write_tables(folder, 1, ".csv", 20, 40, "", "texts")
            if name == "gone":
                (folder / "graph.toml").write_text((folder / "graph.toml").read_text().replace("topics.", "gone."))
            else:
                rows = (folder / f"{name}.csv").read_text().splitlines()
                rows[row] = text
                (folder / f"{name}.csv").write_text("\n".join(rows))
        world.all.barrier()
        there = world.all.bcast(sorted(folder.iterdir()))
        with pytest.raises(DataError) as found:
            partition_graph(folder / "graph.toml", folder / "out", 2, "random", memory=300, group=world.all)
        assert says in str(found.value)
        assert found.value.agreed or world.size == 1, str(found.value)
        world.all.barrier()
        assert sorted(folder.iterdir()) == there
