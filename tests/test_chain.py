"""Chains of none to three tiers: who sees which level, what comes up, what fails."""

import copy
import pickle
import threading
import time
from contextlib import suppress

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import SHAPES, Gate, Loader, asked, chain, entry, has, over, seed, shapes
from flying import Task, until

from frys_cache import (
    MISSING,
    CacheClosed,
    FrysCache,
    MemoryCache,
    PersistentCache,
    TierUnavailable,
    WriteError,
)
from frys_cache.tiers.standin import StandInCache

DEEP = [name for name, letters in SHAPES.items() if letters]


def methods(table):
    return pytest.mark.parametrize("method", table.values(), ids=list(table))


# ---- which method sees which level --------------------------------------------------------------

READS = {
    "[]": lambda cache: cache["a"],
    "get": lambda cache: cache.get("a"),
    "get_many": lambda cache: cache.get_many(["a"])[0],
    "get_or_set": lambda cache: cache.get_or_set("a", lambda: pytest.fail("factory")),
    "setdefault": lambda cache: cache.setdefault("a", "default"),
}


@methods(READS)
@shapes(*DEEP)
def test_read_of_what_the_lowest_has_promotes_it_to_memory(tmp_path, letters, method):
    """Catch a read that stops above, loads what is there, or asks each time."""
    loader = Loader()
    with chain(letters, tmp_path, loader=loader) as (cache, tiers):
        seed(tiers[-1], "a", "low")
        assert method(cache) == "low"
        assert cache.peek("a") == "low"
        assert loader.keys == []
        before = asked(tiers[-1:])
        assert method(cache) == "low"
        assert asked(tiers[-1:]) == before


@methods(READS)
@shapes("stand-in, disk", "stand-in, disk, stand-in")
def test_read_asks_none_below_the_one_that_answers(tmp_path, letters, method):
    """Catch a read that asks all levels, or the wrong end first."""
    with chain(letters, tmp_path) as (cache, tiers):
        for number, tier in enumerate(tiers):
            seed(tier, "a", number)
        assert method(cache) == 0
        assert asked(tiers)[1:] == [0] * (len(tiers) - 1)


@methods({name: READS[name] for name in ("[]", "get", "get_many")})
@shapes()
def test_read_of_what_nobody_has_loads_it_into_every_level(tmp_path, letters, method):
    """Catch a loaded value that is kept in some levels only, or a second load."""
    loader = Loader()
    with chain(letters, tmp_path, loader=loader) as (cache, tiers):
        assert method(cache) == ("loaded", "a")
        assert cache.peek("a") == ("loaded", "a")
        assert [has(tier, "a") for tier in tiers] == [("loaded", "a")] * len(tiers)
        assert method(cache) == ("loaded", "a")
        cache._forget("a")
        if tiers:
            assert method(cache) == ("loaded", "a")
            assert loader.keys == ["a"]


@shapes()
def test_get_or_set_asks_its_factory_alone(tmp_path, letters):
    """Catch a get_or_set that calls the loader, or keeps its value in some levels only."""
    with chain(letters, tmp_path, loader=lambda key: pytest.fail("loader")) as (cache, tiers):
        assert cache.get_or_set("a", lambda: "made") == "made"
        assert cache.get_or_set("a", lambda: pytest.fail("again")) == "made"
        assert [has(tier, "a") for tier in tiers] == ["made"] * len(tiers)


NEVER_LOAD = {
    "in": lambda cache: "a" in cache,
    "peek": lambda cache: cache.peek("a"),
    "pop": lambda cache: cache.pop("a", None),
    "setdefault": lambda cache: cache.setdefault("a", 1),
    "add": lambda cache: cache.add("a", 1),
    "replace": lambda cache: cache.replace("a", 1),
    "incr": lambda cache: cache.incr("a"),
    "touch": lambda cache: cache.touch("a", 5),
    "put": lambda cache: cache.put("a", 1),
    "put_many": lambda cache: cache.put_many({"a": 1}),
    "delete": lambda cache: cache.delete("a"),
    "delete_many": lambda cache: cache.delete_many(["a"]),
    "clear": lambda cache: cache.clear(),
    "memoize": lambda cache: cache.memoize(lambda: 1, name="one")(),
    "begin": lambda cache: cache.put("a", 1, version=cache.begin("a")),
}


