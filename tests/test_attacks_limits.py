"""What an attack on bounds by bytes, deadlines and loading has found, each mended since."""

import threading

import pytest

from frys_cache import DeadlockError, MemoryCache, memoize
from frys_cache.testing import FakeClock

SECONDS = 20


class Meddler:
    """A key whose comparison configures the cache anew, once."""

    def __init__(self, action):
        self.action = action

    def __hash__(self):
        return 1

    def __eq__(self, other):
        for key in (self, other):
            action, key.action = key.action, None
            if action is not None:
                action()
        return self is other


@pytest.mark.parametrize("policy", ["lru", "fifo", "lfu", "slru", "size", "sieve", "s3fifo", "arc"])
@pytest.mark.parametrize("way", ["put", "__setitem__", "put_many", "touch", "delete", "fill"])
@pytest.mark.parametrize("options", [{"max_size_bytes": 10}, {"max_entries": 1, "ttl": 5}])
def test_init_from_a_comparison_is_refused(policy, way, options):
    """Catch an entry put by the weight and bounds of a cache that is another one by now."""
    cache = MemoryCache(5, max_size_bytes=1000, policy=policy)
    cache.put(Meddler(None), bytes(100))
    key = Meddler(lambda: cache.__init__(policy=policy, **options))
    calls = {
        "put": lambda: cache.put(key, bytes(100)),
        "__setitem__": lambda: cache.__setitem__(key, bytes(100)),
        "put_many": lambda: cache.put_many([(key, bytes(100))]),
        "touch": lambda: cache.touch(key, 5),
        "delete": lambda: cache.delete(key),
        "fill": lambda: cache._fill(key, bytes(100), None, None, cache._token(key)),
    }
    with pytest.raises(RuntimeError, match="in the middle"):
        calls[way]()
    assert len(cache) == 0
    cache._check()


def test_init_from_nbytes_is_refused():
    """Catch a weight that was found under another bound."""

    class Heavy:
        @property
        def nbytes(self):
            cache.__init__(max_size_bytes=10)
            return 500

    cache = MemoryCache(max_size_bytes=1000)
    with pytest.raises((RuntimeError, ValueError)):
        cache["a"] = Heavy()
    assert cache.currsize <= 10
    cache._check()


def test_idle_clock_that_goes_back_keeps_the_wheel_right():
    """Catch a use that moves a deadline earlier than the wheel knows."""
    now = [1000.0]
    cache = MemoryCache(10, idle=5, clock=lambda: now[0])
    cache["a"] = 1
    now[0] = 900.0
    assert cache["a"] == 1
    cache._check()
    now[0] = 1004.0
    assert cache["a"] == 1
    now[0] = 1008.0
    assert cache["a"] == 1
    cache._check()
    now[0] = 1014.0
    assert len(cache) == 0


def test_clock_is_read_when_it_is_given():
    """Catch a cache that takes the time of its old clock for that of the new one."""
    cache = MemoryCache(10, ttl=5, clock=FakeClock(1e6))
    cache["a"] = 1
    cache.__init__(10, ttl=5, clock=FakeClock(10.0))
    cache["b"] = 1
    assert cache.ttl_of("b") == 5
    cache._check()


@pytest.mark.parametrize("kind", ["self", "new", "other"])
def test_frys_key_that_never_ends_is_a_recursion_error(kind):
    """Catch a key that is made of itself and overruns the stack of C."""

    class Endless:
        def __frys_key__(self):
            return {"self": self, "new": Endless(), "other": Other()}[kind]

    class Other:
        def __frys_key__(self):
            return Endless()

    with pytest.raises(RecursionError):
        memoize(lambda x: x)(Endless())


@pytest.mark.parametrize("wrong", [None, 5])
def test_frys_key_that_is_no_method_is_named(wrong):
    """Catch an AttributeError about a slot that no user knows."""
    kind = type("Odd", (), {"__frys_key__": wrong})
    with pytest.raises(TypeError, match="__frys_key__ must be a method"):
        memoize(lambda x: x)(kind())


