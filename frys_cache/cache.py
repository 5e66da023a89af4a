"""`FrysCache`: the cache that people use, memory in front of what lies below it.

It adds nothing to a hit: `__getitem__`, `get` and `__contains__` are the C slots of `MemoryCache`,
inherited and never overridden, for a Python override costs 61 ns.  What lies below memory is
reached through hooks that C calls on a miss, a write, a removal and an eviction, and only when
`_hooks` turns them on; they hand on to a `CacheManager`, which a cache in memory alone has not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

from frys_cache._core import (
    HOOK_DECIDE,
    HOOK_EVICT,
    HOOK_MISS,
    HOOK_REMOVE,
    HOOK_WRITE,
    MemoryCache,
    _rehome,
)
from frys_cache.below import CLOSED, NOTHING, in_memory, open_chain
from frys_cache.config import ROOM, CacheConfig, changed
from frys_cache.errors import CacheClosed
from frys_cache.manager import CacheManager
from frys_cache.types import CacheStats, EvictionCause, Policy

if TYPE_CHECKING:
    from frys_cache.tiers.persistent import PersistentCache

__all__ = ["FrysCache"]

K = TypeVar("K")
V = TypeVar("V")

CHAINED: Final = HOOK_MISS | HOOK_WRITE | HOOK_REMOVE | HOOK_DECIDE

# Guards what a cache has below while it changes; nothing foreign runs under it.
_attaching: Final = threading.Lock()


class _Home(MemoryCache[K, V]):
    """Where `_rehome` puts what belongs to `FrysCache` without being an override of it."""

    __slots__ = ()


class FrysCache(_Home[K, V]):
    """A bounded cache that behaves as a `dict` and answers as fast as one.

    max_entries, max_size_bytes: the bounds of memory, positive ints, one of them or both; with a
    tier below, 64 MiB when neither is given.  policy: an `EvictionPolicy`, its name, or a policy
    object as `TtlPolicy(3600)`, by default the best all-round one.  ttl, idle: seconds (or a
    timedelta) that an entry lives after it was stored, and after it was last used.  sizeof: a
    callable `(key, value)` that weighs an entry in bytes.  on_evict: a callable
    `(key, value, cause)`, called after the operation that made the entry leave memory.
    `MemoryCache` says more of each, and `policies` of what may change while the cache is at work.
    idle is for memory: what it ends is still below.

    persistent: a path, or a `PersistentCache` (which whoever made it closes), below memory.  What
    memory misses is read there and kept in memory with the life it has left; what is stored or
    removed is stored or removed there first.  serializer, compression, compression_level,
    namespace: of a tier that is opened here by its path, as `PersistentCache` takes them.
    max_key_size, max_value_size: in bytes, of what is stored below.  mode: `"resilient"`, where a
    tier that fails counts as a miss and what it refuses is kept in memory alone, or `"strict"`,
    where that is `TierUnavailable` and `WriteError`.  name: what the cache is called where it is
    reported.

    Raises `ConfigurationError` for what cannot be, and what opening the tier raises.  Storing
    raises `KeyNotStable`, `KeyTooLarge`, `SerializationError`, `ValueTooLarge` for what cannot be
    below, and then nothing has changed anywhere.  Safe from any thread and task.

    >>> cache = FrysCache(2)
    >>> cache.update(a=1, b=2, c=3)
    >>> len(cache), cache["c"]
    (2, 3)
    """

    __slots__ = ("_name",)

    _default_policy = "auto"

    _name: str | None

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
        persistent: str | os.PathLike[str] | PersistentCache[Any, Any] | None = None,
        serializer: Any = None,
        compression: bool = True,
        compression_level: int = 3,
        namespace: str = "default",
        name: str | None = None,
        max_key_size: int = 64 * 1024,
        max_value_size: int = 8 * 1024 * 1024,
        mode: Literal["resilient", "strict"] = "resilient",
    ) -> None:
        """Make an empty cache in memory, over what the tier below has."""
        if self._below is not None:  # made before: what is below stays as it is
            self.close()
            self._hooks, self._below = 0, None
        memory: dict[str, Any] = {
            "max_entries": max_entries,
            "max_size_bytes": max_size_bytes,
            "policy": policy,
            "ttl": ttl,
            "idle": idle,
            "sizeof": sizeof,
            "on_evict": on_evict,
        }
        below = changed(
            {
                "persistent": persistent,
                "serializer": serializer,
                "compression": compression,
                "compression_level": compression_level,
                "namespace": namespace,
                "name": name,
                "max_key_size": max_key_size,
                "max_value_size": max_value_size,
                "mode": mode,
            }
        )
        config = CacheConfig(**memory, **below) if below else None
        if config is not None and max_entries is None and max_size_bytes is None:
            memory["max_size_bytes"] = ROOM
        super().__init__(**memory)
        self._name = name
        if config is not None and persistent is not None:
            self._attach(config, open_chain(config))

    @classmethod
    def from_config(cls, config: CacheConfig) -> Self:
        """Make a cache of a `CacheConfig`; it is the same as giving its fields as arguments.

        >>> from frys_cache import CacheConfig
        >>> FrysCache.from_config(CacheConfig(1000, policy="lru")).maxsize
        1000
        """
        return cls(**config.arguments())

    # ---- the tiers -------------------------------------------------------------------------------

    @property
    def name(self) -> str | None:
        """What the cache is called where it is reported, or None."""
        return getattr(self, "_name", None)

    @name.setter
    def name(self, name: str | None) -> None:
        self._name = name

    @property
    def manager(self) -> CacheManager | None:
        """What coordinates the tiers below memory; None for a cache in memory alone."""
        below = self._chain()
        if below is CLOSED:
            raise CacheClosed("the cache has been closed")
        return None if below is NOTHING else below

    @property
    def tiers(self) -> Mapping[str, PersistentCache[Any, Any]]:
        """The tiers below memory by name; empty for a cache in memory alone.

        >>> dict(FrysCache(10).tiers)
        {}
        """
        manager = self.manager
        return MappingProxyType({}) if manager is None else manager.tiers

    def stats(self) -> CacheStats:
        """Return what the cache has done and holds, as `CacheStats`; a pure read.

        `entries` and `total_size` are those of memory, and without `max_size_bytes` the size is
        summed over the entries at each call; `tiers` has the same for each tier.  A request that a
        tier below answered is a hit at the top and a miss of memory.

        >>> FrysCache(10).stats().hit_ratio
        0.0
        """
        memory = super().stats()
        below = self._below
        if not isinstance(below, CacheManager):
            return memory
        tiers = below.stats()
        found = sum(tier.hits for tier in tiers.values())
        return replace(
            memory,
            hits=memory.hits + found,
            misses=max(0, memory.misses - found),
            tiers=MappingProxyType({**memory.tiers, **tiers}),
        )

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything stored so far outlives a power cut.

        Without it, all that was stored outlives the process, however that ends.  timeout: seconds,
        or None to wait as long as it takes; `CacheTimeout` when they are over.  Raises
        `TierUnavailable` where the disk fails.

        >>> FrysCache(10).flush()
        """
        manager = self.manager
        if manager is not None:
            manager.flush(timeout)

    def close(self) -> None:
        """Empty memory, give back what lies below, and refuse all further work.

        A persistent tier keeps its entries; it is closed if it was opened by its path.  A second
        time, nothing happens.  Afterwards reads and writes raise `CacheClosed`.

        >>> cache = FrysCache(10)
        >>> cache.close()
        >>> cache["a"] = 1
        Traceback (most recent call last):
        frys_cache.errors.CacheClosed: the cache has been closed
        """
        below, self._below = self._below, CLOSED
        if below is CLOSED:
            return
        self._hooks = CHAINED
        if isinstance(below, CacheManager):
            below.close(self)
        self._empty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- what C calls on a miss, a write, a removal and an eviction ----------------------------

    def _on_miss(self, key: K) -> Any:
        """Look below memory for a key; MISSING when it is not there either."""
        return self._chain().read(self, key)

    def _on_miss_many(self, keys: list[K]) -> list[Any]:
        """Look below memory for several keys."""
        found: list[Any] = self._chain().read_many(self, keys)
        return found

    def _on_write(self, key: K, value: V, life: float | None, version: int | None) -> None:
        """Write below memory, before memory changes; what it raises leaves memory as it was.

        life: the seconds that the entry has, or None.  version: of a value that was loaded.
        """
        self._chain().write(self, key, value, life, version)

    def _on_remove(self, keys: list[K] | None) -> list[bool] | None:
        """Remove keys (None: all) below, before memory changes; whether each was there."""
        removed: list[bool] | None = self._chain().remove(self, keys)
        return removed

    def _on_evict(self, key: K, value: V, cause: Any) -> None:
        """Hear of an entry that has left memory, before the listener does."""
        self._chain().evicted(key, value, cause)

    def _on_decide(self, operation: str, key: K, *arguments: Any) -> Any:
        """Carry out what depends on whether a key is there, on all tiers."""
        chain = self._chain()
        if chain is not CLOSED and chain.alone:
            self._hooks = 0  # from now on a cache in memory alone
            return in_memory(self, operation, key, *arguments)
        return getattr(chain, operation)(self, key, *arguments)

    def _version(self) -> int | None:
        """Return the version of a value whose loading begins now."""
        version: int | None = self._chain().version()
        return version

    def _chain(self) -> Any:
        """Return what is below: a `CacheManager`, or what stands for none."""
        below = self._below
        if type(below) is CacheManager:
            return below
        if isinstance(below, CacheConfig):  # unpickled, and used for the first time
            self._attach(below, open_chain(below))
            below = self._below
        return NOTHING if below is None else below

    def _attach(self, config: CacheConfig, manager: CacheManager) -> None:
        """Have these tiers below, unless another thread was faster."""
        with _attaching:
            faster = self._below not in (None, config)
            if not faster:
                self._below = manager
                self._hooks = CHAINED | (HOOK_EVICT if manager.writes_evicted else 0)
        if faster:
            manager.close(self)
        else:
            manager.attach(self)

    # ---- pickles ---------------------------------------------------------------------------------

    def __getstate__(self) -> Any:
        below = self._below
        if below is None:
            return super().__getstate__()
        config = below if isinstance(below, CacheConfig) else below.config
        return config, object.__getstate__(self)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state[0], CacheConfig):
            super().__setstate__(state)
            return
        config, attributes = state
        self._hooks, self._below = 0, None
        FrysCache.__init__(self, **config.memory_arguments())
        own, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
        for name, value in {**(own or {}), **(slots or {})}.items():
            object.__setattr__(self, name, value)
        self._below, self._hooks = config, CHAINED


_rehome(_Home, FrysCache)
