"""What users call the nodes and classes of an open graph.

Shapes: N nodes asked about.
"""

from collections.abc import Sequence

import numpy as np

from mpignn.errors import UnknownName
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.user_names import ClassNames, IdReader, StoredIds, UserNames

_STEP = 1 << 16         # ids in hand at a time


class Naming:
    """The users' ids, read from graph.h5 as they are asked for, and the names of classes.  Nothing is collective.

    Attributes:
        ids: Where the ids are, by node type, for types whose nodes have other ones than their original ids.
        classes: Names of classes by node type or edge type key, and by name of the labels.
    """

    def __init__(self, names: UserNames) -> None:
        self.ids: dict[str, StoredIds] = dict(names.ids)
        self.classes: ClassNames = names.classes
        self._readers = {ntype: IdReader(stored) for ntype, stored in names.ids.items()}

    def read_ids(self, orig: np.ndarray, ntype: str) -> UserIds:
        """What users call the nodes of (N,) original ids.

        Raises:
            DataError: The file is damaged, or this rank does not see it.
        """
        reader = self._readers.get(ntype)
        return UserIds(orig) if reader is None else reader.read(orig)

    def find(self, names: Sequence[str | int], ntype: str, num_nodes: int) -> np.ndarray:
        """(n,) int64 original ids of the nodes that users call so, as texts or numbers; -1 where no node is.

        All ids of the type are read, some at a time.

        Args:
            names: What the nodes are called.
            ntype: Their type.
            num_nodes: How many nodes of it there are.

        Raises:
            DataError: The file is damaged, or this rank does not see it.
        """
        places: dict[str, list[int]] = {}
        for place, name in enumerate(names):
            places.setdefault(str(name), []).append(place)
        found = np.full(len(names), -1, np.int64)
        for first in range(0, num_nodes, _STEP):
            ids = self.read_ids(np.arange(first, min(first + _STEP, num_nodes)), ntype)
            for node, called in enumerate(map(str, ids.of(0, len(ids))), first):
                for place in places.get(called, ()):
                    found[place] = node
        return found

    def classes_of(self, schema: Schema, label: str, of: str | EType | None) -> tuple[str, ...]:
        """The names of the classes that a label stands for; of no type: those of the only one that has such.

        Raises:
            UnknownName: No such type; or no type is given, and several have such names.
        """
        if of is None:
            found = {key: named[label] for key, named in self.classes.items() if label in named}
            if len(found) > 1:
                raise UnknownName(f"classes of {label} have names in {len(found)} types: say of which, such as "
                                  f"class_names({label!r}, {next(iter(found))!r})")
            return next(iter(found.values()), ())
        key = of if isinstance(of, str) and of in schema.ntypes else etype_key(schema.etype(of))
        return self.classes.get(key, {}).get(label, ())
