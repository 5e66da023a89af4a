"""`FrysCache`: the cache that people use, the memory tier with the seams for what lies below it.

It adds nothing to a hit: `__getitem__`, `get` and `__contains__` are the C slots of `MemoryCache`,
inherited and never overridden, for a Python override costs 61 ns.  What lies below memory is
reached through four hooks that C calls on a miss, a write, a removal and an eviction, and only
when `_hooks` turns them on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from frys_cache._core import MemoryCache, _rehome
from frys_cache.types import MISSING, EvictionCause, Missing, Policy

__all__ = ["FrysCache"]

K = TypeVar("K")
V = TypeVar("V")


class _Home(MemoryCache[K, V]):
    """Where `_rehome` puts what belongs to `FrysCache` without being an override of it."""

    __slots__ = ()


class FrysCache(_Home[K, V]):
    """A bounded cache that behaves as a `dict` and answers as fast as one.

    max_entries, max_size_bytes: the bounds, positive ints, one of them or both.  policy: an
    `EvictionPolicy`, its name, or a policy object as `TtlPolicy(3600)`, by default the best
    all-round one.  ttl, idle: seconds (or a timedelta) that an entry lives after it was stored,
    and after it was last used.  sizeof: a callable `(key, value)` that weighs an entry in bytes.
    on_evict: a callable `(key, value, cause)`, called after the operation that made the entry
    leave.  `MemoryCache` says more of each, and `policies` of what may change while the cache is at
    work.
    Raises `ConfigurationError` for what cannot be.  Safe from any thread and task.

    >>> cache = FrysCache(2)
    >>> cache.update(a=1, b=2, c=3)
    >>> len(cache), cache["c"]
    (2, 3)
    """

    __slots__ = ()

    _default_policy = "auto"

    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_size_bytes: int | None = None,
        policy: str | Policy = "auto",
        ttl: float | timedelta | None = None,
        idle: float | timedelta | None = None,
        sizeof: Callable[[K, V], int] | None = None,
        on_evict: Callable[[K, V, EvictionCause], object] | None = None,
    ) -> None:
        """Make an empty cache."""
        super().__init__(
            max_entries,
            max_size_bytes=max_size_bytes,
            policy=policy,
            ttl=ttl,
            idle=idle,
            sizeof=sizeof,
            on_evict=on_evict,
        )

    def _on_miss(self, key: K) -> V | Missing:
        """Look below memory for a key; MISSING when it is not there either."""
        return MISSING

    def _on_write(self, key: K, value: V) -> None:
        """Write below memory, before memory changes; what it raises leaves memory as it was."""

    def _on_remove(self, keys: list[K] | None) -> None:
        """Remove keys (None: all) below memory, before memory changes."""

    def _on_evict(self, key: K, value: V, cause: Any) -> None:
        """Hear of an entry that has left memory, before the listener does."""


_rehome(_Home, FrysCache)
