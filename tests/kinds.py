"""The kinds of cache that every behaviour is tried on: each class with each policy."""

import pytest

from frys_cache import FrysCache, MemoryCache

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
# What is new stays and what is old goes: for tests that count on who is evicted.
every_queue = pytest.mark.parametrize(
    "make",
    [maker(kind) for kind in KINDS if KINDS[kind][1] in ("lru", "fifo", "auto")],
    ids=[kind for kind in KINDS if KINDS[kind][1] in ("lru", "fifo", "auto")],
)
