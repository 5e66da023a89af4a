"""Values to bytes and back: the same, type by type, or refused with the part in the way named."""

import collections
import datetime as dt
import enum
import gc
import re
import struct
import sys
import types
import uuid
from datetime import timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from forms import form
from hypothesis import given
from hypothesis import strategies as st

from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import IntegrityError, SerializationError, Unreadable

UTC = dt.UTC
BERLIN = ZoneInfo("Europe/Berlin")
DAY = dt.datetime(2024, 2, 29, 23, 59, 58, 999_999)
DEEPEST = 200


def double(bits):
    """Return the float of these 64 bits."""
    return struct.unpack(">d", struct.pack(">Q", bits))[0]


SAMPLES = [
    None, True, False, 0, 1, -1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1,
    2**63, 2**64 - 1, 2**64, 2**71, -32, -33, -128, -129, -(2**15) - 1, -(2**31) - 1, -(2**63),
    -(2**63) - 1, -(2**64), -(2**71), 10**400, -(10**400),
    0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), double(0x7FF8_0000_0000_0123),
    double(0xFFF8_0000_0000_0001), 5e-324, complex(-0.0, float("nan")), 1j,
    "", "a", "ä", "text", "é" * 40, "\u20ac", "\U0001f600x", "\ud800", "\udfff\ud800", "x" * 70_000,
    b"", b"\0\xff", b"x" * 300, b"x" * 70_000, bytearray(), bytearray(b"abc"), bytearray(300),
    Decimal("1234.50"), Decimal("-0E-7"), Decimal(0), Decimal("1E+999999"), Decimal("NaN"),
    Decimal("-sNaN123"), Decimal("-Infinity"), Decimal("1" * 400),
    uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid4(),
    uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe), uuid.UUID(int=7, is_safe=uuid.SafeUUID.unsafe),
    dt.date.min, dt.date.max, dt.date(2024, 2, 29),
    dt.time.min, dt.time.max, dt.time(1, 2, 3, 4, fold=1),
    dt.time(1, tzinfo=UTC), dt.time(1, tzinfo=BERLIN),
    dt.datetime.min, dt.datetime.max, DAY, DAY.replace(fold=1),
    *(DAY.replace(tzinfo=UTC, year=year) for year in (4, 1904, 1972, 2104, 2516, 9996)),
    dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2024, 1, 1, tzinfo=UTC),
    dt.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    DAY.replace(tzinfo=UTC, fold=1), DAY.replace(tzinfo=BERLIN), DAY.replace(tzinfo=BERLIN, fold=1),
    DAY.replace(tzinfo=timezone(timedelta(hours=-5))),
    DAY.replace(tzinfo=timezone(timedelta(hours=24, microseconds=-1))),
    DAY.replace(tzinfo=timezone(timedelta(hours=-24, microseconds=1))),
    DAY.replace(tzinfo=timezone(timedelta(0), "UTC")),
    DAY.replace(tzinfo=timezone(timedelta(hours=1), "")),
    DAY.replace(tzinfo=timezone(timedelta(hours=1), "Ort\ud800")),
    timedelta(), timedelta.min, timedelta.max, timedelta(-1, 1, 1),
    [], [[]], (), ((),), (1,), tuple(range(300)), list(range(70_000)), set(), {1}, {1, "a", (2,)},
    frozenset(), frozenset({frozenset({1})}), {-0.0}, {}, {"b": 1, "a": 2},
    {1: {2: {3: []}}}, {None: 1, (1, "x"): 2, b"k": 3, 1.5: 4, frozenset({1}): 5, "": 6},
    {"k" * 40: 1, "ä": 2, "x": 3}, dict.fromkeys(range(70_000)), ("x" * 300, ("y" * 70_000,)),
]  # fmt: skip


def there_and_back(value):
    """Return what comes back."""
    return decode_value(*encode_value(value))


# ---- what is kept --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", SAMPLES, ids=lambda value: repr(value)[:40])
def test_sample_comes_back_as_it_was(value):
    """Catches a type, a sign, a bit of a NaN, a zone, a fold or an order that is lost."""
    for wrapped in (value, [value], (value,), {"key": value}, [{"a": (value, value)}]):
        assert form(there_and_back(wrapped)) == form(wrapped)


