"""What a chain remembers of keys beside memory: stale values, early refreshes, absences.

Memory knows one end of an entry, and a hit there compares nothing else.  So memory holds a value
until it is to be looked at again (its refresh, or its expiry), and whatever outlasts that is held
here: the value until it may no longer be served stale, when to load it anew, when to try again
after a load that failed, and that a key is absent.  A hit in memory thus pays nothing for it; a
miss pays one look.

It is a `MemoryCache` beside memory, which brings the bound, the times, and the order of races: a
`forget` makes the tokens of its key worthless, so what was being loaded meanwhile is not kept, and
of two that keep with tokens of one moment the first one wins.  Only there are keys compared.
Tokens there are shared between keys, so one may be worthless because of a stranger.  If what was
there when it was taken is there still, nothing has happened to the key, and it counts all the same:
else a value that is loaded anew would often leave the older one here.

Cost: 0.12 us a look, 2 us to keep, 250 bytes an entry beside the value, which memory mostly holds
as well.
Not chosen: the same in memory itself, where each hit would have to open a wrapper; a dict, which
would need a lock around foreign `__eq__`, and a bound of its own.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from frys_cache._core import MemoryCache, _payload
from frys_cache.errors import ValueTooLarge
from frys_cache.types import MISSING, Clock

__all__ = ["Aside", "Kept"]

ROOM: Final = 100_000
"""Entries, where memory has no bound of entries."""


class Kept:
    """What is known of a key.  Only `retry_at` and `refresh_at` change, by `Aside.postpone`.

    value: MISSING for a key that is known to be absent.  All times are seconds on the clock of the
    `Aside`; `inf` is never.
    """

    __slots__ = ("fresh_until", "load_seconds", "refresh_at", "retry_at", "value")

    def __init__(
        self,
        value: Any,
        fresh_until: float,
        refresh_at: float = math.inf,
        load_seconds: float = 0.0,
    ) -> None:
        self.value = value
        self.fresh_until = fresh_until
        """When it becomes stale."""
        self.refresh_at = refresh_at
        """From when on whoever asks for it should load it anew."""
        self.retry_at = -math.inf
        """Not to be loaded before; see `Aside.postpone`."""
        self.load_seconds = load_seconds
        """How long it took to load; 0: unknown."""

    def __repr__(self) -> str:
        kind = "absent" if self.value is MISSING else type(self.value).__name__
        return f"<Kept {kind} until {self.fresh_until:.3f}>"


Token: TypeAlias = tuple[int, Kept | None]
"""What `Aside.token` gives: the token of the memory, and what was there after it was taken."""

_EMPTY: Final = sys.getsizeof(Kept(None, 0.0)) + 5 * sys.getsizeof(0.0)


class Aside:
    """Keep values and absences beside the memory of one chain.

    max_entries: as many as memory may hold; None: 100,000.  max_size_bytes: of keys and values as
    memory weighs them, by `sizeof(key, value)` if there is one; None: not bounded by bytes.  clock:
    a callable that returns seconds, for tests; `time.monotonic` else.  Safe from any thread.

    >>> aside = Aside(10)
    >>> aside.keep("key", 1, life=60, stale_for=30, refresh_after=None, load_seconds=0.1)
    True
    >>> aside.find("key").value
    1
    """

    __slots__ = ("__weakref__", "_entries", "_now", "_sizeof")

    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_size_bytes: int | None = None,
        sizeof: Callable[[Any, Any], int] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._now: Clock = clock or time.monotonic
        self._sizeof = sizeof
        self._entries: MemoryCache[Any, Kept] = MemoryCache(
            ROOM if max_entries is None else max_entries,
            max_size_bytes=max_size_bytes,
            policy="lru",
            sizeof=None if max_size_bytes is None else self._weigh_with(sizeof),
            clock=clock,
        )

    @staticmethod
    def _weigh_with(sizeof: Callable[[Any, Any], int] | None) -> Callable[[Any, Kept], int]:
        """Return what weighs an entry; it holds no `Aside`, which would be a cycle."""

        def weigh(key: Any, kept: Kept) -> int:
            value = kept.value
            if sizeof is not None:  # in units of its own
                return 1 if value is MISSING else sizeof(key, value)
            return _EMPTY + _payload(key) + (0 if value is MISSING else _payload(value))

        return weigh

    def __len__(self) -> int:
        return len(self._entries)

    def token(self, key: Any) -> Token:
        """Return what `keep` and `remember_absent` take; it holds until a key is kept or forgotten.

        Take it before reading or loading what will be kept.  TypeError for an unhashable key.
        """
        return self._entries._token(key), self._entries.peek(key)

    def _holds(self, key: Any, token: Token | None) -> bool:
        """Tell whether a token holds, or did until a stranger's write."""
        if token is None or self._entries._token(key) == token[0]:
            return True
        return token[1] is not None and self._entries.peek(key) is token[1]

    def keep(
        self,
        key: Any,
        value: Any,
        life: float | None,
        stale_for: float,
        refresh_after: float | None,
        load_seconds: float = 0.0,
        token: Token | None = None,
    ) -> bool:
        """Keep a value in the place of what is there; whether it is kept.

        life: seconds that it is fresh from now on, None for ever.  stale_for: seconds after that in
        which it may be served stale.  refresh_after: seconds from now after which it should be
        loaded anew, None never.  token: keep it only if this still holds, and else leave what is
        there; None: in any case, which makes all tokens of the key worthless.
        What is too heavy is not kept, and neither is what was there.  What a `sizeof` raises
        passes, and what was there is forgotten.
        """
        now = self._now()
        kept = Kept(
            value,
            math.inf if life is None else now + life,
            math.inf if refresh_after is None else now + refresh_after,
            load_seconds,
        )
        return self._store(key, kept, kept.fresh_until + stale_for, token)

    def remember_absent(self, key: Any, life: float, token: Token | None = None) -> bool:
        """Remember for so many seconds that a key is absent, in the place of what is there.

        token, and what is returned: as for `keep`.  life 0: only forget what was there.
        """
        until = self._now() + life
        return self._store(key, Kept(MISSING, until), until, token)

    def _store(self, key: Any, kept: Kept, end: float, token: Token | None) -> bool:
        """Put an entry in until its end; whether it is there now."""
        entries = self._entries
        left = end - self._now()
        try:
            if left <= 0:
                if self._holds(key, token):
                    entries._forget(key)
                return False
            if token is None:
                entries.put(key, kept, ttl=None if left == math.inf else left)
                return True
            deadline = None if end == math.inf else end
            held, before = token
            while not entries._refill(key, kept, deadline, held):
                held = entries._token(key)  # first this, then the look: see above
                if before is None or entries.peek(key) is not before:
                    return False
            return True
        except BaseException as error:  # too heavy, or a sizeof has raised: what is there is older
            if self._holds(key, token):
                entries._forget(key)
            if isinstance(error, ValueTooLarge):
                return False
            raise

    def find(self, key: Any) -> Kept | None:
        """Return what is known of a key, fresh or stale, or None; not a use of it.

        TypeError for an unhashable key.
        """
        kept: Kept | None = self._entries.peek(key)
        return kept

    def forget(self, key: Any) -> None:
        """Know nothing of a key any more: it was written or removed; its tokens are worthless."""
        self._entries._forget(key)

    def empty(self) -> None:
        """Know nothing of any key any more; all tokens are worthless."""
        self._entries._empty()

    def postpone(self, kept: Kept, seconds: float) -> None:
        """Put off the next load of a value: one is under way, or has just failed."""
        kept.retry_at = self._now() + seconds

    def is_due(self, kept: Kept, now: float | None = None) -> bool:
        """Tell whether a value should be loaded anew: its time has come, and nobody just tried."""
        if now is None:
            now = self._now()
        return now >= kept.retry_at and (now >= kept.refresh_at or now >= kept.fresh_until)

    def left(self, kept: Kept, now: float | None = None) -> float | None:
        """Return the seconds for which a value is still fresh, 0.0: it is stale; None: for ever."""
        if kept.fresh_until == math.inf:
            return None
        return max(0.0, kept.fresh_until - (self._now() if now is None else now))
