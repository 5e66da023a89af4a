"""Handing what a lower level had to the levels above it, when there is time for it.

A read must not wait for a write, so what was found is queued and written by a worker, in small
batches with pauses between them: at most 5,000 entries a second, so that reading goes on.  What
does not fit into the queue is dropped; the next read brings it again.

Cost: 0.3 us on the read, and an eighth of a core while there is more than can be handed up.
Not chosen: to write before the read returns, which makes a hit in a third level cost as much as a
put in the second one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from frys_cache.errors import CacheError
from frys_cache.levels import Level, expiry_of

__all__ = ["Backfill"]

ROOM: Final = 1_000
BATCH: Final = 50
PAUSE: Final = 0.01
"""Seconds between two batches."""


class Backfill:
    """What is to be written above the level that had it.

    levels: all levels, the fastest first.  submit: has a function called by a worker; False: it
    will not.  wall: a callable that returns milliseconds since 1970.  Safe from any thread.
    """

    __slots__ = ("_levels", "_queue", "_running", "_submit", "_wall", "dropped")

    def __init__(
        self,
        levels: Sequence[Level],
        submit: Callable[[Callable[[], Any]], bool],
        wall: Callable[[], int],
    ) -> None:
        self._levels = levels
        self._submit = submit
        self._wall = wall
        self._queue: deque[tuple[Level, bytes, Any, bytes]] = deque()
        self._running = False
        self.dropped = 0

    def add(self, level: Level, code: bytes, value: Any, record: bytes) -> None:
        """Queue what a level had."""
        if len(self._queue) >= ROOM:
            self.dropped += 1
            return
        self._queue.append((level, code, value, record))
        if not self._running:
            self._running = True
            if not self._submit(self._drain):
                self._running = False

    def _drain(self) -> None:
        """Write what is queued, in batches."""
        try:
            while self._queue:
                batch: list[tuple[Level, bytes, Any, bytes]] = []
                with suppress(IndexError):
                    while len(batch) < BATCH:
                        batch.append(self._queue.popleft())
                for upper in self._levels[:-1]:
                    self._write(upper, batch)
                time.sleep(PAUSE)
        finally:
            self._running = False
        if self._queue and not self._running:  # added since the last look
            self._running = self._submit(self._drain)

    def _write(self, upper: Level, batch: list[tuple[Level, bytes, Any, bytes]]) -> None:
        """Write into a level what those below it had: no life longer than it was, or may be."""
        if not upper.breaker.closed:
            return
        place = self._levels.index(upper)
        now = self._wall()
        records = []
        for level, code, value, record in batch:
            if self._levels.index(level) <= place or not upper.admits(code, None):
                continue
            version, fresh_ms, hard_ms, load_ms = level.codec.ends(record)
            if (bound := expiry_of(upper.ttl, now)) and (not hard_ms or bound < hard_ms):
                hard_ms, fresh_ms = bound, min(fresh_ms, bound)
            with suppress(CacheError):
                copy = upper.codec.encode(
                    code, value, version, hard_ms, fresh_ms=fresh_ms, load_ms=load_ms
                )
                records.append((code, copy))
        if records:
            with suppress(CacheError):
                upper.cache.tier.write(records)
