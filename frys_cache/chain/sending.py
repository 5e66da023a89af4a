"""Opening a write-back below a cache, and bringing to the backend what waits.

The flusher calls `_send` on its own thread with a batch; a backend of coroutines runs as a task of
the event loop on which the cache was made, and the flusher waits for it.  Cost: one call of the
backend per batch where it has `store_many`, else one per key.
Not chosen: an event loop of our own for such a backend, whose connections belong to another.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frys_cache.chain.decisions import Decisions
from frys_cache.chain.levels import Level
from frys_cache.consistency import ConsistencyManager, async_methods
from frys_cache.errors import CacheTimeout, ConfigurationError
from frys_cache.tiers.face import SYNC, run_sync

if TYPE_CHECKING:
    from frys_cache.config import CacheConfig

__all__ = ["Sending", "loop_of"]


class Sending(Decisions):
    """The part of a `CacheManager` that has writes wait."""

    consistency: ConsistencyManager
    _loop: Any

    def _begin_write_back(self, config: CacheConfig | None) -> None:
        """Open the journal, and bring back what it has before anything is read."""
        rules = self.consistency
        self._journals = next((one for one in self._levels if one.has_journal), None)
        if self._journals is None and rules.durability != "memory":
            raise ConfigurationError(
                f"WRITE_BACK with durability={rules.durability!r} keeps its journal on disk: pass "
                'persistent= too, or durability="memory", where a crash loses the last second'
            )
        if self._backend is None and not self._levels:
            raise ConfigurationError(
                "WRITE_BACK needs somewhere to write: a backend or persistent="
            )
        if any(level.hands_down for level in self._levels):
            raise ConfigurationError("WRITE_BACK and admission='on-evict' exclude each other")
        if self._journals is not None and self._journals is not self._levels[0]:
            raise ConfigurationError(
                "with WRITE_BACK the tier with the journal comes first below memory: a tier above "
                "it would not hear of what is sent"
            )
        if rules._in_use:
            raise ConfigurationError("a ConsistencyManager with WRITE_BACK is for one cache")
        self._siblings.claim()
        # Here, for it is half of what a cache imports.
        from frys_cache.codec.entry import Codec
        from frys_cache.writeback.writeback import WriteBack

        journals = self._journals
        if journals is None:
            # Bytes, so that no foreign code compares keys while the writes that wait are locked.
            self._code = Codec(namespace="default" if config is None else config.namespace).key
        self._writes = WriteBack(
            codec=None if journals is None else journals.codec,
            tier=None if journals is None else journals.cache.tier,
            send=self._send if self._backend is not None or self._below_journal() else None,
            durability=rules.durability,
            max_dirty_entries=rules.max_dirty_entries,
            max_dirty_bytes=rules.max_dirty_bytes,
            max_delay=rules.max_delay,
            max_batch=rules.max_batch,
            put_timeout=rules.put_timeout,
            max_attempts=rules.max_attempts,
            on_dead_letter=rules.on_dead_letter,
            on_event=lambda kind, detail: self._events.tell(kind, **detail),
        )
        if journals is not None and rules.durability != "memory":
            self._note_what_is_below(journals)
        self._siblings.writes = rules._write_back = self._writes
        rules._in_use = True
        self._writes.replay()
        if self._writes.unknown:
            warnings.warn(
                "the process that had this cache before ended with writes that were in its memory "
                "alone; which, nobody knows",
                RuntimeWarning,
                stacklevel=2,
            )

    def _below_journal(self) -> list[Level]:
        """Return the levels that a write reaches after the journal, the lowest first."""
        if self._journals is None:
            return list(reversed(self._levels))
        return list(reversed(self._levels[self._levels.index(self._journals) + 1 :]))

    def _send(self, puts: list[Any], deletes: list[Any]) -> None:
        """Bring a batch to the backend and the tiers below the journal, on the flusher's thread."""
        writes = self._writes
        assert writes is not None
        if self._backend is not None:
            values = {op.key: writes.value_of(op) for op in puts}
            keys = [op.key for op in deletes]
            sending = _send_to(self._backend, values, keys, self._loop is not None)
            if self._loop is None:
                run_sync(sending)
            else:
                _on_loop(self._loop, sending)
        for level in self._below_journal():
            if puts:
                records = [
                    (
                        op.code,
                        level.codec.encode(op.code, writes.value_of(op), op.version, op.expires_ms),
                    )
                    for op in puts
                ]
                run_sync(level.ask(SYNC, "write", records))
            for op in deletes:
                run_sync(level.ask(SYNC, "drop", [op.code], op.version))

    def _look_at_journals(self) -> None:
        """Bring further what an earlier write-back has left, or refuse to write past it."""
        if self._siblings.writes is not None:
            raise ConfigurationError(
                "another cache of this process has these entries with a WRITE_BACK: give this one "
                "another namespace"
            )
        for level in self._levels:
            waiting = level.journal_size() if level.has_journal else 0
            if not waiting:
                continue
            if level.cache.tier.rocks.get("meta", _mark_of(level)) != _NOTHING_BELOW:
                raise ConfigurationError(
                    f"{waiting} writes wait in the journal of {level.cache!r} for a backend, and "
                    "would come after what is written now: open it once with WRITE_BACK and that "
                    "backend, and flush() it"
                )
            self._settle(level)

    def _settle(self, level: Level) -> None:
        """Have the tier keep what its journal has, where nothing else was to get it."""
        from frys_cache.writeback.writeback import WriteBack

        writes = WriteBack(codec=level.codec, tier=level.cache.tier, send=None)
        writes.replay()
        run_sync(writes.flush(SYNC))
        run_sync(writes.close(SYNC))

    def _note_what_is_below(self, level: Level) -> None:
        """Leave word for who opens this after a crash: whether the journal is for a backend."""
        word = _NOTHING_BELOW if self._backend is None and not self._below_journal() else b"1"
        rocks = level.cache.tier.rocks
        if rocks.get("meta", _mark_of(level)) != word:
            rocks.write([("meta", _mark_of(level), word)])


