"""Frys Cache: a bounded cache that behaves as a `dict` and answers as fast as one.

>>> from frys_cache import FrysCache
>>> cache = FrysCache(1000)
>>> cache["user:123"] = {"name": "Alice"}
>>> cache["user:123"]
{'name': 'Alice'}
"""

import importlib
from typing import TYPE_CHECKING, Any

from frys_cache._core import MemoryCache, PolicyManager, memoize
from frys_cache.builder import CacheBuilder
from frys_cache.cache import FrysCache
from frys_cache.config import CacheConfig
from frys_cache.consistency import Backend, ConsistencyManager, ConsistencyStrategy
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
from frys_cache.health import CacheEvent, TierHealth
from frys_cache.manager import CacheManager
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

if TYPE_CHECKING:
    from frys_cache.codec.pickles import Pickle
    from frys_cache.codec.registry import register_type
    from frys_cache.tiers.persistent import DiskStats, PersistentCache
    from frys_cache.writeback.writeback import DeadLetter, FlushReport

__all__ = [
    "DEFAULT",
    "MISSING",
    "Backend",
    "Backpressure",
    "CacheBuilder",
    "CacheClosed",
    "CacheConfig",
    "CacheError",
    "CacheEvent",
    "CacheInfo",
    "CacheManager",
    "CacheStats",
    "CacheTimeout",
    "CompositePolicy",
    "ConfigurationError",
    "ConsistencyManager",
    "ConsistencyStrategy",
    "DeadLetter",
    "DeadlockError",
    "DiskStats",
    "EvictionCause",
    "EvictionPolicy",
    "FlushReport",
    "FrysCache",
    "IntegrityError",
    "KeyNotStable",
    "KeyTooLarge",
    "LfuPolicy",
    "LruPolicy",
    "MemoryCache",
    "PersistentCache",
    "Pickle",
    "PolicyManager",
    "SerializationError",
    "SimulationResult",
    "SizePolicy",
    "TierHealth",
    "TierLockedError",
    "TierStats",
    "TierUnavailable",
    "TtlPolicy",
    "TtlRule",
    "ValueTooLarge",
    "WriteError",
    "WriteUnknown",
    "memoize",
    "register_type",
    "simulate",
]

# What is used below memory only is imported when it is first asked for.
_LATER = {
    "DeadLetter": "frys_cache.writeback.writeback",
    "DiskStats": "frys_cache.tiers.persistent",
    "FlushReport": "frys_cache.writeback.writeback",
    "PersistentCache": "frys_cache.tiers.persistent",
    "Pickle": "frys_cache.codec.pickles",
    "register_type": "frys_cache.codec.registry",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
