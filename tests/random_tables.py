"""Folders of small random tables, with a description: several types, missing values, labels, splits, doubled edges."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

_SHARES = 'split = "0.5/0.2/0.3"\n'
EDGES = ["", 'reverse = "back"\n', "reverse = true\n", "drop_duplicates = true\n", "drop_self_loops = true\n",
         "reverse = true\ndrop_duplicates = true\n", f'labels = "w"\n{_SHARES}',
         f'labels = "w"\n{_SHARES}reverse = true\n',
         _SHARES, f"{_SHARES}reverse = true\n", f"{_SHARES}drop_duplicates = true\n", 'split = "part"\n',
         'split = "part"\nreverse = true\ndrop_self_loops = true\n',
         f'{_SHARES}reverse = "back"\ndata = {{z = {{column = "w", as = "standard"}}}}\n']
"""What may be asked of edges."""


def write_tables(folder: Path, seed: int, ending: str, num_nodes: int, num_edges: int, edges: str, ids: str) -> Path:
    """Tables of two types of nodes, and of edges of these, of nodes that have no table, and of relations.

    Args:
        folder: One that is there.
        ending: ``.csv`` or ``.parquet``.
        edges: One of `EDGES`, asked of those of the first type, and of those of relations.
        ids: What those of the first type of nodes are: ``texts``, ``numbers``, or ``none``, which are numbers of rows.

    Returns:
        The description.
    """
    rng = np.random.default_rng(seed)
    names = np.array([f"p{i}" for i in range(num_nodes)]) if ids == "texts" else (
        rng.permutation(num_nodes) * (7 if ids == "numbers" else 1))
    names = np.arange(num_nodes) if ids == "none" else names
    of_node = pa.array([None if rng.random() < 0.1 else float(x) for x in rng.normal(0, 9, num_nodes)], pa.float64())
    kinds, parts = (pa.array(rng.choice(some, num_nodes)) for some in (["u", "v", "w"], ["train", "val", ""]))
    papers = pa.table({"id": names, "x": of_node, "k": kinds, "y": kinds, "part": parts})
    _write(papers if ids != "none" else papers.drop_columns(["id"]), folder / f"papers{ending}")
    _write(pa.table({"age": rng.integers(0, 99, 5)}), folder / f"people{ending}")

    def some_nodes() -> np.ndarray:
        return names[rng.integers(0, num_nodes, num_edges)]

    _write(pa.table({"src": some_nodes(), "dst": some_nodes(), "w": rng.integers(0, 3, num_edges) / 2,
                     "part": pa.array(rng.choice(["train", "val", ""], num_edges).astype(str))}),
           folder / f"cites{ending}")
    _write(pa.table({"src": rng.integers(0, 7, num_edges), "dst": some_nodes()}), folder / f"wrote{ending}")
    texts = [f"t{i}" for i in rng.integers(0, 20, num_edges)]
    _write(pa.table({"src": some_nodes(), "dst": pa.array(texts, pa.string())}), folder / f"about{ending}")
    _write(pa.table({"src": pa.array(texts[::-1], pa.string()), "dst": pa.array(texts, pa.string()),
                     "how": pa.array(rng.choice(["is", "has", "of"], num_edges).astype(str)),
                     "w": rng.integers(0, 3, num_edges) / 2,
                     "part": pa.array(rng.choice(["train", "val", ""], num_edges).astype(str))}),
           folder / f"topics{ending}")

    def section(etype: str, name: str) -> str:
        return f'[edges."{etype}"]\nfiles = "{name}{ending}"\nsrc = "src"\ndst = "dst"\n'

    (folder / "graph.toml").write_text(
        f'[nodes.paper]\nfiles = "papers{ending}"\n' + ('id = "id"\n' if ids != "none" else "")
        + 'features = [{column = "x", as = "standard", fill = "mean"}, {column = "k", as = "onehot"}]\n'
        + f'labels = "y"\nsplit = "part"\n[nodes.person]\nfiles = "people{ending}"\ndata = {{age = "age"}}\n'
        + section("paper:cites:paper", "cites") + f'weights = "w"\n{edges}'
        + section("person:wrote:paper", "wrote") + 'on_unknown = "drop"\nreverse = "by"\n'
        + section("paper:about:topic", "about") + section("topic:*:topic", "topics") + 'relation = "how"\n'
        + edges.replace('"back"', '"back_*"'))
    return folder / "graph.toml"


def _write(rows: pa.Table, path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(rows, path, row_group_size=7)
    else:
        csv.write_csv(rows, str(path))
