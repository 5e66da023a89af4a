"""The keys of memoized calls: typed, free of collisions, one for all spellings of a call."""

import copy
import enum
import gc
import pickle
import weakref
from decimal import Decimal

import pytest

from frys_cache import ConfigurationError, FrysCache, MemoryCache, memoize


class Plain:
    """Compared by identity."""


class Slotted:
    """Compared by identity, and not weakly referable."""

    __slots__ = ()


class Value:
    """Compared by value."""

    def __init__(self, value):
        self.value = value

    def __eq__(self, other):
        return isinstance(other, Value) and self.value == other.value

    def __hash__(self):
        return hash(self.value)


class Keyed:
    """Says itself by what it is known."""

    def __init__(self, name):
        self.name = name

    def __frys_key__(self):
        return self.name


class Colour(enum.Enum):
    RED = 1


class Int(int):
    pass


@pytest.fixture(params=["own", "shared"])
def remember(request):
    """Return memoize, of a private or a shared cache."""
    return memoize if request.param == "own" else FrysCache(1000).memoize


LEAVES = [1, 1.0, True, "1", b"1", Int(1), Decimal(1), None, 0, 0.0, False, "", b"", Colour.RED]
LEAVES += [(), -1, 2**70, float(2**70), (1,), (1.0,), (True,), ((1,),), ((1.0,),), (int, 1)]
LEAVES += [(float, 1.0), (tuple, 1), (tuple,), (bool, True), (Int, 1), frozenset([1]), int, float]
LEAVES += [frozenset([1.0]), frozenset([(1,)]), frozenset([(True,)]), frozenset(), (frozenset,)]
LEAVES += [(None,), ("1", b"1")]


def test_key_arguments_that_differ_in_value_or_type_never_share(remember):
    """Catch a result that is given for another argument, forged or merely equal."""
    f = remember(lambda x: [x])
    results = [f(x) for x in LEAVES]
    for x, first in zip(LEAVES, results, strict=True):
        assert f(x) is first
        assert type(first[0]) is type(x)
    assert len({id(result) for result in results}) == len(LEAVES)
    assert f.cache_info()[:2] == (len(LEAVES), len(LEAVES))
    f.cache._check()


def test_key_two_arguments_never_share(remember):
    """Catch parts that are told from their neighbours by nothing."""
    decorate = memoize(max_entries=1000) if remember is memoize else remember
    f = decorate(lambda x, y: [x, y])
    some = LEAVES[:20]
    results = {(i, j): f(x, y) for i, x in enumerate(some) for j, y in enumerate(some)}
    for (i, j), first in results.items():
        assert f(some[i], some[j]) is first
    assert len({id(result) for result in results.values()}) == len(results)


def test_key_of_a_call_passed_as_argument_is_another_call(remember):
    """Catch the wrapping of one argument that is taken for the wrapped one."""
    f = remember(lambda x: [x])
    for x in LEAVES:
        first = f(x)
        key = f.cache_key(x)
        if key is not x:
            assert f(key) is not first
            assert f(key)[0] is key


def test_key_equal_arguments_of_one_type_share(remember):
    """Catch a lookup by parts that finds only the very object."""
    f = remember(lambda x: [x])
    for make in (
        lambda: "".join(["a", "b"]),
        lambda: bytes([1, 2]),
        lambda: int("123456"),
        lambda: int("1" + "0" * 40),
        lambda: float("1.5"),
        lambda: (int("1000"), float("2.5"), ("".join(["x", "y"]), None, True)),
        lambda: frozenset([int("1000")]),
        lambda: Decimal("1.5"),
        lambda: Value(3),
        lambda: Keyed("a"),
        lambda: ((((((int("1000"),),),),),),),
        lambda: tuple(range(1000, 1030)),
    ):
        assert f(make()) is f(make())


SPELLED = [
    ((1, 2), {}),
    ((1,), {"y": 2}),
    ((), {"x": 1, "y": 2}),
    ((), {"y": 2, "x": 1}),
    ((1,), {}),
    ((1, 2, 3), {}),
    ((1,), {"z": 3}),
    ((1, 2), {"k": 4}),
    ((1,), {"k": 4, "z": 3, "y": 2}),
]


@pytest.mark.parametrize(("args", "kwargs"), SPELLED)
def test_key_spellings_and_defaults_are_one_call(args, kwargs, remember):
    """Catch a result that is made once per spelling."""
    f = remember(lambda x, y=2, z=3, *, k=4: [x])
    assert f(*args, **kwargs) is f(1)
    assert f.cache_key(*args, **kwargs) == f.cache_key(1)
    assert f(1, k=5) is not f(1)


