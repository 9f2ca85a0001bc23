"""Text of a user's as the name of a part of a module."""

from torch import nn

_TAKEN = frozenset(dir(nn.ModuleDict())) | frozenset(dir(nn.ParameterDict()))


def module_key(name: str) -> str:
    """A key that an ``nn.ModuleDict`` takes, another one for every name; most names are their own.

    Dots part the names of parameters, and modules have attributes of their own (``to``, ``type``, ``train``): what is
    in the way is percent-encoded, so that ``urllib.parse.unquote`` gives the name back.
    """
    key = name.replace("%", "%25").replace(".", "%2E")
    return "".join(f"%{byte:02X}" for byte in key[:1].encode()) + key[1:] if key in _TAKEN else key
