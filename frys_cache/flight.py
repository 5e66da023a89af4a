"""One load per key among threads and tasks: the first to ask leads, the others wait for its end.

`Flights` holds the loads that are under way, each a `Flight`.  Loading runs foreign code wherever
one looks: the `__eq__` of a key, a destructor, a finalizer that the collector runs at an
allocation, a signal handler; each may load again, on the same thread.  So no lock is held here
while anything is compared, allocated or released.  What has to be atomic is one operation of a
dict: `setdefault` boards, `pop` removes.  Beside it each flight has a gate, a lock that is taken
from its start to its end, and through which the threads that follow pass one after the other.
Tasks follow without a thread: they leave a function that is called at the end (`on_end`).

A flight is its own key in that dict.  It keeps the hash, and is equal to none but itself once it
has ended, so an end removes exactly itself and runs no foreign code: it cannot fail.

Cost: 1.0 us from boarding to the end where nobody follows, 360 bytes while under way; measure with
`python -m timeit -s "from frys_cache.flight import Flights; board = Flights().board"
"board('key')[0].land(1)"`.
Not chosen: a lock around the dict (held while keys are compared), the user's key as the key of the
dict (hashed and compared again at the end, where nothing may go wrong), an `Event` (3.6 us) or a
`concurrent.futures.Future` (2.2 us) per flight, each of them without the dict.
"""

from __future__ import annotations

import enum
import os
from _thread import start_new_thread
from collections.abc import Callable
from functools import partial
from threading import TIMEOUT_MAX, Lock, get_ident, local
from types import TracebackType
from typing import Any, Final, TypeAlias
from weakref import WeakValueDictionary

from frys_cache import flight_ring as ring
from frys_cache.errors import DeadlockError
from frys_cache.types import MISSING

__all__ = ["ABANDONED", "ALONE", "Abandoned", "Alone", "Flight", "Flights", "board_with_room"]


class Abandoned(enum.Enum):
    """Type of `ABANDONED`: one member, so that type checkers can tell it from any value."""

    ABANDONED = "ABANDONED"

    def __repr__(self) -> str:
        return "ABANDONED"


ABANDONED: Final = Abandoned.ABANDONED
"""What a flight brings whose leader gave up without an outcome: board again."""


class Alone(enum.Enum):
    """Type of `ALONE`: one member; false, for it says that the flight has not ended."""

    ALONE = "ALONE"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ALONE"


ALONE: Final = Alone.ALONE
"""What a thread gets that may not wait, for the flight ends on its own event loop: load alone."""

_UNDER_WAY: Final = object()


