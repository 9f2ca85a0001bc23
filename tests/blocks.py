"""Random blocks for tests of layers, and what layers are computed from in dense form.

Shapes: S sources, D destinations, E edges.
"""

import numpy as np
import torch

from mpignn.graph.block import Block
from mpignn.graph.csc import CSC
from mpignn.graph.types import Schema

LOOP = ("node", "to", "node")
SCHEMA = Schema(("node",), (LOOP,))
HETERO = Schema(("user", "item"), (("user", "likes", "item"), ("item", "liked", "user"), ("user", "knows", "user")))


def make_block(degrees, num_src, seed=0, key=0):
    """Random in-edges with repeats; destination d has original id 1000 + 7 d."""
    num_dst = len(degrees)
    return Block(SCHEMA, {"node": np.arange(num_src)}, {"node": num_dst}, {"node": 1000 + 7 * np.arange(num_dst)},
                 {LOOP: make_csc(degrees, num_src, seed)}, key=key)


def know_sources(block, degrees):
    """What `NeighborSampler` with ``source_info`` adds to a block of `SCHEMA`."""
    block.src_orig = {"node": 1000 + 7 * np.arange(block.num_src_nodes())}
    block.in_degrees = {LOOP: np.asarray(degrees)}


def make_csc(degrees, num_src, seed=0):
    indptr = np.concatenate([[0], np.cumsum(degrees, dtype=np.int64)]).astype(np.int64)
    return CSC(indptr, np.random.default_rng(seed).integers(0, max(num_src, 1), indptr[-1]).astype(np.int32))


def hetero_block(seed=0, key=0, num_src=(7, 5), num_dst=(4, 3), schema=HETERO):
    """With destinations that lack in-edges of a type or of all."""
    rng = np.random.default_rng(seed)
    src, dst = dict(zip(schema.ntypes, num_src, strict=True)), dict(zip(schema.ntypes, num_dst, strict=True))
    csc = {e: make_csc(rng.integers(0, 4, dst[e[2]]) * (rng.random(dst[e[2]]) < 0.7), src[e[0]], seed + n)
           for n, e in enumerate(schema.etypes)}
    return Block(schema, {t: np.arange(n) for t, n in src.items()}, dst,
                 {t: 1000 + 7 * np.arange(n) for t, n in dst.items()}, csc, key=key)


def rows(num, columns, dtype=torch.float64, seed=0):
    shape = columns if isinstance(columns, tuple) else (columns,)
    return torch.randn(num, *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def ends(csc):
    """(E,) source and (E,) destination of each edge, in order."""
    return csc.indices.astype(np.int64), np.repeat(np.arange(csc.num_dst), np.diff(csc.indptr))


def counts(csc, num_src):
    """(D, S) number of edges from each source to each destination."""
    count = np.zeros((csc.num_dst, num_src))
    src, dst = ends(csc)
    np.add.at(count, (dst, src), 1)
    return count
