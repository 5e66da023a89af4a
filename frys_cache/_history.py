"""A checker of histories: whether a register could have given these answers, whatever raced.

Threads record what they do and when it began and ended; afterwards each key is judged as one
register (writes, deletes, reads; every written value is unique, so a read tells which write it
saw).  What is asked for is linearizability: each operation has one moment between its beginning and
its end.  Of a value only two times matter: `first`, when the first of its write and reads had
ended, and `last`, when the last of them began.  If first < last, the register had this value all
that time; else one moment between the two is enough.  A history is wrong if a value was read that
nobody wrote, or before it was written; if two such spans overlap; or if a value, or a delete, has
all of its moments within the span of another (Gibbons and Korach, "Testing Shared Memories", 1997).
A read that finds nothing needs one delete, or the beginning, that fits the same way.

An operation that raised may have happened at any time since, or never.  What is refused, no order
explains.  The reverse holds but for reads that find nothing: which of several deletes such a read
saw is judged for each by itself, unless only one is possible.

Cost: to record, 3 us and 170 bytes an operation, without a lock; to check, 4 to 8 us an operation.
Check every few seconds, then: 24 threads that record for a second leave some 40 MB behind.
Not chosen: a search of all orders, which takes an hour where twenty threads share a key.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Hashable, Iterable
from itertools import accumulate, pairwise
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

from frys_cache.errors import Backpressure
from frys_cache.types import MISSING

__all__ = ["History", "HistoryError", "Operation"]

Outcome: TypeAlias = Literal["acknowledged", "unknown", "refused"]

_UNSET: Final[Any] = object()
_NEVER: Final = float("inf")
_ANY: Final = -1
_NONE: Final = [-2]
_SHOWN: Final = 12  # operations in the text of an error


class HistoryError(AssertionError):
    """A read that no order of the operations explains: `.read`, and `.around`, those beside it."""

    def __init__(self, message: str, read: Operation, around: list[Operation]) -> None:
        super().__init__(message)
        self.read = read
        self.around = around


class Operation:
    """One operation, recorded from the beginning of its `with` block to the end.

    A read is given its `result` within the block.  `outcome` may be set there too; by default it is
    "acknowledged", and where the block raises "unknown", or "refused" for what did not happen.
    """

    __slots__ = ("_log", "_refusals", "end", "key", "kind", "outcome", "result", "start")

    key: Any
    result: Any
    """What was written or read."""
    start: float
    end: float

    def __init__(
        self, kind: str, key: Any, result: Any, log: _Log, refusals: tuple[type[Exception], ...]
    ) -> None:
        self.kind = kind
        self.key = key
        self.result = result
        self.outcome: Outcome | None = None
        self._log = log
        self._refusals = refusals

    def __enter__(self) -> Self:
        log = self._log
        log.open += 1
        self.start = self.end = log.clock()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        log = self._log
        self.end = log.clock()
        log.open -= 1
        if self.outcome is None:
            if error is None:
                self.outcome = "acknowledged"
            else:
                self.outcome = "refused" if isinstance(error, self._refusals) else "unknown"
        if self.result is not _UNSET:
            log.done.append(self)
        elif error is None:
            raise RuntimeError(f"the read of {self.key!r} was given no `result` within its block")

    def __repr__(self) -> str:
        what = f"{self.kind} {self.key!r}"
        if self.kind != "delete":
            what += f" = {self.result!r}"
        return what if self.outcome == "acknowledged" else f"{what} ({self.outcome})"


class _Log:
    """What one thread has done: its own list, so that it needs no lock."""

    __slots__ = ("clock", "done", "name", "open", "thread")

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.done: list[Operation] = []
        self.open = 0
        self.thread = threading.current_thread()
        self.name = self.thread.name


class _Value(NamedTuple):
    """A value of a key: when its first operation ended, when its last one began, its write."""

    first: float
    last: float
    write: Operation


class _Register:
    """What is left of a key's operations after a check: all that later ones can be wrong about."""

    __slots__ = ("deleted", "maybe", "maybe_deleted", "past", "values")

    def __init__(self) -> None:
        self.values: dict[Hashable, _Value] = {}  # that the key may still have
        self.maybe: dict[Hashable, Operation] = {}  # unknown writes whose value nobody has read
        self.past = -_NEVER  # when the last operation began of a value that is gone
        self.deleted = -_NEVER  # when the last delete ended; at the beginning there is nothing
        self.maybe_deleted = _NEVER  # when the first unknown delete began


