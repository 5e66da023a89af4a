"""A tier in memory: a dict, for tests and benchmarks of what stands above a tier.

It keeps the whole contract and nothing outlives it.  Cost: one lock for all, a copy of the sorted
keys per scan.  Not for production: memory in front of memory is no level.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from frys_cache.errors import CacheClosed
from frys_cache.tiers.base import head_of

__all__ = ["StandInTier"]


class StandInTier:
    """Keep records in a dict, as a tier would.

    wall: what gives the milliseconds since 1970.  Safe from any thread.

    >>> tier = StandInTier()
    >>> record = bytes.fromhex("f1000000") + (1).to_bytes(8, "big") + bytes(8) + b"payload"
    >>> tier.write([(b"key", record)])
    []
    >>> tier.read([b"key", b"other"]) == [record, None]
    True
    """

    name = "stand-in"

    def __init__(self, *, wall: Callable[[], int] | None = None) -> None:
        self.wall = wall or (lambda: time.time_ns() // 1_000_000)
        self._lock = threading.RLock()  # guards both dicts and _top
        self._records: dict[bytes, bytes] = {}
        self._dropped: dict[bytes, int] = {}
        self._top = 0  # the highest version seen
        self._closed = False

    def _live(self, key: bytes, now: int) -> bytes | None:
        self._check_open()
        record = self._records.get(key)
        if record is None:
            return None
        expires = head_of(record)[1]
        return None if expires and expires <= now else record

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosed("the tier has been closed")

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored; None: absent or expired."""
        now = self.wall()
        with self._lock:
            self._check_open()
            return [self._live(key, now) for key in keys]

    def write(self, records: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Store (key, record) pairs; return the keys of those that are older than what is there."""
        late = []
        with self._lock:
            self._check_open()
            for key, record in records:
                version = head_of(record)[0]
                self._top = max(self._top, version)
                old = self._records.get(key)
                if version <= self._dropped.get(key, -1) or (old and version < head_of(old)[0]):
                    late.append(key)
                    continue
                self._records[key] = record
        return late

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Remove keys; return whether a live record was there."""
        now = self.wall()
        with self._lock:
            self._check_open()
            self._top = max(self._top, version)
            gone = []
            for key in keys:
                live = self._live(key, now)
                self._dropped[key] = max(version or self._top, self._dropped.get(key, -1))
                if version and live is not None and head_of(live)[0] > version:
                    gone.append(False)
                    continue
                self._records.pop(key, None)
                gone.append(live is not None)
            return gone

    def scan(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the live keys that begin with a prefix, in order."""
        with self._lock:
            self._check_open()
            keys = sorted(key for key in self._records if key.startswith(prefix))
        for key in keys:
            with self._lock:
                if self._live(key, self.wall()) is None:
                    continue
            yield key

    def close(self) -> None:
        """Forget everything.  A second time, nothing happens."""
        with self._lock:
            self._closed = True
            self._records.clear()
            self._dropped.clear()