@methods(NEVER_LOAD)
@shapes()
def test_what_is_no_read_never_loads(tmp_path, letters, method):
    """Catch a loader that is called to answer `in`, or by a write."""
    with chain(letters, tmp_path, loader=lambda key: pytest.fail("loader")) as (cache, _):
        method(cache)


@shapes(*DEEP)
def test_contains_asks_every_level_and_promotes_nothing(tmp_path, letters):
    """Catch an `in` that denies what a read would find, or that fills memory."""
    for depth in range(len(letters)):
        with chain(letters, tmp_path) as (cache, tiers):
            assert "a" not in cache
            seed(tiers[depth], "a", None)
            assert "a" in cache
            assert len(cache) == 0
            assert [has(tier, "a") for tier in tiers[:depth]] == [MISSING] * depth
            assert cache.stats().requests == 0
            cache.clear()


MEMORY_ALONE = {
    "len": len,
    "iter": list,
    "keys": lambda cache: list(cache.keys()),
    "values": lambda cache: list(cache.values()),
    "items": lambda cache: list(cache.items()),
    "==": lambda cache: cache == {"b": 1},
    "copy": copy.copy,
    "peek": lambda cache: cache.peek("a"),
    "repr": repr,
    "bool": bool,
    "reversed": lambda cache: list(reversed(cache)),
}


@methods(MEMORY_ALONE)
@shapes(*DEEP)
def test_view_of_memory_asks_no_tier(tmp_path, letters, method):
    """Catch an iteration or a repr that reads the disk."""
    with chain(letters, tmp_path, loader=lambda key: pytest.fail("loader")) as (cache, tiers):
        seed(tiers[0], "a", 1)
        before = asked(tiers)
        method(cache)
        assert asked(tiers) == before


WRITES = {
    "[]=": lambda cache: cache.__setitem__("a", 5),
    "put": lambda cache: cache.put("a", 5),
    "update": lambda cache: cache.update(a=5),
    "|=": lambda cache: cache.__ior__({"a": 5}),
    "put_many": lambda cache: cache.put_many({"a": 5}),
    "add": lambda cache: cache.add("a", 5),
    "setdefault": lambda cache: cache.setdefault("a", 5),
    "incr": lambda cache: cache.incr("a", 5),
    "begin": lambda cache: cache.put("a", 5, version=cache.begin("a")),
}


@methods(WRITES)
@shapes()
def test_write_is_read_back_from_every_level(tmp_path, letters, method):
    """Catch a value that is gone once memory has evicted it, or an older one in between."""
    with chain(letters, tmp_path) as (cache, tiers):
        method(cache)
        assert has(tiers[-1], "a") == 5 if tiers else cache["a"] == 5
        # What depends on what is there is decided below, and those in between may only forget.
        assert {has(tier, "a") for tier in tiers} <= {5, MISSING}
        assert cache.get("a") == 5
        if tiers:
            cache._forget("a")
            assert cache.get("a") == 5


OVERWRITES = {name: WRITES[name] for name in ("[]=", "put", "update", "|=", "put_many")} | {
    "replace": lambda cache: cache.replace("a", 5),
    "touch": lambda cache: cache.touch("a", 50),
    "incr": lambda cache: cache.incr("a", 4),
}


@methods(OVERWRITES)
@shapes(*DEEP)
def test_overwrite_leaves_no_older_value_in_any_level(tmp_path, letters, method):
    """Catch an upper level that goes on showing what the lowest has no more."""
    with chain(letters, tmp_path) as (cache, tiers):
        cache["a"] = 1
        method(cache)
        expected = cache["a"]
        assert {has(tier, "a") for tier in tiers} <= {expected, MISSING}
        assert has(tiers[-1], "a") == expected
        if method is OVERWRITES["touch"]:
            assert all(0 < entry(tier, "a")[2] for tier in tiers if entry(tier, "a"))


