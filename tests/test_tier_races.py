"""Two threads at one key: what they got and what is left is explained by one of the two orders."""

import gc
import random
import signal
import sys
import threading
import time

import pytest
import rocksdict  # noqa: F401 - the tier cannot do without it

from frys_cache import PersistentCache, TierUnavailable
from frys_cache.testing import make_record
from frys_cache.tiers import shared
from frys_cache.tiers.base import after
from frys_cache.tiers.bound import BoundedTier
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.store import open_store
from frys_cache.tiers.sweeper import Sweeper
from frys_cache.tiers.versions import WallClock

ROUNDS = 300
HOUR = 3_600


def delete(cache, key):
    return cache.tier.drop([cache._key(key)])[0]


def put_many(cache, key):
    cache.put_many({key: 70, key + "x": 71})


OPERATIONS = {
    "touch": lambda cache, key: cache.touch(key, HOUR),
    "incr": lambda cache, key: cache.incr(key),
    "replace": lambda cache, key: cache.replace(key, 50),
    "add": lambda cache, key: cache.add(key, 60),
    "pop": lambda cache, key: cache.pop(key, None),
    "put": lambda cache, key: cache.put(key, 40),
    "put_many": put_many,
    "clear": lambda cache, key: cache.clear(),
    "delete": delete,
}
PAIRS = [
    ("touch", "delete"),
    ("incr", "delete"),
    ("replace", "delete"),
    ("touch", "clear"),
    ("put", "clear"),
    ("add", "delete"),
    ("pop", "pop"),
    ("pop", "delete"),
    ("delete", "delete"),
    ("incr", "put"),
    ("incr", "incr"),
    ("incr", "put_many"),
    ("touch", "put"),
]


@pytest.fixture
def hasty():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def seen(cache, key, answers):
    """Return what both got and what is left, without the exact time."""
    left = cache.peek(key)
    return *answers, left, left is not None and cache.ttl_of(key) is not None


def in_turn(cache, pair, order):
    """Return what is seen after one operation has followed the other."""
    cache.put("model", 7)
    answers = [None, None]
    for at in order:
        answers[at] = OPERATIONS[pair[at]](cache, "model")
    outcome = seen(cache, "model", answers)
    cache.clear()
    return outcome


@pytest.mark.parametrize("bound", [None, 1 << 20])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_at_one_key_are_explained_by_an_order(tmp_path, hasty, pair, bound):
    """Catch an acknowledged operation that is lost: its version was drawn before the other's."""
    with PersistentCache(tmp_path / "db", max_size_bytes=bound) as cache:
        allowed = {in_turn(cache, pair, order) for order in ((0, 1), (1, 0))}
        answers = [None, None]
        gate = threading.Barrier(3)

        def work(at):
            run = OPERATIONS[pair[at]]
            for n in range(ROUNDS):
                gate.wait(30)
                try:
                    answers[at] = run(cache, f"k{n}")
                except BaseException as error:
                    answers[at] = repr(error)
                gate.wait(30)

        threads = [threading.Thread(target=work, args=(at,), daemon=True) for at in (0, 1)]
        for thread in threads:
            thread.start()
        wrong = []
        for n in range(ROUNDS):
            cache.put(f"k{n}", 7)
            gate.wait(30)
            gate.wait(30)
            outcome = seen(cache, f"k{n}", answers)
            if outcome not in allowed:
                wrong.append((n, outcome))
        for thread in threads:
            thread.join(30)
        assert wrong == [], allowed


@pytest.fixture(params=[None, 1 << 20], ids=["unbounded", "bounded"])
def tier(request, tmp_path):
    """Give a tier of either kind."""
    store = open_store(tmp_path / "db")
    tier = DiskTier(store) if request.param is None else BoundedTier(store, request.param)
    yield tier
    tier.close()


def test_put_after_delete_that_overtook_it_is_told(tier):
    """Catch a put that is dropped as late without a word."""
    version = tier.versions.next()
    assert tier.drop([b"key"]) == [False]
    assert not tier.put_one(b"key", make_record(b"x", version), version, 0)
    version = tier.versions.next()
    assert tier.put_one(b"key", make_record(b"x", version), version, 0)


def test_swap_that_drops_is_newer_than_all(tier):
    """Catch a pop after which a load from before it brings the value back."""
    record = make_record(b"x", tier.versions.next())
    tier.write([(b"key", record)])
    loading = tier.versions.next()
    assert tier.swap(b"key", record, None, 0, 0)
    assert tier.write([(b"key", make_record(b"old", loading))]) == [b"key"]


