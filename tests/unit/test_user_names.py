"""Ids of nodes and names of classes that users gave: kept with a graph, read by the few, verified."""

import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_check import forge, put

from graphs import random_assignment, random_graph, random_hetero_graph
from mpignn.errors import DataError
from mpignn.graph.types import ETYPE, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.large.arrays import FileArray
from mpignn.storage import arrays, user_names
from mpignn.storage.check import check
from mpignn.storage.describe import describe
from mpignn.storage.read import GraphFile
from mpignn.storage.source_id import source_id
from mpignn.storage.user_names import IdReader, longest_text
from mpignn.storage.write import partition_graph, write_graph

TEXTS = [f"paper-{'ü' * (i % 4)}{i}" if i % 7 else "" if i == 14 else f"{i}," for i in range(40)]
CLASSES = ("Theory", "Größe", "", "a,b")
NUMBERS = np.array([(1 << 63) + 3 * i for i in range(21)], np.uint64)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(arrays, "BLOCK_BYTES", 64)
    monkeypatch.setattr(user_names, "_STEP", 7)
    monkeypatch.setattr(user_names, "_NEAR", 16)


def named_graph():
    """Papers with texts, authors with numbers, venues with neither; classes of papers and of an edge type."""
    data = random_hetero_graph(2, 40)
    etype = ("paper", "in", "venue")
    edge_data = {**data.edge_data, etype: {"kind": np.arange(data.csc[etype].num_edges) % 2}}
    return replace(data, edge_data=edge_data, user_ids={"paper": UserIds.of_texts(TEXTS), "author": UserIds(NUMBERS)},
                   class_names={"paper": {"labels": CLASSES}, etype_key(etype): {"kind": ("red", "blue")}})


@pytest.mark.usefixtures("small_blocks")
def test_names_come_back_whatever_the_cut_is(tmp_path):
    data = named_graph()
    for parts in (1, 3):
        write_graph(data, random_assignment(data, parts), parts, tmp_path / str(parts))
        assert check(tmp_path / str(parts)) == []
        with GraphFile(tmp_path / str(parts)) as graph:
            names = graph.user_names
        assert names.classes == data.class_names and names.ids.keys() == {"paper", "author"}
        assert IdReader(names.ids["paper"]).read(np.arange(40)).of(0, 40) == TEXTS
        assert IdReader(names.ids["author"]).read(np.arange(21)).of(0, 21) == NUMBERS.tolist()
        assert longest_text(names.ids["paper"]) == max(len(text.encode()) for text in TEXTS)


def test_a_type_without_nodes_has_no_ids(tmp_path):
    data = replace(random_hetero_graph(1, 40), user_ids={"venue": UserIds.of_texts([])})
    partition_graph(data, tmp_path / "g", 2, "random")
    assert check(tmp_path / "g") == [] and "ids of your own: \n" in describe(tmp_path / "g")
    with GraphFile(tmp_path / "g") as graph:
        assert len(IdReader(graph.user_names.ids["venue"]).read(np.empty(0, np.int64))) == 0


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    out = tmp_path_factory.mktemp("stored") / "g"
    partition_graph(named_graph(), out, 2, "random")
    return out


@given(st.lists(st.integers(0, 39), max_size=60))
def test_any_ids_are_read_in_any_order(stored, ids):
    with GraphFile(stored) as graph, pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_names, "_NEAR", 16)
        reader = IdReader(graph.user_names.ids["paper"])
        for asked in (ids, ids[::-1]):
            found = reader.read(np.array(asked, np.int64))
            assert len(found) == len(asked) and found.of(0, len(asked)) == [TEXTS[i] for i in asked]


