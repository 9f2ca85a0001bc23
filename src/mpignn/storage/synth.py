"""A synthetic graph of any size, to measure with: many nodes, skewed degrees, communities, labels that can be learnt.

The graph is a degree-corrected planted partition (Karrer and Newman 2011): every node has a class and a block
inside its class, node weights follow a truncated power law, and an edge keeps its first end by weight and picks
the second one by weight inside the block, inside the class or in the whole graph.  Edges are stored in both
directions, without self loops and duplicates; node ids are shuffled, so that their order says nothing.

Shapes: N nodes, E edges (both directions counted), C classes, F features.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpignn.errors import ConfigError
from mpignn.json_text import to_json
from mpignn.log import phase
from mpignn.progress import each
from mpignn.storage.atomic import new_folder

_EDGES_PER_DRAW = 8_000_000
_ROWS_PER_DRAW = 200_000


@dataclass(frozen=True)
class Recipe:
    """What the graph is a function of.

    Attributes:
        nodes: N.
        avg_degree: Edges per node, both directions counted.
        seed: Seed of the random generator.
        classes: C.
        block_size: Mean number of nodes of a block.
        p_block, p_class: Shares of the edges kept inside a block, and inside a class.
        exponent, max_ratio: Exponent of the power law of the weights; the largest over the smallest weight.
        feat_dim: F.
        signal: Standard deviation of the class centroids' entries; that of the noise is 1.
        label_noise: Share of the labels that are drawn anew.
        train, val: Shares of the nodes; the rest is test.
    """

    nodes: int
    avg_degree: float = 50.0
    seed: int = 0
    classes: int = 47
    block_size: int = 1500
    p_block: float = 0.35
    p_class: float = 0.45
    exponent: float = 2.6
    max_ratio: float = 400.0
    feat_dim: int = 100
    signal: float = 0.25
    label_noise: float = 0.08
    train: float = 0.08
    val: float = 0.02

    def check(self) -> None:
        """Raise ConfigError if no graph can be made."""
        for name in ("classes", "block_size", "feat_dim"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.nodes < 2 * self.classes:
            raise ConfigError(f"nodes is {self.nodes}; {self.classes} classes need at least {2 * self.classes}")
        if not 0 < self.avg_degree < self.nodes:
            raise ConfigError(f"avg_degree is {self.avg_degree}; it must be above 0 and below the number of nodes")
        for first, second in (("p_block", "p_class"), ("train", "val")):
            a, b = getattr(self, first), getattr(self, second)
            if a < 0 or b < 0 or a + b > 1:
                raise ConfigError(f"{first} and {second} are {a} and {b}; they are shares, their sum at most 1")
        if self.seed < 0 or not 0 <= self.label_noise <= 1 or self.exponent <= 1 or self.max_ratio <= 1:
            raise ConfigError("seed must be 0 or more, label_noise between 0 and 1, exponent and max_ratio above 1")


def make_graph(out: str | Path, nodes: int, avg_degree: float = 50.0, seed: int = 0, **options: Any) -> dict[str, Any]:
    """Write a synthetic graph as a folder of ``.npy`` files that `mpignn partition` reads.  Not collective.

    The files, a function of the arguments alone: ``indptr`` (N + 1,) and ``indices`` (E,), int64, where the
    in-neighbors of v are ``indices[indptr[v]:indptr[v + 1]]``, ascending; ``features`` (N, F) float32;
    ``labels`` (N,) int64; ``train_mask``, ``val_mask`` and ``test_mask`` (N,) bool; ``meta.json``.

    Args:
        out: Folder to make; written under a temporary name beside it and renamed at the end.
        options: Other fields of `Recipe`.

    Returns:
        What ``meta.json`` says.

    Raises:
        ConfigError: ``out`` exists or cannot lie where it should, or no graph can be made of the arguments.
        ResourceError: The disk is full.
    """
    recipe = Recipe(nodes, avg_degree, seed, **options)
    recipe.check()
    out = Path(out)
    with new_folder(out) as folder:
        return _write(recipe, folder)


def _write(recipe: Recipe, folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(recipe.seed)
    n = recipe.nodes
    with phase("plan communities"):
        plan = _plan(rng, recipe)
    with phase("draw edges"):
        keys = _draw_distinct_edges(rng, recipe, plan)

    # So far nodes were numbered by community.
    new_id = rng.permutation(n).astype(np.int64)
    first, second = plan.class_of[keys // n], plan.class_of[keys % n]
    same_class = float(np.mean(first == second))
    with phase("sort edges"):
        indptr, indices = _both_directions(new_id[keys // n], new_id[keys % n], n)
    del keys
    with phase("write edges"):
        np.save(folder / "indptr.npy", indptr)
        np.save(folder / "indices.npy", indices)
        digest = hashlib.sha256(indptr.data)
        digest.update(indices.data)
    num_edges, degree = indices.size, np.diff(indptr)
    del indices

    true_class = np.empty(n, np.int64)
    true_class[new_id] = plan.class_of
    labels = true_class.copy()
    wrong = rng.random(n) < recipe.label_noise
    labels[wrong] = rng.integers(0, recipe.classes, int(wrong.sum()))
    with phase("write features"):
        bayes = _write_features(rng, recipe, folder / "features.npy", true_class, labels)
    np.save(folder / "labels.npy", labels)

    order = rng.permutation(n)
    num_train, num_val = int(n * recipe.train), int(n * recipe.val)
    splits = dict(zip(("train", "val", "test"), np.split(order, [num_train, num_train + num_val]), strict=True))
    for name, part in splits.items():
        mask = np.zeros(n, bool)
        mask[part] = True
        np.save(folder / f"{name}_mask.npy", mask)
    meta = {
        "num_nodes": n, "num_edges": int(num_edges), "num_classes": recipe.classes, "feat_dim": recipe.feat_dim,
        **{f"num_{name}": int(part.size) for name, part in splits.items()},
        "num_blocks": int(plan.block_stubs.size - 1),
        "degree": {"mean": float(degree.mean()), "median": float(np.median(degree)),
                   "p99": float(np.percentile(degree, 99)), "min": int(degree.min()), "max": int(degree.max()),
                   "zero": int((degree == 0).sum())},
        "same_class_edges": same_class,
        "label_noise": float(np.mean(labels != true_class)),
        "feature_only_bayes_accuracy": bayes,
        "edges_sha256": digest.hexdigest(),
        "recipe": asdict(recipe),
        "numpy": np.__version__,
    }
    (folder / "meta.json").write_text(to_json(meta, 2) + "\n")
    return meta


@dataclass(frozen=True)
class _Plan:
    """Communities, and the stubs by which an end of an edge is drawn.

    Attributes:
        class_of, block_of: (N,) int32, ascending.
        stubs: A node per expected end of an edge, so that a draw by weight is one gather; ascending.
        class_stubs, block_stubs: Where the stubs of each class and block begin, and their end.
    """

    class_of: np.ndarray
    block_of: np.ndarray
    stubs: np.ndarray
    class_stubs: np.ndarray
    block_stubs: np.ndarray


def _plan(rng: np.random.Generator, recipe: Recipe) -> _Plan:
    n = recipe.nodes
    share = rng.gamma(2.0, 1.0, recipe.classes) + 0.2
    size = np.maximum(1, np.floor(share / share.sum() * n)).astype(np.int64)
    size[np.argmax(size)] += n - size.sum()
    class_start = np.concatenate([[0], np.cumsum(size)])
    blocks = []
    for c in range(recipe.classes):
        parts = max(1, round(size[c] / recipe.block_size))
        blocks.append(np.linspace(class_start[c], class_start[c + 1], parts + 1)[:-1].astype(np.int64))
    block_start = np.concatenate([*blocks, [n]])

    weight = _power_law(rng, n, recipe.exponent, recipe.max_ratio)
    wanted = weight * (recipe.avg_degree / weight.mean())
    count = np.maximum(np.floor(wanted + rng.random(n)).astype(np.int64), 1)
    stub_start = np.concatenate([[0], np.cumsum(count)])
    return _Plan(np.repeat(np.arange(recipe.classes), size).astype(np.int32),
                 np.repeat(np.arange(block_start.size - 1), np.diff(block_start)).astype(np.int32),
                 np.repeat(np.arange(n, dtype=np.int32), count), stub_start[class_start], stub_start[block_start])


def _power_law(rng: np.random.Generator, n: int, exponent: float, max_ratio: float) -> np.ndarray:
    """(N,) weights w >= 1 with P(w > x) ~ x ** (1 - exponent), cut at ``max_ratio``."""
    a = exponent - 1.0
    lowest = max_ratio ** -a
    weights: np.ndarray = (lowest + rng.random(n) * (1.0 - lowest)) ** (-1.0 / a)
    return weights


def _draw_distinct_edges(rng: np.random.Generator, recipe: Recipe, plan: _Plan) -> np.ndarray:
    """Undirected edges as ascending keys lower end * N + upper end; fewer than asked where the graph is dense."""
    target = int(recipe.nodes * recipe.avg_degree / 2)
    keys = np.empty(0, np.int64)
    for _ in range(8):
        missing = target - keys.size
        if missing <= 0:
            break
        keys = _sorted_unique(np.concatenate([keys, _draw_edges(rng, int(missing * 1.06) + 16, recipe, plan)]))
    if keys.size > target:
        lot = rng.random(keys.size)
        keys = keys[lot <= np.partition(lot, target - 1)[target - 1]] if target else keys[:0]
    return keys


def _draw_edges(rng: np.random.Generator, count: int, recipe: Recipe, plan: _Plan) -> np.ndarray:
    """Keys of ``count`` edges less the self loops among them."""
    keys = []
    for start in each(range(0, count, _EDGES_PER_DRAW), "draw"):
        m = min(_EDGES_PER_DRAW, count - start)
        src = plan.stubs[rng.integers(0, plan.stubs.size, m)]
        kind = rng.random(m, dtype=np.float32)
        lo, hi = np.zeros(m, np.int64), np.full(m, plan.stubs.size, np.int64)
        in_class = kind < recipe.p_block + recipe.p_class
        c = plan.class_of[src[in_class]]
        lo[in_class], hi[in_class] = plan.class_stubs[c], plan.class_stubs[c + 1]
        in_block = kind < recipe.p_block
        b = plan.block_of[src[in_block]]
        lo[in_block], hi[in_block] = plan.block_stubs[b], plan.block_stubs[b + 1]
        pick = lo + (rng.random(m) * (hi - lo)).astype(np.int64)
        dst = plan.stubs[np.minimum(pick, hi - 1)]
        keep = src != dst
        src, dst = src[keep].astype(np.int64), dst[keep].astype(np.int64)
        keys.append(np.minimum(src, dst) * recipe.nodes + np.maximum(src, dst))
    return np.concatenate(keys)


def _sorted_unique(keys: np.ndarray) -> np.ndarray:
    """Sorts in place: np.unique would copy, and hash where this is faster."""
    keys.sort()
    first = np.ones(keys.size, bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    return keys[first]


def _both_directions(u: np.ndarray, v: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """``indptr`` and ``indices`` of the CSC that has each edge twice."""
    both = np.concatenate([v * n + u, u * n + v])
    both.sort()
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(both // n, minlength=n), out=indptr[1:])
    both %= n
    return indptr, both


def _write_features(rng: np.random.Generator, recipe: Recipe, path: Path, true_class: np.ndarray,
                    labels: np.ndarray) -> float:
    """Class centroid plus noise; returns the accuracy of the best classifier that sees nothing else."""
    n = recipe.nodes
    centroid = rng.standard_normal((recipe.classes, recipe.feat_dim), dtype=np.float32) * np.float32(recipe.signal)
    prior = np.log(np.bincount(true_class, minlength=recipe.classes) / n).astype(np.float32)
    header = {"descr": "<f4", "fortran_order": False, "shape": (n, recipe.feat_dim)}
    hits = 0
    with path.open("wb") as file:       # not a memory map: that would die of SIGBUS where the disk is full
        np.lib.format.write_array_header_1_0(file, header)
        for start in each(range(0, n, _ROWS_PER_DRAW), "block"):
            rows = slice(start, min(n, start + _ROWS_PER_DRAW))
            features = rng.standard_normal((rows.stop - start, recipe.feat_dim), dtype=np.float32)
            features += centroid[true_class[rows]]
            file.write(features.data)
            score = features @ centroid.T - 0.5 * (centroid ** 2).sum(1) + prior
            hits += int((score.argmax(1) == labels[rows]).sum())
    return hits / n
