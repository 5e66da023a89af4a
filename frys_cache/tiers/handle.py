"""The handle of an open RocksDB: its families of bytes, their batches, scans and errors.

`get_data`, `put_data` and `put_journal` are bound methods of rocksdict's handle, so a read has no
frame of ours; they raise its bare `Exception`, for `translate`.  A plain put costs 5 us, a batch 9.

Calls that let other threads run or hold an iterator keep the files locked until they end, so they
are counted in `_inside`, and `close` waits for them.  `_door` guards that count and `_handle`; no
other lock is taken while it is held.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, cast

from frys_cache.errors import (
    CacheClosed,
    CacheError,
    ConfigurationError,
    IntegrityError,
    NoSpace,
    TierLockedError,
    TierUnavailable,
)

__all__ = ["FAMILIES", "MIB", "Rocks", "Secondary", "stuck_listeners", "translate"]

MIB: Final = 1024 * 1024

# What each family may keep in memory before it becomes a file: nearly all bytes are in "data".
FAMILIES: Final = {
    "data": 32 * MIB,
    "expiry": 8 * MIB,
    "order": 8 * MIB,
    "journal": 16 * MIB,
    "meta": 1 * MIB,
}

# How long, in seconds, closing waits for the calls of other threads.
LONGEST_WAIT: Final = 5.0

# What the log says for ever once a write to it has failed.
STUCK: Final = "Writer has previous error"
READS_ONLY: Final = "in read only mode"

# Called with no argument, by any thread, after an error of the disk; they must not raise.
stuck_listeners: Final[list[Callable[[], Any]]] = []


def _refuse(_data: bytes) -> Any:
    """Stand in for rocksdict's unpickling, which the raw mode never calls."""
    raise IntegrityError("a persistent tier holds bytes only; this value claims to be an object")


def translate(error: BaseException) -> CacheError:
    """Return the typed error for one of rocksdict, which says what it is in its text only."""
    if isinstance(error, CacheError):
        return error
    text = str(error)
    if ("IO error" in text or READS_ONLY in text) and "/LOCK" not in text:
        for listener in stuck_listeners:
            listener()
    if type(error).__name__ == "DbClosedError" or "Shutdown in progress" in text:
        return CacheClosed("the persistent tier has been closed")
    if "lock hold by current process" in text or "/LOCK: Resource temporarily" in text:
        return TierLockedError(f"another opener holds the persistent tier ({text})")
    if STUCK in text or READS_ONLY in text:
        return NoSpace(
            f"an earlier write has failed, as on a full disk ({text}); the database is opened anew "
            "within seconds once there is room"
        )
    if "No space left" in text or "Disk quota exceeded" in text:
        return NoSpace(f"no space: {text}")
    if text.startswith("Corruption") or "Corruption:" in text:
        return IntegrityError(text)
    if "Column families not opened" in text or "does not match existing comparator" in text:
        return ConfigurationError(f"the directory holds the database of another program: {text}")
    return TierUnavailable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


