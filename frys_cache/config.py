"""`CacheConfig`: everything that makes a cache, as one value to keep, compare, send and reuse.

Its fields are the arguments of `FrysCache`, with the same defaults.  It checks what belongs to the
whole and to the tiers below memory; what memory takes (bounds, policy, ttl, idle, sizeof, on_evict)
memory checks itself when a cache is made, so that every rule is written once.
Cost: one pass over the fields where a value is made or compared; a cache keeps nothing of it.
Not chosen: the comparison and the repr that a dataclass brings.  A `PersistentCache` is a mapping,
so they would read a whole disk, and print it, or the secret of a serializer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from datetime import timedelta
from enum import Enum
from typing import Any, Literal

from frys_cache.chain.freshness import check_jitter, check_refresh_ahead, check_seconds
from frys_cache.consistency import ConsistencyManager, ConsistencyStrategy, consistency_of
from frys_cache.errors import ConfigurationError
from frys_cache.types import EvictionCause, Policy

__all__ = ["CacheConfig"]

MODES = ("resilient", "strict")
LEVELS = range(1, 23)
ROOM = 64 * 1024 * 1024
"""Bytes of memory in front of a tier below, where nothing else was said."""
MEMORY = ("max_entries", "max_size_bytes", "policy", "ttl", "idle", "sizeof", "on_evict", "name")
NAMESPACE_MAX = 255
"""Bytes: the length of a namespace is one byte in front of each stored key."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class CacheConfig:
    """Say how a cache is made: the arguments of `FrysCache` as one immutable value.

    The fields are described below; only max_entries may be given by position.  Make caches of it
    with `FrysCache.from_config(config)`, as many as you like: each is a cache of its own, though a
    persistent tier at one path, or given as an object, is shared.  Change a field with
    `dataclasses.replace`.
    Equal when all fields are; a `PersistentCache` is equal to itself only.  Hashable and picklable
    where its fields are.  Raises `ConfigurationError` for a field that cannot be, and without any
    bound, which only a persistent tier makes good; TypeError for a field that does not exist.
    Safe from any thread: it never changes.

    >>> from frys_cache import FrysCache
    >>> config = CacheConfig(1000, ttl=60)
    >>> FrysCache.from_config(config).maxsize
    1000
    >>> from dataclasses import replace
    >>> replace(config, policy="lru")
    CacheConfig(max_entries=1000, policy='lru', ttl=60)
    """

    max_entries: int | None = None
    """Entries in memory, at least 1; None: not bounded by entries."""
    _: KW_ONLY
    max_size_bytes: int | None = None
    """Bytes in memory, at least 1; None: not bounded by bytes."""
    policy: str | Policy = "auto"
    """An `EvictionPolicy`, its name, or a policy object as `TtlPolicy(3600)`."""
    ttl: float | timedelta | None = None
    """Seconds or a timedelta that an entry lives after it was stored; None: for ever."""
    idle: float | timedelta | None = None
    """Seconds or a timedelta that an entry lives after it was last used; None: for ever."""
    sizeof: Callable[[Any, Any], int] | None = None
    """Called with key and value, gives the bytes an entry counts for; needs max_size_bytes."""
    on_evict: Callable[[Any, Any, EvictionCause], object] | None = None
    """Called with key, value and cause after an entry has left memory."""
    persistent: Any = None
    """A path (a str or `os.PathLike`), or a `PersistentCache`; None: no persistent tier."""
    serializer: Any = None
    """What stores values of types that the codec does not know; None: such values are refused."""
    compression: bool = True
    """Whether values below memory are compressed; says nothing of values in memory."""
    compression_level: int = 3
    """1, the fastest, to 22, the smallest; unused without compression."""
    namespace: str = "default"
    """What keeps caches of one store apart: 1 to 255 bytes of UTF-8."""
    name: str | None = None
    """What the cache is called where it is reported; None: nothing."""
    consistency: ConsistencyManager | ConsistencyStrategy | str = "write-through"
    """Who writes where, and when: a strategy, its name, or a `ConsistencyManager`."""
    backend: Any = None
    """A `Backend`, the system of record; None: the lowest tier is the record."""
    loader: Callable[[Any], Any] | None = None
    """Called with a key that no level has, gives its value or MISSING."""
    max_key_size: int = 64 * 1024
    """Bytes of a key as it is stored below memory."""
    max_value_size: int = 8 * 1024 * 1024
    """Bytes of a value as it is stored below memory."""
    mode: Literal["resilient", "strict"] = "resilient"
    """Whether a fault of a lower tier is a miss that is counted, or an error."""
    loader_many: Callable[[Any], Mapping[Any, Any]] | None = None
    """Called with a list of such keys, gives a mapping of those that have a value."""
    negative_ttl: float | timedelta | None = None
    """Seconds for which it is remembered that the source has no value, 0 for not at all; None: a
    tenth of the ttl, and 30 at most."""
    stale_ttl: float | timedelta | None = None
    """Seconds after its expiry in which a value may still be given, while it is loaded anew."""
    jitter: float = 0.0
    """The fraction by which each ttl is varied, from 0 to below 1."""
    soft_timeout: float | timedelta | None = None
    """Seconds to wait for a load before a stale value is given; None: it is given at once."""
    loader_timeout: float | timedelta | None = None
    """Seconds after which who waits for a load is told `CacheTimeout`; None: never."""
    lock_timeout: float | timedelta | None = None
    """Seconds after which who waits for the load of another loads alone; None: never."""
    refresh_ahead: float | Literal["xfetch"] | None = None
    """The fraction of a ttl after which what is asked for is loaded anew, or "xfetch": the later,
    the likelier, by how long loading takes."""

    def __post_init__(self) -> None:
        _check_bound(self)
        _check_persistent(self)
        _check_bool("compression", self.compression)
        _check_whole("compression_level", self.compression_level, LEVELS.start, LEVELS.stop - 1)
        _check_namespace(self.namespace)
        _check_name(self.name)
        _check_whole("max_key_size", self.max_key_size)
        _check_whole("max_value_size", self.max_value_size)
        _check_mode(self.mode)
        object.__setattr__(self, "consistency", _plain(self.consistency))
        check_jitter(self.jitter)
        check_refresh_ahead(self.refresh_ahead)
        for name in ("negative_ttl", "stale_ttl", "soft_timeout", "loader_timeout", "lock_timeout"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name), allow_zero=True, allow_inf=True)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `FrysCache` that differ from the defaults, as a new dict.

        >>> CacheConfig(10, policy="lru", ttl=None).arguments()
        {'max_entries': 10, 'policy': 'lru'}
        """
        return changed({name: getattr(self, name) for name in DEFAULTS})

    def memory_arguments(self) -> dict[str, Any]:
        """Return the arguments of `FrysCache` that concern memory alone, as a new dict.

        >>> CacheConfig(persistent="./cache.db").memory_arguments()
        {'max_size_bytes': 67108864}
        """
        given = self.arguments()
        memory = {name: value for name, value in given.items() if name in MEMORY}
        if self.max_entries is None and self.max_size_bytes is None:
            memory["max_size_bytes"] = ROOM
        return memory

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return comparable(self.arguments()) == comparable(other.arguments())

    def __hash__(self) -> int:
        return hash(frozenset(comparable(self.arguments()).items()))

    def __repr__(self) -> str:
        shown = (f"{name}={show(value)}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({', '.join(shown)})"


CHAIN = (
    "mode",
    "consistency",
    "backend",
    "loader",
    "loader_many",
    "negative_ttl",
    "stale_ttl",
    "jitter",
    "soft_timeout",
    "loader_timeout",
    "lock_timeout",
    "refresh_ahead",
)
"""The fields that say how the chain works."""

DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(CacheConfig)}


def changed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not their fields' defaults, in the order of the fields.

    Asks no foreign `__eq__`: a value of another type than its default differs from it.
    """
    return {
        name: values[name]
        for name, default in DEFAULTS.items()
        if name in values
        and values[name] is not default
        and not (isinstance(values[name], type(default)) and values[name] == default)
    }