REMOVALS = {
    "del": lambda cache: cache.__delitem__("a"),
    "delete": lambda cache: cache.delete("a") or pytest.fail("absent"),
    "delete_many": lambda cache: cache.delete_many(["a", "b"]) == 1 or pytest.fail("count"),
    "pop": lambda cache: cache.pop("a") == 1 or pytest.fail("value"),
    "popitem": lambda cache: cache.popitem() == ("a", 1) or pytest.fail("item"),
    "clear": lambda cache: cache.clear(),
}


@methods(REMOVALS)
@shapes()
def test_removal_reaches_every_level(tmp_path, letters, method):
    """Catch a key that comes back from a level that was left out."""
    with chain(letters, tmp_path) as (cache, tiers):
        cache["a"] = 1
        method(cache)
        assert cache.peek("a", MISSING) is MISSING
        assert [has(tier, "a") for tier in tiers] == [MISSING] * len(tiers)
        assert cache.get("a", MISSING) is MISSING
        assert cache.delete("a") is False


@shapes(*DEEP)
def test_eviction_and_expiry_delete_nothing_below(tmp_path, letters):
    """Catch a tier that forgets what memory had no room for."""
    with chain(letters, tmp_path, max_entries=2) as (cache, tiers):
        cache.update({number: number for number in range(10)})
        assert len(cache) == 2
        assert cache.get_many(range(10)) == list(range(10))
        assert [has(tiers[-1], number) for number in range(10)] == list(range(10))


# ---- what comes up ------------------------------------------------------------------------------


@pytest.mark.parametrize("ttl", [None, 50])
def test_promotion_carries_version_and_end_to_every_level_above(tmp_path, ttl):
    """Catch a life that begins anew on its way up, or a copy that beats a newer write."""
    with chain("udl", tmp_path) as (cache, tiers):
        version, ends = seed(tiers[-1], "a", "low", ttl)
        assert cache["a"] == "low"
        for tier in tiers[:2]:
            until(lambda tier=tier: has(tier, "a") == "low")
            assert entry(tier, "a") == ("low", version, ends)
        assert cache.ttl_of("a") == (None if ttl is None else pytest.approx(ttl, abs=1))
        assert cache.manager._backfill.dropped == 0


def test_batch_promotes_what_each_level_has(tmp_path):
    """Catch a batch that stops at the level that had some of it."""
    with chain("udl", tmp_path) as (cache, tiers):
        for tier, key in zip(tiers, "abc", strict=True):
            seed(tier, key, key.upper())
        assert cache.get_many("abcd") == ["A", "B", "C", None]
        until(lambda: [has(tiers[0], key) for key in "bc"] == ["B", "C"])
        until(lambda: has(tiers[1], "c") == "C")
        assert has(tiers[1], "a") is MISSING
        assert dict(cache.items()) == {"a": "A", "b": "B", "c": "C"}


def test_promotion_does_not_bring_back_what_was_removed(tmp_path):
    """Catch a copy on its way up that arrives after the removal of its key."""
    with chain("ul", tmp_path) as (cache, tiers):
        cache["a"] = 1
        tiers[0].tier.drop([tiers[0].codec.key("a")])
        cache._forget("a")
        held = threading.Event()
        for _ in range(8):  # the worker that would copy has to wait
            cache.manager._workers.submit(held.wait)
        assert cache["a"] == 1
        assert cache.delete("a")
        held.set()
        until(lambda: not cache.manager._backfill._running)
        assert [has(tier, "a") for tier in tiers] == [MISSING, MISSING]
        assert cache.get("a") is None


