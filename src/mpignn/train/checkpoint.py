"""Checkpoints: the whole state of a run, from which any number of ranks goes on, however the graph is partitioned.

What is equal on all trainers is written by the first of them.  The rows of tensors that live on are written by all
trainers together, by original id, so a checkpoint does not tell how many ranks, servers or partitions there were.

Shapes: N rows of a tensor.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from mpignn.errors import ConfigError, DataError, MpignnError
from mpignn.log import phase
from mpignn.nn.embedding import DistEmbedding
from mpignn.nn.sparse_optim import SparseOptimizer
from mpignn.progress import each
from mpignn.storage import claim, snapshot
from mpignn.storage.array_writers import Piece, RowWriter
from mpignn.storage.arrays import ArrayType
from mpignn.storage.snapshot import Manifest, array_name
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.original import original_order
from mpignn.store.registry import Entry
from mpignn.store.tensor import DistTensor
from mpignn.train.compatibility import check_graph, check_same, differences
from mpignn.train.packing import pack, plain, unpack

log = logging.getLogger(__name__)

_TENSORS, _STATE = "tensors", "state"       # groups of the state file


@runtime_checkable
class Stateful(Protocol):
    """A model, an optimizer, a loader: what has a state, equal on all trainers."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any], /) -> Any: ...


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint told beside the state of the objects.

    Attributes:
        path: The checkpoint.
        step: Optimizer steps done when it was written.
        about: What `save` was given to remember.
    """

    path: Path
    step: int
    about: dict[str, Any]


def save(folder: str | Path, step: int, g: DistGraph, *, settings: Mapping[str, Any] | None = None,
         about: Mapping[str, Any] | None = None, keep: int | None = None, best: int | Collection[int] | None = None,
         **objects: Stateful) -> Path:
    """Write a checkpoint; it appears under its name when all of it is on the disk.  Collective over the trainers.

    Args:
        folder: Where checkpoints are; made if it is not there.
        step: Optimizer steps done, by which the checkpoint is named; one of the same name is replaced.
        g: The graph; its persistent `DistTensor`s, embeddings among them, are written with all their rows.
        settings: What the results depend on, as `mpignn.train.packing.plain` takes it; `load` refuses a checkpoint that
            was written with others.
        about: What else to remember; `load` gives it back as JSON does.
        keep: How many checkpoints to keep, this one included; None: all.
        best: The step of one to keep beside these, or the steps of several.
        objects: What has a ``state_dict``, by names that `load` will be given again.

    Returns:
        The folder of the checkpoint.

    Raises:
        ConfigError: On all trainers: a state, settings or something else that cannot be stored, embeddings that have no
            name, or a folder that this job had claimed and that is another job's by now.
        ResourceError: On all trainers: the disk is full or cannot be written; earlier checkpoints stay as they are.
    """
    trainers, out, begun = g.trainers, Path(folder) / snapshot.name_of(step), None
    with phase("write checkpoint"), ExitStack() as stack:
        tensors = _persistent(g)
        for entry in tensors.values():
            entry.array.sync()
        arrays: dict[str, np.ndarray] = {}
        with trainers.all_or_none():
            if trainers.rank == 0:
                check_names(objects)
                said = {"graph": g.source_id, "settings": plain(settings or {}, "settings"),
                        "about": plain(about or {}, "about")}
                tree = {name: pack(found.state_dict(), (_STATE, name), arrays) for name, found in objects.items()}
                wanted = {name: ArrayType(array.shape, array.dtype) for name, array in arrays.items()}
                wanted |= {array_name(_TENSORS, name): ArrayType(entry.description.shape, entry.array.spec.dtype)
                           for name, entry in tensors.items()}
                claim.check(out)
                with snapshot.disk_problems_named(out):
                    partial = stack.enter_context(snapshot.new(out))
                    begun = partial, snapshot.begin(partial, out, wanted)
        partial, manifest = trainers.bcast(begun)
        with trainers.all_or_none(), snapshot.disk_problems_named(out):
            pieces = _write(g, partial, manifest, tensors, arrays)
        shares = trainers.allgather(pieces)
        with trainers.all_or_none():
            if trainers.rank == 0:
                said |= {"objects": tree, "tensors": {name: _described(entry) for name, entry in tensors.items()}}
                claim.check(out)
                with snapshot.disk_problems_named(out):
                    snapshot.complete(partial, manifest, [piece for share in shares for piece in share], step, said)
                    stack.close()       # gives it its name
                _prune(out.parent, step, keep, () if best is None else [best] if isinstance(best, int) else best)
    log.info("checkpoint %s", out)
    return out


def load(path: str | Path, g: DistGraph, *, settings: Mapping[str, Any] | None = None, any_settings: bool = False,
         any_graph: bool = False, **objects: Stateful) -> Loaded:
    """Go on from a checkpoint: every object and every persistent tensor as it was.  Collective over the trainers.

    A persistent tensor that is not there yet is made; whoever asks for one of its name then finds it.

    Args:
        path: A checkpoint, or a folder of them, of which the newest that is whole is taken.
        g: The graph, however it is partitioned.
        settings: What the results depend on, as `save` was given.
        any_settings: Take it whatever its settings are, to use what was learnt and not to go on.
        any_graph: Take it also if it is of another graph, as long as it holds no tensors.
        objects: As `save` was given.

    Raises:
        ConfigError: On all trainers: the checkpoint is of another graph, or of other settings, objects or tensors; the
            difference is shown.
        DataError: On all trainers: no checkpoint, or a damaged one; of a folder: none that is whole.
        OtherFormat: On all trainers: it is of another version of the program, which the message names.
    """
    candidates = g.trainers.bcast(_candidates(Path(path)) if g.trainers.rank == 0 else None)
    if not candidates:
        g.trainers.agree(DataError(f"{path}: no checkpoint there"))
    for number, candidate in enumerate(candidates):
        try:
            with phase("read checkpoint"):
                return _load(candidate, g, None if any_settings else settings or {}, any_graph, objects)
        except DataError as error:
            if not error.agreed or isinstance(error, snapshot.OtherFormat) or number == len(candidates) - 1:
                raise
            if g.trainers.rank == 0:
                log.warning("%s; the one before it is tried", error)
    raise AssertionError("unreachable: the last candidate is returned or raised")


def check_names(objects: Mapping[str, Stateful]) -> None:
    """Raise `ConfigError` if a checkpoint would lack rows that some objects learn.  Not collective."""
    for name, found in objects.items():
        embeddings = found.params if isinstance(found, SparseOptimizer) else [
            module for module in (found.modules() if isinstance(found, nn.Module) else ())
            if isinstance(module, DistEmbedding)]
        if any(embedding.weight.name is None for embedding in embeddings):
            raise ConfigError(f"{name} has an embedding without a name, whose rows no checkpoint holds: "
                              "DistEmbedding(..., name=...)")


def latest(folder: str | Path) -> Path | None:
    """The newest checkpoint of a folder whose manifest is sound; None if there is none.  Not collective.

    The rows are verified by `load`, which goes on to the one before where they are damaged.

    Raises:
        OtherFormat: It is of another version of the program.
    """
    return snapshot.newest(Path(folder))


def _candidates(path: Path) -> list[Path]:
    """The checkpoints meant by a path, the newest first.  What is meant by name has no substitute."""
    if (path / snapshot.MANIFEST).exists() or (path / snapshot.STATE).exists():
        return [path]
    return [found for _, found in reversed(snapshot.found_in(path))]


def _persistent(g: DistGraph) -> dict[str, Entry]:
    """The tensors that belong to a checkpoint, by name, in the same order on all trainers."""
    return {_name(entry): entry for entry in sorted(g.registry.persistent(), key=_name)}


def _name(entry: Entry) -> str:
    assert entry.description.name is not None, "what is persistent has a name"
    return entry.description.name


def _described(entry: Entry) -> dict[str, Any]:
    """What makes a tensor the same in another job."""
    description = entry.description
    return {"shape": list(description.shape), "dtype": description.dtype, "policy": description.policy}


def _write(g: DistGraph, partial: Path, manifest: Manifest, tensors: Mapping[str, Entry],
           arrays: Mapping[str, np.ndarray]) -> list[Piece]:
    """Write this trainer's share; returns what it wrote.  Collective over the trainers but for errors."""
    orders = {name: original_order(published_graph(g), g.trainers, entry.description.policy)
              for name, entry in tensors.items()}
    writer = RowWriter(partial / snapshot.STATE, manifest.arrays)
    try:
        for name, array in arrays.items():
            writer.write(name, 0, array)
        for name, first, last in each(list(_share(g, manifest, list(tensors))), "piece"):
            tensor = tensors[name].array
            rows = np.empty((last - first, tensor.spec.width), tensor.spec.dtype)
            tensor.gather(orders[name](first, last), rows).wait()
            writer.write(array_name(_TENSORS, name), first, rows.reshape(-1, *tensors[name].description.shape[1:]))
    finally:
        writer.close()
    return writer.pieces


