"""The chain: which method sees which tier, what wins a race, what a tier that fails leaves."""

import threading
import time

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from tiered import disk_of, full_disk, keep_free, open_cache

from frys_cache import (
    MISSING,
    CacheClosed,
    ConfigurationError,
    EvictionCause,
    FrysCache,
    KeyNotStable,
    KeyTooLarge,
    PersistentCache,
    Pickle,
    SerializationError,
    TierUnavailable,
    ValueTooLarge,
    WriteError,
)
from frys_cache.chain.doubts import Doubts
from frys_cache.manager import CacheManager


@pytest.fixture
def cache(tmp_path):
    with open_cache(tmp_path) as cache:
        yield cache


def below(cache):
    """Return what the disk has."""
    return dict(disk_of(cache).items())


# ---- which method sees which tier ---------------------------------------------------------------

READS = {
    "[]": lambda cache: cache["a"],
    "get": lambda cache: cache.get("a"),
    "get_many": lambda cache: cache.get_many(["a"])[0],
    "get_or_set": lambda cache: cache.get_or_set("a", lambda: "made"),
    "setdefault": lambda cache: cache.setdefault("a", "default"),
}


@pytest.mark.parametrize("read", READS.values(), ids=list(READS))
def test_read_of_what_is_below_promotes_it(cache, read):
    """Catch a read that stops at memory, or asks the disk each time."""
    disk_of(cache)["a"] = "low"
    assert read(cache) == "low"
    assert cache.peek("a") == "low"
    assert below(cache) == {"a": "low"}
    assert cache.stats().tiers["persistent"].hits == 1
    assert read(cache) == "low"
    assert cache.stats().tiers["persistent"].hits == 1
    cache._check()


def test_contains_asks_below_and_promotes_nothing(cache):
    """Catch an `in` that denies what a read would find, or that fills memory."""
    disk_of(cache)["a"] = 1
    assert "a" in cache
    assert "b" not in cache
    assert len(cache) == 0
    assert cache.stats().requests == 0


WRITES = {
    "[]=": lambda cache: cache.__setitem__("a", 5),
    "put": lambda cache: cache.put("a", 5),
    "update": lambda cache: cache.update(a=5),
    "put_many": lambda cache: cache.put_many({"a": 5}),
    "add": lambda cache: cache.add("a", 5),
    "setdefault": lambda cache: cache.setdefault("a", 5),
    "get_or_set": lambda cache: cache.get_or_set("a", lambda: 5),
    "memoize": lambda cache: cache.memoize(lambda: 5, name="five")(),
    "incr": lambda cache: cache.incr("a", 5),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=list(WRITES))
def test_write_reaches_both_tiers(cache, write):
    """Catch a value that is gone once memory has evicted it."""
    write(cache)
    (key,) = below(cache)
    assert below(cache)[key] == 5
    assert cache[key] == 5
    cache._forget(key)
    assert cache[key] == 5
    cache._check()


def test_replace_and_touch_see_what_is_below(cache):
    """Catch a replace or touch that calls absent what only the disk has."""
    disk = disk_of(cache)
    disk["a"] = 1
    assert cache.replace("b", 2) is False
    assert cache.replace("a", 2) is True
    assert (cache["a"], disk["a"]) == (2, 2)
    cache._forget("a")
    assert cache.touch("a", 60) is True
    assert cache.touch("b", 60) is False
    assert 59 < cache.ttl_of("a") <= 60
    assert 59 < disk.ttl_of("a") <= 60
    assert below(cache) == {"a": 2}


def test_touch_changes_both_tiers(cache):
    """Catch a life that is prolonged in one tier and ends in the other."""
    cache.put("a", 1, ttl=10)
    assert cache.touch("a", None)
    assert cache.ttl_of("a") is None
    cache._forget("a")
    assert cache.ttl_of("a") is None


def test_add_of_what_is_below_is_refused(cache):
    """Catch an add that overwrites what memory has evicted."""
    disk_of(cache)["a"] = "old"
    assert cache.add("a", "new") is False
    assert cache["a"] == "old"
    assert cache.setdefault("a", "new") == "old"


