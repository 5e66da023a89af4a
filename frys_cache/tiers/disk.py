"""The persistent tier: records in RocksDB, with expiry, versions and a sweep.

One tier stands on one open database and is shared by all caches of that path; their namespaces are
prefixes of the keys.  A read is RocksDB's own `get`, lent out as `fetch`: no frame of ours.  A
write without an expiry is RocksDB's own `put` under the lock of the tier (see stripes.py); with
one, a batch that also adds to the index of expiries: 8 bytes of milliseconds, then the key.  The
entry of an overwritten record goes with it where the old record is read anyway, and where the new
one has an expiry, too, so there are no more of them than keys that ever had one.  Elsewhere it
stays until its time comes and the sweep finds that the record has become another.

Expiry is judged when a record is read, so it is exact however late the sweep is.

Cost: 0.3 us beside RocksDB's own for a read, 1 us for a write.  `BoundedTier` in bound.py is the
same with a bound, so that an unbounded tier pays nothing for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Self

from frys_cache._core import is_stale
from frys_cache.errors import CacheError, IntegrityError
from frys_cache.tiers.base import after, head_of, traces_of
from frys_cache.tiers.closed import CLOSED
from frys_cache.tiers.handle import translate
from frys_cache.tiers.nothing import NoRocks
from frys_cache.tiers.settling import Settling, newest_of
from frys_cache.tiers.store import Store
from frys_cache.tiers.stripes import STRIPES, Clears, new_stripes
from frys_cache.tiers.sweeper import Sweeper, later
from frys_cache.tiers.versions import Versions, WallClock

__all__ = ["SLICE", "DiskTier", "newest_of"]

SLICE: Final = 200
"""How many entries one step of a scan or a sweep takes: rocksdict holds the GIL meanwhile."""
MOST_BYTES: Final = 1 << 20
"""After how many bytes of records a step of a scan ends."""
COUNT: Final = b"count"
"""In "meta": the entries and bytes of a bounded tier that was closed, and not opened since."""

_MARK: Final = b"versions"
# How many bytes are written before the store is asked for room again; and a number never reached.
_BUDGET: Final = 65_536
_UNASKED: Final = 1 << 62
_MASK: Final = STRIPES - 1


class DiskTier(Settling):
    """Keep records in a store, a RocksDB database that is open.

    store: from `open_store`; the tier closes it.  wall: a `WallClock`.
    Safe from any thread.  Errors are those of every tier; a full disk is `TierUnavailable`.
    """

    __slots__ = (
        "__weakref__",
        "_clears",
        "_put",
        "_swept",
        "compressors",
        "corrupt",
        "expirations",
        "fetch",
        "is_open",
        "store",
        "sweeper",
        "users",
        "versions",
        "wall",
    )

    name = "persistent"
    max_size_bytes: int | None = None
    evictions: int = 0

    fetch: Callable[[bytes], bytes | None]
    """The record as stored, expired or not; what RocksDB raises is for `translate`."""

    def __init__(self, store: Store, *, wall: WallClock | None = None) -> None:
        self.store = store
        self.wall = wall or WallClock()
        self.users = 1
        self.compressors: dict[tuple[int, bool], Any] = {}
        self.corrupt = 0
        self.expirations = 0
        self.is_open = True
        self._swept = b""  # before this entry, the index of expiries is empty
        self._lock = threading.RLock()  # guards the stripes, and every change of what is stored
        self._stand_on(store.rocks)
        self._budget = 0 if store.writable else _UNASKED
        mark = int.from_bytes(self.rocks.get("meta", _MARK) or b"", "big")
        save = self._save_mark if store.writable else None
        self.versions = Versions(mark=mark, save=save)
        self._stripes = new_stripes(self.versions.last())
        self._clears = Clears(self._stripes)
        self.sweeper = Sweeper(self)
        if store.writable:
            self._open_count()
            if self.rocks.keys("expiry", b"", None, 1):
                self.sweeper.need()
        store.on_detach(self._detach)

    def _stand_on(self, rocks: Any) -> None:
        """Use a database, or none."""
        self.rocks = rocks or NoRocks()
        self._put = self.rocks.put_data
        self._journal = self.rocks.put_journal
        self.fetch = self.rocks.get_data

    def _detach(self) -> None:
        """Keep nothing from now on, in a forked child: the database is the parent's."""
        self._stand_on(None)
        self._budget = _UNASKED
        # What other threads held when the process was forked, nobody will release.
        self._lock = threading.RLock()
        self._stripes = new_stripes(0)
        self._clears = Clears(self._stripes)
        self.versions = Versions(mark=(self.versions.last() >> 16) + 1)
        self.sweeper = Sweeper(self)

    def _open_count(self) -> None:
        """Count nothing: a bounded tier that comes later has to count anew."""
        if self.rocks.get("meta", COUNT) is not None:
            self.rocks.write([("meta", COUNT, None)])

    def _save_mark(self, mark_ms: int) -> None:
        # On a full disk versions go up without it, if only for as long as this process lives.
        with suppress(CacheError):
            self.rocks.write([("meta", _MARK, mark_ms.to_bytes(8, "big"))])

    def _ask_space(self) -> None:
        """Raise TierUnavailable where the disk is too full; ask again after 64 KiB."""
        self.store.check_space(_BUDGET - self._budget)
        self._budget = _BUDGET

    def on(self, face: object) -> Self:
        """Return the tier itself: a call takes microseconds, less than going to a thread."""
        return self

    # --- reading ---------------------------------------------------------------------------------

    def read_one(self, key: bytes) -> bytes | None:
        """Return the live record of one key, or None."""
        try:
            record = self.fetch(key)
        except Exception as error:
            raise translate(error) from error
        return None if record is None else self._live(record)

    def read(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored; None: absent or expired."""
        if len(keys) == 1:
            return [self.read_one(keys[0])]
        live = self._live
        return [None if record is None else live(record) for record in self.fetch_list(keys)]

    def fetch_list(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the records as stored, expired or not; other threads run meanwhile."""
        return self.rocks.get_data_list(keys)

    def _live(self, record: bytes) -> bytes | None:
        """Return a record that has not expired, else None."""
        expires = head_of(record)[1]
        return None if expires and expires <= self.wall() else record

    # --- writing ---------------------------------------------------------------------------------

    def put_one(self, key: bytes, record: bytes, version: int, expires_ms: int) -> bool:
        """Store one record, whose version and expiry the caller knows.

        False: refused as late.  A caller whose version was for this write alone draws a new one and
        comes again, for nobody has seen its value; one that loaded the value lets it be.
        """
        self._budget -= len(record)
        if self._budget < 0:
            self._ask_space()
        stripe = self._stripes[hash(key) & _MASK]
        with self._lock:
            try:
                if version > stripe.top:
                    stripe.top = version
                elif self._is_late_locked(key, version, self._peek(key)):
                    return False
                if expires_ms:
                    self._change_locked(key, self._peek(key), record, expires_ms)
                else:
                    self._put(key, record)
            except Exception as error:
                raise translate(error) from error
        return True

    def write(self, records: list[tuple[bytes, bytes]]) -> list[bytes]:
        """Store (key, record) pairs in one batch; an older version never replaces a newer one.

        Returns the keys that were refused as late.
        """
        if len(records) == 1:
            key, record = records[0]
            return [] if self.put_one(key, record, *head_of(record)) else [key]
        return self.settle(records)

    def _sift_locked(self, newest: dict[bytes, bytes]) -> list[bytes]:
        """Take what comes late out of a batch, and return its keys."""
        late = []
        for key, record in newest.items():
            version = head_of(record)[0]
            # Compared with the top before this batch: its own keys do not make others late.
            if version <= self._stripes[hash(key) & _MASK].top and self._is_late_locked(
                key, version, self._peek(key)
            ):
                late.append(key)
        for key in late:
            del newest[key]
        for key, record in newest.items():
            stripe = self._stripes[hash(key) & _MASK]
            stripe.top = max(stripe.top, head_of(record)[0])
        return late

    def swap(
        self, key: bytes, old: bytes | None, new: bytes | None, version: int, expires_ms: int
    ) -> bool:
        """Replace exactly this live record (None: none), in one step; tell whether it was there.

        With None for `new` the key is dropped, at a version that is drawn here.
        """
        self._budget -= len(new or b"")
        if self._budget < 0:
            self._ask_space()
        stripe = self._stripes[hash(key) & _MASK]
        while True:
            with self._lock:
                try:
                    found = self._uncleared_locked(key, self.fetch(key))
                    if (None if found is None else self._live(found)) != old:
                        return False
                    if new is not None and version <= self._clears.last_locked(key):
                        return False  # drawn before a clear that may still walk
                    if new is None:
                        stripe.bury_locked(key, self.versions.next())
                    elif version > stripe.top:
                        stripe.top = version
                    if self._change_locked(key, found, new, expires_ms):
                        return True
                except Exception as error:
                    raise translate(error) from error
            self._make_room(key, new)

    def drop(self, keys: list[bytes], version: int = 0) -> list[bool]:
        """Remove keys; return, for each, whether a live record was there.

        Without a version, whatever is there goes, and what was begun before comes late.  With one,
        a newer record stays.  A stale record goes, too, but was not live.
        """
        with self._lock:
            buried = version or self.versions.next()
            for key in keys:
                self._stripes[hash(key) & _MASK].bury_locked(key, buried)
            gone: dict[bytes, tuple[bytes, int, int]] = {}
            answers = []
            for key in keys:
                # One at a time: a batch of large records would be in memory all at once.
                record = None if key in gone else self._peek(key)
                if record is None or (version and head_of(record)[0] > version):
                    answers.append(False)
                    continue
                live = self._live(record) is not None
                answers.append(live and not is_stale(record, self.wall()))
                gone[key] = traces_of(record)
            if gone:
                self._forget_locked(gone)
        return answers

    def clear(self, start: bytes, stop: bytes) -> None:
        """Remove all keys from `start` to before `stop`; what was begun before comes late."""
        with self._lock:
            self._clears.add_locked(start, stop, self.versions.next())
            self.rocks.delete_range("data", start, stop)

    def _uncleared_locked(self, key: bytes, found: bytes | None) -> bytes | None:
        """Remove what a clear has not come to yet."""
        if found is None or head_of(found)[0] > self._clears.last_locked(key):
            return found
        if not self._clears.last_locked(key):  # too short to have a version
            return found
        self._forget_locked({key: traces_of(found)})
        return None

    def _peek(self, key: bytes) -> bytes | None:
        """Return what is stored; not a use of it."""
        try:
            return self.rocks.get_data(key)
        except Exception as error:
            raise translate(error) from error

    def _is_late_locked(self, key: bytes, version: int, found: bytes | None) -> bool:
        """Tell whether a version, not above the top, is older than what is stored or was dropped.

        Who draws a version next gets one that is newer.
        """
        stripe = self._stripes[hash(key) & _MASK]
        limit = max(stripe.floor, stripe.dropped.get(key, -1), self._clears.last_locked(key))
        if found is not None:
            limit = max(limit, head_of(found)[0] - 1)
        if version > limit:
            return False
        with suppress(ValueError):  # a version that no clock has given
            self.versions.observe(limit + 1)
        return True

    def _change_locked(
        self, key: bytes, found: bytes | None, new: bytes | None, expires_ms: int
    ) -> bool:
        """Put `new` in the place of `found`, in one batch.  False: there is no room."""
        changes: list[tuple[str, bytes, bytes | None]] = [("data", key, new)]
        changes += self._index_locked(key, found, expires_ms)
        self.rocks.write(changes)
        return True

    def _forget_locked(self, gone: dict[bytes, tuple[bytes, int, int]]) -> None:
        """Delete keys, whose records have left these traces."""
        changes: list[tuple[str, bytes, bytes | None]] = [("data", key, None) for key in gone]
        for key, (_, _, expires) in gone.items():
            if expires:
                changes.append(("expiry", expires.to_bytes(8, "big") + key, None))
        self.rocks.write(changes)

    def _make_room(self, key: bytes, record: bytes | None) -> None:
        """Have space for a record: without a bound there always is."""

    # --- walking ---------------------------------------------------------------------------------

    def scan(self, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the live keys that begin with a prefix, in order; weakly consistent."""
        for entries in self.slices(prefix):
            for key, _ in entries:
                yield key

    def slices(self, prefix: bytes = b"") -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield the live (key, record) pairs whose key begins with a prefix, in order, in lists.

        A list has at most 200 pairs, and ends with the one that makes 1 MiB full.
        """
        start, stop = prefix, after(prefix)
        while True:
            damage = None
            try:
                found = self.rocks.items("data", start, stop, SLICE, MOST_BYTES)
            except IntegrityError as error:
                damage, found = error, getattr(error, "found", [])
            if found:
                now = self.wall()
                yield [entry for entry in found if not 0 < head_of(entry[1])[1] <= now]
                start = found[-1][0] + b"\0"
            if damage is not None:
                raise damage
            if not found:
                return

    # --- expiry ----------------------------------------------------------------------------------

    def sweep(self, limit: int = SLICE) -> int:
        """Remove at most `limit` of what has expired; return how much was due.

        It begins where the last one ended: RocksDB walks over what was deleted before.
        """
        with self._lock:
            now = self.wall()
            start = self._swept
            due = self.rocks.keys("expiry", start, (now + 1).to_bytes(8, "big"), limit)
            if not due:
                return 0
            gone = {}
            for key in {entry[8:]: None for entry in due}:
                record = self._peek(key)
                # It may have been rewritten since, with another expiry or none.
                if record is not None and 0 < head_of(record)[1] <= now:
                    gone[key] = traces_of(record)
            if gone:
                self._forget_locked(gone)
                self.expirations += len(gone)
            self.rocks.write([("expiry", entry, None) for entry in due])
            if self._swept == start:
                self._swept = due[-1] + b"\0"
        return len(due)

    def tick(self) -> bool:
        """Do what is due in the background; tell whether there will be more."""
        while self.sweep() == SLICE and not self.sweeper.stopping:
            pass
        return bool(self.rocks.keys("expiry", self._swept, None, 1))

    def _index_locked(
        self, key: bytes, found: bytes | None, expires_ms: int
    ) -> list[tuple[str, bytes, bytes | None]]:
        """Return what changes in the index of expiries, if `found` is replaced."""
        changes: list[tuple[str, bytes, bytes | None]] = []
        old = 0 if found is None else head_of(found)[1]
        if old and old != expires_ms:
            changes.append(("expiry", old.to_bytes(8, "big") + key, None))
        if expires_ms:
            entry = expires_ms.to_bytes(8, "big") + key
            if entry < self._swept:
                self._swept = entry
            self.sweeper.need()
            changes.append(("expiry", entry, b""))
        return changes

    # --- the end ---------------------------------------------------------------------------------

    def compact(self) -> None:
        """Give the space of what was removed back to the disk."""
        self.rocks.flush()
        self.rocks.compact()

    def size_on_disk(self) -> int:
        """Return the bytes of all files of the database."""
        return self.rocks.live_bytes()

    def entries(self) -> int:
        """Return about how many records are stored."""
        return self.rocks.estimate("data")

    def total_size(self) -> int:
        """Return the bytes of keys and records, about."""
        return self.rocks.live_bytes()

    def close(self) -> None:
        """Stop the sweep and close the store.  A second time, nothing happens.

        From a destructor or a handler inside of the tier it is done when the tier is left.
        """
        if self.is_inside():
            later(self.close)
            return
        self.sweeper.stop()
        with self._lock:
            if not self.is_open:
                return
            self.is_open = False
            try:
                if self.store.writable:
                    self._close_count()
            finally:
                self.fetch = self._put = self._journal = CLOSED.refuse
                # What is written from here on would not be counted.
                self.rocks = CLOSED
        self.store.close()

    def is_inside(self) -> bool:
        """Tell whether this very thread is at work in the tier, and holds its lock."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]

    def _close_count(self) -> None:
        """Keep for the next opening what was counted."""
