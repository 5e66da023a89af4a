"""How the tiers are, and who is told when that changes.

`TierHealth` is a snapshot, made when it is asked for.  `Events` is the hub: whoever wants to know
subscribes, and is called by the thread in which a thing happened, after every lock is released.
Cost: an event that nobody waits for costs 0.1 us, and makes no object.
Not chosen: a queue and a thread of its own, which tells late, and nothing after a crash.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from frys_cache._core import report

__all__ = ["CacheEvent", "Events", "Listener", "TierHealth"]


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TierHealth:
    """How one tier is: a snapshot.

    >>> TierHealth(state="down", breaker="open", last_error="OSError: no space").state
    'down'
    """

    state: Literal["ok", "degraded", "down"] = "ok"
    """Degraded: it is asked, but not all is well.  Down: it is not asked."""
    breaker: Literal["closed", "open", "half-open"] = "closed"
    since: float = 0.0
    """Since when the breaker is in that state, in seconds since 1970."""
    last_error: str | None = None
    """The last fault, as text; None: there was none."""
    faults: int = 0
    """Requests and writes that it failed."""
    hits: int = 0
    misses: int = 0
    negatives: int = 0
    """Requests that it answered by: the source has no value."""
    stale: int = 0
    """Requests that got a value beyond its time, for want of a better one."""
    doubted: int = 0
    """Keys whose last write it failed, so that what it has of them is not believed."""
    dirty: int = 0
    """Writes that wait for it."""
    dirty_bytes: int = 0
    oldest_dirty: float = 0.0
    """Seconds that the oldest of them has waited."""
    dead_letters: int = 0
    """Writes that were tried too often, and put aside."""
    unknown_writes: bool = False
    """Whether writes may have been lost that were accepted in an earlier life of the process."""
    detail: Mapping[str, Any] = field(default_factory=_nothing)
    """What only this kind of tier has to say."""


@dataclass(frozen=True, slots=True)
class CacheEvent:
    """A thing that has happened to a cache or to one of its tiers.

    >>> CacheEvent("breaker", "persistent", 0.0, {"before": "closed", "after": "open"}).tier
    'persistent'
    """

    kind: str
    tier: str | None
    at: float
    """When, in seconds since 1970."""
    detail: Mapping[str, Any] = field(default_factory=_nothing)


Listener: TypeAlias = Callable[[CacheEvent], Any]


class _Subscription:
    """One listener; one that subscribes twice is told twice."""

    __slots__ = ("listener",)

    def __init__(self, listener: Listener) -> None:
        self.listener = listener


class Events:
    """Tell listeners what happens, in the order in which they subscribed.

    wall: the clock of the events, seconds since 1970.  Safe from any thread.

    >>> events, seen = Events(), []
    >>> unsubscribe = events.subscribe(lambda event: seen.append((event.kind, dict(event.detail))))
    >>> events.tell("flushed", "persistent", entries=3)
    >>> seen
    [('flushed', {'entries': 3})]
    """

    __slots__ = ("_lock", "_subscribed", "_wall", "errors")

    errors: int
    """Exceptions that listeners have raised, about."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.errors = 0
        self._wall = wall
        # Guards the replacement of _subscribed, a tuple that never changes itself.  Reentrant: the
        # collector may run a destructor here that unsubscribes.
        self._lock = threading.RLock()
        self._subscribed: tuple[_Subscription, ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(event)` for every event from now on; return what ends that.

        It is held strongly, and called by whichever thread an event happens in.  An exception goes
        to `sys.unraisablehook` and ends nothing.  TypeError for what cannot be called.
        """
        if not callable(listener):
            raise TypeError(f"a listener must be callable, not {type(listener).__name__}")
        one = _Subscription(listener)
        with self._lock:
            self._subscribed = (*self._subscribed, one)

        def unsubscribe() -> None:
            """Tell the listener nothing more; a second time, nothing happens."""
            with self._lock:
                self._subscribed = tuple(each for each in self._subscribed if each is not one)

        return unsubscribe

    def tell(self, kind: str, tier: str | None = None, /, **detail: Any) -> None:
        """Tell every listener.  No lock may be held: a listener may use the cache."""
        subscribed = self._subscribed
        if not subscribed:
            return
        event = CacheEvent(kind, tier, self._wall(), MappingProxyType(detail))
        for one in subscribed:
            try:
                one.listener(event)
            except Exception as error:  # noqa: BLE001 - it must not reach who was at work here
                self.errors += 1
                report(error, one.listener)
