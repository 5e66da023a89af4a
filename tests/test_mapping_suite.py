"""CPython's own test suite for mappings, run on both classes."""

from pathlib import Path

import pytest
from conftest import left_out

from frys_cache import FrysCache, MemoryCache

try:
    from test import mapping_tests
except ImportError:  # an interpreter may come without its own tests
    mapping_tests = None
    left_out[Path(__file__).name] = ["test, CPython's own tests"]


def dict_like(base):
    """Return a subclass of `base` that is made as a dict is, with a bound nothing here reaches."""

    class DictLike(base):
        def __init__(self, *args, **kwargs):
            # fromkeys gives the bound and nothing else.
            bound = kwargs.pop("max_entries", None)
            if args and isinstance(args[0], int):
                bound, *args = args
            super().__init__(bound or 1_000_000)
            self.update(*args, **kwargs)

    return DictLike


if mapping_tests is not None:

    class MappingSuite(mapping_tests.TestHashMappingProtocol):
        """CPython's suite for mappings, but for two methods that test what a dict prints and is.

        test_repr wants "{1: 2}", without the class name that our repr begins with.
        test_fromkeys also wants a subclass whose __new__ returns a UserDict and takes no argument;
        a cache is made with a bound.  The rest of that method is repeated here.
        """

        def test_repr(self):
            name = self.type2test.__name__
            cache = self._empty_mapping()
            assert repr(cache) == f"{name}({{}})"
            cache[1] = 2
            assert repr(cache) == f"{name}({{1: 2}})"
            cache[1] = cache
            assert repr(cache) == f"{name}({{1: {name}({{...}})}})"

            class BadRepr:
                def __repr__(self):
                    raise LookupError

            with pytest.raises(LookupError):
                repr(self._full_mapping({1: BadRepr()}))

        def test_fromkeys(self):
            cls = self.type2test
            expected = {"a": None, "b": None, "c": None}
            assert cls.fromkeys("abc") == expected
            cache = self._empty_mapping()
            assert cache.fromkeys("abc") is not cache
            assert cache.fromkeys("abc") == expected
            assert cache.fromkeys((4, 5), 0) == {4: 0, 5: 0}
            assert cache.fromkeys([]) == {}
            assert cache.fromkeys(iter([1])) == {1: None}
            with pytest.raises(TypeError):
                cls.fromkeys()
            with pytest.raises(TypeError):
                cls.fromkeys(3)

            class Sub(cls):
                pass

            assert type(Sub.fromkeys("a")) is Sub
            assert type(Sub().fromkeys("a")) is Sub

            class BadInit(cls):
                def __init__(self, *args, **kwargs):
                    raise LookupError

            class BadSet(cls):
                def __setitem__(self, key, value):
                    raise LookupError

            def bad_keys():
                yield 1
                raise LookupError

            with pytest.raises(LookupError):
                BadInit.fromkeys([1])
            with pytest.raises(LookupError):
                BadSet.fromkeys([1])
            with pytest.raises(LookupError):
                cls.fromkeys(bad_keys())

    class TestMemoryCacheAsMapping(MappingSuite):
        """MemoryCache passes CPython's suite for mappings."""

        type2test = dict_like(MemoryCache)

    class TestFrysCacheAsMapping(MappingSuite):
        """FrysCache passes CPython's suite for mappings."""

        type2test = dict_like(FrysCache)

    del MappingSuite
