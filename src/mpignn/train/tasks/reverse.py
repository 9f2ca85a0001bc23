"""Which edge type leads back along the edges that are learnt about: told, known by its name, or found by its edges.

No torch here, as in `mpignn.train.tasks.goal`: the first rank looks while the others wait.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.config import TaskConfig
from mpignn.errors import ConfigError, UnknownName
from mpignn.graph.book import RangePartitionBook
from mpignn.graph.types import EType, Schema, etype_key, listed
from mpignn.kernels.match import edge_keys
from mpignn.log import beat, phase
from mpignn.store.graph import DistGraph, published_graph
from mpignn.store.lookup import find_edges
from mpignn.store.placement import trainer_rows

_CHUNK_EDGES = 1 << 22
_KEY = np.uint64(0)


def check_exclude(task: TaskConfig, book: RangePartitionBook, etypes: Sequence[EType]) -> None:
    """Raise what keeps batches from excluding edges as configured, as far as sizes and names tell.  Not collective.

    Args:
        task: Settings.
        book: Partition book of the graph.
        etypes: Types of the seeds.

    Raises:
        ConfigError: ``reverse_types``: no type can be the reverse of one of them, or one is told that cannot be.
            ``reverse_id``: one of them joins nodes of two types.
    """
    for etype in etypes:
        if task.exclude == "reverse_id" and etype[0] != etype[2]:
            raise ConfigError(f"--exclude reverse_id: edges of {etype_key(etype)} join nodes of two types, so none of "
                              "them leads back: choose --exclude reverse_types, or self")
    if task.exclude == "reverse_types":
        for etype in unknown_reverses(task, book.schema, etypes):
            _candidates(book, etype)


def find_reverses(g: DistGraph, task: TaskConfig, etypes: Sequence[EType]) -> dict[EType, EType]:
    """The reverse type of each edge type of the seeds.  Collective over the trainers.

    A type that is neither told by ``reverse_etypes`` nor named ``rev_X`` beside X is the only one whose edges are the
    transposed edges, which a pass over both tells.

    Raises:
        ConfigError: On all trainers: there is none, or there are several.
    """
    known = known_reverses(task, g.schema, etypes)
    for etype in etypes:
        if etype not in known:
            with phase(f"find the reverse of {etype_key(etype)}", steady=True):
                known[etype] = _transposed(g, etype)
    return known


def known_reverses(task: TaskConfig, schema: Schema, etypes: Sequence[EType]) -> dict[EType, EType]:
    """The reverse types that are told or known by their names.  Not collective: the same on all ranks.

    Raises:
        ConfigError: ``reverse_etypes`` is not of the form ``a=b``, names what is no edge type or leads elsewhere, says
            nothing of the edges that are learnt about, or two things of the same.
    """
    told: dict[EType, EType] = {}
    for entry in task.reverse_etypes or ():
        pair = _parse(entry, schema)
        if not set(pair) & set(etypes):
            raise ConfigError(f"--reverse-etypes {entry} has no effect: what is learnt about is "
                              f"{listed(list(map(etype_key, etypes)))}")
        for etype, back in (pair, pair[::-1]):
            if etype in etypes and told.setdefault(etype, back) != back:
                raise ConfigError(f"--reverse-etypes: both {etype_key(told[etype])} and {etype_key(back)} are told to "
                                  f"lead back along {etype_key(etype)}: name one")
    named = {e: back for e in etypes if (back := _by_name(e)) in schema.etypes}
    return named | told


def unknown_reverses(task: TaskConfig, schema: Schema, etypes: Sequence[EType]) -> list[EType]:
    """The edge types whose edges must tell their reverse.  Not collective; raises as `known_reverses`."""
    known = known_reverses(task, schema, etypes)
    return [etype for etype in etypes if etype not in known]


def _by_name(etype: EType) -> EType:
    """The edge type that leads back by its name: ``rev_X`` and ``X`` are each other's."""
    src, relation, dst = etype
    return dst, relation.removeprefix("rev_") if relation.startswith("rev_") else f"rev_{relation}", src


