"""What a cache has below its memory: a chain of tiers, nothing, or, once it is closed, a refusal.

`FrysCache` hands on to whichever it has, and asks nobody which.  Cost: none on a hit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from frys_cache.config import CHAIN
from frys_cache.consistency import async_methods, consistency_of, is_async
from frys_cache.errors import ConfigurationError
from frys_cache.manager import CacheManager
from frys_cache.tiers.closed import CLOSED
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from frys_cache.config import CacheConfig

__all__ = ["CLOSED", "NOTHING", "open_chain"]


class _Nothing:
    """Stand below a cache in memory alone: every read is a miss, every write is done."""

    __slots__ = ()
    takes_steps = writes_now = False

    async def read(self, _face: Any, memory: Any, key: Any) -> Any:
        return MISSING

    async def read_many(self, _face: Any, memory: Any, keys: list[Any]) -> list[Any]:
        # A subclass that turned hooks on may answer for one key alone.
        return [memory._on_miss(key) for key in keys]

    async def write(self, _face: Any, memory: Any, key: Any, value: Any, life: Any) -> None:
        pass

    async def write_loaded(
        self, _face: Any, memory: Any, key: Any, value: Any, life: Any, version: Any
    ) -> None:
        pass

    def evicted(self, key: Any, value: Any, cause: Any) -> None:
        pass

    async def remove(self, _face: Any, memory: Any, keys: Any) -> None:
        pass

    async def clear(self, _face: Any, memory: Any) -> None:
        pass

    def version(self) -> None:
        return None


NOTHING: Final = _Nothing()


def open_chain(config: CacheConfig) -> CacheManager:
    """Open the tiers that a configuration names, and return what coordinates them.

    Raises what the constructors of the tiers and of `CacheManager` raise, and `ConfigurationError`
    for a loader or backend that only an event loop can run.
    """
    backends = config.backend, consistency_of(config.consistency).backend
    if is_async(config.loader) or is_async(config.loader_many) or any(map(async_methods, backends)):
        raise ConfigurationError(
            "the loader or backend is async, and a FrysCache is used from threads: pass plain "
            "functions"
        )
    tiers = []
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
    if tier is not None:
        tiers.append(tier)
    try:
        rules = {name: getattr(config, name) for name in CHAIN}
        return CacheManager(tiers, config=config, owned=owned, **rules)
    except BaseException:
        if owned:
            tier.close()
        raise
