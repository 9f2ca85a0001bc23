"""From tables to predictions by the commands of ``docs/guide/your-data.md``, and what goes wrong on the way."""

import csv
import subprocess
import sys

import h5py
import numpy as np
import pytest

from mpignn.storage.read import GraphFile
from mpirun import MPIS, ROOT, missing, mpirun, run

TRAIN = ["--run-dir", "run", "--epochs", "2", "--fanouts", "3,3", "--hidden", "8"]


def mpignn(*words, cwd):
    return run([sys.executable, "-m", "mpignn", *map(str, words)], cwd=cwd)


def tables(folder, authors):
    subprocess.run([sys.executable, ROOT / "jobs/examples/make_tables.py", folder / "tables", "--papers", "300",
                    "--authors", str(authors)], check=True, timeout=60)
    return folder / "tables"


def refused(done, code, *told):
    text = done.stdout + done.stderr
    assert done.returncode == code and text.count("mpignn: error:") == 1 and "Traceback" not in text, str(done)
    assert all(word in done.stderr for word in told), str(done)


@pytest.mark.parametrize("authors, model", [(0, "sage"), (100, "rgcn")])
@pytest.mark.parametrize("mpi", MPIS[:1])
def test_from_tables_to_predictions(tmp_path, authors, model, mpi):
    if missing(mpi):
        pytest.skip(missing(mpi))
    folder = tables(tmp_path, authors)
    described = mpignn("describe", "tables", cwd=tmp_path)
    assert described.returncode == 0 and "[nodes.paper]" in described.stdout, str(described)
    (tmp_path / "graph.toml").write_text(described.stdout)
    for source, out in ((folder, "mine"), ("graph.toml", "again")):
        done = mpignn("partition", source, out, "--parts", "2", cwd=tmp_path)
        assert done.returncode == 0 and "nodes paper: 300" in done.stdout, str(done)
    ids = []
    for out in ("mine", "again"):
        with h5py.File(tmp_path / out / "graph.h5") as file:
            ids.append(bytes(file.attrs["graph_id"]))
    assert ids[0] == ids[1]
    for words in (["train", "mine", "--model", model, *TRAIN], ["infer", "run", "mine", "--out", "predictions.csv"]):
        done = mpirun(["-m", "mpignn", *words], 3, mpi, cwd=tmp_path)
        assert done.returncode == 0, str(done)
    papers, predictions = (list(csv.DictReader(path.read_text().splitlines())) for path in
                           (folder / "papers.csv", tmp_path / "predictions.csv"))
    assert [row["id"] for row in predictions] == [row["paper_id"] for row in papers]
    assert {row["prediction"] for row in predictions} <= {row["topic"] for row in papers} - {""}
    assert all(0 < float(row["probability"]) <= 1 for row in predictions)


def test_from_triples_to_new_ones(tmp_path):
    subprocess.run([sys.executable, ROOT / "jobs/examples/make_tables.py", tmp_path, "--triples", "300"], check=True,
                   timeout=60)
    described = mpignn("describe", "triples.tsv", cwd=tmp_path)
    assert '[edges."node:*:node"]' in described.stdout and 'relation = "relation"' in described.stdout, str(described)
    (tmp_path / "graph.toml").write_text(described.stdout.replace("node:*:node", "entity:*:entity")
                                         + 'reverse = "rev_*"\n')
    done = mpignn("partition", "graph.toml", "out", "--parts", "2", cwd=tmp_path)
    assert done.returncode == 0, str(done)
    links = ["--task", "link_prediction", "--edge-mask", "message", "--model", "rgcn", "--decoder", "distmult"]
    for words in (["train", "out", *links, *TRAIN], ["infer", "run", "out", "--out", "new.csv", "--top-k", "3"]):
        done = mpignn(*words, cwd=tmp_path)
        assert done.returncode == 0, str(done)
    names = {"http://example.org/works_in": "http%3A%2F%2Fexample.org%2Fworks_in", "knows": "knows",
             "lives in": "lives in"}
    with open(tmp_path / "triples.tsv", newline="") as file:
        known = {(f"entity:{names[row['relation']]}:entity", row["head"], row["tail"])
                 for row in csv.DictReader(file, delimiter="\t")}
    with open(tmp_path / "new.csv", newline="") as file:
        new = [(row["type"], row["src"], row["dst"]) for row in csv.DictReader(file)]
    nodes = {node for _, *ends in known for node in ends}
    assert len(new) == len(set(new)) == 3 * 3 * len(nodes) and not set(new) & known
    assert {kind for kind, _, _ in new} == {kind for kind, _, _ in known}
    assert {node for _, *ends in new for node in ends} <= nodes
    (tmp_path / "triples.tsv").write_text("head\trelation\ttail\na\tlives in\tb\na\tlikes\tb\n")
    refused(mpignn("partition", "triples.tsv", "like", "--parts", "2", "--like", "out", cwd=tmp_path), 3,
            "triples.tsv, line 3: relation is 'likes', which no edge had in training")
    (tmp_path / "triples.tsv").write_text("head\trelation\ttail\na\tlives in\tb\na\t\tb\n")
    refused(mpignn("partition", "triples.tsv", "bad", "--parts", "2", cwd=tmp_path), 3,
            "triples.tsv, line 3: relation is missing")
    assert not (tmp_path / "like").exists() and not (tmp_path / "bad").exists()


