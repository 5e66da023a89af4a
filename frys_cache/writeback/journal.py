"""What makes a write-back survive: one record per dirty key, which is all that is written first.

The family "journal" has, under the code of a key, the record of the codec, uncompressed: that is
done when it is sent, for it costs more than the write.  The first byte says what it is: that of a
record, whose formats begin with 0xF1, or 0x02, a dead letter, which has been tried often enough;
how often and why it failed comes before its record.  So a put copies nothing.  A journal record
goes in the very batch in which its value comes to "data".

Levels.  "process": the record is with the operating system when a put returns, so it survives a
`kill -9`.  "host": it is on the disk: all that wait share one fsync, of a thread that lets others
run meanwhile.  "memory": there is no journal, and a mark in "meta" says so as long as something
might be lost; who finds it at the next opening knows that nobody knows.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from frys_cache.errors import (
    Backpressure,
    CacheClosed,
    CacheError,
    ValueTooLarge,
    WriteUnknown,
)
from frys_cache.tiers.base import after
from frys_cache.writeback.signals import Signal
from frys_cache.writeback.turns import Turns

__all__ = ["GroupCommit", "Journal", "NoJournal", "Stored", "refused"]

DEAD: Final = b"\x02"
_SLICE: Final = 200
_MOST_BYTES: Final = 1 << 20
_MARK: Final = b"write-back:"
_LONGEST_ERROR: Final = 1_000


@dataclass(frozen=True, slots=True)
class Stored:
    """One journal record, read back.  attempts: 0 unless it is a dead letter."""

    code: bytes
    record: bytes
    is_dead: bool = False
    attempts: int = 0
    error: str = ""


def refused(error: CacheError) -> CacheError:
    """Return what a writer is told when the journal does not take its write."""
    if isinstance(error, (CacheClosed, Backpressure)):
        return error
    return Backpressure(f"the write was not taken, for its journal cannot be written: {error}")


def stored(code: bytes, value: bytes) -> Stored:
    """Return what a journal value says."""
    if value[:1] != DEAD:
        return Stored(code, value)
    attempts, length = int.from_bytes(value[1:5], "big"), int.from_bytes(value[5:7], "big")
    error = value[7 : 7 + length].decode("utf-8", "replace")
    return Stored(code, value[7 + length :], True, attempts, error)


def dead(record: bytes, attempts: int, error: str) -> bytes:
    """Return the journal value of a dead letter."""
    text = error[:_LONGEST_ERROR].encode("utf-8", "replace")
    return DEAD + attempts.to_bytes(4, "big") + len(text).to_bytes(2, "big") + text + record


class NoJournal:
    """Keep nothing but what has been sent: level "memory", with a tier or without one."""

    __slots__ = ("_mark", "_tier", "unknown")

    journals = False

    def __init__(self, tier: Any, prefix: bytes) -> None:
        self._tier = tier
        self._mark = _MARK + prefix
        self.unknown = False
        if tier is not None:
            self.unknown = tier.rocks.get("meta", self._mark) is not None

    def open(self) -> None:
        """Say that writes may be lost from now on."""
        if self._tier is not None:
            with suppress(CacheError):
                self._tier.rocks.write([("meta", self._mark, b"1")])

    def close(self) -> None:
        """Say that none is."""
        if self._tier is not None:
            with suppress(CacheError):
                self._tier.rocks.write([("meta", self._mark, None)])

    def put(self, code: bytes, record: bytes) -> None:
        """Write nothing."""

    def put_all(self, records: list[tuple[bytes, bytes]]) -> None:
        """Write nothing."""

    def bury(self, code: bytes, record: bytes, attempts: int, error: str) -> None:
        """Write nothing."""

    def forget(self, codes: Iterable[bytes]) -> None:
        """Write nothing."""

    def clear(self, prefix: bytes, stop: bytes) -> None:
        """Write nothing."""

    def stored(self, prefix: bytes) -> Iterator[Stored]:
        """Have nothing."""
        return iter(())

    def version(self, top: int) -> int:
        """Return a version that is not below any before."""
        return top if self._tier is None else int(self._tier.versions.next())

    def settle(self, puts: list[tuple[bytes, bytes]], deletes: list[tuple[bytes, int]]) -> None:
        """Have the tier keep what has been sent."""
        if self._tier is not None:
            self._settle(puts, deletes, [])

    def _settle(
        self,
        puts: list[tuple[bytes, bytes]],
        deletes: list[tuple[bytes, int]],
        also: list[tuple[str, bytes, bytes | None]],
    ) -> None:
        try:
            self._tier.settle(puts, deletes, also)
        except ValueTooLarge:
            # Too much for the bound of the tier: it goes one by one, and what is too large alone
            # leaves nothing older there.
            size = self._tier.max_size_bytes
            fits = [one for one in puts if len(one[0]) + len(one[1]) <= size]
            large = [one for one in puts if len(one[0]) + len(one[1]) > size]
            for one in fits:
                self._tier.settle([one])
            drops = [(code, int.from_bytes(record[4:12], "big")) for code, record in large]
            self._tier.settle([], [*deletes, *drops], also)


class Journal(NoJournal):
    """The journal of one namespace, in the database of a `DiskTier`.

    Every method is called under the lock of the dirty map, and raises what the tier raises, but
    `put` and `put_all`, which raise Backpressure.
    """

    __slots__ = ()

    journals = True

    def open(self) -> None:
        """Say nothing: nothing will be lost."""
        if self.unknown:
            self.close()

    def put(self, code: bytes, record: bytes) -> None:
        """Keep one operation."""
        try:
            self._tier.put_journal(code, record)
        except CacheError as error:
            raise refused(error) from error

    def put_all(self, records: list[tuple[bytes, bytes]]) -> None:
        """Keep many, all or none."""
        try:
            self._tier.write_journal(records)
        except CacheError as error:
            raise refused(error) from error

    def bury(self, code: bytes, record: bytes, attempts: int, error: str) -> None:
        """Keep an operation as a dead letter."""
        self._tier.put_journal(code, dead(record, attempts, error))

    def forget(self, codes: Iterable[bytes]) -> None:
        """Keep nothing of these codes."""
        self._tier.rocks.write([("journal", code, None) for code in codes])

    def clear(self, prefix: bytes, stop: bytes) -> None:
        """Keep nothing from `prefix` to before `stop`."""
        self._tier.rocks.delete_range("journal", prefix, stop)

    def stored(self, prefix: bytes) -> Iterator[Stored]:
        """Yield what is kept; IntegrityError where that cannot be read.

        Nothing where another process writes the database: it will send what is there.
        """
        if not self._tier.store.writable:
            return
        start, stop = prefix, after(prefix)
        while True:
            found = self._tier.rocks.items("journal", start, stop, _SLICE, _MOST_BYTES)
            if not found:
                return
            for code, value in found:
                yield stored(code, value)
            start = found[-1][0] + b"\0"

    def settle(self, puts: list[tuple[bytes, bytes]], deletes: list[tuple[bytes, int]]) -> None:
        """Move what has been sent from the journal to the data, in one batch."""
        codes = [code for code, _ in puts] + [code for code, _ in deletes]
        self._settle(puts, deletes, [("journal", code, None) for code in codes])


class GroupCommit:
    """One fsync for all that wait for one: level "host".  Safe from any thread."""

    __slots__ = ("__weakref__", "_lock", "_next", "_tier", "_turns")

    def __init__(self, tier: Any) -> None:
        self._tier = tier
        self._lock = threading.RLock()  # guards _next
        self._next: Signal | None = None
        self._turns = Turns(self, "frys-cache group commit")

    def join(self) -> Signal:
        """Return what ends when all that was written before is on the disk."""
        with self._lock:
            signal = self._next
            if signal is None:
                signal = self._next = Signal()
        self._turns.ring()
        return signal

    def turn(self) -> float | None:
        """Wait for the disk on behalf of all who have joined."""
        with self._lock:
            signal, self._next = self._next, None
        if signal is None:
            return None
        try:
            self._tier.rocks.flush_wal()
        except CacheError as error:
            signal.fail(WriteUnknown(f"written, and perhaps not to the disk: {error}"))
        else:
            signal.land()
        return None  # who has joined since has rung

    def stop(self) -> None:
        """End the thread; who waits is told."""
        self._turns.stop(0.5)
        with self._lock:
            signal, self._next = self._next, None
        if signal is not None:
            signal.fail(CacheClosed("the cache has been closed"))
