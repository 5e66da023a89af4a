"""Write-back: a write is acknowledged once it is in the journal, and sent to the backend later.

A put encodes its value, writes one journal record and puts an `Op` into the dirty map, where every
reader looks before it looks below: so everybody reads what was written, wherever it is by then.
dirty.py says what waits, journal.py what survives, flusher.py and rounds.py how it is sent, kept.py
and pending.py how it begins and ends.

Cost of a put at level "process": RocksDB's put of a record and about as much again.
Not chosen: acknowledging a write that is in memory only, unless that is asked for by name; dropping
what does not fit: a put waits for room, and then says Backpressure.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from frys_cache._core import Deposit
from frys_cache.errors import Backpressure, CacheClosed, CacheTimeout
from frys_cache.tiers.handle import translate
from frys_cache.types import MISSING
from frys_cache.writeback.dirty import LOGGED, Op
from frys_cache.writeback.journal import refused
from frys_cache.writeback.kept import DeadLetter
from frys_cache.writeback.pending import FlushReport, Pending, size_of
from frys_cache.writeback.signals import Signal

__all__ = ["DeadLetter", "FlushReport", "WriteBack"]


class WriteBack(Pending):
    """Keep writes until the backend has them.

    codec: that of the tier; None: codes are keys, and values stay objects.  tier: a DiskTier, or
    None where durability is "memory".  send: called with the puts and the deletes of a batch, in
    the flusher's thread; what it raises makes it come again.  max_dirty_entries, max_dirty_bytes:
    the bounds; max_delay, put_timeout: seconds.  max_attempts: after so many a write is set aside,
    if the backend has taken another one meanwhile.  on_dead_letter: called with a DeadLetter.
    on_event: called with a kind and a dict.  unknown: whether a level "memory" ended before it had
    sent everything.

    Safe from any thread.  Raises ConfigurationError.

    >>> from frys_cache.tiers.face import SyncFace, run_sync
    >>> sent = []
    >>> writes = WriteBack(codec=None, tier=None, send=lambda puts, deletes: sent.extend(puts),
    ...                    durability="memory")
    >>> run_sync(writes.put(SyncFace(), "key", "key", "value", 1, 0))
    True
    >>> writes.value_of(writes.find("key"))
    'value'
    >>> run_sync(writes.close(SyncFace()))
    FlushReport(written=1, dead=0, left=0)
    """

    __slots__ = ()

    # --- writing ---------------------------------------------------------------------------------

    def put_now(self, code: Any, key: Any, value: Any, version: int, expires_ms: int) -> bool:
        """Take a write at once; False: late, no room, or level "host": `put` has to be awaited.

        Raises what `put` does where there is nothing to wait for.
        """
        if self._commit is not None:
            return False
        taken = self._now(code, key, value, version, expires_ms)
        return taken is True or self._take(taken) is True

    async def put(
        self, face: Any, code: Any, key: Any, value: Any, version: int, expires_ms: int
    ) -> bool:
        """Take a write; it is acknowledged when this returns.

        False: late, a newer write of this key, or a clear, came before; who has drawn the version
        for this write draws a new one and comes again.  Raises Backpressure, CacheClosed, and what
        the codec raises.
        """
        op = self._now(code, key, value, version, expires_ms)
        if op is not True:
            return await self._bring(face, op)
        if self._commit is not None:
            await face.wait(self._commit.join())
        return True

    def _now(
        self, code: Any, key: Any, value: Any, version: int, expires_ms: int
    ) -> Op | Literal[True]:
        """Take a write of a key that is not dirty, if nothing else has to be looked at.

        What `_take` does, in a straight line; where that is not enough, return the write.
        """
        if self._encode is None:
            return self._op(code, key, value, version, expires_ms)
        record = self._encode(code, value, version, expires_ms)
        try:
            taken = self._dirty.take(code, key, record, version, expires_ms, self._log)
        except Exception as error:
            raise refused(translate(error)) from error
        return True if taken is True else self._look(taken)

    def _look(self, taken: Op | Literal[False]) -> Op | Literal[True]:
        """Do what `Intake.take` leaves to be done; return a write that is not taken yet."""
        if taken is False:
            self._flusher.told()
            return True
        if taken.state == LOGGED:
            with self._dirty.lock:
                self._flusher.restore_locked(taken.code)
        return taken

    def deposit(self, encode: Any, draw: Any, wall: Any, forget: Any) -> Deposit | None:
        """Return the straight path of `put_now`; None where values are signed or kept as objects.

        encode: gives the bytes of a key; draw: a version; wall: the time.  forget: called first.
        """
        codec = self._codec
        if codec is None or not codec.is_plain or self._commit is not None:
            return None

        def rest(taken: Op | Literal[False]) -> bool:
            op = self._look(taken)
            return op is True or self._take(op) is True

        def failed(error: Exception) -> None:
            raise refused(translate(error)) from error

        size = codec.max_value_size
        return Deposit(self._dirty, encode, size, draw, wall, self._log, forget, rest, failed)

    async def delete(self, face: Any, code: Any, key: Any, version: int) -> bool:
        """Take a delete, as `put` does."""
        return await self._bring(face, self._op(code, key, MISSING, version, 0))

    async def put_many(self, face: Any, entries: list[tuple[Any, Any, Any, int, int]]) -> list[Any]:
        """Take many writes, all or none; return the codes of those that were late."""
        newest: dict[Any, Op] = {}
        late = []
        for entry in entries:
            op = self._op(*entry)
            other = newest.get(op.code)
            if other is None or other.version <= op.version:
                newest[op.code] = op
        if newest:
            late = await self._until_taken(face, lambda: self._take_all(newest))
        return late

    async def _bring(self, face: Any, op: Op) -> bool:
        taken: bool = await self._until_taken(face, lambda: self._take(op))
        if self._commit is not None:
            await face.wait(self._commit.join())
        return taken

    async def _until_taken(self, face: Any, take: Callable[[], Any]) -> Any:
        """Wait for room, as long as that may take."""
        end = self._steady() + self._put_timeout
        while True:
            taken = take()
            if not isinstance(taken, Signal):
                return taken
            left = end - self._steady()
            if left <= 0:
                self._refuse()
            self._flusher.ring()
            with suppress(CacheTimeout):
                await face.wait(taken, left)

    def _refuse(self) -> None:
        dirty = self._dirty
        text = (
            f"{len(dirty.ops)} writes of {dirty.size} bytes wait for a slower tier: at most "
            f"{dirty.max_entries} entries and {dirty.max_bytes} bytes may; there was no room for "
            f"{self._put_timeout} s, so this one was not taken; try later, or raise "
            "max_dirty_entries or max_dirty_bytes"
        )
        self._flusher.tell("backpressure", entries=len(dirty.ops), size_bytes=dirty.size)
        raise Backpressure(text)

    def _op(self, code: Any, key: Any, value: Any, version: int, expires_ms: int) -> Op:
        """Return a write, encoded; without any lock, for that runs code of the user."""
        is_delete = value is MISSING
        record = b""
        size = 0
        if self._encode is None:
            size = size_of(value)
        else:
            if is_delete:
                record = self._codec.tombstone(code, version, expires_ms)
            else:
                record = self._encode(code, value, version, expires_ms)
            size = len(code) + len(record)
            value = MISSING
        return Op(code, key, version, expires_ms, record, value, is_delete, size, self._steady())

    def _take(self, op: Op) -> bool | Signal:
        """Journal a write and make it dirty.  False: late.  A Signal: no room before it ends."""
        dirty, flusher, code = self._dirty, self._flusher, op.code
        letter = None
        with dirty.lock:
            while True:
                if dirty.closing:
                    raise CacheClosed("the cache has been closed")
                old = dirty.ops.get(code)
                if dirty.is_late_locked(op, old):
                    return False
                entries = old is None
                growth = op.size if old is None else op.size - old.size
                if not dirty.has_room_locked(entries, growth, not entries):
                    return dirty.room_locked()
                self._journal.put(code, op.record)
                if dirty.add_locked(op, old):
                    break
                # A destructor or a handler has changed this key since: the journal, too, has to
                # say what they said.
                flusher.restore_locked(code)
            if flusher.dead:
                letter = flusher.dead.pop(code, None)
            rings = dirty.wants_ring_locked()
        del letter, old  # what they hold ends here, without the lock
        if rings:
            flusher.ring()
        return True

    def _take_all(self, newest: dict[Any, Op]) -> list[Any] | Signal:
        """Do the same for many."""
        dirty, flusher = self._dirty, self._flusher
        gone: list[Any] = []
        with dirty.lock:
            if dirty.closing:
                raise CacheClosed("the cache has been closed")
            late, pairs = [], []
            growth = entries = 0
            for code, op in newest.items():
                old = dirty.ops.get(code)
                if dirty.is_late_locked(op, old):
                    late.append(code)
                    continue
                pairs.append((op, old))
                growth += op.size - (old.size if old is not None else 0)
                entries += old is None
            if not dirty.has_room_locked(entries, growth, len(pairs) - entries):
                return dirty.room_locked()
            self._journal.put_all([(op.code, op.record) for op, _ in pairs])
            for op, old in pairs:
                if not dirty.add_locked(op, old):
                    self._add_again_locked(op, gone)
                gone.append(flusher.dead.pop(op.code, None))
            rings = dirty.wants_ring_locked()
        if rings:
            flusher.ring()
        return late

    def _add_again_locked(self, op: Op, gone: list[Any]) -> None:
        """Add what a destructor or a handler has put or cleared meanwhile, if ours is newer."""
        dirty = self._dirty
        while True:
            now = dirty.ops.get(op.code)
            gone.append(now)  # what it holds must not end under the lock
            if dirty.is_late_locked(op, now) or dirty.add_locked(op, now):
                break
        self._flusher.restore_locked(op.code)

    # --- compare and set -------------------------------------------------------------------------

    async def change(
        self,
        face: Any,
        code: Any,
        key: Any,
        seen: Op | None,
        old_record: bytes | None,
        value: Any,
        version: int,
        expires_ms: int,
    ) -> bool:
        """Take a write as `put` does if the key still is as it was read; MISSING deletes it.

        seen: what `find` had returned; where that was None, old_record is what the tier had.
        False: somebody was faster.
        """
        op = self._op(code, key, value, version, expires_ms)
        taken = await self._until_taken(face, lambda: self._swap(op, seen, old_record))
        if taken and self._commit is not None:
            await face.wait(self._commit.join())
        return bool(taken)

    def _swap(self, op: Op, seen: Op | None, old_record: bytes | None) -> bool | Signal:
        with self._dirty.lock:
            if self.find(op.code) is not seen:
                return False
            if seen is None and self._tier is not None:
                if self._tier.read_one(op.code) != old_record:
                    return False
                if self.find(op.code) is not None:
                    return False
            return self._take(op)