def test_tier_with_a_shorter_ttl_keeps_nothing_longer(tmp_path):
    """Catch an upper tier that keeps for ever what comes to it from below."""
    upper, lower = StandInCache("upper", ttl=50), StandInCache("lower", ttl=500)
    cache = over([upper, lower])
    code = upper.codec.key("a")

    def ends(tier):
        record = tier.tier.read_one(tier.codec.key("a"))
        return record and (tier.codec.decode(code, record)[2] - tier.tier.wall()) / 1000

    cache["a"] = 1
    assert ends(upper) == pytest.approx(50, abs=1)
    assert ends(lower) == pytest.approx(500, abs=1)
    upper.tier.drop([code], 1)
    upper.tier._records.clear()
    cache._forget("a")
    assert cache["a"] == 1
    until(lambda: ends(upper) is not None)
    assert ends(upper) == pytest.approx(50, abs=1)
    cache.close()


def test_expiry_is_the_same_moment_in_every_level(tmp_path):
    """Catch an entry that outlives its time in the level that got it last."""
    with chain("ul", tmp_path, loader=Loader(lambda key: "anew")) as (cache, tiers):
        cache.put("a", "old", ttl=0.4)
        ends = time.monotonic() + 0.4
        time.sleep(0.15)
        tiers[0].tier._tier._records.clear()
        cache._forget("a")
        assert cache["a"] == "old"
        until(lambda: has(tiers[0], "a") == "old")
        assert cache.ttl_of("a") <= ends - time.monotonic() + 0.05
        time.sleep(max(0.0, ends - time.monotonic()) + 0.02)
        assert [has(tier, "a") for tier in tiers] == [MISSING, MISSING]
        assert "a" not in cache
        assert cache["a"] == "anew"


@shapes(*DEEP)
def test_batch_is_one_call_per_tier(tmp_path, letters):
    """Catch a batch that asks a tier once for each key."""
    many = [f"key {number}" for number in range(50)]
    with chain(letters, tmp_path) as (cache, tiers):
        cache.put_many(dict.fromkeys(many, 1))
        assert asked(tiers) == [1] * len(tiers)
        cache._empty()
        assert cache.get_many(many) == [1] * 50
        assert asked(tiers) == [2] + [1] * (len(tiers) - 1)
        cache._empty()
        assert cache.get_many(["absent", *many])[:2] == [None, 1]
        assert asked(tiers) == [3] + [2] * (len(tiers) - 1)
        assert cache.delete_many(many) == 50
        assert asked(tiers) == [4] + [3] * (len(tiers) - 1)


# ---- five outcomes ------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["get", "get_many"])
def test_outcomes_are_counted_apart(tmp_path, read):
    """Catch a fault that looks like a miss, or a stale value that looks like a hit."""
    with chain("ul", tmp_path, loader=Loader(), stale_ttl=100) as (cache, tiers):

        def ask(key):
            return cache.get(key) if read == "get" else cache.get_many([key])[0]

        upper, lower = tiers
        wall = upper.tier.wall()
        seed(lower, "hit", "low")
        seed(lower, "negative", MISSING)
        seed(lower, "stale", "old", 50, fresh_ms=wall - 1000)
        assert ask("hit") == "low"
        assert ask("negative") is None
        assert ask("stale") == "old"
        assert ask("miss") == ("loaded", "miss")
        until(lambda: cache.peek("stale") == ("loaded", "stale"))
        lower.tier.break_down()
        assert ask("fault") == ("loaded", "fault")
        health = cache.health()["lower"]
        assert (health.hits, health.negatives, health.stale) == (1, 1, 1)
        assert health.misses == 1
        assert health.faults == 3  # the read, a second look, and the write of what was loaded
        assert cache.health()["upper"].faults == 0
        assert cache.health()["memory"].stale == 1
        assert cache.health()["source"].hits == 3


def ttl_or_none(cache):
    try:
        return cache.ttl_of("a")
    except KeyError:
        return "none"