_NOTHING_BELOW = b"0"


def _mark_of(level: Level) -> bytes:
    prefix: bytes = level.codec.prefix()
    return b"journal-for:" + prefix


def loop_of(backend: Any) -> Any:
    """Return the event loop that runs an async backend: the one that is running now."""
    if backend is None or not async_methods(backend):
        return None
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            f"{type(backend).__name__} is async, and no event loop is running: a cache of threads "
            "needs a backend of plain functions; make this one inside of a coroutine"
        ) from None


async def _send_to(backend: Any, values: Mapping[Any, Any], keys: list[Any], waits: bool) -> None:
    """Store values and remove keys in a backend, plain or async."""

    async def call(method: Any, *arguments: Any) -> None:
        if not waits:
            await SYNC.call(method, *arguments)  # refuses what would have to be awaited
            return
        answer = method(*arguments)
        if hasattr(answer, "__await__"):
            await answer

    if values and hasattr(backend, "store_many"):
        await call(backend.store_many, dict(values))
    else:
        for key, value in values.items():
            await call(backend.store, key, value)
    if keys and hasattr(backend, "delete_many"):
        await call(backend.delete_many, list(keys))
    else:
        for key in keys:
            await call(backend.delete, key)


def _on_loop(loop: Any, coro: Any) -> None:
    """Run a coroutine as a task of an event loop, from another thread, to its end."""
    import asyncio

    try:
        future = asyncio.run_coroutine_threadsafe(coro, loop)
    except RuntimeError:
        coro.close()
        raise
    while True:
        try:
            future.result(1.0)
            return
        except TimeoutError:
            if future.done():
                future.result()
                return
            if loop.is_closed():
                future.cancel()
                raise CacheTimeout("the event loop of the backend has been closed") from None
