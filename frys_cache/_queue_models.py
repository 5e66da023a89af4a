"""Sieve, s3fifo and arc as ``ReferenceCache`` uses them: plain lists, and dicts for ghosts.

Each shows its entries in ``line``, the next victim first, by doing to a twin of itself what would
be done.  A ghost is the hash of a key.  An entry's ``uses`` are one more than its marks.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Arc", "S3Fifo", "Sieve"]


def _first(entries: Iterable[Any], spare: Any) -> Any:
    return next((entry for entry in entries if entry is not spare), None)


def _weight(entries: Iterable[Any]) -> int:
    return sum(entry.weight for entry in entries)


class _Queues:
    """Hold some lists of entries, each from old to young, and the ghosts of what was evicted."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        self.max_entries, self.max_size = max_entries, max_size
        self.lists: tuple[list[Any], list[Any]] = ([], [])
        self.ghosts: tuple[dict[int, None], dict[int, None]] = ({}, {})
        self.most = 0  # entries that there were at one time
        self.age = 0.0

    @property
    def line(self) -> list[Any]:
        raise NotImplementedError

    def has_room(self, newcomers: Sequence[Any]) -> bool:
        entries = [*self.lists[0], *self.lists[1], *newcomers]
        if self.max_entries is not None and len(entries) > self.max_entries:
            return False
        return self.max_size is None or _weight(entries) <= self.max_size

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        """Take other bounds, within which all entries are."""
        self.max_entries, self.max_size = max_entries, max_size
        self.trim(0)

    def trim(self, more: int) -> None:
        """Forget ghosts that are too many."""

    def limit(self) -> int:
        return self.most if self.max_entries is None else min(self.most, self.max_entries)

    def append(self, number: int, entry: Any) -> None:
        self.lists[number].append(entry)
        self.most = max(self.most, sum(map(len, self.lists)))

    def move(self, source: int, target: int, entry: Any) -> None:
        self.lists[source].remove(entry)
        self.lists[target].append(entry)

    def write(self, entry: Any) -> None:
        self.hit(entry)

    def hit(self, entry: Any) -> None:
        raise NotImplementedError

    def evicted(self, entry: Any) -> None:
        """Take note that the bound pushes this out, right before it is removed."""

    def remove(self, entry: Any) -> None:
        self.lists[0 if entry in self.lists[0] else 1].remove(entry)

    def leave_ghost(self, number: int, entry: Any) -> None:
        hashed = hash(entry.key)
        for ghosts in self.ghosts:
            ghosts.pop(hashed, None)
        self.ghosts[number][hashed] = None

    def forget(self, number: int) -> None:
        del self.ghosts[number][next(iter(self.ghosts[number]))]

    def take_over(self, other: Any, copies: list[Any]) -> None:
        """Become a copy that has no ghosts; the copies are in the order of the other's line."""
        twins = dict(zip(other.line, copies, strict=True))
        for mine, theirs in zip(self.lists, other.lists, strict=True):
            mine[:] = [twins[entry] for entry in theirs]
        self.most = len(copies)


class Sieve(_Queues):
    """One queue and a hand; the lists are what is ahead of the hand and what is behind it."""

    @property
    def line(self) -> list[Any]:
        ring = [*self.lists[0], *self.lists[1]]
        return sorted(ring, key=lambda entry: int(entry.uses))  # 1 or 2

    def turn(self) -> None:
        if not self.lists[0]:
            self.lists = self.lists[1], self.lists[0]

    def add(self, entry: Any) -> None:
        self.turn()
        self.append(0, entry)

    def hit(self, entry: Any) -> None:
        entry.uses = 2

    def victim(self, spare: Any = None, newcomers: Sequence[Any] = ()) -> Any:
        while True:
            self.turn()
            entry = self.lists[0][0]
            if entry is not spare:
                if entry.uses == 1:
                    return entry
                entry.uses = 1
            self.move(0, 1, entry)


