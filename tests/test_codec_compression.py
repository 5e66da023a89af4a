"""`Compressor`: frames that pay, bombs that do not go off, dictionaries that are kept."""

import gc
import random
import subprocess
import sys
import threading
import weakref

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from frys_cache.codec.compression import SAMPLES, Compressor, name_of
from frys_cache.codec.entry import Codec
from frys_cache.codec.record import COMPRESSED, PACKED
from frys_cache.errors import ConfigurationError, IntegrityError

MAX = 1 << 20
LONG = 60  # seconds that a training may take on a busy machine


def users(count, seed=1, fields=("name", "mail", "city", "created_at", "last_login")):
    """Return values that are alike, as rows of a table are."""
    rng = random.Random(seed)
    return [
        ",".join(f'"{field}":"{rng.getrandbits(32):x}"' for field in fields).encode()
        for _ in range(count)
    ]


def taught(**arguments):
    """Return a compressor that has learned users."""
    compressor = Compressor(**arguments)
    for value in users(SAMPLES):
        compressor.compress(value)
    assert compressor.settle(LONG)
    return compressor


def test_compress_what_pays_comes_back():
    """Catch a frame that cannot be read, or that another implementation could not read."""
    compressor, data = Compressor(), b"0123456789" * 50
    name, frame = compressor.compress(data)
    assert name == 0
    assert compressor.decompress(frame, 0, len(data), MAX) == data
    assert zstandard.decompress(frame) == data
    assert not zstandard.get_frame_parameters(frame).has_checksum


@pytest.mark.parametrize(
    "data", [b"", b"a" * 63, random.Random(1).randbytes(1000), random.Random(1).randbytes(100_000)]
)
def test_compress_what_does_not_pay_is_none(data):
    """Catch a frame that is stored although it is no smaller, which would only cost time."""
    assert Compressor().compress(data) is None


@pytest.mark.parametrize("level", [1, 3, 22])
def test_level_any_that_there_is_works(level):
    """Catch a level that zstd knows and we refuse."""
    compressor = Compressor(level)
    assert compressor.level == level
    name, frame = compressor.compress(bytes(1000))
    assert compressor.decompress(frame, name, 1000, MAX) == bytes(1000)


@pytest.mark.parametrize(
    ("level", "error"),
    [(0, ConfigurationError), (23, ConfigurationError), (True, TypeError), (3.0, TypeError)],
)
def test_level_other_is_refused(level, error):
    """Catch a level that zstd silently takes for another."""
    with pytest.raises(error, match="level"):
        Compressor(level)


def test_decompress_bomb_is_refused_before_it_grows():
    """Catch 32 KB that take 1 GiB of memory, whatever size the record claims."""
    piece = bytes(1 << 20)
    writer = zstandard.ZstdCompressor().compressobj(size=1 << 30)
    bomb = b"".join([*(writer.compress(piece) for _ in range(1 << 10)), writer.flush()])
    assert len(bomb) < 100_000
    compressor = Compressor()
    for claimed in (1 << 30, 1000, MAX, MAX + 1, 0):
        with pytest.raises(IntegrityError, match="bytes"):
            compressor.decompress(bomb, 0, claimed, MAX)
    # A frame that lies: its header says 1,000 bytes and its blocks hold more.
    small = zstandard.ZstdCompressor().compress(bytes(1000))
    body = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(MAX))
    with pytest.raises(IntegrityError, match="damaged"):
        compressor.decompress(small[:7] + body[6:], 0, 1000, MAX)


def test_decompress_frame_without_size_is_refused():
    """Catch a frame whose size is only known when it has been decompressed."""
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(IntegrityError, match="does not say"):
        Compressor().decompress(frame, 0, 1000, MAX)


def test_decompress_what_follows_the_frame_is_refused():
    """Catch bytes that hide behind a frame, in a second one, or in one that zstd skips."""
    compressor = Compressor()
    frame = zstandard.compress(bytes(1000))
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"hide"
    for data, size in [
        (frame + b"x", 1000),
        (frame + frame, 1000),
        (frame + frame, 2000),
        (frame + skippable, 1000),
        (skippable, 1),
        (skippable, 0),
        (skippable + frame, 1000),
    ]:
        with pytest.raises(IntegrityError):
            compressor.decompress(data, 0, size, MAX)


@given(st.binary(max_size=60), st.integers(0, 2000))
def test_decompress_any_bytes_are_integrity_error(data, size):
    """Catch an error of zstandard on its way to the caller of a cache."""
    with pytest.raises(IntegrityError):
        Compressor().decompress(b"\x28\xb5\x2f\xfd" + data, 0, size, MAX)


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 300),
    st.binary(max_size=5),
)
def test_decode_mutated_compressed_record_is_value_none_or_integrity_error(changes, size, tail):
    """Catch any other exception from a compressed record that was damaged, and any crash."""
    codec = Codec(compressor=Compressor())
    record = bytearray(codec.encode(b"k", users(1)[0] * 4, 1, 2))
    assert record[1] == COMPRESSED
    for at, byte in changes:
        if at < len(record):
            record[at] = byte
    try:
        found = codec.decode(b"k", bytes(record[:size]) + tail)
    except IntegrityError:
        return
    assert found is None or len(found) == 3


