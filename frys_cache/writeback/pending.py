"""What a write-back holds: its parts, what an earlier process has left, flushes, and the end.

An operation leaves in one of four ways: it is sent, it becomes a dead letter, a newer one of its
key replaces it, or a clear removes it.  Nothing else removes one: what is left at the end stays in
the journal, and is read back by the next to open it.

A cache that is forgotten sends what it can in a thread, and one that is open at the end of the
interpreter does so there, both for some seconds.  A forked child has none of it: what its parent
has not sent is the parent's.
"""

from __future__ import annotations

import atexit
import os
import random
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from frys_cache.errors import (
    CacheError,
    CacheTimeout,
    ConfigurationError,
    DeadlockError,
)
from frys_cache.tiers.base import after
from frys_cache.tiers.face import SyncFace, run_sync
from frys_cache.tiers.sweeper import later
from frys_cache.writeback.dirty import Dirty, Op, Waiting
from frys_cache.writeback.flusher import Dead, Flusher
from frys_cache.writeback.journal import GroupCommit, Journal, NoJournal
from frys_cache.writeback.kept import DeadLetter, Kept
from frys_cache.writeback.signals import Signal

__all__ = ["FlushReport", "Pending"]

Durability = Literal["process", "host", "memory"]
MIB: Final = 1 << 20
_EXIT_S: Final = 5.0
_FORGOTTEN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What became of the writes that a flush has found: sent, set aside, still to be sent."""

    written: int
    dead: int
    left: int


class Pending(Kept):
    """Writes that are still to be sent.  `WriteBack` says what the arguments are."""

    __slots__ = (
        "__weakref__",
        "_bounds",
        "_closed",
        "_commit",
        "_encode",
        "_log",
        "_options",
        "_pid",
        "_place",
        "_put_timeout",
        "durability",
        "find",
        "unknown",
    )

    find: Callable[[Any], Op | None]
    """Return the write of a code that is still to be sent, or was set aside; or None."""

    def __init__(
        self,
        *,
        codec: Any,
        tier: Any,
        send: Callable[[list[Op], list[Op]], object] | None,
        durability: Durability = "process",
        max_dirty_entries: int = 10_000,
        max_dirty_bytes: int = 64 * MIB,
        max_delay: float = 1.0,
        max_batch: int = 500,
        put_timeout: float = 5.0,
        max_attempts: int = 10,
        on_dead_letter: Callable[[DeadLetter], object] | None = None,
        on_event: Callable[[str, dict[str, Any]], object] | None = None,
        steady: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if durability not in ("process", "host", "memory"):
            raise ConfigurationError(
                f'durability must be "process", "host" or "memory", not {durability!r}'
            )
        if durability != "memory" and (tier is None or codec is None):
            raise ConfigurationError(
                f'durability={durability!r} needs a persistent tier; without one it is "memory"'
            )
        if tier is not None and codec is None:
            raise ConfigurationError("a write-back over a tier needs the codec of the tier")
        for name, value in (
            ("max_dirty_entries", max_dirty_entries),
            ("max_dirty_bytes", max_dirty_bytes),
            ("max_batch", max_batch),
            ("max_attempts", max_attempts),
        ):
            if type(value) is not int or value < 1:
                raise ConfigurationError(f"{name} must be an int >= 1, not {value!r}")
        self._codec = codec
        self._tier = tier
        self._encode = codec.encode_plain if codec is not None else None
        self.durability: Durability = durability
        self._bounds = max_dirty_entries, max_dirty_bytes
        self._put_timeout = put_timeout
        self._on_dead_letter = on_dead_letter
        self._steady = steady
        self._options: dict[str, Any] = {
            "send": send,
            "pack": codec.pack if tier is not None else None,
            "max_delay": max_delay,
            "max_batch": max_batch,
            "max_attempts": max_attempts,
            "on_event": on_event,
            "steady": steady,
            "draw": draw,
        }
        prefix = codec.prefix() if codec is not None else b""
        kind = NoJournal if durability == "memory" else Journal
        self._journal = kind(tier, prefix)
        self._log = None if durability == "memory" else tier
        self.unknown = self._journal.unknown
        self._begin()
        self._place = None if tier is None else (tier.store.path, prefix)
        if self._place is not None:
            self._flusher.wait_for([s for s, place in list(_left.items()) if place == self._place])
        self._journal.open()
        _all.add(self)
        _watch_exit()

    def _begin(self) -> None:
        """Have nothing to send: at first, and in a forked child."""
        self._pid = os.getpid()
        self._closed: Signal | None = None
        top = 0 if self._tier is None else self._tier.versions.last()
        self._dirty = Dirty(*self._bounds, top, self._steady)
        self.find = self._dirty.find
        told = weakref.WeakMethod(self._died)

        def on_dead(letter: Dead) -> None:
            tell = told()
            if tell is not None:
                tell(letter)

        self._flusher = Flusher(self._dirty, self._journal, on_dead=on_dead, **self._options)
        self._commit = GroupCommit(self._tier) if self.durability == "host" else None

    # --- what waits ------------------------------------------------------------------------------

    @property
    def entries(self) -> int:
        """Return how many writes are still to be sent."""
        return len(self._dirty.ops)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of their codes and records."""
        return self._dirty.size

    @property
    def waiting(self) -> float:
        """Return the age of the oldest in seconds, 0.0 if there is none; it looks at all."""
        since = [op.since for op in list(self._dirty.ops.values())]
        return max(0.0, self._steady() - min(since)) if since else 0.0

    # --- barriers --------------------------------------------------------------------------------

    def clear(self, prefix: bytes = b"") -> Signal | None:
        """Drop all writes, and dead letters, whose code begins so; what is older comes late.

        Without a codec it is all of them.  Returns what ends with the batch that is on its way, or
        None: that batch may bring one of these after this.  None, too, in the thread that sends,
        which would wait for itself.  Raises what the tier raises.
        """
        dirty, flusher = self._dirty, self._flusher
        stop = b"\xff" * 64
        if self._codec is None:
            prefix = stop = b""
        else:
            prefix = prefix or self._codec.prefix()
            stop = after(prefix) or stop
        ended: list[Signal] = []
        with dirty.lock:
            if stop:
                self._journal.clear(prefix, stop)
            gone = dirty.clear_locked(prefix, stop, self._journal.version(dirty.top))
            for op in gone:
                ended += dirty.count_locked(op)
            ended += dirty.freed_locked()
            letters = {
                code: letter
                for code, letter in list(flusher.dead.items())
                if not prefix or code.startswith(prefix)
            }
            for code in letters:
                flusher.dead.pop(code, None)
            on_its_way = None if flusher.turns.is_mine() else flusher.landing_locked()
        for signal in ended:
            signal.land()
        return on_its_way

    # --- flush and close -------------------------------------------------------------------------

    async def flush(self, face: Any, timeout: float | None = None) -> FlushReport:
        """Wait until all that was put before is sent or set aside.

        What waits for its next try is tried at once.  timeout: seconds; then CacheTimeout, which
        says how many are left.  DeadlockError in the thread that sends.
        """
        report = await self._flush(face, timeout)
        if report.left:
            raise CacheTimeout(
                f"{report.left} writes are still to be sent after {timeout} s, {report.written} "
                f"were sent and {report.dead} set aside; they stay and will be tried again"
            )
        return report

    async def _flush(self, face: Any, timeout: float | None) -> FlushReport:
        dirty = self._dirty
        if self._flusher.turns.is_mine():
            raise DeadlockError("a flush in the thread that sends would wait for itself")
        with dirty.lock:
            one = Waiting(list(dirty.ops.values()))
            if not one.left:
                return FlushReport(0, 0, 0)
            dirty.waiting.append(one)
        self._flusher.hurry()
        try:
            with suppress(CacheTimeout):
                await face.wait(one.end, timeout)
        finally:
            with dirty.lock:
                dirty.waiting = [other for other in dirty.waiting if other is not one]
        return FlushReport(one.written, one.dead, len(one.left))

    async def close(self, face: Any, timeout: float | None = 10.0) -> FlushReport:
        """Take no more writes, flush as long as `timeout`, and end the thread.

        What is left stays in the journal; at level "memory" it is lost.  A second call waits for
        the first one and returns the same.
        """
        dirty = self._dirty
        with dirty.lock:
            first = not dirty.closing
            dirty.closing = True
            if self._closed is None:
                self._closed = Signal()
            end = self._closed
        mine = self._flusher.turns.is_mine()
        if not first:
            if not mine:
                with suppress(CacheTimeout):
                    await face.wait(end, timeout)
            return end.result() if end.wait(0) else FlushReport(0, 0, self.entries)
        report = FlushReport(0, 0, self.entries)
        try:
            if not mine:
                report = await self._flush(face, timeout)
        finally:
            self._leave(self._flusher.end(0.0 if mine else 0.5))
            if self._commit is not None:
                self._commit.stop()
            if not dirty.ops and os.getpid() == self._pid:
                self._journal.close()
            _all.discard(self)
            end.land(report)
        return report

    def _leave(self, landing: Signal | None) -> None:
        """Have whoever opens the same place send nothing before this batch has ended."""
        if landing is not None and self._place is not None:
            _left[landing] = self._place
            landing.on_end(lambda: _left.pop(landing, None))

    def __del__(self) -> None:
        """Send what can be sent, in a thread: this one may hold any lock."""
        if not hasattr(self, "_commit") or self._dirty.closing or sys.is_finalizing():
            return
        if self._dirty.ops and self._pid == os.getpid():
            later(lambda: run_sync(self.close(SyncFace(), _FORGOTTEN_S)))
        else:
            self._flusher.end(0.0)
            if not self._dirty.ops:
                self._journal.close()


def size_of(value: Any) -> int:
    """Return how much an object counts that is not encoded: its length, if it is bytes or a str."""
    return len(value) if type(value) in (bytes, str, bytearray) else 0


_all: weakref.WeakSet[Pending] = weakref.WeakSet()
_watched = False
_left: dict[Signal, tuple[str, bytes]] = {}
"""Batches that a close has given up on, and where they came from."""


def _watch_exit() -> None:
    """Have what is open at the end of the interpreter sent, before the databases are closed."""
    global _watched
    if not _watched:
        _watched = True
        atexit.register(_close_all)


def _close_all() -> None:
    end = time.monotonic() + _EXIT_S
    for one in list(_all):
        with suppress(CacheError):
            run_sync(one.close(SyncFace(), max(0.0, end - time.monotonic())))


def _forget_all() -> None:
    """Have nothing to send in a forked child."""
    _left.clear()
    for one in list(_all):
        one._begin()


os.register_at_fork(after_in_child=_forget_all)