class S3Fifo(_Queues):
    """A small queue, a main queue, and the ghosts of what went out of small."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size)
        self.small, self.main = self.lists
        self.begun = False  # to evict
        self.sifting = False  # small has been chosen to give way, and has not yet

    @property
    def line(self) -> list[Any]:
        twin = copy.copy(self)
        entries = {copy.copy(entry): entry for part in self.lists for entry in part}
        twins = {entry: one for one, entry in entries.items()}
        twin.small, twin.main = ([twins[entry] for entry in part] for part in self.lists)
        twin.lists = twin.small, twin.main
        gone = []
        while twin.small or twin.main:
            gone.append(twin.victim())
            twin.remove(gone[-1])
        return [entries[entry] for entry in gone]

    def share(self, of: int) -> int:
        return max(1, of // 10)

    def add(self, entry: Any) -> None:
        to_main = not self.begun and self.small_is_full()
        if hash(entry.key) in self.ghosts[0]:
            del self.ghosts[0][hash(entry.key)]
            to_main = True
        self.append(to_main, entry)
        self.sifting = False
        self.trim(0)

    def trim(self, more: int) -> None:
        while len(self.ghosts[0]) > self.limit() * 9 // 10 + more:
            self.forget(0)

    def small_is_full(self) -> bool:
        if self.max_entries is not None and len(self.small) >= self.share(self.max_entries):
            return True
        return self.max_size is not None and _weight(self.small) >= self.share(self.max_size)

    def main_is_over(self) -> bool:
        most, size = self.max_entries, self.max_size
        if most is not None and len(self.main) > most - self.share(most):
            return True
        return size is not None and _weight(self.main) > size - self.share(size)

    def hit(self, entry: Any) -> None:
        entry.uses = min(entry.uses + 1, 4)

    def victim(self, spare: Any = None, newcomers: Sequence[Any] = ()) -> Any:
        while True:
            small, main = _first(self.small, spare), _first(self.main, spare)
            self.sifting = small is not None and (
                main is None or self.sifting or not self.main_is_over()
            )
            if not self.sifting and main.uses == 1:
                return main
            if not self.sifting:
                main.uses -= 1
                self.move(1, 1, main)
            elif small.uses <= 2:
                return small
            else:
                small.uses = 1
                self.move(0, 1, small)

    def evicted(self, entry: Any) -> None:
        self.begun = True
        if entry in self.small:
            self.leave_ghost(0, entry)
            self.trim(1)

    def remove(self, entry: Any) -> None:
        super().remove(entry)
        self.sifting = False

    def take_over(self, other: Any, copies: list[Any]) -> None:
        super().take_over(other, copies)
        self.begun = other.begun


class Arc(_Queues):
    """What was used once, what was used again, a ghost list of each, and a target for the first."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size)
        self.whole = float(max_size if max_entries is None else max_entries)  # type: ignore[arg-type]
        self.target = 0.0
        self.met: Any = None  # the last newcomer, and in which list its ghost was
        self.going = False  # what is removed next has been evicted

    @property
    def line(self) -> list[Any]:
        once, again = self.lists
        count = next((n for n in range(len(once)) if not self.is_over(once[n:], False)), len(once))
        return [*once[:count], *again, *once[count:]]

    def is_over(self, once: list[Any], equal: bool) -> bool:
        size = _weight(once) if self.max_entries is None else len(once)
        if size > self.target or (equal and size == self.target):
            return True
        if self.max_entries is None or self.max_size is None:
            return False
        return _weight(once) > self.target / self.whole * self.max_size

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        whole = float(max_size if max_entries is None else max_entries)  # type: ignore[arg-type]
        self.target, self.whole = self.target / self.whole * whole, whole
        super().rebound(max_entries, max_size)

    def meet(self, entry: Any) -> int | None:
        """Learn from the newcomer's ghost, once; return which list it was in, or None."""
        if self.met is None or self.met[0] is not entry:
            hashed = hash(entry.key)
            number = next((n for n in (0, 1) if hashed in self.ghosts[n]), None)
            self.met = (entry, number)
            if number is not None:
                step = max(1.0, len(self.ghosts[1 - number]) / len(self.ghosts[number]))
                if self.max_entries is None:
                    step *= max(1, entry.weight)
                self.target += -step if number else step
                self.target = min(max(self.target, 0.0), self.whole)
                del self.ghosts[number][hashed]
        return self.met[1]  # type: ignore[no-any-return]

    def add(self, entry: Any) -> None:
        self.append(self.meet(entry) is not None, entry)
        self.met = None
        self.trim(0)

    def trim(self, more: int) -> None:
        while self.ghosts[0] and len(self.lists[0]) + len(self.ghosts[0]) > self.limit():
            self.forget(0)
        while len(self.ghosts[0]) + len(self.ghosts[1]) > self.limit() + more:
            self.forget(1 if self.ghosts[1] else 0)

    def hit(self, entry: Any) -> None:
        self.move(0 if entry in self.lists[0] else 1, 1, entry)

    def victim(self, spare: Any = None, newcomers: Sequence[Any] = ()) -> Any:
        once, again = (_first(part, spare) for part in self.lists)
        equal = bool(newcomers) and self.meet(newcomers[0]) == 1
        if once is None or again is None:
            return again if once is None else once
        return once if self.is_over(self.lists[0], equal) else again

    def evicted(self, entry: Any) -> None:
        self.leave_ghost(0 if entry in self.lists[0] else 1, entry)
        self.going = True

    def remove(self, entry: Any) -> None:
        super().remove(entry)
        if self.going:  # it no longer counts when the ghosts are
            self.going = False
            self.trim(1)

    def take_over(self, other: Any, copies: list[Any]) -> None:
        super().take_over(other, copies)
        share = other.target / other.whole
        self.target = share * self.whole
        if (whole := float(int(self.target + 0.5))) / self.whole == share:
            self.target = whole
