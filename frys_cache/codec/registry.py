"""Which classes of the user may be stored, and under which name.

A name, not the path of the class, stands in what is stored: a class may move or be renamed, and
nothing that is read can ask for a class that was not meant to be read.  An object is taken apart
into its fields and put together without running `__init__`, `__post_init__`, `__new__`, a property
or a `__setattr__`; all that this needs is found out here, once, so that storing asks the class
nothing.

The tables are of the process and only ever grow; one lock is held to write, none to read.
Not chosen: registering by decorator alone (classes of other packages), or by import path (renaming
a module would lose what is stored).
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import threading
from collections.abc import Iterable
from types import MemberDescriptorType
from typing import Any, TypeVar

from frys_cache._core import _register, _registered
from frys_cache.codec.classes import find, is_below, mro, names, own, path
from frys_cache.errors import ConfigurationError
from frys_cache.types import MISSING

__all__ = ["register_type"]

C = TypeVar("C", bound=type)

_lock = threading.Lock()  # guards the two tables of _core against a second writer


def register_type(cls: C, *, name: str) -> C:
    """Let values of this class be stored, and return it.

    cls: a dataclass, a `msgspec.Struct` or an `Enum`; its subclasses are other classes.
    name: 1 to 255 bytes in UTF-8; it stands for the class in what is stored, so it must stay the
    same in every process and version.  Fields may be added if they have a default in the class
    (no factory, no slots); stored values that lack or have others raise IntegrityError when read,
    and stay.
    Registering the same pair again does nothing.  Raises TypeError for what is not a class or a
    str, ConfigurationError for a name or a class that is taken and a class that cannot be taken
    apart.  Safe from any thread.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     x: int
    >>> register_type(Point, name="point") is Point
    True
    """
    if not issubclass(type(cls), type):
        raise TypeError(f"register_type takes a class, not {cls!r}")
    if type(name) is not str:
        raise TypeError(f"name is a str, not {type(name).__name__}")
    size = len(name.encode(errors="surrogatepass"))
    if not 1 <= size <= 255:
        raise ConfigurationError(f"name has {size} bytes, it may have 1 to 255")
    try:
        plan = _plan(cls)
    except (ConfigurationError, MemoryError, RecursionError):
        raise
    except Exception as error:  # of any kind: a metaclass is foreign code
        raise ConfigurationError(
            f"{path(cls)} cannot be asked for its fields: its metaclass raised "
            f"{type(error).__name__}"
        ) from error
    with _lock:
        taken, known = _registered(name), _registered(cls)
        if taken is cls:
            return cls
        if taken is not None:
            raise ConfigurationError(
                f"name={name!r} stands for {path(taken)}: give {path(cls)} another"
            )
        if known is not None:
            raise ConfigurationError(f"{path(cls)} is registered as {known!r}, not {name!r}")
        _register(cls, name, *plan)
    return cls


_Plan = tuple[
    tuple[str, ...],
    tuple[MemberDescriptorType | None, ...],
    tuple[MemberDescriptorType, ...],
    frozenset[str],
    bool,
    dict[str, Any] | None,
    bool,
]


def _plan(cls: type) -> _Plan:
    """Return how objects of the class are taken apart, in the order that _register takes it."""
    if is_below(cls, enum.Enum):
        return (), (), (), frozenset(), False, _members(cls), False
    fields = _fields(cls)
    if fields is None:
        raise ConfigurationError(
            f"{path(cls)} is no dataclass, no msgspec.Struct and no Enum: make it one, "
            "or store its values with serializer=Pickle(...)"
        )
    _check_names(cls, fields)
    slots: list[MemberDescriptorType | None] = []
    given = set()
    for field in fields:
        found = find(cls, field)
        if type(found) is MemberDescriptorType:
            slots.append(found)
        elif found is not MISSING and find(type(found), "__set__") is not MISSING:
            raise ConfigurationError(
                f"field {field!r} of {path(cls)} is a {names(type(found))[1]}, whose code "
                "would run: make it a plain field"
            )
        else:
            slots.append(None)
            if found is not MISSING:
                given.add(field)
    spare, has_dict = _others(cls, fields)
    if not has_dict and None in slots:
        raise ConfigurationError(f"{path(cls)} has a field that its objects have no place for")
    return (
        tuple(fields),
        tuple(slots),
        spare,
        frozenset(given),
        has_dict,
        None,
        _is_by_identity(cls),
    )


def _members(cls: type) -> dict[str, Any]:
    """Return the members of an enum by name, without asking them: `name` may be overridden."""
    known: dict[str, Any] = own(cls)["_member_map_"]
    _check_names(cls, known)
    # Of the names of one member the first is its own, the others are aliases.
    first = {id(member): name for name, member in reversed(known.items())}
    return {name: known[name] for name in first.values()}


def _check_names(cls: type, given: Iterable[str]) -> None:
    """Raise ConfigurationError for a name that is not exactly a str, as C takes it to be."""
    for name in given:
        if type(name) is not str:
            raise ConfigurationError(
                f"{path(cls)} has a name of type {names(type(name))[1]}: name its fields or "
                "members by plain str"
            )


def _fields(cls: type) -> list[str] | None:
    """Return the names of the fields, or None for a class of neither kind that has some."""
    struct = getattr(sys.modules.get("msgspec"), "Struct", None)
    if struct is not None and is_below(cls, struct):
        return list(cls.__struct_fields__)  # type: ignore[attr-defined]
    # In the class itself: a subclass that is no dataclass has attributes nobody lists.
    if "__dataclass_fields__" not in own(cls):
        return None
    try:
        object.__new__(cls)
    except TypeError as error:  # below dict, Exception, ...: there is more in it than fields
        raise ConfigurationError(f"{path(cls)} cannot be made of its fields: {error}") from None
    return [field.name for field in dataclasses.fields(cls)]


def _is_by_identity(cls: type) -> bool:
    """Return whether an object is equal to itself alone, or hashes so."""
    config = getattr(cls, "__struct_config__", None)  # its __eq__ looks at this
    return (
        getattr(config, "eq", True) is False
        or find(cls, "__eq__") is object.__eq__
        or find(cls, "__hash__") is object.__hash__
    )


def _others(cls: type, fields: list[str]) -> tuple[tuple[MemberDescriptorType, ...], bool]:
    """Return the slots that are no fields, and whether objects have a `__dict__` beside them."""
    known = {*fields, "__msgspec_cached_hash__"}  # the latter follows from the fields
    spare = []
    for base in mro(cls):
        for name, found in own(base).items():
            if type(found) is MemberDescriptorType and name not in known:
                spare.append(found)
    return tuple(spare), type.__dict__["__dictoffset__"].__get__(cls) != 0
