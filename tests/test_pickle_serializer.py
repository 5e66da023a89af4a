"""Pickles: loaded only if they are signed as this cache signs, or if that was waived."""

import contextlib
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frys_cache.codec.entry import Codec
from frys_cache.codec.pickles import Pickle
from frys_cache.errors import ConfigurationError, IntegrityError, SerializationError, Unreadable

SECRET = b"a secret of this test, 32 bytes."
OTHER = b"another secret, of the same test"
LOADED = []


def explode():
    """Tell that it was called."""
    LOADED.append(1)


class Bomb:
    """What tells that it was unpickled, as a forged pickle would do worse."""

    def __reduce__(self):
        return explode, ()


class Unpicklable:
    """What raises when it is pickled."""

    def __reduce__(self):
        raise LookupError("no")


@pytest.fixture
def codec():
    """Return a codec that signs."""
    return Codec(serializer=Pickle(secret=SECRET))


@pytest.fixture(autouse=True)
def nothing_loaded():
    """Begin with no bomb gone off."""
    LOADED.clear()


def test_pickle_without_secret_is_refused():
    """Catch a cache that loads whatever pickle it finds, without anyone having said so."""
    with pytest.raises(ConfigurationError, match="allow_unsigned_pickle"):
        Pickle()
    with pytest.raises(ConfigurationError, match="not both"):
        Pickle(secret=SECRET, allow_unsigned_pickle=True)
    assert not Pickle(allow_unsigned_pickle=True).signs


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        (b"", ConfigurationError),
        (b"15 bytes, short", ConfigurationError),
        ([], ConfigurationError),
        ((SECRET, b"short"), ConfigurationError),
        ("a str of more than 16 characters", TypeError),
        ([SECRET, None], TypeError),
        ({SECRET}, TypeError),
        (5, TypeError),
    ],
)
def test_pickle_bad_secret_is_refused(secret, error):
    """Catch a key that can be guessed, and one that is none."""
    with pytest.raises(error, match="secret"):
        Pickle(secret=secret)


@pytest.mark.parametrize("secret", [b"16 bytes, enough", bytes(64), bytes(200)])
def test_pickle_secret_of_any_length_signs(secret):
    """Catch the 64 bytes that a key of BLAKE2b may have at most."""
    codec = Codec(serializer=Pickle(secret=secret))
    assert codec.decode(b"k", codec.encode(b"k", {1}, 1, 2)) == ({1}, 1, 2)


def test_pickle_long_secrets_with_same_beginning_differ():
    """Catch a secret that is cut to what fits."""
    ours, theirs = (Codec(serializer=Pickle(secret=bytes(64) + end)) for end in (b"a", b"b"))
    with pytest.raises(IntegrityError, match="signature"):
        ours.decode(b"k", theirs.encode(b"k", 1, 1, 2))


@pytest.mark.parametrize(
    "value", [b"bytes", "str", "", 1, None, (1, [2]), {"a": {1}}, ...], ids=repr
)
def test_codec_with_pickle_value_comes_back_the_same(codec, value):
    """Catch a type that changes on its way, and one whose signature cannot be checked."""
    back = codec.decode(b"k", codec.encode(b"k", value, 1, 2))
    assert back == (value, 1, 2)
    assert type(back[0]) is type(value)


@pytest.mark.parametrize("value", [b"bytes", "str", [1]], ids=repr)
def test_codec_with_pickle_any_flipped_bit_is_refused(codec, value):
    """Catch a byte of the record that the signature does not cover."""
    record = codec.encode(b"k", value, 1, 2)
    for bit in range(len(record) * 8):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            codec.decode(b"k", bytes(changed))


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_codec_with_pickle_forged_record_is_refused(data, start, end):
    """Catch a record that passes although its writer has no secret."""
    codec = Codec(serializer=Pickle(secret=SECRET))
    record = codec.encode(b"k", [1, 2], 1, 2)
    forged = record[:start] + data + record[end:]
    if forged == record:
        return
    with pytest.raises(IntegrityError):
        codec.decode(b"k", forged)


def test_codec_with_pickle_record_of_another_place_is_refused(codec):
    """Catch records swapped between keys or namespaces, or parts moved from one to the next."""
    record = codec.encode(b"key", [1], 1, 2)
    elsewhere = Codec(namespace="elsewhere", serializer=Pickle(secret=SECRET))
    for reader, key in [(codec, b"kez"), (codec, b"ke"), (codec, b"key\xf1"), (elsewhere, b"key")]:
        with pytest.raises(IntegrityError, match="signature"):
            reader.decode(key, record)
    for empty in (codec.negative, codec.tombstone):
        with pytest.raises(IntegrityError, match="signature"):
            codec.decode(b"other", empty(b"key", 1, 2))


