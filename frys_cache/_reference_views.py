"""What ``ReferenceCache`` shows of its entries: views, and the data in a key or a value."""

from __future__ import annotations

import sys
from collections import abc
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

__all__ = ["Items", "Keys", "Values", "payload"]


class _View:
    """Look at the entries without counting a read; what to show is ``_of(entry)``."""

    _mapping: Any
    _of: Callable[[Any], Any]

    def __iter__(self) -> Iterator[Any]:
        return map(self._of, self._mapping._walk())

    def __reversed__(self) -> Iterator[Any]:
        return map(self._of, self._mapping._walk(-1))

    def __contains__(self, shown: Any) -> bool:
        return any(shown is one or shown == one for one in self)


class Keys(_View, abc.KeysView[Any]):
    _of = attrgetter("key")


class Values(_View, abc.ValuesView[Any]):
    _of = attrgetter("value")


class Items(_View, abc.ItemsView[Any, Any]):
    _of = attrgetter("key", "value")


def payload(thing: Any) -> int:
    """Tell the bytes of data in a key or a value."""
    if type(thing) in (bytes, bytearray):
        return len(thing)
    if type(thing) is str:
        widest = max(map(ord, thing), default=0)
        return len(thing) * (1 if widest <= 0xFF else 2 if widest <= 0xFFFF else 4)
    nbytes = getattr(thing, "nbytes", None)
    return nbytes if type(nbytes) is int and nbytes >= 0 else sys.getsizeof(thing)
