"""Ask a class what it is without running its metaclass.

`cls.__mro__`, `cls.__qualname__`, `cls.__eq__` and even `base in (int, str)` run what a metaclass
overrides, which may raise, lie or change the cache that asks.  Here the answers come from where
`type` keeps them.

Cost: a method call and, for `find`, one look into a dict per base.
Not chosen: to catch what a metaclass raises, which leaves its lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frys_cache.types import MISSING

__all__ = ["find", "is_below", "mro", "names", "own", "path"]

_MRO: Any = type.__dict__["__mro__"].__get__
_DICT: Any = type.__dict__["__dict__"].__get__
_MODULE: Any = type.__dict__["__module__"].__get__
_QUALNAME: Any = type.__dict__["__qualname__"].__get__


def mro(cls: type) -> tuple[type, ...]:
    """Return the class and its bases, in the order in which they are asked."""
    found: tuple[type, ...] = _MRO(cls)
    return found


def own(cls: type) -> Mapping[str, Any]:
    """Return what is in the class itself."""
    found: Mapping[str, Any] = _DICT(cls)
    return found


def find(cls: type, name: str) -> Any:
    """Return what a class or its first base has under a name, unbound, or MISSING."""
    for base in mro(cls):
        found = own(base).get(name, MISSING)
        if found is not MISSING:
            return found
    return MISSING


def is_below(cls: type, base: object) -> bool:
    """Return whether a class is the other or a subclass of it."""
    return any(one is base for one in mro(cls))


def names(cls: type) -> tuple[str | None, str]:
    """Return the names of the module and of the class within it; None: it tells no module."""
    try:
        module = _MODULE(cls)
    except AttributeError:
        module = None
    return _plain(module), _plain(_QUALNAME(cls)) or "?"


def path(cls: type) -> str:
    """Return the path of a class, to tell one of its name from another."""
    module, name = names(cls)
    return f"{module or '?'}.{name}"


def _plain(text: object) -> str | None:
    """Return the plain str that a str or a subclass holds, None for anything else."""
    return str.__str__(text) if issubclass(type(text), str) else None
