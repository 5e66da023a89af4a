"""Caches over a disk, for the tests of the chain: a real RocksDB, and a real way to fail it."""

import contextlib

from frys_cache import FrysCache

# More than any file system has free, so the tier refuses what is written, as on a full disk.
ALL_OF_IT = 1 << 62


def open_cache(folder, max_entries=100, **options):
    """Return a cache over a persistent tier in a folder."""
    return FrysCache(max_entries, persistent=folder / "db", **options)


def disk_of(cache):
    """Return the persistent tier of a cache."""
    return cache.tiers["persistent"]


def keep_free(cache, size):
    """Let the tier of a cache keep so many bytes free from its next write on."""
    tier = disk_of(cache).tier
    reserve = tier.store._reserve
    reserve._min_free_bytes, reserve._asked_at = size, None
    tier._budget = -1


@contextlib.contextmanager
def full_disk(cache):
    """Have no space left below a cache, for a while."""
    keep_free(cache, ALL_OF_IT)
    try:
        yield
    finally:
        keep_free(cache, 0)
