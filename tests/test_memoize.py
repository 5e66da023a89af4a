"""Memoized functions: what a call does, methods, threads, recursion, life and death."""

import copy
import functools
import gc
import inspect
import pickle
import sys
import threading
import weakref

import pytest
from flying import TIMEOUT, Broken, Task, until, waiters

import frys_cache
from frys_cache import ConfigurationError, DeadlockError, FrysCache, MemoryCache, memoize
from frys_cache import flight_ring as ring


@pytest.fixture(params=["own", "shared"])
def remember(request):
    """Return memoize, of a private or a shared cache."""
    return memoize if request.param == "own" else FrysCache(1000).memoize


@pytest.fixture(autouse=True)
def nobody_waits():
    yield
    assert ring.waiting == {}


@memoize
def known(x):
    """Be found by name."""
    return [x]


def test_memoize_every_spelling_of_the_decorator_works():
    """Catch a decorator that works only with, or only without, parentheses."""
    cache = FrysCache(10)
    for decorate in (memoize, memoize(), memoize(max_entries=5), cache.memoize, cache.memoize()):
        f = decorate(lambda x: [x])
        assert f(1) is f(1)
        assert f(2) is not f(1)
    assert memoize(abs, max_entries=5).cache_parameters()["maxsize"] == 5
    assert cache.memoize(name="n")(abs).cache is cache
    assert memoize(abs, policy="fifo").cache.policy == "fifo"


def test_memoize_looks_like_the_function():
    """Catch a wrapper that hides what it wraps."""

    def f(x: int, *, y: str = "") -> int:
        """Do it."""
        return x

    f.attribute = 5
    m = memoize(f)
    assert (m.__wrapped__, m.__name__, m.__doc__, m.__module__) == (f, "f", "Do it.", __name__)
    assert (m.__qualname__, m.attribute) == (f.__qualname__, 5)
    assert inspect.signature(m) == inspect.signature(f)
    assert m.__call__(3) == 3
    assert callable(m)
    assert "f" in repr(m)
    m.more = 1
    assert weakref.ref(m)() is m


def test_memoize_private_cache_evicts_at_its_bound():
    """Catch a memory that only grows."""
    calls = []
    f = memoize(lambda x: calls.append(x) or x, max_entries=3)
    for i in range(5):
        f(i)
    assert f.cache_info() == (0, 5, 3, 3)
    assert [f(i) for i in (4, 3, 2)] == [4, 3, 2]
    assert calls == [0, 1, 2, 3, 4]
    f.cache._check()


def test_memoize_counts_and_clears_this_function_only(remember):
    """Catch figures, or a clear, of everything that is in a shared cache."""
    f, g = remember(lambda x: [x]), remember(lambda x: [x])
    for i in (1, 1, 2, 1.5, 1.5):
        f(i), g(i)
    assert f.cache_info() == (2, 3, f.cache.maxsize, 3)
    kept = g(1)
    f.cache_clear()
    assert f.cache_info() == (0, 0, f.cache.maxsize, 0)
    assert g(1) is kept
    assert g.cache_info()[:2] == (4, 3)


def test_memoize_invalidate_and_refresh(remember):
    """Catch another key for the same call, or a refresh that keeps the old result."""
    f = remember(lambda x, y=2: [x])
    first = f(1)
    assert f.refresh(1, y=2) is not first
    second = f(1, 2)
    assert second is not first
    assert f.invalidate(x=1) is True
    assert f.invalidate(1) is False
    assert f(1) is not second


def test_memoize_clear_during_a_load_wins(remember):
    """Catch a result that comes in after everything was to be forgotten."""
    f = remember(lambda x: f.cache_clear() or [x])
    f(1)
    assert f.cache_info().currsize == 0
    g = remember(lambda x: g.invalidate(x) or [x])
    g(1)
    assert g.cache_info().currsize == 0


