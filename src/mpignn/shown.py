"""How objects that users meet are printed: in a line, in notebooks and logs."""

import reprlib
from typing import ClassVar

_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = 90
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8


class Shown:
    """A class whose objects are printed by its name and some of their attributes, without those that are not set.

    Attributes:
        SHOWN: Names of these attributes, which a class below may not have yet; what they begin with is not shown
            where that is an underscore.
    """

    SHOWN: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        values = [(name.lstrip("_"), getattr(self, name, None)) for name in self.SHOWN]
        told = [f"{name}={' '.join(_SHORT.repr(value).split())}" for name, value in values if value is not None]
        return f"{type(self).__name__}({', '.join(told)})"
