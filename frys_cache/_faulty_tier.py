"""A tier that fails when it is told to: by chance, by script, or for good.

It stands in front of a real tier and passes everything on; before a call, or after it, it raises,
waits, or hangs.  So a test sees what its cache does about faults, without a way to make a disk
full or a server slow.  What one call suffers is drawn under one lock from one seeded generator:
single-threaded, the same seed gives the same faults.

A call is written once, as a coroutine over a face: under the sync face it blocks, under that of an
event loop every call that can be hurt gives an awaitable.
Cost: some microseconds a call.  Not chosen: patching methods of tiers, which every tier would need
anew, and which a test forgets to take back.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from inspect import isawaitable
from random import Random
from typing import Any, Final, Literal, TypeAlias

from frys_cache.errors import ConfigurationError, TierUnavailable
from frys_cache.tiers.face import SyncFace, run_sync

__all__ = ["OPERATIONS", "FaultyTier", "Step"]

OPERATIONS: Final = frozenset(
    {
        "read_one",
        "read",
        "fetch",
        "fetch_list",
        "put_one",
        "write",
        "drop",
        "swap",
        "clear",
        "scan",
        "slices",
    }
)
"""What faults can be put before."""
WALKS: Final = frozenset({"scan", "slices"})

Step: TypeAlias = Literal["ok", "error", "error-after", "hang"] | float | BaseException
"""What a script says of one call."""

_WORDS: Final = ("ok", "error", "error-after", "hang")
_POLL: Final = 0.005  # seconds between two looks of a task whether what it hangs in has ended


class _Gate:
    """Where calls hang until they are released."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def release(self) -> None:
        self._open.set()

    async def wait(self, face: Any, limit: float) -> bool:
        """Wait until the gate is opened; False: the limit, in seconds, came first."""
        if _blocks(face):
            return self._open.wait(limit)
        # A thread that waits would outlive a task that is cancelled.
        end = time.monotonic() + limit
        while not self._open.is_set():
            if time.monotonic() >= end:
                return False
            await face.sleep(_POLL)
        return True


def _blocks(face: Any) -> bool:
    return bool(getattr(face, "blocks", isinstance(face, SyncFace)))


class _Faults:
    """What is to happen to the calls: shared by a faulty tier and what it is under other faces."""

    def __init__(self, random: Random, script: Iterator[Step]) -> None:
        # Guards everything here; what draws a step runs the script's own code under it.
        self.lock = threading.RLock()
        self.random = random
        self.script = script
        self.gate = _Gate()
        self.broken: BaseException | None = None
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.operations: frozenset[str] = OPERATIONS
        self.error_rate = 0.0
        self.hang = 0.0
        self.delay: float | Callable[[Random], float] = 0.0
        self.hang_limit = 0.0

    def draw(self, operation: str) -> tuple[Step, float, _Gate]:
        """Return what happens to a call, how long it is delayed, and where it would hang."""
        with self.lock:
            self.calls[operation] += 1
            gate = self.gate
            if operation not in self.operations:
                return "ok", 0.0, gate
            if self.broken is not None:
                return self._injected(self.broken), 0.0, gate
            step = _checked(next(self.script, None))
            if isinstance(step, float):
                self.injected["delay"] += 1
                return "ok", step, gate
            if step is not None:
                return self._injected(step), 0.0, gate
            chance = self.random.random()
            rate = self.error_rate
            drawn: Step = "ok"
            if chance < rate + self.hang:
                drawn = "error" if chance < rate else "hang"
            delay = self.delay(self.random) if callable(self.delay) else self.delay
            if delay > 0:
                self.injected["delay"] += 1
            return self._injected(drawn), delay, gate

    def _injected(self, step: Step) -> Step:
        if step != "ok":
            self.injected[step if isinstance(step, str) else "error"] += 1
        return step


def _checked(step: Any) -> Any:
    """Return a step of a script, a number as a float; ConfigurationError for anything else."""
    if step is None or isinstance(step, BaseException) or step in _WORDS:
        return step
    if isinstance(step, (int, float)) and not isinstance(step, bool) and step >= 0:
        return float(step)
    raise ConfigurationError(
        f"a step of a script must be one of {', '.join(map(repr, _WORDS))}, seconds or an "
        f"exception, not {step!r}"
    )