@st.composite
def named(draw, name):
    """Draw from a strategy whose repr, which hypothesis makes of all that holds it, is short."""
    return draw(globals()[name])


ZONED = st.one_of(
    st.none(),
    st.just(UTC),
    st.timezones(),
    st.builds(
        timezone,
        st.timedeltas(timedelta(hours=-24, microseconds=1), timedelta(hours=24, microseconds=-1)),
    ),
    st.builds(
        timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)), st.text(max_size=8)
    ),
)
ZONES = named("ZONED")
TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HASHED = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.complex_numbers(),
    TEXT,
    st.binary(max_size=40),
    st.decimals().filter(lambda value: not value.is_snan()),
    st.uuids(),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES),
    st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(),
)
LEAVES = HASHED | st.binary(max_size=20).map(bytearray) | st.just(Decimal("sNaN7"))
HASHABLE = st.recursive(
    named("HASHED"),
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
)
KEYS = named("HASHABLE")
VALUES = st.recursive(
    named("LEAVES"),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=5)
        | st.sets(KEYS, max_size=5)
    ),
    max_leaves=20,
)


@given(VALUES)
def test_any_value_comes_back_as_it_was(value):
    """Catches a combination that the samples have not."""
    assert form(there_and_back(value)) == form(value)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"x", 0), ("x", 1), (1, 2), (2**80, 2), (1.0, 2), (True, 2), (None, 2), ([], 3), (1j, 3),
        (Decimal(1), 3), (bytearray(b"x"), 5),
    ],
)  # fmt: skip
def test_code_tells_the_kind_of_value(value, code):
    """Catches a code that a later version would read as another kind."""
    assert encode_value(value)[0] == code


def test_bytes_are_not_copied():
    """Catches a copy of what may be a large file."""
    data = bytes(1000)
    code, body = encode_value(data)
    assert body is data
    assert decode_value(code, body) is data


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"a": [1, None, True]}, b"\x81\xa1a\x93\x01\xc0\xc3"),
        ((1, 2), b"\xc7\x03\x02\x92\x01\x02"),
        ([2**64], b"\x91\xc7\x09\x01\x01" + bytes(8)),
        (Decimal("1.0"), b"\xc7\x03\x071.0"),
        (dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), b"\xd6\xff\0\0\0\x01"),
        (dt.datetime(1, 2, 3, 4, 5, 6, 7), b"\xc7\x0a\x0b\0\x01\2\3\4\5\6\0\0\7"),
        (DAY.replace(tzinfo=BERLIN),
         b"\xc7\x18\x0b\x07\xe8\x02\x1d\x17\x3b\x3a\x0f\x42\x3f\x03Europe/Berlin"),
        (uuid.UUID(int=5), b"\xd8\x08" + bytes(15) + b"\x05"),
    ],
)  # fmt: skip
def test_bytes_are_those_of_the_table(value, body):
    """Catches a change of what is on disks already."""
    assert encode_value(value) == (3, body)


def test_non_ascii_str_keeps_no_copy():
    """Catches a UTF-8 copy that stays in the str for as long as the cache holds it."""
    text = "ä" * 1000
    before = sys.getsizeof(text)
    encode_value(text), encode_value([text, {text: text}])
    assert sys.getsizeof(text) == before


def test_shared_part_comes_back_twice():
    """Catches a promise of identity that is not kept."""
    part = [1]
    first, second = there_and_back([part, part])
    assert first == second == part
    assert first is not second


# ---- what is refused -----------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x")


class MyStr(str):
    __slots__ = ()


class MyInt(int):
    pass


class Colour(enum.Enum):
    RED = 1


class Odd(dt.tzinfo):
    def __repr__(self):
        raise AssertionError("no code of the user runs")


def broken_uuid(*number):
    """Return a UUID that nobody would call one."""
    made = object.__new__(uuid.UUID)
    object.__setattr__(made, "is_safe", uuid.SafeUUID.unknown)
    for one in number:
        object.__setattr__(made, "int", one)
    return made


