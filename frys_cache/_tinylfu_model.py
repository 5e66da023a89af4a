"""W-TinyLFU as ``ReferenceCache`` has it: dicts in order and lists of small numbers.

It decides as csrc/policy/tinylfu.h does, to the victim: the same mix of a key's hash, the same
counters, shadows and random numbers.  What it leaves out is what only makes that fast: an entry
never skips the sketch, and nobody is marked as a member of the sample.  Cost: some microseconds a
request without bytes to bound, with them a walk over the window and the protected list.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

__all__ = ["TinyLfu", "seed_of"]

_ALL_64 = 2**64 - 1
_LISTS = 4  # places of a store's array that are no entries
_SHARES = (0.01, 0.10, 0.40, 0.80, 0.99)
_PROBATION, _WINDOW, _PROTECTED = range(3)

_Line = OrderedDict[Any, None]  # entries from cold to hot; they are equal only to themselves


def _scramble(number: int) -> int:
    """Return a number of 64 bits that depends on all bits of this one: a step of SplitMix64."""
    number = (number + 0x9E3779B97F4A7C15) & _ALL_64
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _ALL_64
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _ALL_64
    return number ^ number >> 31


def seed_of(number: int) -> int:
    """Tell the seed of the first cache that is made after ``_fix_seeds(number)``."""
    return _scramble(number)


class _Sketch:
    """Four counters up to 15 for each key, in one of the blocks; the least is the estimate."""

    def __init__(self) -> None:
        self.blocks: list[list[int]] = []
        self.additions = 0

    def reserve(self, entries: int) -> None:
        """Have a block for every four entries, in a power of two that is at least 32."""
        self.blocks = self.blocks or [[0] * 128 for _ in range(32)]
        while len(self.blocks) * 4 < entries:
            self.blocks += [list(block) for block in self.blocks]

    def _counters(self, mix: int) -> tuple[list[int], list[int]]:
        block = self.blocks[mix % 2**32 % len(self.blocks)]
        return block, [32 * row + (mix >> 32 + 8 * row) % 32 for row in range(4)]

    def estimate(self, mix: int) -> int:
        block, counters = self._counters(mix)
        return min(block[i] for i in counters)

    def add(self, mix: int) -> bool:
        """Count one; tell whether anything changed."""
        block, counters = self._counters(mix)
        moved = [i for i in counters if block[i] < 15]
        for i in moved:
            block[i] += 1
        self.additions += bool(moved)
        return bool(moved)

    def lift(self, mix: int, estimate: int) -> None:
        """Let the estimate be no less than that."""
        block, counters = self._counters(mix)
        for i in counters:
            block[i] = max(block[i], estimate)

    def halve(self) -> None:
        odd = sum(counter % 2 for block in self.blocks for counter in block)
        self.blocks = [[counter // 2 for counter in block] for block in self.blocks]
        self.additions = max(self.additions - odd // 4, 0) // 2


class _Window:
    """Newcomers come into the window; what overflows must be asked for more than the coldest."""

    def __init__(
        self,
        max_entries: int | None,
        max_size: int | None,
        estimate: Callable[[Any], int],
        share: float,
        draw: int,
    ) -> None:
        self.max_entries, self.max_size = max_entries, max_size
        self.estimate, self.draw = estimate, draw
        self.probation: _Line = OrderedDict()
        self.window: _Line = OrderedDict()
        self.protected: _Line = OrderedDict()
        self.lists = (self.probation, self.window, self.protected)
        self.ticks = 0
        self.candidates: list[Any] = []  # that have overflowed for the newcomer
        self.set_share(share)

    def set_share(self, share: float) -> None:
        self.share = share
        if (entries := self.max_entries) is not None:
            self.window_entries = max(int(share * entries + 0.5), 1)
            self.protected_entries = (entries - self.window_entries) * 4 // 5
        if (size := self.max_size) is not None:
            self.window_size = int(share * float(size))
            self.protected_size = (size - self.window_size) * 4 // 5

    def __len__(self) -> int:
        return sum(map(len, self.lists))

    def weight(self) -> int:
        return sum(map(_weight, self.lists))

    def fits(self, entries: int, weight: int) -> bool:
        """Tell whether so much more is within the bounds."""
        if self.max_entries is not None and len(self) + entries > self.max_entries:
            return False
        return self.max_size is None or self.weight() + weight <= self.max_size

    def push(self, place: int, entry: Any) -> None:
        """Put at the hot end of a list, and out of any other."""
        for line in self.lists:
            line.pop(entry, None)
        self.ticks += 1
        entry.rank, entry.tick = place, self.ticks
        self.lists[place][entry] = None

    def _over(self, entries: int, weight: int) -> bool:
        if self.max_entries is not None and len(self.window) + entries > self.window_entries:
            return True
        return self.max_size is not None and _weight(self.window) + weight > self.window_size

    def _over_protected(self) -> bool:
        if self.max_entries is not None and len(self.protected) > self.protected_entries:
            return True
        return self.max_size is not None and _weight(self.protected) > self.protected_size

    def _overflow(self, entries: int, weight: int, keep: int) -> list[Any]:
        moved: list[Any] = []
        while len(moved) < 64 and len(self.window) > keep and self._over(entries, weight):
            moved.append(next(iter(self.window)))
            self.push(_PROBATION, moved[-1])
        return moved

    def demote(self) -> None:
        """Bring the protected list back to its share, in so many steps at most."""
        for _ in range(64):
            if not self._over_protected():
                break
            self.push(_PROBATION, next(iter(self.protected)))

    def add(self, entry: Any) -> None:
        self.candidates = []
        self.push(_WINDOW, entry)
        self._overflow(0, 0, keep=1)

    def hit(self, entry: Any) -> None:
        if entry in self.probation:
            self.push(_PROTECTED, entry)
            self.demote()
        else:
            self.push(entry.rank, entry)

    def remove(self, entry: Any) -> None:
        for line in self.lists:
            line.pop(entry, None)
        self.candidates = [other for other in self.candidates if other is not entry]

    def victim(self, newcomer: Any = None, spare: Any = None) -> Any:
        """Choose who goes for a newcomer, for more weight of the spare, or just so."""
        if newcomer is not None and not self.candidates:
            self.demote()
            self.candidates = self._overflow(1, newcomer.weight, keep=0)
        on_probation, in_window, protected = (
            next((entry for entry in line if entry is not spare), None) for line in self.lists
        )
        if newcomer is None and spare is None:
            return on_probation or in_window or protected
        candidate = self.candidates[0] if self.candidates else in_window
        coldest = on_probation or protected
        if coldest is None or candidate is None or candidate is coldest:
            return coldest or candidate
        estimate = self.estimate(candidate)
        price = self._price(newcomer, spare, candidate, coldest)
        if estimate > price + 1 or (estimate >= 6 and self._gamble()):
            self.candidates = self.candidates[1:]
            return coldest
        return candidate

    def _price(self, newcomer: Any, spare: Any, candidate: Any, coldest: Any) -> int:
        """Sum up the estimates of all that would have to go for the candidate."""
        if self.max_size is None:
            return self.estimate(coldest)
        lacking = self.weight() - self.max_size + (newcomer.weight if newcomer else 0)
        needed = min(candidate.weight, max(lacking, 0))
        price = weight = 0
        line = list(self.probation if coldest in self.probation else self.protected)
        start = line.index(coldest)
        for entry in line[start : start + 16]:
            if entry is candidate:
                break
            if entry is not spare:
                price += self.estimate(entry)
                weight += entry.weight
            if entry is not spare and weight >= needed:
                break
        return price

    def _gamble(self) -> bool:
        number = _scramble(self.draw)
        self.draw = (self.draw + 0x9E3779B97F4A7C15) & _ALL_64
        return number % 128 == 0


class _Key:
    """What a shadow knows of an entry."""

    def __init__(self, hashed: int, weight: int) -> None:
        self.hash, self.weight = hashed, weight
        self.rank = self.tick = 0


class _Shadows:
    """Five small caches of keys alone, one for each share; all see the same sample of the keys."""

    def __init__(self, of: TinyLfu, entries: int) -> None:
        least = min(max(entries // 16, 32), 256)
        size, self.rate = entries, 1
        while size // 2 >= least:
            size, self.rate = size // 2, self.rate * 2
        self.entries = entries
        self.period = 4 * max(size, 64)
        self.seen, self.hits = 0, [0] * 5
        most = None if of.max_size is None else of.max_size // self.rate
        size *= 1 if most is None else 2  # more and lighter entries may come
        self.known: list[dict[int, _Key]] = [{} for _ in _SHARES]
        self.windows = [
            _Window(size, most, lambda key: of.estimate(key.hash), share, of.main.draw)
            for share in _SHARES
        ]

    def ask(self, hashed: int, weight: int) -> None:
        self.seen += 1
        for i, (known, window) in enumerate(zip(self.known, self.windows, strict=True)):
            if hashed in known:
                self.hits[i] += 1
                window.hit(known[hashed])
            elif window.max_size is None or weight <= window.max_size:
                key = _Key(hashed, weight)
                while not window.fits(1, weight):
                    victim = window.victim(key)
                    window.remove(victim)
                    del known[victim.hash]
                known[hashed] = key
                window.add(key)


class TinyLfu:
    """Sort the entries for ``ReferenceCache``, the next victim first."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        self.max_entries, self.max_size, self.seed = max_entries, max_size, seed
        self.age = 0.0
        self.sketch = _Sketch()
        self.room = 2 * _LISTS  # places in the store's array, which the sketch is made for
        self.main = _Window(max_entries, max_size, lambda e: self.estimate(hash(e.key)), 0.1, seed)
        self.newcomer: Any = None  # that is counted already
        self.compared = self.inserted = self.watched = False
        self.scores, self.periods = [0.0] * 5, 0
        self.shadows = None if max_entries is None or max_size else _Shadows(self, max_entries)
        self.sketch.reserve(self.room - _LISTS)

    @property
    def line(self) -> list[Any]:
        return [*self.main.probation, *self.main.window, *self.main.protected]

    def fits(self, entries: Sequence[Any]) -> bool:
        if self.max_entries is not None and len(entries) > self.max_entries:
            return False
        return self.max_size is None or _weight(entries) <= self.max_size

    def has_room(self, newcomers: Sequence[Any]) -> bool:
        return self.main.fits(len(newcomers), _weight(newcomers))

    def _mix(self, hashed: int) -> int:
        return _scramble((hashed & _ALL_64) ^ self.seed)

    def estimate(self, hashed: int) -> int:
        return self.sketch.estimate(self._mix(hashed))

    def _count(self, entry: Any, entries: int) -> None:
        if not self.sketch.add(self._mix(hash(entry.key))):
            return
        if self.sketch.additions >= 10 * max(entries, 256):
            if self.compared:
                self.sketch.halve()
            else:
                self.sketch.additions = 0
            self.compared = False

    def _reserve(self) -> None:
        """Make room for one more, as the store does: by doubling."""
        count = len(self.main)
        if count + _LISTS == self.room and count != self.max_entries:
            self.room *= 2
            if self.max_entries is not None:
                self.room = min(self.room, self.max_entries + _LISTS)
        self.sketch.reserve(self.room - _LISTS)

    def _measure(self) -> None:
        """Bounded by bytes, see how many entries fit now that something has to go."""
        count, made = len(self.main), self.shadows.entries if self.shadows else 0
        if self.max_size is not None and (not made or count // 2 > made or count < made // 2):
            self.shadows = _Shadows(self, count)

    def _ask_shadows(self, entry: Any) -> None:
        shadows = self.shadows
        mixed = self._mix(hash(entry.key)) * 0xD1342543DE82EF95 & _ALL_64
        if shadows is None or (mixed >> 32) % shadows.rate != 0 or not self.watched:
            return
        shadows.ask(hash(entry.key), entry.weight if self.max_size is not None else 0)
        if shadows.seen >= shadows.period:
            self._judge(shadows)

    def _judge(self, shadows: _Shadows) -> None:
        """Take the share whose shadow did best lately."""
        self.periods += 1
        newest = max(1.0 / self.periods, 0.1)
        for i in range(5):
            self.scores[i] += newest * (shadows.hits[i] / shadows.seen - self.scores[i])
        shadows.seen, shadows.hits = 0, [0] * 5
        best, now = max(self.scores), self.scores[_SHARES.index(self.main.share)]
        if self.periods == 1 or best > now + 0.002:
            self.main.set_share(_SHARES[self.scores.index(best)])
        self.watched, self.inserted = self.inserted, False

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        newcomer = newcomers[0] if newcomers else None
        if newcomer is not None and newcomer is not self.newcomer:
            self._reserve()
            self._count(newcomer, len(self.main))
            self.newcomer = newcomer
            self.main.candidates = []
            self._measure()
        if newcomer is not None or spare is not None:
            self.compared = True
        return self.main.victim(newcomer, spare)

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        """Take other bounds, within which all entries are."""
        self.max_entries, self.max_size = max_entries, max_size
        self.main.max_entries, self.main.max_size = max_entries, max_size
        self.main.set_share(self.main.share)
        shadows = self.shadows
        if max_size is None and max_entries is not None:
            if _apart(max_entries, shadows.entries if shadows else 0):
                self.shadows = _Shadows(self, max_entries)
        elif shadows and max_size is not None:
            its = shadows.windows[0].max_size
            if its is None or _apart(max_size // shadows.rate, its):
                self.shadows = None

    def add(self, entry: Any) -> None:
        if entry is not self.newcomer:
            self._reserve()
            self._count(entry, len(self.main) + 1)
        self.newcomer = None
        self.inserted = self.watched = True
        self._ask_shadows(entry)
        self.main.add(entry)

    def hit(self, entry: Any) -> None:
        self._count(entry, len(self.main))
        self._ask_shadows(entry)
        self.main.hit(entry)

    def write(self, entry: Any) -> None:
        """Take note of another value, which may weigh more."""
        self.hit(entry)
        if self.max_size is not None:
            self.main.demote()

    def evicted(self, entry: Any) -> None:
        """Take note that the bound pushes this out: here, nothing to do."""

    def remove(self, entry: Any) -> None:
        self.main.remove(entry)

    def take_over(self, other: TinyLfu, copies: Iterable[Any]) -> None:
        """Fill an empty one with copies of the other's entries, in the same order."""
        self.main.draw = other.main.draw
        self.main.set_share(other.main.share)
        for entry, original in zip(copies, other.line, strict=True):
            self._reserve()
            self.sketch.lift(self._mix(hash(entry.key)), other.estimate(hash(entry.key)))
            self.main.push(original.rank, entry)


def _apart(one: int, other: int) -> bool:
    return one // 2 >= other or other // 2 >= one


def _weight(entries: Iterable[Any]) -> int:
    return sum(entry.weight for entry in entries)