class FaultyTier:
    """Stand in front of a tier and let its calls fail.

    error_rate: how likely a call is to raise `TierUnavailable`, 0 to 1.  delay: seconds before each
    call, or a callable that returns them when given a `random.Random`.  hang: how likely a call is
    to block until `release()`, after which it is carried out, or for `hang_limit` seconds, after
    which it raises `TierUnavailable`.  seed: of the chances.  operations: the names of the calls
    that faults apply to, by default all of `read_one`, `read`, `fetch`, `fetch_list`, `put_one`,
    `write`, `drop`, `swap`, `clear`, `scan` and `slices` that the tier has.  script: what happens
    to the first calls, one step each, before the rates apply: `"ok"`, `"error"`, `"error-after"`
    (carried out, then an error: the caller cannot know), `"hang"`, seconds of delay, or an
    exception to raise.

    `calls` counts by operation, `injected` by kind of fault: "error", "error-after", "hang",
    "delay".  The rates are attributes and may change at any time.  All other attributes are those
    of the tier, to read and to set.  Safe from any thread.  Raises `ConfigurationError`.

    >>> from frys_cache.testing import StandInTier
    >>> tier = FaultyTier(StandInTier(), script=["ok", "error"])
    >>> tier.read([b"key"])
    [None]
    >>> tier.read([b"key"])
    Traceback (most recent call last):
    frys_cache.errors.TierUnavailable: injected: read fails
    >>> tier.calls["read"], tier.injected["error"]
    (2, 1)
    """

    def __init__(
        self,
        tier: Any,
        *,
        error_rate: float = 0.0,
        delay: float | Callable[[Random], float] = 0.0,
        hang: float = 0.0,
        seed: int = 0,
        operations: Iterable[str] | None = None,
        script: Iterable[Step] = (),
        hang_limit: float = 60.0,
    ) -> None:
        names = OPERATIONS if operations is None else frozenset(operations)
        if not names <= OPERATIONS:
            raise ConfigurationError(
                f"operations: {sorted(names - OPERATIONS)} cannot fail; those that can are "
                f"{sorted(OPERATIONS)}"
            )
        if isinstance(script, (list, tuple)):
            for step in script:
                _checked(step)
        faults = _Faults(Random(seed), iter(script))
        faults.operations = names
        self.__dict__.update(_tier=tier, _face=SyncFace(), _faults=faults)
        self.error_rate = error_rate
        self.delay = delay
        self.hang = hang
        self.hang_limit = hang_limit

    # --- what a test does ------------------------------------------------------------------------

    def break_down(self, error: BaseException | None = None) -> None:
        """Let every call fail from now on, with this error or `TierUnavailable`."""
        faults = self._faults
        with faults.lock:
            faults.broken = error or TierUnavailable("injected: the tier is down")

    def release(self) -> None:
        """Let those calls go on that hang now."""
        faults = self._faults
        with faults.lock:
            gate, faults.gate = faults.gate, _Gate()
        gate.release()

    def heal(self) -> None:
        """End all faults, forget the rest of the script, and release what hangs."""
        faults = self._faults
        with faults.lock:
            faults.error_rate = faults.hang = faults.delay = 0.0
            faults.script = iter(())
            faults.broken = None
        self.release()

    def on(self, face: Any) -> FaultyTier:
        """Return the same for use under a face: the same tier, faults and counters."""
        if face is self._face:
            return self
        other = FaultyTier.__new__(FaultyTier)
        other.__dict__.update(_tier=self._tier.on(face), _face=face, _faults=self._faults)
        return other

    def close(self) -> Any:
        """Close the tier and release what hangs in it."""
        try:
            return self._tier.close()
        finally:
            self.release()

    # --- what the tier does ----------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name in _KNOBS:
            return getattr(self.__dict__["_faults"], name)
        if name.startswith("__") or "_tier" not in self.__dict__:
            raise AttributeError(name)
        found = getattr(self._tier, name)
        if name not in OPERATIONS:
            return found

        def call(*arguments: Any, **more: Any) -> Any:
            if _blocks(self._face):
                if name in WALKS:
                    return self._walk(name, found, arguments, more)
                return run_sync(self._call(name, found, arguments, more))
            return self._call(name, found, arguments, more)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _RATES:
            setattr(self._faults, name, value)
        elif name in self.__dict__ or name in _KNOBS:
            raise AttributeError(f"{name} cannot be set")
        else:
            setattr(self._tier, name, value)

    def __repr__(self) -> str:
        return f"<FaultyTier over {self._tier!r}>"

    async def _call(self, name: str, function: Any, arguments: Any, more: Any) -> Any:
        step = await self._suffer(name)
        answer = function(*arguments, **more)
        if isawaitable(answer):
            answer = await answer
        if name in WALKS and step == "error-after":
            answer = iter(list(answer))
        self._fail_after(name, step)
        return answer

    def _walk(self, name: str, function: Any, arguments: Any, more: Any) -> Iterator[Any]:
        """Fail as a walk does: when its first step is asked for, or after its last."""
        step = run_sync(self._suffer(name))
        yield from function(*arguments, **more)
        self._fail_after(name, step)

    async def _suffer(self, name: str) -> Step:
        """Do to a call what is done before it; return what was drawn."""
        faults: _Faults = self._faults
        face = self._face
        step, delay, gate = faults.draw(name)
        if delay > 0:
            await face.sleep(delay)
        if step == "hang" and not await gate.wait(face, faults.hang_limit):
            raise TierUnavailable(f"injected: {name} hung for {faults.hang_limit} s")
        if isinstance(step, BaseException):
            raise step
        if step == "error":
            raise TierUnavailable(f"injected: {name} fails")
        return step

    def _fail_after(self, name: str, step: Step) -> None:
        if step == "error-after":
            raise TierUnavailable(f"injected: {name} was carried out, and fails")


_RATES: Final = frozenset({"delay", "error_rate", "hang", "hang_limit"})
_KNOBS: Final = _RATES | {"calls", "injected", "operations"}
