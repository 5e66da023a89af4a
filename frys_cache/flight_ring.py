"""Who waits for whom: loads that wait for each other in a ring are found before they wait for ever.

A flight is led by a thread, or by a `Load`: a task with all that it brings about, its child tasks
and the functions that it calls in threads.  Each of them carries the load in its context, so what
one of them waits for counts as a wait of all.  Who is about to wait says so first and then walks:
from the flight to its leader, from the leader to what that waits for.  A ring that several close at
once is seen by the last of them.  A load of a plain thread is known by the thread, at no cost.

Cost: nothing until somebody waits; then one step for each flight on the way.
Not chosen: a context variable for loads of threads too (0.2 us for each load, where nobody waits),
a search every second (a ring stands that long), none at all and a time limit (a guess).
Not seen: a ring over threads that a load started without its context, or over tasks of an event
loop that it runs itself, as `asyncio.run` in a plain function does.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias

__all__ = [
    "NOBODY",
    "Found",
    "Leader",
    "Load",
    "Node",
    "complaint",
    "current",
    "look",
    "name_of",
    "waiting",
]

_LONGEST_NAME = 100

NOBODY: Final = 0
"""Who leads a flight that waits for a worker: no thread has this id."""


class Load:
    """What leads a flight as a task: known to whatever that brings about, through the context."""

    __slots__ = ("thread", "waits")

    def __init__(self, thread: int) -> None:
        """Name the thread of the event loop, without which the load cannot go on."""
        self.thread = thread
        # One entry for each wait, under a key of its own: several threads write here.
        self.waits: dict[object, Node] = {}


Leader: TypeAlias = "int | Load"


class Node(Protocol):
    """A flight, as far as rings go."""

    _leader: Leader
    _key: object

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        ...


class Found(enum.Enum):
    """What is in the way of a wait."""

    RING = "RING"
    """The flight waits for whoever is about to wait."""
    OWN_LOOP = "OWN_LOOP"
    """The flight cannot end while the calling thread blocks: its loop runs there."""


# Thread id -> the flights it waits for, the innermost last: a signal handler or a finalizer may
# wait while its thread waits already.  A thread changes its own entry only.
waiting: dict[int, tuple[Node, ...]] = {}

current: ContextVar[Load | None] = ContextVar("frys_cache_load", default=None)
"""The load that the running code is part of; None in a plain thread, and outside of loads."""


def _waits_of(leader: Leader) -> Iterable[Node]:
    """Return the flights that have to end before a leader goes on."""
    if isinstance(leader, Load):
        # A thread that blocks stops its event loop too.
        return [*list(leader.waits.values()), *waiting.get(leader.thread, ())]
    return waiting.get(leader, ())


def _reach(flight: Node) -> Iterator[Any]:
    """Yield each flight under way that has to end before this one does.

    Each with the way that led to it: (flight, (flight before, (..., None))).
    """
    seen = set()
    todo: list[Any] = [(flight, None)]
    while todo:
        way = todo.pop()
        if way[0].ended:
            continue
        yield way
        leader = way[0]._leader
        if leader not in seen:
            seen.add(leader)
            todo += [(further, way) for further in _waits_of(leader)]


def look(flight: Node, thread: int | None, load: Load | None) -> Found | None:
    """Return what keeps a thread, or a load, or both as one, from waiting; None: nothing does."""
    while True:
        own_loop = False
        for way in _reach(flight):
            leader = way[0]._leader
            if leader in (thread, load):
                break
            own_loop |= isinstance(leader, Load) and leader.thread == thread
        else:
            return Found.OWN_LOOP if own_loop else None
        # Others went on meanwhile: it is a ring if all of it is still under way, now that the
        # last of it has been seen.  Else look again, past what has ended.
        while way is not None and not way[0].ended:
            way = way[1]
        if way is None:
            return Found.RING


def name_of(key: object) -> str:
    """Return what a message calls a key, in short; its `repr` is foreign code, and may fail."""
    try:
        name = repr(key)
        return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
    except Exception:  # noqa: BLE001 - whatever it raises, the message is what matters
        return object.__repr__(key)


def complaint(flight: Node, thread: int | None, load: Load | None) -> str:
    """Return the message of a DeadlockError."""
    name = name_of(flight._key)
    if flight._leader == thread or flight._leader is load:
        return f"the load of {name} asks for its own key"
    return f"the load of {name} waits for a load that this {'task' if load else 'thread'} leads"
