"""The writes that are still to be sent: the newest of each key, in the order of their age.

`ops` maps a code to its newest `Op`, and one lookup in it is all that a reader needs: no lock, and
deletes are in it, too.  Beside it the codes wait in a queue, those to be retried in a heap; both
may hold operations that have been replaced meanwhile, which whoever takes them out skips, so that
replacing one costs nothing there.  A write of a key that waits takes its place in the queue, and
its age; a write of one that is just being sent comes behind, and both are whole: what has been sent
removes an operation only if it is the very same.

Per key versions decide.  A version above all before is newer than everything; only another one is
compared: with the operation that waits, with what was sent lately, and with the clears.

What a plain put does is in `_core_dirty.pxi`, with the fields that it touches: `Op` and `Intake`.

`lock` guards all of it, and the writes of the journal.  The collector may run a destructor there,
and a signal a handler, which may put or delete in the same thread, so it can be taken again; and
what must be one step is a run of statements without a call, which nothing can come between.
Cost: 250 bytes an operation beside its record; 0.5 us a put.
Not chosen: a queue of operations without a map, which sends every one of a key and which a reader
has to search.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from frys_cache._core import LOGGED, Intake, Op
from frys_cache.tiers.stripes import Clears, Stripe
from frys_cache.writeback.signals import Signal

__all__ = ["FLYING", "LOGGED", "QUEUED", "SENT", "SUSPECT", "Dirty", "Op", "Waiting"]

QUEUED: Final = 0
"""In the queue, or replaced by one that is."""
FLYING: Final = 1
"""Being sent, or waiting for its next try."""
SENT: Final = 2
"""Sent, but the journal could not be told."""
SUSPECT: Final = 3
"""Not got through when others did: waiting for its next try."""

_NEVER: Final = 1 << 62
URGENT: Final = 0.8
"""From this part of a bound on nothing waits for its time."""


class Waiting:
    """What a flush waits for: the codes that were dirty when it began, at which version."""

    __slots__ = ("dead", "end", "left", "written")

    def __init__(self, ops: Iterable[Op]) -> None:
        self.left = {op.code: op.version for op in ops}
        self.written = self.dead = 0
        self.end = Signal()

    def count_locked(self, op: Op, *, dead: bool = False) -> bool:
        """Note that an operation has been sent; tell whether that was the last."""
        version = self.left.get(op.code)
        if version is None or version > op.version:
            return False
        del self.left[op.code]
        if dead:
            self.dead += 1
        else:
            self.written += 1
        return not self.left


class Dirty(Intake):
    """The map, the queue and the heap.  Methods that end in `_locked` need `lock`."""

    __slots__ = (
        "_clears",
        "_number",
        "retries",
        "room",
        "waiting",
    )

    def __init__(
        self, max_entries: int, max_bytes: int, top: int, steady: Callable[[], float]
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.steady = steady
        self.lock = threading.RLock()
        self.queue = deque()
        self.retries: list[tuple[float, int, Op]] = []
        self._number = 0  # makes the items of the heap differ
        # From so many in the queue, or so many bytes in all, on the flusher has to be rung for.
        self.ring_entries = 1
        self.ring_bytes = _NEVER
        self.room: Signal | None = None
        self.waiting: list[Waiting] = []
        self.stripe = Stripe(top)
        self._clears = Clears([self.stripe])

    # --- coming in -------------------------------------------------------------------------------

    def is_late_locked(self, op: Op, old: Op | None) -> bool:
        """Tell whether an operation is older than what its key has, or had of late."""
        stripe = self.stripe
        if op.version > stripe.top:
            stripe.top = op.version
            return False
        if old is not None and op.version < old.version:
            return True
        sent = max(stripe.floor, stripe.dropped.get(op.code, -1))
        return bool(op.version <= max(sent, self._clears.last_locked(op.code)))

    def has_room_locked(self, entries: int, size: int, replaced: int) -> bool:
        """Tell whether so many more entries and bytes are within the bounds.

        What is larger than a bound has room where nothing else is, beside those it replaces.
        """
        ops = self.ops
        if len(ops) + entries <= self.max_entries and self.size + size <= self.max_bytes:
            return True
        return (entries <= 0 and size <= 0) or len(ops) <= replaced

    def add_locked(self, op: Op, old: Op | None) -> bool:
        """Put an operation in the place of `old`; False, and nothing changes, if that is gone."""
        code, ops = op.code, self.ops
        if old is None:
            growth = op.size
        else:
            growth = op.size - old.size
            if old.state == QUEUED:
                op.since = old.since
        # Nothing can come between from here ...
        if (ops[code] if code in ops else None) is not old:  # noqa: SIM401 - `get` is a call
            return False
        ops[code] = op
        self.size += growth
        # ... to here.
        if old is None or old.state != QUEUED:
            self.queue.append(op)
        return True

    def wants_ring_locked(self) -> bool:
        """Tell whether the flusher has to be told; until it has heard, as who rings may fail to."""
        return len(self.queue) >= self.ring_entries or self.size >= self.ring_bytes

    def room_locked(self) -> Signal:
        """Return what ends when there may be room."""
        if self.room is None:
            self.room = Signal()
        return self.room

    # --- going out -------------------------------------------------------------------------------

    def is_urgent_locked(self, max_batch: int) -> bool:
        """Tell whether there is so much that nothing waits for its time."""
        return (
            len(self.queue) >= max_batch
            or len(self.ops) >= URGENT * self.max_entries
            or self.size >= URGENT * self.max_bytes
            or bool(self.waiting)
            or self.room is not None
        )

    def take_locked(self, now: float, most: int, *, ripe: bool) -> list[Op]:
        """Take out what is to be sent now, the oldest first; `ripe`: what is in the queue, too.

        At most half are retries where there is more, so that neither waits for the other for ever.
        """
        batch: list[Op] = []
        self._due_locked(batch, now, most // 2 if ripe and self.queue else most)
        while ripe and self.queue and len(batch) < most:
            op = self.ops.get(self.queue.popleft().code)
            if op is not None and op.state == QUEUED:
                op.state = FLYING
                batch.append(op)
        self._due_locked(batch, now, most)
        return batch

    def _due_locked(self, batch: list[Op], now: float, most: int) -> None:
        while self.retries and len(batch) < most and self.retries[0][0] <= now:
            op = heapq.heappop(self.retries)[2]
            if self.ops.get(op.code) is op:
                batch.append(op)

    def retry_locked(self, op: Op, due: float) -> None:
        """Have an operation sent again, not before `due`."""
        if self.ops.get(op.code) is op:
            op.due = due
            self._number += 1
            heapq.heappush(self.retries, (due, self._number, op))

    def hurry_locked(self) -> None:
        """Have all that waits for its next try sent now."""
        self.retries = [(0.0, number, op) for _, number, op in self.retries]

    def wait_locked(self, now: float, max_delay: float) -> float | None:
        """Return in how many seconds something is due, None: nothing is there."""
        while self.queue:
            first = self.queue[0]
            op = self.ops.get(first.code)
            if op is not None and op.state == QUEUED:
                break
            self.queue.popleft()
        moments = []
        if self.queue:
            moments.append(self.ops[self.queue[0].code].since + max_delay)
        if self.retries:
            moments.append(self.retries[0][0])
        return max(0.0, min(moments) - now) if moments else None

    def sleep_locked(self, wait: float | None, max_batch: int, *, deaf: bool) -> None:
        """Say when a put has to ring; deaf: not before the next try."""
        if deaf:
            self.ring_entries = self.ring_bytes = _NEVER
        elif wait is None:
            self.ring_entries, self.ring_bytes = 1, _NEVER
        else:
            others = len(self.ops) - len(self.queue)
            full = int(URGENT * self.max_entries) - others
            self.ring_entries = max(1, min(max_batch, full))
            self.ring_bytes = max(1, int(URGENT * self.max_bytes))

    def remove_locked(self, op: Op) -> bool:
        """Remove an operation, if it is the newest of its key; tell whether it was."""
        code, ops = op.code, self.ops
        if (ops[code] if code in ops else None) is not op:  # noqa: SIM401 - `get` is a call
            return False
        del ops[code]
        self.size -= op.size
        return True

    def sent_locked(self, op: Op) -> None:
        """Have an older write of the same key come late from now on."""
        self.stripe.bury_locked(op.code, op.version)

    def count_locked(self, op: Op, *, dead: bool = False) -> list[Signal]:
        """Tell all that wait for it that an operation is no longer to be sent."""
        if not self.waiting:
            return []
        ended = [one for one in self.waiting if one.count_locked(op, dead=dead)]
        self.waiting = [one for one in self.waiting if one not in ended]
        return [one.end for one in ended]

    def freed_locked(self) -> list[Signal]:
        """Return what has to end since there is room."""
        signal = self.room
        full = len(self.ops) >= self.max_entries or self.size >= self.max_bytes
        if signal is None or (full and self.ops):
            return []
        self.room = None
        return [signal]

    # --- barriers --------------------------------------------------------------------------------

    def clear_locked(self, prefix: bytes, stop: bytes, version: int) -> list[Op]:
        """Remove all whose code begins so; what is not newer than `version` comes late."""
        if prefix or stop:
            self._clears.add_locked(prefix, stop, version)
        else:
            self.stripe.raise_locked(version)
        gone = [op for code, op in list(self.ops.items()) if not prefix or code.startswith(prefix)]
        return [op for op in gone if self.remove_locked(op)]

    @property
    def top(self) -> int:
        """Return the highest version so far."""
        return int(self.stripe.top)
