"""Values that every layer shares: absence, causes, policies' names, statistics, the clock."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, Protocol

__all__ = [
    "DEFAULT",
    "MISSING",
    "CacheInfo",
    "CacheStats",
    "Clock",
    "Default",
    "EvictionCause",
    "EvictionPolicy",
    "Missing",
    "Policy",
    "TierStats",
    "TtlRule",
]


class Missing(enum.Enum):
    """Type of `MISSING`: one falsy member, so that type checkers can tell it from any value."""

    MISSING = "MISSING"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING
"""Absence, where `None` is an ordinary value."""


class Default(enum.Enum):
    """Type of `DEFAULT`: one member, so that type checkers can tell it from any value."""

    DEFAULT = "DEFAULT"

    def __repr__(self) -> str:
        return "DEFAULT"


DEFAULT: Final = Default.DEFAULT
"""As a ttl: the cache's own."""


class EvictionPolicy(enum.StrEnum):
    """Which entry goes when the cache is full.  The plain string works wherever a member does.

    >>> EvictionPolicy.LRU == "lru"
    True
    """

    LRU = "lru"
    """The least recently used.  Right where what was used lately is used again."""
    FIFO = "fifo"
    """The oldest, used or not.  Right where age alone decides."""
    LFU = "lfu"
    """The least often used, then the least recently.  Right where the same keys stay popular."""
    SLRU = "slru"
    """What was used once before what was used twice.  Right where scans pass through."""
    SIZE = "size"
    """GreedyDual-Size-Frequency: the one whose uses times cost is least for its bytes.  Right where
    entries differ much in size, or in what it costs to make them again."""
    TINYLFU = "tinylfu"
    """W-TinyLFU: behind a window that finds its own size, what is new must be asked for more often
    than what would go for it.  Right nearly everywhere, most of all where some keys stay popular
    while scans or loops pass through."""
    SIEVE = "sieve"
    """The oldest that was not used since a hand last came round.  Right where much is asked for
    once and the rest stays popular, as on the web, and hits must cost least."""
    S3FIFO = "s3fifo"
    """What was not used twice while it was new, then the oldest not used lately.  Right where most
    keys come once, and in loops larger than the cache; hits cost least."""
    ARC = "arc"
    """Used once or used again, whichever kind was missed less of late.  Right where recency and
    frequency take turns, and nothing is known beforehand."""
    AUTO = "auto"
    """The best all-round policy this version has: `tinylfu`."""


class Policy(Protocol):
    """What `policy=` takes beside a name: an object that says what it asks for."""

    def __frys_policy__(self) -> tuple[str | None, float | timedelta | Default | None]:
        """Return the name of an eviction policy, or None, and a ttl, or DEFAULT for none."""
        ...


@dataclass(frozen=True, slots=True)
class TtlRule:
    """How long keys live that a rule names, as `cache.policies.rules` lists it."""

    keys: str | bytes | Callable[[Any], object]
    """The prefix of str keys or of bytes keys, or a predicate of any key."""
    ttl: float | timedelta | None
    """Seconds or a timedelta; None: for ever."""


class EvictionCause(enum.StrEnum):
    """Why an entry has left, as an eviction listener is told."""

    EVICTED = "evicted"
    """The bound needed its place."""
    EXPIRED = "expired"
    """Its time was over."""
    REPLACED = "replaced"
    """Another value was stored under its key."""
    DELETED = "deleted"
    """It was removed by name, or popped."""
    CLEARED = "cleared"
    """Everything was."""


class CacheInfo(NamedTuple):
    """The four figures of `functools.lru_cache`, in its order."""

    hits: int
    misses: int
    maxsize: int | None
    currsize: int


@dataclass(frozen=True, slots=True)
class TierStats:
    """What one tier has done and holds."""

    hits: int = 0
    """Requests answered here."""
    misses: int = 0
    """Requests that found nothing here."""
    entries: int = 0
    """Entries held now."""
    total_size: int = 0
    """Bytes of the keys and values held now."""

    @property
    def requests(self) -> int:
        """Hits and misses together."""
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits per request, 0.0 before the first."""
        return self.hits / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class CacheStats(TierStats):
    """What a cache has done since it was made, and what it holds now; a snapshot.

    >>> CacheStats(hits=3, misses=1).hit_ratio
    0.75
    """

    inserts: int = 0
    """Entries stored under keys that were absent."""
    evictions: int = 0
    """Entries that the bound pushed out."""
    expirations: int = 0
    """Entries whose time was over."""
    listener_errors: int = 0
    """Exceptions that eviction listeners have raised."""
    tiers: Mapping[str, TierStats] = field(default_factory=lambda: MappingProxyType({}))
    """The same, tier by tier: `"memory"`."""


class Clock(Protocol):
    """Monotonic time: a callable that returns seconds."""

    def __call__(self) -> float:
        """Return the seconds since some fixed moment."""
        ...
