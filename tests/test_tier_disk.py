"""The disk tier keeps the contract of tiers, and what RocksDB does not promise by itself."""

import gc
import threading
import weakref

import pytest
import rocksdict  # noqa: F401 - the tier cannot do without it

from frys_cache import CacheClosed, IntegrityError, TierUnavailable
from frys_cache.testing import TierContract, make_record
from frys_cache.tiers.bound import BoundedTier
from frys_cache.tiers.disk import DiskTier, after
from frys_cache.tiers.standin import StandInTier
from frys_cache.tiers.store import open_store
from frys_cache.tiers.versions import WallClock


class Frozen:
    """Time that the test moves: the steady clock stands still, the wall says what it is told."""

    def __init__(self, suite):
        self.clock = WallClock(wall=lambda: suite.now_ms, steady=lambda: 0)


class TestStandInTier(TierContract):
    """The tier in memory that tests use is a tier."""

    def make(self, tmp_path):
        return StandInTier(wall=self.wall)


class TestDiskTier(TierContract):
    """RocksDB keeps the contract."""

    def make(self, tmp_path):
        return DiskTier(open_store(tmp_path / "db"), wall=Frozen(self).clock)

    def test_reopen_keeps_records(self, tmp_path):
        """Catch a tier that is not persistent."""
        tier = self.make(tmp_path)
        end = self.now_ms + 1_000
        records = [(b"a", make_record(b"a", 3)), (b"b", make_record(b"b", 4, end))]
        tier.write(records)
        tier.close()
        tier = self.make(tmp_path)
        assert tier.read([b"a", b"b"]) == [record for _, record in records]
        self.now_ms = end
        assert tier.read([b"a", b"b"]) == [records[0][1], None]
        assert tier.sweep() == 1
        tier.close()

    def test_reopen_older_write_is_left_off(self, tmp_path):
        """Catch a guard that forgets over a restart what is stored."""
        tier = self.make(tmp_path)
        version = tier.versions.next()
        tier.write([(b"key", make_record(b"new", version))])
        tier.close()
        tier = self.make(tmp_path)
        tier.write([(b"key", make_record(b"old", version - 1))])
        assert tier.read([b"key"]) == [make_record(b"new", version)]
        assert tier.versions.next() > version
        tier.close()

    def test_sweep_removes_expired_and_their_index(self, tier):
        """Catch expired entries that stay on disk for ever, or an index that grows."""
        end = self.now_ms + 1_000
        tier.write([(b"%04d" % n, make_record(b"x", 1, end + n % 3)) for n in range(450)])
        tier.write([(b"later", make_record(b"x", 1, end + 60_000)), (b"ever", make_record(b"x"))])
        assert tier.sweep() == 0
        self.now_ms = end + 10
        assert [tier.sweep() for _ in range(4)] == [200, 200, 50, 0]
        assert tier.rocks.keys("data", b"", None, 999) == [b"ever", b"later"]
        assert [entry[8:] for entry in tier.rocks.keys("expiry", b"", None, 999)] == [b"later"]
        assert tier.expirations == 450

    def test_sweep_spares_what_was_rewritten(self, tier):
        """Catch a sweep that believes its index more than the record."""
        end = self.now_ms + 1_000
        for key, record in (
            (b"ever", make_record(b"y", 2)),
            (b"longer", make_record(b"y", 2, end + 5_000)),
        ):
            tier.write([(key, make_record(b"x", 1, end))])
            tier.write([(key, record)])
        self.now_ms = end
        assert tier.sweep() == 1  # the other entry went with the record
        assert list(tier.scan()) == [b"ever", b"longer"]
        assert tier.expirations == 0

    def test_sweeper_runs_by_itself_and_ends(self, tmp_path):
        """Catch a thread that is never started, or never ends."""
        tier = self.make(tmp_path)
        assert tier.sweeper._thread is None
        tier.write([(b"key", make_record(b"x", 1, self.now_ms + 1_000))])
        thread = tier.sweeper._thread
        assert thread.is_alive()
        assert thread.daemon
        self.now_ms += 1_000
        tier.sweeper.hurry()
        thread.join(10)
        assert not thread.is_alive()
        assert tier.expirations == 1
        assert tier.rocks.keys("data", b"", None, 9) == []
        tier.close()

    def test_sweeper_holds_the_tier_weakly(self, tmp_path):
        """Catch a thread that keeps a forgotten tier, and its files, for ever."""
        tier = self.make(tmp_path)
        tier.write([(b"key", make_record(b"x", 1, self.now_ms + 1_000))])
        thread, gone = tier.sweeper._thread, weakref.ref(tier)
        del tier
        gc.collect()
        thread.join(10)
        assert not thread.is_alive()
        assert gone() is None
        open_store(tmp_path / "db").close()

    def test_swap_replaces_only_what_was_read(self, tier):
        """Catch a lost update between two threads that change what they read."""
        assert tier.swap(b"key", None, make_record(b"a", 1), 1, 0)
        assert not tier.swap(b"key", None, make_record(b"b", 2), 2, 0)
        assert not tier.swap(b"key", make_record(b"x", 1), make_record(b"b", 2), 2, 0)
        assert tier.swap(b"key", make_record(b"a", 1), make_record(b"b", 2), 2, 0)
        assert tier.read_one(b"key") == make_record(b"b", 2)
        assert tier.swap(b"key", make_record(b"b", 2), None, 3, 0)
        assert tier.read_one(b"key") is None

    def test_swap_expired_counts_as_absent(self, tier):
        """Catch an add that fails for an entry whose time is over."""
        tier.write([(b"key", make_record(b"a", 1, self.now_ms + 5))])
        self.now_ms += 5
        assert tier.swap(b"key", None, make_record(b"b", 2), 2, 0)

    def test_tombstones_are_bounded(self, tier):
        """Catch memory that grows with every key ever dropped."""
        for batch in range(0, 200_000, 10_000):
            tier.drop([b"%d" % n for n in range(batch, batch + 10_000)], 5)
        assert sum(len(stripe.dropped) for stripe in tier._stripes) <= 64 * 1_024

    def test_clear_removes_a_prefix_only(self, tier):
        """Catch one namespace that is cleared with another."""
        tier.write([(key, make_record(b"x")) for key in (b"a", b"b1", b"b2", b"c")])
        tier.clear(b"b", after(b"b"))
        assert list(tier.scan()) == [b"a", b"c"]

    def test_record_too_short_is_given_as_it_is(self, tier):
        """Catch a tier that breaks on garbage, which is for the codec to judge."""
        tier.rocks.put_data(b"key", b"\xf1")
        assert tier.read([b"key"]) == [b"\xf1"]
        assert list(tier.scan()) == [b"key"]
        assert tier.drop([b"key"]) == [True]

    def test_closed_beside_reader_raises_closed(self, tmp_path):
        """Catch a close under which a reader crashes or hangs."""
        tier = self.make(tmp_path)
        tier.write([(b"key", make_record(b"x"))])
        problems, reading = [], threading.Event()

        def read():
            try:
                while True:
                    tier.read([b"key"])
                    tier.read([b"key", b"other"])
                    reading.set()
            except CacheClosed:
                pass
            except BaseException as error:
                problems.append(error)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        reading.wait(10)
        tier.close()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        assert problems == []

    def test_no_room_refuses_writes_and_keeps_reading(self, tmp_path):
        """Catch a write that is accepted where the disk is as good as full."""
        tier = self.make(tmp_path)
        tier.write([(b"key", make_record(b"x"))])
        tier.close()
        tier = DiskTier(open_store(tmp_path / "db", min_free_bytes=1 << 60))
        for write in (
            lambda: tier.write([(b"a", make_record())]),
            lambda: tier.write([(b"a", make_record()), (b"b", make_record())]),
            lambda: tier.swap(b"a", None, make_record(), 9, 0),
        ):
            with pytest.raises(TierUnavailable, match="no space"):
                write()
        assert tier.read([b"key"]) == [make_record(b"x")]
        tier.close()


class TestBoundedTier(TierContract):
    """A bound that is not reached changes nothing."""

    def make(self, tmp_path):
        return BoundedTier(open_store(tmp_path / "db"), 64 << 20, wall=Frozen(self).clock)


def test_scan_damaged_block_raises_after_what_could_be_read(tmp_path):
    """Catch a scan that ends early and looks complete."""
    tier = DiskTier(open_store(tmp_path / "db"))
    tier.write([(b"%05d" % n, make_record(b"x" * 500)) for n in range(2_000)])
    tier.rocks.flush()
    tier.close()
    largest = max((tmp_path / "db").glob("*.sst"), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    largest.write_bytes(data)
    tier = DiskTier(open_store(tmp_path / "db"))
    seen = []
    with pytest.raises(IntegrityError):
        seen.extend(tier.scan())  # extend keeps what came before the error
    assert 500 < len(seen) < 1_500
    tier.close()
