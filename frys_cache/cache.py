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
from frys_cache.below import CLOSED, NOTHING, open_chain
from frys_cache.config import CHAIN, ROOM, CacheConfig, changed
from frys_cache.consistency import ConsistencyManager, ConsistencyStrategy
from frys_cache.errors import CacheClosed
from frys_cache.health import TierHealth
from frys_cache.manager import CacheManager, seconds_or_none
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.types import CacheStats, EvictionCause, Policy

if TYPE_CHECKING:
    from frys_cache.tiers.persistent import PersistentCache
    from frys_cache.writeback.writeback import FlushReport

__all__ = ["FrysCache"]

K = TypeVar("K")
V = TypeVar("V")

CHAINED: Final = HOOK_MISS | HOOK_WRITE | HOOK_REMOVE | HOOK_DECIDE

ASIDE: Final = 100_000
"""Entries beside memory, where memory is bounded by bytes alone."""

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

    loader, loader_many: callables that give the value of a key, or a mapping for a list of keys,
    where no level has it; `MISSING` for none.  backend: a `Backend`, which loads and is written to.
    consistency: a strategy, its name, or a `ConsistencyManager`: who is written to, and when.  A
    key is loaded once, however many threads ask.  negative_ttl: seconds for which it is remembered
    that the source has nothing, by default a tenth of the ttl and at most 30; 0: not at all.
    stale_ttl: seconds after its expiry in which a value is still given while it is loaded anew
    behind; soft_timeout: for which to wait for that first.  loader_timeout: seconds after which who
    waits for a load gets `CacheTimeout`; lock_timeout: after which who waits for another's load
    loads alone.  refresh_ahead: the fraction of a ttl after which what is asked for is loaded anew,
    or "xfetch".  jitter: the fraction by which each ttl varies.  All seconds may be timedeltas.

    Raises `ConfigurationError` for what cannot be, and what opening the tier raises.  What a loader
    or a backend raises passes unchanged.  Storing raises `KeyNotStable`, `KeyTooLarge`,
    `SerializationError`, `ValueTooLarge` for what cannot be below, and then nothing has changed
    anywhere; `WriteError` and `Backpressure`.  Safe from any thread and task.

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
        consistency: ConsistencyManager | ConsistencyStrategy | str = "write-through",
        backend: Any = None,
        loader: Callable[[K], Any] | None = None,
        loader_many: Callable[[list[K]], Mapping[K, V]] | None = None,
        negative_ttl: float | timedelta | None = None,
        stale_ttl: float | timedelta | None = None,
        jitter: float = 0.0,
        soft_timeout: float | timedelta | None = None,
        loader_timeout: float | timedelta | None = None,
        lock_timeout: float | timedelta | None = None,
        refresh_ahead: float | Literal["xfetch"] | None = None,
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
                "consistency": consistency,
                "backend": backend,
                "loader": loader,
                "loader_many": loader_many,
                "negative_ttl": negative_ttl,
                "stale_ttl": stale_ttl,
                "jitter": jitter,
                "soft_timeout": soft_timeout,
                "loader_timeout": loader_timeout,
                "lock_timeout": lock_timeout,
                "refresh_ahead": refresh_ahead,
            }
        )
        config = CacheConfig(**memory, **below) if below else None
        if config is not None and max_entries is None and max_size_bytes is None:
            memory["max_size_bytes"] = ROOM
        super().__init__(**memory)
        self._name = name
        if config is not None and (persistent is not None or not below.keys().isdisjoint(CHAIN)):
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
        found = below.answered
        return replace(
            memory,
            hits=memory.hits + found,
            misses=max(0, memory.misses - found),
            tiers=MappingProxyType({**memory.tiers, **tiers}),
        )

    def health(self) -> Mapping[str, TierHealth]:
        """Return how each level does, by its name, `"memory"` first; a pure read.

        >>> FrysCache(10).health()["memory"].state
        'ok'
        """
        manager = self.manager
        return {"memory": TierHealth()} if manager is None else manager.health()

    def flush(self, timeout: float | None = None) -> FlushReport | None:
        """Wait until all that waits is sent, and everything stored outlives a power cut.

        Without it, all that was stored outlives the process, however that ends.  timeout: seconds,
        or None to wait as long as it takes; `CacheTimeout` when they are over.  Raises
        `TierUnavailable` where the disk fails.  With WRITE_BACK it returns a `FlushReport`: how
        many writes were sent meanwhile, how many the backend has refused for good.

        >>> FrysCache(10).flush()
        """
        manager = self.manager
        return None if manager is None else manager.flush(timeout)

    def close(self, timeout: float | None = 10.0) -> FlushReport | None:
        """Empty memory, give back what lies below, and refuse all further work.

        A persistent tier keeps its entries; it is closed if it was opened by its path.  With
        WRITE_BACK, what waits is sent first, for at most `timeout` seconds (None: as long as it
        takes); the `FlushReport` that is returned says how many writes are left, which the journal
        keeps for the next time.  A second time, nothing happens.  Afterwards reads and writes raise
        `CacheClosed`.

        >>> cache = FrysCache(10)
        >>> cache.close()
        >>> cache["a"] = 1
        Traceback (most recent call last):
        frys_cache.errors.CacheClosed: the cache has been closed
        """
        timeout = seconds_or_none("timeout", timeout)
        below, self._below = self._below, CLOSED
        self._descent = self._deposit = None
        if below is CLOSED:
            return None
        self._hooks = CHAINED
        report = below.close(self, timeout) if isinstance(below, CacheManager) else None
        self._empty()
        return report

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
        below = self._below
        if type(below) is not CacheManager:
            below = self._chain()
        return run_sync(below.read(SYNC, self, key))

    def _on_miss_many(self, keys: list[K]) -> list[Any]:
        """Look below memory for several keys."""
        found: list[Any] = run_sync(self._chain().read_many(SYNC, self, keys))
        return found

    def _on_write(self, key: K, value: V, life: float | None, version: int | None) -> Any:
        """Write below memory, before memory changes; what it raises leaves memory as it was.

        life: the seconds that the entry has, or None.  version: of a value that was loaded.
        Returns the seconds for which memory may answer for it, or None: as long as it lives; or
        these and what is to be called when memory has changed.
        """
        below = self._below
        if type(below) is not CacheManager:
            below = self._chain()
        if version is None:
            if below.writes_now and below.write_now(key, value, life):
                return None
            if not below.takes_steps:
                return run_sync(below.write(SYNC, self, key, value, life))
            change = below.change_of(self, [key])
            try:
                change.begin()
                return run_sync(below.write(SYNC, self, key, value, life)), change.end
            except BaseException:
                change.end()
                raise
        run_sync(below.write_loaded(SYNC, self, key, value, life, version))
        return None

    def _on_remove(self, keys: list[K] | None) -> list[bool] | None:
        """Remove keys (None: all) below, before memory changes; whether each was there."""
        chain = self._chain()
        if keys is None:
            run_sync(chain.clear(SYNC, self))
            return None
        removed: list[bool] | None = run_sync(chain.remove(SYNC, self, keys))
        return removed

    def _on_evict(self, key: K, value: V, cause: Any) -> None:
        """Hear of an entry that has left memory, before the listener does."""
        self._chain().evicted(key, value, cause)

    def _on_decide(self, operation: str, key: K, *arguments: Any) -> Any:
        """Carry out what depends on whether a key is there, on all tiers."""
        return run_sync(getattr(self._chain(), operation)(SYNC, self, key, *arguments))

    def _get_or_set(
        self, key: K, factory: Callable[[], V], ttl: Any, stale: Any, timeout: Any
    ) -> V:
        """Return the value of a key, or what its factory brings, by the rules of the chain."""
        stale, timeout = seconds_or_none("stale", stale), seconds_or_none("timeout", timeout)
        chain = self._chain()
        if chain is NOTHING:
            config = CacheConfig(self.policies.max_entries or ASIDE)
            self._attach(config, open_chain(config))
            chain = self._chain()
        value: V = run_sync(chain.get_or_set(SYNC, self, key, factory, ttl, stale, timeout))
        return value

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
                self._descent, self._deposit = manager.descent, manager.deposit
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
