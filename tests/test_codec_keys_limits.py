"""What is no key, or not the bytes of one, is refused by name, quickly, and never crashes."""

import decimal
import enum
import fractions
import time
import uuid
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hostile import Untold
from hypothesis import given, settings
from hypothesis import strategies as st
from keyed import BERLIN, Own, keys

from frys_cache import IntegrityError, KeyNotStable, KeyTooLarge
from frys_cache.codec.keys import DEEPEST, decode_key, encode_key

# What the encoded form is made of, so that garbage gets past the first byte.
pieces = st.sampled_from(
    [bytes([at]) for at in (*b"nifdsbuDlt(o+-:109a", 0, 1, 2, 0x7F, 0x81, 0xFF)]
)
garbage = st.binary() | st.lists(pieces | st.binary(max_size=9)).map(b"".join)


def decodes_or_refuses(data):
    """Check that bytes are what a key is encoded to, or are refused as damaged."""
    try:
        key = decode_key(data)
    except IntegrityError:
        return
    hash(key)
    # The class of an own type is not known here: the plain key has other bytes.
    if b"o" not in data:
        assert encode_key(key, len(data)) == data


@settings(deadline=None, max_examples=1000)
@given(garbage)
def test_decode_key_of_garbage_is_a_key_or_integrityerror(data):
    """Catch a crash on damaged bytes, and two forms of one key."""
    decodes_or_refuses(data)


@settings(deadline=None, max_examples=1000)
@given(st.data())
def test_decode_key_of_damaged_key_is_a_key_or_integrityerror(data):
    """Catch a check that is missing where one byte of a real key was changed, added or lost."""
    good = bytearray(encode_key(data.draw(keys)))
    at = data.draw(st.integers(0, len(good) - 1))
    end = data.draw(st.integers(at, min(len(good), at + 2)))
    good[at:end] = data.draw(st.binary(max_size=2))
    decodes_or_refuses(bytes(good))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"n\x00",
        b"s\xff",
        b"s\xc0\x80",
        b"i",
        b"i\x81",
        b"i\x81\x00",
        b"i\x7f\xff",
        b"i\x01" + b"\x00" * 127,
        b"i\xff" + (1).to_bytes(8, "big") + b"\x01",
        b"i\xff" + (126).to_bytes(8, "big") + b"\x01" * 126,
        b"i\x00" + (2**64 - 127).to_bytes(8, "big") + b"\x01" * 126,
        b"i\xff" + b"\xff" * 8,
        b"i\x00" + b"\x00" * 8,
        b"f\x3f\xf0\x00\x00\x00\x00\x00\x00",
        b"f\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"d+i\x7f\xfe5\x00",
        b"d+i\x7f\xfe10\x00",
        b"d+i\x7f\xfe01\x00",
        b"d+i\x7f\xfe\x00",
        b"d+i\x7f\xfe1_1\x00",
        b"d*i\x7f\xfe1\x00",
        b"d+" + encode_key(10**18) + b"1\x00",
        b"d+" + encode_key(10**6) + b"1\x00",
        b"d+" + encode_key(-(10**30)) + b"1\x00",
        b"d+" + encode_key(10**5000) + b"1\x00",
        b"D\x00\x00\x00\x00",
        b"D\xff\xff\xff\xff",
        b"l" + b"\x00" * 8,
        b"t" + b"\xff" * 8,
        b"u\x00",
        b"(",
        b"(sab\x00",
        b"(s\x00a\x00\x01\x00",
        b"(" * 100_000,
        b"(" * (DEEPEST + 1) + b"\x00" * (DEEPEST + 1),
        b"oname\x00\x01i\x80",
        b"om:name\x00\x01",
        b"o" * 1000,
    ],
    ids=lambda data: repr(data[:20]),
)
def test_decode_key_of_what_is_never_encoded_raises_integrityerror(data):
    """Catch a second form of a key, a bomb of exponents, and nesting that ends the stack."""
    for traps in ([], [decimal.InvalidOperation, decimal.FloatOperation]):
        context = decimal.localcontext(decimal.Context(traps=traps))
        with context, pytest.raises(IntegrityError, match="not an encoded key"):
            decode_key(data)