def test_memoize_many_threads_load_once(remember):
    """Catch a function that is called by every thread that asks."""
    calls = []
    gate = threading.Barrier(64)

    @remember
    def slow(x, y):
        calls.append(x)
        until(lambda: waiters() >= 1)
        return [x]

    def ask(i):
        gate.wait(TIMEOUT)
        return slow(1, 2) if i % 2 else slow(y=2, x=1)

    results = {id(task.outcome()) for task in [Task(ask, i) for i in range(64)]}
    assert (len(calls), len(results)) == (1, 1)


def test_memoize_exception_passes_and_is_not_kept(remember):
    """Catch an exception that is wrapped or remembered."""
    errors = [Broken(), Broken()]

    @remember
    def fail(x):
        raise errors[x]

    for _ in range(2):
        with pytest.raises(Broken) as caught:
            fail(1)
        assert caught.value is errors[1]
    assert fail.cache_info() == (0, 2, fail.cache.maxsize, 0)


def test_memoize_call_of_its_own_key_is_a_deadlock(remember):
    """Catch a thread that waits for itself for ever."""

    @remember
    def loop(x):
        return loop(x)

    with pytest.raises(DeadlockError, match="own key"):
        loop(1)


def depth_of(decorate):
    """Return how many calls deep recursion gets."""
    deepest = [0]

    @decorate
    def down(n):
        deepest[0] = n
        return down(n + 1)

    with pytest.raises(RecursionError):
        down(0)
    return deepest[0]


def test_memoize_recursion_goes_as_deep_as_with_lru_cache(remember):
    """Catch frames of ours that use up the stack."""
    assert depth_of(remember) >= 0.9 * depth_of(functools.lru_cache(maxsize=None))

    @remember
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(100) == 354224848179261915075


def test_memoize_stack_overflow_ends_every_flight(remember):
    """Catch a flight that is left open because there was no room to end it: the next call hangs."""

    @remember
    def down(n):
        return down(n + 1)

    for n in range(10):
        for frames in range(8):  # however much room there is where the limit is met

            def nest(frames, start):
                return nest(frames - 1, start) if frames else down(start)

            with pytest.raises(RecursionError):
                nest(frames, n * 100_000)
    for n in range(0, 1_000_000, 50_000):
        with pytest.raises(RecursionError):
            Task(down, n).outcome()


# ---- methods ------------------------------------------------------------------------------------


def test_method_is_bound_and_told_apart_by_instance(remember):
    """Catch instances that answer for each other, or bound objects that forget theirs."""

    class Shop:
        @remember
        def price(self, what):
            """Say it."""
            return [self, what]

    a, b = Shop(), Shop()
    assert a.price(1) is a.price(what=1) is Shop.price(a, 1)
    assert a.price(1) is not b.price(1)
    bound = a.price
    assert bound(1) is a.price(1)
    assert bound(what=1) is a.price(1)
    assert list(map(a.price, [1])) == [a.price(1)]
    assert functools.partial(a.price, 1)() is a.price(1)
    assert a.price.cache_key(1) == Shop.price.cache_key(a, 1)
    assert a.price.cache_info() == Shop.price.cache_info()
    assert a.price.cache is Shop.price.cache
    assert (a.price.__name__, a.price.__doc__, a.price.__self__) == ("price", "Say it.", a)
    assert list(inspect.signature(a.price).parameters) == ["what"]
    assert a.price == a.price != b.price
    assert len({a.price, a.price, b.price}) == 2
    first = a.price(1)
    assert a.price.refresh(1) is not first
    assert a.price.invalidate(1) is True
    assert b.price.invalidate(1) is True
    assert b.price.invalidate(1) is False
    assert "price" in repr(a.price)


def test_method_does_not_keep_instances_alive(remember):
    """Catch the leak that lru_cache on a method is known for."""

    class Thing:
        @remember
        def one(self):
            return 1

        @remember
        def two(self, x):
            return x

    thing = Thing()
    thing.one(), thing.two(1), thing.two.cache_key(2), thing.one
    ref = weakref.ref(thing)
    del thing
    gc.collect()
    assert ref() is None


