"""Tables of papers that cite each other and of their authors, or of triples, as ``docs/guide/your-data.md`` uses them.

    python jobs/examples/make_tables.py tables          # papers.csv, cites.csv
    python jobs/examples/make_tables.py tables --authors 200
    python jobs/examples/make_tables.py known --triples 600         # triples.tsv
    python jobs/examples/make_tables.py KNOWLEDGE --triples 600 --apart     # train.txt, valid.txt, test.txt
"""

import argparse
import csv
from pathlib import Path

import numpy as np

TOPICS = ("biology", "chemistry", "geology", "physics")
VENUES = ("Annals", "Letters", "Transactions")


def make(folder: Path, papers: int, authors: int, seed: int) -> None:
    """Papers mostly cite papers of their topic, and authors write about one; one topic in ten is unknown."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, len(TOPICS), papers)
    by_topic = [np.flatnonzero(topic == t) for t in range(len(TOPICS))]
    ids = [f"W{number:07d}" for number in rng.permutation(10 * papers)[:papers]]
    words = rng.normal(size=(papers, 8)).round(3)
    words[np.arange(papers), topic] += 1.5
    known = rng.random(papers) < 0.9
    write(folder / "papers.csv", ["paper_id", "year", "venue", *[f"word{i}" for i in range(8)], "topic"],
          ([ids[p], rng.integers(2000, 2020), rng.choice(VENUES), *words[p], TOPICS[topic[p]] if known[p] else ""]
           for p in range(papers)))
    write(folder / "cites.csv", ["citing", "cited"],
          ([ids[p], ids[cited]] for p in range(papers) for cited in
           rng.choice(by_topic[topic[p]] if rng.random() < 0.8 else papers, 5)))
    if authors:
        names = [f"author-{number}" for number in range(authors)]
        field = rng.integers(0, len(TOPICS), authors)
        write(folder / "authors.csv", ["author_id", "h_index"], ([name, rng.integers(1, 60)] for name in names))
        write(folder / "writes.csv", ["author_id", "paper_id"],
              ([names[a], ids[p]] for a in range(authors) for p in rng.choice(by_topic[field[a]], 4)))


def make_triples(folder: Path, count: int, apart: bool, seed: int) -> None:
    """People live in a city, mostly work there, and know people of theirs."""
    rng = np.random.default_rng(seed)
    people, cities = max(10, count // 5), max(2, count // 50)
    home = rng.integers(0, cities, people)
    rows = []
    for _ in range(count):
        person = rng.integers(people)
        match rng.integers(3):
            case 0:
                rows.append([f"person {person}", "lives in", f"city {home[person]}"])
            case 1:
                city = home[person] if rng.random() < 0.8 else rng.integers(cities)
                rows.append([f"person {person}", "http://example.org/works_in", f"city {city}"])
            case _:
                other = rng.choice(np.flatnonzero(home == home[person]))
                rows.append([f"person {person}", "knows", f"person {other}"])
    if not apart:
        write(folder / "triples.tsv", ["head", "relation", "tail"], rows)
        return
    train, valid = count * 8 // 10, count * 9 // 10
    for name, some in (("train", rows[:train]), ("valid", rows[train:valid]), ("test", rows[valid:])):
        (folder / f"{name}.txt").write_text("".join("\t".join(row) + "\n" for row in some), encoding="utf-8")


def write(path: Path, header: list[str], rows) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerow(header)
        writer.writerows(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the tables")
    parser.add_argument("--papers", type=int, default=2000)
    parser.add_argument("--authors", type=int, default=0)
    parser.add_argument("--triples", type=int, default=0, help="write so many triples in place of papers")
    parser.add_argument("--apart", action="store_true", help="write triples without names of columns, a file a split")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.triples:
        make_triples(arguments.folder, arguments.triples, arguments.apart, arguments.seed)
    else:
        make(arguments.folder, arguments.papers, arguments.authors, arguments.seed)