def test_incr_counts_on_from_below(cache):
    """Catch a counter that starts anew after an eviction."""
    assert [cache.incr("n"), cache.incr("n", 2)] == [1, 3]
    cache._forget("n")
    assert cache.incr("n", -1) == 2
    assert (cache["n"], disk_of(cache)["n"]) == (2, 2)
    cache["s"] = "text"
    with pytest.raises(TypeError):
        cache.incr("s")
    with pytest.raises(TypeError):
        cache.incr("n", 1.5)
    assert cache["n"] == 2


REMOVALS = {
    "del": lambda cache: cache.__delitem__("a"),
    "delete": lambda cache: cache.delete("a") or pytest.fail("absent"),
    "delete_many": lambda cache: cache.delete_many(["a", "b"]) == 1 or pytest.fail("count"),
    "pop": lambda cache: cache.pop("a") == 1 or pytest.fail("value"),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("where", ["both", "below"])
@pytest.mark.parametrize("remove", REMOVALS.values(), ids=list(REMOVALS))
def test_removal_reaches_both_tiers(cache, remove, where):
    """Catch a key that comes back from below, or one that is absent only because memory says so."""
    cache["a"] = 1
    if where == "below":
        cache._forget("a")
    remove(cache)
    assert below(cache) == {}
    assert cache.get("a", MISSING) is MISSING
    with pytest.raises(KeyError):
        del cache["a"]
    assert cache.delete("a") is False
    assert cache.pop("a", None) is None
    cache._check()


def test_popitem_removes_below_too(cache):
    """Catch a victim of memory that stays on the disk."""
    cache.update(a=1, b=2)
    key, value = cache.popitem()
    assert cache.get(key) is None
    assert len(below(cache)) == 1
    assert value in (1, 2)


def test_view_of_memory_asks_nobody_below(cache):
    """Catch an iteration or a repr that reads the disk."""
    disk_of(cache).update(a=1, b=2)
    cache["c"] = 3
    assert (len(cache), list(cache), dict(cache.items())) == (1, ["c"], {"c": 3})
    assert cache == {"c": 3}
    assert repr(cache) == "FrysCache({'c': 3})"
    assert cache.peek("a") is None
    assert cache.stats().entries == 1
    assert sorted(disk_of(cache)) == ["a", "b", "c"]


def test_eviction_and_expiry_in_memory_delete_nothing_below(tmp_path):
    """Catch a disk that forgets what memory had no room for."""
    with open_cache(tmp_path, 2, policy="lru") as cache:
        cache.update({f"k{i}": i for i in range(10)})
        assert len(cache) == 2
        assert cache.get_many([f"k{i}" for i in range(10)]) == list(range(10))
        assert len(below(cache)) == 10


def test_get_many_of_repeated_and_odd_keys(cache):
    """Catch an answer in another order, a key asked for twice, or one that no tier can have."""
    disk_of(cache).update(a=1, b=None)
    assert cache.get_many(["a", "x", "b", "a", 7], "no") == [1, "no", None, 1, "no"]
    disk = cache.health()["persistent"]
    assert (disk.hits, disk.misses) == (2, 2)
    with pytest.raises(KeyNotStable):
        cache.get_many(["a", frozenset()])


def test_copy_is_of_memory_alone(cache):
    """Catch a copy that writes to, or closes, the disk of its original."""
    cache["a"] = 1
    other = cache.copy()
    other["b"] = 2
    assert (other | {}).tiers == {}
    other.close()
    assert below(cache) == {"a": 1}
    assert cache["a"] == 1


# ---- what cannot be below -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        (frozenset({1}), 1, KeyNotStable),
        ("k" * 100_000, 1, KeyTooLarge),
        ("a", object(), SerializationError),
        ("a", b"x" * 2_000_000, ValueTooLarge),
    ],
    ids=["key", "long key", "value", "large value"],
)
def test_write_of_what_cannot_be_below_changes_nothing(tmp_path, key, value, error):
    """Catch a value in memory that is lost when it is evicted."""
    with open_cache(tmp_path, max_value_size=1_000_000) as cache:
        cache["a"] = "old"
        for write in (cache.put, cache.add, cache.replace, cache.__setitem__):
            if write == cache.add:
                cache.delete("a")
            with pytest.raises(error):
                write(key, value)
            assert cache.peek(key, MISSING) in (MISSING, "old")
            cache["a"] = "old"
        assert below(cache) == {"a": "old"}
        assert cache["a"] == "old"