@pytest.mark.usefixtures("small_blocks")
def test_only_the_blocks_that_are_asked_for_are_read(stored, tmp_path, monkeypatch):
    partition_graph(named_graph(), tmp_path / "g", 2, "random")
    read = []
    monkeypatch.setattr(user_names, "verify_block", lambda array, number: read.append((array.name, number)))
    with GraphFile(tmp_path / "g") as graph:
        reader = IdReader(graph.user_names.ids["paper"])
        assert reader.read(np.array([30])).of(0, 1) == TEXTS[30:31]
        assert [number for name, number in read if name.endswith("bounds")] == [3] and len(read) <= 3
        reader.read(np.array([30, 30]))
        assert len(read) <= 3


def test_a_graph_without_names_has_the_files_that_it_had(tmp_path):
    data = random_graph()
    partition_graph(data, tmp_path / "plain", 2, "random")
    partition_graph(replace(data, user_ids={}, class_names={}), tmp_path / "none", 2, "random")
    for path in sorted((tmp_path / "plain").iterdir()):
        assert path.read_bytes() == (tmp_path / "none" / path.name).read_bytes()
    with h5py.File(tmp_path / "plain" / "graph.h5") as file:
        assert sorted(file) == ["arrays", "map", "parts", "ranges", "report", "split", "types"]
        assert b"user_ids" not in file["report"][0] and b"class_names" not in file["report"][0]


def test_names_are_part_of_what_a_graph_is(tmp_path):
    data, ids = random_graph(), []
    kinds = [data, replace(data, user_ids={"_N": UserIds(np.arange(40))}),
             replace(data, user_ids={"_N": UserIds(np.arange(40)[::-1].copy())}),
             replace(data, class_names={"_N": {"labels": tuple("abcd")}}),
             replace(data, class_names={"_N": {"labels": tuple("abce")}})]
    for number, kind in enumerate(kinds):
        partition_graph(kind, tmp_path / str(number), 2, "random")
        with GraphFile(tmp_path / str(number)) as graph:
            ids.append(graph.graph_id)
    assert len(set(ids)) == len({source_id(kind) for kind in kinds}) == len(kinds)


def test_info_tells_of_names(stored):
    told = describe(stored)
    assert "  ids of your own: 0,, paper-ü1, paper-üü2, paper-üüü3, paper-4, ...\n" in told
    assert f"  ids of your own: {NUMBERS[0]}, {NUMBERS[1]}, " in told
    assert "  4 classes of labels: Theory, Größe, , a,b\n" in told and "  2 classes of kind: red, blue\n" in told


def flip(path, name):
    """Change a byte of a dataset, and nothing else."""
    with h5py.File(path / "graph.h5") as file:
        place = file[name].id.get_offset()
    raw = bytearray((path / "graph.h5").read_bytes())
    raw[place + 5] ^= 1
    (path / "graph.h5").write_bytes(raw)


@pytest.mark.parametrize("name", ["ids/paper/values", "ids/paper/bounds", "ids/author/values", "names/paper/labels",
                                  "names/paper:in:venue/kind"])
def test_damage_is_named(tmp_path, name):
    partition_graph(named_graph(), tmp_path / "g", 2, "random")
    flip(tmp_path / "g", name)
    assert any(f"graph.h5: {name}: rows" in problem and "are damaged" in problem for problem in check(tmp_path / "g"))
    with GraphFile(tmp_path / "g") as graph, pytest.raises(DataError, match=f"{name}: rows 0.* are damaged"):
        for stored in graph.user_names.ids.values():
            IdReader(stored).read(np.arange(5))


@pytest.mark.parametrize(("name", "change", "part"), [
    ("ids/paper/values", put(3, 0xFF), "ids/paper/values: node 1 has .*no text in UTF-8"),
    ("ids/paper/bounds", put(1, 10**6), "the ids lie outside"),
    ("names/paper/labels", put(0, b"\xff"), "names/paper/labels: cannot be read")])
def test_content_that_could_not_have_been_written_is_found(tmp_path, name, change, part):
    partition_graph(named_graph(), tmp_path / "g", 2, "random")
    forge(tmp_path / "g", name, change)
    (problem,) = check(tmp_path / "g")
    assert re.search(part, problem)