def test_decode_key_huge_exponent_is_refused_before_it_is_written_out():
    """Catch digits of an int of any size being made, which takes the square of the time."""
    with pytest.raises(IntegrityError, match="a Decimal is out of range"):
        decode_key(b"d+" + encode_key(10**5000) + b"1\x00")


def test_decode_key_does_not_depend_on_the_decimal_context():
    """Catch a Decimal rounded to the precision of whoever asks, and a flag raised there."""
    long = Decimal("1." + "123456789" * 20)
    keys = [long, Decimal("0.1"), Decimal("0.5"), Decimal("1e-999999999999"), Decimal("1E+5")]
    expected = [encode_key(key) for key in keys]
    context = decimal.Context(prec=3, Emax=5, Emin=-5, capitals=0)
    context.traps = dict.fromkeys(context.traps, True)
    with decimal.localcontext(context) as inside:
        again = [encode_key(key) for key in keys]
        back = [decode_key(data) for data in expected]
        assert not any(inside.flags.values())
    assert again == expected
    assert back == keys


@pytest.mark.parametrize(
    "local", [datetime(2024, 10, 27, 2, 30), datetime(2024, 3, 31, 2, 30)], ids=["fold", "gap"]
)
@pytest.mark.parametrize("fold", [0, 1])
def test_encode_key_datetime_in_fold_or_gap_is_refused(local, fold):
    """Catch two times that Python holds unequal under one key, and equal ones under two."""
    key = local.replace(tzinfo=BERLIN, fold=fold)
    with pytest.raises(KeyNotStable, match=r"2024-\S+ is in a fold or gap .*astimezone"):
        encode_key(key)
    # The advice works.
    assert decode_key(encode_key(key.astimezone(UTC))) == key.astimezone(UTC)


class Old(tzinfo):
    """A zone in summer time from April to October, one hour east, which knows nothing of fold."""

    def utcoffset(self, when):
        return timedelta(hours=1) + self.dst(when)

    def dst(self, when):
        summer = (
            datetime(when.year, 4, 1, 2)
            <= when.replace(tzinfo=None)
            < datetime(when.year, 10, 1, 2)
        )
        return timedelta(hours=summer)


class Bare(tzinfo):
    """A zone that tells its offset and nothing else."""

    def utcoffset(self, when):
        return timedelta(hours=1)


def test_encode_key_datetime_in_gap_of_a_zone_without_fold_is_refused():
    """Catch two unequal times under one key, where a tzinfo does not look at fold."""
    moments = [datetime(2024, 4, 1, 0, 30) + timedelta(minutes=15) * n for n in range(16)]
    moments += [datetime(2024, 10, 1, 0, 30) + timedelta(minutes=15) * n for n in range(16)]
    zone, found = Old(), {}  # two zones would compare instants
    for moment in moments:
        key = moment.replace(tzinfo=zone)
        if datetime(2024, 4, 1, 2) <= moment < datetime(2024, 4, 1, 3):
            with pytest.raises(KeyNotStable, match="in a fold or gap"):
                encode_key(key)
            continue
        data = encode_key(key)
        assert found.setdefault(data, key) == key
    assert len(found) == len(moments) - 4
    key = moments[0].replace(tzinfo=zone)
    assert encode_key(key) == encode_key(key.astimezone(UTC))


def test_encode_key_datetime_of_a_zone_that_cannot_convert_is_refused():
    """Catch an error of a tzinfo that is only half written."""
    with pytest.raises(KeyNotStable, match="a tzinfo that cannot convert from UTC"):
        encode_key(datetime(2024, 1, 1, tzinfo=Bare()))