def test_key_variable_arguments_are_kept_apart(remember):
    """Catch *args and **kwargs that flow into one another, or an order that matters."""
    f = remember(lambda x, /, *rest, **others: [x])
    calls = [((1,), {}), ((1, 2), {}), ((1, (2,)), {}), ((1,), {"a": 2}), ((1, ("a", 2)), {})]
    calls += [((1, "a", 2), {}), ((1,), {"x": 2}), ((1,), {"a": 2.0}), ((1, 2), {"a": 3, "b": 4})]
    results = [f(*args, **kwargs) for args, kwargs in calls]
    assert len({id(result) for result in results}) == len(calls)
    assert [f(*args, **kwargs) for args, kwargs in calls] == results
    assert f(1, 2, b=4, a=3) is results[-1]


def test_key_many_parameters_work(remember):
    """Catch a stack array that is too short."""
    names = [f"p{i}" for i in range(40)]
    scope = {}
    exec(f"def wide({', '.join(names)}): return [p0]", scope)
    f = remember(scope["wide"])
    assert f(*range(40)) is f(**{name: i for i, name in enumerate(names)})
    assert f(*range(39), 0) is not f(*range(40))


def test_key_without_signature_keeps_positions_and_names(remember):
    """Catch a builtin that cannot be memoized."""
    f = remember(max)
    assert f(1, 2) == f(1, 2) == 2
    assert f([1] and (3, 1), default=None) == 3
    assert f(-3, 2, key=abs) == f(-3, 2, key=abs) == -3
    assert f.cache_info().hits == 2


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1, 2, 3), {}), ((1,), {"z": 1}), ((1,), {"x": 1}), ((1, 2), {"y": 2})],
)
def test_key_call_that_does_not_bind_raises_as_the_function(args, kwargs, remember):
    """Catch an error of ours in place of the function's, or a cached one."""

    def plain(x, y=2):
        raise AssertionError

    f = remember(plain)
    with pytest.raises(TypeError) as ours:
        f(*args, **kwargs)
    with pytest.raises(TypeError) as its:
        plain(*args, **kwargs)
    assert str(ours.value) == str(its.value)
    assert f.cache_info() == (0, 0, f.cache.maxsize, 0)
    for method in (f.cache_key, f.invalidate, f.refresh):
        with pytest.raises(TypeError):
            method(*args, **kwargs)


def test_key_positional_only_name_is_no_keyword(remember):
    """Catch a name that binds although the function would refuse it."""
    f = remember(lambda x, /: x)
    with pytest.raises(TypeError, match="positional-only"):
        f(x=1)


# ---- ignore= and key= ----------------------------------------------------------------------------


@pytest.mark.parametrize("ignore", ["log", ("log",), ["log", "rest"], {"others", "log"}])
def test_ignore_parameters_are_left_out(ignore, remember):
    """Catch an ignored argument that still makes a difference, or must be hashable."""
    f = remember(lambda x, log=None, *rest, **others: [x], ignore=ignore)
    assert f(1, []) is f(1, log={}) is f(1)
    assert f(2) is not f(1)
    assert (f(1, 1, 2) is f(1)) == ("rest" in ignore)
    assert (f(1, a=1) is f(1)) == ("others" in ignore)


@pytest.mark.parametrize("ignore", ["z", ("x", "z"), [1]])
def test_ignore_unknown_name_is_refused(ignore, remember):
    """Catch a typing error that makes every call another one."""
    with pytest.raises(ConfigurationError, match="the parameters are x, y"):
        remember(lambda x, y: x, ignore=ignore)
    with pytest.raises(ConfigurationError, match="not both"):
        remember(lambda x, y: x, ignore="x", key=abs)


def test_key_function_makes_the_key(remember):
    """Catch a key function that is asked for less than the whole call."""
    f = remember(lambda x, y=0: [x, y], key=lambda x, y=0: x["id"])
    assert f({"id": 1}) is f({"id": 1}, 5)
    assert f({"id": 2}) is not f({"id": 1})
    with pytest.raises(TypeError, match="unhashable"):
        f({"id": []})
    with pytest.raises(TypeError, match="key must be callable"):
        remember(abs, key=5)


# ---- objects -------------------------------------------------------------------------------------


def test_object_compared_by_identity_is_not_kept_alive(remember):
    """Catch a cache that holds every instance, or takes a new one for an old one."""
    f = remember(lambda x: object())
    seen = set()
    for _ in range(50):
        thing = Plain()
        assert f(thing) is f(thing)
        assert f((thing, 1)) is f((thing, 1))
        seen.add(f(thing))
        ref = weakref.ref(thing)
        del thing
        assert ref() is None
    assert len(seen) == 50


def test_object_by_identity_leaves_the_table_when_it_dies(remember):
    """Catch a table of dead objects."""
    f = remember(lambda x: 1)
    gc.collect()
    things = [Plain() for _ in range(100)]
    keys = [f.cache_key(thing) for thing in things]
    assert len(set(keys)) == 100
    assert keys == [f.cache_key(thing) for thing in things]
    things[0].cycle = things
    del things
    gc.collect()
    again = [f.cache_key(Plain()) for _ in range(100)]
    assert not set(again) & set(keys)