def test_what_is_not_clear_is_asked_for_and_then_taken(tmp_path):
    folder = tables(tmp_path, 0)
    (folder / "cites.csv").rename(folder / "between.csv")
    lines = (folder / "between.csv").read_text().splitlines()
    (folder / "between.csv").write_text("\n".join(["what,who,whom", *(f"cites,{line}" for line in lines[1:])]))
    done = mpignn("partition", "tables", "out", "--parts", "2", cwd=tmp_path)
    refused(done, 3, "between.csv: are these nodes or edges?", "mpignn describe tables > graph.toml")
    described = mpignn("describe", "tables", cwd=tmp_path)
    edges = '[edges."paper:cites:paper"]\nfiles = "tables/between.csv"\nsrc = "who"\ndst = "whom"\n'
    (tmp_path / "graph.toml").write_text(described.stdout + edges)
    done = mpignn("partition", "graph.toml", "out", "--parts", "2", cwd=tmp_path)
    assert done.returncode == 0 and "edges paper:cites:paper: 1,500" in done.stdout, str(done)


def test_unknown_ends_are_refused_or_dropped(tmp_path):
    folder = tables(tmp_path, 0)
    with open(folder / "cites.csv", "a") as file:
        file.write("nobody,nothing\n")
    refused(mpignn("partition", "tables", "out", "--parts", "2", cwd=tmp_path), 3, "cites.csv, line 1502: citing is "
            "'nobody'", "--on-unknown drop")
    assert not (tmp_path / "out").exists()
    done = mpignn("partition", "tables", "out", "--parts", "2", "--on-unknown", "drop", cwd=tmp_path)
    assert done.returncode == 0 and "1 of 1501 edges are left out" in done.stderr, str(done)


def test_a_description_that_cannot_be_meant_is_refused(tmp_path):
    tables(tmp_path, 0)
    (tmp_path / "graph.toml").write_text('[nodes.paper]\nfiles = "tables/papers.csv"\nidd = "paper_id"\n')
    refused(mpignn("partition", "graph.toml", "out", "--parts", "2", cwd=tmp_path), 2, "graph.toml: [nodes.paper]: "
            "unknown key idd; did you mean id?")
    refused(mpignn("describe", "nowhere", cwd=tmp_path), 3, "nowhere: No such file or directory")
    refused(mpignn("partition", "wordnet", "out", "--parts", "2", "--on-unknown", "drop", cwd=tmp_path), 2,
            "it is for tables")


def test_new_tables_become_a_graph_like_the_first_or_are_refused(tmp_path):
    folder = tables(tmp_path, 100)
    done = mpignn("partition", "tables", "mine", "--parts", "2", cwd=tmp_path)
    assert done.returncode == 0, str(done)
    folder.rename(tmp_path / "new")
    lines = (tmp_path / "new" / "papers.csv").read_text().splitlines()
    unlabelled = [line.rpartition(",")[0] for line in lines]
    (tmp_path / "new" / "papers.csv").write_text("\n".join(unlabelled))
    done = mpignn("partition", "new", "out", "--parts", "3", "--like", "mine", cwd=tmp_path)
    assert done.returncode == 0 and "nodes paper: 300; features float32 [9]\n" in done.stdout, str(done)
    rows = [[], []]
    for number, out in enumerate(("mine", "out")):
        with GraphFile(tmp_path / out) as graph:
            for ntype in ("paper", "author"):
                info = graph.infos[f"node/{ntype}/data/features"]
                array = np.empty(graph.book.num_nodes(ntype) * info.width, info.dtype)
                graph.read(info.name, 0, graph.book.num_nodes(ntype), array)
                rows[number].append(array.reshape(-1, info.width)[graph.new_ids(ntype)])
    assert all(np.array_equal(one, other) for one, other in zip(*rows, strict=True))
    (tmp_path / "new" / "authors.csv").unlink()
    refused(mpignn("partition", "new", "other", "--parts", "2", "--like", "mine", cwd=tmp_path), 3,
            "new: there is no table of [nodes.author]: call it authors.csv")
    refused(mpignn("partition", "new", "other", "--parts", "2", "--like", "tables", cwd=tmp_path), 3, "no such file")
    refused(mpignn("partition", "new", "other", "--parts", "2", "--like", "mine", "--keep-dtype", cwd=tmp_path), 2,
            "has no effect with --like")
    refused(mpignn("partition", "wordnet", "other", "--parts", "2", "--like", "mine", cwd=tmp_path), 2,
            "it is for tables")
    assert not (tmp_path / "other").exists()


def test_a_list_of_edges_is_a_graph(tmp_path):
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 100, (400, 2)) * 1_000_003
    (tmp_path / "edges.txt").write_text("# a comment\n" + "".join(f"{src}\t{dst}\n" for src, dst in pairs))
    done = mpignn("partition", "edges.txt", "out", "--parts", "2", cwd=tmp_path)
    assert done.returncode == 0 and f"nodes node: {np.unique(pairs).size}" in done.stdout, str(done)