def test_fault_is_no_miss(tmp_path):
    """Catch a resilient chain that raises, or a strict one that calls absent what it cannot see."""
    for mode in ("resilient", "strict"):
        with chain("ul", tmp_path, mode=mode) as (cache, tiers):
            cache["a"] = 1
            tiers[0].tier.break_down()
            cache._forget("a")
            assert cache["a"] == 1  # the next level has it
            cache._forget("a")
            tiers[1].tier.break_down()
            for read in (
                lambda: cache.get("a", "none"),
                lambda: cache.get_many(["a"], "none")[0],
                lambda: "none" if "a" not in cache else "there",
                lambda: ttl_or_none(cache),
            ):
                if mode == "strict":
                    with pytest.raises(TierUnavailable):
                        read()
                elif read() != "none":
                    pytest.fail("found")


@pytest.mark.parametrize("fails", [0, 1])
@pytest.mark.parametrize("mode", ["resilient", "strict"])
def test_write_that_a_level_refuses_leaves_no_older_value(tmp_path, mode, fails):
    """Catch an old value that comes back once the level that refused a new one is well again."""
    acts = {
        "put": lambda cache: cache.put("a", "new"),
        "put_many": lambda cache: cache.put_many({"a": "new"}),
        "begin": lambda cache: cache.put("a", "new", version=cache.begin("a")),
        "delete": lambda cache: cache.delete("a"),
    }
    for name, act in acts.items():
        with chain("ul", tmp_path, mode=mode) as (cache, tiers):
            cache["a"] = "old"
            tier = tiers[fails].tier
            tier.break_down()
            new = "none" if name == "delete" else "new"
            if mode == "strict" and fails == 1:
                with pytest.raises(WriteError) as caught:
                    act(cache)
                assert isinstance(caught.value.failed["a"], TierUnavailable)
                assert cache.peek("a") is None
                new = "old"
            else:
                act(cache)
                assert cache.get("a", "none") == new
                assert cache.health()[tiers[fails].name].doubted == 1
            tier.heal()
            for _ in range(2):
                cache._forget("a")
                cache.manager._levels[fails].doubts._tried = -10.0
                found = cache.get("a", "none")
                # Where the lowest had no room for it, it was in memory and above alone.
                assert found in (new, "none") if fails == 1 else found == new, (name, found)
            cache["a"] = "later"
            cache._forget("a")
            assert cache["a"] == "later"
            assert cache.health()[tiers[fails].name].doubted == 0


# ---- the breaker --------------------------------------------------------------------------------


def rested(cache, at=0):
    """Have the pause of a breaker over."""
    breaker = cache.manager._levels[at].breaker
    breaker._until = min(breaker._until, time.monotonic())


@pytest.mark.parametrize("acts", ["reads", "writes"])
def test_breaker_opens_and_no_call_reaches_the_tier(tmp_path, acts):
    """Catch a tier that is away and asked all the same, by a read, a write, or to settle doubts."""
    with chain("ul", tmp_path) as (cache, tiers):
        told = []
        end = cache.manager.subscribe(lambda event: told.append((event.kind, event.tier)))
        cache.update({number: number for number in range(20)})
        cache._empty()
        assert cache.health()["upper"].state == "ok"
        upper = tiers[0].tier
        upper.break_down()
        for number in range(5):
            cache[number] if acts == "reads" else cache.put(number, -1)
        health = cache.health()["upper"]
        assert (health.state, health.breaker, health.faults) == ("down", "open", 5)
        assert "injected" in health.last_error
        assert told == [("breaker-open", "upper")]
        rests = time.monotonic() + 100
        cache.manager._levels[0].breaker._until = rests
        before = asked(tiers)[0]
        for number in range(20):
            cache.manager._levels[0].doubts._tried = -10.0
            cache.get(number)
            cache.get_many([number, "x"])
            cache.put(number, number)
            assert number in cache
            cache.incr(number)
            cache.delete(number)
            cache.put_many({number: number})
            cache._forget(number)
            assert cache.get(number) == number
        assert asked(tiers)[0] == before
        assert cache.health()["lower"].faults == 0
        rested(cache)
        cache.get("probe")
        assert asked(tiers)[0] == before + 1
        assert cache.health()["upper"].breaker == "open"
        assert cache.health()["upper"].state == "down"
        upper.heal()
        rested(cache)
        for name in "abc":
            cache.get(name)
        health = cache.health()["upper"]
        assert health.breaker == "closed"
        kinds = [kind for kind, tier in told if tier == "upper"]
        opened = ["breaker-open", "breaker-half-open"]
        assert kinds == [*opened, *opened, "breaker-closed"]
        cache.manager._levels[0].doubts._tried = -10.0
        for number in range(20):
            cache._forget(number)
            assert cache[number] == number
        health = cache.health()["upper"]
        assert (health.state, health.last_error, health.doubted) == ("ok", None, 0)
        end()
        upper.break_down()
        for number in range(5):
            cache.get(f"absent {number}")
        assert len(kinds) == len([kind for kind, tier in told if tier == "upper"])


