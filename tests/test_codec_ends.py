"""Two ends of a record: until when it is fresh, and until when a tier keeps it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache._core import is_stale, pack_head, read_ends, split_record
from frys_cache.codec.compression import Compressor
from frys_cache.codec.entry import Codec
from frys_cache.codec.pickles import Pickle
from frys_cache.codec.record import EXTENSION, HEAD_SIZE, NEGATIVE
from frys_cache.errors import IntegrityError
from frys_cache.types import MISSING

U64 = st.integers(0, 2**64 - 1)
CODECS = {
    "plain": Codec,
    "compressed": lambda: Codec(compressor=Compressor(learns=False)),
    "signed": lambda: Codec(serializer=Pickle(secret=bytes(16))),
    "signed and compressed": lambda: Codec(
        serializer=Pickle(secret=bytes(16)), compressor=Compressor(learns=False)
    ),
}
VALUES = [b"bytes" * 50, b"", "text" * 50, 17, None, bytearray(b"x" * 100)]


@pytest.fixture(params=CODECS.values(), ids=list(CODECS))
def codec(request):
    """Give a codec of each kind."""
    return request.param()


def test_encode_with_a_fresh_end_bytes_are_those_of_the_format():
    """Catch a tag, a length or a byte order that other processes do not know."""
    record = Codec().encode(b"k", b"value", 1, 9, fresh_ms=0x0102030405060708, load_ms=0x11121314)
    area = bytes.fromhex("01 08 0102030405060708 02 04 11121314")
    assert record == pack_head(0, 0, 1, 9, area) + b"value"
    assert Codec().encode(b"k", b"v", 1, 9, fresh_ms=5) == (
        pack_head(0, 0, 1, 9, b"\x01\x08" + bytes(7) + b"\x05") + b"v"
    )


def test_encode_without_a_fresh_end_adds_nothing(codec):
    """Catch a record that grows for a cache that serves nothing stale."""
    for value in VALUES:
        plain = codec.encode(b"k", value, 1, 9)
        assert codec.encode(b"k", value, 1, 9, fresh_ms=0, load_ms=70) == plain
        assert not plain[1] & EXTENSION
        assert codec.ends(plain) == (1, 9, 9, 0)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_decode_gives_the_fresh_end_and_ends_gives_both(codec, value):
    """Catch a reader that takes a stale value for a fresh one, by whichever way it decodes."""
    plain = codec.encode(b"k", value, 3, 900)
    record = codec.encode(b"k", value, 3, 900, fresh_ms=500, load_ms=70)
    assert codec.decode(b"k", record) == (value, 3, 500)
    assert codec.decode_many([b"k"] * 3, [record, None, plain]) == [
        (value, 3, 500),
        None,
        (value, 3, 900),
    ]
    assert codec.ends(record) == (3, 500, 900, 70)
    assert codec.expiry(record) == (3, 900)
    assert type(codec.decode(b"k", record)[0]) is type(value)


@pytest.mark.parametrize(
    ("fresh", "hard", "seen"),
    [(5, 0, 5), (5, 5, 5), (6, 5, 5), (2**64 - 1, 5, 5), (2**64 - 1, 0, 2**64 - 1)],
)
def test_ends_fresh_never_lies_behind_the_hard_end(fresh, hard, seen):
    """Catch a value that is served when it should be gone."""
    record = Codec().encode(b"k", b"v", 1, hard, fresh_ms=fresh)
    assert Codec().ends(record) == (1, seen, hard, 0)
    assert Codec().decode(b"k", record)[2] == seen


def test_signature_covers_the_ends():
    """Catch a life that a forger prolongs."""
    codec = CODECS["signed"]()
    record = bytearray(codec.encode(b"k", b"value", 1, 900, fresh_ms=500))
    record[HEAD_SIZE + 4 + 7] += 1
    with pytest.raises(IntegrityError, match="signature"):
        codec.decode(b"k", bytes(record))


@pytest.mark.parametrize(
    ("area", "ends"),
    [
        (b"", (900, 0)),
        (b"\x07\x02ab", (900, 0)),
        (b"\x07\x02ab\x01\x08" + bytes(6) + b"\x01\x02\xff\x00", (258, 0)),
        (b"\x02\x04\x00\x00\x01\x00", (900, 256)),
        (b"\x01\x08" + bytes(8), (900, 0)),
        (b"\x01\x08" + bytes(7) + b"\x05\x01\x08" + bytes(7) + b"\x06", (6, 0)),
    ],
)
def test_ends_other_tags_are_skipped(area, ends):
    """Catch a reader that stops at the first tag that it does not know."""
    record = pack_head(0, 0, 1, 900, area) + b"value"
    assert read_ends(record) == (1, ends[0], 900, ends[1])
    assert Codec().decode(b"k", record) == (b"value", 1, ends[0])
    zipped = CODECS["compressed"]()
    assert zipped.decode_many([b"k"], [record]) == [(b"value", 1, ends[0])]


@pytest.mark.parametrize(
    "area",
    [bytes([1, size]) + bytes(size) for size in (0, 7, 9, 255)]
    + [bytes([2, size]) + bytes(size) for size in (0, 3, 5, 8)]
    + [b"\x07\x00\x01\x04" + bytes(4)],
    ids=lambda area: area[:4].hex(),
)
def test_ends_known_tag_of_another_length_is_integrity_error(area):
    """Catch a number that is read from bytes that are none."""
    record = pack_head(0, 0, 1, 900, area) + b"value"
    for read in (read_ends, split_record, Codec().ends, lambda data: Codec().decode(b"k", data)):
        with pytest.raises(IntegrityError, match="wrong length"):
            read(record)
    assert isinstance(CODECS["compressed"]().decode_many([b"k"], [record])[0], IntegrityError)
    assert is_stale(record, 2**63) is False


def model(area, hard):
    """Return (fresh, load) of an area, or None if it is damaged: the format, written again."""
    fresh, load = hard, 0
    while area:
        if len(area) < 2 or len(area) < 2 + area[1]:
            return None
        tag, data, area = area[0], area[2 : 2 + area[1]], area[2 + area[1] :]
        if tag in (1, 2) and len(data) != {1: 8, 2: 4}[tag]:
            return None
        if tag == 1:
            number = struct.unpack(">Q", data)[0]
            fresh = min(number, hard or number) if number else hard
        elif tag == 2:
            load = struct.unpack(">I", data)[0]
    return fresh, load


TAGS = st.tuples(
    st.sampled_from([1, 2, 3]), st.sampled_from([0, 4, 8, 9]), st.binary(max_size=10)
).map(lambda parts: bytes(parts[:2]) + parts[2])
AREAS = st.one_of(
    st.binary(max_size=40),
    st.lists(TAGS, max_size=5).map(b"".join),
    st.lists(
        st.one_of(
            U64.map(lambda end: b"\x01\x08" + end.to_bytes(8, "big")),
            st.integers(0, 2**32 - 1).map(lambda load: b"\x02\x04" + load.to_bytes(4, "big")),
            st.binary(max_size=9).map(lambda data: b"\x09" + bytes([len(data)]) + data),
        ),
        max_size=5,
    ).map(b"".join),
)


@given(area=AREAS, hard=st.sampled_from([0, 1, 1000, 2**63]) | U64, body=st.binary(max_size=9))
def test_ends_any_bytes_as_extension_area_are_as_the_model_says(area, hard, body):
    """Catch a read behind the area, a loop without end, and readers that disagree."""
    head = bytes([0xF1, EXTENSION, 0, 0]) + struct.pack(">QQH", 7, hard, len(area))
    record = head + area + body
    wanted = model(area, hard)
    zipped = Codec(compressor=COMPRESSOR)
    if wanted is None:
        for read in (read_ends, split_record):
            with pytest.raises(IntegrityError):
                read(record)
        assert isinstance(zipped.decode_many([b"k"], [record])[0], IntegrityError)
        assert is_stale(record, 2**64 - 1) is False
        return
    fresh, load = wanted
    assert read_ends(record) == (7, fresh, hard, load)
    assert split_record(record)[2:6] == (7, fresh, len(head) + len(area), body)
    assert zipped.decode(b"k", record) == (body, 7, fresh)
    assert zipped.decode_many([b"k"], [record]) == [(body, 7, fresh)]
    for now in {0, max(fresh, 1) - 1, fresh, 2**64 - 1}:
        assert is_stale(record, now) is (0 < fresh <= now)


COMPRESSOR = Compressor(learns=False)


@given(st.binary(max_size=60), st.booleans())
def test_is_stale_any_bytes_give_an_answer(data, begun):
    """Catch a read behind the end of a record that is cut off."""
    record = bytes([0xF1, EXTENSION, 0, 0]) + data if begun else data
    assert is_stale(record, 2**63) in (True, False)
    try:
        ends = read_ends(record)
    except IntegrityError:
        return
    assert is_stale(record, 2**63) is (bool(record[1] & EXTENSION) and 0 < ends[1] <= 2**63)


@pytest.mark.parametrize(
    ("ends", "error"),
    [
        ({"fresh_ms": -1}, OverflowError),
        ({"fresh_ms": 1 << 64}, OverflowError),
        ({"fresh_ms": 1.5}, TypeError),
        ({"fresh_ms": 1, "load_ms": -1}, OverflowError),
        ({"fresh_ms": 1, "load_ms": 1.5}, TypeError),
    ],
)
def test_encode_ends_that_do_not_fit_are_refused(ends, error):
    """Catch a moment that is cut to its low bits."""
    with pytest.raises(error):
        Codec().encode(b"k", b"v", 1, 0, **ends)


def test_encode_load_time_beyond_49_days_is_the_longest():
    """Catch a load that fails because it took so long."""
    record = Codec().encode(b"k", b"v", 1, 0, fresh_ms=1, load_ms=1 << 40)
    assert Codec().ends(record)[3] == (1 << 32) - 1


def test_negative_record_has_no_fresh_end():
    """Catch an absence that is served stale."""
    record = Codec().negative(b"k", 3, 4)
    assert record == pack_head(NEGATIVE, 0, 3, 4)
    assert Codec().ends(record) == (3, 4, 4, 0)
    assert Codec().decode(b"k", record) == (MISSING, 3, 4)
