"""The policies with queues and ghosts as ``ReferenceCache`` has them: lists from old to young.

They decide as csrc/policy/sieve.h, s3fifo.h and arc.h do, to the victim.  Cost: a walk over a list
for nearly everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

__all__ = ["Arc", "S3Fifo", "Sieve"]


class _Queues:
    """Entries in two lists, each from old to young; an entry's rank says in which it is."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        self.max_entries, self.max_size = max_entries, max_size
        self.age = 0.0
        self.lists: tuple[list[Any], list[Any]] = ([], [])
        self.most = 0  # entries that there ever were at once

    @property
    def line(self) -> list[Any]:
        """List the entries in the order in which they would be taken out, one by one."""
        rest = type(self)(self.max_entries, self.max_size)
        twins = {entry: replace(entry) for entry in self.both()}
        rest.continue_from(self, twins)
        originals = {twin: entry for entry, twin in twins.items()}
        order = []
        while rest.both():
            order.append(rest.victim())
            rest.remove(order[-1])
        return [originals[twin] for twin in order]

    def both(self) -> list[Any]:
        return self.lists[0] + self.lists[1]

    def continue_from(self, other: Any, twins: dict[Any, Any]) -> None:
        """Take over all that decides who goes next."""
        for mine, its in zip(self.lists, other.lists, strict=True):
            mine[:] = [twins[entry] for entry in its]

    def take_over(self, other: Any, copies: Iterable[Any]) -> None:
        """Fill an empty one with copies of the other's entries, which come in its order."""
        self.continue_from(other, dict(zip(other.line, copies, strict=True)))
        self.most = len(self.both())

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        """Take other bounds, within which all entries are."""
        self.max_entries, self.max_size = max_entries, max_size
        self.most = self.most if max_entries is None else min(self.most, max_entries)
        self.trim(0)

    def trim(self, more: int) -> None:
        """Forget ghosts that are too many."""

    def has_room(self, newcomers: Sequence[Any]) -> bool:
        entries = [*self.both(), *newcomers]
        if self.max_entries is not None and len(entries) > self.max_entries:
            return False
        return self.max_size is None or _weight(entries) <= self.max_size

    def push(self, which: int, entry: Any) -> None:
        """Move to the young end of a list."""
        self.unlink(entry)
        entry.rank = which
        self.lists[which].append(entry)

    def unlink(self, entry: Any) -> None:
        for entries in self.lists:
            entries[:] = [other for other in entries if other is not entry]

    def add(self, entry: Any) -> None:
        self.most = max(self.most, len(self.both()) + 1)
        self.come(entry)

    def come(self, entry: Any) -> None:
        raise NotImplementedError

    def hit(self, entry: Any) -> None:
        raise NotImplementedError

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        raise NotImplementedError

    def write(self, entry: Any) -> None:
        self.hit(entry)

    def remove(self, entry: Any) -> None:
        self.unlink(entry)


class Sieve(_Queues):
    """A hand goes around the queue: list 0 is ahead of it, list 1 behind."""

    def come(self, entry: Any) -> None:
        entry.uses = 0
        self.turn()
        self.push(0, entry)

    def turn(self) -> None:
        """Go on to the oldest where the hand has come to the young end."""
        if not self.lists[0]:
            self.lists = (self.lists[1], self.lists[0])

    def hit(self, entry: Any) -> None:
        entry.uses = 1

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        while True:
            self.turn()
            entry = self.lists[0][0]
            if entry is not spare:
                if not entry.uses:
                    return entry
                entry.uses = 0
            self.push(1, entry)


