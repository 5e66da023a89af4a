"""`get_or_set`: one load per key, and a load never undoes what came meanwhile."""

import gc
import threading
import weakref

import pytest
from flying import TIMEOUT, Broken, Task, until, waiters
from kinds import every_class

from frys_cache import DeadlockError, FrysCache, MemoryCache
from frys_cache import flight_ring as ring


@pytest.fixture(autouse=True)
def nobody_waits():
    yield
    assert ring.waiting == {}


@every_class
def test_get_or_set_absent_key_is_loaded_and_kept(cls):
    """Catch a value that is loaded twice, or a hit that is not counted as one."""
    cache = cls(10)
    calls = []
    assert cache.get_or_set("a", lambda: calls.append(1) or 5) == 5
    assert cache.get_or_set("a", lambda: calls.append(1) or 6) == 5
    assert (len(calls), cache["a"], cache.cache_info()[:2]) == (1, 5, (2, 1))
    cache._check()


@pytest.mark.parametrize("value", [None, False, 0, ()], ids=repr)
def test_get_or_set_falsy_value_is_kept(value):
    """Catch an absence that is told by truth instead of by identity."""
    cache = FrysCache(10)
    assert cache.get_or_set("a", lambda: value) is value
    assert cache.get_or_set("a", Broken) is value


def test_get_or_set_many_threads_load_once():
    """Catch a stampede, and a second leader that does not look again before it loads."""
    cache = FrysCache(10)
    calls, gate = [], threading.Barrier(64)

    def load():
        calls.append(threading.get_ident())
        until(lambda: waiters() >= 1)
        return object()

    def ask():
        gate.wait(TIMEOUT)
        return cache.get_or_set("a", load)

    values = {id(task.outcome()) for task in [Task(ask) for _ in range(64)]}
    assert (len(calls), len(values)) == (1, 1)
    assert cache.get_or_set("a", load) is cache["a"]


def test_get_or_set_factory_exception_reaches_all_and_is_not_kept():
    """Catch an exception that is wrapped, kept, or leaves followers waiting."""
    cache = FrysCache(10)
    error = Broken()

    def fail():
        until(lambda: waiters() == 3)
        raise error

    def ask():
        with pytest.raises(Broken) as caught:
            cache.get_or_set("a", fail)
        return caught.value

    tasks = [Task(ask) for _ in range(4)]
    assert all(task.outcome() is error for task in tasks)
    assert "a" not in cache
    assert cache.get_or_set("a", lambda: 1) == 1


def test_get_or_set_interrupt_lets_a_follower_load():
    """Catch a flight that never ends when its leader is interrupted, or interrupts the others."""
    cache = FrysCache(10)
    leading = threading.Event()

    def interrupted():
        leading.set()
        until(lambda: waiters() == 1)
        raise KeyboardInterrupt

    leader = Task(cache.get_or_set, "a", interrupted)
    assert leading.wait(TIMEOUT)
    assert Task(cache.get_or_set, "a", lambda: 2).outcome() == 2
    with pytest.raises(KeyboardInterrupt):
        leader.outcome()


@pytest.mark.parametrize("touch", ["put", "delete", "clear", "put and delete"])
def test_get_or_set_key_touched_during_the_load_wins(touch):
    """Catch a load that brings back what was deleted, or overwrites what is newer."""
    cache = FrysCache(10)

    def load():
        if "put" in touch:
            cache["a"] = "newer"
        if "delete" in touch:
            cache.delete("a")
        if touch == "clear":
            cache.clear()
        return "loaded"

    assert cache.get_or_set("a", load) == "loaded"
    assert cache.get("a") == ("newer" if touch == "put" else None)


def test_get_or_set_own_key_is_a_deadlock():
    """Catch a thread that waits for itself for ever."""
    cache = FrysCache(10)
    with pytest.raises(DeadlockError, match="own key"):
        cache.get_or_set("a", lambda: cache.get_or_set("a", int))
    assert cache.get_or_set("a", lambda: cache.get_or_set("b", int)) == 0


@pytest.mark.parametrize("factory", [None, 5, "f"])
def test_get_or_set_factory_not_callable_is_refused(factory):
    """Catch a factory that is found out only at the first miss."""
    cache = FrysCache(10)
    cache["a"] = 1
    with pytest.raises(TypeError, match="factory must be callable"):
        cache.get_or_set("a", factory)
    with pytest.raises(TypeError, match="unhashable"):
        cache.get_or_set([], int)


def test_get_or_set_miss_hook_is_asked_before_the_factory():
    """Catch a load of what a lower tier has, and a hook that is passed by."""

    class Below(FrysCache):
        def _on_miss(self, key):
            return "below" if key == "a" else super()._on_miss(key)

    cache = Below(10)
    cache._hooks = 1
    assert cache.get_or_set("a", Broken) == "below"
    assert cache.get_or_set("b", lambda: "loaded") == "loaded"


def test_get_or_set_missing_method_is_not_called():
    """Catch two makers of one value."""

    class Made(MemoryCache):
        def __missing__(self, key):
            raise AssertionError

    assert Made(10).get_or_set("a", lambda: 1) == 1


def test_get_or_set_factory_that_uses_the_cache_leaves_it_whole():
    """Catch a place in the table that is remembered over a load."""
    cache = FrysCache(4)
    assert cache.get_or_set("a", lambda: [cache.put(i, i) for i in range(100)] and 1) == 1
    cache._check()
    assert len(cache) == 4


def test_get_or_set_holds_neither_factory_nor_error():
    """Catch a factory or an error that a cache keeps for longer than the call."""
    cache = FrysCache(10)
    factory, error = (lambda: 1), Broken()
    refs = [weakref.ref(factory), weakref.ref(error)]

    def fail(error):
        raise error

    cache.get_or_set("a", factory)
    with pytest.raises(Broken):
        cache.get_or_set("b", lambda error=error: fail(error))
    del factory, error
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