@pytest.mark.parametrize(
    ("key", "error"), [(frozenset({1}), KeyNotStable), ("k" * 100_000, KeyTooLarge)]
)
def test_read_of_what_cannot_be_below_says_so(cache, key, error):
    """Catch a key that is always a miss and never says why."""
    for read in (
        cache.get,
        cache.__getitem__,
        cache.__contains__,
        cache.pop,
        cache.ttl_of,
        lambda key: cache.get_or_set(key, int),
    ):
        with pytest.raises(error):
            read(key)
    assert cache.delete(key) is False
    assert cache.delete_many([key]) == 0


def test_memoized_call_without_a_stable_key_is_kept_in_memory(cache):
    """Catch a function that cannot be called with its arguments because results are kept."""

    class Thing:
        pass

    calls = []
    twice = cache.memoize(lambda thing: calls.append(thing) or len(calls), name="twice")
    thing = Thing()
    assert [twice(thing), twice(thing), twice(1), twice(1)] == [1, 1, 2, 2]
    assert len(below(cache)) == 1
    twice.invalidate(thing)
    assert twice(thing) == 3
    twice.cache_clear()
    assert below(cache) == {}


@pytest.mark.parametrize("write", ["put_many", "update", "|="])
def test_batch_with_a_value_that_cannot_be_below_changes_nothing(cache, write):
    """Catch a batch that is refused and yet half stored."""
    cache["a"] = "old"
    pairs = {"a": "new", "b": 1, "c": object()}
    with pytest.raises(SerializationError):
        {
            "put_many": lambda: cache.put_many(iter(pairs.items())),
            "update": lambda: cache.update(pairs),
            "|=": lambda: cache.__ior__(pairs),
        }[write]()
    assert below(cache) == {"a": "old"}
    assert dict(cache.items()) == {"a": "old"}


def test_batch_of_equal_keys_keeps_the_last(cache):
    """Catch a batch whose tiers disagree which of equal keys counts."""
    cache.put_many([(1, "int"), ("a", 1), (1.0, "float"), (True, "bool")], ttl=60)
    assert below(cache) == {1: "bool", "a": 1}
    assert dict(cache.items()) == {1: "bool", "a": 1}
    assert 59 < disk_of(cache).ttl_of(1) <= 60
    assert 59 < cache.ttl_of("a") <= 60


def test_loaded_value_that_cannot_be_below_is_kept_in_memory(cache):
    """Catch a read that fails for a value that is good, only because it cannot be stored."""
    made = object()
    assert cache.get_or_set("a", lambda: made) is made
    assert cache["a"] is made
    assert below(cache) == {}
    assert cache.manager.unwritten == 1


def test_value_too_heavy_for_memory_is_below(tmp_path):
    """Catch a put that is refused although the disk has room, or an old value that stays above."""
    with FrysCache(max_size_bytes=2_000, persistent=tmp_path / "db") as cache:
        cache["a"] = b"small"
        cache["a"] = b"x" * 5_000
        assert cache.peek("a") is None
        assert cache["a"] == b"x" * 5_000
        assert cache.get_many(["a"]) == [b"x" * 5_000]
        assert len(cache) == 0
        cache._check()


def test_foreign_error_of_a_key_passes_unchanged(cache):
    """Catch an error of `__frys_key__` that looks like a miss."""

    class Odd:
        def __frys_key__(self):
            raise RuntimeError("odd")

    for act in (cache.get, lambda key: cache.put(key, 1), lambda key: cache.get_many([key])):
        with pytest.raises(RuntimeError, match="odd"):
            act(Odd())


# ---- time ---------------------------------------------------------------------------------------


def test_promotion_keeps_the_absolute_expiry(cache):
    """Catch a life that begins anew when a value comes up from the disk."""
    cache.put("a", 1, ttl=0.4)
    cache.put("b", 2, ttl=0.4)
    ends = time.monotonic() + 0.4
    cache._forget("a"), cache._forget("b")
    time.sleep(0.2)
    assert (cache["a"], cache.get_many(["b"])) == (1, [2])
    assert cache.ttl_of("a") <= ends - time.monotonic() + 0.02
    time.sleep(max(0.0, ends - time.monotonic()) + 0.05)
    assert cache.get("a") is None
    assert cache.get("b") is None
    assert "a" not in cache
    assert below(cache) == {}


