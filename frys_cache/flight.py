"""One load per key among threads: the first to ask leads, the others wait for what it brings.

`Flights` holds the loads that are under way, each a `Flight`.  Loading runs foreign code wherever
one looks: the `__eq__` of a key, a destructor, a finalizer that the collector runs at an
allocation, a signal handler; each may load again, on the same thread.  So no lock is held here
while anything is compared, allocated or released.  What has to be atomic is one operation of a
dict: `setdefault` boards, `pop` removes.  Beside it each flight has a gate, a lock that is taken
from its start to its end, and through which its followers pass one after the other.

A flight is its own key in that dict.  It keeps the hash, and is equal to none but itself once it
has ended, so an end removes exactly itself and runs no foreign code: it cannot fail.

Cost: 0.95 us from boarding to the end where nobody follows, 290 bytes while under way; measure with
`python -m timeit -s "from frys_cache.flight import Flights; board = Flights().board"
"board('key')[0].land(1)"`.
Not chosen: a lock around the dict (held while keys are compared), the user's key as the key of the
dict (hashed and compared again at the end, where nothing may go wrong), an `Event` (3.6 us) or a
`concurrent.futures.Future` (2.2 us) per flight, each of them without the dict.
"""

from __future__ import annotations

import enum
import os
from threading import Lock, get_ident, local
from types import TracebackType
from typing import Any, Final
from weakref import WeakValueDictionary

from frys_cache.errors import DeadlockError
from frys_cache.types import MISSING

__all__ = ["ABANDONED", "Abandoned", "Flight", "Flights", "board_with_room"]


class Abandoned(enum.Enum):
    """Type of `ABANDONED`: one member, so that type checkers can tell it from any value."""

    ABANDONED = "ABANDONED"

    def __repr__(self) -> str:
        return "ABANDONED"


ABANDONED: Final = Abandoned.ABANDONED
"""What a flight brings whose leader gave up without an outcome: board again."""

_UNDER_WAY: Final = object()
_LONGEST_NAME = 100

# Thread id -> the flights it waits for, the innermost last: a signal handler or a finalizer may
# wait while its thread waits already.  A thread changes its own entry only.
_waiting: dict[int, tuple[Flight, ...]] = {}


class Flight:
    """One load that is under way, or what it has brought.  Made by `Flights.board`.

    Its leader ends it once, with `land`, `fail` or `abandon`; any thread may `join`.  Hash and
    equality are those of the key while it is under way; afterwards it is equal to itself only.

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
        "_traceback",
        "_under_way",
        "_value",
    )

    _traceback: TracebackType | None

    def __init__(self, under_way: dict[Flight, Flight], key: object) -> None:
        self._hash = hash(key)
        self._key = key
        self._under_way = under_way
        self._leader = get_ident()
        self._compared = False
        # Whoever finds a value here finds the error too, so the error is written first.
        self._error: Exception | None = None
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

    def fail(self, error: Exception) -> None:
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

    def wait(self) -> None:
        """Block until the flight has ended.

        DeadlockError, at once, if it waits for the calling thread itself, over however many
        threads and caches.  An interrupt leaves the flight and its other followers as they are.
        """
        gate = self._gate
        if gate is None or self._value is not _UNDER_WAY:
            return
        me = get_ident()
        outer = _waiting.get(me, ())
        try:
            # First set, then look: of two threads that close a ring at once, one sees the other.
            _waiting[me] = (*outer, self)
            if self._waits_for(me):
                raise DeadlockError(self._complaint(me))
            # `with`: an interrupt may come between an acquire and a release of one's own.
            with gate:
                pass
        finally:
            # The one call comes before anything that an interrupt could cut off.
            if outer:
                _waiting[me] = outer
            else:
                _waiting.pop(me, None)
            # A flight may be failed with the DeadlockError, whose traceback holds this frame.
            del self, outer

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

        `ABANDONED`: board again.  DeadlockError as `wait` says.  Any thread, any number of times.
        """
        try:
            self.wait()
            return self.result()
        finally:
            del self

    def _waits_for(self, thread: int) -> bool:
        """Return whether this flight cannot end before a thread goes on."""
        while True:
            seen = set()
            # Each flight with the way that led to it: (flight, (flight before, (..., None))).
            todo: list[Any] = [(self, None)]
            while todo:
                way = todo.pop()
                flight: Flight = way[0]
                if flight._value is not _UNDER_WAY:
                    continue
                leader = flight._leader
                if leader == thread:
                    break
                if leader not in seen:
                    seen.add(leader)
                    todo += [(further, way) for further in _waiting.get(leader, ())]
            else:
                return False
            # Others went on meanwhile: it is a ring if all of it is still under way, now that the
            # last of it has been seen.  Else look again, past what has ended.
            while way is not None and way[0]._value is _UNDER_WAY:
                way = way[1]
            if way is None:
                return True

    def _complaint(self, thread: int) -> str:
        """Return the message of a DeadlockError; the `repr` of a key is foreign code."""
        try:
            name = repr(self._key)
            if len(name) > _LONGEST_NAME:
                name = f"{name[: _LONGEST_NAME - 3]}..."
        except Exception:  # noqa: BLE001 - whatever it raises, the ring is what matters
            name = object.__repr__(self._key)
        if self._leader == thread:
            return f"the load of {name} asks for its own key"
        return f"the load of {name} waits for a load that this thread leads"


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

    def _survive(self, seen: list[Flight], survivor: int) -> None:
        """Keep, in a forked child, those of the flights seen that its thread leads; end the rest.

        The dict is not touched, only replaced: without a GIL its lock may be held for ever by a
        thread that is not there any more.
        """
        under_way = self._under_way = {}
        for flight in seen:
            flight._under_way = under_way
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


# Not a WeakSet: that cannot be listed while another thread adds to it.
_alive: WeakValueDictionary[int, Flights] = WeakValueDictionary()


class _Fork(local):
    """What the thread that forks has seen just before: what the child keeps or ends."""

    seen: tuple[tuple[Flights, list[Flight]], ...] = ()
    waits: tuple[Flight, ...] = ()


_fork = _Fork()


def _before_fork() -> None:
    """Look at what is shared as long as its locks can be had."""
    alive = [flights for ref in _alive.valuerefs() if (flights := ref()) is not None]
    _fork.seen = tuple((flights, list(flights._under_way)) for flights in alive)
    _fork.waits = _waiting.get(get_ident(), ())


def _after_fork_in_parent() -> None:
    """Hold nothing longer than the fork took."""
    _fork.seen = _fork.waits = ()


def _after_fork_in_child() -> None:
    """Forget the threads that only the parent has, and leave alone what they may have locked."""
    global _alive, _waiting
    me = get_ident()
    _waiting = {me: _fork.waits} if _fork.waits else {}
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