class Flight:
    """One load that is under way, or what it has brought.  Made by `Flights.board`.

    Its leader ends it once, with `land`, `fail` or `abandon`; any thread may `join`, any task may
    ask to be told (`on_end`).  Hash and equality are those of the key while it is under way;
    afterwards it is equal to itself only.

    >>> flight, leads = Flights().board("key")
    >>> flight.land("value")
    >>> flight.join()
    'value'
    """

    __slots__ = (
        "_compared",
        "_error",
        "_gate",
        "_hash",
        "_key",
        "_leader",
        "_on_end",
        "_traceback",
        "_under_way",
        "_value",
    )

    _traceback: TracebackType | None

    def __init__(self, under_way: dict[Flight, Flight], key: object) -> None:
        self._hash = hash(key)
        self._key = key
        self._under_way = under_way
        self._leader: ring.Leader = get_ident()
        self._on_end: dict[object, Callable[[], object]] = {}
        self._compared = False
        # Whoever finds a value here finds the error too, so the error is written first.
        self._error: BaseException | None = None
        self._value: Any = _UNDER_WAY
        gate = Lock()
        gate.acquire()
        self._gate: Lock | None = gate

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Flight):
            return NotImplemented
        if self is other:
            return True
        if self._value is not _UNDER_WAY or other._value is not _UNDER_WAY:
            return False
        # In a dict the left one is in it and the right one is looked up.
        other._compared = True
        return self._key is other._key or bool(self._key == other._key)

    @property
    def ended(self) -> bool:
        """Whether it has an outcome: `wait` and `result` return at once."""
        return self._value is not _UNDER_WAY

    @property
    def leader(self) -> ring.Leader:
        """Who leads: the id of a thread, a `Load`, or `NOBODY`."""
        return self._leader

    @property
    def error(self) -> BaseException | None:
        """What it was failed with, this very object, or None."""
        return self._error

    def give_up(self) -> None:
        """Abandon the flight if the calling thread leads it still: not once it was handed over.

        For who has boarded and comes to nothing: an interrupt falls at the end of a call of C or
        at the beginning of a function, so `board` belongs inside the `try`.  Nothing can come
        between its return and the names that take what it returns.
        """
        if self._leader == get_ident() and self._value is _UNDER_WAY:
            self.abandon()

    def hand_over(self, leader: ring.Leader | None = None) -> None:
        """Let another lead from now on: the calling thread, unless one is named."""
        self._leader = get_ident() if leader is None else leader

    def land(self, value: Any) -> None:
        """End the flight with a value: any object, `None` and `MISSING` too."""
        self._value = value
        # First leave the dict, then open the gate: who wakes may board at once.
        self._under_way.pop(self, None)
        gate = self._gate
        if gate is not None:
            # An interrupt comes at the end of a call, so never between these two.
            self._gate = None
            gate.release()
        if self._on_end:
            try:
                self._tell()
            except RecursionError:
                # No room left on this stack; this call needs no frame of Python.
                start_new_thread(self._tell, ())

    def fail(self, error: BaseException) -> None:
        """End the flight with an exception, which every follower raises, this very object.

        The flight keeps it, and a Python frame in its traceback that still names the flight
        closes a cycle: `del flight` before such a frame is left.  Frames of Cython name nothing.
        """
        self._traceback = error.__traceback__
        self._error = error
        self.land(ABANDONED)

    def abandon(self) -> None:
        """End the flight without an outcome, so that one of its followers leads the next.

        Does nothing if it has ended, and completes an end that an interrupt has cut short: it
        belongs in a `finally`.
        """
        value = self._value
        self.land(ABANDONED if value is _UNDER_WAY else value)

    def on_end(self, callback: Callable[[], object]) -> Callable[[], object]:
        """Call a function once when the flight ends, or now if it has; return what takes it back.

        It is called by whoever ends the flight, with no lock held, and should only pass the word
        on; what it raises is lost, but for a RecursionError.  An interrupt that falls into a call
        may bring a second one.  Any thread; to take it back once it has been called does nothing.
        """
        token = object()
        callbacks = self._on_end
        callbacks[token] = callback
        # First set, then look, where the end does it the other way round: one of them calls.
        if self._value is not _UNDER_WAY:
            self._tell()
        return partial(callbacks.pop, token, None)

    def _tell(self) -> None:
        """Call the functions left by `on_end`; who takes one out of the dict calls it."""
        callbacks = self._on_end
        while callbacks:
            for token, callback in list(callbacks.items()):
                try:
                    if callbacks.pop(token, None) is not None:
                        callback()
                except Exception as error:
                    if isinstance(error, RecursionError):
                        callbacks[token] = callback
                        raise
                except BaseException:
                    callbacks[token] = callback
                    raise

    def wait(self, timeout: float | None = None) -> bool | Alone:
        """Block until the flight has ended (True) or `timeout` seconds are over (False).

        DeadlockError, at once, if it waits for the calling thread itself or the load that this is
        part of, over however many threads, tasks and caches.  `ALONE`, which is false, at once, if
        it cannot end while this thread blocks, whose event loop it needs.  An interrupt leaves the
        flight and its other followers as they are.
        """
        if self._value is not _UNDER_WAY:
            return True
        me = get_ident()
        load = ring.current.get()
        outer = ring.waiting.get(me, ())
        token = object()
        try:
            # First set, then look: of two threads that close a ring at once, one sees the other.
            ring.waiting[me] = (*outer, self)
            if load is not None:
                load.waits[token] = self
            found = ring.look(self, me, load)
            if found is ring.Found.RING:
                raise DeadlockError(ring.complaint(self, me, load))
            return ALONE if found is not None else self._block(timeout)
        finally:
            # The one call comes before anything that an interrupt could cut off.
            try:
                if outer:
                    ring.waiting[me] = outer
                else:
                    ring.waiting.pop(me, None)
            finally:
                if load is not None:
                    load.waits.pop(token, None)
                # A flight may be failed with the DeadlockError, whose traceback holds this frame.
                del self, outer, load

    def _block(self, timeout: float | None) -> bool:
        """Block the calling thread as `wait` says."""
        if timeout is None:
            gate = self._gate
            if gate is not None:
                # `with`: an interrupt may come between an acquire and a release of one's own.
                with gate:
                    pass
            return True
        bell = Lock()
        bell.acquire()
        leave = self.on_end(bell.release)
        try:
            return bell.acquire(timeout=min(max(timeout, 0), TIMEOUT_MAX))
        finally:
            leave()

    def follow(self) -> Callable[[], object] | None:
        """Say that the load which this is part of waits from now on, without blocking a thread.

        Return what takes it back, None if there is no load.  DeadlockError as `wait` says.
        """
        load = ring.current.get()
        if load is None or self._value is not _UNDER_WAY:
            return None
        token = object()
        leave = partial(load.waits.pop, token, None)
        load.waits[token] = self
        try:
            if ring.look(self, None, load) is ring.Found.RING:
                raise DeadlockError(ring.complaint(self, None, load))
        except BaseException:
            leave()
            raise
        finally:
            del self, load
        return leave

    def result(self) -> Any:
        """Return the value, raise the exception, or return `ABANDONED`; RuntimeError before."""
        value, error = self._value, self._error
        if value is _UNDER_WAY:
            raise RuntimeError("the flight has not ended")
        if error is None:
            return value
        try:
            # Each follower starts from the leader's traceback, or they would pile up.
            raise error.with_traceback(self._traceback)
        finally:
            # The error's traceback holds this frame.
            del self, error

    def join(self) -> Any:
        """Wait for the end and return or raise what it has brought: what followers call.

        `ABANDONED`: board again.  `ALONE`: load without a flight.  DeadlockError as `wait` says.
        Any thread, any number of times.
        """
        try:
            return self.result() if self.wait() else ALONE
        finally:
            del self


