"""What reading a value may take in memory: a multiple of its bytes, whoever has written it."""

import struct
import uuid
from dataclasses import dataclass

import pytest

from frys_cache.codec.registry import register_type
from frys_cache.codec.values import decode_value, encode_value
from frys_cache.errors import IntegrityError, SerializationError


def test_nested_counts_are_refused_before_they_allocate():
    """Catches memory for each head of what is nested, as if each could have all the bytes."""
    size = 4_000_000
    body = bytearray(size)
    for depth in range(190):  # each list alone could be: together they would take 6 GB
        at = 5 * depth
        body[at : at + 5] = b"\xdd" + struct.pack(">L", size - at - 1000)
    with pytest.raises(IntegrityError, match=r"count goes beyond its end \(byte 10 of"):
        decode_value(3, bytes(body))


# What all containers may take: 16 MiB and 16 bytes per byte of the body.
FREE, TIMES = 16 << 20, 16


@pytest.mark.parametrize(
    ("make", "cost", "body"),
    [
        (list, 64, b"\x90"), (tuple, 64, b"\xd4\x02\x90"), (dict, 72, b"\x80"),
        (set, 216, b"\xd4\x03\x90"), (frozenset, 216, b"\xd4\x04\x90"),
    ],
)  # fmt: skip
def test_containers_that_outgrow_their_bytes_are_refused_both_ways(make, cost, body):
    """Catches a body of 8 MB that becomes 600 MB, and a value that is put and cannot be read."""
    count = (FREE + TIMES * 5 - 64) // (cost - TIMES * len(body))
    whole = [make()] * count
    pair = encode_value(whole)
    assert len(decode_value(*pair)) == count
    with pytest.raises(SerializationError, match=r"containers of \d+ bytes .*: store it in parts"):
        encode_value([*whole, make()])
    more = b"\xdd" + struct.pack(">L", count + 1) + body * (count + 1)
    with pytest.raises(IntegrityError, match="its containers take too much memory for its length"):
        decode_value(3, more)


def test_many_rows_are_no_bomb():
    """Catches a bound that ordinary data comes near to."""
    for row in ({"id": 7}, (1, 2), [1, 2, 3], {"a": [0, 0, 0]}, (uuid.UUID(int=1),)):
        assert len(decode_value(*encode_value([row] * 600_000))) == 600_000


def test_objects_that_outgrow_their_bytes_are_refused_both_ways():
    """Catches objects that are counted otherwise when they are read than when they are put."""

    @dataclass
    class Empty:
        pass

    register_type(Empty, name="e")
    one = b"\xd6\x0d\x92\xa1e\x80"
    cost = 64 + 72 - 16 * len(one)
    count = ((16 << 20) + 16 * 5 - 64) // cost
    assert len(decode_value(*encode_value([Empty()] * count))) == count
    with pytest.raises(SerializationError, match="store it in parts"):
        encode_value([Empty()] * (count + 1))
    with pytest.raises(IntegrityError, match="too much memory"):
        decode_value(3, b"\xdd" + (count + 1).to_bytes(4) + one * (count + 1))
