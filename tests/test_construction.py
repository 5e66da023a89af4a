"""A cache is made with a bound, or it is not made; and a half-made one harms nobody."""

import contextlib
import gc
import math
import sys
import weakref

import pytest
from kinds import every_class

from frys_cache import CacheError, ConfigurationError, EvictionPolicy, FrysCache, MemoryCache


@every_class
@pytest.mark.parametrize("bound", [0, -1, -(2**70), True, False, 1.0, 2.5, math.nan, math.inf])
def test_bad_bound_raises_and_names_it(cls, bound):
    """Catch a bound that is no positive int and is taken nevertheless."""
    with pytest.raises(ConfigurationError) as caught:
        cls(bound)
    assert "max_entries" in str(caught.value)
    assert repr(bound) in str(caught.value)
    with pytest.raises(ConfigurationError):
        cls(max_entries=bound)


@every_class
@pytest.mark.parametrize("bound", ["5", b"5", [5], (5,), {}, object, 5j])
def test_bound_of_another_type_raises(cls, bound):
    """Catch a bound that is converted, or a TypeError where the configuration is wrong."""
    with pytest.raises(ConfigurationError, match="max_entries"):
        cls(bound)


@every_class
def test_no_bound_raises_and_says_so(cls):
    """Catch a cache without any bound."""
    for options in ({}, {"max_entries": None}, {"policy": "lru"}):
        with pytest.raises(ConfigurationError, match="needs a bound"):
            cls(**options)
    with pytest.raises(ConfigurationError, match="needs a bound"):
        cls(None)


@every_class
@pytest.mark.parametrize("bound", [1, 2**31, 2**32, 2**32 + 1, sys.maxsize])
def test_large_bound_costs_nothing_until_used(cls, bound):
    """Catch a table that is made as large as its bound, or a bound cut to 32 bits."""
    cache = cls(bound)
    assert cache.maxsize == bound
    cache.put_many((number, number) for number in range(10))
    assert len(cache) == min(10, bound)
    cache._check()


@every_class
@pytest.mark.parametrize("bound", [sys.maxsize + 1, 2**64, 2**64 + 1, 10**30])
def test_bound_beyond_a_machine_word_is_no_small_one(cls, bound):
    """Catch a bound that wraps around; it may be refused, with its own name."""
    try:
        cache = cls(bound)
    except ConfigurationError as error:
        refusal = str(error)
    else:
        refusal = str(bound)
        cache.put_many((number, number) for number in range(10))
        assert len(cache) == 10
    assert str(bound) in refusal


@every_class
@pytest.mark.parametrize("policy", ["", "LRU", "lfu ", "nonsense", None, 5, b"lru", ["lru"]])
def test_unknown_policy_raises_and_lists_the_known(cls, policy):
    """Catch a policy that falls back silently, or a message that does not help."""
    with pytest.raises(ConfigurationError) as caught:
        cls(5, policy=policy)
    message = str(caught.value)
    assert repr(policy) in message
    for known in EvictionPolicy:
        assert known.value in message


@every_class
@pytest.mark.parametrize("policy", list(EvictionPolicy))
def test_policy_is_taken_as_enum_and_as_text(cls, policy):
    """Catch a policy that only one spelling of is known."""
    assert cls(5, policy=policy).policy == cls(5, policy=policy.value).policy
    assert type(cls(5, policy=policy).policy) is str


def test_default_policy_of_each_class():
    """Catch a default that changed."""
    assert MemoryCache(5).policy == "lru"
    assert FrysCache(5).policy == FrysCache(5, policy="auto").policy


@every_class
@pytest.mark.parametrize("listener", [5, "listener", [], object()])
def test_listener_that_cannot_be_called_raises(cls, listener):
    """Catch a listener whose mistake shows at the first eviction."""
    with pytest.raises(TypeError, match="on_evict"):
        cls(5, on_evict=listener)
    cls(5, on_evict=None)


@every_class
@pytest.mark.parametrize(
    "name",
    ["tags", "distributed", "lease", "maxsize", "getsizeof", "nonsense"],
)
def test_argument_that_does_not_exist_raises(cls, name):
    """Catch an argument that is accepted and ignored."""
    with pytest.raises(TypeError):
        cls(5, **{name: None})


@every_class
def test_options_are_keywords_only(cls):
    """Catch a second positional argument, which no later version could rename."""
    with pytest.raises(TypeError):
        cls(5, "lru")


@every_class
def test_configuration_error_is_in_the_family(cls):
    """Catch an error that neither `except CacheError` nor `except ValueError` sees."""
    with pytest.raises(CacheError):
        cls(0)
    with pytest.raises(ValueError, match="max_entries"):
        cls(0)