def test_level_of_doubted_keys_alone_comes_back(tmp_path):
    """Catch a probe that a doubted key takes and never gives back."""
    with chain("ul", tmp_path) as (cache, tiers):
        cache["a"] = "old"
        tiers[0].tier.break_down()
        for number in range(5):
            cache["a"] = number
        assert cache.health()["upper"].breaker == "open"
        tiers[0].tier.heal()
        rested(cache)
        for _ in range(10):
            cache.manager._levels[0].doubts._tried = -10.0
            cache._forget("a")
            assert cache["a"] == 4
        health = cache.health()["upper"]
        assert (health.breaker, health.doubted) == ("closed", 0)


@pytest.mark.parametrize("read", ["get", "get_many"])
def test_level_that_answers_again_is_well(tmp_path, read):
    """Catch a health that says degraded for ever after one fault."""
    with chain("u", tmp_path) as (cache, tiers):
        seed(tiers[0], "a", 1)
        tiers[0].tier.break_down()
        assert cache.get("a") is None
        assert cache.health()["upper"].state == "degraded"
        tiers[0].tier.heal()
        assert (cache["a"] if read == "get" else cache.get_many("a")) in (1, [1])
        assert cache.health()["upper"].state == "ok"
        assert cache.health()["upper"].last_error is None


# ---- begin --------------------------------------------------------------------------------------

MEANWHILE = {
    "nothing": lambda cache: None,
    "get": lambda cache: cache.get("a"),
    "delete": lambda cache: cache.delete("a"),
    "put": lambda cache: cache.put("a", "meanwhile"),
    "put_many": lambda cache: cache.put_many({"a": "meanwhile"}),
    "clear": lambda cache: cache.clear(),
    "pop": lambda cache: cache.pop("a", None),
    "replace": lambda cache: cache.replace("a", "meanwhile"),
}


@pytest.mark.parametrize("before", [MISSING, "old"])
@methods(MEANWHILE)
@pytest.mark.parametrize("letters", [None, "", "u", "ud"])
def test_value_read_before_a_change_is_refused(tmp_path, letters, method, before):
    """Catch a value of the application's store that was read before the key changed, and wins."""

    def act(cache, tiers):
        if before is not MISSING:
            cache["a"] = before
        version = cache.begin("a")
        method(cache)
        expected = cache.peek("a", MISSING)
        cache.put("a", "read", version=version)
        if method in (MEANWHILE["nothing"], MEANWHILE["get"]) or (
            method is MEANWHILE["replace"] and before is MISSING
        ):
            expected = "read"
        assert cache.get("a", MISSING) == expected
        if tiers:
            assert has(tiers[-1], "a") == expected
            assert {has(tier, "a") for tier in tiers} <= {expected, MISSING}
            cache._forget("a")
            assert cache.get("a", MISSING) == expected

    if letters is None:
        act(MemoryCache(10), [])
    else:
        with chain(letters, tmp_path, consistency="cache-aside") as (cache, tiers):
            act(cache, tiers)