class History:
    """Record what threads do with a cache, and check that its answers have an explanation.

    evicts: reads may always find nothing, as in a cache that evicts; an old value they must never
    find.  lossy: keys whose writes and deletes may be lost after they were acknowledged.  refusals:
    exceptions that say that nothing was done.  clock: returns a time, as an int.

    `MISSING` and None are absence; each value may be written to a key once, and must be hashable.
    Any number of threads and tasks may record.

    >>> history, cache = History(), {}
    >>> with history.write("k", 1):
    ...     cache["k"] = 1
    >>> with history.read("k") as read:
    ...     read.result = cache.get("k")
    >>> history.check()
    2
    """

    def __init__(
        self,
        *,
        evicts: bool = False,
        lossy: Container[Any] = (),
        refusals: tuple[type[Exception], ...] = (Backpressure,),
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._evicts = evicts
        self._lossy = lossy
        self._refusals = refusals
        self._clock = clock
        self._lock = threading.Lock()  # guards _logs
        self._logs: list[_Log] = []
        self._local = threading.local()
        self._registers: dict[Any, _Register] = {}

    def _log(self) -> _Log:
        log: _Log | None = getattr(self._local, "log", None)
        if log is None:
            log = self._local.log = _Log(self._clock)
            with self._lock:
                self._logs.append(log)
        return log

    def write(self, key: Any, value: Hashable) -> Operation:
        """Record a write: `with history.write(key, value): cache.put(key, value)`."""
        if value is None or value is MISSING:
            raise ValueError(f"{value!r} is absence here, and cannot be written")
        return Operation("write", key, value, self._log(), self._refusals)

    def delete(self, key: Any) -> Operation:
        """Record a delete: `with history.delete(key): cache.delete(key)`."""
        return Operation("delete", key, MISSING, self._log(), self._refusals)

    def read(self, key: Any) -> Operation:
        """Record a read: `with history.read(key) as op: op.result = cache.get(key)`."""
        return Operation("read", key, _UNSET, self._log(), self._refusals)

    def check(self) -> int:
        """Judge all that was recorded since the last check; return how many operations that were.

        To be called while nobody is at work, once at the end or now and then: what is judged is
        forgotten, but for what later reads depend on.  Raises `HistoryError` for the first read, of
        any key, that nothing explains, and again when asked again; RuntimeError while an operation
        is under way; ValueError if a value was written twice.
        """
        with self._lock:
            logs = list(self._logs)
        if any(log.open for log in logs):
            raise RuntimeError("an operation is under way: check when all threads have paused")
        by_key: dict[Any, list[Operation]] = {}
        for log in logs:
            for one in log.done:
                by_key.setdefault(one.key, []).append(one)
        worst: HistoryError | None = None
        after = {}
        for key, operations in by_key.items():
            case = _Case(
                self._registers.get(key) or _Register(),
                operations,
                evicts=self._evicts,
                lossy=key in self._lossy,
            )
            reason = case.judge(case.reads)
            if reason is None:
                after[key] = case.register_after()
            else:
                error = case.error()
                if worst is None or error.read.start < worst.read.start:
                    worst = error
        if worst is not None:
            raise worst
        self._registers.update(after)
        for log in logs:
            log.done.clear()
        with self._lock:
            self._logs = [log for log in self._logs if log.thread.is_alive() or log.done]
        return sum(map(len, by_key.values()))


class _Case:
    """The operations of one key since the last check, and what was left of those before."""

    def __init__(
        self, before: _Register, operations: list[Operation], *, evicts: bool, lossy: bool
    ) -> None:
        self.before = before
        self.operations = operations
        self.evicts = evicts
        self.written: dict[Hashable, Operation] = {}
        self.maybe = dict(before.maybe)
        self.refused: set[Hashable] = set()
        self.deletes: list[tuple[float, float]] = []  # (start, end) of the certain ones
        self.maybe_deletes = [before.maybe_deleted]
        self.reads: list[Operation] = []
        for one in operations:
            certain = one.outcome == "acknowledged" and not lossy
            if one.kind == "read":
                if one.outcome == "acknowledged":
                    self.reads.append(one)
            elif one.kind == "delete":
                if certain:
                    self.deletes.append((one.start, one.end))
                elif one.outcome != "refused":
                    self.maybe_deletes.append(one.start)
            else:
                self._add_write(one, certain)
        self.reads.sort(key=lambda one: one.start)
        self.deletes.sort()
        self.maybe_deletes.sort()

    def _add_write(self, one: Operation, certain: bool) -> None:
        value = one.result
        known = (self.written, self.maybe, self.before.values, self.refused)
        if any(value in those for those in known):
            raise ValueError(f"{value!r} was written to {one.key!r} twice: values must be unique")
        if one.outcome == "refused":
            self.refused.add(value)
        else:
            (self.written if certain else self.maybe)[value] = one

    # --- the judgement ---------------------------------------------------------------------------

    def judge(self, reads: Iterable[Operation]) -> str | None:
        """Return why the history, with these reads of it, is wrong; or None."""
        absent: list[Operation] = []
        found = self._values(reads, absent)
        if isinstance(found, str):
            return found
        spans = sorted((each.first, each.last) for each in found.values() if each.first < each.last)
        for (_, last), (first, _) in pairwise(spans):
            if first < last:
                return (
                    f"{self._name(found, first)} was there before a read began that saw "
                    f"{self._name(found, last)}, which was there before and has to be still"
                )
        self._firsts = [first for first, _ in spans]
        self._lasts = [last for _, last in spans]
        points = [(each.first, each.last) for each in found.values() if each.first >= each.last]
        for first, last in [*points, *((end, start) for start, end in self.deletes)]:
            at = self._span_around(first, last)
            if at >= 0:
                other = self._name(found, self._lasts[at])
                name = self._name(found, first, last)
                return f"{other} was read after {name}, which came after {other} was there"
        if not self.evicts:
            points.append((self.before.past, self.before.past))
            points.sort()
            self._point_firsts = [first for first, _ in points]
            self._point_lasts = list(accumulate((last for _, last in points), max))
            self._seen = [(end, start) for start, end in self.deletes]
            self._order_deletes()
            # A read that only one delete explains is of that delete, for all other reads.
            only = [(one, self._explanations(one)) for one in absent]
            for one, of in only:
                if len(of) == 1 and of[0] >= 0:
                    first, last = self._seen[of[0]]
                    self._seen[of[0]] = min(first, one.end), max(last, one.start)
            self._order_deletes()
            for one in absent:
                if self._explanations(one) == _NONE:
                    return "nothing was found, and no delete can come just before that"
        return None

    def _values(
        self, reads: Iterable[Operation], absent: list[Operation]
    ) -> dict[Hashable, _Value] | str:
        """Return the values that have been there, and fill `absent`; or why that cannot be."""
        found = dict(self.before.values)
        for value, one in self.written.items():
            found[value] = _Value(one.end, one.start, one)
        for one in reads:
            value = one.result
            if value is None or value is MISSING:
                absent.append(one)
                continue
            was = found.get(value)
            if was is None:
                write = self.maybe.get(value)
                if write is None:
                    if value in self.refused:
                        return f"the write of {value!r} was refused"
                    return f"{value!r} was never written, or was replaced before the last check"
                # One that may have been lost was done in its time, or never; others at any time.
                end = write.end if write.outcome == "acknowledged" else _NEVER
                was = _Value(end, write.start, write)
            if one.end < was.write.start:
                return f"{value!r} was read before its write began"
            found[value] = _Value(min(was.first, one.end), max(was.last, one.start), was.write)
        return found

    def _span_around(self, first: float, last: float) -> int:
        """Return the span that something must come both before and after; -1: there is none."""
        at = bisect_left(self._firsts, last) - 1
        return at if at >= 0 and self._lasts[at] > first else -1

    def _fits(self, first: float, last: float) -> bool:
        """Tell whether there may be nothing from `first` to `last`, or at a moment between them."""
        if self._span_around(first, last) >= 0:
            return False
        at = bisect_left(self._point_firsts, last)
        return first >= last or not at or self._point_lasts[at - 1] <= first

    def _order_deletes(self) -> None:
        """Prepare to find the deletes beside a read, from what is known to have seen them."""
        self._latest_ends = list(accumulate((end for _, end in self.deletes), max))
        pairs = zip(self.deletes, self._seen, strict=True)
        done = sorted((end, first) for (_, end), (first, _) in pairs)
        self._ends = [end for end, _ in done]
        self._latest_firsts = list(accumulate((first for _, first in done), max))

    def _explanations(self, one: Operation) -> list[int]:
        """Return which deletes explain a read that found nothing: `_ANY` if it is open which."""
        start, end = one.start, one.end
        # Of those that ended before the read began, the last.
        at = bisect_left(self._ends, start)
        before = max(self.before.deleted, self._latest_firsts[at - 1] if at else -_NEVER)
        if self._fits(before, start):
            return [_ANY]
        # Those of which nobody knows: one from before its beginning, or any within it.
        at = bisect_right(self.maybe_deletes, end)
        if any(self._fits(end, max(start, began)) for began in self.maybe_deletes[:at]):
            return [_ANY]
        # Those that overlap it.
        fitting = []
        at = bisect_right(self.deletes, (end, _NEVER)) - 1
        while at >= 0 and self._latest_ends[at] >= start:
            first, last = self._seen[at]
            if self.deletes[at][1] >= start and self._fits(min(first, end), max(last, start)):
                fitting.append(at)
            at -= 1
        return fitting or _NONE

    def _name(self, found: dict[Hashable, _Value], *times: float) -> str:
        """Return the value that one of these times belongs to."""
        for value, each in found.items():
            if {each.first, each.last} >= set(times):
                return f"the value {value!r}"
        return "a delete"

    # --- what becomes of it ----------------------------------------------------------------------

    def register_after(self) -> _Register:
        """Return what later operations, which begin after all of these, can be wrong about."""
        absent: list[Operation] = []
        found = self._values(self.reads, absent)
        assert not isinstance(found, str)
        after = _Register()
        # A value that something has certainly come after can never be read again.
        lasts = sorted(each.last for each in found.values())[-2:]
        over = max((start for start, _ in self.deletes), default=-_NEVER)
        if not self.evicts:
            over = max([over, *(one.start for one in absent)])
        after.past = self.before.past
        for value, each in found.items():
            others = lasts[-1] if each.last != lasts[-1] else lasts[0] if lasts[1:] else -_NEVER
            if each.first >= max(over, others):
                after.values[value] = each
            else:
                after.past = max(after.past, each.last)
        after.maybe = {value: one for value, one in self.maybe.items() if value not in found}
        after.deleted = max([self.before.deleted, *(end for _, end in self.deletes)])
        after.maybe_deleted = self.maybe_deletes[0]
        return after

    def error(self) -> HistoryError:
        """Return what is to be raised: about the first read without which all would be well."""
        count = bisect_left(
            range(len(self.reads) + 1),
            True,
            key=lambda count: self.judge(self.reads[:count]) is not None,
        )
        read = self.reads[count - 1]
        reason = self.judge(self.reads[:count])
        near = [
            one
            for one in self.operations
            if one.start <= read.end and one.result == read.result and one.kind != "delete"
        ][-3:]
        value = self.before.values.get(read.result) if read.result is not None else None
        others = sorted(
            (one for one in self.operations if one.start <= read.end), key=lambda one: one.end
        )[-_SHOWN:]
        shown = {id(one): one for one in [*near, *others, read]}
        if value is not None:
            shown[id(value.write)] = value.write
        around = sorted(shown.values(), key=lambda one: one.start)
        zero = around[0].start
        what = f"read of {read.key!r} gave {read.result!r}"
        lines = [f"{what}, which no order of the operations explains: {reason}"]
        for one in around:
            mark = ">" if one is read else " "
            times = f"{(one.start - zero) / 1000:12.1f} .. {(one.end - zero) / 1000:.1f} us"
            lines.append(f"{mark} {times}  {one._log.name}: {one!r}")
        return HistoryError("\n".join(lines), read, around)
