"""What is written or removed while a key is loaded, or comes up, wins in every level."""

import threading

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from chained import Gate, Loader, chain, has, seed, shapes
from flying import Task

from frys_cache import (
    MISSING,
    FrysCache,
    PersistentCache,
)

# ---- C-20: what is written or removed meanwhile wins ---------------------------------------------

MEANWHILE = {
    "delete": (lambda cache: cache.delete("a"), MISSING),
    "delete_many": (lambda cache: cache.delete_many(["a"]), MISSING),
    "clear": (lambda cache: cache.clear(), MISSING),
    "pop": (lambda cache: cache.pop("a", None), MISSING),
    "put": (lambda cache: cache.put("a", "put"), "put"),
    "put_many": (lambda cache: cache.put_many({"a": "put"}), "put"),
    "add": (lambda cache: cache.add("a", "put"), "put"),
    "incr": (lambda cache: cache.incr("a", 3), 3),
}

LOADS = {
    "get": lambda cache, load: cache.get("a"),
    "get_many": lambda cache, load: cache.get_many(["a"])[0],
    "get_or_set": lambda cache, load: cache.get_or_set("a", load),
    "memoize": lambda cache, load: cache.memoize(load, key=lambda: "a", name="f")(),
    "timeout": lambda cache, load: cache.get_or_set("a", load, timeout=20),
}


RULES = {"stale_ttl": 50, "refresh_ahead": 0.5}


@pytest.mark.parametrize(
    ("letters", "rules"),
    [("", {}), ("", RULES), ("u", {}), ("u", RULES), ("ud", RULES)],
    ids=["no tier", "no tier, stale", "stand-in", "stand-in, stale", "stand-in, disk, stale"],
)
@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=list(MEANWHILE))
@pytest.mark.parametrize("load", LOADS.values(), ids=list(LOADS))
def test_change_during_a_load_wins(tmp_path, letters, load, meanwhile, rules):
    """Catch a load that brings back, in some level, what was removed or written while it ran."""
    act, expected = meanwhile
    calls = []

    def fetch(*_):
        calls.append(1)
        if len(calls) == 1:
            act(cache)
            return "loaded"
        return MISSING

    memory = {"ttl": 100}
    with chain(letters, tmp_path, loader=fetch, memory=memory, **rules) as (cache, tiers):
        load(cache, fetch)
        assert cache.peek("a", MISSING) in (expected, MISSING)
        assert {has(tier, "a") for tier in tiers} <= {expected, MISSING}
        assert ("a" in cache) == (expected is not MISSING)
        if load is not LOADS["memoize"]:
            assert cache.get("a", MISSING) == expected
        if tiers:
            assert has(tiers[-1], "a") == expected
    if "d" in letters:
        with PersistentCache(tmp_path / "db") as disk:
            assert disk.get("a", MISSING) == expected


@pytest.mark.parametrize("meanwhile", ["delete", "clear", "put", "pop"])
def test_change_while_a_value_comes_up_wins_beside_memory_too(tmp_path, meanwhile):
    """Catch a removed value that is kept beside memory by a read which began before."""
    act, expected = MEANWHILE[meanwhile]
    loader = Loader(lambda key: MISSING)
    for name, read in (
        ("read_one", lambda: cache.get("a")),
        ("read", lambda: cache.get_many(["a"])),
    ):
        with chain(
            "u", tmp_path, loader=loader, stale_ttl=50, refresh_ahead=0.5, memory={"ttl": 100}
        ) as (cache, tiers):
            seed(tiers[0], "a", "old", 150, fresh_ms=tiers[0].tier.wall() + 100_000)
            tier = tiers[0].tier._tier
            reading = getattr(type(tier), name)

            def slowly(asked, tier=tier, reading=reading, cache=cache, name=name):
                found = reading(tier, asked)
                delattr(tier, name)
                act(cache)
                return found

            setattr(tier, name, slowly)
            read()
            assert cache.get("a", MISSING) == expected
            cache._forget("a")
            assert cache.get("a", MISSING) == expected


@pytest.mark.parametrize("write", ["put", "put_many", "replace"])
def test_removal_while_a_value_is_written_wins_beside_memory_too(tmp_path, write):
    """Catch a removed value that is kept beside memory by a write which began before."""
    with chain("u", tmp_path, loader=lambda key: MISSING, stale_ttl=50, memory={"ttl": 100}) as (
        cache,
        tiers,
    ):
        cache["a"] = "old"
        tier = tiers[0].tier._tier
        name = "swap" if write == "replace" else "write"
        writing = getattr(type(tier), name)

        def slowly(*arguments):
            done = writing(tier, *arguments)
            delattr(tier, name)
            cache.delete("a")
            return done

        setattr(tier, name, slowly)
        cache.put_many({"a": 1}) if write == "put_many" else getattr(cache, write)("a", 1)
        assert has(tiers[0], "a") is MISSING
        assert cache.get("a") is None


def test_other_cache_over_the_same_entries_forgets_what_is_beside_memory(tmp_path):
    """Catch a second cache of a path that goes on calling absent, or giving, what was changed."""
    disk = PersistentCache(tmp_path / "db")
    rules = {"loader": lambda key: MISSING, "stale_ttl": 50, "ttl": 100}
    one, other = FrysCache(10, persistent=disk, **rules), FrysCache(10, persistent=disk, **rules)
    assert one.get("a") is None
    other["a"] = 1
    assert one["a"] == 1
    other["a"] = 2
    assert one["a"] == 2
    other.delete("a")
    assert one.get("a") is None
    one["b"] = 1
    assert other["b"] == 1
    one.clear()
    assert other.get("b") is None
    one.close(), other.close(), disk.close()


class Slow(dict):
    """A backend that is read while it is written to."""

    def load(self, key):
        value = self.get(key, MISSING)
        self.entered.set()
        assert self.open.wait(20)
        return value

    def store(self, key, value):
        self.reader = Task(self.cache.get, key)
        assert self.entered.wait(20)
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


@pytest.mark.parametrize("write", ["put", "put_many"])
@shapes("no tier", "stand-in")
def test_load_that_a_write_overtakes_is_older(tmp_path, letters, write):
    """Catch what was read from a backend before a write, and stays below or is joined after it."""
    rows = Slow(a="old")
    rows.entered, rows.open = threading.Event(), threading.Event()
    with chain(letters, tmp_path, backend=rows) as (cache, tiers):
        rows.cache = cache
        cache.put("a", "new") if write == "put" else cache.put_many({"a": "new"})
        cache._empty()
        rows.open.set()
        assert cache["a"] == "new"
        assert rows.reader.outcome() == "old"
        cache._forget("a")
        assert cache["a"] == "new"
        assert [has(tier, "a") for tier in tiers] == ["new"] * len(tiers)


def test_read_after_a_write_joins_no_load_from_before_it(tmp_path):
    """Catch an old value that is given after a write, by a load that the write has overtaken."""
    gate = Gate(lambda key: "old")
    with chain("", tmp_path, max_entries=1, loader=gate) as (cache, _):
        first = Task(cache.get, "a")
        assert gate.entered.wait(10)
        flight = next(iter(cache._flights._under_way))
        for write in (
            lambda: cache.put("a", 1),
            lambda: cache.put_many({"a": 1}),
            lambda: cache.put("a", 1, version=cache.begin("a")),
            lambda: cache.replace("a", 2),
            lambda: cache.incr("a"),
        ):
            cache._flights._under_way[flight] = flight
            write()
            assert flight not in cache._flights._under_way
        gate.open.set()
        assert first.outcome() == "old"