def test_ttl_of_the_cache_reaches_the_disk(tmp_path):
    """Catch a disk that keeps for ever what memory lets expire."""
    with open_cache(tmp_path, ttl=50) as cache:
        cache.policies.set_ttl("user:", 5)
        cache["a"] = cache["user:a"] = 1
        cache.incr("n")
        for key, ttl in (("a", 50), ("user:a", 5), ("n", 50)):
            assert ttl - 1 < disk_of(cache).ttl_of(key) <= ttl
            cache._forget(key)
            assert ttl - 1 < cache.ttl_of(key) <= ttl
        cache.put("b", 1, ttl=None)
        assert disk_of(cache).ttl_of("b") is None


def test_ttl_of_and_touch_refuse_what_put_refuses(cache):
    """Catch a ttl that only memory would have refused."""
    cache["a"] = 1
    for act in (cache.touch, lambda key, ttl: cache.add("b", 1, ttl=ttl)):
        with pytest.raises(ValueError, match="ttl"):
            act("a", 0)
    with pytest.raises(KeyError):
        cache.ttl_of("b")


# ---- races --------------------------------------------------------------------------------------


def between(cache, act):
    """Do something after the tier has answered and before memory is filled."""
    level = cache.manager._levels[0]
    fill = level.decode

    def decode(code, record):
        level.decode = fill
        entry = fill(code, record)
        act()
        return entry

    level.decode = decode


@pytest.mark.parametrize(
    ("act", "after"),
    [
        (lambda cache: cache.delete("a"), MISSING),
        (lambda cache: cache.clear(), MISSING),
        (lambda cache: cache.put("a", "new"), "new"),
        (lambda cache: cache.pop("a"), MISSING),
        (lambda cache: cache.replace("a", "new"), "new"),
    ],
    ids=["delete", "clear", "put", "pop", "replace"],
)
def test_change_during_a_promotion_wins(cache, act, after):
    """Catch a value that is read below, deleted, and then filled into memory."""
    disk_of(cache)["a"] = "old"
    between(cache, lambda: act(cache))
    assert cache.get("a") in ("old", after)
    assert cache.peek("a", MISSING) == after
    assert cache.get("a", MISSING) == after
    assert disk_of(cache).get("a", MISSING) == after


@pytest.mark.parametrize("act", ["delete", "put"])
def test_change_during_a_load_wins_below_too(cache, act):
    """Catch a load that brings back, on disk, what was deleted while it ran."""

    def load():
        cache.delete("a") if act == "delete" else cache.put("a", "put")
        return "loaded"

    assert cache.get_or_set("a", load) == "loaded"
    expected = MISSING if act == "delete" else "put"
    assert cache.get("a", MISSING) == expected
    assert disk_of(cache).get("a", MISSING) == expected


def test_refresh_during_which_a_key_was_written_keeps_the_write(cache):
    """Catch a refresh that overwrites, below or above, what is newer than it."""
    made = ["first"]

    @cache.memoize
    def answer():
        if made[0] == "second":
            cache.put(answer.cache_key(), "written")
        return made[0]

    answer()
    made[0] = "second"
    answer.refresh()
    assert cache.get(answer.cache_key()) == "written"
    assert list(below(cache).values()) == ["written"]


def test_writers_of_one_key_leave_both_tiers_alike(cache):
    """Catch a memory that keeps the value of one writer while the disk keeps another's."""
    stop = threading.Event()
    errors = []

    def write(name):
        count = 0
        while not stop.is_set():
            count += 1
            try:
                cache.put("a", (name, count))
                if count % 7 == 0:
                    cache.delete("a")
                cache.get("a")
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    here = cache.peek("a", MISSING)
    assert here is MISSING or here == disk_of(cache).get("a", MISSING)
    assert cache.get("a", MISSING) == disk_of(cache).get("a", MISSING)
    cache._check()


def test_counter_of_many_threads_loses_nothing(cache):
    """Catch an incr that reads in one tier and writes in another without one step for all."""

    def count():
        for _ in range(200):
            cache.incr("n")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (cache["n"], disk_of(cache)["n"]) == (800, 800)


