"""RocksDB through our one door: values, order, errors with a type, and a lock that is released."""

import os
import sys
import threading
from pathlib import Path

import pytest
import rocksdict
from child import run_quietly

from frys_cache.errors import (
    CacheClosed,
    ConfigurationError,
    IntegrityError,
    NoSpace,
    TierLockedError,
    TierUnavailable,
)
from frys_cache.tiers.handle import FAMILIES, translate
from frys_cache.tiers.rocks import open_rocks


@pytest.fixture
def rocks(tmp_path):
    """Return an open database in `tmp_path / "db"`."""
    opened = open_rocks(str(tmp_path / "db"))
    yield opened
    opened.close()


def fill(rocks, count=1_000, size=500):
    """Put `count` values that name their key, and make a table file of them."""
    for n in range(count):
        rocks.put_data(b"%06d" % n, b"%06d" % n * (size // 6))
    rocks.flush()


def flip(path, at):
    """Turn over one byte of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0xFF]))


def test_put_data_value_is_read_back_also_by_list(rocks):
    """Catches a hot path bound to another family than the reads, and a list out of order."""
    rocks.put_data(b"a", b"1")
    rocks.put_data(b"", b"")
    assert rocks.get_data(b"a") == b"1"
    assert rocks.get_data(b"b") is None
    assert rocks.get_data_list([b"b", b"a", b""]) == [None, b"1", b""]
    assert rocks.get("data", b"a") == b"1"


def test_write_changes_are_made_in_their_families_in_order(rocks):
    """Catches a batch that writes all into one family, or deletes after it puts."""
    rocks.put_data(b"gone", b"x")
    rocks.write([(family, b"k", family.encode()) for family in FAMILIES])
    rocks.write([("data", b"gone", None), ("meta", b"twice", None), ("meta", b"twice", b"2")])
    assert [rocks.get(family, b"k") for family in FAMILIES] == [name.encode() for name in FAMILIES]
    assert rocks.get_data(b"gone") is None
    assert rocks.get("meta", b"twice") == b"2"


def test_write_batch_with_a_wrong_family_changes_nothing(rocks):
    """Catches half a batch: what was named before the mistake would be written."""
    with pytest.raises(KeyError):
        rocks.write([("data", b"a", b"1"), ("nowhere", b"b", b"2")])
    assert rocks.get_data(b"a") is None


def test_items_bounds_and_limit_are_kept(rocks):
    """Catches a slice that includes its end, misses its start, or returns one too many."""
    for name in (b"a", b"b", b"c", b"d"):
        rocks.put_data(name, name * 2)
    assert rocks.keys("data", b"", None, 10) == [b"a", b"b", b"c", b"d"]
    assert rocks.keys("data", b"b", b"d", 10) == [b"b", b"c"]
    assert rocks.items("data", b"aa", None, 2) == [(b"b", b"bb"), (b"c", b"cc")]
    assert rocks.items("data", b"", None, 9, 4) == [(b"a", b"aa"), (b"b", b"bb")]
    assert rocks.keys("data", b"e", None, 10) == []
    assert rocks.keys("data", b"", None, 0) == []
    assert rocks.keys("expiry", b"", None, 10) == []


def test_delete_range_end_is_kept(rocks):
    """Catches a range that deletes its end or in another family."""
    for name in (b"a", b"b", b"c"):
        rocks.put_data(name, b"1")
        rocks.write([("expiry", name, b"1")])
    rocks.delete_range("data", b"a", b"c")
    assert rocks.keys("data", b"", None, 10) == [b"c"]
    assert rocks.keys("expiry", b"", None, 10) == [b"a", b"b", b"c"]


def test_reopen_after_close_everything_is_there(rocks, tmp_path):
    """Catches a close that loses what was in memory, in any family."""
    rocks.write([(family, b"k", family.encode()) for family in FAMILIES])
    rocks.close()
    again = open_rocks(str(tmp_path / "db"))
    assert [again.get(family, b"k") for family in FAMILIES] == [name.encode() for name in FAMILIES]
    again.close()


def test_directory_new_one_is_for_its_owner_only(rocks, tmp_path):
    """Catches cached values that other users of the machine may read."""
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o700


def test_open_twice_in_one_process_is_tierlockederror(rocks, tmp_path):
    """Catches a bare Exception that nobody can tell from a broken disk."""
    with pytest.raises(TierLockedError):
        open_rocks(str(tmp_path / "db"))


def test_secondary_catches_up_and_does_not_write(rocks, tmp_path):
    """Catches a reader that never sees newer values, or that writes beside the owner."""
    rocks.put_data(b"a", b"1")
    reader = open_rocks(str(tmp_path / "db"), secondary=str(tmp_path / "own"))
    assert reader.get_data(b"a") == b"1"
    rocks.put_data(b"b", b"2")
    reader.catch_up()
    assert reader.get_data(b"b") == b"2"
    with pytest.raises(TierUnavailable):
        reader.write([("data", b"c", b"3")])
    reader.close()
    assert rocks.get_data(b"c") is None


@pytest.mark.parametrize("settle", ["flush", "close", "reopen"])
def test_secondary_sees_a_newer_value_after_the_log_became_a_table(tmp_path, settle):
    """Catches RocksDB's memory of an old log, which hides the newer table for ever."""
    path = str(tmp_path / "db")
    rocks = open_rocks(path)
    rocks.put_data(b"k", b"1")
    reader = open_rocks(path, secondary=str(tmp_path / "own"))
    rocks.put_data(b"k", b"2")
    reader.catch_up()
    assert reader.get_data(b"k") == b"2"
    rocks.put_data(b"k", b"3")
    if settle == "flush":
        rocks.flush()
    else:
        rocks.close()
    if settle == "reopen":
        rocks = open_rocks(path)
        rocks.put_data(b"other", b"4")
    reader.catch_up()
    assert reader.get_data(b"k") == b"3"
    assert reader.get_data_list([b"k"]) == [b"3"]
    assert dict(reader.items("data", b"", None, 9))[b"k"] == b"3"
    reader.close()
    rocks.close()
    for call in (reader.catch_up, lambda: reader.get_data(b"k")):
        with pytest.raises(CacheClosed):
            call()


def test_close_every_method_says_closed(rocks):
    """Catches a crash, or a miss, where the database is closed."""
    read, write = rocks.get_data, rocks.put_data
    rocks.close()
    rocks.close()
    calls = [
        lambda: rocks.get_data(b"a"),
        lambda: rocks.put_data(b"a", b"b"),
        lambda: rocks.get_data_list([b"a"]),
        lambda: rocks.get("data", b"a"),
        lambda: rocks.write([("data", b"a", b"b")]),
        lambda: rocks.keys("data", b"", None, 1),
        lambda: rocks.delete_range("data", b"a", b"b"),
        *(rocks.flush, rocks.flush_wal, rocks.compact, rocks.estimate),
        lambda: rocks.checkpoint("nowhere"),
    ]
    for call in calls:
        with pytest.raises(CacheClosed):
            call()
    for call in (lambda: read(b"a"), lambda: write(b"a", b"b")):
        with pytest.raises(rocksdict.DbClosedError) as caught:
            call()
        assert isinstance(translate(caught.value), CacheClosed)


def test_close_beside_busy_threads_releases_the_lock(tmp_path):
    """Catches a scan, a flush, or a list of reads that keeps the files locked, or crashes."""
    path = str(tmp_path / "db")
    for _ in range(3):
        rocks = open_rocks(path)
        fill(rocks, 300)
        keys = [b"%06d" % n for n in range(300)]
        failures = []

        def repeat(call, failures=failures):
            try:
                while True:
                    call()
            except CacheClosed:
                pass
            except Exception as error:
                failures.append(error)

        calls = [
            lambda r=rocks: r.keys("data", b"", None, 300),
            lambda r=rocks, keys=keys: r.get_data_list(keys),
            lambda r=rocks: (r.write([("data", b"x", b"y")]), r.flush()),
            rocks.compact,
        ]
        threads = [threading.Thread(target=repeat, args=[call]) for call in calls]
        for thread in threads:
            thread.start()
        closers = [threading.Thread(target=rocks.close) for _ in range(2)]
        for thread in closers:
            thread.start()
        for thread in (*closers, *threads):
            thread.join(20)
            assert not thread.is_alive()
        assert failures == []
        again = open_rocks(path)
        assert again.get_data(keys[7]) == keys[7] * 83
        again.close()


def test_scan_damaged_block_raises_and_shows_what_came_before(rocks, tmp_path):
    """Catches RocksDB's silent end of a walk: a damaged store would look like a smaller one."""
    fill(rocks)
    rocks.close()
    table = max((tmp_path / "db").glob("*.sst"), key=lambda file: file.stat().st_size)
    flip(table, table.stat().st_size // 2)
    damaged = open_rocks(str(tmp_path / "db"))
    with pytest.raises(IntegrityError) as caught:
        damaged.keys("data", b"", None, 10_000)
    assert 0 < len(caught.value.found) < 1_000
    assert caught.value.found == [b"%06d" % n for n in range(len(caught.value.found))]
    damaged.close()


def test_checkpoint_copy_opens_by_itself(rocks, tmp_path):
    """Catches a snapshot that shares its life with the original."""
    fill(rocks, 10)
    rocks.checkpoint(str(tmp_path / "copy"))
    rocks.put_data(b"later", b"1")
    copy = open_rocks(str(tmp_path / "copy"))
    assert len(copy.keys("data", b"", None, 100)) == 10
    assert rocks.live_bytes() > 0
    assert copy.estimate() == 10
    copy.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Corruption: block checksum mismatch: stored(context removed) = 1", IntegrityError),
        ("IO error: No space left on device: While appending to file: /d/1.log", NoSpace),
        ("IO error: While lock file: /d/LOCK: Resource temporarily unavailable", TierLockedError),
        ("IO error: lock hold by current process, acquire time 1: /d/LOCK", TierLockedError),
        ("IO error: Permission denied: /d/CURRENT", TierUnavailable),
        ("Invalid argument: Column families not opened: x", ConfigurationError),
        ("Shutdown in progress: ", CacheClosed),
        ("", TierUnavailable),
    ],
)
def test_translate_text_of_rocksdb_gets_its_type(text, kind):
    """Catches a full disk taken for damage, which would throw the store away."""
    assert type(translate(Exception(text))) is kind


def test_raw_mode_a_planted_pickle_is_bytes(tmp_path):
    """Catches rocksdict's own mode, in which a value in the store is code that runs."""
    (tmp_path / "db").mkdir()
    mode = '{"raw_mode": false, "prefix_extractors": {}, "prefix_extractor": null}'
    (tmp_path / "db" / "rocksdict-config.json").write_text(mode)
    rocks = open_rocks(str(tmp_path / "db"))
    pickle = b"\x06cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    rocks.put_data(b"k", pickle)
    assert rocks.get_data(b"k") == pickle
    rocks.close()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("raw", [False, True])
def test_foreign_database_is_a_configurationerror(tmp_path, raw):
    """Catches another program's database being taken for a damaged one of ours."""
    other = rocksdict.Rdict(str(tmp_path / "db"), rocksdict.Options(raw_mode=raw))
    other.create_column_family("theirs", rocksdict.Options(raw_mode=raw)).close()
    other.close()
    with pytest.raises(ConfigurationError, match="another program"):
        open_rocks(str(tmp_path / "db"))


def test_rocksdict_absent_says_what_to_install(tmp_path, monkeypatch):
    """Catches an ImportError that leaves the user to find out which extra is meant."""
    monkeypatch.setitem(sys.modules, "rocksdict", None)
    with pytest.raises(ConfigurationError, match=r"frys-cache\[persistent\]"):
        open_rocks(str(tmp_path / "db"))


def test_import_of_the_package_leaves_rocksdict_alone():
    """Catches an optional package that everybody loads."""
    assert run_quietly("import frys_cache, sys; print('rocksdict' in sys.modules)") == "False\n"


def test_directory_that_cannot_be_made_is_tierunavailable(tmp_path):
    """Catches an OSError that is not one of the errors of a tier."""
    Path(tmp_path / "file").touch()
    with pytest.raises(TierUnavailable):
        open_rocks(os.fspath(tmp_path / "file" / "db"))
