"""The policies with queues and ghosts as ``ReferenceCache`` has them: lists from old to young.

They decide as csrc/policy/sieve.h, s3fifo.h and arc.h do, to the victim.  Cost: a walk over a list
for nearly everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["Arc", "S3Fifo", "Sieve"]


class _Queues:
    """Entries in two lists, each from old to young."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        self.max_entries, self.max_size = max_entries, max_size
        self.age = 0.0
        self.lists: tuple[list[Any], list[Any]] = ([], [])

    @property
    def line(self) -> list[Any]:
        return [*self.lists[0], *self.lists[1]]

    def fits(self, entries: Sequence[Any]) -> bool:
        if self.max_entries is not None and len(entries) > self.max_entries:
            return False
        return self.max_size is None or _weight(entries) <= self.max_size

    def push(self, which: int, entry: Any) -> None:
        """Move to the young end of a list; its rank says which, its bits how often it was used."""
        self.remove(entry)
        entry.rank = which
        self.lists[which].append(entry)

    def remove(self, entry: Any) -> None:
        for entries in self.lists:
            entries[:] = [other for other in entries if other is not entry]

    def write(self, entry: Any) -> None:
        self.hit(entry)

    def hit(self, entry: Any) -> None:
        raise NotImplementedError

    def take_over(self, other: _Queues, copies: Iterable[Any]) -> None:
        """Fill an empty one with copies of the other's entries, in the order of victims."""
        for copy in copies:
            self.lists[int(copy.rank)].append(copy)