def bound_call(count, names):
    """Return a call of a bound object with many arguments, in a way that leaves no room before."""
    return lambda f: f(*range(count), **{f"k{i}": i for i in range(names)})


@pytest.mark.parametrize(("count", "names"), [(0, 0), (1, 1), (7, 0), (0, 8), (20, 20)])
def test_method_bound_object_takes_any_number_of_arguments(count, names, remember):
    """Catch an argument that is lost on its way through the stack."""

    class Thing:
        @remember
        def all(self, *args, **kwargs):
            return [args, kwargs]

    thing = Thing()
    bound = thing.all
    result = bound_call(count, names)(bound)
    assert result == [tuple(range(count)), {f"k{i}": i for i in range(names)}]
    assert bound_call(count, names)(thing.all) is result
    # A C function that calls without room before the arguments.
    assert functools.partial(bound)(*range(count), **{f"k{i}": i for i in range(names)}) is result
    assert list(map(bound, [5], [6])) == [[(5, 6), {}]]


@pytest.mark.parametrize("inside", [True, False], ids=["classmethod inside", "classmethod outside"])
def test_classmethod_binds_in_both_orders(inside, remember):
    """Catch a class that is not passed, or an instance passed for it."""
    around = (
        (lambda f: remember(classmethod(f))) if inside else (lambda f: classmethod(remember(f)))
    )

    class Base:
        @around
        def make(cls, x):
            return [cls, x]

    class Derived(Base):
        pass

    assert Base.make(1) is Base.make(1) is Base().make(x=1)
    assert Base.make(1) == [Base, 1]
    assert Derived.make(1) == Derived().make(1) == [Derived, 1]
    assert Base.make.cache_info().currsize == 2
    # From 3.13 on a classmethod around passes on no binding but that of the call.
    bound = inside or sys.version_info < (3, 13)
    assert Base.make.invalidate(*([] if bound else [Base]), 1) is True
    assert Derived().make.invalidate(*([] if bound else [Derived]), 1) is True


@pytest.mark.parametrize("inside", [True, False], ids=["staticmethod inside", "outside"])
def test_staticmethod_binds_in_both_orders(inside, remember):
    """Catch an instance that is passed to what wants none."""
    around = (
        (lambda f: remember(staticmethod(f))) if inside else (lambda f: staticmethod(remember(f)))
    )

    class Base:
        @around
        def make(x):
            return [x]

    assert Base.make(1) is Base().make(1) == [1]
    assert Base().make.invalidate(1) is True
    assert Base.make.cache_info().currsize == 0


# ---- what cannot be memoized ---------------------------------------------------------------------


async def coroutine():
    pass


def generator():
    yield


async def asynchronous_generator():
    yield


class AsyncCall:
    async def __call__(self):
        pass


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (5, "needs a callable, not int"),
        ("f", "needs a callable"),
        (coroutine, "a coroutine function"),
        (generator, "a generator function"),
        (asynchronous_generator, "asynchronous generator function"),
        (AsyncCall(), "a coroutine function"),
        (functools.partial(coroutine), "a coroutine function"),
        (staticmethod(generator), "a generator function"),
    ],
)
def test_memoize_what_cannot_be_kept_is_refused(function, message, remember):
    """Catch a coroutine that is awaited once and then returned for ever."""
    with pytest.raises(TypeError, match=message):
        remember(function)


def test_memoize_wrong_option_is_refused():
    """Catch an option that is found out only at the first call, or never."""
    with pytest.raises(ConfigurationError, match="max_entries"):
        memoize(abs, max_entries=0)
    with pytest.raises(ConfigurationError, match="policy"):
        memoize(abs, policy="none")
    with pytest.raises(TypeError):
        memoize(abs, typed=True)
    with pytest.raises(TypeError, match="use memoize"):
        type(known)()


