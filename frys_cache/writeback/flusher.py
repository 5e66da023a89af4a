"""What brings dirty writes to where they belong: batches, retries, dead letters.

One batch is on its way at a time, in a daemon thread, without any lock.  It goes when its oldest
write has waited for `max_delay`, when there is enough for a whole one, or when room is wanted.

A batch that fails is taken apart by rounds.py, which tells refused writes from an outage.

What has been sent moves from the journal to the data in pieces of 64, each one batch of RocksDB
under the lock that a put takes, too.  If that fails, it is tried again without sending: but a
process that ends before has sent twice.
Not chosen: an acknowledgement per write, which is a batch of RocksDB each.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from frys_cache.errors import CacheClosed, CacheError
from frys_cache.writeback.dirty import SENT, SUSPECT, Dirty, Op
from frys_cache.writeback.journal import NoJournal
from frys_cache.writeback.rounds import Round
from frys_cache.writeback.signals import Signal
from frys_cache.writeback.turns import Turns, tell_of

__all__ = ["PIECE", "Dead", "Flusher"]

_NAME: Final = "frys-cache flusher"
PIECE: Final = 64
"""How many writes are moved under the lock at once."""
_FIRST_S: Final = 0.05
_LONGEST_S: Final = 30.0
# While somebody waits for a flush or for room, the next try is not further away than this.
_LONGEST_WAITED_S: Final = 0.25
_MOST_DOUBLINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Dead:
    """A write that was set aside, and why."""

    op: Op
    attempts: int
    error: str
    readable: bool = True


class Flusher:
    """Send what is dirty.  Its thread starts when it is first rung for.  Safe from any thread."""

    __slots__ = (
        "__weakref__",
        "_before",
        "_busy",
        "_draw",
        "_ended",
        "_landing",
        "_max_attempts",
        "_max_batch",
        "_max_delay",
        "_out_since",
        "_outages",
        "_pack",
        "_send",
        "_steady",
        "_taken",
        "_until",
        "dirty",
        "journal",
        "on_dead",
        "on_event",
        "turns",
    )

    def __init__(
        self,
        dirty: Dirty,
        journal: NoJournal,
        *,
        send: Callable[[list[Op], list[Op]], object] | None,
        pack: Callable[[bytes, bytes, int], bytes] | None,
        max_delay: float,
        max_batch: int,
        max_attempts: int,
        on_dead: Callable[[Dead], object],
        on_event: Callable[[str, dict[str, Any]], object] | None,
        steady: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.dirty = dirty
        self.journal = journal
        self._send = send
        self._pack = pack
        self._max_delay = max_delay
        self._max_batch = max_batch
        self._max_attempts = max_attempts
        self.on_dead = on_dead
        self.on_event = on_event
        self._steady = steady
        self._draw = draw
        self._until = 0.0  # an outage: nothing is tried before
        self._outages = 0
        self._out_since: float | None = None
        self._busy = False
        self._landing: Signal | None = None  # what ends with the batch that is on its way
        self._before: list[Signal] = []  # what nothing may be sent before the end of
        self._ended = False
        self._taken = 1  # how many writes the backend has taken, and one: 0 is never
        self.turns = Turns(self, _NAME)

    @property
    def dead(self) -> dict[Any, Dead]:
        """Return what was set aside, by code."""
        return self.dirty.dead

    # --- when ------------------------------------------------------------------------------------

    def turn(self) -> float | None:
        """Send one batch if there is one; return in how many seconds to look again."""
        dirty, now = self.dirty, self._steady()
        with dirty.lock:
            if self._ended:
                return None
            self._before = [one for one in self._before if not one.wait(0)]
            if self._before:  # its end rings
                dirty.sleep_locked(None, self._max_batch, deaf=True)
                return None
            deaf = now < self._until
            batch: list[Op] = []
            if not deaf and not self._busy:
                wait = dirty.wait_locked(now, self._max_delay)
                ripe = wait == 0.0 or dirty.is_urgent_locked(self._max_batch)
                batch = dirty.take_locked(now, self._max_batch, ripe=ripe)
            if not batch:
                wait = dirty.wait_locked(now, self._max_delay)
                if deaf and dirty.ops:
                    wait = self._until - now
                dirty.sleep_locked(wait, self._max_batch, deaf=deaf)
                return wait
            self._busy = True
            dirty.sleep_locked(None, self._max_batch, deaf=True)  # there is a turn after this
        try:
            self._round(batch)
        finally:
            with dirty.lock:
                self._busy = False
                landing, self._landing = self._landing, None
            if landing is not None:
                landing.land()
        return 0.0

    def hurry(self) -> None:
        """Try all at once, what waits for its next try, too."""
        with self.dirty.lock:
            self._until = 0.0
            self.dirty.hurry_locked()
        self.ring()

    def told(self) -> None:
        """Have the next turn now, if nobody has asked for that."""
        with self.dirty.lock:
            rings = self.dirty.wants_ring_locked()
        if rings:
            self.ring()

    def ring(self) -> None:
        """Have the next turn now."""
        if self.turns.stopped and not self._ended:
            # The collector has told it that its owner is gone, and then a destructor uses it.
            self.turns = Turns(self, _NAME)
        self.turns.ring()

    def end(self, patience_s: float) -> Signal | None:
        """Have no more turns; wait so long for the thread, unless a batch is on its way.

        Return what ends with that batch.  What it brings stays in the journal, which by then may
        be that of another write-back.
        """
        with self.dirty.lock:
            self._ended = True
            landing = self.landing_locked()
        self.turns.stop(0.0 if landing is not None else patience_s)
        return landing

    def wait_for(self, before: list[Signal]) -> None:
        """Send nothing before these have ended: the batches of those who were here before."""
        self._before = before
        mine = weakref.ref(self)

        def ring() -> None:
            flusher = mine()
            if flusher is not None:
                flusher.ring()

        for one in before:
            one.on_end(ring)

    def landing_locked(self) -> Signal | None:
        """Return what ends with the batch that is on its way; None: there is none."""
        if self._busy and self._landing is None:
            self._landing = Signal()
        return self._landing

    def _pause(self, times: int) -> float:
        """Return how long to wait after so many failures: exponential, with full jitter."""
        waited = self.dirty.waiting or self.dirty.room is not None
        longest = _LONGEST_WAITED_S if waited else _LONGEST_S
        return self._draw() * min(longest, _FIRST_S * float(1 << min(times, _MOST_DOUBLINGS)))

    # --- one batch -------------------------------------------------------------------------------

    def _round(self, batch: list[Op]) -> None:
        """Deliver a batch, and see what becomes of those that failed."""
        one = Round(self._deliver, self._draw)
        left = {id(op): op for op in batch}
        taken = self._taken
        try:
            error = one.run(batch)
            for op in batch:
                if op.state != SENT and not op.failed_at:
                    op.failed_at = taken
            if one.got_through:
                self._recovered()
            counts = one.tells_apart or (error is None and len(self.dirty.ops) <= 1)
            if error is None and one.failed and not counts:
                error = one.failed[0][1]
            if counts:
                for op, why in one.failed:
                    del left[id(op)]
                    self._refused(op, why)
            if error is not None:
                self._out(error)
        finally:
            with self.dirty.lock:
                for op in left.values():
                    # Those that were sent are gone, or have their next try already.
                    if op.state != SENT:
                        if one.got_through:
                            op.state = SUSPECT
                        self.dirty.retry_locked(op, self._until)

    def _deliver(self, part: list[Op]) -> BaseException | None:
        """Send some, and move them to where they belong; return why the backend refused."""
        fresh = [op for op in part if op.state != SENT]
        if fresh and self._send is not None:
            try:
                self._send(
                    [op for op in fresh if not op.is_delete], [op for op in fresh if op.is_delete]
                )
            except BaseException as error:  # noqa: BLE001 - also what a cancelled task raises
                return error
            self._taken += len(fresh)
        for op in fresh:
            op.state = SENT
        for at in range(0, len(part), PIECE):
            self._settle(part[at : at + PIECE])
        return None

    def _settle(self, piece: list[Op]) -> None:
        """Move what has been sent from the journal to the data, if that can be written."""
        try:
            ended = self._move(piece)
        except CacheClosed:
            # The tier has gone first: the journal keeps it, and nobody has anything to wait for.
            with self.dirty.lock:
                waiting, self.dirty.waiting = self.dirty.waiting, []
            for one in waiting:
                one.end.land()
            raise
        except CacheError:
            with self.dirty.lock:
                due = self._steady() + self._pause(5)
                for op in piece:
                    self.dirty.retry_locked(op, due)
            return
        for signal in ended:
            signal.land()

    def _move(self, piece: list[Op]) -> list[Signal]:
        dirty, pack = self.dirty, self._pack
        # What was loaded before it was sent is older, though its version may be newer: it was read
        # from where this had not come to yet.
        version = self.journal.version(dirty.top)
        records = [
            b"" if op.is_delete or not pack else pack(op.code, op.record, version) for op in piece
        ]
        ended: list[Signal] = []
        with dirty.lock:
            if self._ended:
                raise CacheClosed("the cache has been closed")
            live = [(op, to) for op, to in zip(piece, records, strict=True) if self._is_live(op)]
            self.journal.settle(
                [(op.code, record) for op, record in live if not op.is_delete],
                [(op.code, version) for op, _ in live if op.is_delete],
            )
            for op, _ in live:
                if not dirty.remove_locked(op):  # a destructor has put this key just now
                    self.restore_locked(op.code)
            for op in piece:
                dirty.sent_locked(op)
                ended += dirty.count_locked(op)
            return ended + dirty.freed_locked()

    def _is_live(self, op: Op) -> bool:
        return self.dirty.ops.get(op.code) is op

    def restore_locked(self, code: Any) -> None:
        """Have the journal say of a code what the map says."""
        op, letter = self.dirty.ops.get(code), self.dead.get(code)
        if op is not None:
            self.journal.put(code, op.record)
        elif letter is not None:
            self.journal.bury(code, letter.op.record, letter.attempts, letter.error)
        else:
            self.journal.forget([code])

    # --- what fails ------------------------------------------------------------------------------

    def _refused(self, op: Op, error: BaseException) -> None:
        """Count an attempt of a write that fails alone; set it aside after the last one.

        Not while the backend takes nothing at all: then nobody knows whom it refuses.
        """
        ended: list[Signal] = []
        with self.dirty.lock:
            if self._ended or not self._is_live(op):
                return
            op.attempts += 1
            due = self._steady() + self._pause(op.attempts - 1)
            if op.attempts < self._max_attempts or self._taken <= op.failed_at:
                self.dirty.retry_locked(op, due)
                return
            letter = Dead(op, op.attempts, f"{type(error).__name__}: {error}")
            try:
                self.journal.bury(op.code, op.record, op.attempts, letter.error)
            except CacheError:
                self.dirty.retry_locked(op, due)
                return
            # First here and then not there, so that a reader finds it in one of them.
            self.set_aside_locked(letter)
            if not self.dirty.remove_locked(op):
                self.dead.pop(op.code, None)
                self.restore_locked(op.code)
                return
            self.dirty.sent_locked(op)  # an older one must not take its place
            ended = self.dirty.count_locked(op, dead=True) + self.dirty.freed_locked()
        for signal in ended:
            signal.land()
        self.tell("dead-letter", key=op.key, attempts=op.attempts, error=letter.error)
        try:
            self.on_dead(letter)
        except Exception as wrong:  # noqa: BLE001 - it is the user's, and has no caller
            tell_of(wrong, "in on_dead_letter")

    def set_aside_locked(self, letter: Dead) -> None:
        """Have readers find a dead letter."""
        self.dirty.buries = True
        self.dead[letter.op.code] = letter

    def _out(self, error: BaseException) -> None:
        """Try nothing for a while."""
        now = self._steady()
        self._until = now + self._pause(self._outages)
        self._outages += 1
        if self._out_since is None:
            self._out_since = now
            text = f"{type(error).__name__}: {error}"
            self.tell("outage", error=text, entries=len(self.dirty.ops))

    def _recovered(self) -> None:
        """Note that something got through."""
        self._outages = 0
        since, self._out_since = self._out_since, None
        if since is not None:
            self.tell("recovered", seconds=self._steady() - since, entries=len(self.dirty.ops))

    def tell(self, kind: str, **detail: Any) -> None:
        """Tell whoever listens; what they raise is nobody's."""
        if self.on_event is None:
            return
        try:
            self.on_event(kind, detail)
        except Exception as wrong:  # noqa: BLE001 - it is the user's, and has no caller
            tell_of(wrong, f"in on_event {kind!r}")