def _share(g: DistGraph, manifest: Manifest, names: list[str]) -> Iterator[tuple[str, int, int]]:
    """This trainer's blocks of the tensors: name, first row, one past the last; all have as many bytes."""
    blocks = [(name, first, last, stored.row_bytes) for name in names
              for stored in (manifest.arrays[array_name(_TENSORS, name)],) for first, last in stored.blocks()]
    sizes = np.array([(last - first) * row_bytes for _, first, last, row_bytes in blocks], np.int64)
    owner = (np.cumsum(sizes) - sizes // 2) * g.trainers.size // max(1, int(sizes.sum()))
    for is_mine, (name, first, last, _) in zip(owner == g.trainers.rank, blocks, strict=True):
        if is_mine:
            yield name, first, last


def _prune(folder: Path, step: int, keep: int | None, best: Collection[int]) -> None:
    """Remove old checkpoints; what is newer is left for `load` to judge."""
    if keep is None:
        return
    for found, path in [f for f in snapshot.found_in(folder) if f[0] <= step][:-keep]:
        if found not in best:
            snapshot.remove(path)


def _load(path: Path, g: DistGraph, settings: Mapping[str, Any] | None, any_graph: bool,
          objects: Mapping[str, Stateful]) -> Loaded:
    def read() -> tuple[Manifest, dict[str, np.ndarray]]:
        manifest = snapshot.read_manifest(path)
        snapshot.check_rest(path, manifest)
        asked = manifest.about["settings"] if settings is None else plain(settings, "settings")
        _compare(path, manifest.about, g, asked, any_graph, objects)
        return manifest, {name: snapshot.verified_rows(array, 0, array.shape[0])
                          for name, array in manifest.arrays.items() if name.startswith(f"{_STATE}/")}

    manifest, arrays = g.trainers.by_first(read)
    _fill_tensors(g, manifest)
    for name, found in objects.items():
        found.load_state_dict(unpack(manifest.about["objects"][name], arrays))
    return Loaded(path, manifest.step, manifest.about["about"])


def _compare(path: Path, said: Mapping[str, Any], g: DistGraph, settings: Mapping[str, Any], any_graph: bool,
             objects: Mapping[str, Stateful]) -> None:
    """Raise `ConfigError` if a checkpoint is of something else."""
    if said["graph"] != g.source_id and (said["tensors"] or not any_graph):
        check_graph(path, said["graph"], g.source_id)
    here = {name: _described(entry) for name, entry in _persistent(g).items()}
    parts = differences("", said["settings"], settings)
    parts += differences("tensor ", said["tensors"], said["tensors"] | here)      # others are made
    parts += differences("", dict.fromkeys(said["objects"], "state"), dict.fromkeys(objects, "state"))
    check_same(path, parts)


def _fill_tensors(g: DistGraph, manifest: Manifest) -> None:
    """Fill the persistent tensors, made where they are missing.  Collective over the trainers."""
    there = _persistent(g)
    made = [DistTensor(about["shape"], getattr(torch, about["dtype"].removeprefix("torch.")), name=name,
                       part_policy=about["policy"], persistent=True, g=g)
            for name, about in manifest.about["tensors"].items() if name not in there]
    tensors, problem = _persistent(g), None
    assert len(tensors) == len(there) + len(made)
    orders = {name: original_order(published_graph(g), g.trainers, entry.description.policy)
              for name, entry in tensors.items()}
    try:
        for name, first, last in each(list(_share(g, manifest, list(manifest.about["tensors"]))), "piece"):
            tensor = tensors[name].array
            rows = snapshot.verified_rows(manifest.arrays[array_name(_TENSORS, name)], first, last)
            tensor.put(orders[name](first, last), rows.reshape(last - first, tensor.spec.width))
    except MpignnError as error:
        problem = error
    for entry in tensors.values():
        entry.array.sync()
    g.trainers.agree(problem)
