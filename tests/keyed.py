"""Keys of every kind for tests of their bytes: strategies, a table of few values, subclasses."""

import collections
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    UTC,
    BERLIN,
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kolkata"),
    timezone(timedelta(hours=2)),
    timezone(timedelta(hours=-23, minutes=-59, seconds=-59, microseconds=-999999)),
]

# Any code point, lone surrogates too.
texts = st.text(st.characters(exclude_categories=())) | st.text("a\x00\x01\xff\ud800\U00010000")
raws = st.binary() | st.lists(st.sampled_from([b"\x00", b"\x01", b"\xff", b"a"])).map(b"".join)
ints = st.integers() | st.integers(-300, 300) | st.integers(-(2**1100), 2**1100)
floats = st.floats(allow_nan=False)
decimals = st.decimals(allow_nan=False) | floats.map(Decimal) | ints.map(Decimal)


@st.composite
def instants(draw):
    """Return aware datetimes, many of them at the same few instants in different zones."""
    moment = draw(
        st.sampled_from([datetime(2024, 1, 15, 12, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)])
        | st.datetimes(datetime(1970, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))
    )
    moment = moment.astimezone(draw(st.sampled_from(ZONES)))
    return moment if is_plain(moment) else moment.astimezone(UTC)


def is_plain(moment):
    """Return whether an aware datetime is in neither a fold nor a gap."""
    return moment.utcoffset() == moment.replace(fold=1 - moment.fold).utcoffset()


# A few values in many types: most pairs of these are equal, or differ in their type alone.
FEW = [
    *(None, True, False, 1, 0, 1.0, 0.0, -0.0, Decimal(1), Decimal("1.0"), Decimal("-0.00")),
    *("", "1", "\x00", "s", b"", b"1", b"\x00", b"s", (), (1,), (True,), ((),), ("",), (b"",)),
    *(
        0.5,
        Decimal("0.5"),
        Decimal("0.50"),
        0.1,
        Decimal("0.1"),
        Decimal.from_float(0.1),  # noqa: FURB164
        Decimal("0.10"),
    ),
    *(float("inf"), Decimal("inf"), float("-inf"), Decimal("-inf"), 1e300, Decimal(int(1e300))),
    *(int(1e300), 10**300, Decimal("1e300"), 2**53, 2.0**53, 2**53 + 1, Decimal(2**53 + 1)),
    *(date(2024, 1, 15), datetime(2024, 1, 15), datetime(2024, 1, 15, fold=1)),
    *(datetime(2024, 1, 15, 12, tzinfo=zone) for zone in ZONES),
    *(uuid.UUID(int=1), uuid.UUID(int=2)),
]
scalars = (
    st.sampled_from(FEW)
    | st.none()
    | st.booleans()
    | texts
    | raws
    | ints
    | floats
    | decimals
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | instants()
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)


def in_other_types(key):
    """Return keys that Python holds equal to a key, of other types where there are some."""
    if isinstance(key, tuple):
        return st.tuples(*map(in_other_types, key)).map(lambda items: Pair(*items)) | st.tuples(
            *map(in_other_types, key)
        )
    same = [key]
    if isinstance(key, (int, float)):
        same += [Decimal(key), MyDecimal(key)]
        same += [MyFloat(key)] if isinstance(key, float) else [MyInt(key)]
        same += (
            [MyInt(key), MyFloat(key), float(key)] if abs(key) < 2**53 and key == int(key) else []
        )
    elif isinstance(key, Decimal) and key.is_finite():
        sign, digits, exponent = key.as_tuple()
        same += [Decimal((sign, (*digits, 0, 0), exponent - 2))] if exponent > -1000 else []
    elif isinstance(key, str):
        same += [MyStr(key)]
    elif isinstance(key, bytes):
        same += [MyBytes(key)]
    elif isinstance(key, datetime) and key.tzinfo is not None:
        same += [m for m in (key.astimezone(zone) for zone in ZONES) if is_plain(m)]
    elif isinstance(key, datetime):
        same += [key.replace(fold=1)]
    return st.sampled_from(same)


class MyStr(str):
    __slots__ = ()

    def encode(self, *args):
        raise AssertionError("an overridden method of a subclass was called")

    __str__ = __getitem__ = __iter__ = encode


class MyBytes(bytes):
    def __bytes__(self):
        raise AssertionError("an overridden method of a subclass was called")

    __getitem__ = __iter__ = replace = __bytes__


class MyInt(int):
    def bit_length(self):
        raise AssertionError("an overridden method of a subclass was called")

    __int__ = __index__ = to_bytes = bit_length


class MyFloat(float):
    def is_integer(self):
        raise AssertionError("an overridden method of a subclass was called")

    __float__ = __int__ = is_integer


class MyDecimal(Decimal):
    def adjusted(self):
        raise AssertionError("an overridden method of a subclass was called")

    __float__ = __format__ = as_tuple = adjusted


class Pair(tuple):
    def __new__(cls, *items):
        return super().__new__(cls, items)

    def __iter__(self):
        raise AssertionError("an overridden method of a subclass was called")


class Own:
    """A type with a key of its own."""

    def __init__(self, key):
        self.key = key

    def __frys_key__(self):
        if isinstance(self.key, Exception):
            raise self.key
        return self.key


class Other(Own):
    pass


class Point(collections.namedtuple("Point", "x y")):
    pass
