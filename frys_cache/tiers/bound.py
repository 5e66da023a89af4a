"""The persistent tier with a bound in bytes, and who has to go for it.

The bytes of the keys and records stored are counted exactly, in memory: a put reads what it
replaces, which for an absent key is an answer of the bloom filter.  Room is reserved before the
write, so the sum is never above the bound.  After a clean close the count is trusted, else it is
counted anew at opening, in slices.

Victims go in the order of insertion.  The family "order" has that order on disk, a key of 8 bytes
of position and the key of the entry, changed in one batch with the record: constant memory, however
many entries there are.  The position is the version, and the value of a place is the version, the
size and, if there is one, the expiry.  A hit sets a bit in a hashed map; an entry whose bit is set
when its turn comes is spared once and gets a place at the end, under which it is only found: it may
be gone by then, or have another version.  Bits are shared by keys that collide, which spares some
entries by mistake; there are always 128 KiB of them.

An interrupt inside of a change, or a handler or destructor that changes what the change has read,
may leave the count wrong.  Both are noticed, and it is counted anew before the next eviction, by
the sweeper within a second, or at the next opening.

A full tier evicts at most 500 entries in the call that needs the room; the sweeper goes on down to
95 %.  Deleted records take space until RocksDB compacts: the sweeper asks for it when the directory
is larger than 1.1 times the bound and 32 MiB.

Cost of a put: the read of the old record and a batch of 2 or 3 changes, 12 us more than unbounded.
A read pays 0.2 us for its bit.  Not chosen: an index of all keys in memory, 150 bytes an entry; a
clock hand over the keys, which evicts by the alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from frys_cache.errors import CacheClosed, CacheError, IntegrityError, ValueTooLarge
from frys_cache.tiers.base import head_of, traces_of, version_of
from frys_cache.tiers.disk import COUNT, MOST_BYTES, SLICE, DiskTier
from frys_cache.tiers.handle import translate
from frys_cache.tiers.settling import Change, newest_of
from frys_cache.tiers.store import Store
from frys_cache.tiers.stripes import STRIPES
from frys_cache.tiers.versions import WallClock

__all__ = ["BoundedTier"]

_BATCH: Final = 500
_MASK: Final = STRIPES - 1
_BITS: Final = 1 << 20
# Where every key is hit all the time, after so many spared ones the next goes all the same.
_SPARED: Final = 4 * _BATCH
_SLACK: Final = 32 << 20


def _said_of(record: bytes) -> bytes:
    """Return the value of a place in the order."""
    version, size, expires = traces_of(record)
    return version + size.to_bytes(8, "big") + (expires.to_bytes(8, "big") if expires else b"")


class _Marks:
    """Which keys were read since their last turn: one bit each, by hash."""

    __slots__ = ("_bits", "_fetch")

    def __init__(self, fetch: Callable[[bytes], bytes | None]) -> None:
        self._fetch = fetch
        self._bits = bytearray(_BITS >> 3)

    def fetch(self, key: bytes) -> bytes | None:
        """Read a key and mark it."""
        at = hash(key)
        self._bits[(at >> 3) & 0x1FFFF] |= 1 << (at & 7)
        return self._fetch(key)

    def mark(self, key: bytes) -> None:
        """Mark a key."""
        at = hash(key)
        self._bits[(at >> 3) & 0x1FFFF] |= 1 << (at & 7)

    def clear(self, key: bytes) -> bool:
        """Take the mark off a key; tell whether there was one."""
        at = hash(key)
        byte, bit = (at >> 3) & 0x1FFFF, 1 << (at & 7)
        if not self._bits[byte] & bit:
            return False
        self._bits[byte] &= ~bit
        return True


class BoundedTier(DiskTier):
    """Keep at most `max_size_bytes` of keys and records in a store."""

    __slots__ = (
        "_changes",
        "_first",
        "_marks",
        "_raw",
        "_settled",
        "_uncertain",
        "count",
        "evictions",
        "max_size_bytes",
        "total",
    )

    def __init__(self, store: Store, max_size_bytes: int, *, wall: WallClock | None = None) -> None:
        self.max_size_bytes: int = max_size_bytes
        self.evictions = 0
        self.total = self.count = 0
        self._first = b""  # no place in the order before this one is taken
        self._changes = 0  # how many there have been, without evictions
        self._uncertain = False  # whether the count may be wrong
        self._settled = 0  # bytes that the last compaction left
        super().__init__(store, wall=wall)
        self.sweeper.need()

    def _stand_on(self, rocks: Any) -> None:
        super()._stand_on(rocks)
        self._raw = self.fetch
        self._marks = _Marks(self._raw)
        self.fetch = self._marks.fetch

    def _detach(self) -> None:
        super()._detach()
        self.total = self.count = 0
        self.max_size_bytes = 1 << 62

    # --- reading ---------------------------------------------------------------------------------

    def fetch_list(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored, expired or not; mark the keys."""
        for key in keys:
            self._marks.mark(key)
        return self.rocks.get_data_list(keys)

    # --- writing ---------------------------------------------------------------------------------

    def put_one(self, key: bytes, record: bytes, version: int, expires_ms: int) -> bool:
        """Store one record; False: refused as late.  ValueTooLarge if it is beyond the bound."""
        self._check_fits(key, record)
        self._budget -= len(record)
        if self._budget < 0:
            self._ask_space()
        stripe = self._stripes[hash(key) & _MASK]
        while True:
            with self._lock:
                changes = self._changes
                try:
                    found = self._raw(key)
                    if version > stripe.top:
                        stripe.top = version
                    elif self._is_late_locked(key, version, found):
                        return False
                    if self._change_locked(key, found, record, expires_ms):
                        self._check_alone_locked(changes)
                        return True
                except Exception as error:
                    raise translate(error) from error
            self._make_room(key, record)

    def settle(
        self,
        records: list[tuple[bytes, bytes]],
        drops: Iterable[tuple[bytes, int]] = (),
        also: Iterable[Change] = (),
    ) -> list[bytes]:
        """Store records, remove keys up to a version each, and make other changes, all or none.

        Returns the keys of records that were refused as late.  Room is made for all of them first;
        raises ValueTooLarge, before anything has changed, where they cannot be within the bound
        together.
        """
        newest = newest_of(records)
        drops, also = list(drops), list(also)
        need = sum(len(key) + len(record) for key, record in newest.items())
        if need > self.max_size_bytes:
            raise ValueTooLarge(need, self.max_size_bytes)
        self._budget -= need
        if self._budget < 0 and newest:
            self._ask_space()
        while True:
            with self._lock:
                before = self._changes
                batch = dict(newest)
                late = self._sift_locked(batch)
                changes: list[Change] = list(also)
                size = entries = 0
                plans = [
                    self._plan_locked(key, self._peek(key), record, head_of(record)[1])
                    for key, record in batch.items()
                ]
                plans += [
                    self._plan_locked(key, found, None, 0)
                    for key, found in self._buried_locked(drops)
                ]
                for planned, more, entry in plans:
                    changes += planned
                    size += more
                    entries += entry
                if size <= 0 or self.total + size <= self.max_size_bytes:
                    self._changes += 1
                    self._commit_locked(changes, size, entries)
                    self._check_alone_locked(before)
                    return late
            self._make_room_for(size)

    def swap(
        self, key: bytes, old: bytes | None, new: bytes | None, version: int, expires_ms: int
    ) -> bool:
        """Replace exactly this live record, in one step; tell whether it was there."""
        if new is not None:
            self._check_fits(key, new)
        with self._lock:
            changes = self._changes
            swapped = super().swap(key, old, new, version, expires_ms)
            self._check_alone_locked(changes)
        return swapped

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Remove keys; return, for each, whether a live record was there."""
        with self._lock:
            changes = self._changes
            answers = super().drop(keys, version)
            self._check_alone_locked(changes)
        return answers

    def _check_alone_locked(self, changes: int) -> None:
        """Doubt the count if there was more than one change since there were so many."""
        if self._changes > changes + 1:
            self._uncertain = True

    def clear(self, start: bytes, stop: bytes) -> None:
        """Remove all keys from `start` to before `stop`; what was begun before comes late."""
        with self._lock:
            version = self.versions.next()
            self._clears.add_locked(start, stop, version)
        while True:
            with self._lock:
                found = self.rocks.items("data", start, stop, SLICE, MOST_BYTES)
                if not found:
                    return
                self._forget_locked(
                    {
                        key: traces_of(record)
                        for key, record in found
                        if head_of(record)[0] <= version
                    }
                )
            start = found[-1][0] + b"\0"

    def _check_fits(self, key: bytes, record: bytes) -> None:
        size = len(key) + len(record)
        if size > self.max_size_bytes:
            raise ValueTooLarge(size, self.max_size_bytes)

    def _change_locked(
        self, key: bytes, found: bytes | None, new: bytes | None, expires_ms: int
    ) -> bool:
        """Put `new` in the place of `found`, in one batch, if there is room."""
        changes, size, entry = self._plan_locked(key, found, new, expires_ms)
        if size > 0 and self.total + size > self.max_size_bytes:
            return False
        self._changes += 1
        self._commit_locked(changes, size, entry)
        return True

    def _plan_locked(
        self, key: bytes, found: bytes | None, new: bytes | None, expires_ms: int
    ) -> tuple[list[tuple[str, bytes, bytes | None]], int, int]:
        """Return what changes, by how many bytes and by how many entries."""
        changes: list[tuple[str, bytes, bytes | None]] = [("data", key, new)]
        size = entry = 0
        if found is not None:
            size -= len(key) + len(found)
            entry -= 1
            changes.append(("order", version_of(found) + key, None))
        if new is not None:
            size += len(key) + len(new)
            entry += 1
            changed = version_of(new)
            place = changed + key
            changes.append(("order", place, _said_of(new)))
            if place < self._first:  # an old record of another tier
                self._first = place
        changes += self._index_locked(key, found, expires_ms)
        return changes, size, entry

    def _commit_locked(
        self, changes: list[tuple[str, bytes, bytes | None]], size: int, entries: int
    ) -> None:
        """Write changes, and count them."""
        try:
            self.total += size
            self.count += entries
            self.rocks.write(changes)
        except CacheError:
            self.total -= size
            self.count -= entries
            raise
        except BaseException:
            self._uncertain = True
            raise

    def _forget_locked(self, gone: dict[bytes, tuple[bytes, int, int]]) -> None:
        """Delete keys, whose records have left these traces."""
        changes: list[tuple[str, bytes, bytes | None]] = []
        size = 0
        for key, (version, length, expires) in gone.items():
            size += len(key) + length
            if expires:
                changes.append(("expiry", expires.to_bytes(8, "big") + key, None))
            changes.append(("data", key, None))
            changes.append(("order", version + key, None))
        self._changes += 1
        self._commit_locked(changes, -size, -len(gone))

    # --- evicting --------------------------------------------------------------------------------

    def _make_room(self, key: bytes, record: bytes | None) -> None:
        """Evict until a record fits, at least for a moment."""
        assert record is not None
        self._make_room_for(len(key) + len(record))

    def _make_room_for(self, need: int) -> None:
        goal = min(self.max_size_bytes * 95 // 100, self.max_size_bytes - need)
        while self.total + need > self.max_size_bytes and self.evict(goal):
            pass
        self.sweeper.hurry()

    def evict(self, goal: int) -> bool:
        """Evict at most 500 entries, until `goal` bytes are left; False: there is none to evict."""
        spared = laps = 0
        while laps < 2:
            with self._lock:
                if self._uncertain:
                    self._recount()
                before = self._changes
                if self.total <= goal:  # others have removed enough meanwhile
                    return True
                turn = self.rocks.items("order", self._first, None, _BATCH)
                evicted, again = self._judge_locked(turn, goal, merciless=spared >= _SPARED)
                if self._changes != before:
                    self._uncertain = True
                if not turn:
                    self._first = b""
                    laps += 1
            spared += again
            if evicted:
                return True
        return False

    def _judge_locked(
        self, turn: list[tuple[bytes, bytes]], goal: int, *, merciless: bool
    ) -> tuple[int, int]:
        """Evict or spare those whose turn it is; return how many were evicted and spared."""
        changes: list[tuple[str, bytes, bytes | None]] = []
        first = self._first
        size = evicted = spared = 0
        excess = self.total - goal
        for place, value in turn:
            if size >= excess:
                break
            key, version = place[8:], value[:8]
            changes.append(("order", place, None))
            first = place
            if place[:8] != version:  # one that was spared: it may be gone, or another
                found = self._peek(key)
                if found is None or version_of(found) != version:
                    continue
            if self._marks.clear(key) and not merciless:
                spared += 1
                end = self.versions.next().to_bytes(8, "big")
                changes.append(("order", end + key, value))
                continue
            size += len(key) + int.from_bytes(value[8:16], "big")
            if len(value) > 16:
                changes.append(("expiry", value[16:] + key, None))
            evicted += 1
            changes.append(("data", key, None))
        if changes:
            self._commit_locked(changes, -size, -evicted)
            self._first = first
            self.evictions += evicted
        return evicted, spared

    def tick(self) -> bool:
        """Sweep what has expired, evict down to 95 % what is above 98 %, give space back."""
        super().tick()
        with self._lock:
            if self._uncertain:
                self._recount()
        if self.total > self.max_size_bytes * 98 // 100:
            goal = self.max_size_bytes * 95 // 100
            while self.total > goal and self.evict(goal) and not self.sweeper.stopping:
                pass
        limit = max(self.max_size_bytes * 11 // 10, self._settled) + _SLACK
        if self.rocks.live_bytes() > limit:
            self.compact()
            self._settled = self.rocks.live_bytes()
        return True

    # --- opening and closing ---------------------------------------------------------------------

    def _open_count(self) -> None:
        """Trust the count of a clean close, or count; then be within the bound."""
        kept = self.rocks.get("meta", COUNT)
        if kept is not None and len(kept) == 16:
            self.total = int.from_bytes(kept[:8], "big")
            self.count = int.from_bytes(kept[8:], "big")
        else:
            self._recount()
        self.rocks.write([("meta", COUNT, None)])
        while self.total > self.max_size_bytes:
            if not self.evict(self.max_size_bytes):
                raise IntegrityError("the order of the entries is damaged")

    def _recount(self) -> None:
        """Count what is stored and give each entry its place in the order anew."""
        self.rocks.delete_range("order", b"", b"\xff" * 8 + b"\xff" * 65536)
        self.total = self.count = 0
        self._first = start = b""
        while True:
            found = self.rocks.items("data", start, None, SLICE, MOST_BYTES)
            if not found:
                self._uncertain = False
                return
            places: list[tuple[str, bytes, bytes | None]] = []
            for key, record in found:
                version = version_of(record)
                places.append(("order", version + key, _said_of(record)))
                self.total += len(key) + len(record)
            self.rocks.write(places)
            self.count += len(found)
            start = found[-1][0] + b"\0"

    def _close_count(self) -> None:
        """Keep for the next opening what was counted."""
        self._raw = self._closed_read
        if self._uncertain:
            return
        counted = self.total.to_bytes(8, "big") + self.count.to_bytes(8, "big")
        self.rocks.write([("meta", COUNT, counted)])

    @staticmethod
    def _closed_read(_key: bytes) -> bytes | None:
        raise CacheClosed("the persistent tier has been closed")

    def entries(self) -> int:
        """Return how many records are stored."""
        return self.count

    def total_size(self) -> int:
        """Return the bytes of keys and records."""
        return self.total
