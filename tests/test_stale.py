"""Stale values, early refreshes and jitter: when a value is given, loaded anew, or let go."""

import threading
import time
from functools import partial

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import Gate, Loader, chain, has, over, settle, shapes, tiers_of
from flying import until

from frys_cache import (
    MISSING,
    CacheTimeout,
    ConfigurationError,
    FrysCache,
)


class Failing(Exception):
    """What a loader raises."""


# ---- stale values --------------------------------------------------------------------------------

TTL = 0.03


def wait_over(seconds=TTL):
    time.sleep(seconds + 0.005)


@pytest.mark.parametrize("source", ["loader", "loader_many", "both"])
@pytest.mark.parametrize("read", ["get", "get_many", "batch"])
@shapes("no tier", "stand-in", "disk")
def test_stale_value_is_given_while_one_reload_runs(tmp_path, letters, read, source):
    """Catch a caller that waits for a reload, or a reload for each caller."""
    values = iter(range(100))
    bulk = Gate(lambda keys: dict.fromkeys(keys, next(values)))
    single = Gate(lambda key: next(values))
    loaders = {"loader": single} if source != "loader_many" else {}
    if source != "loader":
        loaders["loader_many"] = bulk
    with chain(letters, tmp_path, stale_ttl=50, memory={"ttl": TTL}, **loaders) as (cache, _):

        def ask():
            if read == "get":
                return cache["a"]
            return cache.get_many("a" if read == "get_many" else "ab")[0]

        cache["a"] = cache["b"] = "old"
        wait_over()
        for _ in range(10):
            assert ask() == "old"
        assert cache.health()["memory"].stale >= 10
        single.open.set(), bulk.open.set()
        settle(cache)
        assert len(single.keys) + len(bulk.keys) <= (2 if read == "batch" else 1)
        assert ask() != "old"


@pytest.mark.parametrize("source", ["loader", "loader_many"])
@pytest.mark.parametrize("read", ["get", "get_many"])
@shapes("no tier", "stand-in")
def test_load_that_fails_leaves_the_stale_value_and_some_rest(tmp_path, letters, read, source):
    """Catch an outage of the source that reaches the reader, or a source that gets no rest."""

    def fail(key):
        raise Failing

    loader = Loader(fail)
    rules = {"stale_ttl": 50, "soft_timeout": 10, "memory": {"ttl": TTL}, source: loader}
    with chain(letters, tmp_path, **rules) as (cache, _):
        told = []
        cache.manager.subscribe(lambda event: told.append(event.kind))
        cache["a"] = "old"
        wait_over()
        for _ in range(5):
            assert (cache["a"] if read == "get" else cache.get_many(["a"])[0]) == "old"
        settle(cache)
        assert len(loader.keys) == 1
        assert cache.health()["memory"].stale == 5
        assert cache.health()["source"].faults == 1
        with pytest.raises(Failing):
            cache.get("b")
        if read == "get" and source == "loader":
            assert told == ["load-failed"]


def test_soft_timeout_is_waited_for_and_no_longer(tmp_path):
    """Catch a stale value where a fresh one was at hand, or a caller that waits on."""
    gate = Gate(lambda key: "new")
    rules = {"stale_ttl": 50, "soft_timeout": 0.02, "memory": {"ttl": TTL}}
    with chain("u", tmp_path, loader=gate, **rules) as (cache, _):
        cache["a"] = "old"
        wait_over()
        assert cache["a"] == "old"
        assert cache["a"] == "old"
        assert len(gate.keys) == 1
        gate.open.set()
        settle(cache)
        assert cache["a"] == "new"
    with chain("u", tmp_path, loader=lambda key: "new", **rules | {"soft_timeout": 10}) as (
        cache,
        _,
    ):
        cache["a"] = "old"
        wait_over()
        assert cache["a"] == "new"
        assert cache.health()["memory"].stale == 0


def test_source_that_has_it_no_more_ends_the_stale_value(tmp_path):
    """Catch a value that the source has deleted and the cache goes on giving."""
    for negative_ttl in (None, 0):
        loader = Loader(lambda key: MISSING)
        rules = {"stale_ttl": 50, "memory": {"ttl": TTL}, "negative_ttl": negative_ttl}
        with chain("u", tmp_path, loader=loader, **rules) as (cache, tiers):
            cache["a"] = "old"
            wait_over()
            assert cache["a"] == "old"
            settle(cache)
            assert cache.get("a") is None
            assert has(tiers[0], "a") is MISSING


