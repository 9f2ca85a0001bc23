"""Small graphs for whole jobs, made once."""

from pathlib import Path

import pytest

from mpignn.storage.synth import make_graph
from mpignn.storage.write import partition_graph


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """4,000 nodes in 7 classes, 48,000 edges, 2,400 of the nodes for training; beside it a folder with two tables."""
    out = tmp_path_factory.mktemp("source") / "graph"
    (out.parent / "tables").mkdir()
    (out.parent / "tables" / "papers.csv").write_text("paper_id,x\na,1\nb,2\n")
    (out.parent / "tables" / "cites.csv").write_text("citing,cited\na,b\n")
    make_graph(out, nodes=4000, avg_degree=12, classes=7, block_size=200, feat_dim=20, signal=0.6, train=0.6, val=0.1)
    return out


@pytest.fixture(scope="session")
def graphs(source, tmp_path_factory) -> dict[str, Path]:
    """The same graph in several cuts, by name."""
    folder = tmp_path_factory.mktemp("graphs")
    cuts = {"one": (1, "range"), "random4": (4, "random"), "metis4": (4, "metis")}
    for name, (parts, method) in cuts.items():
        partition_graph(source, folder / name, parts, method=method)
    return {name: folder / name for name in cuts}
