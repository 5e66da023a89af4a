"""A copy is a cache of its own: same entries, order, bound, policy, listener and attributes."""

import contextlib
import copy
import pickle

import pytest
from kinds import every_class, every_kind

from frys_cache import FrysCache, MemoryCache

EVENTS = []


def listen(key, value, cause):
    """Stand where pickle can find it: a listener is stored by its name."""
    EVENTS.append((key, value, cause))


class Value:
    """A value that is equal by content and has an identity."""

    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return isinstance(other, Value) and self.number == other.number

    def __hash__(self):
        return hash(self.number)


class NamedMemory(MemoryCache):
    """A subclass with a signature and attributes of its own."""

    def __init__(self, name, size, mood=None):
        super().__init__(size, on_evict=listen)
        self.name = name
        self.mood = mood


class NamedFrys(FrysCache):
    """The same on the other class."""

    def __init__(self, name, size, mood=None):
        super().__init__(size, on_evict=listen)
        self.name = name
        self.mood = mood


class Slotted(MemoryCache):
    """A subclass with slots, one of which stays empty."""

    __slots__ = ("colour", "empty")


class SlottedFrys(FrysCache):
    """The same on the other class."""

    __slots__ = ("colour", "empty")


def pickled(protocol):
    def through(cache):
        return pickle.loads(pickle.dumps(cache, protocol=protocol))

    return through


COPIES = {
    ".copy()": lambda cache: cache.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    **{f"pickle {n}": pickled(n) for n in range(pickle.HIGHEST_PROTOCOL + 1)},
    "pickle in Python": lambda cache: pickle._loads(pickle._dumps(cache)),
}
every_copy = pytest.mark.parametrize("duplicate", COPIES.values(), ids=list(COPIES))
SHALLOW = (COPIES[".copy()"], copy.copy)


@every_kind
@every_copy
def test_copy_keeps_content_order_bound_and_policy(make, duplicate):
    """Catch a copy that forgets what the next victim is."""
    cache = make(50)
    cache.put_many((f"key-{number}", number) for number in range(70))
    cache.get_many(["key-30", "key-25"])
    twin = duplicate(cache)
    assert type(twin) is type(cache)
    assert twin is not cache
    assert list(twin.items()) == list(cache.items())
    assert (twin.maxsize, twin.policy) == (50, cache.policy)
    twin._check()
    assert [twin.popitem() for _ in range(50)] == [cache.popitem() for _ in range(50)]


@every_kind
@every_copy
def test_copy_is_independent(make, duplicate):
    """Catch a copy that shares its store."""
    cache = make(3)
    cache.update(a=1, b=2)
    twin = duplicate(cache)
    twin["c"] = 3
    del twin["a"]
    assert dict(cache) == {"a": 1, "b": 2}
    cache.clear()
    assert dict(twin) == {"b": 2, "c": 3}
    for one in (cache, twin):
        one._check()


@every_kind
@every_copy
def test_copy_starts_counting_at_zero(make, duplicate):
    """Catch a copy that claims hits which it never had, or counts its own making."""
    cache = make(3)
    cache.update(a=1, b=2)
    cache.get_many("abz")
    before = cache.stats()
    twin = duplicate(cache)
    assert cache.stats() == before
    stats = twin.stats()
    assert (stats.hits, stats.misses, stats.evictions) == (0, 0, 0)
    assert stats.hit_ratio == 0.0
    assert stats.entries == 2


@every_class
@every_copy
def test_copy_keeps_the_listener_and_tells_nothing(cls, duplicate):
    """Catch a copy without its listener, or one whose making counts as events."""
    EVENTS.clear()
    cache = cls(2, policy="lru", on_evict=listen)
    cache.update(a=1, b=2)
    twin = duplicate(cache)
    assert EVENTS == []
    twin["c"] = 3
    assert [(key, value, cause.name) for key, value, cause in EVENTS] == [("a", 1, "EVICTED")]


@every_copy
@pytest.mark.parametrize("cls", [NamedMemory, NamedFrys])
def test_copy_keeps_a_subclass_and_its_attributes(cls, duplicate):
    """Catch a copy made by calling a signature that a subclass changed."""
    cache = cls("colours", 3, mood=[1, 2])
    cache.update(a=1, b=2)
    twin = duplicate(cache)
    assert type(twin) is cls
    assert (twin.name, twin.mood, twin.maxsize) == ("colours", [1, 2], 3)
    assert (twin.mood is cache.mood) is (duplicate in SHALLOW)
    assert list(twin.items()) == [("a", 1), ("b", 2)]
    twin.name = "other"
    assert cache.name == "colours"


