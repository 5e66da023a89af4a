"""The bound of the disk tier: exact, in the order of insertion, and the files shrink with it."""

import random
import threading

import pytest
import rocksdict  # noqa: F401 - the tier cannot do without it

from frys_cache import TierUnavailable, ValueTooLarge
from frys_cache.testing import make_record
from frys_cache.tiers.bound import BoundedTier
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.store import open_store
from frys_cache.tiers.versions import WallClock

NOW = 1_700_000_000_000


def opened(tmp_path, max_size_bytes, now=None):
    """Return a bounded tier whose sweeper does nothing by itself."""
    clock = None if now is None else WallClock(wall=lambda: now[0], steady=lambda: 0)
    tier = BoundedTier(open_store(tmp_path / "db"), max_size_bytes, wall=clock)
    tier.sweeper.stop()
    return tier


def recounted(tier):
    """Return how many entries and bytes are really there."""
    found = tier.rocks.items("data", b"", None, 1 << 30)
    return len(found), sum(len(key) + len(record) for key, record in found)


def put(tier, key, size=80, version=None, expires_ms=0):
    """Store a record of `size` bytes in all."""
    version = version or tier.versions.next()
    tier.put_one(key, make_record(b"x" * (size - 20), version, expires_ms), version, expires_ms)


def test_total_is_exact_through_everything(tmp_path):
    """Catch an overwrite, drop, swap, sweep or eviction that is counted wrongly."""
    now = [NOW]
    tier = opened(tmp_path, 8_000, now)
    rnd = random.Random(1)
    for turn in range(3_000):
        key = b"%03d" % rnd.randrange(300)
        size = rnd.randrange(20, 200)
        match rnd.randrange(7):
            case 0 | 1 | 2:
                put(tier, key, size)
            case 3:
                put(tier, key, size, expires_ms=now[0] + rnd.randrange(1, 100))
            case 4:
                tier.drop([key, b"%03d" % rnd.randrange(300), key], tier.versions.next())
            case 5:
                version = tier.versions.next()
                record = make_record(b"y" * size, version)
                tier.swap(key, tier.read_one(key), rnd.choice([record, None]), version, 0)
            case 6:
                records = [(b"%03d" % rnd.randrange(300), make_record(b"z" * 40, turn))] * 2
                tier.write(records)
        now[0] += 1
        if turn % 50 == 0:
            tier.tick()
        assert tier.total <= 8_000
        if turn % 100 == 0:
            assert recounted(tier) == (tier.count, tier.total)
    assert tier.evictions > 100
    assert tier.expirations > 20
    assert recounted(tier) == (tier.count, tier.total)
    tier.close()


def test_victims_go_in_the_order_of_insertion(tmp_path):
    """Catch victims chosen by the alphabet, or at random."""
    tier = opened(tmp_path, 100 * 100)
    keys = [b"%020d" % n for n in range(1_000)]
    random.Random(2).shuffle(keys)
    for key in keys:
        put(tier, key)
    kept = set(tier.scan())
    assert 94 <= len(kept) <= 100
    assert kept == set(keys[-len(kept) :])
    tier.close()


def test_entry_hit_is_spared_once(tmp_path):
    """Catch a bound that forgets what is asked for all the time, or cannot let go of it."""
    tier = opened(tmp_path, 100 * 100)
    for n in range(200):
        put(tier, b"%020d" % n)
        if n < 100:
            tier.read([b"%020d" % 0])
    assert tier.read_one(b"%020d" % 0) is None or tier.read([b"%020d" % 1]) == [None]
    for n in range(200, 1_000):
        put(tier, b"%020d" % n)
        assert n < 300 or tier.read_one(b"%020d" % 290) is not None
    for n in range(1_000, 1_500):
        put(tier, b"%020d" % n)
    assert tier.read_one(b"%020d" % 290) is None
    tier.close()


def test_all_entries_hit_still_makes_room(tmp_path):
    """Catch a put that looks for a victim for ever where every entry is in use."""
    tier = opened(tmp_path, 100 * 100)
    for n in range(300):
        put(tier, b"%020d" % n)
        tier.read(list(tier.scan()))
        assert tier.total <= 100 * 100
    tier.close()


def test_too_large_is_refused_and_what_was_there_stays(tmp_path):
    """Catch a bound that empties the tier for what does not fit even then."""
    tier = opened(tmp_path, 1_000)
    put(tier, b"key", 500)
    old = tier.read_one(b"key")
    for write in (
        lambda: put(tier, b"key", 998),
        lambda: tier.write([(b"other", make_record()), (b"key", make_record(b"x" * 990, 9))]),
        lambda: tier.swap(b"key", old, make_record(b"x" * 990, 9), 9, 0),
    ):
        with pytest.raises(ValueTooLarge) as caught:
            write()
        assert caught.value.max_size == 1_000
        assert caught.value.size > 1_000
    assert tier.read([b"key", b"other"]) == [old, None]
    put(tier, b"key", 997)
    assert tier.total == 1_000
    tier.close()


def test_reopen_after_close_and_after_death_counts_the_same(tmp_path):
    """Catch a total that starts at nothing, so that the bound is passed after a restart."""
    tier = opened(tmp_path, 50_000)
    for n in range(450):
        put(tier, b"%03d" % n)
    before = tier.count, tier.total
    tier.close()
    tier = opened(tmp_path, 50_000)
    assert (tier.count, tier.total) == before
    put(tier, b"one more")
    # A process that dies closes the files but keeps nothing.
    tier.store.close()
    tier = opened(tmp_path, 50_000)
    assert (tier.count, tier.total) == (before[0] + 1, before[1] + 88) == recounted(tier)
    for n in range(450, 900):
        put(tier, b"%03d" % n)
    assert tier.total <= 50_000
    assert tier.read_one(b"899") is not None
    assert tier.read_one(b"000") is None
    tier.close()


