"""Other caches of this process over the same entries: what one writes, the others must not keep.

Caches that share a path and a namespace have a memory each.  Whoever has written or removed below
makes the others forget the key, after which their reads ask below.  Between processes there is
nothing of the kind, since one process holds a path.

Cost: nothing for the usual one cache per namespace; else one removal per other cache and write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from frys_cache.chain.changing import Changing
from frys_cache.chain.turns import Turns
from frys_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache
    from frys_cache.tiers.persistent import PersistentCache

__all__ = ["Siblings", "siblings_over"]


class Siblings:
    """The memories over the entries of one namespace, held weakly.

    By their identity, since a mapping has no hash.  Safe from any thread: each step is one
    operation of a dict.
    """

    __slots__ = ("__weakref__", "_refs", "changing", "turns", "writes")

    def __init__(self) -> None:
        self._refs: dict[int, ref[MemoryCache[Any, Any]]] = {}
        self.writes: Any = None
        """The writes that wait, where one cache has all these entries for itself."""
        self.turns = Turns()
        """The turns in which a key is written to a backend and these entries."""
        self.changing = Changing()

    def claim(self) -> None:
        """Raise `ConfigurationError` unless there is no other memory."""
        if self.writes is not None or self._refs:
            raise ConfigurationError(
                "another cache of this process has these entries, and with a WRITE_BACK there can "
                "be one only: give this one another namespace"
            )

    def add(self, memory: MemoryCache[Any, Any]) -> None:
        """Add a memory; when it dies it leaves."""
        refs, name = self._refs, id(memory)
        refs[name] = ref(memory, lambda _: refs.pop(name, None))

    def discard(self, memory: MemoryCache[Any, Any]) -> None:
        """Remove a memory that ends its work here."""
        self._refs.pop(id(memory), None)

    @property
    def are_others(self) -> bool:
        """Whether more than one memory is over these entries."""
        return len(self._refs) > 1

    def but(self, memory: MemoryCache[Any, Any]) -> Iterator[MemoryCache[Any, Any]]:
        """Yield the others."""
        if len(self._refs) > 1:
            for reference in list(self._refs.values()):
                other = reference()
                if other is not None and other is not memory:
                    yield other


# Tier -> namespace -> the memories over it.  A tier is that of a path, whoever has opened it.
_all: WeakKeyDictionary[Any, dict[str, Siblings]] = WeakKeyDictionary()


def siblings_over(cache: PersistentCache[Any, Any]) -> Siblings:
    """Return the memories over the entries of this cache."""
    return _all.setdefault(cache.tier, {}).setdefault(cache.codec.namespace, Siblings())
