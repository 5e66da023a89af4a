"""One open database per path and process, shared by all caches that name it.

`open_store` gives each opener a `Store` of its own; behind those of one path is one `_Database`,
closed when the last of them is.  Cost: two locks to open or close, nothing for a read: a tier takes
`store.rocks` and calls that.

A process that is forked loses the database: RocksDB's threads are gone in the child, and a write
there would go into the parent's files.  So in the child every store is detached before any other
code runs: `rocks` is None, `mode` is "detached", and what was given to `on_detach` is called, so
that a tier can put methods that miss in place of those of RocksDB.  What was open is leaked on
purpose.  The same for a secondary.  At the end of the interpreter, what is still open is closed.

Once a write to the log has failed, as on a full disk, RocksDB refuses all later ones for good, also
where there is room again.  Then a thread tries to open the database anew, every 6 s at least.

Locks: `_places_lock` guards the table `_places` and is held for that only; `_Place.lock` guards
what is open at one path, and opening and closing happen under it.  A place's lock comes first.
`_Database._writing` comes last: one thread at a time writes the sentinel.
Places are never removed from the table: 400 bytes per path.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, get_args

from frys_cache.errors import CacheError, ConfigurationError, TierLockedError, TierUnavailable
from frys_cache.tiers import sentinel
from frys_cache.tiers.handle import Rocks, Secondary, stuck_listeners
from frys_cache.tiers.opening import (
    Opened,
    close_primary,
    copy_to,
    forget_locks,
    open_primary,
    open_secondary,
    resolve,
)
from frys_cache.tiers.reserve import ASK_NOW, MIB, Reserve
from frys_cache.types import Clock

__all__ = ["Store", "open_store"]

log = logging.getLogger("frys_cache")

OnLocked = Literal["raise", "memory-only", "secondary"]
OnCorrupt = Literal["quarantine", "raise"]
Mode = Literal["primary", "secondary", "memory-only", "detached", "closed"]

# A secondary looks for what the owner wrote at most so often, in seconds.
CATCH_UP_EVERY: Final = 0.1

# What the directory of a secondary is called, before its process id.
SCRATCH: Final = "frys-secondary-"

# How soon it is tried to open anew what refuses all writes, in seconds, and how often in the end.
MEND_EVERY: Final = 1.0
MEND_AT_LEAST_EVERY: Final = 6.0


class _Database:
    """What is open at one path, and for how many openers."""

    def __init__(
        self,
        path: str,
        mode: Mode,
        opened: Opened | None,
        scratch: str | None,
        reserve: Reserve,
    ) -> None:
        self.path: Final = path
        self.reserve: Final = reserve
        self.mode: Mode = mode
        self.opened = opened
        self.rocks: Rocks | None = opened.rocks if opened else None
        self.scratch = scratch
        self.openers = 0
        self.caught_up_at = float("-inf")
        self.caught_up_with: frozenset[tuple[str, int]] | None = None
        self.noted: object = None
        # Held while the sentinel is written; what closes the files then waits.  It may be taken
        # again: a signal handler may close what its own thread is noting.  Taken by `with` alone,
        # which no interrupt can come in between.
        self._writing = threading.RLock()

    def note(self) -> None:
        """Keep in the sentinel how long the MANIFEST and the logs are, if they have changed."""
        if self.mode != "primary":
            return
        with self._writing:
            opened = self.opened
            seen = sentinel.look(self.path)
            now = seen.manifest, seen.manifest_size, seen.logs
            if opened is None or now == self.noted or seen.manifest_size < 0:
                return
            self.noted = now
            seen.generation = opened.generation
            with contextlib.suppress(OSError, CacheError):
                seen.sequence = opened.rocks.sequence()
                sentinel.write(self.path, seen)

    def mend(self) -> bool:
        """Open the database anew if it refuses all writes; return whether it is still stuck.

        Only where there is room for what that writes, the tables of the logs.
        """
        rocks = self.rocks
        if rocks is None or self.mode != "primary" or not rocks.is_stuck():
            return False
        try:
            self.reserve.check(ASK_NOW, sum(sentinel.look(self.path).logs.values()) + MIB)
            try:
                rocks.reopen(lambda: self._renew(rocks))
            finally:
                self.note()  # closing has cut off what a failed write left in the log
        except CacheError as error:
            log.debug("%r cannot be written yet: %s", self.path, error)
            return True
        log.warning("%r had refused all writes and was opened anew", self.path)
        return False

    def _renew(self, rocks: Rocks) -> None:
        """Have all that borrowed methods of RocksDB borrow them anew."""
        for store in list(_stores):
            if store._database is self:
                for renew in store._live(store._renewers):
                    renew(rocks)

    def close(self) -> None:
        """Close the files; raises what RocksDB says, and they are closed all the same."""
        with self._writing:
            opened, self.opened, self.rocks = self.opened, None, None
            mode, self.mode = self.mode, "closed"
        try:
            if opened is not None and mode == "primary":
                close_primary(opened, self.path)
            elif opened is not None:
                opened.rocks.close()
        finally:
            if self.scratch is not None:
                shutil.rmtree(self.scratch, ignore_errors=True)

    def detach(self) -> None:
        """Leave the files to the parent of this forked process."""
        rocks = self.rocks
        self._writing = threading.RLock()
        self.opened = self.rocks = None
        if self.mode != "closed":
            self.mode = "detached"
        if rocks is not None:
            rocks.abandon()


class _Place:
    """What is open at one path: perhaps for writing, perhaps as a secondary."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.primary: _Database | None = None
        self.secondary: _Database | None = None


