"""Keys as bytes: equal in Python if and only if equal in bytes, in order, and back again."""

import enum
import uuid
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from keyed import (
    BERLIN,
    FEW,
    MyStr,
    Other,
    Own,
    Point,
    in_other_types,
    ints,
    keys,
    raws,
    scalars,
    texts,
)

from frys_cache.codec.keys import decode_key, encode_key, encode_prefix


@settings(deadline=None)
@given(keys, keys)
@example((1, 2), (1.0, Decimal("2.00")))
@example(("a\x00", "b"), ("a", "\x00b"))
@example(("", ""), ("\x00\x01",))
def test_encode_key_two_keys_are_equal_iff_bytes_are(one, other):
    """Catch two keys that share a record, and one key that has two."""
    assert (encode_key(one) == encode_key(other)) == (one == other)


@pytest.mark.parametrize("one", FEW, ids=repr)
def test_encode_key_few_values_in_many_types_are_equal_iff_bytes_are(one):
    """Catch a type forgotten beside another: every pair of the table is tried."""
    for other in FEW:
        assert (encode_key(one) == encode_key(other)) == (one == other), (one, other)


@settings(deadline=None)
@given(st.data())
def test_encode_key_equal_key_of_other_type_has_equal_bytes(data):
    """Catch an equal key of another type, zone or subclass that is stored beside the first."""
    key = data.draw(keys)
    same = data.draw(in_other_types(key))
    assert same == key
    assert encode_key(same) == encode_key(key)


@settings(deadline=None)
@given(keys)
def test_decode_key_of_encoded_key_is_equal_and_hashes_equal(key):
    """Catch a key that a scan gives back as another."""
    data = encode_key(key)
    back = decode_key(data)
    assert back == key
    assert hash(back) == hash(key)
    assert encode_key(back) == data
    assert type(data) is bytes


@settings(deadline=None)
@given(texts, texts)
@example("\uffff", "\U00010000")
@example("\ud800\udc00", "\U00010000")
def test_encode_key_order_of_str_is_order_of_bytes(one, other):
    """Catch a scan that is out of order, or that stops before the end of a prefix."""
    assert (encode_key(one) < encode_key(other)) == (one < other)
    assert (encode_key((one, 1)) < encode_key((other, 1))) == (one < other)


@settings(deadline=None)
@given(raws, raws)
def test_encode_key_order_of_bytes_is_order_of_bytes(one, other):
    """Catch an escape that changes the order."""
    assert (encode_key(one) < encode_key(other)) == (one < other)
    assert (encode_key((one, 1)) < encode_key((other, 1))) == (one < other)


@settings(deadline=None)
@given(ints, ints)
def test_encode_key_order_of_int_is_order_of_bytes(one, other):
    """Catch a length or a sign that sorts the wrong way, at the long form too."""
    assert (encode_key(one) < encode_key(other)) == (one < other)


@pytest.mark.parametrize("bits", [*range(20), 1007, 1008, 1009, 1015, 1016, 1017, 4000])
def test_encode_key_int_at_edge_of_its_size_sorts_and_comes_back(bits):
    """Catch an error by one where an int needs another byte."""
    near = [sign * (1 << bits) + step for sign in (-1, 1) for step in (-1, 0, 1)]
    assert [decode_key(encode_key(key)) for key in near] == near
    assert sorted(near, key=encode_key) == sorted(near)


@settings(deadline=None)
@given(texts, texts | raws)
@example("", b"")
def test_encode_prefix_of_str_starts_exactly_the_keys_with_it(prefix, key):
    """Catch an invalidated prefix that reaches too far, or not far enough."""
    for whole in (key, prefix + key if isinstance(key, str) else key):
        expected = isinstance(whole, str) and whole.startswith(prefix)
        assert encode_key(whole).startswith(encode_prefix(prefix)) == expected


@settings(deadline=None)
@given(raws, texts | raws)
@example(b"", "")
def test_encode_prefix_of_bytes_starts_exactly_the_keys_with_it(prefix, key):
    """Catch a bytes prefix that finds str keys."""
    for whole in (key, prefix + key if isinstance(key, bytes) else key):
        expected = isinstance(whole, bytes) and whole.startswith(prefix)
        assert encode_key(whole).startswith(encode_prefix(prefix)) == expected


@settings(deadline=None)
@given(scalars | keys)
def test_encode_prefix_empty_starts_keys_of_its_type_alone(key):
    """Catch another type whose tag is that of str or bytes."""
    assert encode_key(key).startswith(encode_prefix("")) == isinstance(key, str)
    assert encode_key(key).startswith(encode_prefix(b"")) == isinstance(key, bytes)


def test_encode_prefix_of_other_type_raises_typeerror():
    """Catch a number taken as a prefix of everything."""
    with pytest.raises(TypeError, match="a prefix is str or bytes, not int"):
        encode_prefix(1)


