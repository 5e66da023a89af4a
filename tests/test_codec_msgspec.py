"""Beside msgspec: Structs are stored, and what is stored is msgpack that it reads and writes."""

import datetime as dt

import msgspec
import pytest

from frys_cache.codec.registry import register_type
from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import IntegrityError, SerializationError


class Point(msgspec.Struct):
    x: int
    y: object = None
    items: list = []

    def __post_init__(self):
        if self.x == 13:
            raise AssertionError("__post_init__ runs")


class Fixed(msgspec.Struct, frozen=True, cache_hash=True, kw_only=True, tag=True, rename="camel"):
    first_name: str
    inner: object = None


class Light(msgspec.Struct, frozen=True, gc=False, array_like=True):
    a: int


class Open(msgspec.Struct, dict=True, weakref=True):
    a: int


class Derived(Point):
    z: int = 3


for cls in (Point, Fixed, Light, Open, Derived):
    register_type(cls, name=f"struct {cls.__name__}")


@pytest.mark.parametrize(
    "value",
    [
        Point(1), Point(2, (Point(3), b"x")), Fixed(first_name="a", inner=Light(2)), Light(1),
        Open(1), Derived(1, z=5), [Fixed(first_name="b")], {Fixed(first_name="c"): Point(1)},
    ],
    ids=repr,
)  # fmt: skip
def test_struct_comes_back_as_it_was(value):
    """Catches a field or an option of a Struct that is not seen."""
    for _ in range(2):
        back = decode_value(*encode_value(value))
        assert type(back) is type(value)
        assert back == value
        assert repr(back) == repr(value)
        if isinstance(value, Fixed):
            assert hash(back) == hash(value)  # which is kept in the Struct from now on


def test_struct_does_not_run():
    """Catches a __post_init__ that reading calls."""
    value = Point(1)
    value.x = 13
    assert decode_value(*encode_value(value)).x == 13


def test_attribute_beside_the_fields_is_refused():
    """Catches what dict=True lets in and would be left behind."""
    value = Open(1)
    value.more = 2
    with pytest.raises(SerializationError, match="Open with an attribute that is no field, 'more'"):
        encode_value(value)


def test_struct_equal_to_itself_alone_is_no_key():
    """Catches a set that comes back unequal."""

    class Alone(msgspec.Struct, frozen=True, eq=False):
        a: int

    register_type(Alone, name="struct Alone")
    with pytest.raises(SerializationError, match="equal to nothing but itself"):
        encode_value({Alone(1)})


def test_struct_that_is_not_registered_is_refused():
    """Catches a Struct that is stored as the dict of its fields."""

    class Unknown(msgspec.Struct):
        a: int

    with pytest.raises(SerializationError, match=r"call register_type\(.*Unknown, name=...\)"):
        encode_value(Unknown(1))


PLAIN = [
    {"a": [1, -1, 2**63, -(2**63), 1.5, None, True], "b": {"c": b"x" * 300, "d": "ä" * 300}},
    {i: [i, -i] for i in (0, 127, 128, 255, 256, 65_535, 65_536, 2**32)},
    [list(range(20)), dict.fromkeys("abcdefghijklmnopq")],
    [dt.datetime(y, 2, 3, 4, 5, 6, us, tzinfo=dt.UTC)
     for y in (1, 1969, 1970, 2024, 2106, 2600, 9999) for us in (0, 1, 999_999)],
]  # fmt: skip


@pytest.mark.parametrize("value", PLAIN, ids=lambda value: repr(value)[:30])
def test_plain_value_is_plain_msgpack(value):
    """Catches bytes that no other program could read."""
    code, body = encode_value(value)
    assert msgspec.msgpack.decode(body, strict=False) == value
    assert body == msgspec.msgpack.encode(value)
    assert decode_value(code, msgspec.msgpack.encode(value)) == value


def test_extension_is_seen_by_others():
    """Catches a payload that is no item of its own."""
    seen = []
    hook = lambda code, data: seen.append((code, bytes(data)))  # noqa: E731
    msgspec.msgpack.decode(encode_value([(1, "a"), {2}])[1], ext_hook=hook)
    assert [(code, msgspec.msgpack.decode(data)) for code, data in seen] == [
        (2, [1, "a"]),
        (3, [2]),
    ]


def test_bytes_of_others_are_refused_where_types_would_differ():
    """Catches a float of 32 bits, which would come back as one of 64."""
    with pytest.raises(IntegrityError, match="never written"):
        decode_value(3, b"\x91\xca\x3f\x80\0\0")
