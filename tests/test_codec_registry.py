"""Registered types: taken apart and put together without running the class, by name alone."""

import abc
import contextlib
import enum
import functools
import threading
from dataclasses import InitVar, dataclass, field
from typing import ClassVar, Generic, TypeVar

import pytest

from frys_cache.codec import registry
from frys_cache.codec.registry import register_type
from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import ConfigurationError, IntegrityError, SerializationError, Unreadable


def registered(name):
    """Return a decorator that registers a class under a name."""
    return lambda cls: register_type(cls, name=name)


@registered("plain")
@dataclass
class Plain:
    number: int
    items: list = field(default_factory=list)
    shared: ClassVar[int] = 3
    seed: InitVar[int] = 0


@registered("frozen")
@dataclass(frozen=True)
class Frozen:
    x: int
    y: object = None


@registered("slots")
@dataclass(slots=True)
class Slots:
    a: object
    b: int = 2


@registered("frozen slots")
@dataclass(frozen=True, slots=True, weakref_slot=True)
class FrozenSlots:
    a: object


@registered("keyword")
@dataclass(kw_only=True, order=True)
class Keyword:
    a: int


@registered("derived")
@dataclass
class Derived(Plain):
    more: object = None


T = TypeVar("T")


@registered("generic")
@dataclass
class Box(Generic[T]):
    value: T


@registered("not init")
@dataclass
class NotInit:
    a: int
    total: int = field(init=False)
    constant: int = field(init=False, default=5)


@registered("loud")
@dataclass
class Loud:
    a: int

    def __post_init__(self):
        raise AssertionError("__post_init__ runs")

    def __new__(cls, *args):
        raise AssertionError("__new__ runs")

    def __setattr__(self, name, value):
        raise AssertionError("__setattr__ runs")

    def __getattribute__(self, name):
        raise AssertionError("__getattribute__ runs")


@registered("colour")
class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796
    BLUE = ("any", ["thing"])


@registered("word")
class Word(enum.StrEnum):
    A = "a"


@registered("number")
class Number(enum.IntEnum):
    ONE = 1


@registered("flags")
class Flags(enum.Flag):
    R = 1
    W = 2


def there_and_back(value):
    """Return what comes back."""
    return decode_value(*encode_value(value))


@pytest.mark.parametrize(
    "value",
    [
        Plain(1), Plain(2, [Plain(3)]), Frozen(1, (Frozen(2),)), Slots({"k": Slots(1)}),
        FrozenSlots((1, 2)), Keyword(a=1), Derived(1, [2], Frozen(3)), Box(Box("x")),
        [Slots(1), (Frozen(1),)], {Frozen(1): FrozenSlots(2)}, {Frozen(1), Frozen(2)},
    ],
    ids=repr,
)  # fmt: skip
def test_dataclass_comes_back_as_it_was(value):
    """Catches a field that is lost, or is of another type, however the class keeps it."""
    back = there_and_back(value)
    assert type(back) is type(value)
    assert back == value
    assert repr(back) == repr(value)


def test_field_that_is_not_in_init_is_kept():
    """Catches fields taken from __init__, and a class's default that becomes the object's."""
    value = NotInit(1)
    with pytest.raises(SerializationError, match=r"value is a NotInit whose field 'total' has no"):
        encode_value(value)
    value.total = 3
    back = there_and_back(value)
    assert back == value
    assert vars(back) == {"a": 1, "total": 3}
    value.constant = 6
    assert vars(there_and_back(value)) == {"a": 1, "total": 3, "constant": 6}


def test_class_does_not_run():
    """Catches __init__, __new__, __post_init__ or __setattr__ called to make what is read."""
    value = object.__new__(Loud)
    object.__setattr__(value, "a", 7)
    back = there_and_back(value)
    assert type(back) is Loud
    assert object.__getattribute__(back, "a") == 7
    assert object.__getattribute__(back, "__dict__") == {"a": 7}


@pytest.mark.parametrize("value", [*Colour, *Word, *Number, *Flags, Colour.CRIMSON], ids=str)
def test_member_comes_back_as_itself(value):
    """Catches a member that becomes its value, and an alias that becomes another."""
    assert there_and_back(value) is value
    assert there_and_back({value: [value]}) == {value: [value]}
    assert next(iter(there_and_back({value: 1}))) is value


def test_member_without_a_name_is_refused():
    """Catches a combination of flags that no name stands for."""
    with pytest.raises(SerializationError, match=r"value\[0\] is no named member of Flags"):
        encode_value([Flags.R | Flags.W])


def test_refused_field_is_named():
    """Catches a path that ends at the object."""
    with pytest.raises(SerializationError, match=r"value\.value\[0\] is of type type"):
        encode_value(Box([Box]))


