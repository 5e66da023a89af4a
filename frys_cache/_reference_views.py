"""The views of ``ReferenceCache``: they show what its walk over the entries gives."""

from __future__ import annotations

from collections import abc
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

__all__ = ["Items", "Keys", "Values"]


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
