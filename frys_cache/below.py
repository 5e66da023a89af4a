"""What a cache has below its memory: a chain of tiers, nothing, or, once it is closed, a refusal.

`FrysCache` hands on to whichever it has, and asks nobody which.  Cost: none on a hit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from frys_cache.manager import CacheManager
from frys_cache.tiers.closed import CLOSED
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from frys_cache.config import CacheConfig

__all__ = ["CLOSED", "NOTHING", "in_memory", "open_chain"]


class _Nothing:
    """Stand below a cache in memory alone: every read is a miss, every write is done."""

    __slots__ = ()

    def read(self, memory: Any, key: Any) -> Any:
        return MISSING

    def read_many(self, memory: Any, keys: list[Any]) -> list[Any]:
        # A subclass that turned hooks on may answer for one key alone.
        return [memory._on_miss(key) for key in keys]

    def write(self, memory: Any, key: Any, value: Any, life: Any, version: Any) -> None:
        pass

    def evicted(self, key: Any, value: Any, cause: Any) -> None:
        pass

    def remove(self, memory: Any, keys: Any) -> None:
        pass

    def version(self) -> None:
        return None


NOTHING: Final = _Nothing()


def open_chain(config: CacheConfig) -> CacheManager:
    """Open the tiers that a configuration names, and return what coordinates them.

    Raises what the constructor of `PersistentCache` raises.
    """
    tier = config.persistent
    owned = isinstance(tier, (str, os.PathLike))
    if owned:
        # Here, so that whoever wants memory alone does not wait for it: a third of the import.
        from frys_cache.tiers.persistent import PersistentCache

        tier = PersistentCache(
            tier,
            compression=config.compression,
            compression_level=config.compression_level,
            serializer=config.serializer,
            namespace=config.namespace,
            max_key_size=config.max_key_size,
            max_value_size=config.max_value_size,
        )
    return CacheManager([tier], mode=config.mode, config=config, owned=owned)


def in_memory(memory: Any, operation: str, key: Any, *arguments: Any) -> Any:
    """Carry out on a memory without hooks what a chain would have decided."""
    if operation == "contains":
        return False  # memory has said so
    if operation in ("ttl_of", "forget_calls"):
        return MISSING
    if operation == "pop":
        return memory.pop(key, MISSING)
    if operation in ("add", "replace"):
        value, ttl, cost = arguments
        return getattr(memory, operation)(key, value, ttl=ttl, cost=cost)
    if operation == "put_many":
        return memory.put_many(key, ttl=arguments[0])
    return getattr(memory, operation)(key, *arguments)
