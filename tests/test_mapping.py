"""A cache is a mapping wherever Python wants one: match, equality, union, repr, cachetools."""

import json
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Hashable, Mapping, MutableMapping, Reversible
from types import MappingProxyType

import pytest
from kinds import every_class

from frys_cache import FrysCache, MemoryCache

try:
    import cachetools
except ImportError:
    cachetools = None
    print("notice: cachetools is not installed: its decorator is not tried")


@every_class
def test_cache_is_a_registered_mutable_mapping(cls):
    """Catch a cache that code written for mappings refuses."""
    cache = cls(3)
    assert isinstance(cache, MutableMapping)
    assert isinstance(cache, Mapping)
    assert isinstance(cache, Reversible)
    assert [name for name in dir(dict) if not hasattr(cache, name)] == []


@every_class
def test_cache_is_unhashable_as_a_dict(cls):
    """Catch a cache that can be a key although its equality changes."""
    cache = cls(3)
    assert cls.__hash__ is None
    assert not isinstance(cache, Hashable)
    with pytest.raises(TypeError, match="unhashable"):
        hash(cache)


@every_class
def test_match_statement_takes_a_cache_as_mapping(cls):
    """Catch a type without the flag that mapping patterns ask for."""
    cache = cls(3)
    cache.update(kind="point", x=1, y=2)
    match cache:
        case {"kind": "circle"}:
            found = "circle"
        case {"kind": "point", "x": x, **rest}:
            found = x, rest
        case _:
            found = None
    assert found == (1, {"y": 2})


@every_class
def test_dict_and_friends_take_a_cache(cls):
    """Catch a cache that dict(), **, ChainMap or a proxy cannot read."""
    cache = cls(3)
    cache.update(a=1, b=2)
    content = {"a": 1, "b": 2}
    assert dict(cache) == content
    assert OrderedDict(cache) == content
    assert {**cache} == content
    assert (lambda **kwargs: kwargs)(**cache) == content
    assert ChainMap({}, cache)["a"] == 1
    assert MappingProxyType(cache)["b"] == 2
    assert "{a} {b}".format_map(cache) == "1 2"
    assert json.loads(json.dumps(dict(cache))) == content
    assert eval("a + b", {}, cache) == 3
    target = {}
    target.update(cache)
    assert target == content


@every_class
def test_equality_is_that_of_content(cls):
    """Catch an equality that looks at order, bound, policy or counters."""
    cache, other = cls(3), cls(300, policy="fifo")
    cache.update(a=1, b=2)
    other.update(b=2, a=1)
    other.get("a")
    assert cache == other
    assert cache == {"a": 1, "b": 2} == cache
    assert cache == UserDict(a=1, b=2)
    assert MemoryCache.fromkeys("ab") == FrysCache.fromkeys("ba")
    assert cache != {"a": 1}
    assert cache != {"a": 1, "b": 3}
    assert cache != {"a": 1, "c": 2}
    assert (cache != {"a": 1, "b": 2}) is False
    for thing in (5, None, [("a", 1), ("b", 2)], "ab", object()):
        assert cache != thing
        assert (cache == thing) is False
    with pytest.raises(TypeError):
        cache < {}


@every_class
def test_equality_takes_identical_values_as_equal(cls):
    """Catch a comparison that asks NaN whether it equals itself."""
    nan = float("nan")
    cache = cls(3)
    cache["nan"] = nan
    assert cache == {"nan": nan}
    assert cache == cache
    assert cache != {"nan": float("nan")}


@every_class
def test_or_makes_a_new_mapping(cls):
    """Catch a union that writes into its left side, or forgets which side wins."""
    cache = cls(10)
    cache.update(a=1, b=2)
    union = cache | {"b": 20, "c": 30}
    assert type(union) is cls
    assert union == {"a": 1, "b": 20, "c": 30}
    assert union.maxsize == 10
    assert cache == {"a": 1, "b": 2}
    assert ({"b": 20, "c": 30} | cache) == {"a": 1, "b": 2, "c": 30}
    assert (cache | cls(5)) == cache
    with pytest.raises(TypeError):
        cache | 5
    with pytest.raises(TypeError):
        5 | cache