def test_extra_attribute_is_refused():
    """Catches state beside the fields that is silently left behind."""
    value = Plain(1)
    value.note = "x"
    with pytest.raises(SerializationError, match=r"value\.x is a Plain with .* no field, 'note'"):
        encode_value(Frozen(value))

    class Hidden:
        __slots__ = ("hidden",)

    @registered("spare slot")
    @dataclass(slots=True)
    class Spare(Hidden):
        a: int

    spare = Spare(1)
    assert there_and_back(spare) == spare
    spare.hidden = 2
    with pytest.raises(SerializationError, match="no field, 'hidden'"):
        encode_value(spare)

    @registered("cached property")
    @dataclass
    class Cached:
        a: int

        @functools.cached_property
        def twice(self):
            return 2 * self.a

    cached = Cached(1)
    assert there_and_back(cached) == cached
    assert cached.twice == 2
    with pytest.raises(SerializationError, match="no field, 'twice'"):
        encode_value(cached)


def test_empty_slot_is_refused():
    """Catches an object that comes back without a field, as it is."""
    value = Slots(1)
    del value.a
    with pytest.raises(SerializationError, match="Slots whose field 'a' has no value"):
        encode_value(value)


def test_subclass_is_another_class():
    """Catches an object that comes back as one of its base class."""

    class Sub(Plain):
        pass

    @dataclass
    class Deeper(Plain):
        pass

    with pytest.raises(SerializationError, match=r"value\[0\] is of type .*Sub"):
        encode_value([Sub(1)])
    with pytest.raises(SerializationError, match=r"call register_type\(.*Deeper, name="):
        encode_value(Deeper(1))
    with pytest.raises(ConfigurationError, match="is no dataclass, no msgspec"):
        register_type(Sub, name="sub")


def test_cycle_through_fields_is_refused():
    """Catches an endless walk through objects."""
    value = Plain(1)
    value.items.append(value)
    with pytest.raises(SerializationError, match=r"value\.items\[0\]\.items\[0\].*contains itself"):
        encode_value(value)
    value.items.clear()


# ---- registering ---------------------------------------------------------------------------------


def test_register_type_returns_the_class_and_may_be_repeated():
    """Catches a module that cannot be imported twice."""
    assert register_type(Plain, name="plain") is Plain


def test_taken_name_or_class_is_refused():
    """Catches a class that is read as another."""

    @dataclass
    class Other:
        a: int

    with pytest.raises(ConfigurationError, match=r"'plain' stands for .*\.Plain: give .*Other ano"):
        register_type(Other, name="plain")
    with pytest.raises(ConfigurationError, match=r"Plain is registered as 'plain', not 'other'"):
        register_type(Plain, name="other")
    with pytest.raises(SerializationError):
        encode_value(Other(1))


class Property:
    @property
    def a(self):
        return 1

    @a.setter
    def a(self, value):
        raise AssertionError


@dataclass
class WithProperty(Property):
    a: int
    a = Property.a  # noqa: PIE794 - its default


@dataclass
class OfDict(dict):
    a: int = 1


@dataclass
class OfError(Exception):
    a: int = 1


@dataclass
class Abstract(abc.ABC):
    a: int

    @abc.abstractmethod
    def do(self): ...


class NoDataclass:
    pass


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (WithProperty, "field 'a' of .*WithProperty is a property, whose code would run"),
        (OfDict, "OfDict cannot be made of its fields"),
        (OfError, "OfError cannot be made of its fields"),
        (Abstract, "Abstract cannot be made of its fields"),
        (NoDataclass, "NoDataclass is no dataclass, no msgspec.Struct and no Enum"),
        (int, "int is no dataclass"),
    ],
)
def test_class_that_cannot_be_taken_apart_is_refused(cls, message):
    """Catches a class with more in it than its fields."""
    with pytest.raises(ConfigurationError, match=message):
        register_type(cls, name="refused")


@pytest.mark.parametrize("name", ["", "x" * 256, "ä" * 128])
def test_name_of_another_length_is_refused(name):
    """Catches a name that every record would carry."""
    with pytest.raises(ConfigurationError, match=r"name has \d+ bytes, it may have 1 to 255"):
        register_type(NoDataclass, name=name)


def test_argument_of_another_type_is_refused():
    """Catches an instance taken for its class."""
    with pytest.raises(TypeError, match="takes a class"):
        register_type(Plain(1), name="x")
    with pytest.raises(TypeError, match="name is a str, not bytes"):
        register_type(Plain, name=b"x")