def comparable(values: Mapping[str, Any]) -> dict[str, Hashable]:
    """Return values as they are compared and hashed: a tier by its identity, never its content."""
    return {
        name: ("tier", id(value)) if name == "persistent" and not _is_path(value) else value
        for name, value in values.items()
    }


def show(value: object) -> str:
    """Return a value as a repr may print it: no content, no secret, no address.

    >>> show("lru"), show(len), show({"password": "secret"})
    ("'lru'", 'len', 'dict(...)')
    """
    plain = isinstance(value, (str, int, float, timedelta, os.PathLike, type(None)))
    if isinstance(value, str) and isinstance(value, Enum):
        return repr(value.value)  # evaluates as it is printed
    if plain or hasattr(type(value), "__frys_policy__"):
        return repr(value)
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else f"{type(value).__name__}(...)"


def _is_path(value: object) -> bool:
    return isinstance(value, (str, os.PathLike))


def _check_bound(config: CacheConfig) -> None:
    """Refuse a cache that could grow without end."""
    bounds = (config.max_entries, config.max_size_bytes, config.persistent)
    if all(bound is None for bound in bounds):
        raise ConfigurationError(
            "a cache in memory alone needs a bound: pass max_entries=1000 or max_size_bytes="
            "64 * 1024 * 1024, or take the step with_memory_lru(1000) of a builder"
        )


