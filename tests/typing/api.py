"""A program that merely uses the public names; type checkers read it, nobody runs it."""

from collections.abc import ItemsView, Iterator, KeysView, MutableMapping, ValuesView
from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

from frys_cache import (
    MISSING,
    Backend,
    CacheBuilder,
    CacheConfig,
    CacheError,
    CacheInfo,
    CacheStats,
    CompositePolicy,
    ConfigurationError,
    ConsistencyManager,
    ConsistencyStrategy,
    DeadLetter,
    EvictionCause,
    EvictionPolicy,
    FlushReport,
    FrysCache,
    KeyTooLarge,
    LruPolicy,
    MemoryCache,
    PersistentCache,
    Pickle,
    PolicyManager,
    SimulationResult,
    TierHealth,
    TtlPolicy,
    TtlRule,
    memoize,
    simulate,
)

# Making one.

ages: FrysCache[str, int] = FrysCache(100)
by_policy: MemoryCache[str, int] = MemoryCache(max_entries=100, policy=EvictionPolicy.FIFO)
by_object: FrysCache[str, int] = FrysCache(100, policy=CompositePolicy(LruPolicy(), TtlPolicy(60)))
by_both: MemoryCache[str, int] = MemoryCache(100, policy=CompositePolicy.lru_with_ttl(None))
by_name: MemoryCache[bytes, list[int]] = MemoryCache(100, policy="lru")


def heard(key: str, value: int, cause: EvictionCause) -> None:
    """Take an entry that has left."""
    print(key, value, cause is EvictionCause.EVICTED)


listened: FrysCache[str, int] = FrysCache(100, on_evict=heard)

try:
    FrysCache(0)
except ConfigurationError as error:
    assert_type(error, ConfigurationError)
    as_value_error: ValueError = error

# On disk.

with FrysCache[str, int](100, persistent="./cache.db") as on_disk:
    assert_type(on_disk, FrysCache[str, int])
    on_disk.flush()
    print(on_disk.tiers["persistent"].stats().size_on_disk, on_disk.manager)

films: PersistentCache[str, bytes] = PersistentCache("./films.db", max_size_bytes=10**9)
films.put("a", b"film", ttl=timedelta(days=1))
for film in films.scan("a"):
    assert_type(film, str)
as_any_mapping: MutableMapping[str, bytes] = films
signed: FrysCache[str, int] = FrysCache(
    10, persistent=Path("signed.db"), serializer=Pickle(secret=b"0123456789abcdef")
)

# By steps, or from a configuration.

builder = CacheBuilder().with_memory_lru(1000).with_persistent(Path("cache.db"))
assert_type(builder.with_ttl(timedelta(hours=1)).with_compression(True), CacheBuilder)
assert_type(builder.with_memory(on_evict=heard).eviction_policy(LruPolicy()), CacheBuilder)
assert_type(builder.config(), CacheConfig)
assert_type(builder.build(), FrysCache[Any, Any])
built: FrysCache[str, int] = builder.build()
configured: FrysCache[str, int] = FrysCache.from_config(CacheConfig(100, mode="strict"))
assert_type(CacheConfig(100).arguments(), dict[str, Any])

# As a dict.

ages["a"] = 1
assert_type(ages["a"], int)
assert_type("a" in ages, bool)
assert_type(len(ages), int)
assert_type(ages.get("a"), int | None)
assert_type(ages.get("a", 0), int)
assert_type(ages.get("a", "none"), int | str)
assert_type(ages.pop("a"), int)
assert_type(ages.pop("a", None), int | None)
assert_type(ages.popitem(), tuple[str, int])
assert_type(ages.setdefault("a", 1), int)
assert_type(iter(ages), Iterator[str])
assert_type(reversed(ages), Iterator[str])
ages.update({"b": 2})
ages.update([("c", 3)])
ages |= {"d": 4}
del ages["d"]
ages.clear()

keys: KeysView[str] = ages.keys()
values: ValuesView[int] = ages.values()
items: ItemsView[str, int] = ages.items()
mapping: MutableMapping[str, int] = ages

# Beyond a dict.