def test_codec_limit_holds_for_what_a_record_claims():
    """Catch a compressed value that is larger than any uncompressed one may be."""
    record = Codec(compressor=Compressor()).encode(b"k", bytes(10_000), 1, 2)
    assert len(record) < 100
    with pytest.raises(IntegrityError, match="10000 bytes"):
        Codec(compressor=Compressor(), max_value_size=9999).decode(b"k", record)


def test_dictionary_is_kept_before_it_is_used_and_helps():
    """Catch frames that nobody can read after a restart."""
    kept = {}
    compressor = taught(keep=kept.__setitem__)
    name = compressor.dictionary_id
    assert list(kept) == [name] == [name_of(kept[name])]
    assert len(kept[name]) <= 65_536
    value = users(1, seed=2)[0]
    used, frame = compressor.compress(value)
    assert used == name
    alone = Compressor().compress(value)
    assert alone is None or len(frame) < 0.95 * len(alone[1])
    assert compressor.decompress(frame, used, len(value), MAX) == value
    later = Compressor(load=kept.get)
    assert later.decompress(frame, used, len(value), MAX) == value
    assert later.dictionary_id == 0
    assert later.use(kept[name]) == name
    assert later.compress(value) == (name, frame)


def test_dictionary_unknown_one_is_a_miss():
    """Catch an error where a dictionary of another process has not been fetched yet."""
    compressor = taught()
    value = users(1, seed=2)[0]
    name, frame = compressor.compress(value)
    asked = []
    assert Compressor().decompress(frame, name, len(value), MAX) is None
    assert Compressor(load=asked.append).decompress(frame, name, len(value), MAX) is None
    assert asked == [name]
    record = Codec(compressor=compressor).encode(b"k", value, 1, 2)
    assert Codec(compressor=Compressor()).decode(b"k", record) is None


def test_dictionary_damaged_one_is_integrity_error():
    """Catch a value that is decompressed to something else with a damaged dictionary."""
    kept = {}
    compressor = taught(keep=kept.__setitem__)
    value = users(1, seed=2)[0]
    name, frame = compressor.compress(value)
    for damaged in (b"", kept[name][:-1], bytes(100)):
        later = Compressor(load=lambda _, damaged=damaged: damaged)
        with pytest.raises(IntegrityError, match="hash differs"):
            later.decompress(frame, name, len(value), MAX)
    with pytest.raises(IntegrityError, match="damaged"):
        Compressor().use(kept[name][:20])
    other = Compressor(load=kept.get)
    with pytest.raises(IntegrityError):
        other.decompress(frame, 0, len(value), MAX)


def test_dictionary_not_kept_is_not_used():
    """Catch frames with a dictionary that was lost because the disk was full."""

    def keep(name, dictionary):
        raise OSError("disk full")

    compressor = taught(keep=keep)
    assert compressor.dictionary_id == 0
    assert compressor.compress(bytes(1000))[0] == 0


def test_dictionary_that_does_not_help_is_not_used():
    """Catch a dictionary that costs time and memory and saves nothing."""
    kept = {}
    compressor = Compressor(keep=kept.__setitem__)
    rng = random.Random(1)
    for _ in range(SAMPLES):
        compressor.compress(rng.randbytes(200))
    assert compressor.settle(LONG)
    assert (compressor.dictionary_id, kept) == (0, {})


@pytest.mark.parametrize("data", [b"", b"same", bytes(300)])
def test_dictionary_of_hopeless_samples_ends_in_none(data):
    """Catch an error in the training thread, of samples that zstd cannot train from."""
    compressor = Compressor()
    for _ in range(SAMPLES):
        compressor.compress(data)
    assert compressor.settle(LONG)
    name, frame = compressor.compress(bytes(1000))
    assert compressor.decompress(frame, name, 1000, MAX) == bytes(1000)


def test_dictionary_compresses_values_too_short_alone():
    """Catch a bound for short values that holds although a dictionary would help them."""
    compressor = Compressor()
    short = [b'{"status":"active","group":%06d}' % (i * 7919 % 10**6) for i in range(SAMPLES)]
    for value in short:
        assert compressor.compress(value) is None
    assert compressor.settle(LONG)
    name, frame = compressor.compress(short[5])
    assert name == compressor.dictionary_id != 0
    assert compressor.decompress(frame, name, len(short[5]), MAX) == short[5]


def test_dictionary_is_trained_again_when_values_change():
    """Catch a dictionary that stays for ever, and frames of the old one that become unreadable."""
    kept = {}
    compressor = taught(keep=kept.__setitem__)
    first = compressor.dictionary_id
    old = users(1, seed=2)[0]
    name, frame = compressor.compress(old)
    for seed in (3, 4):  # the window that says what is usual, and one like it
        for value in users(SAMPLES, seed):
            compressor.compress(value)
        assert compressor.settle(LONG)
    assert compressor.dictionary_id == first
    fields = ("order_number", "article", "quantity", "price_in_cents", "delivery_address")
    for seed in (5, 6):  # a window that differs, then the samples
        for value in users(SAMPLES, seed, fields):
            compressor.compress(value)
        assert compressor.settle(LONG)
    assert compressor.dictionary_id not in (0, first)
    assert set(kept) == {first, compressor.dictionary_id}
    assert compressor.decompress(frame, name, len(old), MAX) == old


