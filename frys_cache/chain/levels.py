"""A level: one tier of a chain, with what the chain knows of it.

That is its breaker, the keys that it may have an older value of, and how often it answered in which
of five ways: a hit, a known absence, a stale value, a miss, or a fault, which is never a miss.
Cost: nothing beside the counting.
"""

from __future__ import annotations

from datetime import timedelta
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from frys_cache.breaker import Breaker
from frys_cache.chain.doubts import Doubts
from frys_cache.errors import IntegrityError, NoSpace, TierUnavailable, Unreadable
from frys_cache.tiers.base import after
from frys_cache.tiers.face import SYNC, run_sync
from frys_cache.writeback.journal import DEAD

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAULTS", "Level", "expiry_of"]

FAULTS: Final = (TierUnavailable, IntegrityError)
"""What a tier that fails raises."""
WRITES: Final = frozenset({"put_one", "write", "swap"})
"""The calls that need space."""


def expiry_of(life: float | None, wall_ms: int) -> int:
    """Return when a life of so many seconds ends, in milliseconds since 1970; 0 for None, never.

    >>> expiry_of(1.5, 1_000), expiry_of(None, 1_000)
    (2500, 0)
    """
    return 0 if life is None else wall_ms + max(1, round(life * 1000))


class Level:
    """One tier of a chain.

    cache: a `PersistentCache`, or anything with `name`, `tier`, `codec` and `ttl`.  changed: called
    as a `Breaker` calls it.  Safe from any thread; a counter may miss a count of two at once.
    """

    __slots__ = (
        "_admits",
        "batch",
        "breaker",
        "cache",
        "codec",
        "decode",
        "doubted",
        "doubts",
        "faults",
        "full",
        "hands_down",
        "has_journal",
        "hits",
        "keeps",
        "misses",
        "name",
        "negatives",
        "problem",
        "stale",
        "ttl",
        "written",
    )

    def __init__(self, cache: Any, changed: Callable[[Breaker, str, str], object]) -> None:
        self.cache = cache
        self.name: str = getattr(cache, "name", cache.tier.name)
        self.codec = cache.codec
        self.decode = cache.codec.decode
        self.ttl = cache.ttl.total_seconds() if isinstance(cache.ttl, timedelta) else cache.ttl
        admission = getattr(cache, "admission", None)
        self.hands_down = admission is not None and admission.name == "on-evict"
        """Whether it gets only what memory evicts."""
        self._admits = getattr(cache, "admits", None)
        # What another process writes nobody tells of, so nothing of it is kept in memory.
        store = getattr(cache.tier, "store", None)
        self.has_journal = store is not None and store.mode == "primary"
        self.keeps = store is None or store.mode != "secondary"
        self.batch = "fetch_list" if hasattr(cache.tier, "fetch_list") else "read"
        """What reads many keys: the first, where there is it, leaves the expiry to the chain."""
        self.doubts = Doubts(
            cache, drop=lambda keys, at: run_sync(self.ask(SYNC, "drop", keys, at))
        )
        self.doubted = self.doubts.keys
        self.hits = self.misses = self.negatives = self.stale = self.faults = self.written = 0
        self.problem: str | None = None
        """What it said when it last failed; None once it works again."""
        self.full = False
        """Whether that was a lack of space, which only a write finds to be over."""
        self.breaker = Breaker(self.name, self.answers, on_change=changed)

    def answers(self) -> int:
        """Return how many calls have succeeded."""
        return self.hits + self.misses + self.negatives + self.stale + self.written

    def life(self, seconds: float | None) -> float | None:
        """Return how long an entry lives here: no longer than the tier lets any live."""
        if self.ttl is None:
            return seconds
        return self.ttl if seconds is None else min(seconds, self.ttl)

    def admits(self, code: bytes, life: float | None) -> bool:
        """Tell whether what is stored goes here now."""
        if self.hands_down:
            # What memory evicts comes without its expiry, so what has one is stored at once.
            return life is not None
        return self._admits is None or bool(self._admits(code))

    def resting(self) -> TierUnavailable:
        """Return what is said of a tier whose breaker is open."""
        return TierUnavailable(f"the {self.name} tier is left alone for a while: {self.problem}")

    def journal_size(self) -> int:
        """Return how many writes wait in its journal for this namespace, 1,000 at most."""
        prefix = self.codec.prefix()
        items = self.cache.tier.rocks.items("journal", prefix, after(prefix), 1_000, 1 << 24)
        return sum(not value.startswith(DEAD) for _, value in items)

    def failed(self, error: BaseException) -> None:
        """Count a fault.  A tier that is only full goes on being read."""
        self.faults += 1
        self.problem = f"{type(error).__name__}: {error}"
        self.full = isinstance(error, NoSpace)
        if not self.full:
            self.breaker.failed(error)

    def recovered(self, wrote: bool) -> None:
        """Take note that it has worked again, after a problem."""
        if self.breaker.closed and (wrote or not self.full):
            self.problem = None

    async def discard(self, face: Any, code: bytes, error: IntegrityError) -> None:
        """Remove a record that cannot be read, as well as can be."""
        if hasattr(self.cache, "damaged"):
            self.cache.damaged(code, error)
        elif not isinstance(error, Unreadable):
            await self.ask(face, "drop", [code])

    async def ask(self, face: Any, method: str, *arguments: Any) -> Any:
        """Call a method of the tier; `TierUnavailable` at once while the breaker is open."""
        breaker = self.breaker
        probes = not breaker.closed
        if probes and not breaker.admits():
            raise self.resting()
        tier = self.cache.tier
        ended = False
        try:
            answer = getattr(tier if face.blocks else tier.on(face), method)(*arguments)
            if isawaitable(answer):
                answer = await answer
            ended = True
        except FAULTS as error:
            ended = True
            self.failed(error)
            raise
        finally:
            if probes and not ended:
                breaker.released()
        self.written += 1
        if probes:
            breaker.succeeded()
        if self.problem is not None:
            self.recovered(method in WRITES)
        return answer
