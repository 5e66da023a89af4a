"""What is remembered beside memory of what was loaded or found below: when it is stale, or renewed.

Who writes a key notes it first and forgets then what is beside memory; who remembers something
there looks afterwards whether the key is being written.  So one of the two sees the other.
Cost: one entry beside memory.  Not chosen: a lock around both, which a write would wait for.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from frys_cache.chain.aside import Kept
from frys_cache.errors import ValueTooLarge
from frys_cache.types import MISSING

if TYPE_CHECKING:
    from frys_cache.chain.aside import Aside
    from frys_cache.chain.freshness import Freshness
    from frys_cache.chain.levels import Level
    from frys_cache.tiers.versions import WallClock

__all__ = ["Keeping"]


class Keeping:
    """The part of a `CacheManager` that remembers beside memory."""

    _levels: list[Level]
    _aside: Aside | None
    _freshness: Freshness
    wall: WallClock

    def _recall(self, memory: Any, key: Any) -> None:
        """Have in memory again what is good, but only beside it, where memory is all there is."""
        if self._levels or self._aside is None:
            return
        token = memory._token(key)
        kept = self._aside.find(key)
        if kept is None or kept.value is MISSING or kept.fresh_until <= time.monotonic():
            return
        with suppress(ValueTooLarge):
            memory._fill(key, kept.value, kept.fresh_until, None, token)

    def _beside(self, key: Any) -> Any:
        """Return the token under which something may be kept beside memory later on."""
        return None if self._aside is None else self._aside.token(key)

    def _unless_written(self, memory: Any, key: Any) -> None:
        """Forget what has been kept beside memory of a key that is being written below.

        Who writes notes it first and forgets the key then, so one of the two sees the other.
        """
        if self._aside is not None and memory._is_writing(key):
            self._aside.forget(key)

    def _watch(
        self,
        memory: Any,
        key: Any,
        value: Any,
        left: float,
        ends: tuple[int, int, int, int],
        beside: Any,
    ) -> float:
        """Remember beside memory what a level had; return how long memory may answer for it."""
        assert self._aside is not None
        _, fresh_ms, hard_ms, load_ms = ends
        stale_for = max(0.0, (hard_ms - fresh_ms) / 1000) if fresh_ms else 0.0
        refresh = self._freshness.refresh_after(left, load_ms / 1000)
        if refresh is None and not stale_for:
            return left
        self._aside.keep(key, value, left, stale_for, refresh, load_ms / 1000, beside)
        self._unless_written(memory, key)
        return left if refresh is None else max(refresh, 0.001)

    def _stale_of(
        self, level: Level, memory: Any, key: Any, value: Any, record: bytes, beside: Any
    ) -> Any:
        """Return what a level had as a stale value, or None: nothing may be given out stale."""
        _, fresh_ms, hard_ms, load_ms = level.codec.ends(record)
        now, wall = time.monotonic(), self.wall()
        if not fresh_ms or hard_ms <= wall:
            return None
        over, load = (wall - fresh_ms) / 1000, load_ms / 1000
        if self._aside is not None:  # where it is known, too, when to try again
            self._aside.keep(key, value, -over, (hard_ms - fresh_ms) / 1000, None, load, beside)
            kept = self._aside.find(key)
            self._unless_written(memory, key)
            if kept is not None and kept.value is value:
                return kept
        return Kept(value, now - over, now, load)