def test_version_that_is_none_is_refused(tmp_path):
    """Catch a version that no begin has given, and that wins."""
    with chain("u", tmp_path, consistency="cache-aside") as (cache, _):
        cache["a"] = 1
        for version in ("x", 1.5, None, -1, 1 << 64):
            if version is None:
                continue
            with pytest.raises(TypeError, match="version"):
                cache.put("a", 2, version=version)
        cache.put("a", 2, version=7)
        assert cache["a"] == 1


# ---- life ---------------------------------------------------------------------------------------


@shapes()
def test_flush_and_close_may_be_called_again_and_by_many(tmp_path, letters):
    """Catch a second close that fails, hangs, or closes what others use."""
    with chain(letters, tmp_path) as (cache, tiers):
        cache["a"] = 1
        assert cache.flush() is None
        assert cache.flush(1.0) is None
        errors = []
        barrier = threading.Barrier(4)

        def close():
            barrier.wait()
            try:
                cache.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert errors == []
        assert not any(thread.is_alive() for thread in threads)
        cache.close()
        for act in (cache.flush, cache.health, lambda: cache["a"], lambda: cache.put("a", 1)):
            with pytest.raises(CacheClosed):
                act()
        assert [has(tier, "a") for tier in tiers] == [1] * len(tiers)
        again = over(tiers)
        assert again.get("a") == (1 if tiers else None)
        again.close()


def test_close_during_a_load_ends_all_who_wait(tmp_path):
    """Catch a close that waits for a loader that hangs, or a waiter that nobody wakes."""
    for rules in ({}, {"loader_timeout": 30}, {"stale_ttl": 50, "memory": {"ttl": 0.01}}):
        gate = Gate()
        with chain("u", tmp_path, loader=gate, **rules) as (cache, tiers):
            manager = cache.manager
            cache["b"] = "old"
            if "stale_ttl" in rules:
                time.sleep(0.02)
                assert cache["b"] == "old"
                tasks = []
            else:
                tasks = [Task(cache.get, "a") for _ in range(3)]
            assert gate.entered.wait(10)
            began = time.monotonic()
            cache.close()
            assert time.monotonic() - began < 5
            tiers[0].close()
            gate.open.set()
            for task in tasks:
                with suppress(CacheClosed):
                    assert task.outcome() == ("loaded", "a")
            until(lambda manager=manager: not manager._workers.busy)
            assert len(cache) == 0


def module_loader(key):
    return ("module", key)


def test_pickle_keeps_loader_and_rules(tmp_path):
    """Catch a cache that comes back without its loader, or with the times of another."""
    with FrysCache(
        10,
        persistent=tmp_path / "db",
        loader=module_loader,
        negative_ttl=5,
        stale_ttl=60,
        jitter=0.1,
        refresh_ahead="xfetch",
        mode="strict",
        lock_timeout=7,
        loader_timeout=8,
        soft_timeout=0.5,
    ) as cache:
        cache["a"] = 1
        assert cache["b"] == ("module", "b")
        with pickle.loads(pickle.dumps(cache)) as other:
            assert other["a"] == 1
            assert other["c"] == ("module", "c")
            assert other.manager.config == cache.manager.config
            assert other.manager._order.timeout == 8
            assert other.manager._lock_timeout == 7
    with FrysCache(10, loader=module_loader) as cache:
        assert pickle.loads(pickle.dumps(cache))["d"] == ("module", "d")
    with (
        FrysCache(10, loader=lambda key: key) as cache,
        pytest.raises((pickle.PicklingError, AttributeError)),
    ):
        pickle.dumps(cache)


def test_tier_closed_under_its_cache_says_so(tmp_path):
    """Catch a closed tier that looks like a miss."""
    disk = PersistentCache(tmp_path / "db")
    cache = FrysCache(10, persistent=disk)
    disk.close()
    for act in (lambda: cache.get("a"), lambda: cache.put("a", 1), lambda: cache.get_many("a")):
        with pytest.raises(CacheClosed):
            act()
    cache.close()