class Rocks:
    """An open database; every method may be called from any thread."""

    get_data: Callable[[bytes], bytes | None]
    put_data: Callable[[bytes, bytes], None]
    put_journal: Callable[[bytes, bytes], None]

    def __init__(self, library: Any, opener: Callable[..., Any], path: str) -> None:
        """Open a handle of rocksdict; `open_rocks` says how."""
        self.path: Final = path
        self._batch = library.WriteBatch
        self._checkpoint = library.Checkpoint
        self._opener = opener
        self._reader = lambda: opener(library.AccessType.read_only(False))
        self._door = threading.Condition(threading.RLock())
        self._inside = 0
        self._compacting = 0
        self._handle: Any = None
        self._away: CacheError | None = None
        self._reopening = False
        self._views: dict[str, Any] = {}
        self._families: dict[str, Any] = {}
        self._take_handle()

    def _take_handle(self, opener: Callable[[], Any] | None = None) -> None:
        """Open the database; what was open before goes with its last reader."""
        try:
            handle = (opener or self._opener)()
            views = {name: handle.get_column_family(name) for name in FAMILIES}
            families = {name: handle.get_column_family_handle(name) for name in FAMILIES}
        except Exception as error:
            raise translate(error) from error
        for one in (handle, *views.values()):
            one.set_loads(_refuse)
        self._families, self._views, self._handle = families, views, handle
        self.get_data, self.put_data = views["data"].get, views["data"].put
        self.put_journal = views["journal"].put

    def get_data_list(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the values of many keys of "data", None where absent; lets other threads run."""
        self._enter()
        try:
            return cast(list[bytes | None], self._view("data").get(keys))
        except Exception as error:
            raise translate(error) from error
        finally:
            self._leave()

    def get(self, family: str, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        try:
            return cast(bytes | None, self._view(family).get(key))
        except Exception as error:
            raise translate(error) from error

    def write(self, changes: Iterable[tuple[str, bytes, bytes | None]]) -> None:
        """Make all of the changes or none; None for a value deletes the key."""
        self._open()
        batch = self._batch(raw_mode=True)
        try:
            # The handles get no name here: the frame of an error that is kept would keep the lock.
            for family, key, value in changes:
                if value is None:
                    batch.delete(key, self._families[family])
                else:
                    batch.put(key, value, self._families[family])
            self._open().write(batch)
        except KeyError as error:
            self._open()
            if error.args[0] in FAMILIES:
                raise TierUnavailable(f"{self.path!r} was opened anew meanwhile") from None
            raise
        except Exception as error:
            raise translate(error) from error

    def put_journal_all(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Put many records into the journal, all or none."""
        self.write(("journal", key, value) for key, value in records)

    def items(
        self,
        family: str,
        start: bytes,
        stop: bytes | None,
        limit: int,
        most_bytes: int = 1 << 62,
    ) -> list[tuple[bytes, bytes]]:
        """Return at most `limit` pairs in key order, from `start` to before `stop`.

        Raises IntegrityError where a damaged block ends the walk, where RocksDB itself would just
        stop; its `.found` is the list of what came before.
        """
        left = most_bytes

        def take(at: Any) -> tuple[tuple[bytes, bytes], bool]:
            nonlocal left
            value = at.value()
            left -= len(value)
            return (at.key(), value), left > 0

        return self._slice(family, start, stop, limit, take)

    def keys(self, family: str, start: bytes, stop: bytes | None, limit: int) -> list[bytes]:
        """Return at most `limit` keys in order, as `items` does."""
        return self._slice(family, start, stop, limit, lambda at: (at.key(), True))

    def _slice(
        self, family: str, start: bytes, stop: bytes | None, limit: int, take: Callable[[Any], Any]
    ) -> list[Any]:
        """Walk at most `limit` entries; the iterator, which keeps the files open, ends here."""
        found: list[Any] = []
        at: Any = None
        self._enter()
        try:
            at = self._view(family).iter()
            at.seek(start)
            more = True
            while more and len(found) < limit and at.valid():
                if stop is not None and at.key() >= stop:
                    break
                one, more = take(at)
                found.append(one)
                at.next()
            at.status()
        except Exception as error:
            damage = translate(error)
            # What was read before the damage is still good.
            damage.__dict__["found"] = found
            raise damage from error
        finally:
            at = None
            self._leave()
        return found

    def delete_range(self, family: str, start: bytes, stop: bytes) -> None:
        """Delete every key from `start` to before `stop`, in constant time."""
        self._call(lambda: self._view(family).delete_range(start, stop))

    def flush(self) -> None:
        """Write what is in memory to table files, so that opening has no log to replay."""
        self._call(lambda: [self._view(name).flush(True) for name in FAMILIES])

    def flush_wal(self) -> None:
        """Wait until every earlier write outlives a power cut: one fsync."""
        self._call(lambda: self._open().flush_wal(True))

    def compact(self) -> None:
        """Rewrite all files without what was deleted or replaced; takes seconds per GiB.

        Raises CacheClosed where `close` cut it short, IntegrityError where it met damage: then all
        later writes are refused, too.
        """
        self._compacting += 1
        try:
            self._call(lambda: [self._view(name).compact_range(None, None) for name in FAMILIES])
            # It does not say that it failed; after a failure even a write of nothing is refused.
            self.write([])
        finally:
            self._compacting -= 1

    def checkpoint(self, path: str) -> None:
        """Make a copy, of hard links where it can be, in the new directory `path`."""
        self._call(lambda: self._checkpoint(self._open()).create_checkpoint(path))

    def estimate(self, family: str = "data") -> int:
        """Return about how many keys a family has."""
        try:
            return int(self._view(family).property_int_value("rocksdb.estimate-num-keys") or 0)
        except Exception as error:
            raise translate(error) from error

    def sequence(self) -> int:
        """Return the number of the last change, which grows by 1 with each."""
        try:
            return int(self._open().latest_sequence_number())
        except Exception as error:
            raise translate(error) from error

    def live_bytes(self) -> int:
        """Return the size of all files in the directory, in bytes."""
        total = 0
        with os.scandir(self.path) as entries:
            for entry in entries:
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:  # a compaction removed it just now
                    continue
        return total

    def close(self) -> None:
        """Release the files and their lock; a second call does nothing.

        Waits for the calls that other threads are in, but cuts a compaction short.  Raises
        TierUnavailable or IntegrityError where an earlier background write had failed; the lock is
        released all the same.
        """
        problem = self._give_up()
        if problem is not None:
            raise translate(problem) from problem.with_traceback(None)

    def _give_up(self) -> BaseException | None:
        """Close the handles, whatever they say; return the first that they said."""
        with self._door:
            handle, self._handle = self._handle, None
            if handle is None:
                return None
            views, self._views = list(self._views.values()), {}
            self._families = {}
            problem: BaseException | None = None
            if self._compacting and self._inside:
                try:
                    for one in views:
                        one.flush(True)
                    handle.cancel_all_background(False)
                except Exception as error:  # noqa: BLE001 (it will be closed all the same)
                    problem = error
            self._door.wait_for(lambda: not self._inside, LONGEST_WAIT)
        # Each view keeps the files locked; the methods lent to others then say "closed".
        for one in (*views, handle):
            try:
                one.close()
            except Exception as error:  # noqa: BLE001 (the others must be closed all the same)
                if "Shutdown in progress" not in str(error):
                    problem = problem or error
        # Where closing failed, only the last reference releases the lock: none may be left, neither
        # here nor in the frame that the error carries.
        self.get_data = self.put_data = self.put_journal = _closed
        del handle, one
        views.clear()
        return None if problem is None else problem.with_traceback(None)

    def _get_late(self, key: bytes) -> bytes | None:
        """Wait for the handle that is being opened, and get."""
        return cast(bytes | None, self._view("data").get(key))

    def _put_late(self, key: bytes, value: bytes) -> None:
        """Wait for the handle that is being opened, and put."""
        self._view("data").put(key, value)

    def _journal_late(self, key: bytes, value: bytes) -> None:
        """Wait for the handle that is being opened, and put."""
        self._view("journal").put(key, value)

    def _wait_for_handle(self) -> None:
        """Have what comes now wait for the handle that is being opened."""
        self.get_data, self.put_data = self._get_late, self._put_late
        self.put_journal = self._journal_late

    def is_stuck(self) -> bool:
        """Return whether all writes are refused since one has failed."""
        try:
            self.write([("meta", b"stuck", None)])
        except TierUnavailable as error:
            return any(text in str(error) for text in ("IO error", READS_ONLY))
        return False

    def reopen(self, renew: Callable[[], Any]) -> None:
        """Close and open the files, which is all that helps where writes are stuck.

        Other threads wait meanwhile.  renew: called before and after; must take `get_data` and
        `put_data` anew, for what was lent before is closed.  Raises what the opening raises; then
        it is open for reading only, until another call succeeds.
        """
        with self._door:
            if self._handle is None and self._away is None:
                raise CacheClosed("the persistent tier has been closed")
            self._reopening = True
            try:
                self._door.wait_for(lambda: not self._inside, LONGEST_WAIT)
                self._wait_for_handle()
                renew()
                # What this returns is why it has to be closed.
                self._give_up()
                self._wait_for_handle()
                try:
                    self._take_handle()
                except CacheError as error:
                    self._away = error.with_traceback(None)
                    self._take_handle(self._reader)
                    raise
                finally:
                    renew()
                self._away = None
            finally:
                self._reopening = False
                self._door.notify_all()

    def abandon(self) -> None:
        """Forget the database in a forked child, without running any destructor, ever.

        What the parent has open stays as it is; here every method raises CacheClosed.
        """
        for one in (self._handle, *self._views.values(), *self._families.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(one))
        # Another thread of the parent may have held the lock.
        self._door = threading.Condition(threading.RLock())
        self._reopening, self._away = False, None
        self._handle = None
        self._views = {}
        self._families = {}
        self.get_data = self.put_data = self.put_journal = _closed

    def _call(self, act: Callable[[], Any]) -> None:
        """Do what must be over before the files can be closed."""
        self._enter()
        try:
            act()
        except Exception as error:
            raise translate(error) from error
        finally:
            self._leave()

    def _enter(self) -> None:
        """Begin a call that lets other threads run while it keeps the files open."""
        with self._door:
            self._door.wait_for(lambda: not self._reopening)
            self._open()
            self._inside += 1

    def _leave(self) -> None:
        """End such a call."""
        with self._door:
            self._inside -= 1
            if not self._inside:
                self._door.notify_all()

    def _view(self, family: str) -> Any:
        """Return the handle of a family."""
        try:
            return self._views[family]
        except KeyError:
            if self._views:
                raise
        self._open()
        return self._views[family]

    def _open(self) -> Any:
        """Return the handle of the whole."""
        handle = self._handle
        if handle is None:
            with self._door:  # where it is being opened anew, this waits
                handle = self._handle
                if handle is None and self._away is not None:
                    raise type(self._away)(*self._away.args)
        if handle is None:
            raise CacheClosed("the persistent tier has been closed")
        return handle


class Secondary(Rocks):
    """A database that another process writes.

    RocksDB adds what the log has to what it holds in memory, and looks there first.  Once the
    writer has made a table of a log and deleted it, a newer value in that table stays hidden behind
    the one from the log, perhaps for ever.  So where a log is gone, the database is opened anew,
    which costs 40 ms; and since handles change, a read goes through a frame of ours.
    """

    def __init__(self, library: Any, opener: Callable[..., Any], path: str) -> None:
        """Open a handle of rocksdict that only reads."""
        self._logs = self._logs_now(path)
        super().__init__(library, opener, path)

    def _take_handle(self, opener: Callable[[], Any] | None = None) -> None:
        super()._take_handle(opener)
        self.get_data = self._get_data

    def _get_data(self, key: bytes) -> bytes | None:
        return cast(bytes | None, self._view("data").get(key))

    def catch_up(self) -> None:
        """See what the writer wrote until now."""
        logs = self._logs_now(self.path)
        with self._door:
            self._open()
            if self._logs <= logs:
                self._call(lambda: self._open().try_catch_up_with_primary())
            else:
                self._take_handle()
            self._logs = logs

    @staticmethod
    def _logs_now(path: str) -> frozenset[str]:
        try:
            return frozenset(file.name for file in Path(path).glob("*.log"))
        except OSError as error:
            raise TierUnavailable(f"cannot list {path!r}: {error.strerror}") from error


def _closed(*_arguments: object) -> Any:
    """Stand in for a method of a handle that had to be given up."""
    raise CacheClosed("the persistent tier has been closed")