def test_dictionaries_known_are_bounded_where_they_can_be_loaded_again():
    """Catch 64 KiB and more for every dictionary that a cache has ever had."""
    dictionaries = {name_of(d): d for d in (bytes([i]) * 100 for i in range(40))}
    compressor = Compressor(load=dictionaries.get)
    frames = {}
    for name, dictionary in dictionaries.items():
        assert compressor.use(dictionary) == name
        frames[name] = compressor.compress(dictionary * 2)
    assert len(compressor._known) < 20
    for name, dictionary in dictionaries.items():
        assert frames[name][0] == name
        assert compressor.decompress(frames[name][1], name, 200, MAX) == dictionary * 2
    assert len(compressor._known) < 20


def test_training_does_not_hold_the_compressor():
    """Catch a thread that keeps a closed cache alive, or adopts for one that is gone."""
    kept = []
    compressor = Compressor(keep=lambda *pair: kept.append(pair))
    for value in users(SAMPLES):
        compressor.compress(value)
    thread = compressor._training.thread
    watch = weakref.ref(compressor)
    del compressor
    gc.collect()
    thread.join(LONG)
    # Either it was gone in time, or the training was so fast that it was still there.
    assert watch() is None
    assert not thread.is_alive()


def test_close_nothing_is_kept_afterwards():
    """Catch a dictionary that is written into a store that has been closed."""
    kept = []
    compressor = Compressor(keep=lambda *pair: kept.append(pair))
    for value in users(SAMPLES):
        compressor.compress(value)
    compressor.close()
    count = len(kept)
    assert compressor.settle(LONG)
    assert len(kept) == count
    name, frame = compressor.compress(bytes(1000))
    assert compressor.decompress(frame, name, 1000, MAX) == bytes(1000)
    compressor.close()
    for value in users(2 * SAMPLES):
        compressor.compress(value)
    assert compressor.settle(0)
    assert len(kept) == count


def test_close_waits_for_a_keep_under_way():
    """Catch a store that is closed while a dictionary is being written."""
    begun, go, kept = threading.Event(), threading.Event(), []

    def keep(name, dictionary):
        begun.set()
        go.wait(LONG)
        kept.append(name)

    compressor = Compressor(keep=keep)
    for value in users(SAMPLES):
        compressor.compress(value)
    assert begun.wait(LONG)
    assert not compressor.settle(0)
    closing = threading.Thread(target=compressor.close)
    closing.start()
    assert kept == []
    go.set()
    closing.join(LONG)
    assert kept == [compressor.dictionary_id]


def test_threads_each_value_comes_back():
    """Catch a context of zstd that two threads use at once, and two trainings of one sample."""
    kept, wrong = [], []
    compressor = Compressor(keep=lambda *pair: kept.append(pair))

    def work(seed):
        for value in users(SAMPLES, seed):
            packed = compressor.compress(value)
            if packed and compressor.decompress(packed[1], packed[0], len(value), MAX) != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert compressor.settle(LONG)
    assert wrong == []
    assert len(kept) == 1


def test_fork_during_training_child_works():
    """Catch a child that waits for a thread which only its parent has."""
    code = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from test_codec_compression import Compressor, SAMPLES, users
compressor = Compressor()
for value in users(SAMPLES):
    compressor.compress(value)
child = os.fork()
value = users(1, seed=9)[0] * 5
name, frame = compressor.compress(value)
assert compressor.decompress(frame, name, len(value), 10**6) == value
assert compressor.settle(60)
compressor.close()
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    run(code)


def test_exit_during_training_ends_the_process():
    """Catch an interpreter that hangs or crashes because a dictionary is not ready."""
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from test_codec_compression import Compressor, SAMPLES, users
compressor = Compressor(19)
for value in users(SAMPLES):
    compressor.compress(value * 20)
assert not compressor.settle(0)
print("done")
"""
    for _ in range(3):
        assert run(code) == "done\n"


def test_without_zstandard_the_error_says_what_to_install():
    """Catch an ImportError that names a package nobody has asked for."""
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
sys.modules["zstandard"] = None
from frys_cache.codec.compression import Compressor
from frys_cache.errors import ConfigurationError
try:
    Compressor()
except ConfigurationError as error:
    print(error)
"""
    assert "pip install 'frys-cache[persistent]'" in run(code)


def run(code):
    """Run code in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_codec_dictionary_id_and_size_stand_before_the_frame():
    """Catch a change of the format of compressed payloads."""
    data = bytes(1000)
    record = Codec(compressor=Compressor()).encode(b"k", data, 1, 2)
    assert PACKED.unpack_from(record, 20) == (0, 1000)
    assert zstandard.decompress(record[28:]) == data
