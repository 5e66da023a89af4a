"""A full disk: what is there is still read, what cannot be kept is refused, and room ends it.

The disk is a tmpfs of 48 MiB where one may be mounted, which takes root.  Elsewhere the directory
of the test counts as such a disk: the reserve is told what is free of 48 MiB.
"""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
import zstandard  # noqa: F401
from child import run

from frys_cache import FrysCache, TierUnavailable
from frys_cache.tiers.persistent import PersistentCache

MIB = 1 << 20
SIZE = 48 * MIB


class Disk:
    """A small disk at `path`."""

    def __init__(self, path, mounted):
        self.path, self.mounted, self.size = path, mounted, SIZE

    def open(self, **options):
        cache = PersistentCache(self.path / "db", compression=False, **options)
        if not self.mounted:
            cache.tier.store._reserve._room = lambda path: (self.free(), self.size)
        return cache

    def free(self):
        used = 0
        for path in self.path.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                used += path.stat().st_size
        return max(0, self.size - used)

    def free_now(self):
        """Return what is free, measured."""
        if not self.mounted:
            return self.free()
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def grow(self):
        """Make room where nothing can be removed."""
        self.size = 4 * SIZE
        if self.mounted:
            options = f"remount,size={self.size}"
            subprocess.run(["mount", "-o", options, str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path):
    """Give a small disk."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    try:
        yield Disk(place, mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def fill(cache, value, most=2_000):
    """Put until the disk is full; return the keys that were acknowledged."""
    kept = []
    with pytest.raises(TierUnavailable):
        for n in range(most):
            cache[n] = value
            kept.append(n)
    return kept


def resumed(write, seconds=10):
    """Return whether a write succeeds within some seconds, without anything else being done."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            write()
        except TierUnavailable:
            time.sleep(0.05)
        else:
            return True
    return False


@pytest.mark.parametrize("ballast_mib", [36, 0])
def test_full_disk_reads_on_and_resumes_when_there_is_room(disk, ballast_mib):
    """Catch reads that fail with the writes, a write acknowledged and lost, a tier that stays dead.

    With 36 MiB taken by others the reserve refuses before RocksDB knows; with nothing taken RocksDB
    itself may run out of space while it rewrites its files.
    """
    ballast = disk.path / "ballast"
    ballast.write_bytes(b"\0" * (ballast_mib * MIB))
    cache = disk.open()
    value = os.urandom(60_000)
    kept = fill(cache, value)
    assert len(kept) > 50
    assert all(cache[n] == value for n in kept)
    assert cache.get_many(kept[-40:]) == [value] * 40
    assert sum(1 for _ in cache) >= len(kept)
    for write in (lambda: cache.put_many({"x": value, "y": value}), lambda: cache.add("z", value)):
        with pytest.raises(TierUnavailable):
            write()
    ballast.unlink()
    if not ballast_mib:
        disk.grow()
    assert resumed(lambda: cache.put("after", value))
    assert cache["after"] == value
    assert all(cache[n] == value for n in kept)
    with contextlib.suppress(TierUnavailable):
        cache.close()  # it tells of an error in the background, if there was one
    with disk.open() as cache:
        assert cache["after"] == value
        assert [n for n in kept if cache.get(n) != value] == []


def test_full_disk_deletions_make_room(disk):
    """Catch a disk so full that nothing can be deleted any more."""
    ballast = disk.path / "ballast"
    ballast.write_bytes(b"\0" * (30 * MIB))
    with disk.open() as cache:
        value = os.urandom(60_000)
        kept = fill(cache, value)
        for n in kept:
            assert cache.delete(n)
        cache.compact()
        assert resumed(lambda: cache.put("after", value))
        assert cache["after"] == value
        assert len(cache) == 1


def test_full_disk_bounded_cache_never_gets_there(disk):
    """Catch a bound that holds for the records and not for the files."""
    with disk.open(max_size_bytes=4 * MIB) as cache:
        value = os.urandom(20_000)
        for n in range(1_000):
            cache[n] = value
            if n % 100 == 0:
                cache.tier.tick()
        assert cache[999] == value


def test_too_little_room_at_the_opening_reads_only(disk):
    """Catch an opening that is refused, though all there is could be read."""
    with disk.open() as cache:
        cache["a"] = 1
    (disk.path / "ballast").write_bytes(b"\0" * (disk.free() - 2 * MIB))
    with disk.open(min_free_bytes=SIZE) as cache:
        assert cache["a"] == 1
        with pytest.raises(TierUnavailable, match="no space"):
            cache["b"] = 2
        assert Path(cache.path).is_dir()


def test_full_disk_below_memory_shows_no_old_value(disk):
    """Catch a cache that stops with its disk, or a value that was overwritten and comes back."""
    disk_cache = disk.open(min_free_bytes=1)
    cache = FrysCache(20, policy="lru", persistent=disk_cache)
    value = os.urandom(60_000)
    cache["k"] = "old"
    refused = 0
    for number in range(1_500):
        cache[number] = value
        cache["k"] = number
        assert cache["k"] == number
        cache._forget("k")
        assert cache.get("k", number) == number
        refused += "k" not in cache
    assert refused
    disk.grow()
    assert resumed(lambda: disk_cache.put("after", 1))
    cache["k"] = "new"
    cache._forget("k")
    assert cache["k"] == "new"
    cache.close()
    with contextlib.suppress(TierUnavailable):
        disk_cache.close()
    with disk.open() as disk_cache:
        assert disk_cache["k"] == "new"


def test_flush_on_a_full_disk_is_refused_before_the_database_is_touched(disk):
    """Catch a flush that fails inside of RocksDB, which then refuses all writes for good."""
    ballast = disk.path / "ballast"
    with disk.open(min_free_bytes=8 * MIB) as cache:
        cache["a"] = 1
        cache.flush()
        ballast.write_bytes(b"\0" * (disk.free_now() - 4 * MIB))
        with pytest.raises(TierUnavailable, match="must stay free"):
            cache.flush()
        ballast.unlink()
        cache.flush()
        assert resumed(lambda: cache.put("b", 2))


@pytest.mark.parametrize("options", [{}, {"max_size_bytes": 40 * MIB}])
def test_log_that_could_not_be_written_is_opened_anew_when_there_is_room(disk, options):
    """Catch a cache that refuses all writes for good once one write to its log has failed."""
    ballast = disk.path / "ballast"
    # The log meets the end of the disk before the first table is written.
    ballast.write_bytes(b"\0" * (24 * MIB))
    cache = disk.open(min_free_bytes=1, **options)
    value = os.urandom(60_000)
    kept = fill(cache, value)
    if disk.mounted:
        for act in (lambda: cache.tier.rocks.flush_wal(), lambda: cache.put("x", value)):
            with pytest.raises(TierUnavailable, match="opened anew within seconds"):
                act()
        assert all(cache[n] == value for n in kept[::10])
    ballast.unlink()
    disk.grow()
    assert resumed(lambda: cache.put("after", value))
    assert cache["after"] == value
    assert all(cache[n] == value for n in kept)
    assert len(cache) == len(kept) + 1
    cache.flush()
    cache.close()
    with disk.open(on_corrupt="raise", **options) as cache:
        assert cache["after"] == value
        assert all(cache[n] == value for n in kept)


STUCK = """
    import resource, signal, sys, threading, time
    from frys_cache import TierUnavailable
    from frys_cache.tiers.persistent import PersistentCache
    cache = PersistentCache(sys.argv[1], compression=False)
    for n in range(200):
        cache[n] = b"x" * 1000
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, no_limit[1]))
    kept = 200
    try:
        while True:
            cache[kept] = b"x" * 1000
            kept += 1
    except TierUnavailable:
        pass
    wrong = []
    def read():
        while True:
            for n in range(kept):
                try:
                    if cache[n] != b"x" * 1000 or cache.get_many([n]) != [b"x" * 1000]:
                        wrong.append(n)
                except Exception as error:
                    wrong.append(repr(error))
    threading.Thread(target=read, daemon=True).start()
    time.sleep(1.5)
    resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            cache["after"] = 1
            break
        except TierUnavailable:
            time.sleep(0.05)
    print(cache["after"], len(cache) == kept + 1, wrong[:3])
"""


def test_log_that_failed_for_another_reason_is_opened_anew_beside_readers(tmp_path):
    """Catch readers that are told the cache is closed while its files are opened anew."""
    done = run(STUCK, tmp_path / "db")
    assert (done.returncode, done.stdout.strip()) == (0, "1 True []"), done.stderr
    assert "was opened anew" in done.stderr


@pytest.mark.parametrize("room", [0, 1])
def test_close_on_a_full_disk_is_no_damage(disk, room):
    """Catch an alarm at a log from whose end RocksDB itself has cut what a failed write left."""
    ballast = disk.path / "ballast"
    ballast.write_bytes(b"\0" * (24 * MIB))
    cache = disk.open(min_free_bytes=1)
    value = os.urandom(60_000)
    kept = fill(cache, value)
    ballast.write_bytes(b"\0" * (24 - room) * MIB)
    cache.tier.store.note()
    with contextlib.suppress(TierUnavailable):
        cache.close()
    ballast.unlink()
    with disk.open(on_corrupt="raise") as cache:
        assert all(cache[n] == value for n in kept)
