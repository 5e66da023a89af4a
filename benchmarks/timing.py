"""Time two loops against each other so that a noisy machine cancels out.

One round runs three loops back to back: ours, the baseline, and the same `for` statement with an
empty body, whose cost is taken off both sides.  The ratio is taken per round, so slow drift
(frequency, a busy neighbour) hits both sides alike; the figure is the median of the ratios, its
spread their quartiles.  Every few rounds the keys are dealt anew, because one set of keys has one
luck with its hashes.

The loops are real `for` statements compiled per side: a function call per operation would cost more
than the operation, and code objects must not be shared, since CPython specialises bytecode per
type.  The clock is the CPU time of this thread: on a shared machine the wall counts the others too.
"""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Windows counts thread time in steps of 15.6 ms, useless for loops of a millisecond.
_FINE = time.get_clock_info("thread_time").resolution < 1e-6
CLOCK = time.thread_time_ns if _FINE else time.perf_counter_ns

# A pass is (keys, value).  Values of consecutive passes differ, so an overwrite always replaces.
EACH = """
def loop(c, passes):
    start = clock()
    for keys, v in passes:
        for k in keys:
            {statement}
    return clock() - start
"""
BATCH = """
def loop(c, batches):
    start = clock()
    for b in batches:
        {statement}
    return clock() - start
"""
# Each stream of keys meets the cache that `make` gives; making and dropping it is not timed.
FRESH = """
def loop(make, streams, v):
    spent = 0
    for keys in streams:
        c = make()
        start = clock()
        for k in keys:
            {statement}
        spent += clock() - start
    return spent
"""


def compile_loop(template, statement="pass", clock=CLOCK, **names):
    """Return a new function: the loop of `template` over `statement`; `names` are its globals."""
    scope: dict[str, Any] = {"clock": clock, **names}
    exec(template.format(statement=statement), scope)
    return scope["loop"]


# Untimed turns of each side after a deal: caches warm, bytecode specialised, and the branch
# predictor settled, which takes longest: of 1,000 keys in one order it learns every collision.
WARMING = 3


@dataclass
class Side:
    """Hold one loop and its work: each turn is one argument tuple, `count` operations long."""

    loop: Callable[..., int]
    turns: Sequence[tuple]
    count: int

    def run(self, turn):
        """Run one turn and return the nanoseconds per operation."""
        return self.loop(*self.turns[turn % len(self.turns)]) / self.count


@dataclass(frozen=True)
class Spread:
    """The median of a sample and its quartiles."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, sample):
        if len(sample) == 1:
            return cls(sample[0], sample[0], sample[0])
        low, middle, high = statistics.quantiles(sample, n=4, method="inclusive")
        return cls(middle, low, high)


@dataclass(frozen=True)
class Comparison:
    """Our nanoseconds, the baseline's (None when there is none), and the ratio of the two."""

    ours: Spread
    base: Spread | None
    ratio: Spread | None
    rounds: int


def compare(deal, deals, rounds):
    """Run `deals` times `rounds` rounds and return a Comparison.

    `deal(number)` returns the sides (ours, base or None, empty) over newly made keys and caches.
    """
    ours, base, ratios = [], [], []
    was_enabled = gc.isenabled()
    try:
        for number in range(deals):
            sides = [side for side in deal(number) if side is not None]
            gc.collect()
            gc.disable()
            for turn in range(WARMING):
                for side in sides:
                    side.run(-1 - turn)
            for turn in range(rounds):
                spent = [0.0] * len(sides)
                for step in range(len(sides)):  # nobody is always first
                    at = (turn + step) % len(sides)
                    spent[at] = sides[at].run(turn)
                empty = spent[-1]
                ours.append(spent[0] - empty)
                if len(sides) == 3:
                    base.append(spent[1] - empty)
                    # An operation lost in the noise of its loop must not divide by nothing.
                    ratios.append(ours[-1] / max(base[-1], 0.1))
            del sides
            gc.enable()
    finally:
        (gc.enable if was_enabled else gc.disable)()
    return Comparison(
        Spread.of(ours),
        Spread.of(base) if base else None,
        Spread.of(ratios) if ratios else None,
        deals * rounds,
    )
