"""`CacheBuilder`: a cache described step by step, for who reads configuration as a sentence.

A step notes values and returns a new builder; the one it was taken on stays as it is, so a builder
can be shared among threads and branched from.  Nothing is checked before `config()`, when all is
known: the order of steps never decides whether they may be taken.  A step that says a thing again
replaces what was said of it before, whichever step that was.
Cost: a dict of what was said, copied at each step.
Not chosen: a chain of `dataclasses.replace` over a `CacheConfig`, for half a description is no
configuration: it has no bound yet.  mode, max_key_size and max_value_size have no steps: they are
changed with `dataclasses.replace` on `config()`, as is what with_loader and with_consistency do not
take.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Self

from frys_cache.cache import FrysCache
from frys_cache.config import CacheConfig, changed, comparable, show
from frys_cache.consistency import ConsistencyManager, ConsistencyStrategy
from frys_cache.types import EvictionCause, Policy

__all__ = ["CacheBuilder"]

# The step that says a field alone; what has none is said with with_memory.
STEPS = {
    "policy": "eviction_policy",
    "ttl": "with_ttl",
    "persistent": "with_persistent",
    "serializer": "with_serializer",
    "backend": "with_backend",
    "loader": "with_loader",
    "consistency": "with_consistency",
    "compression": "with_compression",
    "idle": "with_memory(idle=",
    "sizeof": "with_memory(sizeof=",
    "on_evict": "with_memory(on_evict=",
}


class CacheBuilder:
    """Describe a cache step by step, then `build()` it.

    Each step returns a new builder and leaves this one as it was.  Said twice, the last counts;
    steps check nothing, `config()` and `build()` do.  Equal when they have said the same.
    Safe from any thread; picklable when what it was given is.

    >>> cache = CacheBuilder().with_memory_lru(1000).with_ttl(3600).build()
    >>> cache.maxsize, cache.policy
    (1000, 'lru')
    >>> CacheBuilder().with_memory_lru(1000).with_ttl(3600)
    CacheBuilder().max_entries(1000).eviction_policy('lru').with_ttl(3600)
    """

    __slots__ = ("_said",)

    _said: dict[str, Any]
    """Values by field of `CacheConfig`; never changed, only replaced in a new builder."""

    def __init__(self) -> None:
        """Begin with the defaults of `FrysCache`."""
        self._said = {}

    def with_memory_lru(self, max_entries: int) -> Self:
        """Keep at most so many entries in memory (at least 1), and evict the least recently used.

        Says max_entries and the policy.  `build` raises `ConfigurationError` for another number.

        >>> CacheBuilder().with_memory_lru(1000).build().policy
        'lru'
        """
        return self._say(max_entries=max_entries, policy="lru")

    def with_memory(
        self,
        max_entries: int | None = None,
        *,
        max_size_bytes: int | None = None,
        policy: str | Policy | None = None,
        idle: float | timedelta | None = None,
        sizeof: Callable[[Any, Any], int] | None = None,
        on_evict: Callable[[Any, Any, EvictionCause], object] | None = None,
    ) -> Self:
        """Say several things of the memory tier at once; what is None stays as it was.

        max_entries, max_size_bytes: the bounds, ints of at least 1.  policy: as `eviction_policy`
        takes it.  idle: seconds or a timedelta that an entry lives after it was last used.
        sizeof: a callable (key, value) that gives the bytes an entry counts for; needs
        max_size_bytes.  on_evict: a callable (key, value, cause) that hears of what has left.
        `build` raises `ConfigurationError` for a value that cannot be, TypeError for what is not
        callable and a time that is no number.

        >>> CacheBuilder().with_memory(max_size_bytes=1_000_000, policy="sieve").build().maxsize
        1000000
        """
        given = {
            "max_entries": max_entries,
            "max_size_bytes": max_size_bytes,
            "policy": policy,
            "idle": idle,
            "sizeof": sizeof,
            "on_evict": on_evict,
        }
        return self._say(**{name: value for name, value in given.items() if value is not None})

    def with_persistent(self, path_or_cache: Any) -> Self:
        """Keep entries on disk too, below memory.

        path_or_cache: the path of a folder (a str or `os.PathLike`) that is made if it is not
        there, or a `PersistentCache`, which stays yours; None: no persistent tier.  Nothing is
        opened before `build`, which raises `ConfigurationError` for anything else or when the extra
        `persistent` is not installed, and `TierLockedError`, `TierUnavailable` or `IntegrityError`
        for a path that cannot be opened.  Without a bound, memory then holds 64 MiB.
        """
        return self._say(persistent=path_or_cache)

    def with_ttl(self, ttl: float | timedelta | None) -> Self:
        """Let entries live so long after they were stored.

        ttl: seconds or a timedelta, above 0; None: for ever.  `build` raises `ConfigurationError`
        for one that is not finite and above 0, or that a policy object says too, TypeError for
        another type.

        >>> CacheBuilder().max_entries(10).with_ttl(timedelta(minutes=1)).build().policies.ttl
        datetime.timedelta(seconds=60)
        """
        return self._say(ttl=ttl)

    def with_compression(self, compression: bool) -> Self:
        """Compress values below memory, or do not; by default they are.

        It changes nothing in memory.  `build` raises `ConfigurationError` for what is no bool.

        >>> CacheBuilder().max_entries(10).with_compression(False).config().compression
        False
        """
        return self._say(compression=compression)

    def compression_level(self, level: int) -> Self:
        """Set how hard to compress: 1, the fastest, to 22, the smallest; by default 3.

        Kept but unused without compression.  `build` raises `ConfigurationError` for another level.

        >>> CacheBuilder().max_entries(10).compression_level(5).config().compression_level
        5
        """
        return self._say(compression_level=level)

    def max_entries(self, max_entries: int | None) -> Self:
        """Bound memory by entries.

        max_entries: an int of at least 1; None: not bounded so.  `build` raises
        `ConfigurationError` for another, and when nothing bounds a cache in memory alone.

        >>> CacheBuilder().max_entries(5000).build().maxsize
        5000
        """
        return self._say(max_entries=max_entries)

    def max_size_bytes(self, max_size_bytes: int | None) -> Self:
        """Bound memory by bytes of keys and values.

        max_size_bytes: an int of at least 1; None: not bounded so.  `build` raises
        `ConfigurationError` for another, and when nothing bounds a cache in memory alone.

        >>> CacheBuilder().max_size_bytes(100 * 1024 * 1024).build().maxsize
        104857600
        """
        return self._say(max_size_bytes=max_size_bytes)

    def eviction_policy(self, policy: str | Policy) -> Self:
        """Choose what goes when memory is full; by default "auto", the best all-round one.

        policy: an `EvictionPolicy`, its name, or a policy object as `LruPolicy()`, whose ttl counts
        too.  `build` raises `ConfigurationError` for an unknown one and for a second ttl.

        >>> from frys_cache import EvictionPolicy
        >>> CacheBuilder().max_entries(5000).eviction_policy(EvictionPolicy.LFU).build().policy
        'lfu'
        """
        return self._say(policy=policy)

    def with_backend(self, backend: Any) -> Self:
        """Read from and write to a system of record, behind all tiers.

        backend: a `Backend`, an object with load, store and delete; None: none.  `build` raises
        `ConfigurationError` for what lacks one of them, for an async one, and for one beside a
        loader or beside that of a `ConsistencyManager`.
        """
        return self._say(backend=backend)

    def with_loader(
        self,
        loader: Callable[[Any], Any] | None = None,
        *,
        many: Callable[[Any], Mapping[Any, Any]] | None = None,
    ) -> Self:
        """Load what no level has; one call per key, however many ask for it.

        loader: a callable that gives the value of a key, or `MISSING`.  many: one that gives a
        mapping for a list of keys.  `build` raises TypeError for what is not callable,
        `ConfigurationError` for what is async, or beside a backend.

        >>> CacheBuilder().max_entries(10).with_loader(str.upper).build()["ada"]
        'ADA'
        """
        return self._say(loader=loader, loader_many=many)

    def with_consistency(self, consistency: ConsistencyManager | ConsistencyStrategy | str) -> Self:
        """Choose who writes where, and when; by default "write-through".

        consistency: a `ConsistencyManager`, a `ConsistencyStrategy` or its name.  `build` raises
        `ConfigurationError` for an unknown one, and for what does not go with the rest.

        >>> CacheBuilder().max_entries(10).with_consistency("cache-aside").config().consistency
        'cache-aside'
        """
        return self._say(consistency=consistency)

    def with_serializer(self, serializer: Any) -> Self:
        """Store values of other types below memory with a serializer, as `Pickle` is one.

        None: what the codec does not know is refused.  Its secret is in no repr.
        `build` raises what the tier that uses it raises; a cache in memory alone uses none.
        """
        return self._say(serializer=serializer)

    def namespace(self, namespace: str) -> Self:
        """Keep the keys of this cache apart from those of others in the same store.

        namespace: 1 to 255 bytes of UTF-8, by default "default".  `build` raises
        `ConfigurationError` for another.

        >>> CacheBuilder().max_entries(10).namespace("users").config().namespace
        'users'
        """
        return self._say(namespace=namespace)

    def name(self, name: str | None) -> Self:
        """Name the cache for where it is reported; None: no name.

        `build` raises `ConfigurationError` for what is no str, or an empty one.

        >>> CacheBuilder().max_entries(10).name("sessions").config()
        CacheConfig(max_entries=10, name='sessions')
        """
        return self._say(name=name)

    def config(self) -> CacheConfig:
        """Return what was said as a `CacheConfig`, which opens nothing.

        Raises `ConfigurationError` for what a `CacheConfig` refuses; what memory refuses, as a ttl
        below 0, `build` finds.

        >>> CacheBuilder().with_memory_lru(1000).config()
        CacheConfig(max_entries=1000, policy='lru')
        """
        return CacheConfig(**self._said)

    def build(self) -> FrysCache[Any, Any]:
        """Make the cache: at each call a new and empty one, over the tiers below.

        Raises `ConfigurationError` (TypeError for what is not callable and a time that is no
        number) naming the argument and its value, and what opening a tier raises.

        >>> cache = CacheBuilder().with_memory_lru(2).build()
        >>> cache.update(a=1, b=2, c=3)
        >>> dict(cache)
        {'b': 2, 'c': 3}
        """
        return FrysCache.from_config(self.config())

    def _say(self, **values: Any) -> Self:
        """Return a builder that has said this too; a subclass keeps its attributes."""
        other = copy.copy(self)
        other._said = {**self._said, **values}
        return other

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return comparable(changed(self._said)) == comparable(changed(other._said))

    def __hash__(self) -> int:
        return hash(frozenset(comparable(changed(self._said)).items()))

    def __repr__(self) -> str:
        steps = [f"{type(self).__name__}()"]
        for field, value in changed(self._said).items():
            step = STEPS.get(field, field)
            steps.append(f"{step}{'' if '(' in step else '('}{show(value)})")
        return ".".join(steps)
