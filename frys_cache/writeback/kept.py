"""What a journal has kept: writes that an earlier process has not sent, and dead letters.

A replay puts the former back into the dirty map as they were, with their versions, so that it may
be done again after another kill: whoever is newer wins.  Each is decoded once, which checks its
signature; what cannot be read is set aside beside the dead letters, and told.
Cost: 5 us a record.  Not chosen: sending them before the cache is opened, which a slow backend
would hold up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from frys_cache.errors import IntegrityError, Unreadable
from frys_cache.tiers.base import head_of
from frys_cache.types import MISSING
from frys_cache.writeback.dirty import Dirty, Op
from frys_cache.writeback.flusher import Dead, Flusher
from frys_cache.writeback.journal import NoJournal

__all__ = ["DeadLetter", "Kept"]

_TOMBSTONE: Final = 2


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A write that the backend refused too often.  value: MISSING: a delete, or unreadable."""

    key: Any
    value: Any
    version: int
    attempts: int
    error: str


class Kept:
    """The methods of a write-back for what was kept."""

    __slots__ = (
        "_codec",
        "_dirty",
        "_flusher",
        "_journal",
        "_on_dead_letter",
        "_steady",
        "_tier",
    )

    _codec: Any
    _dirty: Dirty
    _flusher: Flusher
    _journal: NoJournal
    _on_dead_letter: Callable[[DeadLetter], object] | None
    _steady: Callable[[], float]
    _tier: Any

    def value_of(self, op: Op) -> Any:
        """Return the value of a write as it was when it was put; MISSING for a delete."""
        if self._codec is None or op.is_delete:
            return op.value
        found = self._codec.decode(op.code, op.record)
        return MISSING if found is None else found[0]

    def replay(self) -> int:
        """Take what an earlier process has left in the journal; return how many are to be sent.

        Once, before anything is read.  What cannot be read becomes a dead letter.  Raises
        IntegrityError where the journal itself is damaged.
        """
        count = 0
        unreadable = []
        prefix = self._codec.prefix() if self._codec is not None else b""
        for one in self._journal.stored(prefix):
            version, expires_ms = head_of(one.record)
            is_delete = len(one.record) > 1 and bool(one.record[1] & _TOMBSTONE)
            size = len(one.code) + len(one.record)
            error, key, damage = one.error, None, None
            try:
                key = self._codec.user_key(one.code)
                with suppress(Unreadable):  # whoever needs the value is told
                    self._codec.decode(one.code, one.record)
            except IntegrityError as wrong:
                damage = wrong
                error = error or f"it cannot be read back: {damage}"
            now = self._steady()
            readable = damage is None
            op = Op(one.code, key, version, expires_ms, one.record, MISSING, is_delete, size, now)
            if one.is_dead or error:
                letter = Dead(op, one.attempts, error, readable)
                with self._dirty.lock:
                    self._flusher.set_aside_locked(letter)
                if not one.is_dead:
                    unreadable.append(letter)
                continue
            with suppress(ValueError):  # a version that no clock has given
                self._tier.versions.observe(version)
            with self._dirty.lock:
                self._dirty.is_late_locked(op, None)
                count += self._dirty.add_locked(op, None)
        for letter in unreadable:
            self._flusher.tell("dead-letter", key=letter.op.code, attempts=0, error=letter.error)
        if count:
            self._flusher.told()
        return count

    # --- dead letters ----------------------------------------------------------------------------

    def dead_letters(self) -> list[DeadLetter]:
        """Return what was set aside."""
        return [self._letter(one) for one in list(self._flusher.dead.values())]

    def _letter(self, dead: Dead) -> DeadLetter:
        op = dead.op
        try:
            value = self.value_of(op)
        except IntegrityError:
            value = MISSING
        return DeadLetter(op.key, value, op.version, dead.attempts, dead.error)

    def _died(self, dead: Dead) -> None:
        """Tell the user of a dead letter."""
        if self._on_dead_letter is not None:
            self._on_dead_letter(self._letter(dead))

    def retry_dead_letters(self) -> int:
        """Have what was set aside sent again; return how many that are.

        Those that cannot be read stay.  Raises Backpressure where the journal cannot be written.
        """
        dirty, flusher = self._dirty, self._flusher
        count = 0
        for dead in list(flusher.dead.values()):
            op = dead.op
            if not dead.readable:
                continue
            again = Op(
                *(op.code, op.key, op.version, op.expires_ms, op.record, op.value, op.is_delete),
                *(op.size, self._steady()),
            )
            with dirty.lock:
                if flusher.dead.get(op.code) is not dead:
                    continue
                self._journal.put(op.code, op.record)
                if dirty.add_locked(again, None):
                    del flusher.dead[op.code]
                    count += 1
                else:
                    flusher.restore_locked(op.code)
        self._flusher.told()
        return count