def test_negative_zero_is_another_argument():
    """Catch copysign answered from the other side."""
    signs = memoize(lambda x: repr(x))
    assert [signs(x) for x in (0.0, -0.0, 0.0, -0.0)] == ["0.0", "-0.0", "0.0", "-0.0"]
    assert signs((0.0,)) == "(0.0,)"
    assert signs((-0.0,)) == "(-0.0,)"
    assert signs(complex(0.0, -0.0)) != signs(complex(0.0, 0.0))
    assert signs("-0.0") == "'-0.0'"


class Source:
    """A slow source: the first call waits until it is let go, with what it read before."""

    def __init__(self):
        self.value = "old"
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        value = self.value
        if self.calls == 1:
            self.reading.set()
            assert self.go_on.wait(SECONDS)
        return value


def elsewhere(call):
    """Make a call on another thread; return what ends it and gives its result."""
    got = []
    thread = threading.Thread(target=lambda: got.append(call()))
    thread.start()

    def result():
        thread.join(SECONDS)
        assert not thread.is_alive()
        return got[0]

    return result


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("forget", ["invalidate", "cache_clear"])
@pytest.mark.parametrize("first", ["call", "refresh"])
def test_result_from_before_an_invalidation_is_neither_kept_nor_joined(shared, forget, first):
    """Catch "write, invalidate, read" that reads what was there before."""
    source = Source()
    decorate = MemoryCache(10).memoize if shared else memoize
    function = decorate(lambda x: source())
    slow = elsewhere(lambda: function.refresh(1) if first == "refresh" else function(1))
    assert source.reading.wait(SECONDS)
    source.value = "new"
    function.invalidate(1) if forget == "invalidate" else function.cache_clear()
    assert function(1) == "new"
    source.go_on.set()
    assert slow() == "old"
    assert function(1) == "new"


@pytest.mark.parametrize("forget", ["delete", "pop", "clear", "delete_many"])
def test_get_or_set_after_a_removal_loads_anew(forget):
    """Catch a caller who joins a load that is out of date."""
    source = Source()
    cache = MemoryCache(10)
    slow = elsewhere(lambda: cache.get_or_set("k", source))
    assert source.reading.wait(SECONDS)
    source.value = "new"
    {
        "delete": lambda: cache.delete("k"),
        "pop": lambda: cache.pop("k", None),
        "clear": lambda: cache.clear(),
        "delete_many": lambda: cache.delete_many(["k"]),
    }[forget]()
    assert cache.get_or_set("k", source) == "new"
    source.go_on.set()
    assert slow() == "old"
    assert cache["k"] == "new"


def test_older_refresh_does_not_win():
    """Catch a refresh that began first and ends last."""
    source = Source()
    function = memoize(lambda x: source())
    slow = elsewhere(lambda: function.refresh(1))
    assert source.reading.wait(SECONDS)
    source.value = "new"
    assert function.refresh(1) == "new"
    source.go_on.set()
    assert slow() == "old"
    assert function(1) == "new"


def test_load_that_removes_its_own_key_and_asks_again_ends():
    """Catch a detached flight that hides a ring for ever."""
    cache = MemoryCache(10)

    def factory():
        cache.delete("k")
        return cache.get_or_set("k", factory)

    with pytest.raises((RecursionError, DeadlockError)):
        cache.get_or_set("k", factory)
    assert cache.get_or_set("k", lambda: 1) == 1


@pytest.mark.parametrize("make", [memoize, MemoryCache])
def test_maxsize_is_answered_with_the_right_name(make):
    """Catch a message that leaves who comes from lru_cache alone."""
    with pytest.raises(TypeError, match="did you mean max_entries"):
        make(maxsize=5)


def test_cache_info_of_a_function_bounded_by_bytes_is_in_bytes():
    """Catch two units in one tuple."""
    function = memoize(max_entries=None, max_size_bytes=1000)(lambda x: bytes(50))
    function("key")
    assert function.cache_info() == (0, 1, 1000, 53)
