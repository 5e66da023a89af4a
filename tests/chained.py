"""Chains of any tiers for tests, and what each level of them has, asked past the chain."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flying import until

from frys_cache import MISSING, FrysCache, PersistentCache
from frys_cache.manager import CacheManager
from frys_cache.testing import FaultyTier
from frys_cache.tiers.standin import StandInCache

SHAPES = {
    "no tier": "",
    "stand-in": "u",
    "disk": "d",
    "stand-in, disk": "ud",
    "disk, stand-in": "dl",
    "stand-in, disk, stand-in": "udl",
}
"""Chains by the letters of their tiers, the fastest first: upper, disk, lower."""


def tiers_of(letters, folder, **options):
    """Return tiers whose calls are counted, and can be made to fail."""
    made = []
    for letter in letters:
        if letter == "d":
            tier = PersistentCache(folder / "db", **options)
        else:
            tier = StandInCache({"u": "upper", "l": "lower"}[letter], **options)
        tier.tier = FaultyTier(tier.tier)
        made.append(tier)
    return made


def over(tiers, max_entries=1000, memory=None, **options):
    """Return a cache over these tiers."""
    cache = FrysCache(max_entries, **memory or {})
    cache._attach(None, CacheManager(tiers, **options))
    return cache


@contextmanager
def chain(letters, folder, **options):
    """Have a cache over tiers, and the tiers, all of which are closed afterwards."""
    tiers = tiers_of(letters, folder)
    cache = over(tiers, **options)
    manager = cache.manager
    try:
        yield cache, tiers
        cache._check()
        until(lambda: cache._flights._under_way == {} == manager._turns._flights._under_way)
    finally:
        cache.close()
        for tier in tiers:
            tier.close()


def entry(tier, key):
    """Return the value, version and end, in milliseconds since 1970, that a tier has; or None."""
    code = tier.codec.key(key)
    record = tier.tier._tier.read_one(code)
    return None if record is None else tier.codec.decode(code, record)


def has(tier, key):
    """Return the value that a tier has, or MISSING."""
    found = entry(tier, key)
    return MISSING if found is None else found[0]


def seed(tier, key, value, ttl=None, version=None, **ends):
    """Store a value in a tier alone; return its version and when it ends."""
    code = tier.codec.key(key)
    version = tier.tier.versions.next() if version is None else version
    expires = 0 if ttl is None else tier.tier.wall() + round(ttl * 1000)
    if value is MISSING:
        record = tier.codec.negative(code, version, expires)
    else:
        record = tier.codec.encode(code, value, version, expires, **ends)
    assert tier.tier._tier.put_one(code, record, version, expires)
    return version, expires


def asked(tiers):
    """Return how many calls each tier has had so far."""
    return [sum(tier.tier.calls.values()) for tier in tiers]


class Loader:
    """A loader that counts its calls: the keys it was asked for are in `keys`."""

    def __init__(self, answer=lambda key: ("loaded", key)):
        self.keys = []
        self.answer = answer

    def __call__(self, key):
        self.keys.append(key)
        return self.answer(key)


def run(coro):
    """Run a coroutine on an event loop with threads enough that none of them waits for another."""

    async def main():
        with ThreadPoolExecutor(8) as pool:
            asyncio.get_running_loop().set_default_executor(pool)
            return await asyncio.wait_for(coro, 60)

    return asyncio.run(main())


def shapes(*names):
    given = {name: SHAPES[name] for name in names} if names else SHAPES
    return pytest.mark.parametrize("letters", given.values(), ids=list(given))


def is_quiet(cache):
    """Tell whether no load is under way."""
    return cache._flights._under_way == {}


def settle(cache):
    """Wait until no load is under way."""
    until(lambda: is_quiet(cache) and not cache.manager._workers.busy)


class Gate(Loader):
    """A loader that waits for `open` and has `entered` set when it is called."""

    def __init__(self, answer=lambda key: ("loaded", key)):
        super().__init__(answer)
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, key):
        self.keys.append(key)
        self.entered.set()
        assert self.open.wait(30)
        return self.answer(key)
