"""The head of a record: what is packed is read again, and nothing else is a head."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache._core import pack_head, read_head, split_record
from frys_cache.codec.record import (
    COMPRESSED,
    EXTENSION,
    HEAD_SIZE,
    NEGATIVE,
    PACKED,
    SIGNED,
    TOMBSTONE,
)
from frys_cache.errors import IntegrityError

U64 = st.integers(0, 2**64 - 1)
FLAGS = st.sampled_from([NEGATIVE, TOMBSTONE, SIGNED, COMPRESSED]).map(int)
TRIPLES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=255)), max_size=20)


def area_of(triples):
    """Return triples of tag and bytes as they are in a record."""
    return b"".join(bytes([tag, len(data)]) + data for tag, data in triples)


def test_pack_head_bytes_are_those_of_the_format():
    """Catch a field at another offset or in another byte order: what is stored would be lost."""
    head = pack_head(COMPRESSED, 3, 0x0102030405060708, 0x1112131415161718)
    assert head == bytes.fromhex("f1 10 03 00 0102030405060708 1112131415161718")
    assert len(head) == HEAD_SIZE
    longer = pack_head(0, 0, 0, 0, b"\x07\x02ab")
    assert longer == bytes.fromhex("f1 08 00 00") + bytes(16) + b"\x00\x04\x07\x02ab"


@given(
    flags=st.sets(FLAGS).map(sum),
    code=st.integers(0, 255),
    version=U64,
    expires=U64,
    triples=TRIPLES,
)
def test_read_head_packed_head_is_the_same(flags, code, version, expires, triples):
    """Catch a number that is cut off, and an extension area that is not skipped."""
    area = area_of(triples)
    head = pack_head(flags, code, version, expires, area)
    flags |= EXTENSION if area else 0
    at = HEAD_SIZE + (2 + len(area) if area else 0)
    assert read_head(head + b"payload") == (flags, code, version, expires, at) == read_head(head)


@given(st.binary(max_size=80), st.booleans())
def test_read_head_any_bytes_give_a_head_or_integrity_error(data, begun):
    """Catch a read behind the end, and an error that no caller expects."""
    if begun:
        data = bytes([0xF1, data[0] & 31 if data else 0, 1, 0]) + data
    for read in (read_head, split_record):
        try:
            flags, _, _, _, at = read(data)[:5]
        except IntegrityError:
            continue
        assert flags < 32
        assert HEAD_SIZE <= at <= len(data)


@pytest.mark.parametrize("size", range(HEAD_SIZE + 6))
def test_read_head_cut_off_is_integrity_error(size):
    """Catch a head that is read although its end is missing."""
    head = pack_head(0, 0, 1, 2, b"\x07\x02ab")
    with pytest.raises(IntegrityError, match=r"cut off|damaged"):
        read_head(head[:size])


@pytest.mark.parametrize(
    ("at", "byte", "words"),
    [(0, 0xF2, "not 0xf1"), (1, 32, "flags 0x20"), (1, 128, "flags 0x80"), (3, 1, "byte 0x01")],
)
def test_read_head_unknown_byte_is_integrity_error(at, byte, words):
    """Catch a record of a later format that is read as if it were of this one."""
    head = bytearray(pack_head(0, 0, 1, 2))
    head[at] = byte
    with pytest.raises(IntegrityError, match=words):
        read_head(bytes(head))


@pytest.mark.parametrize("area", [b"\x01", b"\x01\x05abc", b"\x01\x00\x02"])
def test_extensions_broken_triples_are_refused(area):
    """Catch an area whose last triple runs into the payload, in writing as in reading."""
    with pytest.raises(ValueError, match="whole triples"):
        pack_head(0, 0, 0, 0, area)
    record = bytes([0xF1, EXTENSION]) + bytes(18) + len(area).to_bytes(2, "big") + area
    with pytest.raises(IntegrityError, match="extension area"):
        read_head(record + b"payload")


def test_extensions_longest_area_is_read():
    """Catch a length that is taken for a signed or a shorter number."""
    area = area_of([(9, bytes(253))] * 257)
    assert len(area) == 65_535
    assert read_head(pack_head(0, 0, 0, 0, area))[4] == HEAD_SIZE + 2 + 65_535
    with pytest.raises(ValueError, match="65537 bytes"):
        pack_head(0, 0, 0, 0, area + b"\x00\x00")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((32, 0, 0, 0), ValueError),
        ((EXTENSION, 0, 0, 0), ValueError),
        ((0, 256, 0, 0), ValueError),
        ((0, 0, -1, 0), OverflowError),
        ((0, 0, 0, 2**64), OverflowError),
        ((0, 0, 0.5, 0), TypeError),
    ],
)
def test_pack_head_what_does_not_fit_is_refused(arguments, error):
    """Catch a number that is silently cut to its low bits."""
    with pytest.raises(error):
        pack_head(*arguments)


@pytest.mark.parametrize("record", [None, "text", bytearray(30), memoryview(bytes(30))])
def test_read_head_other_than_bytes_is_type_error(record):
    """Catch a read through a pointer into something that is no bytes."""
    for read in (read_head, split_record):
        with pytest.raises(TypeError):
            read(record)


def test_split_record_parts_are_those_of_the_format():
    """Catch a body that begins in the signature or in what goes before a frame."""
    plain = pack_head(0, 0, 1, 2) + b"body"
    assert split_record(plain) == (0, 0, 1, 2, 20, b"body", 4, 0)
    text = pack_head(0, 1, 1, 2) + "grün\ud800".encode("utf-8", "surrogatepass")
    assert split_record(text) == (0, 1, 1, 2, 20, "grün\ud800", 8, 0)
    flags = SIGNED | COMPRESSED | EXTENSION
    head = pack_head(SIGNED | COMPRESSED, 1, 1, 2, b"\x07\x00")
    record = head + b"s" * 16 + PACKED.pack(0xFFFFFFFE, 0xFFFFFFFD) + b"frame"
    assert split_record(record) == (flags, 1, 1, 2, 24, b"frame", 0xFFFFFFFD, 0xFFFFFFFE)
    for size in range(24, 48):
        with pytest.raises(IntegrityError, match="before its payload"):
            split_record(record[:size])


def test_split_record_damaged_text_is_integrity_error():
    """Catch a UnicodeDecodeError on its way to the caller of a cache."""
    with pytest.raises(IntegrityError, match="str is damaged"):
        split_record(pack_head(0, 1, 1, 2) + b"\xff")
