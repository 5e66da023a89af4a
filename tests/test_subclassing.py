"""A cache can be subclassed, mixed with others and referred to weakly."""

import weakref
from collections.abc import MutableMapping

import pytest
from kinds import every_class, every_kind


@every_kind
def test_missing_is_called_by_brackets_alone(make):
    """Catch a get, pop or `in` that calls __missing__, or an answer of it that is stored."""

    class Defaulting(make.cls):
        asked = ()

        def __missing__(self, key):
            self.asked = (*self.asked, key)
            return f"made for {key}"

    cache = Defaulting(3, policy=make.policy)
    assert cache["a"] == "made for a"
    assert "a" not in cache
    assert cache.get("b") is None
    assert cache.peek("b") is None
    assert cache.get_many(["b"]) == [None]
    assert cache.pop("b", 1) == 1
    assert cache.setdefault("c", 2) == 2
    with pytest.raises(KeyError):
        del cache["b"]
    with pytest.raises(KeyError):
        cache.pop("b")
    assert cache.asked == ("a",)
    cache["a"] = 5
    assert cache["a"] == 5
    assert cache.asked == ("a",)


@every_class
def test_missing_that_raises_or_writes_is_heard(cls):
    """Catch a __missing__ whose exception becomes a KeyError, or that may not write."""

    class Filling(cls):
        def __missing__(self, key):
            if key == "bad":
                raise LookupError(key)
            self[key] = value = key * 2
            return value

    cache = Filling(2, policy="lru")
    assert [cache[key] for key in "abc"] == ["aa", "bb", "cc"]
    assert list(cache) == ["b", "c"]
    with pytest.raises(LookupError, match="bad"):
        cache["bad"]
    cache._check()


@every_class
def test_subclass_has_its_own_attributes_and_signature(cls):
    """Catch arguments parsed in __new__, which a subclass could not change."""

    class Named(cls):
        def __init__(self, name, *, size=4):
            super().__init__(size, policy="lru")
            self.name = name

    cache = Named("colours", size=2)
    cache.update(a=1, b=2, c=3)
    assert cache.name == "colours"
    assert list(cache) == ["b", "c"]


@every_class
def test_subclass_with_slots_keeps_them(cls):
    """Catch a layout that leaves no room for a subclass's slots."""

    class Slotted(cls):
        __slots__ = ("mark",)

    cache = Slotted(2)
    cache.mark = 5
    cache["a"] = 1
    assert (cache.mark, cache["a"]) == (5, 1)


@every_class
def test_subclass_methods_are_called_by_syntax(cls):
    """Catch a type whose slots bypass what a subclass overrides."""

    class Loud(cls):
        def __getitem__(self, key):
            return "read", super().__getitem__(key)

        def __setitem__(self, key, value):
            super().__setitem__(key, ("written", value))

    cache = Loud(2)
    cache["a"] = 1
    assert cache["a"] == ("read", ("written", 1))


@every_class
@pytest.mark.parametrize("first", [True, False])
def test_multiple_inheritance_works_on_either_side(cls, first):
    """Catch a base whose layout or __init__ does not go together with a plain mixin."""

    class Counting:
        writes = 0

        def __setitem__(self, key, value):
            self.writes += 1
            super().__setitem__(key, value)

        def describe(self):
            return f"{len(self)} of {self.maxsize}"

    bases = (Counting, cls) if first else (cls, Counting)
    cache = type("Both", bases, {})(2)
    cache["a"] = 1
    assert cache.describe() == "1 of 2"
    assert cache.writes == int(first)
    assert isinstance(type("Abstract", (cls, MutableMapping), {})(3), MutableMapping)


@every_class
def test_weak_reference_dies_with_the_cache(cls):
    """Catch a cache that cannot be referred to weakly, or that a reference keeps alive."""
    cache = cls(2)
    died = []
    reference = weakref.ref(cache, died.append)
    assert reference() is cache
    del cache
    assert reference() is None
    assert died == [reference]
