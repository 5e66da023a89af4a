"""A clock that the test moves, and a cache that is obviously right.

``ReferenceCache`` is the model that ``MemoryCache`` is compared with, method by method: the same
entries, victim order, events and counters.  It is a dict of entries and one small policy object
that holds their order.  Cost: some microseconds a call and some 300 bytes per entry.  Not safe
against foreign code (a key's ``__eq__`` that uses the same cache) nor against threads: it must be
plain to see what the right answer is, and only that.

A further policy is one more class beside ``_Fifo``; expiry and weights belong into ``_insert``.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, OrderedDict, abc, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from frys_cache.errors import ConfigurationError
from frys_cache.types import MISSING, CacheInfo, CacheStats, EvictionCause, EvictionPolicy

__all__ = ["FakeClock", "ReferenceCache"]


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
    """Hold one key, as it was first given, and its current value; hashed by identity."""

    key: Any
    value: Any


class _Fifo:
    """Keep the order of arrival; the oldest is the victim."""

    def __init__(self) -> None:
        self.line: OrderedDict[_Entry, None] = OrderedDict()

    def add(self, entry: _Entry) -> None:
        self.line[entry] = None

    def hit(self, entry: _Entry) -> None:
        """Take note of a read or an overwrite: here, nothing to do."""

    def remove(self, entry: _Entry) -> None:
        del self.line[entry]

    def victim(self) -> _Entry:
        return next(iter(self.line))

    def order(self) -> list[_Entry]:
        return list(self.line)


class _Lru(_Fifo):
    """Move what is used to the end; the least recently used is the victim."""

    def hit(self, entry: _Entry) -> None:
        self.line.move_to_end(entry)


_POLICIES: dict[str, type[_Fifo]] = {"lru": _Lru, "fifo": _Fifo, "auto": _Lru}


class ReferenceCache(abc.MutableMapping[Any, Any]):
    """Behave as ``MemoryCache`` does, slowly and plainly.

    Every method means what it means there; ``order()`` is added.  A listener's exception is
    counted in ``stats().listener_errors`` and not shown.  ``get`` and ``setdefault`` are those of
    ``MutableMapping``, made of ``[]``.

    >>> cache = ReferenceCache(2)
    >>> cache.put_many({"a": 1, "b": 2})
    >>> cache["a"], cache.put("c", 3), cache.order()
    (1, None, ['a', 'c'])
    """

    def __init__(self, max_entries: int, *, policy: str = "lru", on_evict: Any = None) -> None:
        if type(max_entries) is not int or max_entries < 1:
            raise ConfigurationError(f"max_entries must be an int >= 1, not {max_entries!r}")
        if policy not in _POLICIES:
            raise ConfigurationError(f"unknown policy {policy!r}; known: {', '.join(_POLICIES)}")
        self.maxsize = max_entries
        self.policy: str = EvictionPolicy(policy).value
        self._on_evict = on_evict
        self._order = _POLICIES[policy]()
        self._entries: dict[Any, _Entry] = {}
        self._events: deque[tuple[Any, Any, EvictionCause]] = deque()
        self._depth = 0
        self._counts: dict[str, Any] = Counter()

    @contextmanager
    def _operation(self) -> Iterator[None]:
        """Tell the events when the outermost operation is complete, each once and in order."""
        self._depth += 1
        try:
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

    def _insert(self, key: Any, value: Any) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            if entry.value is not value:
                self._events.append((entry.key, entry.value, EvictionCause.REPLACED))
            entry.value = value
            self._order.hit(entry)
            return
        if len(self._entries) == self.maxsize:
            self._counts["evictions"] += 1
            self._remove(self._order.victim(), EvictionCause.EVICTED)
        self._entries[key] = entry = _Entry(key, value)
        self._order.add(entry)
        self._counts["inserts"] += 1

    def _remove(self, entry: _Entry, cause: EvictionCause) -> None:
        del self._entries[entry.key]
        self._order.remove(entry)
        self._events.append((entry.key, entry.value, cause))

    def _walk(self, step: int = 1) -> Iterator[_Entry]:
        """Show what was there when the walk was made and still is."""
        entries = self._order.order()[::step]
        return (entry for entry in entries if self._entries.get(entry.key) is entry)

    def __getitem__(self, key: Any) -> Any:
        entry = self._entries.get(key)
        if entry is None:
            self._counts["misses"] += 1
            raise KeyError(key)
        self._counts["hits"] += 1
        self._order.hit(entry)
        return entry.value

    def __setitem__(self, key: Any, value: Any) -> None:
        with self._operation():
            self._insert(key, value)

    put = set = __setitem__

    def __delitem__(self, key: Any) -> None:
        self.pop(key)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def peek(self, key: Any, default: Any = None) -> Any:
        return self._entries[key].value if key in self._entries else default

    def add(self, key: Any, value: Any) -> bool:
        if absent := key not in self:
            self[key] = value
        return absent

    def replace(self, key: Any, value: Any) -> bool:
        if present := key in self:
            self[key] = value
        return present

    def incr(self, key: Any, delta: Any = 1) -> Any:
        old = self.peek(key, 0)
        if not isinstance(old, int) or not isinstance(delta, int):
            raise TypeError(f"incr adds ints, not {old!r} and {delta!r}")
        self[key] = number = int(old) + int(delta)
        return number

    def delete(self, key: Any) -> bool:
        return self.pop(key, MISSING) is not MISSING

    def pop(self, key: Any, *default: Any) -> Any:
        entry = self._entries.get(key)
        if entry is None:
            if default:
                return default[0]
            raise KeyError(key)
        with self._operation():
            self._remove(entry, EvictionCause.DELETED)
        return entry.value

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

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        with self._operation():
            super().update(*args, **kwargs)

    put_many = update

    def __ior__(self, other: Any) -> ReferenceCache:
        self.update(other)
        return self

    def clear(self) -> None:
        with self._operation():
            for entry in self._order.order():
                self._remove(entry, EvictionCause.CLEARED)

    def copy(self) -> ReferenceCache:
        return self | {}

    def __or__(self, other: Any) -> ReferenceCache:
        both = type(self)(self.maxsize, policy=self.policy)
        for source in (self, other):
            for key, value in source.items():
                both[key] = value
        both._counts.clear()
        both._on_evict = self._on_evict  # only now: nobody is told of a copy
        return both

    def __iter__(self) -> Iterator[Any]:
        return iter(self.keys())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self.keys())

    def keys(self) -> _Keys:
        return _Keys(self)

    def values(self) -> _Values:
        return _Values(self)

    def items(self) -> _Items:
        return _Items(self)

    def order(self) -> list[Any]:
        """List the keys, the next victim first."""
        return list(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"

    def __len__(self) -> int:
        return len(self._entries)

    currsize = property(__len__)

    def cache_info(self) -> CacheInfo:
        return CacheInfo(self._counts["hits"], self._counts["misses"], self.maxsize, len(self))

    def stats(self) -> CacheStats:
        size = sum(sys.getsizeof(key) + sys.getsizeof(value) for key, value in self.items())
        return CacheStats(entries=len(self), total_size=size, **self._counts)

    def _check(self) -> None:
        """Recount everything; raise AssertionError where dict, order and bound disagree."""
        order = self._order.order()
        assert len(order) == len(self._entries) <= self.maxsize, "recount"
        assert all(self._entries[entry.key] is entry for entry in order), "order and dict differ"
        assert self._depth or not self._events, "an event was not told"


class _View:
    """Look at the entries without counting a read; what to show is ``_of(entry)``."""

    _mapping: ReferenceCache
    _of: Callable[[_Entry], Any]

    def __iter__(self) -> Iterator[Any]:
        return map(self._of, self._mapping._walk())

    def __reversed__(self) -> Iterator[Any]:
        return map(self._of, self._mapping._walk(-1))

    def __contains__(self, shown: Any) -> bool:
        return any(shown is one or shown == one for one in self)


class _Keys(_View, abc.KeysView[Any]):
    _of = attrgetter("key")


class _Values(_View, abc.ValuesView[Any]):
    _of = attrgetter("value")


class _Items(_View, abc.ItemsView[Any, Any]):
    _of = attrgetter("key", "value")