_places: dict[str, _Place] = {}
_places_lock = threading.RLock()
_stores: weakref.WeakSet[Store] = weakref.WeakSet()


class Store:
    """One opener's share of a database; every method may be called from any thread."""

    def __init__(self, database: _Database, place: _Place, reserve: Reserve, clock: Clock) -> None:
        """Take a share that is already counted; `open_store` makes one."""
        self._database = database
        self._place = place
        self._reserve = reserve
        self._clock = clock
        self._listeners: list[Callable[[], Callable[[], Any] | None]] = []
        self._renewers: list[Callable[[], Callable[[Rocks], Any] | None]] = []
        self._closed = False
        opened = database.opened
        self.path: Final = database.path
        self.min_free_bytes: Final = reserve.min_free_bytes
        self.quarantined: Final = opened.quarantined if opened else None
        self.damage: Final = opened.damage if opened else None
        self.generation: Final = opened.generation if opened else 0
        _stores.add(self)

    @property
    def rocks(self) -> Rocks | None:
        """Return the open database, or None: memory-only, detached by a fork, or closed."""
        return None if self._closed else self._database.rocks

    @property
    def mode(self) -> Mode:
        """Return what this store is now."""
        return "closed" if self._closed else self._database.mode

    @property
    def writable(self) -> bool:
        """Return whether writes reach the disk."""
        return self.mode == "primary"

    def on_detach(self, listener: Callable[[], Any]) -> None:
        """Call a bound method, held weakly, in a child that is forked, once `rocks` is None."""
        self._listeners.append(weakref.WeakMethod(listener))

    def on_renewed(self, listener: Callable[[Rocks], Any]) -> None:
        """Call a bound method, held weakly, once `rocks` has been opened anew: see `Rocks`."""
        self._renewers.append(weakref.WeakMethod(listener))

    @staticmethod
    def _live(references: list[Any]) -> list[Any]:
        return [listener for one in references if (listener := one()) is not None]

    def refresh(self) -> None:
        """See what the owner wrote, if this is a secondary that has not looked for 100 ms.

        Costs 20 ms if the owner has written anything, for RocksDB then reads the log anew, and
        100 us if not.
        """
        database = self._database
        rocks = database.rocks
        if not isinstance(rocks, Secondary):
            return
        now = self._clock()
        if now - database.caught_up_at >= CATCH_UP_EVERY:
            database.caught_up_at = now
            try:
                grown = sentinel.growth(database.path)
            except OSError:  # a file has just been removed
                grown = None
            if grown is None or grown != database.caught_up_with:
                rocks.catch_up()
                database.caught_up_with = grown

    def check_space(self, written_bytes: int = 0) -> None:
        """Raise TierUnavailable where the file system has too little room for more writes."""
        if self._reserve.check(written_bytes):
            self._database.note()

    def check_space_now(self) -> None:
        """Raise TierUnavailable where the file system has too little room at this moment."""
        self._reserve.check(ASK_NOW)

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Make a copy of the database in the new directory `path`; see `opening.copy_to`."""
        rocks = self.rocks
        if rocks is None:
            raise TierUnavailable(
                f"cannot make a snapshot at {path!r}: this process has no database"
            )
        copy_to(rocks, path, self.generation)

    def note(self) -> None:
        """Bring the sentinel up to date, as after a flush."""
        self._database.note()

    def close(self) -> None:
        """Give the share back; the last one closes the files.  A second call does nothing.

        Raises TierUnavailable or IntegrityError where an earlier write in the background had
        failed; the files are closed and their lock is released all the same.
        """
        if self._database.mode == "detached":
            self._closed = True
            return
        with self._place.lock:
            if self._closed:
                return
            self._closed = True
            _stores.discard(self)
            database = self._database
            database.openers -= 1
            if database.openers or database.mode == "closed":
                return
            if self._place.primary is database:
                self._place.primary = None
            if self._place.secondary is database:
                self._place.secondary = None
            database.close()

    def __del__(self) -> None:
        """Close what was forgotten."""
        # An opening that failed has nothing to close.
        if getattr(self, "_closed", True):
            return
        with contextlib.suppress(CacheError):
            self.close()


def open_store(
    path: str | os.PathLike[str],
    *,
    on_locked: OnLocked = "raise",
    on_corrupt: OnCorrupt = "quarantine",
    min_free_bytes: int | None = None,
    clock: Clock = time.monotonic,
) -> Store:
    """Open the database in the directory `path`, or share the one this process has open there.

    on_locked: where another process has it, "raise", "memory-only" (nothing is stored), or
        "secondary" (only reads, beside the owner).
    on_corrupt: "quarantine" renames a damaged directory and starts empty (`Store.quarantined` says
        where it is, `Store.damage` what was wrong), "raise" refuses to open it.
    min_free_bytes: how much room must stay free on the file system; None for a reserve of 1 %.
    Raises TierLockedError, IntegrityError, TierUnavailable, ConfigurationError.
    """
    _one_of("on_locked", on_locked, OnLocked)
    _one_of("on_corrupt", on_corrupt, OnCorrupt)
    real = resolve(path)
    reserve = Reserve(real, min_free_bytes, clock=clock)
    with _places_lock:
        place = _places.setdefault(real, _Place())
    with place.lock:
        database = _share(place.primary)
        if database is None:
            try:
                database = place.primary = _counted(
                    _Database(real, "primary", open_primary(real, on_corrupt), None, reserve)
                )
            except TierLockedError:
                if on_locked == "raise":
                    raise
                if on_locked == "memory-only":
                    database = _counted(_Database(real, "memory-only", None, None, reserve))
                else:
                    database = _share(place.secondary)
                    if database is None:
                        database = place.secondary = _secondary(real, reserve)
        return Store(database, place, reserve, clock)


def _one_of(name: str, value: object, kind: Any) -> None:
    """Raise ConfigurationError unless a value is one of those that a Literal names."""
    allowed = get_args(kind)
    if value not in allowed:
        choices = " or ".join(map(repr, allowed))
        raise ConfigurationError(f"{name} must be {choices}, not {value!r}")


def _counted(database: _Database) -> _Database:
    """Return the database with one opener more."""
    database.openers += 1
    return database


def _share(database: _Database | None) -> _Database | None:
    """Return a database with one opener more, or None if there is none.

    Counting first matters: the collector may close the last forgotten store at any moment.
    """
    if database is None:
        return None
    database.openers += 1
    return None if database.mode == "closed" else database


def _secondary(path: str, reserve: Reserve) -> _Database:
    """Open a database beside its owner, with a directory for what RocksDB must write."""
    _remove_leftovers()
    scratch = tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-")
    try:
        opened = open_secondary(path, scratch)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return _counted(_Database(path, "secondary", opened, scratch, reserve))


def _remove_leftovers() -> None:
    """Remove what secondaries of processes that were killed have left, if it is ours."""
    for left in Path(tempfile.gettempdir()).glob(SCRATCH + "*"):
        pid = left.name.removeprefix(SCRATCH).partition("-")[0]
        try:
            if left.is_symlink() or left.stat().st_uid != os.getuid():
                continue
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (OSError, ValueError, OverflowError):  # another's, or no number
            continue


def _databases() -> list[_Database]:
    """Return everything that is open in this process."""
    return [
        database
        for place in list(_places.values())
        for database in (place.primary, place.secondary)
        if database is not None
    ]


def _close_all() -> None:
    """Close everything at the end of the interpreter, while threads still run."""
    _mender.end()
    for place in list(_places.values()):
        with place.lock:
            for database in (place.primary, place.secondary):
                if database is not None:
                    with contextlib.suppress(CacheError):
                        database.close()
            place.primary = place.secondary = None


def _detach_all() -> None:
    """Leave everything to the parent, in a child that was just forked: there is one thread."""
    global _places_lock, _mender
    _mender = _Mender()
    stores = list(_stores)
    _places_lock = threading.RLock()
    forget_locks()
    for database in _databases():
        database.detach()
    for place in _places.values():
        place.lock = threading.RLock()
        place.primary = place.secondary = None
    for store in stores:
        for listener in store._live(store._listeners):
            listener()


class _Mender:
    """One thread that opens anew what is stuck, while there is any; it begins when it is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._told = self._ended = False

    def tell(self) -> None:
        """Begin, if that has not been done; from any thread and under any lock."""
        # Whoever has the lock begins or goes on after it.
        self._told = True
        if self._ended or not self._lock.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="frys-mend", daemon=True)
                self._thread.start()
        except RuntimeError:  # no thread can be started now; the next failing write tries again
            self._thread = None
        finally:
            self._lock.release()

    def end(self) -> None:
        """Begin nothing any more."""
        self._ended = True

    def _run(self) -> None:
        delay = MEND_EVERY
        while not self._ended:
            time.sleep(delay)
            delay = min(delay * 2, MEND_AT_LEAST_EVERY)
            self._told = False
            stuck = False
            for place in list(_places.values()):
                with place.lock:
                    if place.primary is not None and not self._ended:
                        stuck = place.primary.mend() or stuck
            with self._lock:
                if not stuck and not self._told:
                    self._thread = None
                    return


_mender = _Mender()
stuck_listeners.append(lambda: _mender.tell())
atexit.register(_close_all)
os.register_at_fork(after_in_child=_detach_all)
