"""`Codec` without compression: what comes back, what is refused, and that nothing else happens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache._core import pack_head
from frys_cache.codec.entry import Codec
from frys_cache.codec.keys import encode_key
from frys_cache.codec.pickles import Pickle
from frys_cache.codec.record import COMPRESSED, NEGATIVE, PACKED, PICKLE, TOMBSTONE
from frys_cache.errors import (
    ConfigurationError,
    IntegrityError,
    KeyTooLarge,
    SerializationError,
    ValueTooLarge,
)
from frys_cache.types import MISSING

VALUES = [b"", b"bytes", "", "grün \U0001f600 \ud800", bytearray(b"array"), 0, -1.5, True, None]


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_decode_encoded_value_is_the_same(value):
    """Catch a value that changes its type or content, or that loses version or expiry."""
    codec = Codec()
    key = codec.key("key")
    back = codec.decode(key, codec.encode(key, value, 7, 2**63))
    assert back == (value, 7, 2**63)
    assert type(back[0]) is type(value)


def test_encode_bytes_is_head_and_value():
    """Catch a change of the format: stored records could not be read any more."""
    assert Codec().encode(b"k", b"value", 1, 2) == pack_head(0, 0, 1, 2) + b"value"
    assert Codec().encode(b"k", "value", 1, 2) == pack_head(0, 1, 1, 2) + b"value"


def test_encode_unknown_type_is_serialization_error():
    """Catch a value that is pickled without anyone having asked for it."""
    with pytest.raises(SerializationError):
        Codec().encode(b"k", object(), 1, 2)


def test_key_namespace_comes_first_and_goes_off():
    """Catch keys of two namespaces that meet, and a key that does not come back."""
    ours, theirs = Codec(namespace="a"), Codec(namespace="ab")
    assert ours.key("b") != theirs.key("")
    assert ours.key("b").startswith(ours.prefix())
    assert not theirs.key("b").startswith(ours.prefix())
    assert ours.user_key(ours.key("b")) == "b"
    assert Codec(namespace="é" * 127).key("b")[0] == 254
    assert ours.namespace == "a"
    for data in (theirs.key("b"), b"", ours.prefix() + b"\xff\xff"):
        with pytest.raises(IntegrityError):
            ours.user_key(data)


def test_prefix_covers_exactly_the_keys_that_begin_so():
    """Catch a scan that leaves the namespace or the type of its prefix."""
    codec = Codec()
    assert codec.key("users:1").startswith(codec.prefix("users:"))
    assert not codec.key(b"users:1").startswith(codec.prefix("users:"))
    assert codec.key(b"users:1").startswith(codec.prefix(b"users:"))
    assert codec.prefix("users:").startswith(codec.prefix(None))


def test_max_key_size_longer_key_is_refused():
    """Catch a limit that nobody looks at."""
    codec = Codec(max_key_size=10)
    codec.key("a")
    with pytest.raises(KeyTooLarge):
        codec.key("a" * 100)


@pytest.mark.parametrize("value", [b"x" * 11, "x" * 11, "é" * 6, bytearray(11)], ids=ascii)
def test_max_value_size_larger_value_is_refused(value):
    """Catch a limit in characters instead of bytes, in writing and in reading."""
    small, large = Codec(max_value_size=10), Codec()
    with pytest.raises(ValueTooLarge) as caught:
        small.encode(b"k", value, 1, 2)
    assert caught.value.max_size == 10
    assert caught.value.size >= 11
    with pytest.raises(IntegrityError, match="at most 10"):
        small.decode(b"k", large.encode(b"k", value, 1, 2))
    assert small.decode(b"k", large.encode(b"k", value[: len(value) // 2], 1, 2))


@pytest.mark.parametrize("serializer", [None, Pickle(secret=bytes(16))])
def test_absent_records_are_missing(serializer):
    """Catch a deletion that reads as an empty value."""
    codec = Codec(serializer=serializer)
    for record in (codec.negative(b"k", 3, 4), codec.tombstone(b"k", 3, 4)):
        assert codec.decode(b"k", record) == (MISSING, 3, 4)
        assert codec.expiry(record) == (3, 4)
    assert codec.negative(b"k", 3, 4) != codec.tombstone(b"k", 3, 4)


@pytest.mark.parametrize(
    "record",
    [
        pack_head(NEGATIVE, 0, 1, 2) + b"x",
        pack_head(NEGATIVE, 1, 1, 2),
        pack_head(NEGATIVE | TOMBSTONE, 0, 1, 2),
        pack_head(TOMBSTONE | COMPRESSED, 0, 1, 2) + bytes(8),
        pack_head(0, PICKLE, 1, 2) + b"N.",
        pack_head(0, 200, 1, 2),
        pack_head(0, 1, 1, 2) + b"\xff",
        pack_head(COMPRESSED, 0, 1, 2) + bytes(7),
        pack_head(0, 0, 1, 2)[:19],
        b"",
    ],
    ids=repr,
)
def test_decode_contradictory_record_is_integrity_error(record):
    """Catch a record that no encode writes and that is taken for a value."""
    with pytest.raises(IntegrityError):
        Codec().decode(b"k", record)


def test_decode_compressed_without_compressor_is_a_miss():
    """Catch a cache that fails on what it stored when compression was still on."""
    record = pack_head(COMPRESSED, 0, 1, 2) + PACKED.pack(0, 100) + b"frame"
    assert Codec().decode(b"k", record) is None


@given(
    st.sampled_from(VALUES),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4),
    st.integers(0, 60),
    st.binary(max_size=5),
    st.booleans(),
)
def test_decode_mutated_record_is_value_or_integrity_error(value, changes, size, tail, loose):
    """Catch any other exception, and any crash, from bytes that were damaged."""
    codec = Codec(serializer=Pickle(allow_unsigned_pickle=True) if loose else None)
    record = bytearray(codec.encode(b"k", value, 1, 2))
    for at, byte in changes:
        if at < len(record):
            record[at] = byte
    data = bytes(record[:size]) + tail
    try:
        found = codec.decode(b"k", data)
    except IntegrityError:
        return
    assert found is None or len(found) == 3


def test_decode_many_bad_record_does_not_spoil_the_others():
    """Catch one damaged record that makes a whole batch fail."""
    codec = Codec()
    good = codec.encode(b"a", 1, 5, 6)
    out = codec.decode_many([b"a", b"b", b"c", b"a"], [good, None, b"garbage", good])
    assert out[:2] == [(1, 5, 6), None]
    assert isinstance(out[2], IntegrityError)
    assert out[2].__traceback__ is None
    assert out[3] == (1, 5, 6)
    with pytest.raises(ValueError, match="shorter"):
        codec.decode_many([b"a"], [])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"namespace": ""}, ConfigurationError, "1 to 255"),
        ({"namespace": "é" * 128}, ConfigurationError, "256 bytes"),
        ({"namespace": "\ud800"}, ConfigurationError, "utf-8"),
        ({"namespace": b"a"}, TypeError, "must be a str"),
        ({"serializer": "pickle"}, TypeError, "Pickle"),
        ({"compressor": 3}, TypeError, "Compressor"),
        ({"max_key_size": 0}, ConfigurationError, "max_key_size 0"),
        ({"max_value_size": 1 << 32}, ConfigurationError, "max_value_size"),
        ({"max_value_size": True}, TypeError, "max_value_size"),
        ({"max_value_size": 1e6}, TypeError, "float"),
    ],
)
def test_codec_bad_argument_is_refused_by_name(arguments, error, words):
    """Catch an argument that is taken and fails at the first put."""
    with pytest.raises(error, match=words):
        Codec(**arguments)


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_encode_version_and_expiry_beyond_u64_are_refused(number):
    """Catch a version that wraps round and loses to an older one."""
    with pytest.raises(OverflowError):
        Codec().encode(b"k", b"v", number, 0)
    with pytest.raises(OverflowError):
        Codec().encode(b"k", b"v", 0, number)


@pytest.mark.parametrize("namespace", ["default", "n", "n" * 255, "é"])
def test_key_of_plain_types_is_what_the_key_codec_makes(namespace):
    """Catch the short way for plain keys that makes other bytes than the long one."""
    codec = Codec(namespace=namespace, max_key_size=20)
    texts = ["", "a", "user:1", "\0", "\x7f", "x" * 19, "é", "\ud800", "漢字"]
    for key in [*texts, *(text.encode("utf-8", "surrogatepass") for text in texts), 1, None, (1,)]:
        data = codec.key(key)
        assert data == codec.prefix(None) + encode_key(key)
        assert codec.user_key(data) == key
    for key in ("x" * 20, b"x" * 20, "é" * 10):
        with pytest.raises(KeyTooLarge) as caught:
            codec.key(key)
        assert (caught.value.size, caught.value.max_size) == (21, 20)
