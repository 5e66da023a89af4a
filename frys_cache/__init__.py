"""Frys Cache: a bounded cache that behaves as a `dict` and answers as fast as one.

>>> from frys_cache import FrysCache
>>> cache = FrysCache(1000)
>>> cache["user:123"] = {"name": "Alice"}
>>> cache["user:123"]
{'name': 'Alice'}
"""

from frys_cache._core import MemoryCache, PolicyManager, memoize
from frys_cache.cache import FrysCache
from frys_cache.errors import (
    Backpressure,
    CacheClosed,
    CacheError,
    CacheTimeout,
    ConfigurationError,
    DeadlockError,
    IntegrityError,
    KeyNotStable,
    KeyTooLarge,
    SerializationError,
    TierLockedError,
    TierUnavailable,
    ValueTooLarge,
    WriteError,
    WriteUnknown,
)
from frys_cache.policies import CompositePolicy, LfuPolicy, LruPolicy, SizePolicy, TtlPolicy
from frys_cache.simulation import SimulationResult, simulate
from frys_cache.types import (
    DEFAULT,
    MISSING,
    CacheInfo,
    CacheStats,
    EvictionCause,
    EvictionPolicy,
    TierStats,
    TtlRule,
)

__all__ = [
    "DEFAULT",
    "MISSING",
    "Backpressure",
    "CacheClosed",
    "CacheError",
    "CacheInfo",
    "CacheStats",
    "CacheTimeout",
    "CompositePolicy",
    "ConfigurationError",
    "DeadlockError",
    "EvictionCause",
    "EvictionPolicy",
    "FrysCache",
    "IntegrityError",
    "KeyNotStable",
    "KeyTooLarge",
    "LfuPolicy",
    "LruPolicy",
    "MemoryCache",
    "PolicyManager",
    "SerializationError",
    "SimulationResult",
    "SizePolicy",
    "TierLockedError",
    "TierStats",
    "TierUnavailable",
    "TtlPolicy",
    "TtlRule",
    "ValueTooLarge",
    "WriteError",
    "WriteUnknown",
    "memoize",
    "simulate",
]
