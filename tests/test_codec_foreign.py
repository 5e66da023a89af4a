"""Values beside foreign code: metaclasses, `__hash__`, `__eq__`, odd objects, other threads."""

import collections
import sys
import threading
from dataclasses import dataclass

import pytest
from hostile import Untold

from frys_cache.codec.registry import register_type
from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import ConfigurationError, SerializationError, Unreadable

# Without one, CPython 3.13 itself crashes when a bytearray is resized while bytes() copies it.
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def registered(name):
    """Return a decorator that registers a class under a name."""
    return lambda cls: register_type(cls, name=f"foreign {name}")


def there_and_back(value):
    """Return what comes back."""
    return decode_value(*encode_value(value))


@registered("box")
@dataclass
class Box:
    value: object


@registered("frozen")
@dataclass(frozen=True)
class Frozen:
    x: object
    y: object = None


class Name(str):
    __slots__ = ()


class Lying(dict):
    """A __dict__ that says what it likes."""

    def copy(self):
        raise AssertionError("foreign code runs")

    __getitem__ = __iter__ = __contains__ = __len__ = items = copy


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (Lying(x=1, y=2), "whose __dict__ is of type Lying: give it a plain dict"),
        (collections.OrderedDict(x=1, y=2), "whose __dict__ is of type OrderedDict"),
        ({"x": 1, "y": 2, 3: 4}, "an attribute whose name is no str but of type int"),
        ({Name("x"): 1, "y": 2}, "an attribute whose name is no str but of type Name"),
    ],
    ids=repr,
)
def test_odd_dict_of_an_object_is_refused(own, message):
    """Catches lies that are stored, or a TypeError of ours, where a __dict__ was replaced."""
    value = Frozen(1)
    object.__setattr__(value, "__dict__", own)
    with pytest.raises(SerializationError, match=f"value\\.value is a Frozen .*{message}"):
        encode_value(Box(value))


def test_descriptor_added_later_does_not_run():
    """Catches a property of a class that is already registered, run by reading."""

    @dataclass
    class Late:
        a: int

    register_type(Late, name="late")
    value = Late(1)

    def run(*args):
        raise AssertionError("foreign code runs")

    Late.a = property(run, run)
    back = there_and_back(value)
    assert back.__dict__ == {"a": 1}


def test_metaclass_that_raises_is_not_asked():
    """Catches an exception of foreign code in place of a refusal, or of nothing at all."""
    odd = type.__call__(Untold, "Odd", (), {})
    below = type.__call__(Untold, "Below", (dict,), {})
    for cls, words in ((odd, "Odd"), (below, "Below, a subclass of dict")):
        with pytest.raises(SerializationError, match=rf"value\[0\] is of type {words}"):
            encode_value([cls()])
        with pytest.raises(ConfigurationError, match=r"Odd|Below"):
            register_type(cls, name="odd")
    known = type.__call__(
        Untold, "Known", (), {"__dataclass_fields__": Box.__dataclass_fields__, "number": 1}
    )
    with pytest.raises(ConfigurationError, match=r"Known cannot be asked for its .*LookupError"):
        register_type(known, name="known")


@registered("mutable")
@dataclass(unsafe_hash=True)
class Mutable:
    a: object


@registered("no eq")
@dataclass(eq=False)
class NoEq:
    a: int = 1


@registered("hash of object")
@dataclass
class HashOfObject:
    a: int = 1
    __hash__ = object.__hash__


@pytest.mark.parametrize("wrap", [lambda o: o, lambda o: (o,), lambda o: frozenset([(o, 7)])])
def test_items_changed_since_are_refused(wrap):
    """Catches a set or dict that is written and cannot be read, or comes back unequal."""
    one, two = Mutable(1), Mutable(2)
    items = {wrap(one), wrap(two)}
    values = dict.fromkeys(items, 0)
    for whole in (items, frozenset(items), values):
        assert there_and_back(whole) == whole
    two.a = 1
    for whole in (items, frozenset(items), values):
        with pytest.raises(SerializationError, match=r"value\[0\].*changed since they were put in"):
            encode_value([whole])
    two.a = 3  # no two are equal now; but one is not found
    for whole in (items, values):
        with pytest.raises(SerializationError, match="changed since they were put in"):
            encode_value(whole)
    two.a = 2
    assert there_and_back(values) == values
    two.a = []
    with pytest.raises(SerializationError, match="__hash__ or __eq__ raises TypeError"):
        encode_value(items)


@pytest.mark.parametrize("item", [NoEq(), HashOfObject(), (NoEq(),), Frozen(NoEq())], ids=repr)
def test_item_equal_to_itself_alone_is_refused(item):
    """Catches a set or dict that comes back unequal."""
    for whole in ({item}, frozenset([item]), {item: 1}):
        with pytest.raises(SerializationError, match="equal to nothing but itself, in a set or a"):
            encode_value([whole])
    assert type(there_and_back({"a": item})["a"]) is type(item)


def test_equality_that_was_another_is_no_damage():
    """Catches a record deleted because a newer class holds two of its keys equal."""

    @dataclass(frozen=True)
    class Changing:
        a: int

        def __hash__(self):
            return 7

    register_type(Changing, name="changing")
    items = [Changing(1), Changing(2)]
    pairs = [encode_value(whole) for whole in (set(items), dict.fromkeys(items))]
    Changing.__eq__ = lambda self, other: True
    for pair in pairs:
        with pytest.raises(Unreadable, match="twice"):
            decode_value(*pair)


@pytest.mark.parametrize("error", [MemoryError, RecursionError, ValueError])
def test_error_of_user_code_is_no_damage(error):
    """Catches a record deleted because the reader is deep, or its class is broken."""

    @dataclass(frozen=True)
    class Raising:
        a: int

        def __hash__(self):
            if broken:
                raise error("no room")
            return 7

    register_type(Raising, name=f"raising {error.__name__}")
    broken = False
    pair = encode_value({Raising(1)})
    assert decode_value(*pair) == {Raising(1)}
    broken = True
    with pytest.raises(Unreadable if error is ValueError else error):
        decode_value(*pair)


def test_value_changed_by_threads_is_whole_or_refused():
    """Catches a crash, or bytes that cannot be read, when another thread writes meanwhile."""
    shared = {"list": [], "dict": {}, "set": set(), "bytes": bytearray()}
    stop = threading.Event()
    caught = []

    def change(number):
        try:
            while not stop.is_set():
                for i in range(60):
                    shared["list"].append((number, i))
                    shared["dict"][number, i] = [i]
                    shared["set"].add((number, i))
                    if GIL:
                        shared["bytes"].append(i)
                shared["list"].clear()
                shared["dict"].clear()
                shared["set"].clear()
                shared["bytes"].clear()
        except BaseException as error:
            caught.append(error)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        whole, refusals = 0, set()
        for _ in range(3000):
            try:
                pair = encode_value(shared)
            except SerializationError as error:
                refusals.add(str(error).partition(" ")[2][:27])
                continue
            assert list(decode_value(*pair)) == list(shared)
            whole += 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert whole
    assert not caught
    assert refusals <= {"was changed by another thre"}
