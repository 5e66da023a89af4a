"""What is simulated, and what is advised: policies times sizes, in one thread for each core.

The engine runs without the GIL.  Where entries are bounded, lru takes one pass for all sizes, from
stack distances, exactly.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from frys_cache.cli.traces import Source
from frys_cache.simulation import OPT, SimulationResult

__all__ = ["KNEE", "Advice", "BadSizes", "Study", "ladder", "parse_sizes", "study"]

KNEE = 0.05  # of all requests: a doubling that brings less is not advised
STEPS = 10  # doublings of the default sizes
CURVE = 200  # points of the smooth curve of lru
SIZE = re.compile(r"(\d+\.?\d*|\.\d+)\s*(%|[kmgt]?)(i?b)?")


class BadSizes(Exception):
    """A size that cannot be: the message says which and what it may be."""


@dataclass(frozen=True)
class Advice:
    """Which policy and size to take, and what doubling that size would bring."""

    policy: str
    size: int
    hit_ratio: float
    opt_hit_ratio: float | None
    doubled_hit_ratio: float


@dataclass
class Study:
    """All results of one trace."""

    source: Source
    policies: list[str]
    """In the order in which they are shown; OPT, if it is there, is the last."""
    sizes: list[int]
    results: dict[tuple[str, int], SimulationResult] = field(default_factory=dict)
    lru_curve: list[tuple[int, float]] = field(default_factory=list)

    def ratio(self, policy: str, size: int) -> float:
        """Return a hit ratio."""
        return self.results[policy, size].hit_ratio

    def mean(self, policy: str) -> float:
        """Return the mean hit ratio over all sizes that are shown."""
        return sum(self.ratio(policy, size) for size in self.sizes) / len(self.sizes)

    @property
    def online(self) -> list[str]:
        """The policies that do not know the future."""
        return [policy for policy in self.policies if policy != OPT]

    def best_at(self, size: int) -> list[str]:
        """Return the best policies of a size, to a tenth of a percent; none where all are alike."""
        ratios = {policy: round(self.ratio(policy, size), 3) for policy in self.online}
        best = [policy for policy in ratios if ratios[policy] == max(ratios.values())]
        return best if len(best) < len(ratios) else []

    @property
    def favourite(self) -> str:
        """The policy with the best mean."""
        return max(self.online, key=self.mean)

    @property
    def advice(self) -> Advice:
        """The favourite, at the smallest size from which on no doubling brings KNEE or more."""
        policy = self.favourite
        chosen = self.sizes[-1]
        for size in reversed(self.sizes):
            if self.ratio(policy, 2 * size) - self.ratio(policy, size) >= KNEE:
                break
            chosen = size
        return Advice(
            policy,
            chosen,
            self.ratio(policy, chosen),
            self.ratio(OPT, chosen) if OPT in self.policies else None,
            self.ratio(policy, 2 * chosen),
        )


def ladder(whole: int) -> list[int]:
    """Return the sizes that are taken when none are given: doublings from 0.1 % to 100 %.

    >>> ladder(1000)
    [1, 2, 4, 8, 16, 32, 63, 125, 250, 500, 1000]
    """
    return sorted({math.ceil(whole / 2**step) for step in range(STEPS + 1)})


def parse_sizes(text: str, whole: int, in_bytes: bool) -> list[int]:
    """Return the sizes that a list like `500,10k,1%` means, each once, the smallest first.

    >>> parse_sizes("500,2k,10%", 40_000, False)
    [500, 2000, 4000]
    """
    sizes = set()
    for part in text.split(","):
        word = SIZE.fullmatch(part.strip().lower().replace("_", ""))
        amount = 0.0
        if word is not None and (in_bytes or not word[3]):
            amount = float(word[1]) * units_of(whole, in_bytes)[word[2]]
        if not 0 < amount < 2**62:
            example = "65536, 512K, 10M, 2G, 1%" if in_bytes else "500, 10k, 2M, 1%"
            raise BadSizes(f"no size: {part.strip()!r}; sizes are positive, like {example}")
        sizes.add(max(1, round(amount)))
    return sorted(sizes)


def units_of(whole: int, in_bytes: bool) -> dict[str, float]:
    """Return what the letter behind a number multiplies it by: by 1024 for bytes."""
    step = 1024.0 if in_bytes else 1000.0
    return {"%": whole / 100, **{unit: step**power for power, unit in enumerate(["", *"kmgt"])}}


class Cancelled(Exception):
    """The run was ended from outside."""


def study(
    source: Source, policies: list[str], sizes: list[int], tick: Callable[[int], None]
) -> Study:
    """Simulate every policy at every size; tick hears of requests that are done.

    The doubled sizes of the favourite come last, for the advice.
    """
    done = Study(source, policies, sizes)
    jobs = [(policy, size) for policy in policies for size in sizes]
    if not source.in_bytes and "lru" in policies:
        jobs = [job for job in jobs if job[0] != "lru"]
    run(done, jobs, "lru" in policies and not source.in_bytes, tick)
    policy = done.favourite
    more = [(policy, 2 * size) for size in sizes if (policy, 2 * size) not in done.results]
    run(done, [(policy, size) for policy, size in more if 2 * source.whole >= size], False, tick)
    for policy, size in more:  # all fits, and twice as much would
        if (policy, size) not in done.results:
            done.results[policy, size] = done.results[policy, size // 2]
    return done


def steps(source: Source, policies: list[str], sizes: list[int]) -> int:
    """Return how many requests `study` will go through, about."""
    runs = len(policies) * len(sizes)
    if not source.in_bytes and "lru" in policies:
        runs -= len(sizes) - 1
    return runs * len(source.trace)


def run(done: Study, jobs: list[tuple[str, int]], curve: bool, tick: Callable[[int], None]) -> None:
    """Do the jobs in threads; an interrupt or an error ends them all."""
    stop = threading.Event()

    def counted() -> Callable[[int], None]:
        before = 0

        def progress(at: int) -> None:
            nonlocal before
            if stop.is_set():
                raise Cancelled
            tick(at - before)
            before = at

        return progress

    def one(policy: str, size: int) -> None:
        entries, weight = (None, size) if done.source.in_bytes else (size, None)
        done.results[policy, size] = done.source.trace.simulate(
            policy, entries, weight, progress=counted()
        )

    with ThreadPoolExecutor(cores()) as pool:
        try:
            waiting = [pool.submit(lru_in_one_pass, done, counted())] if curve else []
            # The longest first: they are those that evict most, and OPT.
            order = sorted(jobs, key=lambda job: (job[0] != OPT, job[1]))
            waiting += [pool.submit(one, *job) for job in order]
            finished, _ = wait(waiting, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def lru_in_one_pass(done: Study, progress: Callable[[int], None]) -> None:
    """Fill in lru at all sizes, their doubles, and points between for a smooth curve."""
    trace, whole = done.source.trace, done.source.whole
    low, high = min(done.sizes), max(whole, *done.sizes)
    points = {round(low * (high / low) ** (step / CURVE)) for step in range(CURVE + 1)}
    shown = {*done.sizes, *(2 * size for size in done.sizes)}
    sizes = sorted(points | shown)
    for size, hits in zip(sizes, trace.lru_hits(sizes, progress=progress), strict=True):
        result = SimulationResult(
            policy="lru",
            max_entries=size,
            max_size_bytes=None,
            requests=len(trace),
            hits=hits,
            evictions=len(trace) - hits - min(size, whole),
        )
        if size in shown:
            done.results["lru", size] = result
        if size <= high:
            done.lru_curve.append((size, result.hit_ratio))


def cores() -> int:
    """Return how many threads may run at once."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