def _parse(entry: str, schema: Schema) -> tuple[EType, EType]:
    """The edge types of ``a=b``; names may hold the sign themselves."""
    problem = None
    for place in (place for place, letter in enumerate(entry) if letter == "="):
        try:
            etype, back = schema.etype(entry[:place].strip()), schema.etype(entry[place + 1:].strip())
        except UnknownName as error:
            problem = problem or error
            continue
        if (back[2], back[0]) != (etype[0], etype[2]):
            raise ConfigError(f"--reverse-etypes {entry}: {etype_key(back)} does not lead back from {etype[2]} to "
                              f"{etype[0]}")
        return etype, back
    if problem is None:
        raise ConfigError(f"--reverse-etypes: {entry!r} is not of the form EDGE_TYPE=EDGE_TYPE, such as writes=written")
    raise ConfigError(f"--reverse-etypes {entry}: {problem}")


def _candidates(book: RangePartitionBook, etype: EType) -> list[EType]:
    """The edge types that may be the reverse of one, by their ends and sizes."""
    swapped = [e for e in book.schema.etypes if (e[2], e[0]) == (etype[0], etype[2])]
    found = [e for e in swapped if book.num_edges(e) == book.num_edges(etype)]
    if found:
        return found
    if not swapped:
        raise ConfigError(f"--exclude reverse_types: no edge type leads from {etype[2]} to {etype[0]}, back along "
                          f"{etype_key(etype)}: choose --exclude self")
    sizes = ", ".join(f"{etype_key(e)} has {book.num_edges(e)} edges" for e in swapped)
    raise ConfigError(f"--exclude reverse_types: none of the edge types back along {etype_key(etype)} holds just its "
                      f"{book.num_edges(etype)} edges the other way round ({sizes}): {_tell(etype, swapped[0])}")


def _transposed(g: DistGraph, etype: EType) -> EType:
    """The only candidate whose edges are the transposed edges.  Collective over the trainers."""
    with g.trainers.all_or_none():
        candidates = _candidates(g.book, etype)
    wanted = _sum_of_edges(g, etype, back=True)
    found = [e for e in candidates if _sum_of_edges(g, e) == wanted]
    problem = None
    if not found:
        names = " and ".join(map(etype_key, candidates))
        problem = ConfigError(f"--exclude reverse_types: the edges of {names} are not those of {etype_key(etype)} the "
                              f"other way round: {_tell(etype, candidates[0])}")
    elif len(found) > 1:
        problem = ConfigError(f"--exclude reverse_types: {' and '.join(map(etype_key, found))} both hold the edges of "
                              f"{etype_key(etype)} the other way round: {_tell(etype, found[0])}")
    g.trainers.agree(problem)
    return found[0]


def _tell(etype: EType, back: EType) -> str:
    return (f"name the one that is meant by --reverse-etypes {etype_key(etype)}={etype_key(back)}, or choose "
            "--exclude self")


def _sum_of_edges(g: DistGraph, etype: EType, back: bool = False) -> int:
    """A number that is equal for equal edges, in whatever order; ``back`` takes each the other way round.

    It sums 64 random bits for each pair of ends, so that other edges are taken for equal once in 2**64 times.
    Collective over the trainers, each of which looks at the edges near it.
    """
    cuts = trainer_rows(g.book, g.topology, etype_key(etype), g.num_edges(etype))
    first, last = cuts[g.trainers.rank], cuts[g.trainers.rank + 1]
    total = np.zeros(1, np.uint64)
    for begin in range(first, last, _CHUNK_EDGES):
        src, dst = find_edges(published_graph(g), etype, np.arange(begin, min(begin + _CHUNK_EDGES, last)))
        bits = np.empty(src.size, np.uint64)
        edge_keys(_KEY, *((dst, src) if back else (src, dst)), bits)
        total += bits.sum(dtype=np.uint64)
        beat()
    return int(g.trainers.all_sum(total)[0])