@pytest.mark.parametrize("cls", [Slotted, SlottedFrys])
@pytest.mark.parametrize(
    "duplicate",
    [way for name, way in COPIES.items() if name not in ("pickle 0", "pickle 1")],
    ids=[name for name in COPIES if name not in ("pickle 0", "pickle 1")],
)
def test_copy_keeps_a_subclass_and_its_slots(cls, duplicate):
    """Catch a copy that saves __dict__ alone; protocols 0 and 1 know no slots by definition."""
    cache = cls(3)
    cache.colour = ["red"]
    cache["a"] = 1
    twin = duplicate(cache)
    assert type(twin) is cls
    assert twin.colour == ["red"]
    assert not hasattr(twin, "empty")
    assert dict(twin) == {"a": 1}


@every_class
def test_shallow_copy_shares_values_and_deep_copy_does_not(cls):
    """Catch a copy that is deeper or shallower than its name."""
    cache = cls(3)
    cache["v"] = value = Value(1)
    cache[key := Value(2)] = "by object"
    for shallow in SHALLOW:
        assert shallow(cache)["v"] is value
        assert any(one is key for one in shallow(cache))
    deep = copy.deepcopy(cache)
    assert deep["v"] == value
    assert deep["v"] is not value
    assert deep[Value(2)] == "by object"
    assert not any(one is key for one in deep)


@every_class
def test_deep_copy_keeps_sharing(cls):
    """Catch a deep copy that ignores its memo."""
    shared = [1]
    cache = cls(3)
    cache.update(a=shared, b=shared)
    twin, other = copy.deepcopy((cache, shared))
    assert twin["a"] is twin["b"] is other


@every_class
@every_copy
def test_copy_of_a_cache_inside_itself_ends(cls, duplicate):
    """Catch a copy that never ends, or whose inner cache is the old one."""
    cache = cls(5)
    cache["before"] = 1
    cache["self"] = cache
    cache["list"] = [cache]
    twin = duplicate(cache)
    inside = cache if duplicate in SHALLOW else twin
    assert sorted(twin) == ["before", "list", "self"]
    assert list(twin) == list(cache)
    assert twin["self"] is inside
    assert twin["list"][0] is inside
    twin._check()


@every_class
@every_copy
def test_copy_of_caches_inside_each_other_ends(cls, duplicate):
    """Catch a copy that restores a cache before its members are whole."""
    one, other = cls(5), cls(5)
    one["other"] = other
    other["one"] = one
    twin = duplicate(one)
    assert twin["other"]["one"] is (one if duplicate in SHALLOW else twin)


class Pointing:
    """A key that refers to the cache it lies in."""

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return hash(self.__dict__.get("name"))

    def __eq__(self, other):
        return isinstance(other, Pointing) and self.name == other.name


@every_class
def test_pickle_refuses_what_pickle_refuses(cls):
    """Catch a pickle that drops an entry or a listener it cannot store."""
    cache = cls(3)
    cache["f"] = lambda: None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(cache)
    assert len(cache) == 1
    cache = cls(3, on_evict=lambda *event: None)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(cache)
    cache._check()


@every_class
def test_pickle_of_many_entries_comes_back_in_order(cls):
    """Catch a state that is built in quadratic time or loses its order."""
    cache = cls(60_000)
    cache.put_many((f"key-{number}", number) for number in range(100_000))
    twin = pickle.loads(pickle.dumps(cache, protocol=5))
    assert list(twin.items()) == list(cache.items())
    twin._check()


@every_class
@pytest.mark.parametrize("state", [None, (), {}, 5, "state", ((),), (1, 2, 3), ({}, {}, {})])
def test_unpickled_nonsense_does_not_crash(cls, state):
    """Catch a __setstate__ that trusts what a file says."""
    cache = cls.__new__(cls)
    with contextlib.suppress(Exception):
        cache.__setstate__(state)
    with contextlib.suppress(Exception):
        cache["a"] = 1
        cache._check()


@every_copy
def test_copy_of_a_cache_that_is_full_evicts_nothing(duplicate):
    """Catch a copy that is filled into a smaller cache and trimmed."""
    cache = MemoryCache(64)
    cache.put_many((number, number) for number in range(64))
    twin = duplicate(cache)
    assert len(twin) == 64
    assert twin.stats().evictions == 0


@every_class
def test_pickle_with_a_key_that_refers_to_the_cache_works_or_raises(cls):
    """Catch a crash where a key is hashed before its own state came back."""
    cache = cls(3)
    key = Pointing("key")
    key.cache = cache
    cache[key] = 1
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            twin = pickle.loads(pickle.dumps(cache, protocol))
        except (AttributeError, TypeError, pickle.UnpicklingError):
            continue
        assert len(twin) == 1
        twin._check()