def test_encode_key_str_and_bytes_alone_are_a_tag_and_themselves():
    """Catch an escape on the fast path, which other readers of the store would have to know."""
    assert encode_key("a\x00é") == b"sa\x00\xc3\xa9"
    assert encode_key(b"\x00\x01") == b"b\x00\x01"


def test_encode_key_forms_stay_as_they_are_stored():
    """Catch a change of the format, under which everything stored would be lost."""
    zone = timezone(timedelta(hours=1))
    key = (None, 1, -1, 300, 0.5, Decimal("-0.1"), "a\x00", b"b", uuid.UUID(int=7), ())
    expected = (
        b"(ni\x81\x01i\x7f\xfei\x82\x01\x2cf\x3f\xe0\0\0\0\0\0\0d-i\x7f\xfe1\0"
        b"sa\0\xff\0\x01bb\0\x01u" + b"\0" * 15 + b"\x07(\0\0"
    )
    assert encode_key(key) == expected
    assert encode_key(date(1, 1, 1)) == b"D\0\0\0\x01"
    assert encode_key(datetime(1, 1, 1)) == b"l\x80\0\0\0\0\0\0\0"
    assert encode_key(datetime(1, 1, 1, 1, tzinfo=zone)) == b"t\x80\0\0\0\0\0\0\0"
    assert encode_key(Own(1)) == b"okeyed:Own\0\x01i\x81\x01"


def test_encode_key_subclass_with_equality_of_base_is_its_base():
    """Catch an enum or named tuple stored beside the plain key that Python holds equal to it."""

    class Color(enum.IntEnum):
        RED = 1

    class Name(enum.StrEnum):
        ANN = "ann"

    class Flags(enum.IntFlag):
        A = 1

    class Day(datetime):
        pass

    assert encode_key(Color.RED) == encode_key(Flags.A) == encode_key(1)
    assert encode_key(Name.ANN) == encode_key("ann")
    assert encode_key((Name.ANN, Color.RED)) == encode_key(("ann", 1))
    assert encode_key(Point(1, "a")) == encode_key((1, "a"))
    moment = (2024, 1, 15, 12, 0, 0, 0, BERLIN)
    assert encode_key(Day(*moment)) == encode_key(datetime(*moment))


@pytest.mark.parametrize("moment", [datetime.min, datetime.max], ids=["first", "last"])
@pytest.mark.parametrize("hours", [-23, -1, 0, 1, 23])
def test_encode_key_instant_outside_the_years_of_utc_comes_back(moment, hours):
    """Catch an aware datetime near year 1 or 9999 that cannot be decoded in UTC."""
    key = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    back = decode_key(encode_key(key))
    assert back == key
    assert hash(back) == hash(key)
    assert encode_key(back) == encode_key(key)


def test_encode_key_zone_without_offset_is_naive():
    """Catch a tzinfo that says nothing taken as one that says UTC."""

    class Silent(tzinfo):
        def utcoffset(self, when):
            return None

    key = datetime(2024, 1, 1, tzinfo=Silent())
    assert key == datetime(2024, 1, 1)
    assert encode_key(key) == encode_key(datetime(2024, 1, 1))


@pytest.mark.parametrize("plain", [1, "a", b"a", None, (1, "a"), ("m:Own", 1)], ids=repr)
def test_encode_key_own_type_differs_from_plain_key_and_other_types(plain):
    """Catch two types, or a type and its plain key, that share a record."""
    found = {encode_key(key) for key in (plain, Own(plain), Other(plain), Own(Own(plain)))}
    assert len(found) == 4
    assert encode_key(Own(plain)) == encode_key(Own(plain))
    assert decode_key(encode_key(Own(plain))) == plain
    assert decode_key(encode_key(("a", Own(plain), Own(Own(plain))))) == ("a", plain, plain)


def test_encode_key_own_types_are_equal_for_equal_keys():
    """Catch an own key that keeps the type of its parts."""
    assert encode_key(Own((1, "a"))) == encode_key(Own((True, MyStr("a"))))


def test_encode_key_own_key_of_subclass_wins_over_its_base():
    """Catch a subclass with a key of its own that is refused for its equality, or ignored."""

    class Caseless(str):
        def __eq__(self, other):
            return type(other) is Caseless and self.lower() == other.lower()

        def __hash__(self):
            return hash(self.lower())

        def __frys_key__(self):
            return self.lower()

    assert encode_key(Caseless("A")) == encode_key(Caseless("a")) != encode_key("a")


@pytest.mark.parametrize("cls", [bool, bytes, date, datetime, Decimal, float, int, str, tuple])
def test_class_of_keys_is_a_key(cls):
    """Catch a memoized call with a float that no other process finds, or a class as its name."""
    assert decode_key(encode_key(cls)) is cls
    assert decode_key(encode_key(("f", (cls, 1)))) == ("f", (cls, 1))
    assert encode_key(cls) != encode_key(cls.__name__)