class Flights:
    """The loads that are under way for one cache.  Safe from any thread.

    A forked child keeps the flights that its one thread leads; the others are abandoned in it.

    >>> flights = Flights()
    >>> flight, leads = flights.board("key")
    >>> leads, flights.board("key") == (flight, False)
    (True, True)
    >>> flight.abandon()
    """

    __slots__ = ("__weakref__", "_under_way")

    def __init__(self) -> None:
        self._under_way: dict[Flight, Flight] = {}
        _alive[id(self)] = self

    def board(self, key: object) -> tuple[Flight, bool]:
        """Join the flight of a key, or start one that the calling thread leads (True).

        Who leads has to end the flight on every way out; who does not calls its `join`.  TypeError
        if the key is not hashable; what its `__hash__` and `__eq__` raise passes unchanged.
        """
        mine = Flight(self._under_way, key)
        try:
            # Its own dict: the hash of the key may have forked.
            found = mine._under_way.setdefault(mine, mine)
            if mine._compared and found is mine:
                found = self._first_of(mine)
        except BaseException:
            # An interrupt may come when the flight is in the dict already.
            mine.abandon()
            raise
        return found, found is mine

    def detach(self, key: object = MISSING) -> None:
        """Let who boards from now on load anew: a flight of this key (or any) is out of date.

        Who waits for it already gets what it brings.
        """
        under_way = self._under_way
        if key is MISSING:
            under_way.clear()
        elif under_way:
            under_way.pop(Flight(under_way, key), None)

    @staticmethod
    def _first_of(mine: Flight) -> Flight:
        """Return the oldest flight of a key; if that is not `mine`, give mine up.

        A comparison may let another thread in, whose flight takes the place, already passed, of
        one that has ended: `setdefault` is atomic only where the hash alone decides.  A dict
        keeps the order of insertion, so of several flights each thread takes the same for first.
        """
        for other in list(mine._under_way):
            if other is mine:
                break
            if other._hash == mine._hash and other == mine:
                mine.abandon()
                return other
        return mine

    def _survive(self, seen: list[_Seen], survivor: int) -> None:
        """Keep, in a forked child, those of the flights seen that its thread leads; end the rest.

        No dict is touched, only replaced: without a GIL its lock may be held for ever by a thread
        that is not there any more.
        """
        under_way = self._under_way = {}
        for flight, callbacks in seen:
            flight._under_way = under_way
            flight._on_end = callbacks
            if flight._value is _UNDER_WAY and flight._leader == survivor:
                # An ended flight is compared with none, which keeps foreign code out of a fork.
                flight._value = None
                under_way[flight] = flight
                flight._value = _UNDER_WAY
            else:
                flight.abandon()


def board_with_room(flights: Flights, key: object) -> tuple[Flight, bool]:
    """Board one frame deeper: where the stack has room for this, it has room for every end.

    An end takes three frames, `fail`, `land` and `__hash__`, and boarding itself only two.  What
    loads by recursion up to the limit of the stack thus fails before it leads, not when it ends.
    """
    return flights.board(key)


# A flight under way, and what is to be called at its end.
_Seen: TypeAlias = tuple[Flight, dict[object, Callable[[], object]]]

# Not a WeakSet: that cannot be listed while another thread adds to it.
_alive: WeakValueDictionary[int, Flights] = WeakValueDictionary()


class _Fork(local):
    """What the thread that forks has seen just before: what the child keeps or ends."""

    seen: tuple[tuple[Flights, list[_Seen]], ...] = ()
    waits: tuple[ring.Node, ...] = ()


_fork = _Fork()


def _before_fork() -> None:
    """Look at what is shared as long as its locks can be had."""
    alive = [flights for ref in _alive.valuerefs() if (flights := ref()) is not None]
    _fork.seen = tuple(
        (flights, [(flight, flight._on_end.copy()) for flight in list(flights._under_way)])
        for flights in alive
    )
    _fork.waits = ring.waiting.get(get_ident(), ())


def _after_fork_in_parent() -> None:
    """Hold nothing longer than the fork took."""
    _fork.seen = _fork.waits = ()


def _after_fork_in_child() -> None:
    """Forget the threads that only the parent has, and leave alone what they may have locked."""
    global _alive
    me = get_ident()
    ring.waiting = {me: _fork.waits} if _fork.waits else {}
    # The task of this load, if any, stays behind with its event loop.
    ring.current.set(None)
    _alive = WeakValueDictionary({id(flights): flights for flights, _ in _fork.seen})
    for flights, seen in _fork.seen:
        flights._survive(seen, me)
    _after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