class Sieve(_Queues):
    """Pass over what was used since the hand came by; the hand stays where it took one."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size, seed)
        self.hand = 0  # index of the next to be looked at

    @property
    def line(self) -> list[Any]:
        around = self.lists[0][self.hand :] + self.lists[0][: self.hand]
        return sorted(around, key=lambda entry: entry.used_since)

    def add(self, entry: Any) -> None:
        entry.used_since = False
        self.push(0, entry)

    def hit(self, entry: Any) -> None:
        entry.used_since = True

    def remove(self, entry: Any) -> None:
        queue = self.lists[0]
        at = next((i for i, other in enumerate(queue) if other is entry), None)
        if at is not None:
            del queue[at]
            self.hand -= at < self.hand
            self.hand = self.hand if self.hand < len(queue) else 0

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        queue = self.lists[0]
        while True:
            entry = queue[self.hand]
            if entry is not spare:
                if not entry.used_since:
                    return entry
                entry.used_since = False
            self.hand = (self.hand + 1) % len(queue)

    def take_over(self, other: _Queues, copies: Iterable[Any]) -> None:
        for copy in copies:
            self.lists[0].append(copy)


class S3Fifo(_Queues):
    """List 0 is the small queue, list 1 the main one."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size, seed)
        self.ghosts: list[Any] = []  # entries that have left the small queue
        self.full = False
        self.newcomer: Any = None
        self.known = False  # the newcomer has a ghost

    def over(self, which: int) -> bool:
        """Tell whether a queue has more than its share."""
        if self.max_entries is not None:
            small = max(self.max_entries // 10, 1)
            if len(self.lists[which]) > (self.max_entries - small if which else small):
                return True
        if self.max_size is None:
            return False
        size = self.max_size // 10
        return _weight(self.lists[which]) > (self.max_size - size if which else size)

    def ask(self, entry: Any) -> bool:
        if self.newcomer is not entry:
            self.newcomer = entry
            self.known = _take(self.ghosts, entry)
        return self.known

    def add(self, entry: Any) -> None:
        entry.uses = 0
        self.push(int(self.ask(entry)), entry)
        if not self.full and entry.rank == 0 and self.over(0):
            self.push(1, entry)
        self.newcomer = None

    def hit(self, entry: Any) -> None:
        entry.uses = min(entry.uses + 1, 3)

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        if spare is None and not newcomers:
            victim = self.line[0]
            if newcomers is not None:
                self.mourn(victim)
            return victim
        if newcomers:
            self.ask(newcomers[0])
        self.full = True
        if not self.over(1):
            while (entry := _oldest(self.lists[0], spare)) is not None:
                if entry.uses < 2:
                    self.mourn(entry)
                    return entry
                entry.uses = 0
                self.push(1, entry)
        while (entry := _oldest(self.lists[1], spare)) is not None and entry.uses:
            entry.uses -= 1
            self.push(1, entry)
        if entry is None:
            entry = _oldest(self.lists[0], spare)
            self.mourn(entry)
        return entry

    def mourn(self, entry: Any) -> None:
        """Keep the ghost of what leaves the small queue."""
        if entry.rank == 1:
            return
        most = len(self.line)
        self.ghosts.append(entry)
        while self.ghosts and (len(self.ghosts) > most or self.too_many()):
            del self.ghosts[0]

    def too_many(self) -> bool:
        if self.max_entries is not None and len(self.ghosts) > self.max_entries * 9 // 10:
            return True
        if self.max_size is None:
            return False
        return _weight(self.ghosts) > self.max_size - self.max_size // 10


class Arc(_Queues):
    """List 0 is T1, used once; list 1 is T2, used again."""

    def __init__(self, max_entries: int | None, max_size: int | None, seed: int = 0) -> None:
        super().__init__(max_entries, max_size, seed)
        self.room = max_entries if max_entries is not None else max_size or 0
        self.ghosts: tuple[list[Any], list[Any]] = ([], [])
        self.target = 0.0
        self.newcomer: Any = None
        self.came_from: int | None = None

    def size(self, entries: list[Any]) -> int:
        return len(entries) if self.max_entries is not None else _weight(entries)

    @property
    def line(self) -> list[Any]:
        once, again = self.lists
        first = 0
        while first < len(once) and self.size(once[first:]) > self.target:
            first += 1
        return [*once[:first], *again, *once[first:]]

    def ask(self, entry: Any) -> None:
        """See whether a newcomer has a ghost, once, and learn from it."""
        if self.newcomer is entry:
            return
        self.newcomer = entry
        sizes = [self.size(ghosts) for ghosts in self.ghosts]
        self.came_from = next((i for i in (0, 1) if _take(self.ghosts[i], entry)), None)
        if self.came_from is None:
            return
        own, other = sizes[self.came_from], sizes[1 - self.came_from]
        step = max(other / own, 1.0) if own else float("inf") if other else 1.0
        if self.max_entries is None:
            step *= entry.weight
        step = min(step, self.room) if step == step else self.room
        step = step if self.came_from == 0 else -step
        self.target = min(max(self.target + step, 0.0), float(self.room))

    def add(self, entry: Any) -> None:
        self.ask(entry)
        self.newcomer = None
        self.push(0 if self.came_from is None else 1, entry)

    def hit(self, entry: Any) -> None:
        self.push(1, entry)

    def replace(self, spare: Any, from_again: bool) -> Any:
        once = self.size(self.lists[0])
        over = once > self.target or (once == self.target and from_again)
        first = 0 if self.lists[0] and over else 1
        victim = _oldest(self.lists[first], spare)
        return victim if victim is not None else _oldest(self.lists[1 - first], spare)

    def victim(self, spare: Any = None, newcomers: Sequence[Any] | None = None) -> Any:
        victim, mourned = self._choose(spare, newcomers)
        if mourned and (spare is not None or newcomers is not None):
            own, other = self.ghosts[int(victim.rank)], self.ghosts[1 - int(victim.rank)]
            while len(own) + len(other) >= len(self.line):
                del (own or other)[0]
            own.append(victim)
        return victim

    def _choose(self, spare: Any, newcomers: Sequence[Any] | None) -> tuple[Any, bool]:
        """Choose who goes, and say whether it leaves a ghost."""
        if not newcomers:
            return self.replace(spare, False), True
        newcomer = newcomers[0]
        self.ask(newcomer)
        if self.came_from is not None:
            return self.replace(spare, self.came_from == 1), True
        once, again = (self.size(entries) for entries in self.lists)
        ghosts = [self.size(entries) for entries in self.ghosts]
        comes = 1 if self.max_entries is not None else newcomer.weight
        if once + ghosts[0] + comes > self.room:
            if not self.ghosts[0]:
                victim = _oldest(self.lists[0], spare)
                if victim is not None:
                    return victim, False
                return _oldest(self.lists[1], spare), True
            del self.ghosts[0][0]
        elif once + again + sum(ghosts) >= 2 * self.room and self.ghosts[1]:
            del self.ghosts[1][0]
        return self.replace(spare, False), True

    def take_over(self, other: _Queues, copies: Iterable[Any]) -> None:
        super().take_over(other, copies)
        self.target = getattr(other, "target", 0.0)


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
