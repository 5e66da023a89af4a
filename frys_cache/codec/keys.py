"""Keys as bytes: two keys are equal in Python if and only if their bytes are equal.

A key is one tag byte and a body.  A `str` or `bytes` alone is its tag and its raw bytes, so the
bytes of keys sort as the keys do and a prefix of a key is a prefix of its bytes.  Numbers are
brought to one form first: what is integral becomes an int, what equals a float a float, the rest
stays a Decimal.  Ints sort by value.  An aware datetime is its instant.  Inside a tuple every
element ends by itself: a zero byte of a `str` or `bytes` is written 00 FF and its end is 00 01.

    n None   i int   f float   d Decimal   s str   b bytes   u UUID
    D date   l naive datetime   t aware datetime   ( tuple   o type with __frys_key__
    c one of the classes of which keys are

A subclass is written as its base if it has the `__eq__` and `__hash__` of that base, since it is
then equal to it.  A type with `__frys_key__` is written under its name, "module:qualname", and so
differs from the plain key and from other types; it should be equal only to objects of exactly its
own type with an equal `__frys_key__()`.  Decoded, it is the plain key, for its class may be absent.

Cost: O(length of the key); one byte more than a `str` in UTF-8.  Nothing is kept between calls.
Not chosen: `repr`, `hash` or pickles, which differ between processes or for equal keys; msgpack,
whose bytes do not sort; a digest of the key, which cannot be scanned or given back.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from struct import Struct
from typing import Any
from uuid import UUID

from frys_cache.codec.classes import find, names, path
from frys_cache.codec.numbers import (
    SMALL,
    damaged,
    decimal_bytes,
    float_bytes,
    int_bytes,
    read_decimal,
    read_double,
    read_int,
    take,
    until,
)
from frys_cache.errors import IntegrityError, KeyNotStable, KeyTooLarge
from frys_cache.types import MISSING

__all__ = ["DEEPEST", "decode_key", "encode_key", "encode_prefix"]

DEEPEST = 64
"""How many tuples (and results of `__frys_key__`) a key may have inside one another."""

_STR, _BYTES, _OWN, _TUPLE = b"s", b"b", b"o", b"("
_END = b"\x00"  # of a tuple; no tag
_ESCAPED, _STOP = b"\x00\xff", b"\x00\x01"

_U64, _U32 = Struct(">Q"), Struct(">I")
_BIAS = 1 << 63
_MICROSECOND = timedelta(microseconds=1)
# Of the object itself, whatever a subclass has under that name.
_UUID_INT: Any = UUID.__dict__["int"].__get__
_TZINFO: Any = datetime.__dict__["tzinfo"].__get__
# An instant within a day of year 1 or 9999 may lie outside them in UTC.
_ZONES = (
    UTC,
    timezone(timedelta(days=1) - _MICROSECOND),
    timezone(_MICROSECOND - timedelta(days=1)),
)


def encode_key(key: object, max_size: int = 65536) -> bytes:
    """Return the bytes of a key: equal for equal keys, different for others.

    Keys are None, bool, int, float, Decimal, str, bytes, UUID, date, datetime, these classes
    themselves, tuples of all these, and objects with a method `__frys_key__()` that returns such a
    key.  `max_size` is in bytes.
    Raises `KeyNotStable` for anything else, for NaN, for a datetime in the fold or gap of its zone
    and for more than 64 tuples inside one another; `KeyTooLarge` for more than `max_size` bytes
    (where the rest was not looked at, the size is a lower bound).  What `__frys_key__` raises
    passes unchanged.  Safe to call from any thread.

    >>> encode_key("user:1"), encode_key(1) == encode_key(True) == encode_key(1.0)
    (b'suser:1', True)
    """
    if type(key) is str:
        try:
            data = b"s" + key.encode()
        except UnicodeEncodeError:
            data = b"s" + key.encode("utf-8", "surrogatepass")
    elif type(key) is bytes:
        data = b"b" + key
    elif type(key) is int:
        data = SMALL[key] if 0 <= key < 256 else int_bytes(key, max_size)
    else:
        data = _encode_other(key, max_size)
    if len(data) > max_size:
        raise KeyTooLarge(len(data), max_size)
    return data


def decode_key(data: bytes) -> Any:
    """Return the key that `encode_key` made into these bytes, or one equal to it.

    Equal keys come back as one of them: `True` as `1`, an aware datetime in UTC, a subclass as its
    base, an object with `__frys_key__` as the plain key which that returned.  Raises
    `IntegrityError` for bytes that `encode_key` never makes.  Safe to call from any thread.

    >>> decode_key(encode_key(("user", 1.0)))
    ('user', 1)
    """
    try:
        tag = data[:1]
        if tag == _STR:
            return data[1:].decode("utf-8", "surrogatepass")
        if tag == _BYTES:
            return data[1:]
        key, at = _read(data, 0, 0)
    except (ValueError, ArithmeticError) as error:
        raise IntegrityError(f"not an encoded key: {error}") from error
    if at != len(data):
        damaged(f"{len(data) - at} bytes too many")
    return key


def encode_prefix(prefix: str | bytes) -> bytes:
    """Return what the bytes of all keys of the prefix's type that start with it start with.

    Keys that do not start with it, or are of another type, do not.  Raises `TypeError` if it is
    neither `str` nor `bytes`.  Safe to call from any thread.

    >>> encode_key("user:1").startswith(encode_prefix("user:"))
    True
    """
    if isinstance(prefix, str):
        return _STR + str.encode(prefix, "utf-8", "surrogatepass")
    if isinstance(prefix, bytes):
        return _BYTES + bytes.__bytes__(prefix)
    raise TypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")


# --- Writing: everything here is in the form that ends by itself. ---------------------------------


def _encode_other(key: object, max_size: int) -> bytes:
    """Return the bytes of a key that is not exactly a str, bytes or int."""
    cls = type(key)
    if issubclass(cls, (str, bytes, int)) and not _has_own_key(cls):
        return encode_key(_as_base(key), max_size)
    out = bytearray()
    _write(out, key, max_size, 0)
    return bytes(out)


def _write(out: bytearray, key: Any, max_size: int, depth: int) -> None:
    """Append a key of any type; stop when more than `max_size` bytes are there."""
    # By identity, not in a dict: the metaclass of a foreign key may forbid hashing its class.
    cls = type(key)
    if cls is str:
        out += _STR + _framed(key.encode("utf-8", "surrogatepass"))
    elif cls is int:
        out += int_bytes(key, max_size)
    elif cls is bytes:
        out += _BYTES + _framed(key)
    elif key is None:
        out += b"n"
    elif cls is tuple:
        depth = _deeper(depth)
        out += _TUPLE
        for item in key:
            _write(out, item, max_size, depth)
        out += _END
    elif cls is float:
        out += float_bytes(key, max_size)
    elif cls is Decimal:
        out += decimal_bytes(key, max_size)
    elif cls is UUID:
        out += b"u" + _uuid_int(key).to_bytes(16)
    elif cls is datetime:
        out += _datetime_bytes(key)
    elif cls is date:
        out += b"D" + _U32.pack(key.toordinal())
    elif cls is type and key in _CLASSES:
        out += b"c" + _framed(_CLASSES[key])
    elif _has_own_key(cls):
        depth = _deeper(depth)
        module, name = names(cls)
        if module is None:
            raise KeyNotStable(f"a key of type {name}, whose __module__ is no str: give it one")
        plain = type.__getattribute__(cls, "__frys_key__")(key)
        out += _OWN + _framed(f"{module}:{name}".encode("utf-8", "surrogatepass"))
        _write(out, plain, max_size, depth)
    else:
        _write(out, _as_base(key), max_size, depth)
    if len(out) > max_size:
        raise KeyTooLarge(len(out), max_size)


def _has_own_key(cls: type) -> bool:
    return (found := find(cls, "__frys_key__")) is not MISSING and found is not None


def _deeper(depth: int) -> int:
    if depth >= DEEPEST:
        raise KeyNotStable(
            f"a key has more than {DEEPEST} tuples or __frys_key__() inside one another: "
            "flatten it, or use a str made of it"
        )
    return depth + 1


def _framed(raw: bytes) -> bytes:
    """Return bytes with an end that they cannot contain; their order stays."""
    return raw.replace(b"\x00", _ESCAPED) + _STOP


def _datetime_bytes(key: datetime) -> bytes:
    zone = key.tzinfo
    offset = key.utcoffset()
    plain = key.replace(tzinfo=None)
    # An offset that is always the same has neither fold nor gap.
    if offset is not None and type(zone) is not timezone and not _is_one_time(key, plain, offset):
        raise KeyNotStable(
            f"the datetime {plain.isoformat()} is in a fold or gap of its zone "
            "and equals no time elsewhere: convert it with astimezone(datetime.UTC)"
        )
    since = plain - datetime.min
    if offset is None:
        return b"l" + _U64.pack(since // _MICROSECOND + _BIAS)
    return b"t" + _U64.pack((since - offset) // _MICROSECOND + _BIAS)


def _is_one_time(key: datetime, plain: datetime, offset: timedelta) -> bool:
    """Return whether the zone shows this time once: whether it comes back from UTC as it is.

    A zone that knows `fold` tells by that; older ones, which know nothing of it, are asked.
    """
    if offset != key.replace(fold=1 - key.fold).utcoffset():
        return False
    try:
        return key.astimezone(UTC).astimezone(key.tzinfo).replace(tzinfo=None) == plain
    except OverflowError:  # within a day of year 1 or 9999, where no clock is changed
        return True
    except (NotImplementedError, ValueError) as error:
        raise KeyNotStable(
            f"the datetime {plain.isoformat()} has a tzinfo that cannot convert from UTC: "
            "convert it with astimezone(datetime.UTC)"
        ) from error


def _as_base(key: object) -> object:
    """Return a key of a subclass as its base, if it is equal to that."""
    cls = type(key)
    name = path(cls)
    for base, plain in _BASES:
        if not issubclass(cls, base):
            continue
        if all(find(cls, method) is find(base, method) for method in ("__eq__", "__hash__")):
            return plain(key)
        raise KeyNotStable(
            f"a key of type {name} has an __eq__ or __hash__ other than that of {base.__name__}: "
            f"convert it to {base.__name__}, or give the class a method __frys_key__()"
        )
    raise KeyNotStable(
        f"a key of type {name} has no form that means the same in another process: convert it to "
        "str, bytes or a tuple, or give the class a method __frys_key__() that returns such a key"
    )


def _plain_datetime(key: datetime) -> datetime:
    return datetime.combine(datetime.date(key), datetime.time(key), _TZINFO(key))


def _uuid_int(key: UUID) -> int:
    try:
        number = _UUID_INT(key)
    except AttributeError:
        number = None
    if type(number) is not int or not 0 <= number < 1 << 128:
        raise KeyNotStable("a UUID whose number is none of 128 bits: make it by uuid.UUID(...)")
    return number


# The keys of memoized calls have the class of an argument beside it.  Other classes have no name
# that is certain to mean the same elsewhere.
_CLASSES: dict[type, bytes] = {
    cls: cls.__name__.encode()
    for cls in (bool, bytes, date, datetime, Decimal, float, int, str, tuple, type(None), UUID)
}
_NAMED = {name: cls for cls, name in _CLASSES.items()}

# How a subclass becomes its base without running what the subclass overrides.  A datetime is also
# a date, so it comes first.
_BASES: tuple[tuple[Any, Callable[[Any], object]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (bytes, bytes.__bytes__),
    (tuple, lambda key: tuple.__getitem__(key, slice(None))),
    (float, float.__float__),
    (Decimal, Decimal),
    (UUID, lambda key: UUID(int=_uuid_int(key))),
    (datetime, _plain_datetime),
    (date, lambda key: date.fromordinal(date.toordinal(key))),
)


# --- Reading: whatever is not exactly what is written above is damaged. ---------------------------


def _read(data: bytes, at: int, depth: int) -> tuple[object, int]:
    """Return the key that begins at a place, and where it ends."""
    tag, at = take(data, at, 1)
    if tag == _STR:
        raw, at = _read_framed(data, at)
        return raw.decode("utf-8", "surrogatepass"), at
    if tag == _BYTES:
        return _read_framed(data, at)
    if tag == b"i":
        return read_int(data, at)
    if tag == b"n":
        return None, at
    if tag == b"c":
        raw, at = _read_framed(data, at)
        if raw not in _NAMED:
            damaged(f"unknown class {raw!r}")
        return _NAMED[raw], at
    if tag in (_TUPLE, _OWN):
        if depth >= DEEPEST:
            damaged(f"more than {DEEPEST} levels")
        return (_read_tuple if tag == _TUPLE else _read_own)(data, at, depth + 1)
    if tag == b"d":
        return read_decimal(data, at)
    size, read = _FIXED.get(tag, (0, None))
    if read is None:
        damaged(f"unknown tag {tag!r}")
    raw, at = take(data, at, size)
    return read(raw), at


def _read_framed(data: bytes, at: int) -> tuple[bytes, int]:
    raw, at = until(data, at, _STOP)
    if raw.count(b"\x00") != raw.count(_ESCAPED):
        damaged("a zero byte stands alone")
    return raw.replace(_ESCAPED, b"\x00"), at


def _read_tuple(data: bytes, at: int, depth: int) -> tuple[object, int]:
    items = []
    while data[at : at + 1] != _END:
        item, at = _read(data, at, depth)
        items.append(item)
    return tuple(items), at + 1


def _read_own(data: bytes, at: int, depth: int) -> tuple[object, int]:
    name, at = _read_framed(data, at)
    if ":" not in name.decode("utf-8", "surrogatepass"):
        damaged("a type without its module")
    return _read(data, at, depth)


def _read_date(raw: bytes) -> date:
    return date.fromordinal(_U32.unpack(raw)[0])


def _read_naive(raw: bytes) -> datetime:
    return datetime.min + timedelta(microseconds=_U64.unpack(raw)[0] - _BIAS)


def _read_aware(raw: bytes) -> datetime:
    since = timedelta(microseconds=_U64.unpack(raw)[0] - _BIAS)
    for zone in _ZONES:
        try:
            return (datetime.min + (since + zone.utcoffset(None))).replace(tzinfo=zone)
        except OverflowError:
            continue
    raise IntegrityError("not an encoded key: a datetime is out of range")


_FIXED: dict[bytes, tuple[int, Callable[[bytes], object]]] = {
    b"f": (8, read_double),
    b"u": (16, lambda raw: UUID(bytes=raw)),
    b"D": (4, _read_date),
    b"l": (8, _read_naive),
    b"t": (8, _read_aware),
}
