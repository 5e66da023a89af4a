"""A tier in memory: a dict, for tests and benchmarks of what stands above a tier.

It keeps the whole contract and nothing outlives it.  `StandInCache` is the same with a codec, as a
chain takes it.  Cost: one lock for all, a copy of the sorted keys per scan, a tombstone per key
that was dropped and per range that was cleared.  Not for production: memory in front of memory is
no level.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Self

from frys_cache.codec.compression import Compressor
from frys_cache.codec.entry import Codec
from frys_cache.errors import CacheClosed, ConfigurationError
from frys_cache.tiers.arguments import milliseconds
from frys_cache.tiers.base import head_of
from frys_cache.tiers.versions import Versions
from frys_cache.types import TierStats

__all__ = ["StandInCache", "StandInTier"]


_NEVER = bytes(8)


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
        self.versions = Versions()
        self._lock = threading.RLock()  # guards the three dicts
        self._records: dict[bytes, bytes] = {}
        self._dropped: dict[bytes, int] = {}
        self._cleared: dict[tuple[bytes, bytes], int] = {}
        self._closed = False

    def on(self, face: object) -> Self:
        """Return the tier itself: it never waits."""
        return self

    def _live_locked(self, key: bytes, now: int) -> bytes | None:
        self._check_open_locked()
        record = self._records.get(key)
        if record is None:
            return None
        expires = head_of(record)[1]
        return None if expires and expires <= now else record

    def _check_open_locked(self) -> None:
        if self._closed:
            raise CacheClosed("the tier has been closed")

    def _cleared_at_locked(self, key: bytes) -> int:
        """Return the version at which a key was cleared last; -1: never."""
        ranges = self._cleared.items()
        return max((at for (start, stop), at in ranges if start <= key < stop), default=-1)

    def _is_late_locked(self, key: bytes, version: int) -> bool:
        """Tell whether a version is older than what is there; the next one drawn will not be."""
        limit = max(self._dropped.get(key, -1), self._cleared_at_locked(key))
        old = self._records.get(key)
        if old is not None:
            limit = max(limit, head_of(old)[0] - 1)
        if version > limit:
            return False
        self._observe(limit + 1)
        return True

    def _observe(self, version: int) -> None:
        with suppress(ValueError):  # a version that no clock has given
            self.versions.observe(version)

    def read_one(self, key: bytes) -> bytes | None:
        """Return the live record of one key, or None."""
        if self._closed:
            raise CacheClosed("the tier has been closed")
        record = self._records.get(key)  # one operation of a dict: it needs no lock
        if record is None or record[12:20] == _NEVER:
            return record
        return record if head_of(record)[1] > self.wall() else None

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored; None: absent or expired."""
        now = self.wall()
        with self._lock:
            self._check_open_locked()
            return [self._live_locked(key, now) for key in keys]

    def put_one(self, key: bytes, record: bytes, version: int, expires_ms: int) -> bool:
        """Store one record; False: it is older than what is there."""
        return not self.write([(key, record)])

    def write(self, records: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Store (key, record) pairs; return the keys of those that are older than what is there."""
        late = []
        with self._lock:
            self._check_open_locked()
            for key, record in records:
                if self._is_late_locked(key, head_of(record)[0]):
                    late.append(key)
                else:
                    self._observe(head_of(record)[0])
                    self._records[key] = record
        return late

    def swap(
        self, key: bytes, old: bytes | None, new: bytes | None, version: int, expires_ms: int
    ) -> bool:
        """Replace exactly this live record (None: none), in one step; tell whether it was there."""
        now = self.wall()
        with self._lock:
            if self._live_locked(key, now) != old:
                return False
            if new is None:
                self._dropped[key] = self.versions.next()
                self._records.pop(key, None)
                return True
            if version <= self._cleared_at_locked(key):
                return False
            self._observe(version)
            self._records[key] = new
        return True

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Remove keys; return whether a live record was there."""
        now = self.wall()
        with self._lock:
            self._check_open_locked()
            buried = version or self.versions.next()
            self._observe(buried)
            gone = []
            for key in keys:
                live = self._live_locked(key, now)
                self._dropped[key] = max(buried, self._dropped.get(key, -1))
                if version and live is not None and head_of(live)[0] > version:
                    gone.append(False)
                    continue
                self._records.pop(key, None)
                gone.append(live is not None)
            return gone

    def clear(self, start: bytes, stop: bytes) -> None:
        """Remove all keys from `start` to before `stop`; what was begun before comes late."""
        with self._lock:
            self._check_open_locked()
            self._cleared[start, stop] = self.versions.next()
            for key in [key for key in self._records if start <= key < stop]:
                del self._records[key]

    def scan(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the live keys that begin with a prefix, in order."""
        with self._lock:
            self._check_open_locked()
            keys = sorted(key for key in self._records if key.startswith(prefix))
        for key in keys:
            with self._lock:
                if self._live_locked(key, self.wall()) is None:
                    continue
            yield key

    def close(self) -> None:
        """Forget everything.  A second time, nothing happens."""
        with self._lock:
            self._closed = True
            self._records.clear()
            self._dropped.clear()
            self._cleared.clear()


class StandInCache:
    """A tier in memory with a codec, as a chain takes it.

    name: in the statistics.  namespace, ttl, compression: as of a `PersistentCache`.  wall: as of a
    `StandInTier`.  Raises `ConfigurationError`.

    >>> cache = StandInCache("remote", ttl=60)
    >>> code = cache.codec.key("user:1")
    >>> cache.tier.write([(code, cache.codec.encode(code, "Ada", cache.versions.next(), 0))])
    []
    >>> cache.codec.decode(code, cache.tier.read_one(code))[0]
    'Ada'
    """

    def __init__(
        self,
        name: str = "stand-in",
        *,
        namespace: str = "default",
        ttl: float | timedelta | None = None,
        compression: bool = False,
        wall: Callable[[], int] | None = None,
    ) -> None:
        milliseconds(ttl, ConfigurationError)
        self.name = name
        self.ttl = ttl
        compressor = Compressor(learns=False) if compression else None
        self.codec = Codec(namespace=namespace, compressor=compressor)
        self.tier = StandInTier(wall=wall)
        self.versions = self.tier.versions

    def stats(self) -> TierStats:
        """Return what it holds; it counts no requests."""
        held = self.tier._records.copy()
        size = sum(len(key) + len(record) for key, record in held.items())
        return TierStats(entries=len(held), total_size=size)

    def close(self) -> None:
        """Forget everything.  A second time, nothing happens."""
        self.tier.close()
