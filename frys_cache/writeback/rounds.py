"""One batch on its way to a backend: who is refused, and whether it is an outage.

A batch that fails is halved until those that the backend refuses stand alone.  Where both halves
fail, one write of them, drawn by lot, is tried: if it fails, too, it is an outage, nobody is to
blame, and all wait; if it gets through, the others go on.  So an outage costs four calls a time,
and a few writes that are always refused never look like one for long.  Who fails alone while others
get through has used up an attempt, and so has the only one there is, and who did not get through
when others did and fails again among its like.  After the last attempt a write is set aside as a
dead letter, without anybody having waited for it; but only if the backend has taken something since
the write first failed: what takes nothing at all is away, and then it is tried for ever.

Cost: one call for a batch that is taken, 2 log2(n) calls for each write of n that is refused.
Not chosen: counting the attempts of a whole batch, by which one refused write takes others along.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frys_cache.writeback.dirty import SUSPECT, Op

__all__ = ["Round"]


class Round:
    """One batch on its way, halved where it fails."""

    __slots__ = ("_deliver", "_draw", "_suspects", "_through", "failed")

    def __init__(
        self, deliver: Callable[[list[Op]], BaseException | None], draw: Callable[[], float]
    ) -> None:
        self._deliver = deliver
        self._draw = draw
        self._through: set[Any] = set()
        self._suspects = False
        self.failed: list[tuple[Op, BaseException]] = []

    def run(self, batch: list[Op]) -> BaseException | None:
        """Deliver what can be; return the error of an outage, None: only `failed` fail."""
        self._suspects = all(op.attempts or op.state == SUSPECT for op in batch)
        error = self._try(batch)
        if error is None or self._split(batch, error):
            return None
        return error

    @property
    def tells_apart(self) -> bool:
        """Return whether those that failed alone are to blame: others got through."""
        return bool(self._through) or self._suspects

    @property
    def got_through(self) -> int:
        """Return how many were delivered."""
        return len(self._through)

    def _try(self, part: list[Op]) -> BaseException | None:
        error = self._deliver(part)
        if error is None:
            self._through.update(map(id, part))
        return error

    def _split(self, part: list[Op], error: BaseException) -> bool:
        """Find out who fails; False: everyone does."""
        left = [op for op in part if id(op) not in self._through]
        if len(left) < len(part):
            # One has got through by lot, so those beside it have not been tried as they are.
            again = self._try(left) if left else None
            if again is None:
                return True
            part, error = left, again
        if len(part) == 1:
            self.failed.append((part[0], error))
            return True
        middle = len(part) // 2
        halves = part[:middle], part[middle:]
        errors = [self._try(half) for half in halves]
        if middle > 1 and None not in errors and not self._suspects:
            chosen = part[int(self._draw() * len(part))]
            if self._try([chosen]) is not None:
                return False
        return all(
            again is None or self._split(half, again)
            for half, again in zip(halves, errors, strict=True)
        )