@every_class
def test_ior_updates_in_place(cls):
    """Catch a |= that makes a new object, or takes no pairs."""
    cache = same = cls(10)
    cache |= {"a": 1}
    cache |= [("b", 2)]
    assert cache is same
    assert cache == {"a": 1, "b": 2}
    with pytest.raises(TypeError):
        cache |= 5


@every_class
def test_fromkeys_is_bounded_by_its_keys(cls):
    """Catch a fromkeys that loses keys, or ignores the bound it is given."""
    cache = cls.fromkeys(range(100), "x")
    assert type(cache) is cls
    assert list(cache.items()) == [(number, "x") for number in range(100)]
    assert cache.maxsize == 100
    cache = cls.fromkeys(iter("abc"), max_entries=2, policy="fifo")
    assert list(cache.items()) == [("b", None), ("c", None)]
    assert (cache.maxsize, cache.policy) == (2, "fifo")
    empty = cls.fromkeys([])
    assert len(empty) == 0
    assert empty.maxsize >= 1
    assert dict(cls.fromkeys("aabb")) == {"a": None, "b": None}


@every_class
def test_repr_begins_with_the_class_and_shows_the_content(cls):
    """Catch a repr in another order than iteration, or of another class."""

    class Sub(cls):
        pass

    for kind in (cls, Sub):
        cache = kind(5)
        assert repr(cache) == f"{kind.__name__}({{}})"
        cache.update(b=1, a=[2])
        assert repr(cache) == f"{kind.__name__}({{'b': 1, 'a': [2]}})"
        assert str(cache) == repr(cache) == f"{cache}"


@every_class
def test_repr_is_cut_after_a_hundred_entries(cls):
    """Catch a repr of a million entries, or a cut that is off by one."""
    name = cls.__name__
    cache = cls(1000)
    cache.put_many((number, "v") for number in range(100))
    assert repr(cache) == f"{name}({dict.fromkeys(range(100), 'v')!r})"
    cache[100] = "v"
    assert repr(cache) == f"{name}({repr(dict.fromkeys(range(100), 'v'))[:-1]}, ...}})"


@every_class
def test_repr_of_a_cache_inside_itself_ends(cls):
    """Catch a repr that never ends, through one step or two."""
    name = cls.__name__
    cache = cls(3)
    cache["self"] = cache
    assert repr(cache) == f"{name}({{'self': {name}({{...}})}})"
    cache["self"] = [cache]
    assert repr(cache) == f"{name}({{'self': [{name}({{...}})]}})"


@every_class
def test_repr_with_a_failing_member_raises_and_can_be_asked_again(cls):
    """Catch a recursion mark that stays set after an exception."""

    class Moody:
        calm = False

        def __repr__(self):
            if not self.calm:
                raise LookupError("mood")
            return "calm"

    cache = cls(3)
    cache["a"] = moody = Moody()
    with pytest.raises(LookupError):
        repr(cache)
    moody.calm = True
    assert repr(cache) == f"{cls.__name__}({{'a': calm}})"


if cachetools is not None:

    @every_class
    def test_cachetools_decorator_takes_a_cache(cls):
        """Catch a cache that cachetools cannot use as its own."""
        calls = []
        cache = cls(100)

        @cachetools.cached(cache=cache)
        def square(number):
            calls.append(number)
            return number * number

        assert [square(number) for number in (2, 3, 2, 3)] == [4, 9, 4, 9]
        assert calls == [2, 3]
        assert cache[cachetools.keys.hashkey(2)] == 4
        square.cache_clear()
        assert len(cache) == 0

    @every_class
    def test_cachetools_method_decorator_with_info_takes_a_cache(cls):
        """Catch a cache that cachetools cannot count, or find through a method's object."""

        @cachetools.cached(cache=cls(100), info=True)
        def square(number):
            return number * number

        square(2)
        square(2)
        info = square.cache_info()
        assert (info.hits, info.misses, info.currsize) == (1, 1, 1)

        class Owner:
            def __init__(self):
                self.cache = cls(5)

            @cachetools.cachedmethod(lambda self: self.cache)
            def double(self, number):
                return 2 * number

        owner = Owner()
        assert owner.double(4) == owner.double(4) == 8
        assert len(owner.cache) == 1