PLAIN = "store a plain type, or a dataclass"
REFUSED = [
    (object(), "value is of type object, and would not come back as it was: " + PLAIN),
    ({"a": [1, 2, 3, Point(1)]}, "value['a'][3] is of type Point, a subclass of tuple"),
    ([MyStr("x")], "value[0] is of type MyStr, a subclass of str that is not registered"),
    (MyInt(1), "value is of type MyInt, a subclass of int"),
    ({MyInt(1): 2}, "value.<key> is of type MyInt"),
    ({"a": {Point(1): 2}}, "value['a'].<key> is of type Point"),
    ({(1, 2): {b"k": object}}, "value[<tuple>][b'k'] is of type type"),
    (({1: {3j, Point(2)}},), "value[0][1]["),
    (collections.OrderedDict(a=1), "value is of type OrderedDict, a subclass of dict"),
    (collections.defaultdict(list), "value is of type defaultdict, a subclass of dict"),
    (collections.Counter("a"), "value is of type Counter, a subclass of dict"),
    (memoryview(b"x"), "value is of type memoryview"),
    (range(3), "value is of type range"),
    (types.SimpleNamespace(), "value is of type SimpleNamespace"),
    (Colour.RED, "call register_type(Colour, name=...)"),
    (UTC, "value is of type timezone"),
    (DAY.replace(tzinfo=Odd()), "value has a tzinfo of type Odd: use datetime.timezone"),
    ([dt.time(tzinfo=Odd())], "value[0] has a tzinfo of type Odd"),
    (DAY.replace(tzinfo=ZoneInfo.no_cache("Europe/Berlin")), "value has a ZoneInfo that is not"),
    (DAY.replace(tzinfo=timezone(timedelta(1e-5), MyStr("x"))), "value has a timezone made of"),
    (broken_uuid(), "value is a UUID without a number"),
    *((broken_uuid(one), "value is a UUID whose number is none") for one in (-1, 2**128, "x", 1.0)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=lambda case: str(type(case).__name__))
def test_refusal_names_the_part_and_the_way_out(value, message):
    """Catches a value stored as something else, and an error that leaves its reader alone."""
    with pytest.raises(SerializationError, match=re.escape(message)) as caught:
        encode_value(value)
    text = str(caught.value)
    assert "Pickle(" in text or any(word in message for word in ("UUID", "tz", "zone", "Zone"))


def test_zone_of_a_file_is_refused(tmp_path):
    """Catches a ZoneInfo without a key, which no other process could find."""
    # The smallest file of a zone: version 1, one type, UTC.
    data = b"TZif" + bytes(16) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    path = tmp_path / "zone"
    path.write_bytes(data)
    for key in (None, "Europe/Berlin"):
        with path.open("rb") as file:
            zone = ZoneInfo.from_file(file, key=key)
        with pytest.raises(SerializationError, match="not found by its key"):
            encode_value(DAY.replace(tzinfo=zone))


def nested(depth, wrap):
    """Return something nested so deep."""
    value = 1
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = [
    lambda value: [value],
    lambda value: (value,),
    lambda value: {"k": value},
    lambda value: frozenset([value]),
    lambda value: {(value,): 1} if isinstance(value, int | tuple) else [value],
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_deepest_value_is_kept_and_a_deeper_one_refused(wrap):
    """Catches a limit that the two directions count differently."""
    depth = DEEPEST if wrap is not WRAPS[-1] else DEEPEST // 2
    value = nested(depth, wrap)
    assert form(there_and_back(value)) == form(value)
    with pytest.raises(SerializationError, match="deeper than 200 levels, or contains itself"):
        encode_value(nested(DEEPEST + 1, WRAPS[0] if wrap is WRAPS[-1] else wrap))


def test_cycle_is_refused_with_a_short_path():
    """Catches an endless walk."""
    value = [0]
    value.append({"self": (value,)})
    with pytest.raises(SerializationError, match="contains itself") as caught:
        encode_value(value)
    assert len(str(caught.value)) < 300
    value.clear()


def test_refusal_leaves_no_reference_behind():
    """Catches a container, key or item that a refused walk still holds."""
    part = [object()]
    value = {"a": [part, (part, {(1, "x"): part})], "b": {1: [part]}}
    inner = part[0]
    counts = [sys.getrefcount(o) for o in (part, value, inner)]
    for _ in range(50):
        with pytest.raises(SerializationError):
            encode_value(value)
    gc.collect()
    assert [sys.getrefcount(o) for o in (part, value, inner)] == counts


def test_user_code_does_not_run():
    """Catches a __repr__, __eq__, __hash__ or __reduce__ called on the way to a refusal."""

    class Loud:
        def __getattribute__(self, name):
            raise AssertionError(name)

        __repr__ = __str__ = __reduce_ex__ = __getattribute__

    with pytest.raises(SerializationError, match=r"value\[0\] is of type .*Loud"):
        encode_value([Loud()])


# ---- what is read --------------------------------------------------------------------------------

SMALL = [value for value in SAMPLES if len(repr(value)) < 300]
BODIES = [encode_value(value) for value in [SMALL, *SMALL]]
BODIES = [(code, body) for code, body in BODIES if code in (2, 3)]


@pytest.mark.parametrize(("code", "body"), BODIES[1:], ids=lambda part: repr(part)[:40])
def test_shortened_or_lengthened_body_is_refused(code, body):
    """Catches an item that is read past its end, and bytes that nobody looks at."""
    for end in range(len(body)):
        with pytest.raises(IntegrityError, match="a stored value is damaged"):
            decode_value(code, body[:end])
    with pytest.raises(IntegrityError, match="goes on after its end"):
        decode_value(code, body + b"\xc0")


def check_noise(code, body):
    """Read what nobody wrote: it is refused, or as good as written."""
    try:
        value = decode_value(code, body)
    except IntegrityError:
        return False
    again = encode_value(value)
    assert again[0] == code
    assert form(decode_value(*again)) == form(value)
    return True


def test_changed_byte_is_refused_or_another_value():
    """Catches a crash, a foreign exception, or a value that could not have been written."""
    read = 0
    for code, body in BODIES:
        for at in range(len(body)):
            for byte in (0, 1, body[at] ^ 1, body[at] ^ 0x80, 0x7F, 0x81, 0x92, 0xC7, 0xDD, 0xFF):
                read += check_noise(code, body[:at] + bytes([byte]) + body[at + 1 :])
    assert read > 100


HEADS = bytes(range(0x80, 0x83)) + bytes(range(0x90, 0x93)) + bytes(range(0xC0, 0xE0))
NOISE = st.lists(
    st.binary(min_size=1, max_size=6)
    | st.sampled_from([bytes([head]) for head in HEADS])
    | st.builds(
        lambda code, data: bytes([0xC7, len(data), code]) + data,
        st.integers(0, 16),
        st.binary(max_size=20),
    ),
    max_size=12,
).map(b"".join)


@given(st.integers(0, 9), NOISE)
def test_noise_is_refused_or_as_good_as_written(code, body):
    """Catches what the samples do not come near to."""
    if code in (0, 1, 5):
        code = 3
    check_noise(code, body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x82\xa1a\x01\xa1a\x02", "the same key twice"),
        (b"\xc7\x03\x03\x92\x01\x01", "the same item twice"),
        (b"\x81\x90\x01", "unhashable"),
        (b"\x81\xd4\x05x\x01", "unhashable"),
        (b"\xd5\x03\x91\x90", "unhashable"),
        (b"\xd5\x03\x90\x90", "an extension is longer than its item"),
        (b"\xd4\x02\x91\x90", "ends before its last item"),
        (b"\xdd\xff\xff\xff\xff\x01", "count goes beyond its end"),
        (b"\xdf\xff\xff\xff\xff\x01", "count goes beyond its end"),
        (b"\x91\xc6\xff\xff\xff\xff\x01", "length goes beyond its end"),
        (b"\x91" * 100_000 + b"\xc0", "nested deeper than 200 levels"),
        (b"\x81\x01" * 100_000 + b"\xc0", "nested deeper than 200 levels"),
        (b"\x81" * 100_000 + b"\xc0" * 100_001, "nested deeper than 200 levels"),
        (b"\x91\xa1\xff", "UnicodeDecodeError"),
        (b"\x91\xd4\x63x", "extension 99"),
        (b"\x01", "a int under the code 3"),
        (b"\xa1a", "a str under the code 3"),
        (b"\xc4\x01a", "a bytes under the code 3"),
        (b"\xd6\x09\x07\xe8\x0d\x01", "month must be in 1..12"),
        (b"\xd6\x09\0\0\x01\x01", "year"),
        (b"\xc7\x06\x0a\x18\0\0\0\0\0", "hour must be in 0..23"),
        (b"\xc7\x0c\x0c" + b"\x7f\xff\xff\xff" + bytes(8), "OverflowError|days="),
        (b"\xc7\x0c\x0c" + bytes(4) + b"\xff" * 4 + bytes(4), "timedelta is out of range"),
        (b"\xc7\x03\x07abc", "the text of a Decimal is none"),
        (b"\xc7\x03\x07 1 ", "the text of a Decimal is none"),
        (b"\xc7\x03\x071_0", "the text of a Decimal is none"),
        (b"\xc7\x00\x07", "the text of a Decimal is none"),
        (b"\xd7\x08" + bytes(8), "UUID has another length"),
        (b"\xc7\x0c\xff" + b"\xff" * 4 + bytes(8), "timestamp is out of range"),
        (b"\xc7\x0c\xff" + bytes(4) + b"\x7f" + bytes(7), "timestamp is out of range"),
        (b"\xd7\xff" + bytes(8), "timestamp is out of range"),
        (b"\xc7\x07\x0a" + bytes(6) + b"\x09", "time zone is none"),
        (b"\xc7\x0f\x0a" + bytes(6) + b"\x01\x7f" + bytes(7), "time zone is none"),
        (b"\xc7\x0f\x0a" + bytes(6) + b"\x03../../x!", "the time zone '../../x!'"),
        (b"\xc7\x0b\x0a" + bytes(6) + b"\x03Nowh", "the time zone 'Nowh'.*tzdata"),
        (b"\xc7\x09\x01\x01" + bytes(8) + b"\0", "goes on after its end"),
        (b"\x91\xc7\x09\x01\x00\x80" + bytes(7), "an int is not in its shortest form"),
        (b"\xc7\x03\x0d\x92\xc0\xc0", "without its name"),
        (b"\xc7\x07\x0d\x92\xa4nope\x80", "registered as 'nope', which is not registered here"),
    ],
)  # fmt: skip
def test_damaged_body_says_what_is_wrong(body, message):
    """Catches a check that another one hides, and an error of another type."""
    with pytest.raises(IntegrityError, match=message):
        decode_value(3, body)


def test_time_zone_that_is_not_here_is_no_damage():
    """Catches a good record that a machine without tzdata deletes."""
    with pytest.raises(Unreadable, match="tzdata"):
        decode_value(3, b"\xc7\x0b\x0a" + bytes(6) + b"\x03Nowh")


@pytest.mark.parametrize("code", [-1, 4, 6, 255, 2**31 - 1])
def test_unknown_code_is_refused(code):
    """Catches a body that is read as what it is not."""
    with pytest.raises(IntegrityError, match=f"has the code {code}"):
        decode_value(code, b"\xc0")


def test_scalar_code_takes_scalars_alone():
    """Catches two bodies for one value."""
    for body in (b"\x90", b"\xa0", b"\xc4\0", b""):
        with pytest.raises(IntegrityError):
            decode_value(2, body)
    with pytest.raises(IntegrityError, match="UnicodeDecodeError"):
        decode_value(1, b"\xff")


def test_body_of_another_type_is_a_mistake_of_the_caller():
    """Catches a str taken for damaged data, and None read as if it were bytes."""

    class Bytes(bytes):
        pass

    for body in ("text", None, bytearray(b"\x90"), Bytes(b"\x90")):
        for code in (0, 1, 2, 3, 5):
            with pytest.raises(TypeError):
                decode_value(code, body)
