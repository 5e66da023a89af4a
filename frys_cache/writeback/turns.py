"""A daemon thread that gives something its turn whenever that is due, and ends with it.

It holds its owner weakly and only during a turn, so an owner that nobody uses goes, and the thread
after it.  A turn returns in how many seconds the next one is due; None is when somebody rings.
Whoever rings may be interrupted there by a handler or a destructor that rings, too, so its one lock
can be taken again.  A handler may also raise there: the bell is a lock that is taken until it
rings, so that to ring is one call in C, and there is nothing to give back.  Where it raises while a
thread starts, that one is given up, and runs only if no other has begun.
A forked child has no thread: its owner makes a new `Turns`.
Cost: nothing until it is rung for the first time, then a thread; 1 us a ring.
Not chosen: `threading.Condition`, which is Python: an interrupt leaves its lock taken for ever.
"""

from __future__ import annotations

import sys
import threading
import weakref
from types import SimpleNamespace
from typing import Any, Protocol, cast

from frys_cache.errors import CacheClosed

__all__ = ["Turns", "tell_of"]

_AFTER_AN_ERROR_S = 1.0


def tell_of(error: BaseException, where: str) -> None:
    """Tell of an error that has no caller to raise to."""
    told = SimpleNamespace(
        exc_type=type(error),
        exc_value=error,
        exc_traceback=error.__traceback__,
        err_msg=where,
        object=None,
    )
    sys.unraisablehook(cast(Any, told))


def _countable(seconds: float | None) -> float:
    return -1 if seconds is None else min(max(seconds, 0.0), threading.TIMEOUT_MAX)


class Owner(Protocol):
    """What has turns."""

    def turn(self) -> float | None:
        """Do what is due; return in how many seconds there will be more, None: when rung."""
        ...


class Turns:
    """Call `turn` of an owner from a daemon thread.  Safe from any thread."""

    __slots__ = ("_bell", "_lock", "_name", "_owner", "_running", "_stopped", "_thread")

    def __init__(self, owner: Owner, name: str) -> None:
        self._owner = weakref.ref(owner, self._owner_gone)
        self._name = name
        self._bell = threading.Lock()
        self._bell.acquire()
        self._lock = threading.RLock()  # guards _thread and _running
        self._thread: threading.Thread | None = None
        self._running = False  # the thread has begun
        self._stopped = False

    def ring(self) -> None:
        """Have the next turn now, in a thread that is started if there is none."""
        self._ring()
        if self._running or self._stopped:
            return
        thread = None
        try:
            with self._lock:
                if self._thread is not None or self._stopped:
                    return
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread = thread
            thread.start()
        except RuntimeError:  # the interpreter is shutting down, or has no more threads
            self._give_up(thread)
        except BaseException:
            self._give_up(thread)
            raise

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:  # it has been rung
            return

    def _give_up(self, thread: threading.Thread | None) -> None:
        """Have the next ring start another thread, unless this one has begun."""
        with self._lock:
            if thread is not None and self._thread is thread and not self._running:
                self._thread = None

    def is_mine(self) -> bool:
        """Tell whether the calling thread is the one that has the turns."""
        return self._thread is threading.current_thread()

    @property
    def stopped(self) -> bool:
        """Return whether there will be no more turns."""
        return self._stopped

    def stop(self, patience_s: float = 0.0) -> None:
        """Have no more turns; wait so long for the one that is on."""
        self._stopped = True
        self._ring()
        thread = self._thread
        if patience_s and thread is not None and thread.ident is not None and not self.is_mine():
            thread.join(patience_s)

    def _owner_gone(self, _reference: object) -> None:
        self.stop()

    def _run(self) -> None:
        me = threading.current_thread()
        with self._lock:
            if self._running or self._thread not in (None, me):
                return
            self._thread = me
            self._running = True
        while not self._stopped:
            seconds = self._turn()
            if not self._stopped:
                self._bell.acquire(timeout=_countable(seconds))
        with self._lock:
            self._thread = None
            self._running = False

    def _turn(self) -> float | None:
        owner = self._owner()
        if owner is None:
            self._stopped = True
            return None
        try:
            return owner.turn()
        except CacheClosed:
            self._stopped = True
        except BaseException as error:  # noqa: BLE001 - a daemon has no caller to raise to
            tell_of(error, f"in the thread {self._name!r}")
            return _AFTER_AN_ERROR_S
        return None