# What a tier that was opened elsewhere has been given there.
OF_THE_TIER = (
    "serializer",
    "compression",
    "compression_level",
    "namespace",
    "max_key_size",
    "max_value_size",
)


def _check_persistent(config: CacheConfig) -> None:
    """Refuse what is neither a path nor a tier; which paths can be opened the tier finds out."""
    value = config.persistent
    if value is None:
        if config.serializer is not None:
            raise ConfigurationError(
                "serializer is for what is stored below memory: pass persistent= too"
            )
        return
    if _is_path(value) and value != "":
        return
    # The class lives in a layer above; it is known by the two methods that no path has.
    if all(callable(getattr(type(value), method, None)) for method in ("scan", "close")):
        given = changed({name: getattr(config, name) for name in OF_THE_TIER})
        if given:
            raise ConfigurationError(
                f"{', '.join(given)}: give it to the {type(value).__name__} itself, "
                f"or pass persistent= as a path"
            )
        return
    raise ConfigurationError(
        f"persistent must be a path such as './cache.db' or a PersistentCache, not {show(value)}"
    )


def _check_bool(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{name} must be True or False, not {value!r}; a level is given as {name}_level"
        )


def _check_whole(name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """Refuse what is no int within the limits; a bool is none."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is None or number < least or (most is not None and number > most):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigurationError(f"{name} must be an int {wanted}, not {value!r}")


def _check_namespace(value: object) -> None:
    if not isinstance(value, str):
        raise ConfigurationError(f"namespace must be a str such as 'default', not {value!r}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ConfigurationError(
            f"namespace must be text that UTF-8 can encode, not {value!r}: take out the surrogates"
        ) from None
    if not 1 <= size <= NAMESPACE_MAX:
        raise ConfigurationError(
            f"namespace must have 1 to {NAMESPACE_MAX} bytes of UTF-8, not {size}: {value!r}"
        )


def _check_name(value: object) -> None:
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(
            f"name must be a str that is not empty, or None for no name, not {value!r}"
        )


def _plain(consistency: object) -> Any:
    """Return a strategy as its name, so that equal configurations are equal, and check it."""
    found = consistency_of(consistency)  # type: ignore[arg-type]
    return consistency if found is consistency else found.strategy.value


def _check_mode(value: object) -> None:
    if not isinstance(value, str) or value not in MODES:
        raise ConfigurationError(f"mode must be {' or '.join(map(repr, MODES))}, not {value!r}")