def test_encode_key_datetime_at_the_end_of_the_years_is_kept():
    """Catch an overflow on the way to UTC and back."""
    for key in (datetime.min.replace(tzinfo=BERLIN), datetime.max.replace(tzinfo=ZoneInfo("EST"))):
        assert decode_key(encode_key(key)) == key


@pytest.mark.parametrize(
    "key",
    [float("nan"), Decimal("nan"), Decimal("-nan"), Decimal("snan"), Decimal("nan123")],
    ids=repr,
)
def test_encode_key_nan_is_refused(key):
    """Catch a key that is stored and never found."""
    with pytest.raises(KeyNotStable, match=f"a {type(key).__name__} that is not a number"):
        encode_key(key)
    with pytest.raises(KeyNotStable, match="not a number"):
        encode_key(("a", key))


class Shadow(type):
    """A metaclass whose classes cannot be hashed."""

    def __eq__(cls, other):
        raise AssertionError("foreign code of a metaclass was called")

    __hash__ = None


@pytest.mark.parametrize(
    "key",
    [
        *(bytearray(b"a"), memoryview(b"a"), [1], {1}, frozenset({1}), {}, 1j, object(), complex),
        *(fractions.Fraction(1, 2), time, timedelta(1), range(3), ..., Shadow("Odd", (), {})()),
        *(len, Own, enum.Enum("Plain", "A").A, BERLIN, iter(())),
    ],
    ids=lambda key: type(key).__name__,
)
def test_encode_key_other_type_is_refused_by_name(key):
    """Catch a key of a type whose form in another process is unknown, and a dumb message."""
    cls = type(key)
    with pytest.raises(KeyNotStable) as caught:
        encode_key(key)
    message = str(caught.value)
    assert f"of type {cls.__module__}.{cls.__qualname__} " in message
    assert "str, bytes or a tuple" in message
    assert "__frys_key__()" in message
    with pytest.raises(KeyNotStable):
        encode_key((1, key))


@pytest.mark.parametrize("base", [str, bytes, int, float, tuple, Decimal, date], ids=repr)
@pytest.mark.parametrize("method", ["__eq__", "__hash__"])
def test_encode_key_subclass_with_other_equality_is_refused(base, method):
    """Catch a key stored as its base that Python does not hold equal to it."""
    own = {"__eq__": lambda self, other: self is other} if method == "__eq__" else {}
    cls = type("Odd", (base,), {**own, "__hash__": lambda self: 7})
    key = cls(2024, 1, 15) if base is date else cls()
    with pytest.raises(KeyNotStable, match=rf"Odd has an .*convert it to {base.__name__}, or give"):
        encode_key(key)


def test_encode_key_metaclass_that_raises_is_not_asked():
    """Catch an exception of a metaclass in place of a refusal."""
    for base in (object, str, int, dict):
        key = type.__call__(Untold, "Odd", (base,), {"__eq__": None, "__hash__": None})()
        with pytest.raises(KeyNotStable, match="Odd"):
            encode_key(key)
    same = type.__call__(Untold, "Same", (str,), {})("a")
    assert encode_key(same) == encode_key("a")
    own = type.__call__(Untold, "Mine", (), {"__frys_key__": lambda self: 1, "__module__": "m"})()
    assert encode_key(own) == b"om:Mine\0\1i\x81\1"


class Turned(uuid.UUID):
    """A UUID that shows another number."""

    @property
    def bytes(self):
        raise AssertionError("an overridden method of a subclass was called")

    int = bytes


def test_encode_key_damaged_uuid_is_refused():
    """Catch an AttributeError, or 17 bytes, where a UUID was not made by its class."""
    for number in ((), (-1,), (1 << 128,), ("x",), (True,)):
        key = object.__new__(uuid.UUID)
        for one in number:
            object.__setattr__(key, "int", one)
        for whole in (key, (key,)):
            with pytest.raises(KeyNotStable, match=r"a UUID whose number is none"):
                encode_key(whole)
    turned = object.__new__(Turned)
    uuid.UUID.__dict__["int"].__set__(turned, 7)
    assert encode_key(turned) == encode_key(uuid.UUID(int=7))