def test_add_of_many_threads_lets_one_win(cache):
    """Catch two threads that are both told that their value was stored."""

    def add(number, value, won):
        if cache.add(number, value):
            won.append(value)

    for number in range(50):
        won = []
        threads = [threading.Thread(target=add, args=(number, i, won)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [cache[number]] == won
        assert disk_of(cache)[number] == won[0]


# ---- a tier that fails --------------------------------------------------------------------------


def test_resilient_write_to_a_full_disk_is_kept_in_memory(cache):
    """Catch an application that stops because its cache's disk is full."""
    cache["a"] = "old"
    with full_disk(cache):
        cache["a"] = "new"
        assert cache["a"] == "new"
        cache._forget("a")
        # The disk had the old one, which is no longer true.
        assert cache.get("a") is None
        assert cache.get_many(["a"]) == [None]
        assert "a" not in cache
        assert "a" not in disk_of(cache)
        assert cache.health()["persistent"].faults == 1
    cache["b"] = 1
    assert disk_of(cache)["b"] == 1


def test_strict_write_to_a_full_disk_raises_and_leaves_no_value_above(tmp_path):
    """Catch a write that is acknowledged and lost."""
    with open_cache(tmp_path, mode="strict") as cache:
        cache["a"] = "old"
        with full_disk(cache), pytest.raises(WriteError, match="no space") as caught:
            cache["a"] = "new"
        assert isinstance(caught.value.failed["a"], TierUnavailable)
        assert cache["a"] == "old"
        cache["a"] = "new"
        assert disk_of(cache)["a"] == "new"


@pytest.mark.parametrize("mode", ["resilient", "strict"])
def test_decision_needs_the_tier(tmp_path, mode):
    """Catch an add or incr that is decided by a memory that does not know."""
    with open_cache(tmp_path, mode=mode) as cache:
        cache["n"] = 1
        with full_disk(cache):
            for act in (lambda: cache.incr("n"), lambda: cache.add("x", 1)):
                with pytest.raises(WriteError, match="no space"):
                    act()
        assert cache.incr("n") == 2
        assert cache.add("x", 1)


def test_more_doubts_than_can_be_remembered_are_refused(cache, monkeypatch):
    """Catch a set that grows as long as the disk is full, or a promise that is forgotten."""
    monkeypatch.setattr("frys_cache.chain.doubts.ROOM", 10)
    doubts = Doubts(disk_of(cache), steady=lambda: 0.0)
    assert doubts.add([b"%d" % number for number in range(10)])
    assert doubts.add([b"3"])
    assert not doubts.add([b"one more"])
    assert b"3" in doubts
    assert b"one more" not in doubts
    doubts.discard([b"3"])
    assert b"3" not in doubts
    assert len(doubts) == 9


def test_doubts_are_settled_once_a_second(cache):
    """Catch a key that is never trusted again, or one that is trusted too early."""
    now = [0.0]
    disk = disk_of(cache)
    doubts = Doubts(disk, steady=lambda: now[0])
    disk["a"] = "old"
    code = disk.codec.key("a")
    assert doubts.add([code])
    now[0] = 0.9
    assert code in doubts
    assert disk["a"] == "old"
    now[0] = 1.0
    assert code not in doubts
    assert "a" not in disk


def test_damaged_record_is_a_miss_and_removed(cache):
    """Catch garbage on disk that reaches the reader, or is met at every read."""
    cache.update(a=1, b=2, c=3)
    disk = disk_of(cache)
    for key, garbage in (("a", b""), ("b", b"\xf1garbage"), ("c", bytes(40))):
        cache._forget(key)
        disk.tier.rocks.put_data(disk.codec.key(key), garbage)
    assert cache.get("a", "gone") == "gone"
    assert cache.get_many(["b", "c"]) == [None, None]
    health = cache.health()["persistent"]
    assert (health.faults, health.misses) == (3, 3)
    assert (health.state, health.breaker) == ("ok", "closed")
    assert below(cache) == {}
    cache["a"] = 5
    assert disk["a"] == 5


# ---- life ---------------------------------------------------------------------------------------


def test_cache_reopened_has_what_was_acknowledged(tmp_path):
    """Catch a cache that is empty after a restart, or shares nothing with its path."""
    with open_cache(tmp_path) as cache:
        cache["a"] = {"b": (1, 2)}
        cache[b"a"] = None
    with open_cache(tmp_path) as cache:
        assert len(cache) == 0
        assert cache["a"] == {"b": (1, 2)}
        assert cache.get(b"a", MISSING) is None


def test_closed_cache_refuses_and_says_so(tmp_path):
    """Catch a cache that goes on in memory alone after it was closed."""
    cache = open_cache(tmp_path)
    cache["a"] = 1
    cache.close()
    cache.close()
    for act in (
        lambda: cache["a"],
        lambda: cache.get("a"),
        lambda: cache.put("a", 1),
        lambda: cache.delete("a"),
        lambda: cache.clear(),
        lambda: "a" in cache,
        lambda: cache.get_many(["a"]),
        lambda: cache.get_or_set("a", int),
        lambda: cache.incr("a"),
        lambda: cache.pop("a"),
        lambda: cache.flush(),
        lambda: cache.tiers,
    ):
        with pytest.raises(CacheClosed):
            act()
    assert len(cache) == 0


def test_tier_that_was_given_is_not_closed(tmp_path):
    """Catch a cache that closes what others still use."""
    from frys_cache import PersistentCache

    with PersistentCache(tmp_path / "db") as disk:
        with FrysCache(10, persistent=disk) as cache:
            cache["a"] = 1
            assert cache.tiers["persistent"] is disk
        assert disk["a"] == 1
        with pytest.raises(ConfigurationError, match="compression_level"):
            FrysCache(10, persistent=disk, compression_level=9)


def test_init_again_leaves_the_disk_alone(tmp_path):
    """Catch a second __init__ that empties the tier below."""
    cache = open_cache(tmp_path)
    cache["a"] = 1
    cache.__init__(10, persistent=tmp_path / "db")
    assert cache["a"] == 1
    cache.__init__(10)
    assert cache.get("a") is None
    assert cache.tiers == {}
    with open_cache(tmp_path) as again:
        assert again["a"] == 1


def test_manager_refuses_what_it_cannot_coordinate(tmp_path):
    """Catch a tier that is there twice, or a mode that is ignored."""
    disk = PersistentCache(tmp_path / "db")
    with pytest.raises(ConfigurationError, match="once"):
        CacheManager([disk, disk])
    disk.close()
    with pytest.raises(ConfigurationError, match="mode"):
        open_cache(tmp_path, mode="sometimes")
    with pytest.raises(ConfigurationError, match="serializer"):
        FrysCache(10, serializer=5)


def test_stats_tell_who_answered(cache):
    """Catch a hit of the disk that is counted as a miss of the cache."""
    cache["a"] = 1
    cache.get("a")
    cache._forget("a")
    cache.get("a")
    cache.get("none")
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.hit_ratio) == (2, 1, 2 / 3)
    memory, disk = stats.tiers["memory"], stats.tiers["persistent"]
    assert (memory.hits, memory.misses) == (1, 2)
    assert (disk.hits, disk.misses, disk.entries) == (1, 1, 1)
    assert disk.total_size > 0


def test_reserve_is_let_go(cache):
    """Catch a test helper that leaves the disk full for the tests after it."""
    with full_disk(cache):
        pass
    keep_free(cache, 0)
    cache["a"] = 1
    assert disk_of(cache)["a"] == 1


def test_decision_goes_on_from_what_memory_alone_has(cache):
    """Catch a counter that starts anew because the disk has evicted it."""
    cache["n"] = 5
    disk_of(cache).delete("n")
    assert cache.incr("n") == 6
    cache.put("m", 1, ttl=60)
    disk_of(cache).delete("m")
    assert cache.add("m", 2) is False
    assert 59 < disk_of(cache).ttl_of("m") <= 60


def test_key_deleted_while_it_is_handed_down_stays_deleted(tmp_path):
    """Catch a value of memory that is written below after it was deleted everywhere."""

    class Meddling(FrysCache):
        def _left(self, key):
            left = super()._left(key)
            self.delete(key)
            return left

    with Meddling(10, persistent=tmp_path / "db") as cache:
        cache["n"] = 5
        disk_of(cache).delete("n")
        assert cache.incr("n") == 1
        assert disk_of(cache)["n"] == 1


class Fragile:
    """An object that cannot always be unpickled."""

    failure = None

    def __setstate__(self, state):
        if self.failure is not None:
            raise self.failure

    def __getstate__(self):
        return 1


@pytest.mark.parametrize("failure", [ConnectionError, MemoryError, RecursionError])
def test_record_that_cannot_be_read_now_is_kept(tmp_path, monkeypatch, failure):
    """Catch a value that is deleted because its reader lacked memory, stack or a connection."""
    with open_cache(tmp_path, serializer=Pickle(secret=b"0123456789abcdef")) as cache:
        cache["a"] = Fragile()
        cache._forget("a")
        monkeypatch.setattr(Fragile, "failure", failure)
        if failure is ConnectionError:
            assert cache.get("a") is None
            assert cache.get_many(["a"]) == [None]
        else:
            for read in (cache.get, lambda key: cache.get_many([key])):
                with pytest.raises(failure):
                    read("a")
        monkeypatch.undo()
        assert isinstance(cache["a"], Fragile)


# ---- several caches over the same entries -------------------------------------------------------


SIBLINGS = {
    "put": lambda cache: cache.put("a", "new"),
    "put_many": lambda cache: cache.put_many({"a": "new"}),
    "replace": lambda cache: cache.replace("a", "new"),
    "delete": lambda cache: cache.delete("a"),
    "pop": lambda cache: cache.pop("a"),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("change", SIBLINGS.values(), ids=list(SIBLINGS))
def test_change_by_one_cache_is_seen_by_another(cache, tmp_path, change):
    """Catch a second cache of the same path and namespace that goes on showing what was."""
    with open_cache(tmp_path) as other, open_cache(tmp_path, namespace="strange") as stranger:
        stranger["a"] = other["a"] = "old"
        assert (cache["a"], other["a"]) == ("old", "old")
        change(cache)
        assert other.get("a") == cache.get("a")
        assert other.get("a") != "old"
        assert stranger["a"] == "old"
    cache["a"] = 1
    assert cache["a"] == 1


# ---- what else is stored and removed at once ----------------------------------------------------

RACES = {
    "touch": lambda cache: cache.touch("k", 1000),
    "incr": lambda cache: cache.incr("k"),
    "replace": lambda cache: cache.replace("k", 7),
    "get": lambda cache: cache.get("k"),
    "get_or_set": lambda cache: cache.get_or_set("k", lambda: 7),
}


@pytest.mark.parametrize("remove", ["delete", "pop", "clear"])
@pytest.mark.parametrize("race", RACES.values(), ids=list(RACES))
def test_removal_beside_another_operation_is_explained_by_an_order(cache, race, remove):
    """Catch a deleted key that an operation which began before writes back."""
    for _ in range(60):
        cache["k"] = 5
        barrier = threading.Barrier(2)
        seen = []

        def act(barrier=barrier, seen=seen):
            barrier.wait()
            seen.append(race(cache))

        thread = threading.Thread(target=act)
        thread.start()
        barrier.wait()
        getattr(cache, remove)(*(["k"] if remove != "clear" else []))
        thread.join()
        left = cache.get("k", MISSING)
        disk = disk_of(cache).get("k", MISSING)
        assert cache.peek("k", disk) == disk
        # Either it came first, and nothing is left, or afterwards, and then it saw nothing.
        if left is not MISSING:
            assert (race, seen[0], left) in [
                (RACES["incr"], 1, 1),
                (RACES["get_or_set"], 7, 7),
            ]


@pytest.mark.parametrize("operation", ["pop", "delete"])
def test_one_of_two_removals_wins(cache, operation):
    """Catch two threads that both got what was there once."""
    for where in ["both", "memory", "disk"] * 20:
        cache["k"] = 5
        if where == "memory":
            disk_of(cache).delete("k")
        elif where == "disk":
            cache._forget("k")
        barrier = threading.Barrier(2)
        got = []

        def act(barrier=barrier, got=got):
            barrier.wait()
            got.append(cache.pop("k", None) if operation == "pop" else cache.delete("k"))

        threads = [threading.Thread(target=act) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(bool, got)) == [False, True]
        assert cache.get("k") is None


# ---- odds and ends ------------------------------------------------------------------------------


def test_clear_during_a_load_wins(cache):
    """Catch a load that brings back, after a clear, what was asked for before it."""
    assert cache.get_or_set("k", lambda: (cache.clear(), "v")[1]) == "v"
    assert cache.get("k") is None
    assert "k" not in disk_of(cache)


def test_functions_without_a_name_of_their_own_are_kept_in_memory(cache):
    """Catch a closure that finds, in the next process, what another closure has computed."""

    def times(factor):
        return cache.memoize(lambda number: factor * number)

    double, triple = times(2), times(3)
    assert (double(10), triple(10), double(10), triple(10)) == (20, 30, 20, 30)
    assert double.refresh(10) == 20
    assert below(cache) == {}
    double.cache_clear()
    assert triple.cache_info().hits == 1
    named = cache.memoize(lambda number: 5 * number, name="five times")
    assert named(10) == 50
    assert list(below(cache).values()) == [50]


def test_listener_that_reads_what_was_evicted_ends(tmp_path):
    """Catch a read that promotes, evicts, is told, and reads again without end."""
    told = []

    def listen(key, value, cause):
        if cause is EvictionCause.EVICTED:
            told.append(key)
            cache.get(key)
            assert len(told) < 100

    with open_cache(tmp_path, 2, policy="lru", on_evict=listen) as cache:
        cache.update({number: number for number in range(10)})
        assert len(cache) == 2
        assert cache.stats().listener_errors == 0


def test_memory_bounded_by_bytes_counts_what_values_hold(tmp_path):
    """Catch a memory of 64 MiB that takes gigabytes, since a list of dicts counts as a list."""
    with FrysCache(max_size_bytes=1_000_000, persistent=tmp_path / "db") as cache:
        for number in range(300):
            cache[number] = {"rows": [{"name": f"row {row}", "sum": row} for row in range(20)]}
        assert 20 < len(cache) < 250
        size = cache.stats().total_size / len(cache)
        for number in range(300):
            assert len(cache[number]["rows"]) == 20
        assert 20 < len(cache) < 250
        assert size / 2 < cache.stats().total_size / len(cache) < size * 2
        cache._check()


def test_ttl_of_the_tier_bounds_what_is_below(tmp_path):
    """Catch a ttl of the tier that a cache in front of it ignores."""
    from frys_cache import PersistentCache

    with PersistentCache(tmp_path / "db", ttl=50) as disk:
        cache = FrysCache(10, persistent=disk)
        cache["a"] = 1
        cache.put("b", 1, ttl=5)
        cache.put_many({"c": 1}, ttl=500)
        assert cache.add("d", 1)
        cache.incr("e")
        assert cache.touch("c", 500)
        for key, ttl in (("a", 50), ("b", 5), ("c", 50), ("d", 50), ("e", 50)):
            assert ttl - 1 < disk.ttl_of(key) <= ttl


def test_warming_is_no_request(tmp_path):
    """Catch a hit ratio of 1 before anybody has asked."""
    from frys_cache import PersistentCache

    with open_cache(tmp_path) as cache:
        cache.update(a=1, b=2)
    with PersistentCache(tmp_path / "db", warm_on_open=True) as disk:
        cache = FrysCache(10, persistent=disk)
        assert len(cache) == 2
        assert cache.stats().requests == 0
        assert cache.stats().tiers["persistent"].requests == 0


def test_large_batch_costs_as_much_per_key_as_a_small_one(cache):
    """Catch a batch that looks through itself for each of its keys."""

    def each(count):
        pairs = [((count, number), number) for number in range(count)]
        started = time.perf_counter()
        cache.put_many(pairs)
        return (time.perf_counter() - started) / count

    small, large = min(each(500) for _ in range(3)), min(each(8_000 + n) for n in range(2))
    assert large < 4 * small


@pytest.mark.parametrize("write", ["replace", "put_many"])
def test_sizeof_that_raises_after_the_tier_has_decided_leaves_no_old_value(tmp_path, write):
    """Catch a memory that shows the old value where the disk has the new one."""

    def weigh(key, value):
        if value == "bad":
            raise RuntimeError("no weight")
        return 1

    with FrysCache(max_size_bytes=10, sizeof=weigh, persistent=tmp_path / "db") as cache:
        cache.update(a="old", b="old")
        with pytest.raises(RuntimeError, match="no weight"):
            if write == "replace":
                cache.replace("a", "bad")
            else:
                cache.put_many({"a": "bad", "b": "new"})
        assert cache.peek("a") is None
        assert disk_of(cache)["a"] == "bad"
        assert cache["b"] == disk_of(cache)["b"]
