"""Filling memory from a tier when it is opened, the newest entries first.

One pass over the heads of all records finds the newest, which are then read in batches: 1.5 us an
entry that is passed, 10 us one that is taken.  It ends when memory is full, so it evicts nothing.
Not chosen: the entries that were in memory when the process ended, which would have to be written
down all the time, since a process is killed without a warning.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from frys_cache._core import MemoryCache
    from frys_cache.tiers.persistent import PersistentCache

__all__ = ["warm"]

BATCH: Final = 200


def warm(
    memory: MemoryCache[Any, Any],
    tier: PersistentCache[Any, Any],
    read_many: Callable[[MemoryCache[Any, Any], list[Any]], object],
) -> int:
    """Read the newest entries of a tier into memory until it is full; return how many.

    Where `tier.warm_on_open` is a callable, it is told after each batch how many of how many
    entries are done; what it raises ends the warming and passes.
    """
    progress: Callable[[int, int], object] | None = (
        tier.warm_on_open if callable(tier.warm_on_open) else None
    )
    room = memory.policies.max_entries
    newest = tier.versions_of()
    ranked = heapq.nlargest(room, newest) if room is not None else sorted(newest, reverse=True)
    done = 0
    for at in range(0, len(ranked), BATCH):
        keys = [key for _, key in ranked[at : at + BATCH]]
        read_many(memory, keys)
        done += len(keys)
        if progress is not None:
            progress(done, len(ranked))
        # Without a bound of bytes this would sum up all sizes, and the first line has chosen.
        if memory.policies.max_size_bytes is not None and memory.stats().evictions:
            break
    return done
