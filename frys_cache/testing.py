"""A clock that the test moves, and a cache that is obviously right.

``ReferenceCache`` is the model that ``MemoryCache`` is compared with, method by method: the same
entries, victim order, events and counters.  It is a dict and one small policy object that sorts its
entries by rank.  Cost: 400 bytes per entry.  Not safe against threads: it must be plain to see.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import Counter, abc, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from operator import attrgetter
from typing import Any

from frys_cache._queue_models import Arc, S3Fifo, Sieve
from frys_cache._reference_views import Items, Keys, Values, payload
from frys_cache._tinylfu_model import TinyLfu
from frys_cache.errors import ConfigurationError, ValueTooLarge
from frys_cache.types import DEFAULT, MISSING, CacheInfo, CacheStats, Default, EvictionCause

__all__ = ["FakeClock", "ReferenceCache"]

_Ttl = float | timedelta | Default | None


class FakeClock:
    """Stand in for a clock: seconds as a float, moved by ``advance`` and never backwards.

    >>> clock = FakeClock()
    >>> clock.advance(1.5)
    >>> clock()
    1.5
    """

    def __init__(self, now: float = 0.0) -> None:
        self._now = float(now)

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move forward; a negative, infinite or NaN step is a ValueError."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be finite and >= 0, not {seconds!r}")
        self._now += seconds


@dataclass(eq=False)
class _Entry:
    """Hold one key, as it was first given, its current value, and all that is known of it."""

    key: Any
    value: Any
    weight: int
    cost: float
    end: float  # when its ttl is over; inf: never
    used: float  # when it was used last, for the idle time
    uses: int = 1
    rank: float = 0  # it stands in the order of victims by its rank,
    tick: int = 0  # and among equals by when it got it


class _Fifo:
    """Sort the entries by (rank, tick), the next victim first; here by the order of arrival."""

    _standing = staticmethod(attrgetter("rank", "tick"))

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        self.line: list[_Entry] = []
        self.ticks = 0
        self.age = 0.0  # the highest rank that the bound has pushed out
        self.max_entries, self.max_size = max_entries, max_size

    def rank(self, entry: _Entry) -> float:
        return 0

    def add(self, entry: _Entry) -> None:
        self.ticks += 1
        entry.rank, entry.tick = self.rank(entry), self.ticks
        insort(self.line, entry, key=self._standing)

    def hit(self, entry: _Entry) -> None:
        """Take note of a read or an overwrite: here, nothing to do."""

    def write(self, entry: _Entry) -> None:
        self.hit(entry)

    def take_over(self, other: _Fifo, copies: list[_Entry]) -> None:
        self.line, self.ticks, self.age = copies, other.ticks, other.age

    def evicted(self, entry: _Entry) -> None:
        """Take note that the bound pushes this out, right before it is removed."""
        self.age = max(self.age, entry.rank)

    def remove(self, entry: _Entry) -> None:
        del self.line[bisect_left(self.line, self._standing(entry), key=self._standing)]

    def victim(self, spare: _Entry | None = None, newcomers: Any = None) -> _Entry:
        return next(entry for entry in self.line if entry is not spare)

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        """Take other bounds, within which all entries are."""
        self.max_entries, self.max_size = max_entries, max_size

    def has_room(self, newcomers: list[_Entry]) -> bool:
        return self.fits(self.line + newcomers)

    def fits(self, entries: list[_Entry], fifths: int = 5) -> bool:
        """Tell whether these are within so many fifths of each bound."""
        if self.max_entries is not None and len(entries) > self.max_entries * fifths // 5:
            return False
        return self.max_size is None or _weight(entries) <= self.max_size * fifths // 5


class _Lru(_Fifo):
    """Rank what is used anew; where all ranks are equal, the least recently used is the victim."""

    def hit(self, entry: _Entry) -> None:
        self.remove(entry)
        entry.uses += 1
        self.add(entry)


class _Lfu(_Lru):
    """Rank by uses; of those used least often, the least recently used is the victim."""

    def rank(self, entry: _Entry) -> float:
        return entry.uses


class _Slru(_Lru):
    """Rank newcomers 0 (probation) and what is used 1 (protected), up to 4/5 of each bound."""

    def rank(self, entry: _Entry) -> float:
        return min(entry.uses - 1, 1)

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        super().rebound(max_entries, max_size)
        self._demote()

    def hit(self, entry: _Entry) -> None:
        super().hit(entry)
        self._demote()

    def _demote(self) -> None:
        protected = self.line[bisect_left(self.line, 1, key=attrgetter("rank")) :]
        while not self.fits(protected, 4):
            protected[0].uses = 0  # a newcomer again
            super().hit(protected.pop(0))


class _Size(_Lru):
    """Rank by age, uses, cost and weight: GreedyDual-Size-Frequency (HP report HPL-98-69)."""

    def rank(self, entry: _Entry) -> float:
        return self.age + entry.uses * (entry.cost / max(entry.weight, 1))


_POLICIES: dict[str, Any] = {"fifo": _Fifo, "lfu": _Lfu, "lru": _Lru, "size": _Size, "slru": _Slru}
_POLICIES |= {"sieve": Sieve, "s3fifo": S3Fifo, "arc": Arc, "auto": TinyLfu, "tinylfu": TinyLfu}


def _weight(entries: Iterable[_Entry]) -> int:
    return sum(entry.weight for entry in entries)


def _seconds(span: float | timedelta | None, error: type[ValueError] = ValueError) -> float:
    """Tell how long a duration is; None is for ever."""
    if span is None:
        return math.inf
    seconds = span.total_seconds() if isinstance(span, timedelta) else float(span)
    if not 0 < seconds < math.inf:
        raise error(f"a duration must be finite and > 0, not {span!r}")
    return seconds


class ReferenceCache(abc.MutableMapping[Any, Any]):
    """Behave as ``MemoryCache`` does, slowly and plainly.

    Every method means what it means there; ``order()`` lists the keys.  A listener's exception is
    counted in ``stats().listener_errors`` and not shown.  ``get`` and ``setdefault`` are those of
    ``MutableMapping``, made of ``[]``.  What has expired goes at the start of whatever is done
    next; without a ``clock`` time stands still.

    >>> cache = ReferenceCache(2)
    >>> cache.put_many({"a": 1, "b": 2})
    >>> cache["a"], cache.put("c", 3), cache.order()
    (1, None, ['a', 'c'])
    """

    def __init__(
        self,
        max_entries: int | None = None,
        *,
        max_size_bytes: int | None = None,
        policy: str = "lru",
        ttl: float | timedelta | None = None,
        idle: float | timedelta | None = None,
        sizeof: Any = None,
        on_evict: Any = None,
        clock: Any = None,
        seed: int = 0,
    ) -> None:
        bounds = {"max_entries": max_entries, "max_size_bytes": max_size_bytes}
        for name, bound in bounds.items():
            if bound is not None and (type(bound) is not int or bound < 1):
                raise ConfigurationError(f"{name} must be an int >= 1, not {bound!r}")
        if max_entries is None and max_size_bytes is None:
            raise ConfigurationError("one of max_entries and max_size_bytes must be given")
        if policy not in _POLICIES:
            raise ConfigurationError(f"unknown policy {policy!r}; known: {', '.join(_POLICIES)}")
        self._weighed = max_size_bytes is not None or policy == "size"
        if sizeof is not None and max_size_bytes is None:
            raise ConfigurationError("sizeof has no use without max_size_bytes")
        self._ttl = _seconds(ttl, ConfigurationError)
        self._idle = _seconds(idle, ConfigurationError)
        self.policy = str(policy)
        self.maxsize = max_size_bytes if max_entries is None else max_entries
        self._options: dict[str, Any] = {**bounds, "policy": policy, "ttl": ttl, "idle": idle}
        self._options |= {"sizeof": sizeof, "clock": clock or FakeClock(), "seed": seed}
        self._sizeof = sizeof or (lambda key, value: payload(key) + payload(value))
        self._on_evict = on_evict
        self._clock: Callable[[], float] = self._options["clock"]
        self._timed = self._idle < math.inf  # whether an entry can have expired
        self._bounds = (max_entries, max_size_bytes, seed)
        self._order: Any = _POLICIES[policy](*self._bounds)
        self._entries: dict[Any, _Entry] = {}
        self._events: deque[tuple[Any, Any, EvictionCause]] = deque()
        self._depth = 0
        self._counts: dict[str, Any] = Counter()

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Begin without expired entries; tell the events when the outermost operation is over."""
        self._depth += 1
        try:
            self._expire()
            yield
        finally:
            while self._depth == 1 and self._events:
                event = self._events.popleft()
                try:
                    if self._on_evict is not None:
                        self._on_evict(*event)
                except Exception:  # noqa: BLE001 - a listener may raise anything
                    self._counts["listener_errors"] += 1
            self._depth -= 1

    def _expire(self) -> None:
        self._now = self._clock()
        for entry in list(self._entries.values()) if self._timed else ():
            if self._deadline(entry) <= self._now:
                self._counts["expirations"] += 1
                self._remove(entry, EvictionCause.EXPIRED)

    def _deadline(self, entry: _Entry) -> float:
        return min(entry.end, entry.used + self._idle)

    def _end(self, ttl: _Ttl, key: Any = None) -> float:
        """Tell when this key is over if it gets this ttl now."""
        end = self._now + (self._ttl if isinstance(ttl, Default) else _seconds(ttl))
        self._timed |= end < math.inf
        return end

    def _insert(self, key: Any, value: Any, end: float, cost: float) -> None:
        old = self._entries.get(key)
        weight = self._sizeof(key, value) if self._weighed else 0
        if (most := self._order.max_size) is not None and weight > most:
            raise ValueTooLarge(weight, most)
        if old is None:
            entry = _Entry(key, value, weight, cost, end, self._now)
            self._make_room([entry])
            self._entries[key] = entry
            self._order.add(entry)
            self._counts["inserts"] += 1
            return
        if old.value is not value:
            self._events.append((old.key, old.value, EvictionCause.REPLACED))
        old.value, old.weight, old.cost, old.end = value, weight, cost, end
        old.used = self._now
        self._order.write(old)
        self._make_room([], spare=old)

    def _use(self, entry: _Entry) -> None:
        entry.used = self._now
        self._order.hit(entry)

    def _make_room(self, newcomers: list[_Entry], spare: _Entry | None = None) -> None:
        while not self._order.has_room(newcomers):
            victim = self._order.victim(spare, newcomers)
            self._evict(victim)

    def _evict(self, victim: _Entry) -> None:
        self._order.evicted(victim)
        self._counts["evictions"] += 1
        self._remove(victim, EvictionCause.EVICTED)

    def _remove(self, entry: _Entry, cause: EvictionCause) -> None:
        del self._entries[entry.key]
        self._order.remove(entry)
        self._events.append((entry.key, entry.value, cause))

    def _walk(self, step: int = 1) -> Iterator[_Entry]:
        """Show what was there when the walk was made and still is."""
        with self._operation():
            entries: list[_Entry] = self._order.line[::step]
        return (entry for entry in entries if self._find(entry.key) is entry)

    def _find(self, key: Any) -> _Entry | None:
        with self._operation():
            return self._entries.get(key)

    def __getitem__(self, key: Any) -> Any:
        with self._operation():
            entry = self._entries.get(key)
            if entry is None:
                self._counts["misses"] += 1
                raise KeyError(key)
            self._counts["hits"] += 1
            self._use(entry)
            return entry.value

    def put(self, key: Any, value: Any, *, ttl: _Ttl = DEFAULT, cost: float = 1.0) -> None:
        if not 0 <= cost < math.inf:
            raise ValueError(f"cost must be finite and >= 0, not {cost!r}")
        with self._operation():
            self._insert(key, value, self._end(ttl, key), cost)

    set = __setitem__ = put

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def __contains__(self, key: object) -> bool:
        return self._find(key) is not None

    def peek(self, key: Any, default: Any = None) -> Any:
        entry = self._find(key)
        return default if entry is None else entry.value

    def add(self, key: Any, value: Any, **options: Any) -> bool:
        if absent := key not in self:
            self.put(key, value, **options)
        return absent

    def replace(self, key: Any, value: Any, **options: Any) -> bool:
        if present := key in self:
            self.put(key, value, **options)
        return present

    def incr(self, key: Any, delta: Any = 1) -> Any:
        with self._operation():
            entry = self._entries.get(key)
            old = 0 if entry is None else entry.value
            if not isinstance(old, int) or not isinstance(delta, int):
                raise TypeError(f"incr adds ints, not {old!r} and {delta!r}")
            number = int(old) + int(delta)
            self._insert(key, number, self._end(DEFAULT, key) if entry is None else entry.end, 1.0)
            return number

    def touch(self, key: Any, ttl: _Ttl = DEFAULT) -> bool:
        with self._operation():
            end = self._end(ttl, key)
            if present := key in self._entries:
                self._entries[key].end = end
                self._use(self._entries[key])
            return present

    def ttl_of(self, key: Any) -> float | None:
        with self._operation():
            left = self._deadline(self._entries[key]) - self._now
            return left if left < math.inf else None

    def delete(self, key: Any) -> bool:
        return self.pop(key, MISSING) is not MISSING

    def pop(self, key: Any, *default: Any) -> Any:
        with self._operation():
            entry = self._entries.get(key)
            if entry is not None:
                self._remove(entry, EvictionCause.DELETED)
                return entry.value
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[Any, Any]:
        if not self:
            raise KeyError("the cache is empty")
        key = self._order.victim().key
        return key, self.pop(key)

    def get_many(self, keys: Iterable[Any], default: Any = None) -> list[Any]:
        return [self.get(key, default) for key in keys]

    def delete_many(self, keys: Iterable[Any]) -> int:
        with self._operation():
            return sum(self.delete(key) for key in keys)

    def put_many(self, items: Any, /, *, ttl: _Ttl = DEFAULT) -> None:
        with self._operation():
            self._end(ttl)  # refused even where there are no items
            if not isinstance(items, abc.Mapping) and hasattr(items, "keys"):
                items = [(key, items[key]) for key in items.keys()]  # noqa: SIM118
            for key, value in items.items() if isinstance(items, abc.Mapping) else items:
                self.put(key, value, ttl=ttl)

    def update(self, other: Any = (), /, **more: Any) -> None:
        with self._operation():
            self.put_many(other)
            self.put_many(more)

    def __ior__(self, other: Any) -> ReferenceCache:
        self.update(other)
        return self

    def clear(self) -> None:
        with self._operation():
            for entry in list(self._order.line):
                self._remove(entry, EvictionCause.CLEARED)
            self._order = type(self._order)(*self._bounds)

    def copy(self) -> ReferenceCache:
        with self._operation():
            other = type(self)(**self._options, on_evict=self._on_evict)
            other._order.take_over(self._order, [replace(entry) for entry in self._order.line])
            other._entries = {entry.key: entry for entry in other._order.line}
            other._timed = self._timed
            return other

    def __or__(self, other: Any) -> ReferenceCache:
        both = self.copy()
        both._on_evict = None  # nobody is told of a copy
        both.put_many(other.items())
        both._on_evict = self._on_evict
        both._counts.clear()
        return both

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self.keys())

    def keys(self) -> Keys:
        return Keys(self)

    def values(self) -> Values:
        return Values(self)

    def items(self) -> Items:
        return Items(self)

    def order(self) -> list[Any]:
        return list(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    def __len__(self) -> int:
        with self._operation():
            return len(self._entries)

    @property
    def currsize(self) -> int:
        return len(self) if self._order.max_entries else _weight(self._walk())

    def cache_info(self) -> CacheInfo:
        return CacheInfo(self._counts["hits"], self._counts["misses"], self.maxsize, self.currsize)

    def stats(self) -> CacheStats:
        by_bytes = self._order.max_size is not None
        size = sum(
            e.weight if by_bytes else payload(e.key) + payload(e.value) for e in self._walk()
        )
        return CacheStats(entries=len(self), total_size=size, **self._counts)

    def _check(self) -> None:
        """Recount everything; raise AssertionError where dict, order and bound disagree."""
        line = self._order.line
        assert len(line) == len(self._entries), "recount"
        assert self._order.has_room([]), "over its bound"
        assert all(self._entries[entry.key] is entry for entry in line), "order and dict differ"
        assert line == sorted(line, key=_Fifo._standing), "out of order"
        assert self._depth or not self._events, "an event was not told"


def __getattr__(name: str) -> Any:
    """Give authors of tiers ``TierContract``, what every tier must pass, and what goes with it."""
    homes = {"FaultyTier": "_faulty_tier", "History": "_history", "HistoryError": "_history"}
    if name in homes or name in {"StandInCache", "StandInTier", "TierContract", "make_record"}:
        file = homes.get(name, "_tier_contract")
        return getattr(getattr(__import__(f"frys_cache.{file}"), file), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