def test_clear_makes_what_began_before_late(tier):
    """Catch a load that began before a clear and undoes it; and a clear of other keys."""
    loading = tier.versions.next()
    tier.clear(b"b", after(b"b"))
    late = [(key, make_record(b"x", loading)) for key in (b"a", b"b", b"b\xff", b"c")]
    assert tier.write(late) == [b"b", b"b\xff"]
    version = tier.versions.next()
    assert tier.write([(b"b", make_record(b"x", version))]) == []


def test_clears_are_bounded_and_none_is_forgotten(tier):
    """Catch memory that grows with each clear, or a clear that the 65th after it undoes."""
    loading = tier.versions.next()
    for n in range(200):
        tier.clear(b"%03d" % n, after(b"%03d" % n))
    assert len(tier._clears._ranges) == 64
    for key in (b"000", b"199"):
        assert tier.write([(key, make_record(b"x", loading))]) == [key]
    assert tier.write([(b"000", make_record(b"x", tier.versions.next()))]) == []


def test_tombstones_are_bounded_and_none_is_forgotten(tier):
    """Catch a tombstone that is forgotten, so that the old load wins."""
    loading = tier.versions.next()
    keys = [b"%d" % n for n in range(200_000)]
    for at in range(0, len(keys), 10_000):
        tier.drop(keys[at : at + 10_000])
    assert sum(len(stripe.dropped) for stripe in tier._stripes) <= 64 * 1_024
    late = [(key, make_record(b"x", loading)) for key in keys[:2_000]]
    assert tier.write(late) == keys[:2_000]
    assert tier.write([(keys[0], make_record(b"x", tier.versions.next()))]) == []


def test_put_below_a_version_from_elsewhere_ends(tmp_path):
    """Catch a put that draws versions for ever, for what is stored is ahead of the clock."""
    with PersistentCache(tmp_path / "db") as cache:
        cache["key"] = 1
        data, ahead = cache._key("key"), cache.tier.versions.next() + (10**9 << 16)
        cache.tier.put_one(data, make_record(b"x", ahead), ahead, 0)
        cache["key"] = 2
        assert cache["key"] == 2


def test_full_disk_at_the_mark_of_versions_is_no_error(tier):
    """Catch a write that fails since the mark of the versions cannot be saved."""
    write = tier.rocks.write

    def refuse(changes):
        if any(family == "meta" for family, _, _ in changes):
            raise TierUnavailable("no space")
        write(changes)

    tier.rocks.write = refuse
    tier.versions.observe(tier.versions.next() + (10_000 << 16))
    version = tier.versions.next()
    assert tier.put_one(b"key", make_record(b"x", version), version, 0)
    assert tier.drop([b"key"]) == [True]
    tier.rocks.write = write


def until(holds):
    """Wait for what another thread does."""
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def ended(work):
    """Run something on a thread; tell whether it ended, and how long it took."""
    thread = threading.Thread(target=work, daemon=True)
    begun = time.monotonic()
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return time.monotonic() - begun


@pytest.mark.parametrize("bound", [None, 1 << 20])
def test_cache_forgotten_inside_of_its_sweep_is_closed(tmp_path, bound):
    """Catch a destructor, run by the collector in the sweep, that waits for who waits for that."""
    cycle = [PersistentCache(tmp_path / "db", max_size_bytes=bound)]
    cycle.append(cycle)
    tier = cycle[0].tier
    tier.sweeper.stop()
    cycle[0].put("key", 1, ttl=0.001)
    key = cycle[0]._key("key")
    until(lambda: tier.read_one(key) is None)
    peek, collected = tier.rocks.get_data, threading.Event()

    def collect(key):
        gc.collect()
        collected.set()
        return peek(key)

    tier.rocks.get_data = collect
    gc.disable()
    try:
        del cycle
        sweeping = threading.Thread(target=tier.sweep, daemon=True)
        with shared._lock:  # as who closes another cache
            sweeping.start()
            assert collected.wait(10)
    finally:
        gc.enable()
    sweeping.join(10)
    assert not sweeping.is_alive()
    until(lambda: tier.store.mode == "closed")
    PersistentCache(tmp_path / "db").close()


def test_handler_that_puts_and_closes_inside_of_a_put_ends(tmp_path):
    """Catch a handler that waits for the lock that its own thread holds."""
    cache = PersistentCache(tmp_path / "db", max_size_bytes=1 << 20)
    tier = cache.tier
    write = tier.rocks.write
    turns = []

    def interrupted(changes):
        if not turns and tier.is_inside():
            turns.append(1)
            for n in range(100):
                cache.put(f"handler {n}", n)
            tier.sweeper.hurry()
            cache.close()
        write(changes)

    tier.rocks.write = interrupted
    ended(lambda: cache.put("key", 1))
    until(lambda: tier.store.mode == "closed")
    with PersistentCache(tmp_path / "db", max_size_bytes=1 << 20) as cache:
        assert len(cache) == 101


