"""The thread that does for a tier what nobody waits for: expiry, and room below the bound.

It is started by the first write that gives it work, wakes every second while there is some, and
ends when there is none, so a tier without expiries has no thread.  It holds the tier weakly and
only while it works: a tier that nobody uses goes, and the thread after it.  An error of the disk
is left to whoever uses the tier next; the thread goes on, for a full disk may get room.
A forked child has no thread; its tier makes a new `Sweeper`.

Whoever wakes it may be interrupted there by a handler or a destructor that wakes it, too, so its
one lock can be taken again: `threading.Event` has one that cannot.
"""

from __future__ import annotations

import _thread
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from frys_cache._core import report
from frys_cache.errors import CacheClosed, CacheError

__all__ = ["Sweeper", "Swept", "later"]

_INTERVAL_S: Final = 1.0
# A compaction takes longer; the close of the database cuts it short.
_PATIENCE_S: Final = 0.5


def later(call: Callable[[], object]) -> None:
    """Call something from a thread of its own; what a cache raises is lost.

    For what a destructor or a handler must not wait for, as its own thread may hold the lock.  Not
    a `threading.Thread`, whose start takes a lock that the destructor may have interrupted.
    """

    def run() -> None:
        with suppress(CacheError):
            call()

    with suppress(RuntimeError):  # the end of the interpreter closes what is open
        _thread.start_new_thread(run, ())


class Swept(Protocol):
    """What can be swept."""

    def tick(self) -> bool:
        """Do what is due; tell whether there will be more."""
        ...


class Sweeper:
    """Call `tick` of a tier every second, from a daemon thread, while there is need."""

    __slots__ = ("_interval", "_lock", "_stopped", "_thread", "_tier", "_woken", "faults")

    def __init__(self, tier: Swept, interval_s: float = _INTERVAL_S) -> None:
        self._tier = weakref.ref(tier, self._tier_gone)
        self._interval = interval_s
        # Guards _thread, _stopped and _woken.
        self._lock = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._woken = False
        self._stopped = False
        self.faults = 0

    def need(self) -> None:
        """Have a thread running.  Costs 20 ns while one is."""
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._stopped:
                return
            thread = threading.Thread(target=self._run, name="frys-cache sweeper", daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, or has no more threads
            self._thread = None
        except BaseException:
            if thread.ident is None:
                self._thread = None
            raise

    def hurry(self) -> None:
        """Have `tick` called now."""
        self.need()
        self._wake()

    @property
    def stopping(self) -> bool:
        """Return whether somebody waits for the end of the thread."""
        return self._stopped

    def _wake(self) -> None:
        with self._lock:
            self._woken = True
            self._lock.notify_all()

    def _rest(self) -> None:
        with self._lock:
            if not self._woken:
                self._lock.wait(self._interval)
            self._woken = False

    def stop(self) -> None:
        """End the thread and wait half a second for it, unless this is it."""
        with self._lock:
            self._stopped = True
            thread = self._thread
        self._wake()
        if (
            thread is not None
            and thread.ident is not None
            and thread is not threading.current_thread()
        ):
            thread.join(_PATIENCE_S)

    def _tier_gone(self, _reference: object) -> None:
        self._stopped = True
        self._wake()

    def _run(self) -> None:
        while True:
            self._rest()
            if self._stopped:
                break
            more = self._tick()
            with self._lock:
                # Who needs a thread from here on finds none and starts the next.
                if not more or self._stopped:
                    self._thread = None
                    return
        self._thread = None

    def _tick(self) -> bool:
        tier = self._tier()
        if tier is None:
            return False
        try:
            return tier.tick()
        except CacheClosed:
            return False
        except CacheError:
            self.faults += 1
            return True
        except Exception as error:  # noqa: BLE001 - a daemon has no caller to raise to
            self.faults += 1
            report(error, tier.tick)
            return True