def test_threads_register_each_name_once():
    """Catches two classes under one name when threads import at the same time."""
    classes = [dataclass(type(f"C{i}", (), {"__annotations__": {"a": int}})) for i in range(8)]
    barrier, won = threading.Barrier(8), []

    def register(cls):
        barrier.wait()
        with contextlib.suppress(ConfigurationError):
            won.append(register_type(cls, name="contended"))

    threads = [threading.Thread(target=register, args=(cls,)) for cls in classes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert there_and_back(won[0](1)) == won[0](1)


class Name(str):
    __slots__ = ()


def test_enum_that_overrides_name_is_stored_by_its_own_names():
    """Catches a crash, or another name, where `name` is a property that returns what it likes."""

    class Shown(enum.Enum):
        A = 1
        B = 2
        ALIAS = 1  # noqa: PIE796

        @property
        def name(self):
            return 0xDEAD if self is Shown.A else "A"

    register_type(Shown, name="shown")
    assert [there_and_back(member) for member in Shown] == list(Shown)
    assert b"A" in encode_value(Shown.ALIAS)[1]
    assert b"B" in encode_value(Shown.B)[1]


def test_name_that_is_no_plain_str_is_refused():
    """Catches a name that C reads as a str, and is none."""

    @dataclass
    class Fields:
        a: int

    Fields.__dataclass_fields__["a"].name = 7
    odd = enum.Enum("odd", [(Name("A"), 1)])
    for cls in (Fields, odd):
        with pytest.raises(ConfigurationError, match=r"has a name of type (int|Name): name its"):
            register_type(cls, name="odd names")
    for fields, members in ((("a", Name("b")), None), ((), {7: None})):
        with pytest.raises(TypeError, match=r"a name is a str, not (int|Name)"):
            registry._register(
                Fields, "odd names", fields, (), (), frozenset(), True, members, False
            )
    with pytest.raises(SerializationError, match="call register_type"):
        encode_value(Fields(1))


# ---- reading -------------------------------------------------------------------------------------


def packed(name, rest, code=13):
    """Return the body of a registered object whose fields are these bytes."""
    body = b"\x92" + bytes([0xA0 | len(name)]) + name + rest
    fixed = {1: b"\xd4", 2: b"\xd5", 4: b"\xd6", 8: b"\xd7", 16: b"\xd8"}
    return fixed.get(len(body), b"\xc7" + bytes([len(body)])) + bytes([code]) + body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (packed(b"unheard", b"\x80"), "'unheard', which is not registered here: call"),
        (packed(b"frozen", b"\x80"), "Frozen has a field 'x', which a stored value has not"),
        (packed(b"frozen", b"\x82\xa1x\x01\xa1z\x01"), "Frozen has no field 'z', which a stored"),
        (packed(b"frozen", b"\x82\xa1x\x01\xa1x\x01"), "the same key twice"),
        (packed(b"frozen", b"\x82\xa1x\x01\x05\x01"), "Frozen has no field 5"),
        (packed(b"frozen", b"\x90"), "without its fields"),
        (packed(b"frozen", b"\x81\xa1x\x01\xc0"), "an extension is longer than its item"),
        (packed(b"frozen", b"\xa1x", 14), "'frozen' what .*Frozen is not"),
        (packed(b"colour", b"\x80", 13), "'colour' what .*Colour is not"),
        (packed(b"colour", b"\xa5GREEN", 14), "Colour has no member 'GREEN'"),
        (packed(b"colour", b"\x01", 14), "a member of an enum without its name"),
        (packed(b"plain", b"\x82\xa6number\x01\xa5items" + packed(b"plain", b"\x80")),
         "Plain has a field 'number'"),
    ],
)  # fmt: skip
def test_damaged_object_says_what_is_wrong(body, message):
    """Catches an object with fields that are missing or not its own."""
    with pytest.raises(IntegrityError, match=message):
        decode_value(3, body)


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (13, b"\x92\xa7unheard\x80"),
        (13, b"\x92\xa6frozen\x80"),
        (13, b"\x92\xa6frozen\x82\xa1x\x01\xa1z\x01"),
        (14, b"\x92\xa6frozen\xa1x"),
        (14, b"\x92\xa6colour\xa5GREEN"),
    ],
)
def test_object_of_another_version_is_no_damage(code, body):
    """Catches a record of a newer or older program that is deleted as damaged."""
    with pytest.raises(Unreadable):
        decode_value(3, b"\xc7" + bytes([len(body), code]) + body)
    with pytest.raises(IntegrityError) as caught:
        decode_value(3, b"\xc7" + bytes([len(body) + 1, code]) + body)
    assert type(caught.value) is IntegrityError


def test_added_field_with_a_default_is_read_from_older_bytes():
    """Catches a cache that is lost with each new field."""
    assert decode_value(3, packed(b"frozen", b"\x81\xa1x\x01")) == Frozen(1, None)


def test_alias_of_a_member_is_not_its_name():
    """Catches a member that can be written in two ways."""
    assert b"CRIMSON" not in encode_value(Colour.CRIMSON)[1]


def test_registry_asks_no_package_that_is_absent(monkeypatch):
    """Catches msgspec imported for classes that have nothing to do with it."""
    monkeypatch.setitem(registry.sys.modules, "msgspec", None)

    @dataclass
    class Alone:
        a: int

    register_type(Alone, name="alone")
    assert there_and_back(Alone(1)) == Alone(1)
