"""The kinds of cache that every behaviour is tried on: each class with each policy."""

import pytest

from frys_cache import FrysCache, MemoryCache
from frys_cache._core import _fix_seeds

# Of all caches that are made here: two of one test behave alike, in every run.
SEED = 20_260_101

KINDS = {
    "memory-lru": (MemoryCache, "lru"),
    "memory-fifo": (MemoryCache, "fifo"),
    "memory-lfu": (MemoryCache, "lfu"),
    "memory-slru": (MemoryCache, "slru"),
    "memory-size": (MemoryCache, "size"),
    "memory-sieve": (MemoryCache, "sieve"),
    "memory-s3fifo": (MemoryCache, "s3fifo"),
    "memory-arc": (MemoryCache, "arc"),
    "frys-auto": (FrysCache, "auto"),
    "frys-lru": (FrysCache, "lru"),
    "frys-fifo": (FrysCache, "fifo"),
}


def maker(kind):
    """Return a function (max_entries, **options) that makes a cache of this kind."""
    cls, policy = KINDS[kind]

    def make(max_entries, **options):
        _fix_seeds(SEED)
        return cls(max_entries, policy=policy, **options)

    make.cls = cls
    make.policy = policy
    return make


every_kind = pytest.mark.parametrize("make", [maker(kind) for kind in KINDS], ids=list(KINDS))
# For slow tests: each policy's code and each class once.
every_policy = pytest.mark.parametrize(
    "make",
    [maker(kind) for kind in KINDS if kind not in ("frys-lru", "frys-fifo")],
    ids=[kind for kind in KINDS if kind not in ("frys-lru", "frys-fifo")],
)
every_class = pytest.mark.parametrize("cls", [MemoryCache, FrysCache])
# What is new stays and what is old goes: for tests that count on who is evicted.  Not so with auto,
# which compares what is new with what it would push out.
every_queue = pytest.mark.parametrize(
    "make",
    [maker(kind) for kind in KINDS if KINDS[kind][1] in ("lru", "fifo")],
    ids=[kind for kind in KINDS if KINDS[kind][1] in ("lru", "fifo")],
)
