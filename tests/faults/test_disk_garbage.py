"""Hostile and damaged records on disk: each is a miss and counted, none is a value or a crash."""

import os
import pickle
import random
import resource

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
import zstandard

from frys_cache import KeyTooLarge, ValueTooLarge
from frys_cache.codec.pickles import Pickle
from frys_cache.testing import make_record
from frys_cache.tiers.persistent import PersistentCache

HOUR_MS = 3_600_000
NOW = 1_700_000_000_000


@pytest.fixture
def cache(tmp_path):
    """Give an empty cache."""
    with PersistentCache(tmp_path / "db") as cache:
        yield cache


def plant(cache, key, record):
    """Put bytes where the record of a key belongs."""
    cache.tier.rocks.put_data(cache.codec.key(key), record)


def packed(frame, size, dictionary=0, code=0):
    """Return a record with a compressed payload."""
    head = b"\xf1" + bytes([16, code, 0]) + (1).to_bytes(8, "big") + bytes(8)
    return head + dictionary.to_bytes(4, "big") + size.to_bytes(4, "big") + frame


def resident():
    """Return the most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def garbage():
    """Return records that are none, each with a name."""
    rnd = random.Random(13)
    good = make_record(b"value")
    cases = {f"random-{n}": rnd.randbytes(n) for n in (0, 1, 3, 19, 20, 21, 64, 1_000)}
    cases |= {f"cut-{n}": good[:n] for n in (1, 4, 11, 19)}
    cases |= {
        "another-magic": b"\xf2" + good[1:],
        "unknown-flag": b"\xf1\x80" + good[2:],
        "reserved-byte": good[:3] + b"\1" + good[4:],
        "unknown-code": good[:2] + b"\x63" + good[3:],
        "code-of-pickle": good[:2] + b"\4" + good[3:-5] + pickle.dumps(os.getcwd),
        "no-utf8": good[:2] + b"\1" + good[3:-5] + b"\xff\xfe",
        "no-scalar": good[:2] + b"\2" + good[3:-5],
        "no-msgpack": good[:2] + b"\3" + good[3:-5] + b"\xc1",
        "msgpack-claims-4-gib": good[:2] + b"\3" + good[3:-5] + b"\xdd\xff\xff\xff\xff",
        "msgpack-nested": good[:2] + b"\3" + good[3:-5] + b"\x91" * 100_000 + b"\xc0",
        "extension-cut": b"\xf1\x08" + good[2:20] + b"\xff\xff",
        "no-frame": packed(b"garbage", 100),
        "empty-frame": packed(b"", 100),
        "signed-without-secret": b"\xf1\x04" + good[2:20] + bytes(16) + b"value",
    }
    frame = zstandard.ZstdCompressor().compress(b"x" * 1_000)
    cases |= {
        "frame-of-another-size": packed(frame, 999),
        "frame-with-more-behind": packed(frame + b"more", 1_000),
        "frame-cut": packed(frame[:-2], 1_000),
        "frame-claims-too-much": packed(frame, 0xFFFF_FFFF),
    }
    return cases


@pytest.mark.parametrize("record", [pytest.param(r, id=n) for n, r in garbage().items()])
def test_garbage_is_a_miss_and_removed(cache, record):
    """Catch bytes that become a value, an exception, or a miss for ever."""
    plant(cache, "key", record)
    assert cache.get("key", "miss") == "miss"
    assert cache.stats().corrupt == 1
    assert cache.tier.rocks.get_data(cache.codec.key("key")) is None
    plant(cache, "key", record)
    cache["other"] = 1
    assert cache.get_many(["key", "other"]) == [None, 1]
    assert cache.stats().corrupt == 2
    assert list(cache) == ["other"]
    plant(cache, "key", record)
    assert dict(cache.items()) == {"other": 1}
    assert cache.stats().corrupt in {2, 3}  # what has no head is not shown
    plant(cache, "key", record)
    assert cache.add("key", 5)
    plant(cache, "key", record)
    assert cache.incr("key") == 1
    plant(cache, "key", record)
    cache["key"] = 7
    assert cache["key"] == 7


def test_unknown_dictionary_is_a_miss_and_stays(cache):
    """Catch an entry of a dictionary that comes later, taken for damage."""
    frame = zstandard.ZstdCompressor().compress(b"x" * 1_000)
    plant(cache, "key", packed(frame, 1_000, dictionary=77))
    assert cache.get("key") is None
    assert cache.stats().corrupt == 0
    assert cache.tier.rocks.get_data(cache.codec.key("key")) is not None


def test_flipped_bits_are_never_another_value(cache):
    """Catch damage in the head or payload that raises something else than is expected."""
    rnd = random.Random(17)
    value = {"name": "Ada", "numbers": list(range(50))}
    cache["key"] = value
    data = cache.codec.key("key")
    good = cache.tier.rocks.get_data(data)
    for _ in range(2_000):
        record = bytearray(good)
        for _ in range(rnd.randrange(1, 4)):
            record[rnd.randrange(len(record))] ^= 1 << rnd.randrange(8)
        cache.tier.rocks.put_data(data, bytes(record))
        cache.get("key")
        cache.get_many(["key", "x"])
        assert len(cache) <= 1


def test_huge_keys_and_values_are_refused_before_the_tier(cache):
    """Catch a value of 600 MiB that is copied before it is refused."""
    for key in (b"", ""):
        cache[key] = b""
        assert cache[key] == b""
    cache[b"\xff\xfe"] = 1
    assert cache[b"\xff\xfe"] == 1
    before = resident()
    for write in (
        lambda: cache.put("k" * (1 << 20), 1),
        lambda: cache.get(b"k" * (1 << 20)),
        lambda: cache.get_many(["a", "k" * (1 << 20)]),
        lambda: ("k" * (1 << 20)) in cache,
    ):
        with pytest.raises(KeyTooLarge):
            write()
    with pytest.raises(ValueTooLarge) as caught:
        cache["key"] = bytes(64 << 20)
    assert (caught.value.size, caught.value.max_size) == (64 << 20, 8 << 20)
    assert "key" not in cache
    assert resident() - before < 100 << 20


class Bomb:
    """Unpickled, it leaves a trace."""

    trace = None

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.mark.parametrize("signed", [False, True])
def test_hostile_pickle_is_never_run(tmp_path, signed):
    """Catch code that runs because somebody could write to the disk."""
    Bomb.trace = str(tmp_path / "ran")
    hostile = pickle.dumps(Bomb())
    serializer = Pickle(secret=b"k" * 32) if signed else None
    with PersistentCache(tmp_path / "db", serializer=serializer) as cache:
        frame = zstandard.ZstdCompressor().compress(hostile)
        records = [
            b"\xf1" + bytes([flags, 4, 0]) + (1).to_bytes(8, "big") + bytes(8) + body
            for flags, body in ((0, hostile), (4, bytes(16) + hostile), (4, hostile))
        ]
        for record in [*records, packed(frame, len(hostile), code=4)]:
            plant(cache, "key", record)
            assert cache.get("key") is None
            plant(cache, "key", record)
            assert cache.get_many(["key", "x"]) == [None, None]
        assert cache.stats().corrupt == 8
    assert not (tmp_path / "ran").exists()


def test_signed_record_moved_or_changed_is_a_miss(tmp_path):
    """Catch an entry that is valid under another key, namespace or expiry."""
    path, serializer = tmp_path / "db", Pickle(secret=b"k" * 32)
    with (
        PersistentCache(path, serializer=serializer) as cache,
        PersistentCache(path, serializer=serializer, namespace="other") as other,
    ):
        cache["admin"] = {"rights": "all"}
        record = cache.tier.rocks.get_data(cache.codec.key("admin"))
        plant(cache, "guest", record)
        plant(other, "admin", record)
        for at in (1, 2, 11, 19, 25, len(record) - 1):
            changed = bytearray(record)
            changed[at] ^= 1
            plant(cache, f"changed{at}", bytes(changed))
            assert cache.get(f"changed{at}") is None
        assert cache.get("guest") is None
        assert other.get("admin") is None
        assert cache["admin"] == {"rights": "all"}
        assert cache.stats().corrupt == 7
        assert other.stats().corrupt == 1


def test_bombs_are_refused_before_they_go_off(cache):
    """Catch 32 KiB that become 1 GiB."""
    maker = zstandard.ZstdCompressor(level=1).compressobj(size=1 << 30)
    chunk = bytes(1 << 20)
    frame = b"".join([*(maker.compress(chunk) for _ in range(1 << 10)), maker.flush()])
    assert len(frame) < 200_000
    before = resident()
    for size in (1 << 30, 1_000, 8 << 20):
        plant(cache, "key", packed(frame, size))
        assert cache.get("key") is None
        plant(cache, "key", packed(frame, size))
        assert cache.get_many(["key", "x"]) == [None, None]
    assert resident() - before < 20 << 20
    assert cache.stats().corrupt == 6


class Moved:
    """A cache with a wall clock and a steady one that the test moves."""

    def __init__(self, path):
        self.wall_ms, self.steady_ms = NOW, 0
        self.cache = PersistentCache(path)
        clock = self.cache.tier.wall
        clock._ahead = -(1 << 63)
        clock.wall, clock.steady = (lambda: self.wall_ms), (lambda: self.steady_ms)
        versions = self.cache.tier.versions
        versions._now_ns = lambda: self.wall_ms * 1_000_000
        self.cache.tier.sweeper.stop()

    def pass_by(self, ms):
        self.wall_ms += ms
        self.steady_ms += ms


def test_clock_jumps_prolong_no_life_and_versions_rise(tmp_path):
    """Catch a clock set back by an hour that gives every entry an hour more."""
    rnd = random.Random(14)
    moved = Moved(tmp_path / "db")
    born = {}
    last = 0
    for turn in range(2_000):
        key = turn % 50
        if rnd.random() < 0.3:
            moved.wall_ms += rnd.choice([-HOUR_MS, HOUR_MS, -5_000, 5_000])
        moved.pass_by(rnd.randrange(200))
        if key in born and moved.cache.get(key) is not None:
            assert moved.steady_ms - born[key] < 3_000
        if rnd.random() < 0.5:
            moved.cache.put(key, turn, ttl=3)
            born[key] = moved.steady_ms
            assert moved.cache[key] == turn
        version = moved.cache.tier.versions.next()
        assert version > last
        last = version
    moved.cache.close()
    moved.wall_ms = NOW - HOUR_MS
    again = Moved(tmp_path / "db")
    again.wall_ms = NOW - HOUR_MS
    assert again.cache.tier.versions.next() > last
    again.cache.close()


def test_ttl_is_carried_with_the_record(tmp_path):
    """Catch a life that begins anew when a record is copied to another tier."""
    moved = Moved(tmp_path / "db")
    moved.cache.put("key", 1, ttl=2)
    moved.pass_by(1_500)
    data = moved.cache.codec.key("key")
    record = moved.cache.tier.read([data])[0]
    moved.cache.close()
    other = Moved(tmp_path / "other")
    other.pass_by(1_500)
    other.cache.tier.write([(data, record)])
    assert other.cache["key"] == 1
    assert other.cache.ttl_of("key") == 0.5
    other.pass_by(499)
    assert other.cache["key"] == 1
    other.pass_by(1)
    assert other.cache.get("key") is None
    other.cache.close()
