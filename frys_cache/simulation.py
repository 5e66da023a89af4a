"""The simulator: what a cache of some policy and size would have done with a trace of requests.

It drives the engine of the real cache, at tens of millions of requests a second, so the hits are
those that a real cache would have had: to the last one where keys are ints.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from frys_cache._core import SIMULATED, _Trace

__all__ = ["OPT", "SIMULATED", "SimulationResult", "Trace", "simulate"]

OPT = "opt"
"""The name of Belady's optimum, beside the policies."""


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What a simulated cache has done.

    >>> SimulationResult("lru", 10, None, requests=4, hits=1, evictions=0).hit_ratio
    0.25
    """

    policy: str
    """The name of the policy, or `"opt"`."""
    max_entries: int | None
    """The bounds, as they were given."""
    max_size_bytes: int | None
    requests: int
    """Requests in the trace."""
    hits: int
    """Requests that found their key."""
    evictions: int
    """Objects that went to make room."""
    total_size: int | None = None
    """Bytes that all requests asked for; None where no sizes were given."""
    hit_size: int | None = None
    """Bytes that the hits asked for."""

    @property
    def misses(self) -> int:
        """Requests that did not find their key."""
        return self.requests - self.hits

    @property
    def hit_ratio(self) -> float:
        """Hits per request, 0.0 for an empty trace."""
        return self.hits / self.requests if self.requests else 0.0

    @property
    def byte_hit_ratio(self) -> float | None:
        """Bytes that the hits asked for per byte of all requests; None without sizes."""
        if self.total_size is None or self.hit_size is None:
            return None
        return self.hit_size / self.total_size if self.total_size else 0.0

    @property
    def bound(self) -> int | None:
        """The bound: in entries, or in bytes where only these are bounded."""
        return self.max_size_bytes if self.max_entries is None else self.max_entries


class Trace:
    """A trace of requests, read once and simulated many times, by several threads if you like.

    keys, sizes: as `simulate` takes them.  They are copied: 8 bytes a request, 16 with sizes.

    >>> trace = Trace("abcab")
    >>> len(trace), trace.unique
    (5, 3)
    """

    __slots__ = ("_trace",)

    def __init__(
        self,
        keys: Iterable[Hashable],
        sizes: Iterable[int] | None = None,
        *,
        numbered: bool = False,
    ) -> None:
        """Read the keys and sizes.

        numbered: let numbers in the order of first appearance stand for the keys, so that nothing
        depends on what the keys are.
        """
        self._trace = _Trace(keys, sizes, numbered)

    def __len__(self) -> int:
        return len(self._trace)

    @property
    def unique(self) -> int:
        """How many different keys there are."""
        return self._trace.unique_keys()

    @property
    def total_size(self) -> int | None:
        """The sum of the sizes in bytes, or None where there are none."""
        return self._trace.total_size()

    def simulate(
        self,
        policy: str,
        max_entries: int | None = None,
        max_size_bytes: int | None = None,
        *,
        seed: int = 0,
        progress: Callable[[int], object] | None = None,
    ) -> SimulationResult:
        """Return what a cache would have done, as `simulate` does.

        progress: called with the number of requests that are done, every few milliseconds; what it
        raises ends the simulation.

        >>> Trace("abcab").simulate("lru", 2).hits
        0
        """
        hits, evictions, size = self._trace.run(policy, max_entries, max_size_bytes, seed, progress)
        known = self.total_size is not None
        return SimulationResult(
            policy=str(policy),
            max_entries=max_entries,
            max_size_bytes=max_size_bytes,
            requests=len(self),
            hits=hits,
            evictions=evictions,
            total_size=self.total_size,
            hit_size=size if known else None,
        )

    def lru_hits(
        self, sizes: Iterable[int], *, progress: Callable[[int], object] | None = None
    ) -> list[int]:
        """Return the hits of lru with each of these numbers of entries, exact, in one pass.

        From Mattson's stack distances; every object counts 1.  progress: as for `simulate`.

        >>> Trace("abcab").lru_hits([1, 2, 3])
        [0, 0, 2]
        """
        return self._trace.lru_hits(list(sizes), progress)


def simulate(
    keys: Iterable[Hashable],
    *,
    policy: str,
    max_entries: int | None = None,
    sizes: Iterable[int] | None = None,
    max_size_bytes: int | None = None,
    seed: int = 0,
) -> SimulationResult:
    """Return what a cache of a policy and size would have done with a trace of requests.

    A request that finds its key is a hit; one that does not stores it.  keys: the keys asked for,
    in order: a buffer of ints of 4 or 8 bytes (a numpy array, an `array.array`), which is fastest,
    or any iterable of hashable objects.  sizes: the bytes of each object asked for, ints of 0 or
    more, a buffer or an iterable as long as the keys; what is found stays as large as it was
    stored, and what is heavier than the whole bound is a miss and not kept.  Without sizes each
    counts 1.  max_entries, max_size_bytes: the bounds, positive ints, one of them or both.  seed:
    what policies that draw lots draw from; the same number gives the same result.

    policy: an `EvictionPolicy` or its name; or "opt", Belady's optimum, which knows the future: no
    cache that stores what it missed can have more hits.  Under a bound by bytes the optimum is
    out of anybody's reach, and "opt" is a good clairvoyant heuristic, no limit.

    The hits are those of a real cache that is used like this on the same requests, without ttl,
    deletions or `cost`; where keys are not all ints, policies that sketch what they have seen may
    differ by a few, for the hashes of str differ in every process.  The loop is in C and runs
    without the GIL.  Raises `ConfigurationError` for a policy or a bound that cannot be, TypeError
    and ValueError for a key or size that cannot be, by its position.

    >>> simulate([1, 2, 3, 1, 2, 3], policy="lru", max_entries=2).hits
    0
    >>> simulate([1, 2, 3, 1, 2, 3], policy="opt", max_entries=2).hits
    2
    """
    return Trace(keys, sizes).simulate(policy, max_entries, max_size_bytes, seed=seed)