def test_interrupts_leave_no_lock_and_no_wrong_count(tmp_path, monkeypatch):
    """Catch a lock that an interrupt leaks, and a bound that an interrupt makes wrong."""
    with PersistentCache(tmp_path / "db", max_size_bytes=20_000) as cache:
        tier = cache.tier

        def strike(_signal, frame):
            if "/frys_cache/tiers/" in frame.f_code.co_filename:
                raise KeyboardInterrupt

        # One that strikes in a destructor is only told of.
        monkeypatch.setattr(sys, "unraisablehook", lambda _told: None)
        before = signal.signal(signal.SIGALRM, strike)
        struck = 0
        end = time.monotonic() + 3
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.000_7)
            n = 0
            while time.monotonic() < end:
                try:
                    while time.monotonic() < end:
                        n += 1
                        cache.put(f"k{n % 200}", "x" * (n % 300))
                        cache.delete_many([f"k{n % 7}", f"k{n % 90}"])
                        cache.pop(f"k{n % 31}", None)
                except KeyboardInterrupt:
                    struck += 1
        except KeyboardInterrupt:
            struck += 1
        finally:
            while True:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    signal.signal(signal.SIGALRM, before)
                    break
                except KeyboardInterrupt:
                    pass
        assert struck > 50
        ended(lambda: cache.put("key", 1))
        tier.tick()
        with tier._lock:
            found = tier.rocks.items("data", b"", None, 1 << 30)
            assert tier.count == len(found)
            assert tier.total == sum(len(key) + len(record) for key, record in found)


def test_sweep_of_many_is_fast_and_close_does_not_wait_for_it(tmp_path):
    """Catch a sweep that walks over all it has deleted for each slice, and a close behind it."""
    now = [1_700_000_000_000]
    tier = DiskTier(
        open_store(tmp_path / "db"), wall=WallClock(wall=lambda: now[0], steady=lambda: 0)
    )
    tier.sweeper.stop()

    def fill(first, last):
        for at in range(first, last, 1_000):
            end = now[0] + 1_000
            records = [(b"%08d" % n, make_record(b"x", n + 1, end)) for n in range(at, at + 1_000)]
            tier.write(records)

    fill(0, 50_000)
    now[0] += 2_000
    begun = time.monotonic()
    while tier.sweep():
        pass
    assert time.monotonic() - begun < 10
    assert tier.expirations == 50_000
    tier.write([(b"early", make_record(b"x", 1, now[0] - 1_500))])
    assert tier.sweep() == 1
    fill(50_000, 100_000)
    now[0] += 2_000
    tier.sweeper = Sweeper(tier)
    tier.sweeper.hurry()
    until(lambda: tier.expirations > 50_001)
    assert ended(tier.close) < 1
    assert tier.expirations < 100_001


def directory(folder):
    return sum(file.stat().st_size for file in folder.iterdir())


def test_rewritten_with_a_ttl_leaves_no_index_and_no_space(tier, tmp_path):
    """Catch an index, and files, that grow with each rewrite until the longest ttl is over."""
    later = tier.wall() + 30 * 24 * HOUR * 1_000
    for n in range(2_000):
        version = tier.versions.next()
        record = make_record(random.Random(n).randbytes(20_000), version, later + n)
        key = b"k%d" % (n % 10)
        if n % 3 == 0:
            tier.write([(key, record), (b"m%d" % (n % 10), record)])
        elif n % 3 == 1:
            tier.swap(key, tier.read_one(key), record, version, later + n)
        else:
            tier.put_one(key, record, version, later + n)
        assert n % 100 or len(tier.rocks.keys("expiry", b"", None, 999)) <= 20
    tier.compact()
    assert directory(tmp_path / "db") < 4 << 20
    tier.drop([b"k%d" % n for n in range(10)])
    for n in range(10):
        tier.swap(b"m%d" % n, tier.read_one(b"m%d" % n), None, 0, 0)
    assert tier.rocks.keys("expiry", b"", None, 999) == []


def test_evicted_leave_no_index(tmp_path):
    """Catch an index that keeps each key that the bound pushed out."""
    tier = BoundedTier(open_store(tmp_path / "db"), 20_000)
    later = tier.wall() + 30 * 24 * HOUR * 1_000
    for n in range(2_000):
        version = tier.versions.next()
        tier.put_one(b"%d" % n, make_record(b"x" * 80, version, later), version, later)
    tier.sweeper.stop()  # it evicts too
    assert len(tier.rocks.keys("expiry", b"", None, 9_999)) == tier.count < 200
    tier.close()