def test_stale_value_outlives_a_restart_and_the_source_gets_its_rest(tmp_path):
    """Catch a restart that loses what an outage of the source needs, or forgets the pauses."""

    def fail(key):
        raise Failing

    loader = Loader(fail)
    with FrysCache(10, persistent=tmp_path / "db", ttl=TTL, stale_ttl=50, loader=str) as cache:
        assert cache[1] == "1"
        cache.put_many({2: "2"})
    wait_over()
    with FrysCache(
        10, persistent=tmp_path / "db", ttl=TTL, stale_ttl=50, soft_timeout=10, loader=loader
    ) as cache:
        for _ in range(4):
            assert cache[1] == "1"
            assert cache.get_many([2]) == ["2"]
        settle(cache)
        assert loader.keys == [1, 2]
        assert cache.health()["persistent"].stale >= 2


def test_get_or_set_gives_what_is_stale(tmp_path):
    """Catch a stale= that is taken and not kept to."""

    def fail():
        raise Failing

    for letters in (None, "", "u"):
        cache = FrysCache(10) if letters is None else over(tiers_of(letters, tmp_path))
        make = iter(["first", "second"]).__next__
        assert cache.get_or_set("a", make, ttl=TTL, stale=50) == "first"
        wait_over()
        assert cache.get_or_set("a", make, ttl=TTL, stale=50) == "first"
        settle(cache)
        assert cache.get_or_set("a", fail, ttl=TTL, stale=50) == "second"
        wait_over()
        assert cache.get_or_set("a", fail, ttl=TTL, stale=50) == "second"
        settle(cache)
        wait_over()
        with pytest.raises(Failing):
            cache.get_or_set("b", fail, stale=50)
        with pytest.raises(ConfigurationError):
            cache.get_or_set("b", fail, stale=-1)
        cache.close()


def test_get_or_set_does_not_wait_beyond_its_timeout(tmp_path):
    """Catch a timeout= that is taken and not kept to."""
    for letters in (None, "", "u"):
        cache = FrysCache(10) if letters is None else over(tiers_of(letters, tmp_path))
        release = threading.Event()
        with pytest.raises(CacheTimeout):
            cache.get_or_set("a", partial(release.wait, 20), timeout=0.02)
        release.set()
        until(lambda cache=cache: cache.peek("a") is True)
        assert cache.get_or_set("a", pytest.fail, timeout=5) is True
        cache.close()


# ---- early refreshes -----------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["write-through", "refresh-ahead"])
@shapes("no tier", "stand-in")
def test_value_that_is_asked_for_late_in_its_life_is_renewed(tmp_path, letters, strategy):
    """Catch a refresh that is waited for, or one for each hit, or none."""
    gate = Gate(lambda key: ("new", key))
    with chain(
        letters,
        tmp_path,
        loader=gate,
        refresh_ahead=0.02,
        consistency=strategy,
        memory={"ttl": 2},
    ) as (cache, tiers):
        cache["a"] = "old"
        assert cache["a"] == "old"
        time.sleep(0.05)
        for _ in range(10):
            assert cache["a"] == "old"
        assert 1.5 < cache.ttl_of("a") < 2
        gate.open.set()
        settle(cache)
        assert gate.keys == ["a"]
        assert cache["a"] == ("new", "a")
        assert cache.ttl_of("a") > 1.9
        assert [has(tier, "a") for tier in tiers] == [("new", "a")] * len(tiers)


def test_refresh_that_fails_is_told_of_and_tried_later(tmp_path):
    """Catch a refresh that fails for each hit, or one whose failure reaches a reader."""

    def fail(key):
        raise Failing("down")

    loader = Loader(fail)
    with chain("u", tmp_path, loader=loader, refresh_ahead=0.01, memory={"ttl": 5}) as (cache, _):
        told = []
        cache.manager.subscribe(told.append)
        cache["a"] = "old"
        time.sleep(0.06)
        for _ in range(5):
            assert cache["a"] == "old"
            settle(cache)
        assert loader.keys == ["a"]
        assert [event.kind for event in told] == ["load-failed"]
        assert "down" in told[0].detail["error"]