def test_codec_with_pickle_unsigned_record_is_never_loaded(codec):
    """Catch a record that says itself how it is to be checked."""
    loose = Codec(serializer=Pickle(allow_unsigned_pickle=True))
    record = loose.encode(b"k", Bomb(), 1, 2)
    with pytest.raises(IntegrityError, match="not signed"):
        codec.decode(b"k", record)
    with pytest.raises(IntegrityError, match="no serializer"):
        Codec().decode(b"k", record)
    theirs = Codec(serializer=Pickle(secret=OTHER)).encode(b"k", Bomb(), 1, 2)
    with pytest.raises(IntegrityError, match="signature"):
        codec.decode(b"k", theirs)
    assert LOADED == []
    loose.decode(b"k", record)
    assert LOADED == [1]


def test_codec_without_secret_signed_record_is_refused(codec):
    """Catch a signature that nobody checks and that is taken for a part of the value."""
    record = codec.encode(b"k", b"value", 1, 2)
    for other in (Codec(), Codec(serializer=Pickle(allow_unsigned_pickle=True))):
        with pytest.raises(IntegrityError, match="no secret"):
            other.decode(b"k", record)


def test_pickle_ring_old_records_are_read_and_the_first_signs(codec):
    """Catch a change of the secret that loses everything, or that never ends."""
    record = codec.encode(b"k", [1], 1, 2)
    both = Codec(serializer=Pickle(secret=[OTHER, SECRET]))
    assert both.decode(b"k", record) == ([1], 1, 2)
    newer = both.encode(b"k", [1], 1, 2)
    assert Codec(serializer=Pickle(secret=(OTHER,))).decode(b"k", newer) == ([1], 1, 2)
    with pytest.raises(IntegrityError):
        codec.decode(b"k", newer)


def test_dumps_value_that_cannot_be_pickled_is_serialization_error(codec):
    """Catch an error of pickle, of whatever type, on its way to the caller of put."""
    loop = []
    for _ in range(100_000):
        loop = [loop]
    for value in (lambda: 0, Unpicklable(), loop, (i for i in ())):
        with pytest.raises(SerializationError, match="cannot be pickled") as caught:
            codec.encode(b"k", value, 1, 2)
        assert caught.value.__cause__ is not None
    while loop:
        loop = loop[0]


@given(st.binary(max_size=40))
def test_loads_any_bytes_give_a_value_or_integrity_error(data):
    """Catch an error of pickle on its way to the caller of get."""
    serializer = Pickle(allow_unsigned_pickle=True)
    # Without the opcodes that look for a name, or a garbage pickle might do anything.
    data = data.translate(None, b"cioR\x93\x81\x92\x94PQ\x82\x83\x84\x95")
    with contextlib.suppress(IntegrityError, MemoryError):  # it may claim any length
        serializer.loads(data)


def test_loads_class_that_is_gone_is_integrity_error():
    """Catch an AttributeError after a class was renamed, or a record deleted for it."""
    with pytest.raises(Unreadable, match="AttributeError"):
        Pickle(allow_unsigned_pickle=True).loads(b"cbuiltins\nno_such_thing\n.")


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_loads_with_no_room_passes_unchanged(error):
    """Catch a good record taken for a bad one because its reader is deep, or short of memory."""

    class Raises:
        def __reduce__(self):
            return RAISES[error], ()

    serializer = Pickle(allow_unsigned_pickle=True)
    with pytest.raises(error, match="no room"):
        serializer.loads(serializer.dumps(Raises()))


def raise_memory():
    raise MemoryError("no room")


def raise_recursion():
    raise RecursionError("no room")


RAISES = {MemoryError: raise_memory, RecursionError: raise_recursion}


def test_pickle_secret_is_not_shown_nor_copied():
    """Catch a secret in a log, or in a pickle of the configuration."""
    one, two, none = (
        Pickle(secret=SECRET),
        Pickle(secret=[SECRET, OTHER]),
        Pickle(allow_unsigned_pickle=True),
    )
    shown = [repr(each) for each in (one, two, none)]
    assert shown == ["<Pickle signed, 1 secret>", "<Pickle signed, 2 secrets>", "<Pickle unsigned>"]
    for secretive in (one, two):
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="the secret would go along"):
                duplicate(secretive)
    assert not pickle.loads(pickle.dumps(none)).signs
    assert not copy.deepcopy(none).signs
    assert one != Pickle(secret=SECRET)