PLAIN = random_graph()


@pytest.mark.parametrize(("ids", "part"), [
    ({"x": UserIds(np.arange(40))}, "'x', which is no node type"),
    ({"_N": UserIds(np.arange(39))}, "ids of '_N': expected one for each of 40 nodes, got 39"),
    ({"_N": UserIds(np.arange(40.0))}, "expected int64 or uint64 .* got float64"),
    ({"_N": UserIds.of_texts(["a"] * 41)}, "expected one for each of 40 nodes, got 41"),
    ({"_N": UserIds(np.zeros(3, np.uint8), np.arange(41))}, "never fall, and end with their 3 bytes"),
    ({"_N": UserIds.of_texts(["a"] * 5 + ["b\0"] + ["a"] * 34)}, "node 5 has b'b.x00'"),
    ({"_N": UserIds(np.frombuffer("ü".encode() * 20, np.uint8), np.arange(41))}, "node 1 has b'.xbc', which is no"),
    ({"_N": UserIds(np.full(40, 0xFF, np.uint8), np.arange(41))}, "node 0 has b'.xff'")])
def test_ids_that_are_none_are_refused(tmp_path, ids, part):
    for some in (ids, {ntype: in_files(of_type, tmp_path) for ntype, of_type in ids.items()}):
        there = sorted(tmp_path.iterdir())
        with pytest.raises(DataError, match=part):
            partition_graph(replace(PLAIN, user_ids=some), tmp_path / "g", 2)
        assert sorted(tmp_path.iterdir()) == there


def in_files(ids, folder):
    """The same ids with their arrays in files."""
    def kept(array, name):
        array.tofile(folder / name)
        return FileArray(folder / name, array.dtype, array.shape).rows

    return UserIds(kept(ids.values, "values"), None if ids.bounds is None else kept(ids.bounds, "bounds"))


@pytest.mark.parametrize("ids", [UserIds(NUMBERS), UserIds.of_texts(TEXTS[:21])], ids=["numbers", "texts"])
def test_ids_in_files_are_written_as_those_in_memory(tmp_path, monkeypatch, ids):
    monkeypatch.setattr("mpignn.storage.arrays.BLOCK_BYTES", 64)
    monkeypatch.setattr("mpignn.storage.user_names._STEP", 5)
    data = random_graph(0, 21, 30)
    folders = [tmp_path / "memory", tmp_path / "files"]
    for some, folder in zip((ids, in_files(ids, tmp_path)), folders, strict=True):
        assert some.of(3, 9) == ids.of(0, 21)[3:9] and some.of(4, 4) == []
        partition_graph(replace(data, user_ids={"_N": some}), folder, 2, "random")
    for path in sorted(folders[0].iterdir()):
        assert path.read_bytes() == (folders[1] / path.name).read_bytes()


@pytest.mark.parametrize(("names", "part"), [
    ({"x": {"labels": CLASSES}}, "x/labels: there is no data 'labels' of 'x'"),
    ({"_N": {"colors": CLASSES}}, "there is no data 'colors' of '_N'"),
    ({"_N": {"labels": ("a", "b")}}, "there are 2, but a label is 3"),
    ({"_N": {"labels": ("a", "b", "a", "c")}}, "'a' is there twice"),
    ({"_N": {"labels": ("a", "b", "c\0", "d")}}, "no text in UTF-8 without zero bytes"),
    ({"_N": {"labels": ("a", "b", "\ud800", "d")}}, "no text in UTF-8 without zero bytes"),
    ({"_N": {"features": CLASSES}}, "4 for rows of shape .3,."),
    ({etype_key(ETYPE): {"weight": CLASSES}}, "the labels are float64, and no classes")])
def test_names_of_classes_that_are_none_are_refused(tmp_path, names, part):
    with pytest.raises(DataError, match=part):
        partition_graph(replace(PLAIN, class_names=names), tmp_path / "g", 2)