class S3Fifo(_Queues):
    """List 0 is the small queue, list 1 the main one."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size, seed)
        self.ghosts: list[Any] = []  # entries that have left the small queue
        self.evicted = False
        self.turn = False  # the small queue was chosen to give way, and has not yet

    def continue_from(self, other: Any, twins: dict[Any, Any]) -> None:
        super().continue_from(other, twins)
        self.evicted = other.evicted
        self.turn = other.turn

    def take_over(self, other: Any, copies: Iterable[Any]) -> None:
        super().take_over(other, copies)
        self.turn = False

    def small_is_full(self) -> bool:
        small = self.lists[0]
        if self.max_entries is not None and len(small) >= _tenth(self.max_entries):
            return True
        return self.max_size is not None and _weight(small) >= _tenth(self.max_size)

    def main_is_over(self) -> bool:
        main = self.lists[1]
        if self.max_entries is not None:
            if len(main) > self.max_entries - _tenth(self.max_entries):
                return True
        return self.max_size is not None and _weight(main) > self.max_size - _tenth(self.max_size)

    def come(self, entry: Any) -> None:
        known = _take(self.ghosts, entry)
        self.turn = False
        entry.uses = 0
        self.push(int(known or (not self.evicted and self.small_is_full())), entry)
        self.trim(0)

    def trim(self, more: int) -> None:
        while len(self.ghosts) > self.most * 9 // 10 + more:
            del self.ghosts[0]

    def hit(self, entry: Any) -> None:
        entry.uses = min(entry.uses + 1, 3)

    def remove(self, entry: Any) -> None:
        super().remove(entry)
        self.turn = False

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        while True:
            small, main = (_oldest(entries, spare) for entries in self.lists)
            self.turn = small is not None and (
                main is None or self.turn or not self.main_is_over()
            )
            entry = small if self.turn else main
            if entry.uses < (2 if self.turn else 1):
                break
            entry.uses = 0 if self.turn else entry.uses - 1
            self.push(1, entry)
        if spare is not None or newcomers is not None:  # it is evicted, not taken by name
            self.evicted = True
            if entry.rank == 0:
                self.ghosts.append(entry)
                self.trim(1)
        return entry


class Arc(_Queues):
    """List 0 is T1, used once; list 1 is T2, used again."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size, seed)
        self.whole = float(max_entries if max_entries is not None else max_size or 0)
        self.ghosts: tuple[list[Any], list[Any]] = ([], [])
        self.target = 0.0
        self.newcomer: Any = None  # that had a ghost,
        self.again = False  # in B2

    def continue_from(self, other: Any, twins: dict[Any, Any]) -> None:
        super().continue_from(other, twins)
        self.target = other.target

    def rebound(self, max_entries: int | None, max_size: int | None) -> None:
        whole = float(max_entries if max_entries is not None else max_size or 0)
        self.target, self.whole = self.target / self.whole * whole, whole
        super().rebound(max_entries, max_size)

    def meet(self, entry: Any) -> bool:
        """Learn from the ghost of a newcomer, once; tell whether it had one."""
        if self.newcomer is not entry:
            counts = [len(ghosts) for ghosts in self.ghosts]
            for which in (0, 1):
                if _take(self.ghosts[which], entry):
                    step = max(counts[1 - which] / counts[which], 1.0)
                    if self.max_entries is None:
                        step *= max(entry.weight, 1)
                    target = self.target + (-step if which else step)
                    self.target = min(max(target, 0.0), self.whole)
                    self.newcomer, self.again = entry, which == 1
        return self.newcomer is entry

    def come(self, entry: Any) -> None:
        self.push(int(self.meet(entry)), entry)
        self.newcomer = None
        self.trim(0)

    def trim(self, more: int) -> None:
        first, second = self.ghosts
        while first and len(self.lists[0]) + len(first) > self.most:
            del first[0]
        while len(first) + len(second) > self.most + more:
            del (second or first)[0]

    def hit(self, entry: Any) -> None:
        self.push(1, entry)

    def once_is_over(self, equal: bool) -> bool:
        once = self.lists[0]
        size = _weight(once) if self.max_entries is None else len(once)
        if size > self.target or (equal and size == self.target):
            return True
        if self.max_entries is None or self.max_size is None:
            return False
        return _weight(once) > self.target / self.whole * float(self.max_size)

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        equal = bool(newcomers and self.meet(newcomers[0]) and self.again)
        once, again = (_oldest(entries, spare) for entries in self.lists)
        if once is None or again is None:
            victim = again if once is None else once
        else:
            victim = once if self.once_is_over(equal) else again
        if spare is not None or newcomers is not None:  # it is evicted, not taken by name
            self.unlink(victim)
            self.ghosts[int(victim.rank)].append(victim)
            self.trim(1)
        return victim


def _tenth(whole: int) -> int:
    return max(whole // 10, 1)


def _weight(entries: Iterable[Any]) -> int:
    return sum(entry.weight for entry in entries)


def _oldest(entries: list[Any], spare: Any) -> Any:
    return next((entry for entry in entries if entry is not spare), None)


def _take(ghosts: list[Any], entry: Any) -> bool:
    """Take the ghost of a key out; tell whether there was one."""
    for at, ghost in enumerate(ghosts):
        if ghost.key == entry.key:
            del ghosts[at]
            return True
    return False
