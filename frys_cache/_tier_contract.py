"""The tests that every tier passes: subclass `TierContract` and give `make`.

    class TestMyTier(TierContract):
        def make(self, tmp_path):
            return MyTier(tmp_path / "db", wall=self.wall)

`self.wall` is the clock of a test, in milliseconds; a tier that cannot take one sets `has_clock`
to False and leaves the tests of expiry to tests of its own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from frys_cache.errors import CacheClosed
from frys_cache.tiers.face import SyncFace
from frys_cache.tiers.standin import StandInCache, StandInTier

__all__ = ["StandInCache", "StandInTier", "TierContract", "make_record"]


def make_record(payload: bytes = b"", version: int = 1, expires_ms: int = 0) -> bytes:
    """Return a record as the codec makes it: a head of 20 bytes and the payload.

    >>> len(make_record(b"value", version=7))
    25
    """
    head = b"\xf1\0\0\0" + version.to_bytes(8, "big") + expires_ms.to_bytes(8, "big")
    return head + payload


class TierContract:
    """What a tier promises, test by test."""

    has_clock = True

    def make(self, tmp_path: Path) -> Any:
        """Return a new, empty tier, whose clock is `self.wall`."""
        raise NotImplementedError("make(tmp_path) must return an empty tier")

    now_ms = 1_700_000_000_000

    def wall(self) -> int:
        """Return the milliseconds that the test has come to."""
        return self.now_ms

    @pytest.fixture
    def tier(self, tmp_path: Path) -> Iterator[Any]:
        """Give a tier, and close it."""
        tier = self.make(tmp_path)
        yield tier
        with contextlib.suppress(CacheClosed):
            tier.close()

    @pytest.fixture
    def clocked(self, tier: Any) -> Any:
        """Give a tier whose time the test moves."""
        if not self.has_clock:
            pytest.skip("this tier takes no clock: it has tests of expiry of its own")
        return tier

    def test_read_absent_key_is_none(self, tier: Any) -> None:
        """Catch a tier that raises for a miss, or gives an empty record."""
        assert tier.read([b"absent"]) == [None]

    def test_read_nothing_is_nothing(self, tier: Any) -> None:
        """Catch a batch of none that is taken for one."""
        assert tier.read([]) == []
        tier.write([])
        assert tier.drop([]) == []

    def test_write_then_read_gives_same_bytes(self, tier: Any) -> None:
        """Catch a tier that changes what it is given to keep."""
        record = make_record(bytes(range(256)))
        tier.write([(b"key", record)])
        assert tier.read([b"key"]) == [record]

    @pytest.mark.parametrize("key", [b"\0", b"\xff" * 9, b"k" * 5_000, "é".encode()])
    def test_write_unusual_key_is_read(self, tier: Any, key: bytes) -> None:
        """Catch keys that are cut, decoded or taken for something else."""
        record = make_record(b"value")
        tier.write([(key, record)])
        assert tier.read([key, key[:-1], key + b"\0"]) == [record, None, None]
        assert list(tier.scan()) == [key]

    def test_write_large_record_is_read(self, tier: Any) -> None:
        """Catch a limit below what a codec allows by default."""
        record = make_record(b"x" * (8 << 20))
        tier.write([(b"key", record)])
        assert tier.read([b"key"]) == [record]

    def test_read_many_is_in_the_order_of_the_keys(self, tier: Any) -> None:
        """Catch a batch that comes back sorted, without its gaps, or without repetitions."""
        records = {b"%d" % n: make_record(b"%d" % n) for n in range(20)}
        tier.write(list(records.items()))
        keys = [b"7", b"absent", b"3", b"7", b"19"]
        assert tier.read(keys) == [records.get(key) for key in keys]

    def test_write_newer_version_replaces(self, tier: Any) -> None:
        """Catch a tier that keeps the first it was given."""
        tier.write([(b"key", make_record(b"old", 1))])
        tier.write([(b"key", make_record(b"new", 2))])
        assert tier.read([b"key"]) == [make_record(b"new", 2)]

    def test_write_older_version_is_left_off(self, tier: Any) -> None:
        """Catch the lost update: a slow write that comes after a newer one."""
        tier.write([(b"key", make_record(b"new", 2))])
        tier.write([(b"key", make_record(b"old", 1))])
        assert tier.read([b"key"]) == [make_record(b"new", 2)]

    def test_write_same_version_replaces(self, tier: Any) -> None:
        """Catch a write that is repeated after an unclear error, and refused as old."""
        tier.write([(b"key", make_record(b"first", 2))])
        tier.write([(b"key", make_record(b"again", 2))])
        assert tier.read([b"key"]) == [make_record(b"again", 2)]

    @pytest.mark.parametrize("turned", [False, True])
    def test_write_key_twice_in_a_batch_keeps_the_newest(self, tier: Any, turned: bool) -> None:
        """Catch a batch whose order decides, and not the versions."""
        pair = [(b"key", make_record(b"old", 1)), (b"key", make_record(b"new", 2))]
        tier.write([*(reversed(pair) if turned else pair), (b"other", make_record(b"x", 1))])
        assert tier.read([b"key", b"other"]) == [make_record(b"new", 2), make_record(b"x", 1)]

    def test_write_batch_mixed_versions_judges_each(self, tier: Any) -> None:
        """Catch a batch that is refused, or taken, as a whole."""
        tier.write([(b"a", make_record(b"a5", 5)), (b"b", make_record(b"b1", 1))])
        tier.write([(b"a", make_record(b"a3", 3)), (b"b", make_record(b"b3", 3))])
        assert tier.read([b"a", b"b"]) == [make_record(b"a5", 5), make_record(b"b3", 3)]

    def test_drop_tells_what_was_there(self, tier: Any) -> None:
        """Catch answers that are not in the order of the keys."""
        tier.write([(b"a", make_record(b"a")), (b"b", make_record(b"b"))])
        assert tier.drop([b"absent", b"b", b"a"]) == [False, True, True]
        assert tier.read([b"a", b"b"]) == [None, None]
        assert tier.drop([b"a"]) == [False]

    def test_drop_then_older_write_stays_away(self, tier: Any) -> None:
        """Catch the dead that return: a load that began before the deletion."""
        tier.write([(b"key", make_record(b"old", 1))])
        assert tier.drop([b"key"], 5) == [True]
        tier.write([(b"key", make_record(b"late", 4))])
        assert tier.read([b"key"]) == [None]
        tier.write([(b"key", make_record(b"new", 6))])
        assert tier.read([b"key"]) == [make_record(b"new", 6)]

    def test_drop_absent_then_older_write_stays_away(self, tier: Any) -> None:
        """Catch a deletion that is forgotten since there was nothing to delete."""
        assert tier.drop([b"key"], 5) == [False]
        tier.write([(b"key", make_record(b"late", 4))])
        tier.write([(b"key", make_record(b"late", 5)), (b"other", make_record(b"x", 4))])
        assert tier.read([b"key", b"other"]) == [None, make_record(b"x", 4)]

    def test_drop_older_than_stored_leaves_it(self, tier: Any) -> None:
        """Catch a deletion that comes late and takes what was written after it."""
        tier.write([(b"key", make_record(b"new", 9))])
        assert tier.drop([b"key"], 5) == [False]
        assert tier.read([b"key"]) == [make_record(b"new", 9)]

    def test_drop_without_version_takes_all_and_is_newer(self, tier: Any) -> None:
        """Catch a deletion without a version that a load from before it undoes."""
        tier.write([(b"key", make_record(b"old", 3))])
        assert tier.drop([b"key"]) == [True]
        assert tier.write([(b"key", make_record(b"old", 3))]) == [b"key"]
        assert tier.read([b"key"]) == [None]
        assert tier.write([(b"key", make_record(b"new", 1 << 62))]) == []
        assert tier.read([b"key"]) == [make_record(b"new", 1 << 62)]

    def test_write_tells_what_was_late(self, tier: Any) -> None:
        """Catch a write that is refused without a word, and lost."""
        assert tier.write([(b"a", make_record(b"a", 5)), (b"b", make_record(b"b", 1))]) == []
        late = [(b"a", make_record(b"a", 4)), (b"b", make_record(b"b", 3))]
        assert tier.write(late) == [b"a"]
        assert tier.write(late[:1]) == [b"a"]

    def test_read_expired_is_none(self, clocked: Any) -> None:
        """Catch an entry that is shown at or after its end, in any way of asking."""
        end = self.now_ms + 1_000
        clocked.write([(b"key", make_record(b"x", 1, end)), (b"for ever", make_record(b"y", 1))])
        self.now_ms = end - 1
        assert clocked.read([b"key"]) == [make_record(b"x", 1, end)]
        assert list(clocked.scan()) == [b"for ever", b"key"]
        self.now_ms = end
        assert clocked.read([b"key"]) == [None]
        assert clocked.read([b"key", b"for ever"]) == [None, make_record(b"y", 1)]
        assert list(clocked.scan()) == [b"for ever"]
        assert clocked.drop([b"key"]) == [False]

    def test_write_longer_life_over_expired_lives(self, clocked: Any) -> None:
        """Catch a sweep that removes what was stored anew under a key that had expired."""
        clocked.write([(b"key", make_record(b"x", 1, self.now_ms + 1_000))])
        clocked.write([(b"key", make_record(b"y", 2, self.now_ms + 9_000))])
        clocked.write([(b"ever", make_record(b"x", 1, self.now_ms + 1_000))])
        clocked.write([(b"ever", make_record(b"y", 2))])
        self.now_ms += 5_000
        getattr(clocked, "sweep", int)()
        assert clocked.read([b"key"]) == [make_record(b"y", 2, self.now_ms + 4_000)]
        assert clocked.read([b"ever"]) == [make_record(b"y", 2)]

    def test_scan_prefix_is_sorted_and_exact(self, tier: Any) -> None:
        """Catch a scan that goes beyond its prefix, or stops before its end."""
        keys = [b"a", b"b", b"b\0", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]
        tier.write([(key, make_record(b"x")) for key in keys])
        assert list(tier.scan()) == sorted(keys)
        for prefix in (b"b", b"b\xff", b"\xff", b"absent"):
            assert list(tier.scan(prefix)) == sorted(k for k in keys if k.startswith(prefix))

    def test_scan_many_is_whole(self, tier: Any) -> None:
        """Catch a seam between the slices of a scan: a key lost, or shown twice."""
        keys = [b"%05d" % n for n in range(1_003)]
        tier.write([(key, make_record(b"x")) for key in keys])
        assert list(tier.scan()) == keys

    def test_scan_while_keys_come_and_go_ends(self, tier: Any) -> None:
        """Catch a scan that breaks, or never ends, when the tier changes under it."""
        keys = [b"%05d" % n for n in range(500)]
        tier.write([(key, make_record(b"x")) for key in keys])
        seen = []
        for key in tier.scan():
            seen.append(key)
            tier.drop([b"%05d" % (2 * len(seen) % 500 + 1)])
            tier.write([(b"-%d" % len(seen), make_record(b"x")), (key, make_record(b"y", 2))])
            assert len(seen) < 2_000
        assert set(keys[::2]) <= set(seen)

    def test_on_a_face_is_the_tier_under_it(self, tier: Any) -> None:
        """Catch a tier that forgets, under a face, what it was given without one."""
        tier.write([(b"key", make_record(b"x"))])
        assert tier.on(SyncFace()).read_one(b"key") == make_record(b"x")

    def test_read_one_is_a_batch_of_one(self, clocked: Any) -> None:
        """Catch a short cut that shows the expired, or raises for a miss."""
        end = self.now_ms + 1_000
        clocked.write([(b"key", make_record(b"x", 1, end))])
        assert clocked.read_one(b"key") == make_record(b"x", 1, end)
        assert clocked.read_one(b"absent") is None
        self.now_ms = end
        assert clocked.read_one(b"key") is None

    def test_put_one_is_judged_as_in_a_batch(self, tier: Any) -> None:
        """Catch a short cut that lets an older version win."""
        assert tier.put_one(b"key", make_record(b"a", 5), 5, 0) is True
        assert tier.put_one(b"key", make_record(b"late", 4), 4, 0) is False
        assert tier.read_one(b"key") == make_record(b"a", 5)
        assert tier.put_one(b"key", make_record(b"b", 5), 5, 0) is True
        assert tier.read_one(b"key") == make_record(b"b", 5)
        tier.drop([b"key"], 9)
        assert tier.put_one(b"key", make_record(b"late", 9), 9, 0) is False
        assert tier.put_one(b"key", make_record(b"c", 10), 10, 0) is True
        assert tier.read([b"key"]) == [make_record(b"c", 10)]

    def test_put_one_with_expiry_expires(self, clocked: Any) -> None:
        """Catch an expiry that only batches keep."""
        end = self.now_ms + 1_000
        assert clocked.put_one(b"key", make_record(b"x", 1, end), 1, end)
        self.now_ms = end
        assert clocked.read([b"key"]) == [None]

    def test_swap_of_exactly_this_record_replaces(self, tier: Any) -> None:
        """Catch a swap that does not compare, or compares only the version."""
        first, other, second = (make_record(name, 1) for name in (b"first", b"other", b"second"))
        tier.write([(b"key", first)])
        assert tier.swap(b"key", other, second, 2, 0) is False
        assert tier.swap(b"key", None, second, 2, 0) is False
        assert tier.read_one(b"key") == first
        second = make_record(b"second", 2)
        assert tier.swap(b"key", first, second, 2, 0) is True
        assert tier.read_one(b"key") == second
        assert tier.swap(b"absent", first, second, 2, 0) is False
        assert tier.read_one(b"absent") is None

    def test_swap_of_none_stores_only_where_nothing_lives(self, clocked: Any) -> None:
        """Catch an expired record that still counts as one."""
        end = self.now_ms + 1_000
        record = make_record(b"x", 1, end)
        assert clocked.swap(b"key", None, record, 1, end) is True
        assert clocked.swap(b"key", None, record, 1, end) is False
        self.now_ms = end
        assert clocked.swap(b"key", record, make_record(b"y", 2), 2, 0) is False
        assert clocked.swap(b"key", None, make_record(b"y", 2), 2, 0) is True
        assert clocked.read_one(b"key") == make_record(b"y", 2)

    def test_swap_for_none_drops_and_is_newer(self, tier: Any) -> None:
        """Catch a removal that a load from before it undoes."""
        record = make_record(b"x", 3)
        tier.write([(b"key", record)])
        assert tier.swap(b"key", record, None, 0, 0) is True
        assert tier.swap(b"key", record, None, 0, 0) is False
        assert tier.read_one(b"key") is None
        assert tier.write([(b"key", record)]) == [b"key"]

    def test_threads_swapping_lose_no_step(self, tier: Any) -> None:
        """Catch a swap of which two threads both win the same turn."""
        tier.write([(b"key", make_record(b"0", 1))])
        won = []

        def count() -> None:
            for _ in range(40):
                while True:
                    old = tier.read_one(b"key")
                    number = int(old[20:]) + 1
                    new = make_record(b"%d" % number, number + 1)
                    if tier.swap(b"key", old, new, number + 1, 0):
                        won.append(number)
                        break

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(1, 161))

    def test_clear_removes_the_range_and_no_more(self, tier: Any) -> None:
        """Catch a clear that takes its end too, or leaves its start."""
        keys = [b"a", b"b", b"b\0", b"b\xff\xff", b"c", b"c\0"]
        tier.write([(key, make_record(b"x")) for key in keys])
        tier.clear(b"b", b"c")
        assert list(tier.scan()) == [b"a", b"c", b"c\0"]
        tier.clear(b"x", b"y")
        assert tier.read(keys) == [make_record(b"x") if key[:1] != b"b" else None for key in keys]

    def test_clear_makes_what_was_begun_before_late(self, tier: Any) -> None:
        """Catch the dead that return: a load that began before everything was removed."""
        tier.clear(b"a", b"b")
        record = make_record(b"late", 7)
        assert tier.put_one(b"a", record, 7, 0) is False
        assert tier.write([(b"a1", record), (b"b", record)]) == [b"a1"]
        assert tier.swap(b"a2", None, record, 7, 0) is False
        assert list(tier.scan()) == [b"b"]
        assert tier.put_one(b"a", make_record(b"new", 1 << 62), 1 << 62, 0) is True

    def test_closed_raises_and_close_repeats(self, tier: Any) -> None:
        """Catch a tier that answers after its end, or cannot be closed twice."""
        tier.close()
        tier.close()
        for call in (
            lambda: tier.read([b"a"]),
            lambda: tier.read([b"a", b"b"]),
            lambda: tier.write([(b"a", make_record())]),
            lambda: tier.drop([b"a"]),
            lambda: list(tier.scan()),
            lambda: tier.read_one(b"a"),
            lambda: tier.put_one(b"a", make_record(), 1, 0),
            lambda: tier.swap(b"a", None, make_record(), 1, 0),
            lambda: tier.clear(b"a", b"b"),
        ):
            with pytest.raises(CacheClosed):
                call()

    def test_threads_newest_write_stays(self, tier: Any) -> None:
        """Catch two writers of a key that both look before either has written."""
        keys = [b"key%d" % n for n in range(4)]
        turns = 60

        def write(first: int) -> None:
            for version in range(first, 4 * turns, 4):
                tier.write([(key, make_record(b"%d" % version, version + 1)) for key in keys])
                tier.write([(keys[version % 4], make_record(b"%d" % version, version + 1))])

        threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = make_record(b"%d" % (4 * turns - 1), 4 * turns)
        assert tier.read(keys) == [last] * 4
