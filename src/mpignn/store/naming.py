"""What users call the nodes and classes of an open graph.

Shapes: N nodes asked about.
"""

import numpy as np

from mpignn.errors import UnknownName
from mpignn.graph.types import EType, Schema, etype_key
from mpignn.graph.user_ids import UserIds
from mpignn.storage.user_names import ClassNames, IdReader, StoredIds, UserNames


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