def test_encode_key_exception_of_own_key_passes_unchanged():
    """Catch an error of the user's code that is hidden behind one of ours."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        encode_key(Own(error))
    assert caught.value is error


def test_encode_key_own_key_that_is_no_key_is_refused():
    """Catch an own key that is taken for granted."""
    with pytest.raises(KeyNotStable, match=r"of type builtins\.list"):
        encode_key(Own([1]))


def test_encode_key_own_key_that_never_ends_is_refused():
    """Catch `__frys_key__` returning itself, which would end the stack."""
    key = Own(None)
    key.key = key
    with pytest.raises(KeyNotStable, match=f"more than {DEEPEST} tuples"):
        encode_key(key)


def test_encode_key_nested_to_the_limit_comes_back_and_deeper_is_refused():
    """Catch a limit of depth that reads other than it writes."""
    key = ()
    for _ in range(DEEPEST - 1):
        key = (key,)
    assert decode_key(encode_key(key)) == key
    with pytest.raises(KeyNotStable, match=f"more than {DEEPEST} tuples"):
        encode_key((key,))


@pytest.mark.parametrize(
    "key",
    ["é" * 50, b"a" * 99, ("a" * 96,), 1 << 8 * 96, -(1 << 8 * 96), (1, b"a" * 93), Own("a" * 60)],
    ids=repr,
)
def test_encode_key_longer_than_limit_says_both_sizes(key):
    """Catch a limit that is off by one, or holds for some types only."""
    size = len(encode_key(key))
    assert encode_key(key, size) == encode_key(key)
    with pytest.raises(KeyTooLarge) as caught:
        encode_key(key, size - 1)
    assert (caught.value.size, caught.value.max_size) == (size, size - 1)


def test_encode_key_limit_is_64_kib_by_default():
    """Catch another default than the documented one."""
    assert len(encode_key("a" * 65535)) == 65536
    with pytest.raises(KeyTooLarge, match="key too large: 65537 > 65536 bytes"):
        encode_key("a" * 65536)


def doubled(times):
    """Return a tuple of two references to a tuple of two references, and so on."""
    key = ()
    for _ in range(times):
        key = (key, key)
    return key


@pytest.mark.parametrize(
    "key",
    [
        Decimal("1e1000000"),
        Decimal("-1e1000000"),
        Decimal("1e999999999999999999"),
        Decimal("1" * 200_000 + ".5"),
        1 << 10_000_000,
        -(1 << 10_000_000),
        (1, (Decimal("1e1000000"),)),
    ],
    ids=["decimal", "negative", "largest", "digits", "int", "negative int", "inside"],
)
def test_encode_key_huge_number_is_refused_before_it_is_expanded(key):
    """Catch a short text such as 1e1000000 that costs seconds and megabytes."""
    fastest = []
    for _ in range(3):
        start = time.process_time()
        with pytest.raises(KeyTooLarge) as caught:
            encode_key(key)
        fastest.append(time.process_time() - start)
    assert caught.value.size > caught.value.max_size == 65536
    assert min(fastest) < 0.010


def test_encode_key_tuple_that_doubles_is_refused_at_the_limit():
    """Catch 2**60 elements being written before their size is looked at."""
    with pytest.raises(KeyTooLarge):
        encode_key(doubled(60))


@pytest.mark.parametrize(
    "key",
    [
        *(Decimal("1e157000"), Decimal("-" + "7" * 157_000), Decimal("1." + "1" * 60_000)),
        *(Decimal("0.5" + "0" * 100_000), Decimal("1e-999999999999999999"), 1 << 8 * 65_000),
    ],
    ids=["zeros", "digits", "fraction", "trailing", "tiny", "int"],
)
def test_encode_key_large_number_within_the_limit_comes_back(key):
    """Catch the limit of the interpreter on digits of an int, and a lost digit."""
    data = encode_key(key)
    assert decode_key(data) == key
    assert encode_key(decode_key(data)) == data
