"""Hit counts per policy on a fixed trace: what a policy evicts must not change unnoticed.

The trace comes from a generator of integers only, so it is the same on every machine and every
version of Python.  For a policy that goes by hashes the keys are numbers and the seeds are fixed.
The counts were computed by ReferenceCache; this file, run as a program,
prints them again.  A new policy adds its line.
"""

from bisect import bisect
from itertools import accumulate

import pytest
from conftest import SOAK

from frys_cache import FrysCache, MemoryCache
from frys_cache._core import _fix_seeds
from frys_cache._tinylfu_model import seed_of
from frys_cache.testing import ReferenceCache

SIZES = (50, 200, 1_000, 3_000, 8_000)
GOLDEN = {
    "lru": (9_589, 14_782, 22_909, 35_285, 36_932),
    "fifo": (8_132, 13_151, 21_291, 33_972, 36_297),
    "lfu": (14_168, 18_586, 23_449, 28_608, 37_377),
    "slru": (14_213, 18_570, 24_812, 28_608, 37_377),
    "sieve": (14_456, 18_594, 23_449, 28_608, 37_377),
    "s3fifo": (14_523, 18_909, 25_193, 34_929, 36_663),
    "arc": (14_350, 18_753, 25_294, 35_259, 37_377),
    "size": (12_469, 17_055, 24_763, 35_917, 37_354),
    "tinylfu": (14_779, 19_220, 25_866, 36_066, 32_065),
}


def xorshift(state):
    """Yield 64-bit numbers: xorshift64*, all in integers."""
    mask = 2**64 - 1
    while True:
        state ^= state >> 12
        state = (state ^ state << 25) & mask
        state ^= state >> 27
        yield state * 0x2545F4914F6CDD1D & mask


def trace():
    """Return 50,000 keys: popular ones, then a scan among them, then loops, then all mixed."""
    random = xorshift(20_260_101)
    # The popularity of rank r is 1/r, in whole millionths.
    ranks = list(accumulate(1_000_000 // rank for rank in range(1, 10_001)))

    def popular():
        return f"popular-{bisect(ranks, next(random) % ranks[-1])}"

    keys = [popular() for _ in range(20_000)]
    for number in range(5_000):  # every key of the scan comes once
        keys += [f"scan-{number}", popular()]
    keys += [f"loop-{number % 1_500}" for number in range(9_000)]
    for number in range(11_000):
        keys.append(popular() if next(random) % 4 else f"loop-{number % 400}")
    assert len(keys) == 50_000
    return keys


TRACE = trace()
NUMBERS = {word: number for number, word in enumerate(dict.fromkeys(TRACE), 1)}
NUMBERED = [NUMBERS[word] for word in TRACE]
SEED = 5


def keys_for(policy):
    """Return the trace, as numbers for a policy that goes by hashes."""
    return NUMBERED if policy == "tinylfu" else TRACE


def make(cls, size, policy):
    """Make a cache, or its model, whose seed is always the same."""
    if cls is ReferenceCache:
        return cls(size, policy=policy, seed=seed_of(SEED))
    _fix_seeds(SEED)
    return cls(size, policy=policy)


def hits(cache, keys):
    """Return for each request whether it was a hit; a miss is stored."""
    answers = []
    for key in keys:
        found = cache.get(key) is not None
        answers.append(found)
        if not found:
            cache.put(key, key)
    return answers


def test_trace_is_the_same_everywhere():
    """Catch a generator that depends on the interpreter: then the counts mean nothing."""
    checksum = 0
    for key in TRACE:
        for byte in key.encode():
            checksum = (checksum * 16_777_619 ^ byte) & (2**64 - 1)
    assert (checksum, len(set(TRACE))) == (36_134_413_601_205_650, 12_091)


@pytest.mark.parametrize("cls", [MemoryCache, FrysCache])
@pytest.mark.parametrize("policy", GOLDEN)
def test_hits_on_the_trace_are_the_golden_ones(cls, policy):
    """Catch a policy that evicts something else than it used to."""
    counted = []
    for size in SIZES:
        cache = make(cls, size, policy)
        counted.append(sum(hits(cache, keys_for(policy))))
        assert cache.stats().hits == counted[-1]
        assert cache.stats().misses == len(TRACE) - counted[-1]
        assert cache.stats().evictions == cache.stats().inserts - len(cache)
        cache._check()
    assert tuple(counted) == GOLDEN[policy]


def short(policy):
    """Return the trace, or as much of it as the slowest model takes a second for."""
    return keys_for(policy)[: None if policy != "tinylfu" or SOAK else 6_000]


@pytest.mark.parametrize("policy", GOLDEN)
@pytest.mark.parametrize("size", SIZES)
def test_every_request_is_answered_as_by_the_model(policy, size):
    """Catch a policy that has the right count by wrong answers."""
    cache, model = (make(cls, size, policy) for cls in (MemoryCache, ReferenceCache))
    keys = short(policy)
    assert hits(cache, keys) == hits(model, keys)
    assert list(cache) == model.order()


@pytest.mark.parametrize("policy", GOLDEN)
@pytest.mark.parametrize("size", SIZES)
def test_batches_hit_as_single_requests_do(policy, size):
    """Catch a batch that tells the policy of its hits in another order."""
    cache, model = (make(cls, size, policy) for cls in (MemoryCache, ReferenceCache))
    keys = short(policy)
    for start in range(0, len(keys), 100):
        block = keys[start : start + 100]
        for one in (cache, model):
            found = one.get_many(block)
            one.put_many((key, key) for key, value in zip(block, found, strict=True) if not value)
    assert cache.stats().hits == model.stats().hits
    assert list(cache) == model.order()


if __name__ == "__main__":
    for name in GOLDEN:
        print(name, [sum(hits(make(ReferenceCache, size, name), keys_for(name))) for size in SIZES])