ages.put("a", 1)
ages.set("a", 1)
assert_type(ages.add("a", 1), bool)
assert_type(ages.replace("a", 1), bool)
assert_type(ages.delete("a"), bool)
assert_type(ages.incr("n"), int)
assert_type(ages.peek("a"), int | None)
assert_type(ages.get_many(["a", "b"]), list[int | None])
assert_type(ages.get_many(["a", "b"], 0), list[int])
ages.put_many({"a": 1})
ages.put_many([("b", 2)])
assert_type(ages.delete_many(["a", "b"]), int)

assert_type(ages.policies, PolicyManager)
assert_type(ages.policies.max_entries, int | None)
assert_type(ages.policies.rules, tuple[TtlRule, ...])
ages.policies.max_entries = 50
ages.policies.ttl = None
ages.policies.set_ttl("session:", 60)
ages.policies.set_ttl(lambda key: key == "a", None)
assert_type(ages.policies.remove(b"page:"), bool)

found = ages.get("a", MISSING)
if found is not MISSING:
    assert_type(found, int)

# Loading.

assert_type(ages.get_or_set("a", lambda: 1), int)


@memoize
def double(x: int, *, times: int = 2) -> str:
    """Repeat a number."""
    return str(x) * times


@ages.memoize(name="half", ignore="log")
def half(x: float, log: object = None) -> float:
    """Halve a number."""
    return x / 2


@memoize(max_entries=10)
def triple(x: int) -> int:
    """Triple a number."""
    return x * 3


class Shop:
    """A class with memoized methods."""

    @memoize
    def price(self, what: str) -> int:
        """Say what it costs."""
        return len(what)

    @memoize
    @staticmethod
    def free(what: str) -> bool:
        """Say whether it costs nothing."""
        return not what


assert_type(double(1, times=3), str)
assert_type(half(1.0), float)
assert_type(triple(1), int)
assert_type(Shop().price("a"), int)
assert_type(Shop().price.invalidate("a"), bool)
assert_type(Shop.free("a"), bool)
assert_type(double.invalidate(1), bool)
assert_type(double.refresh(1), str)
assert_type(double.cache_info(), CacheInfo)
double("a")  # type: ignore[arg-type]
Shop().price(1)  # type: ignore[arg-type]

# What it tells of itself.

assert_type(ages.stats(), CacheStats)
assert_type(ages.stats().hit_ratio, float)
assert_type(ages.stats().tiers["memory"].entries, int)
assert_type(ages.cache_info(), CacheInfo)
assert_type(ages.maxsize, int)
assert_type(ages.currsize, int)
assert_type(ages.policy, str)

# In front of a source.


class Births:
    """A backend, as far as types go."""

    def load(self, key: str) -> int:
        """Return a value."""
        return len(key)

    def store(self, key: str, value: int) -> None:
        """Take a value."""

    def delete(self, key: str) -> None:
        """Take a removal."""


births: Backend = Births()
later = ConsistencyManager(ConsistencyStrategy.WRITE_BACK, births, durability="memory")
loaded = FrysCache[str, int](9, loader=len, stale_ttl=60, refresh_ahead="xfetch")
assert_type(loaded.begin("a"), int)
loaded.put("a", 1, version=loaded.begin("a"))
assert_type(loaded.get_or_set("a", lambda: 1, stale=60, timeout=0.5), int)
assert_type(loaded.flush(), FlushReport | None)
assert_type(loaded.health()["memory"], TierHealth)
assert_type(later.dead_letters(), list[DeadLetter])
FrysCache[str, int](9, consistency=later)
ConsistencyManager("write-back", durability="disk")  # type: ignore[arg-type]

# Recorded, and simulated.

with ages.record("requests.npy") as recording:
    assert_type(recording.requests, int)
assert_type(simulate(["a", "b"], policy=EvictionPolicy.LRU, max_entries=9), SimulationResult)
assert_type(simulate(range(9), policy="opt", sizes=range(9), max_size_bytes=9).hit_ratio, float)
simulate([[1]], policy="lru", max_entries=9)  # type: ignore[list-item]

# Subclasses keep their type.


class Doubling(FrysCache[str, int]):
    """Make what is missing."""

    def __missing__(self, key: str) -> int:
        """Return a value for an absent key."""
        return len(key) * 2


assert_type(Doubling(10).copy(), Doubling)

# Errors.


def size_of(error: CacheError) -> int:
    """Return the size that was refused."""
    return error.size - error.max_size if isinstance(error, KeyTooLarge) else 0
