"""Time as tiers need it: one that never goes back, and versions made of it.

`WallClock` gives milliseconds since 1970.  It follows the wall clock forward and the monotonic one
always, so a clock that is set back prolongs no life: within a process no entry outlives the ttl it
was stored with.  The price: after a jump forward and back, a process stays ahead until it ends.

`Versions` is a hybrid logical clock: 48 bits of milliseconds, 16 bits of counter.  It never goes
back, in a process by its lock, across processes by a high-water mark that is saved at most once a
second and two seconds ahead.  Cost: 0.3 us a version.  Not chosen: a counter alone, which other
machines cannot compare, and the bare time, which repeats itself and goes back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Versions", "WallClock"]

_RESERVE_MS = 2_000
_AGAIN_MS = 1_000
_LAST = (1 << 64) - 1


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class WallClock:
    """Tell the milliseconds since 1970, never less than before plus what has passed since.

    wall, steady: callables that return milliseconds, for tests.  Safe from any thread: a race
    between two of them can only lose a step forward that the next call makes.

    >>> moments = iter([5_000, 1_000])
    >>> clock = WallClock(wall=lambda: next(moments), steady=lambda: 7)
    >>> clock(), clock()
    (5000, 5000)
    """

    __slots__ = ("_ahead", "steady", "wall")

    def __init__(
        self,
        wall: Callable[[], int] = _wall_ms,
        steady: Callable[[], int] = _steady_ms,
    ) -> None:
        self.wall = wall
        self.steady = steady
        self._ahead = -(1 << 63)  # the most that the wall has been ahead of the steady clock

    def __call__(self) -> int:
        """Return the milliseconds."""
        steady = self.steady()
        ahead = self.wall() - steady
        if ahead > self._ahead:
            self._ahead = ahead
        return steady + self._ahead


class Versions:
    """Give out versions, each higher than all before.

    wall_ms: a callable that returns milliseconds since 1970, by default the bare wall clock: this
    one needs no other to never go back.  mark: the high-water mark, in milliseconds, that was saved
    by whoever came before.  save: called with a new mark, outside of the lock; what it raises
    passes, and the version is not used.
    Safe from any thread.

    >>> versions = Versions(wall_ms=lambda: 1_000)
    >>> versions.next() < versions.next()
    True
    """

    __slots__ = ("_due", "_last", "_lock", "_now_ns", "_save")

    def __init__(
        self,
        wall_ms: Callable[[], int] | None = None,
        mark: int = 0,
        save: Callable[[int], object] | None = None,
    ) -> None:
        self._now_ns = time.time_ns if wall_ms is None else lambda: wall_ms() * 1_000_000
        # Guards _last and _due.  Nothing foreign runs under it but what the collector may start.
        self._lock = threading.RLock()
        self._last = mark << 16
        self._save = save
        # From this version on, another mark has to be saved: what is saved now covers no more.
        self._due = self._last - (_AGAIN_MS << 16) if save is not None else _LAST

    def next(self) -> int:
        """Return a version higher than all that were given out or observed."""
        now = self._now_ns() // 1_000_000 << 16
        with self._lock:
            version = self._last + 1
            if now > version:
                version = now
            self._last = version
            if version < self._due:
                return version
        self._reserve(version >> 16)
        return version

    def observe(self, version: int) -> None:
        """Go beyond a version that came from elsewhere; one beyond 64 bits is a ValueError."""
        if not 0 <= version < _LAST:
            raise ValueError(f"a version must be within 64 bits, not {version!r}")
        with self._lock:
            self._last = max(self._last, version)

    def last(self) -> int:
        """Return the highest version so far."""
        return self._last

    def _reserve(self, now_ms: int) -> None:
        """Have a mark saved that covers the next two seconds."""
        due = (now_ms + _RESERVE_MS - _AGAIN_MS) << 16
        with self._lock:
            if self._save is None or due <= self._due:
                return
            before, self._due = self._due, due
        try:
            self._save(now_ms + _RESERVE_MS)
        except BaseException:
            with self._lock:
                self._due = min(self._due, before)
            raise