def test_reopen_with_lower_bound_evicts_at_once(tmp_path):
    """Catch a bound that holds from the first write on only."""
    tier = DiskTier(open_store(tmp_path / "db"))
    tier.write([(b"%04d" % n, make_record(b"x" * 76, n + 1)) for n in range(2_000)])
    tier.close()
    tier = opened(tmp_path, 50_000)
    assert recounted(tier) == (tier.count, tier.total)
    assert 45_000 <= tier.total <= 50_000
    assert list(tier.scan())[-1] == b"1999"
    assert next(iter(tier.scan())) >= b"1500"
    tier.close()


def test_unbounded_in_between_is_counted_anew(tmp_path):
    """Catch a total that is trusted though others wrote since."""
    tier = opened(tmp_path, 50_000)
    put(tier, b"a")
    tier.close()
    tier = DiskTier(open_store(tmp_path / "db"))
    tier.write([(b"b", make_record(b"x" * 1_000, 5))])
    tier.close()
    tier = opened(tmp_path, 50_000)
    assert (tier.count, tier.total) == (2, 81 + 1_021) == recounted(tier)
    tier.close()


def test_clear_counts_what_goes(tmp_path):
    """Catch bytes that are counted for ever after they were cleared."""
    tier = opened(tmp_path, 1 << 20)
    for n in range(500):
        put(tier, b"a%d" % n)
        put(tier, b"b%d" % n)
    tier.clear(b"a", b"b")
    assert tier.count == 500
    assert recounted(tier) == (tier.count, tier.total)
    tier.close()


def test_threads_keep_the_bound_and_the_count(tmp_path):
    """Catch two writers that both find room for one."""
    tier = opened(tmp_path, 30_000)
    over, problems = [], []

    def work(seed):
        rnd = random.Random(seed)
        try:
            for _ in range(600):
                key = b"%03d" % rnd.randrange(500)
                if rnd.random() < 0.8:
                    put(tier, key, rnd.randrange(20, 300))
                else:
                    tier.drop([key], tier.versions.next())
                if tier.total > 30_000:
                    over.append(tier.total)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert (over, problems) == ([], [])
    assert recounted(tier) == (tier.count, tier.total)
    tier.close()


def test_evict_with_room_already_ends(tmp_path):
    """Catch an eviction that looks for ever for what another thread has evicted meanwhile."""
    tier = opened(tmp_path, 30_000)
    put(tier, b"key")
    assert tier.evict(20_000)
    assert tier.count == 1
    assert tier.evict(0)
    assert tier.count == 0
    put(tier, b"key")
    tier.drop([b"key"])
    assert tier.evict(0)
    assert not tier.evict(-1)
    tier.close()


def test_writers_beside_the_sweeper_end(tmp_path):
    """Catch two that evict at once and wait for each other, or for nothing."""
    tier = BoundedTier(open_store(tmp_path / "db"), 100_000)
    done = threading.Event()

    def sweep():
        while not done.is_set():
            tier.tick()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(4_000):
        put(tier, b"%d" % n, 1_000)
    done.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert recounted(tier) == (tier.count, tier.total)
    tier.close()


def test_write_that_fails_is_not_counted(tmp_path):
    """Catch room that is lost with each write that the disk refuses."""
    tier = opened(tmp_path, 30_000)
    put(tier, b"key")
    before = tier.count, tier.total
    write = tier.rocks.write

    def refuse(changes):
        raise TierUnavailable("no space")

    tier.rocks.write = refuse
    with pytest.raises(TierUnavailable):
        tier.put_one(b"other", make_record(b"x", 1 << 63), 1 << 63, 0)
    assert (tier.count, tier.total) == before
    tier.rocks.write = write
    tier.close()


def test_directory_shrinks_with_the_bound(tmp_path):
    """Catch files that keep what was evicted: 1.1 times the bound and 64 MiB at most."""
    tier = opened(tmp_path, 16 << 20)
    rnd = random.Random(3)
    blob = rnd.randbytes(1 << 20)
    for n in range(40_000):
        version = tier.versions.next()
        at = rnd.randrange(len(blob) - 4_096)
        tier.put_one(b"%08d" % n, make_record(blob[at : at + 4_000], version), version, 0)
        if n % 5_000 == 0:
            tier.tick()
    tier.tick()
    assert tier.total <= 16 << 20
    assert tier.size_on_disk() <= (16 << 20) * 1.1 + (64 << 20)
    tier.compact()
    assert tier.size_on_disk() <= (16 << 20) * 1.3
    tier.close()


def test_batch_is_whole_or_refused_before_anything_changed(tmp_path):
    """Catch a batch of which the last ones push out the first."""
    tier = opened(tmp_path, 10_000)
    for n in range(200):
        put(tier, b"old%d" % n)
    kept = set(tier.scan())
    version = tier.versions.next()
    batch = [(b"%03d" % n, make_record(b"x" * 177, version)) for n in range(51)]
    with pytest.raises(ValueTooLarge) as caught:
        tier.write(batch)
    assert (caught.value.size, caught.value.max_size) == (51 * 200, 10_000)
    assert set(tier.scan()) == kept
    assert tier.write(batch[:50]) == []
    assert list(tier.scan()) == [key for key, _ in batch[:50]]
    assert recounted(tier) == (tier.count, tier.total) == (50, 10_000)
    version = tier.versions.next()
    again = [(b"%03d" % n, make_record(b"y" * 157, version)) for n in range(30, 80)]
    assert tier.write(again) == []
    assert {key for key, _ in again} <= set(tier.scan())
    assert recounted(tier) == (tier.count, tier.total)
    tier.close()