def test_xfetch_renews_what_takes_long_to_load(tmp_path):
    """Catch an xfetch that never comes, or that comes at once for what is loaded quickly."""
    values = iter(range(10))

    def slowly(key):
        time.sleep(0.02)
        return next(values)

    with chain("u", tmp_path, loader=slowly, refresh_ahead="xfetch", memory={"ttl": 0.1}) as (
        cache,
        _,
    ):
        cache.manager._freshness._random = lambda: 0.95  # early by three times the load
        assert cache["a"] == 0
        time.sleep(0.06)
        assert cache["a"] == 0
        settle(cache)
        assert cache["a"] == 1
    with chain("u", tmp_path, loader=Loader(), refresh_ahead="xfetch", memory={"ttl": 50}) as (
        cache,
        _,
    ):
        assert cache["a"] == cache["a"]
        assert cache.health()["source"].hits == 1
        assert cache.health()["memory"].detail["beside_hits"] == 0


def test_hit_in_memory_asks_nothing_of_the_chain(tmp_path):
    """Catch a hit that pays for early refreshes."""
    with chain("u", tmp_path, loader=Loader(), refresh_ahead=0.5, memory={"ttl": 50}) as (
        cache,
        _,
    ):
        cache["a"] = 1
        cache.manager.read = None  # nobody gets there
        assert cache["a"] == 1
        assert cache.get("a") == 1
        del cache.manager.read


@pytest.mark.parametrize("how", ["put", "put_many", "load", "get_many", "add", "begin"])
def test_life_is_varied_once_for_all_levels(tmp_path, how):
    """Catch lives that all end at one moment, or that differ between memory and tiers."""
    acts = {
        "put": lambda key: cache.put(key, 1),
        "put_many": lambda key: cache.put_many({key: 1}),
        "load": lambda key: cache[key],
        "get_many": lambda key: cache.get_many([key]),
        "add": lambda key: cache.add(key, 1),
        "begin": lambda key: cache.put(key, 1, version=cache.begin(key)),
    }
    with chain("ul", tmp_path, loader=Loader(), jitter=0.25, memory={"ttl": 100}) as (cache, _):
        lives = []
        for number in range(40):
            acts[how](number)
            here = cache.ttl_of(number)
            lives.append(here)
            cache._forget(number)
            assert cache.ttl_of(number) == pytest.approx(here, abs=0.5)
            cache.manager._levels[0].cache.tier._tier._records.clear()
            assert cache.ttl_of(number) == pytest.approx(here, abs=0.5)
        assert 74 < min(lives) < 90 < 110 < max(lives) <= 125


# ---- how much is kept ----------------------------------------------------------------------------


def test_written_value_wins_over_one_kept_for_its_staleness(tmp_path):
    """Catch a put that leaves what `get_or_set` has kept beside memory."""
    with FrysCache(10, persistent=tmp_path / "db", consistency="write-back") as cache:
        cache["other"] = 1
        assert cache.get_or_set("k", lambda: "old", ttl=100, stale=10) == "old"
        cache["k"] = "new"
        cache.flush()
        cache._forget("k")
        assert cache["k"] == "new"


@pytest.mark.parametrize(
    ("sizeof", "room", "most"),
    [
        (None, 100_000, 9),
        (lambda key, value: 1, 20, 20),
        (lambda key, value: len(value), 50_000, 5),
    ],
)
def test_stale_values_are_bounded_as_memory_is(sizeof, room, most):
    """Catch values that are kept beside memory without a bound of bytes."""
    rules = {"max_size_bytes": room, "sizeof": sizeof, "ttl": 100, "stale_ttl": 100}
    with FrysCache(loader=lambda key: bytes(10_000), **rules) as cache:
        for number in range(500):
            assert cache[number] == bytes(10_000)
        assert 1 <= len(cache) <= most
        assert 1 <= len(cache.manager._aside) <= most


def test_sizeof_that_raises_beside_memory_leaves_no_old_value():
    """Catch a write that the backend has taken, and an old value that memory goes on to give."""
    calls = []

    def sizeof(key, value):
        calls.append(value)
        if calls.count("new") == 2:
            raise ZeroDivisionError
        return 1

    stored = {}

    class Store:
        load, store = staticmethod(stored.__getitem__), staticmethod(stored.__setitem__)
        delete = staticmethod(stored.pop)

    rules = {"max_size_bytes": 100, "sizeof": sizeof, "ttl": 100, "stale_ttl": 100}
    with FrysCache(backend=Store(), **rules) as cache:
        cache["a"] = "old"
        with pytest.raises(ZeroDivisionError):
            cache["a"] = "new"
        assert stored == {"a": "new"}
        assert cache["a"] == "new"
