"""A breaker per tier: while a tier fails, its callers do not wait for it.

Closed, calls go through.  It opens on 5 faults in a row, or when of at least 5 calls within 10 s
half or more were faults.  After a pause, 1 s doubling to 30 s, half to all of it by chance so that
processes do not come back together, it is half-open: one caller at a time is let through as the
probe.  3 probes that succeed close it, one that fails opens it for a longer pause.

A success tells the breaker nothing while it is closed.  It is given the count of successes that
the chain keeps anyway, and looks at it when there is a fault: faults are in a row if the count has
not moved between them.  So a healthy call costs one look at `closed`.  Open, a call costs one
attribute and the clock, 0.2 us: `_until` is the end of the pause, or of the patience with a probe.

Cost: 300 bytes a tier.
Not chosen: a ring of the last calls, which every success would write to;
breakers of a fixed pause, which hammer a tier that is away for an hour, or miss one that is back.
"""

from __future__ import annotations

import os
import random as _random
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Literal

__all__ = ["Breaker", "State", "text_of"]

State = Literal["closed", "open", "half-open"]

IN_A_ROW: Final = 5
"""Faults in a row that open it."""
FEWEST: Final = 5
"""Calls below which half of them being faults says nothing."""
WINDOW: Final = 10.0
"""Seconds, from the first fault on, within which calls and faults are compared."""
SHORTEST: Final = 1.0
LONGEST: Final = 30.0
"""Seconds of the first pause, and of the longest."""
PATIENCE: Final = 5.0
"""Seconds after which a probe of which nothing was heard is given up."""
SUCCESSES: Final = 3
"""Probes in a row that close it."""

_ALWAYS: Final = float("-inf")

# Guards all fields of all breakers but `error`: there is a fault, or it is not taken.  Reentrant,
# for a signal handler may use the same tier; a forked child has one that nobody holds.
_lock = threading.RLock()

_LONGEST_TEXT: Final = 500


def text_of(error: BaseException) -> str:
    """Return an error as text, which keeps no frame alive as the error itself would.

    >>> text_of(OSError("no space"))
    'OSError: no space'
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an error whose text fails still has a name
        text = ""
    name = type(error).__name__
    return f"{name}: {text[:_LONGEST_TEXT]}" if text else name


class Breaker:
    """Tell whether a tier may be asked.

    name: of the tier.  calls: returns how many calls of the tier have succeeded so far, ever.
    on_change: called with the breaker and the states before and after, outside of the lock, by the
    thread that brought the change about; it must not raise.  steady, wall: clocks in seconds.
    random: returns a float from 0 to 1.

    The user of a tier looks at `closed` and, only if that is False, asks `admits`.  A fault is told
    to `failed` in any state; a success to `succeeded` only by whom `admits` let through, who calls
    `released` if it ends with neither.  Safe from any thread.

    >>> breaker = Breaker("disk", calls=lambda: 0)
    >>> for _ in range(5):
    ...     breaker.failed(OSError("no space"))
    >>> breaker.state, breaker.admits(), breaker.error
    ('open', False, 'OSError: no space')
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_faults",
        "_first",
        "_first_calls",
        "_last_calls",
        "_on_change",
        "_pause",
        "_probing",
        "_random",
        "_row",
        "_steady",
        "_successes",
        "_until",
        "_wall",
        "closed",
        "error",
        "name",
        "opened",
        "since",
        "state",
    )

    closed: bool
    """Whether calls go through unasked: all that a healthy read looks at."""
    state: State
    since: float
    """Since when it is in this state, in seconds since 1970."""
    error: str | None
    """The last fault, as text."""
    opened: int
    """How many times it has opened, from whichever state."""

    def __init__(
        self,
        name: str,
        calls: Callable[[], int],
        *,
        on_change: Callable[[Breaker, State, State], Any] | None = None,
        steady: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.closed = True
        self.state = "closed"
        self.since = wall()
        self.error = None
        self.opened = 0
        self._calls = calls
        self._on_change = on_change
        self._steady = steady
        self._random = random
        self._wall = wall
        self._until = _ALWAYS  # before this moment nobody is let through
        self._forget_locked()

    def _forget_locked(self) -> None:
        """Begin anew, as a breaker that has seen no fault."""
        self._pause = 0.0
        self._probing = False
        self._successes = 0
        self._row = 0  # faults in a row, the last of them after so many successes:
        self._last_calls = -1
        self._first = _ALWAYS  # when the window began, after so many successes:
        self._first_calls = 0
        self._faults = 0  # within the window

    def admits(self) -> bool:
        """Tell whether this caller may ask the tier; where it is not closed, as its probe."""
        now = self._steady()
        if now < self._until:
            return False
        return self._admits_probe(now)

    def _admits_probe(self, now: float) -> bool:
        wall = self._wall()
        with _lock:
            if self.closed:
                return True
            if now < self._until:
                return False
            before = self.state
            self._probing = True
            self._until = now + PATIENCE
            if before == "open":
                self._successes = 0
                self._become_locked("half-open", wall)
        self._tell(before, "half-open")
        return True

    def failed(self, error: BaseException) -> None:
        """Take note of a fault of the tier: never of a miss."""
        self.error = text_of(error)
        calls, now, wall, chance = self._calls(), self._steady(), self._wall(), self._random()
        with _lock:
            before = self.state
            if before == "closed":
                if not self._is_enough_locked(calls, now):
                    return
                self._pause = SHORTEST
            elif self._probing:
                self._pause = min(2 * self._pause, LONGEST)
            else:
                return  # of a call that began before it opened: what it says is known
            self._probing = False
            self._until = now + self._pause * (0.5 + 0.5 * chance)
            self.opened += 1
            self._become_locked("open", wall)
        self._tell(before, "open")

    def _is_enough_locked(self, calls: int, now: float) -> bool:
        """Count a fault; tell whether it is one too many."""
        self._row = self._row + 1 if calls == self._last_calls else 1
        self._last_calls = calls
        if now - self._first > WINDOW:
            self._first, self._first_calls, self._faults = now, calls, 0
        self._faults += 1
        asked = self._faults + max(0, calls - self._first_calls)
        return self._row >= IN_A_ROW or (asked >= FEWEST and 2 * self._faults >= asked)

    def succeeded(self) -> None:
        """Take note that the probe was answered."""
        wall = self._wall()
        with _lock:
            if not self._probing:
                return
            self._probing = False
            self._until = _ALWAYS
            self._successes += 1
            if self._successes < SUCCESSES:
                return
            self._forget_locked()
            self._become_locked("closed", wall)
        self._tell("half-open", "closed")

    def released(self) -> None:
        """Give the probe back: its caller was cancelled and knows nothing; the next one probes."""
        with _lock:
            if self._probing:
                self._probing = False
                self._until = _ALWAYS

    def _become_locked(self, state: State, wall: float) -> None:
        self.state = state
        self.since = wall
        self.closed = state == "closed"

    def _tell(self, before: State, after: State) -> None:
        if self._on_change is not None and before != after:
            self._on_change(self, before, after)

    def __repr__(self) -> str:
        return f"<Breaker {self.name!r} {self.state}>"


def _unlock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)
