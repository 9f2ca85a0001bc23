"""Cut a graph for DistDGL, in DGL's environment: GRAPH OUT PARTS METHOD.

The file that DistDGL reads is OUT/graph.json.
"""

import sys
from pathlib import Path

import dgl
from arrays import read_graph


def main() -> None:
    graph, out, parts, method = sys.argv[1:]
    dgl.distributed.partition_graph(read_graph(Path(graph)), "graph", int(parts), out, part_method=method)


if __name__ == "__main__":
    main()