@every_class
def test_later_arguments_of_put_raise(cls):
    """Catch an option of a write that is accepted and ignored."""
    cache = cls(5)
    for option in ({"tags": ("a",)}, {"depends_on": ()}, {"version": "1"}, {"version": -1}):
        with pytest.raises(TypeError):
            cache.put("a", 1, **option)
    assert len(cache) == 0


def try_everything(cache):
    """Call every method of a cache that may be half made; what it raises is its own affair."""
    for use in (
        lambda: len(cache),
        lambda: list(cache),
        lambda: list(reversed(cache)),
        lambda: repr(cache),
        lambda: bool(cache),
        lambda: cache == {},
        lambda: cache["a"],
        lambda: cache.get("a"),
        lambda: cache.peek("a"),
        lambda: "a" in cache,
        lambda: cache.put("a", 1),
        lambda: cache.__setitem__("a", 1),
        lambda: cache.add("a", 1),
        lambda: cache.replace("a", 1),
        lambda: cache.incr("n"),
        lambda: cache.setdefault("s"),
        lambda: cache.get_many(["a"]),
        lambda: cache.put_many({"a": 1}),
        lambda: cache.update(a=1),
        lambda: cache.__ior__({"a": 1}),
        lambda: cache | {"a": 1},
        lambda: list(cache.items()),
        lambda: list(cache.values()),
        lambda: list(cache.keys()),
        lambda: cache.stats(),
        lambda: cache.cache_info(),
        lambda: (cache.maxsize, cache.currsize, cache.policy),
        lambda: cache.copy(),
        lambda: cache.__reduce_ex__(2),
        lambda: cache._token("a"),
        lambda: cache._check(),
        lambda: cache._fail_allocation_after(-1),
        lambda: cache.delete_many(["a"]),
        lambda: cache.delete("a"),
        lambda: cache.pop("a", None),
        lambda: cache.popitem(),
        lambda: cache.__delitem__("a"),
        lambda: cache.clear(),
        gc.collect,
    ):
        with contextlib.suppress(Exception):
            use()


@every_class
def test_object_without_init_does_not_crash(cls):
    """Catch a method that follows a pointer which __init__ would have set."""
    try_everything(cls.__new__(cls))
    cache = cls.__new__(cls)
    cache.__init__(3)
    cache.update(a=1)
    assert dict(cache) == {"a": 1}


@every_class
def test_object_whose_init_failed_does_not_crash(cls):
    """Catch a destructor that frees what a failed __init__ never made."""
    cache = cls.__new__(cls)
    with pytest.raises(ConfigurationError):
        cache.__init__(0)
    try_everything(cache)


@every_class
def test_init_called_twice_leaks_and_breaks_nothing(cls):
    """Catch a second __init__ that forgets the first's memory, entries or listener."""

    class Value:
        pass

    class Listener:
        def __call__(self, *event):
            pass

    value, listener = Value(), Listener()
    cache = cls(5, on_evict=listener)
    cache["a"] = value
    gone = weakref.ref(value), weakref.ref(listener)
    del value, listener
    cache.__init__(3)
    cache._check()
    assert len(cache) <= 3
    try_everything(cache)
    cache.__init__(3, policy="fifo")
    with pytest.raises(ConfigurationError):
        cache.__init__(0)
    try_everything(cache)
    cache._check()
    del cache
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@every_class
def test_init_inside_iteration_does_not_crash(cls):
    """Catch an iterator that keeps indices into a store which __init__ made anew."""
    cache = cls(100)
    cache.put_many((number, number) for number in range(100))
    iterator = iter(cache.items())
    next(iterator)
    cache.__init__(2)
    cache["x"] = 1
    assert len(list(iterator)) <= 100
    cache._check()


@every_class
def test_class_is_generic_at_run_time(cls):
    """Catch an annotation such as MemoryCache[str, int] that fails when it is evaluated."""
    assert cls[str, int].__origin__ is cls
    assert cls[str, int].__args__ == (str, int)
    assert dict(cls[str, int](5)) == {}


@every_class
def test_class_documents_itself(cls):
    """Catch a public method without a docstring."""
    undocumented = [
        name for name in dir(cls) if not name.startswith("_") and not getattr(cls, name).__doc__
    ]
    assert undocumented == []
    assert cls.__doc__


def test_frys_cache_overrides_no_hot_method():
    """Catch a wrapper in Python around what must stay in C."""
    assert issubclass(FrysCache, MemoryCache)
    assert not {"__getitem__", "get", "__contains__"} & set(FrysCache.__dict__)