def test_object_not_weakly_referable_is_held_by_its_key(remember):
    """Catch an address that is used again."""
    f = remember(lambda x: object())
    assert len({f(Slotted()) for _ in range(50)}) == 50
    thing = Slotted()
    assert f(thing) is f(thing)


def test_object_with_frys_key_is_known_by_it(remember):
    """Catch a key that is not typed, or not asked for on the type."""
    f = remember(lambda x: [x])
    assert f(Keyed("a")) is f(Keyed("a"))
    assert f(Keyed(1)) is not f(Keyed(1.0))
    assert f(Keyed("a")) is not f("a")
    assert f(Keyed) is f(Keyed)
    with pytest.raises(TypeError, match=r"'x' of type Keyed.*list"):
        f(Keyed([]))


def test_classes_functions_and_modules_are_known_by_identity(remember):
    """Catch two lambdas that are one."""
    f = remember(lambda x: [x])
    some = [Plain, Value, enum, gc, f, lambda: 1, lambda: 1, len, [].append, Plain().__init__]
    results = [f(x) for x in some]
    assert [f(x) is result for x, result in zip(some, results, strict=True)] == [True] * len(some)
    assert len({id(result) for result in results}) == len(some)


def test_identity_survives_copies_and_means_nothing_elsewhere():
    """Catch a pickled number that is another object's in the process that loads it."""
    cache = FrysCache(10)
    f = cache.memoize(lambda x: 1)
    thing = Plain()
    key = f.cache_key(thing)
    assert copy.deepcopy(key) == copy.copy(key) == key
    assert pickle.loads(pickle.dumps(key)) != key
    assert "object" in repr(key)


# ---- what cannot be a key ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f([]), r"argument 'x' of type list is not hashable: .*ignore=.*key="),
        (lambda f: f(1, {}), r"argument 'y' of type dict"),
        (lambda f: f(1, y=(1, [2])), r"argument 'y' of type tuple holds one of type list"),
        (lambda f: f(1, 2, set()), r"argument '\*rest' of type set"),
        (lambda f: f(1, z=bytearray()), r"argument 'z' of type bytearray"),
        (lambda f: f(Value([])), r"argument 'x' of type Value is not hashable"),
    ],
)
def test_unhashable_argument_is_named(call, message, remember):
    """Catch a message that leaves one to search for the argument."""
    f = remember(lambda x, y=0, *rest, **others: 1)
    with pytest.raises(TypeError, match=message):
        call(f)
    assert f.cache_info().currsize == 0
    assert f(1) == 1


class Odd:
    def __hash__(self):
        raise ValueError("odd")


class OddKey:
    def __frys_key__(self):
        raise TypeError("mine")


def test_foreign_errors_in_keys_pass_unchanged(remember):
    """Catch an error of somebody's __hash__ that is taken for our own."""
    f = remember(lambda x, y=0: 1)
    with pytest.raises(ValueError, match="odd"):
        f(Odd())
    with pytest.raises(TypeError, match=r"^mine$"):
        f(OddKey(), 1)


def test_key_of_deep_tuple_is_an_error_and_no_crash(remember):
    """Catch a stack that overflows in C."""
    deep = ()
    for _ in range(100_000):
        deep = (deep,)
    f = remember(lambda x: 1)
    with pytest.raises(RecursionError):
        f(deep)
    while deep:
        (deep,) = deep


# ---- prefixes ------------------------------------------------------------------------------------


def test_prefix_functions_of_one_name_share_nothing():
    """Catch closures and redefinitions that answer for each other."""
    cache = FrysCache(100)

    def make(i):
        return cache.memoize(lambda x: (i, x))

    functions = [make(i) for i in range(4)]
    assert [f(1) for f in functions] == [(i, 1) for i in range(4)]
    names = [f.cache_key(1)[0] for f in functions]
    assert names[0].endswith("<locals>.<lambda>")
    assert [name.removeprefix(names[0]) for name in names] == ["", "#2", "#3", "#4"]
    copied = cache.copy()
    assert copied.memoize(functions[0].__wrapped__).cache_key(1)[0].endswith("#5")


def test_prefix_explicit_name_is_used_as_given_and_once():
    """Catch two functions under one name."""
    cache = MemoryCache(100)
    f = cache.memoize(abs, name="mine")
    assert f.cache_key(-1) == ("mine", -1)
    f(-1)
    again = cache.memoize(abs, name="mine")
    assert (again(-1), again.cache_info().hits) == (1, 1)
    with pytest.raises(ConfigurationError, match="'mine' belongs to another"):
        cache.memoize(len, name="mine")
    with pytest.raises(ConfigurationError, match="'mine' belongs to another"):
        cache.memoize(abs, name="mine", key=lambda x: 1)
    with pytest.raises(TypeError, match="name must be a str"):
        cache.memoize(abs, name=5)
    with pytest.raises(ConfigurationError, match="belongs to"):
        memoize(abs).cache.memoize(len)