def test_memoized_unmade_object_is_no_crash():
    """Catch a pointer that is followed before it is there."""
    kind = type(known)
    empty = kind.__new__(kind)
    with pytest.raises(TypeError):
        empty(1)
    for name in ("cache_info", "cache_clear", "cache_key", "invalidate", "refresh"):
        with pytest.raises(ReferenceError):
            getattr(empty, name)()
    with pytest.raises(ReferenceError):
        empty.cache
    bound = type(kind.__get__(known, 1))
    with pytest.raises(TypeError):
        bound.__new__(bound)(1)


# ---- life and death ------------------------------------------------------------------------------


def test_memoized_is_pickled_and_copied_by_reference():
    """Catch a copy with a cache of its own."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(known, protocol)) is known
    assert copy.copy(known) is copy.deepcopy(known) is known
    assert copy.deepcopy([known])[0] is known


class Pickled:
    def __init__(self, x):
        self.x = x

    @memoize
    def method(self, y):
        return self.x, y


def test_bound_method_is_pickled_with_its_instance():
    """Catch a bound object that cannot be sent to a process pool."""
    bound = pickle.loads(pickle.dumps(Pickled(1).method))
    assert bound(2) == (1, 2)


def tie_result(f):
    f(1).append(f)


def tie_attribute(f):
    f.attribute = f


def tie_argument(f):
    f((f, len))


def tie_default(f):
    f.__wrapped__.__defaults__[0].append(f)


def tie_function(f):
    f.__wrapped__.attribute = f


def tie_flights(f):
    f(2)
    f.flights = f.cache


def tie_bound(f):
    f.attribute = f.__get__(f, type(f))


@pytest.mark.parametrize(
    "tie",
    [tie_result, tie_attribute, tie_argument, tie_default, tie_function, tie_flights, tie_bound],
)
@pytest.mark.parametrize("own", [True, False], ids=["own", "shared"])
def test_cycle_through_a_memoized_function_is_collected(tie, own):
    """Catch a cycle that the collector does not see or cannot break."""
    decorate = memoize if own else FrysCache(10).memoize
    f = decorate(lambda x, y=[]: [x], ignore="y")
    tie(f)
    refs = [weakref.ref(f), weakref.ref(f.__wrapped__), weakref.ref(f.cache)]
    del f, decorate
    gc.collect()
    assert [ref() for ref in refs] == [None] * 3


def test_cycle_through_a_partial_is_collected():
    """Catch a cycle in which nothing but the memoized function can be cleared."""
    box = []
    f = memoize(functools.partial(lambda box, x: x, box))
    box.append(f)
    inner = functools.partial(lambda t, x: x, (f,))
    g = memoize(inner)
    refs = [weakref.ref(f), weakref.ref(g)]
    del f, g, inner, box
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_memoized_called_from_a_finalizer_in_its_cycle_is_no_crash():
    """Catch a call after the collector has cleared what it needs."""

    class Last:
        def __del__(self):
            for call in (self.f, self.f.invalidate, self.f.cache_info):
                try:
                    outcomes.append(call(1))
                except (TypeError, ReferenceError) as error:
                    outcomes.append(error)

    outcomes = []
    f = memoize(lambda x: [x])
    last = Last()
    last.f = f
    f(1).append(last)
    del f, last
    gc.collect()
    assert len(outcomes) == 3


def test_memoized_hit_and_miss_leave_no_reference():
    """Catch a reference that each call loses or leaks."""
    f = memoize(lambda x, y=0: x)
    one = memoize(lambda x: x)
    value, key = object(), ("key", 1.5)
    for call in (
        lambda: f(value, 1),
        lambda: f(value, y=key),
        lambda: one(value),
        lambda: one("a"),
    ):
        call()
        before = [sys.getrefcount(o) for o in (value, key, f, one, None)][:4]
        for _ in range(100):
            call()
        assert [sys.getrefcount(o) for o in (value, key, f, one, None)][:4] == before


def test_memoize_is_exported():
    """Catch a name that is documented and not there."""
    assert "memoize" in frys_cache.__all__
    assert MemoryCache.memoize.__doc__
