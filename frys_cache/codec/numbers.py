"""Numbers of a key as bytes: one form for all that are equal, whatever their type.

What is integral becomes an int, what equals a float a float, and only the rest stays a Decimal, as
sign, exponent and digits.  Ints sort as their bytes do, for a length comes before the digits.
Every form ends by itself, so numbers may follow one another.

Cost: O(size) for ints and floats.  A Decimal is measured before it is expanded: `1e1000000` is 9
characters, but 400 KB as an int.  Not chosen: everything as a Decimal or a fraction, which makes an
int, the common case, dear; floats by value among ints, which no scan asks for.
"""

from __future__ import annotations

from decimal import Decimal
from struct import Struct
from typing import NoReturn, cast

from frys_cache.errors import IntegrityError, KeyNotStable, KeyTooLarge

__all__ = [
    "SMALL",
    "damaged",
    "decimal_bytes",
    "float_bytes",
    "int_bytes",
    "read_decimal",
    "read_double",
    "read_int",
    "take",
    "until",
]

_DOUBLE, _U64 = Struct(">d"), Struct(">Q")
_LONGEST_SHORT = 0x7E  # bytes of an int whose sign and length fit one byte
# What stands before an int of so many bytes; from the end, before a negative one.
_HEADS = tuple(b"i%c" % (0x80 + size) for size in range(_LONGEST_SHORT + 1)) + tuple(
    b"i%c" % (0x80 + size) for size in range(-_LONGEST_SHORT, 0)
)
# A double has at most so many significant decimal digits: a Decimal of more equals none.
_DIGITS_OF_DOUBLE = 767

_END = b"\x00"  # of the digits of a Decimal


def int_bytes(key: int, max_size: int) -> bytes:
    """Return an int as bytes that sort as ints do.

    The byte after the tag is 80 plus the number of bytes, or 80 minus it if negative; FF and 00
    say that 8 bytes of length follow.  A negative int has every bit of its amount turned, and of
    its length.
    """
    size = (key.bit_length() + 7) >> 3
    if size > max_size:
        raise KeyTooLarge(size, max_size)
    if key >= 0:
        if size <= _LONGEST_SHORT:
            return _HEADS[size] + key.to_bytes(size, "big")
        return b"i\xff" + _U64.pack(size) + key.to_bytes(size, "big")
    turned = (key + (1 << 8 * size) - 1).to_bytes(size, "big")
    if size <= _LONGEST_SHORT:
        return _HEADS[-size] + turned
    return b"i\x00" + _U64.pack((1 << 64) - 1 - size) + turned


def float_bytes(key: float, max_size: int) -> bytes:
    """Return a float as int if it equals one, else as it is stored in memory."""
    if key.is_integer():
        return int_bytes(int(key), max_size)
    if key != key:
        _refuse_nan("float")
    return b"f" + _DOUBLE.pack(key)


def _refuse_nan(name: str) -> NoReturn:
    raise KeyNotStable(
        f"a {name} that is not a number equals nothing, not itself: use None or a str as the key"
    )


def decimal_bytes(key: Decimal, max_size: int) -> bytes:
    """Return a Decimal as int or float if it equals one, else as sign, exponent and digits."""
    if key.is_nan():
        _refuse_nan("Decimal")
    if key.is_infinite():
        return float_bytes(float(key), max_size)
    if not key:
        return int_bytes(0, max_size)
    exponent = key.adjusted()
    # Before it is expanded: a digit before the point needs at least log2(10) / 8 bytes.
    least = exponent * 3_321_928 // 8_000_000
    if least > max_size:
        raise KeyTooLarge(least, max_size)
    # All digits whatever the precision of the context: normalize() would round to it.
    digits = format(key, "E").lstrip("-").partition("E")[0].replace(".", "").rstrip("0")
    zeros = exponent + 1 - len(digits)
    if zeros >= 0:
        whole = _int_of(digits) * 10**zeros
        return int_bytes(-whole if key.is_signed() else whole, max_size)
    if len(digits) <= _DIGITS_OF_DOUBLE:
        nearest = float(key)
        # The constructor, and == with a float, would signal FloatOperation in the context.
        if Decimal.from_float(nearest) == key:  # noqa: FURB164
            return float_bytes(nearest, max_size)
    sign = b"d-" if key.is_signed() else b"d+"
    return sign + int_bytes(exponent, max_size) + digits.encode() + _END


def _int_of(digits: str) -> int:
    """Return digits as int by halves: int() takes the square of the time, or refuses."""
    if len(digits) <= 600:  # int() of 640 digits is never refused
        return int(digits)
    half = len(digits) // 2
    scale: int = 10**half
    return _int_of(digits[:-half]) * scale + _int_of(digits[-half:])


SMALL = tuple(int_bytes(key, 2) for key in range(256))


def damaged(why: str) -> NoReturn:
    """Raise `IntegrityError` for bytes that no key is encoded to."""
    raise IntegrityError(f"not an encoded key: {why}")


def take(data: bytes, at: int, size: int) -> tuple[bytes, int]:
    """Return the next bytes and where they end."""
    end = at + size
    if end > len(data):
        damaged(f"{end - len(data)} bytes are missing")
    return data[at:end], end


def until(data: bytes, at: int, stop: bytes) -> tuple[bytes, int]:
    """Return the bytes before the next stop, and where it ends."""
    end = data.find(stop, at)
    if end < 0:
        damaged("an end is missing")
    return data[at:end], end + len(stop)


def read_int(data: bytes, at: int) -> tuple[int, int]:
    """Return the int whose tag is before this place, and where it ends."""
    head, at = take(data, at, 1)
    size = head[0] - 0x80
    negative = size < 0
    if head in (b"\x00", b"\xff"):
        raw, at = take(data, at, 8)
        size = _U64.unpack(raw)[0]
        size = (1 << 64) - 1 - size if negative else size
        if size <= _LONGEST_SHORT:
            damaged("an int has a longer head than it needs")
    elif abs(size) > _LONGEST_SHORT:
        damaged("an int has a length that is not used")
    raw, at = take(data, at, abs(size))
    if raw[:1] == (b"\xff" if negative else b"\x00"):
        damaged("an int has more bytes than it needs")
    key = int.from_bytes(raw, "big")
    return (key + 1 - (1 << 8 * len(raw)) if negative else key), at


def read_decimal(data: bytes, at: int) -> tuple[Decimal, int]:
    """Return the Decimal whose tag is before this place, and where it ends."""
    start = at - 1
    head, at = take(data, at, 2)
    exponent, at = read_int(data, at)
    digits, at = until(data, at, _END)
    if head not in (b"+i", b"-i") or not digits.isdigit():
        damaged("a Decimal has no sign, exponent and digits")
    if exponent.bit_length() > 64:  # before it is written out in digits
        damaged("a Decimal is out of range")
    text = digits.decode()
    # Out of the range of exponents: an exception, or NaN, as the context has it.
    key = Decimal(f"{head.decode()[0]}{text[0]}.{text[1:]}E{exponent}")
    if not key.is_finite() or decimal_bytes(key, at - start) != data[start:at]:
        damaged("a Decimal is not in its one form")
    return key, at


def read_double(raw: bytes) -> float:
    """Return the float of 8 bytes."""
    key = cast("float", _DOUBLE.unpack(raw)[0])
    if key != key or key.is_integer():
        damaged("a float is an int or not a number")
    return key
