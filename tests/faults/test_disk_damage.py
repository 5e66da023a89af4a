"""A damaged database opens whole, is set aside, or is refused; it never crashes and never lies.

Every key has been written twice, so that an older state of the store would show as a wrong value.
"""

import contextlib
import os
import random
import shutil
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  (what is tested needs it)
from child import run

from frys_cache.errors import CacheError, IntegrityError
from frys_cache.tiers.store import open_store

KEYS = [b"%05d" % n for n in range(1_000)]


def value(key, turn):
    """Return what was written for a key the first or the second time."""
    return key + b"-%d-" % turn + key * 20


WRITER = """
    import os, signal, sys
    from frys_cache.tiers.store import open_store
    store = open_store(sys.argv[1])
    for turn in (1, 2):
        for n in range(1000):
            key = b"%05d" % n
            store.rocks.put_data(key, key + b"-%d-" % turn + key * 20)
        if turn == 1 or sys.argv[2] == "clean":
            store.rocks.flush()
            store.check_space()
    if sys.argv[2] == "clean":
        store.close()
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a store that was closed, and one whose process was killed."""
    folder = tmp_path_factory.mktemp("made")
    assert run(WRITER, folder / "clean", "clean").returncode == 0
    assert run(WRITER, folder / "killed", "killed").returncode == -9
    return folder


@pytest.fixture
def copy(made, tmp_path):
    """Return a function that copies one of the stores, with what is beside it."""

    def copy(kind, name="db"):
        target = tmp_path / name
        shutil.copytree(made / kind, target)
        shutil.copy(f"{made / kind}.frys", f"{target}.frys")
        return target

    return copy


def files(path, pattern):
    """Return the files of a store that match."""
    return sorted(path.glob(pattern))


def cut(file, part):
    """Leave only a part of a file."""
    os.truncate(file, int(file.stat().st_size * part))


def flip(file, at):
    """Turn over one byte of a file."""
    data = bytearray(file.read_bytes())
    data[at] ^= 0x55
    file.write_bytes(data)


def read_all(store):
    """Return how many keys answer, are absent, and are refused; fail on a wrong value."""
    good = absent = refused = 0
    for key in KEYS:
        try:
            found = store.rocks.get("data", key)
        except IntegrityError:
            refused += 1
            continue
        if found is None:
            absent += 1
        else:
            assert found == value(key, 2)
            good += 1
    return good, absent, refused


def check(path, *, opens=False):
    """Open a damaged store in both ways: whole, or refused and then set aside, nothing between.

    opens: whether it must open.
    """
    before = {file.name for file in path.glob("*.sst")}
    store, refusal = attempt(path)
    if refusal is not None:
        assert not opens
        assert all(word in refusal for word in (str(path), '"quarantine"', '"raise"', ".frys"))
        assert before <= {file.name for file in path.glob("*.sst")}
        store = open_store(path)
        assert store.damage
        if before:
            assert before <= {file.name for file in Path(store.quarantined).glob("*.sst")}
            assert f"{path}.quarantine-" in store.quarantined
        assert read_all(store) == (0, len(KEYS), 0)
        usable(store)
        return "refused"
    good, absent, refused = read_all(store)
    assert absent == 0
    assert good + refused == len(KEYS)
    found, whole = scan(store)
    assert found == (KEYS if whole else KEYS[: len(found)])
    if whole and not refused:
        usable(store)
        return "whole"
    with contextlib.suppress(CacheError):
        store.close()
    return "damaged"


def attempt(path):
    """Return a store, or why it was refused."""
    try:
        return open_store(path, on_corrupt="raise"), None
    except IntegrityError as error:
        return None, str(error)


def scan(store):
    """Return the keys that a scan shows, and whether it came to its end."""
    try:
        return store.rocks.keys("data", b"", None, 10_000), True
    except IntegrityError as error:
        return error.found, False


def usable(store):
    """Check that a store can be written, closed and opened again."""
    store.rocks.put_data(b"new", b"1")
    path = store.path
    store.close()
    again = open_store(path, on_corrupt="raise")
    assert again.rocks.get_data(b"new") == b"1"
    again.close()


@pytest.mark.parametrize("kind", ["clean", "killed"])
def test_undamaged_store_opens_whole(copy, kind):
    """Catches an alarm without a fire, which would throw away every store."""
    assert check(copy(kind), opens=True) == "whole"
    path = copy(kind, "other")
    Path(f"{path}.frys").unlink()
    assert check(path, opens=True) == "whole"
    assert not list(path.parent.glob("*quarantine*"))


@pytest.mark.parametrize("kind", ["clean", "killed"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_one_flipped_byte_in_each_table_is_never_a_wrong_value(copy, kind, part):
    """Catches a block that is served without its checksum."""
    path = copy(kind)
    for file in files(path, "*.sst"):
        flip(file, int(file.stat().st_size * part))
    assert check(path) in {"damaged", "refused", "whole"}


def test_compaction_over_damage_fails_and_close_releases_the_lock(copy):
    """Catches a lock that stays because closing failed, and a store that fails again and again."""
    path = copy("clean")
    file = max(files(path, "*.sst"), key=lambda file: file.stat().st_size)
    flip(file, file.stat().st_size // 2)
    store = open_store(path)
    for key in KEYS:
        store.rocks.put_data(key, b"newer")
    store.rocks.flush()
    with pytest.raises(IntegrityError):
        store.rocks.compact()
    with pytest.raises(IntegrityError) as caught:
        store.rocks.write([("data", b"a", b"1")])
    with pytest.raises(IntegrityError) as closing:
        store.close()
    store.close()
    with pytest.raises(IntegrityError, match="checksum"):
        open_store(path, on_corrupt="raise")
    again = open_store(path)
    assert again.quarantined
    usable(again)
    del caught, closing


@pytest.mark.parametrize("kind", ["clean", "killed"])
@pytest.mark.parametrize(
    "act", [Path.unlink, lambda file: cut(file, 0.5), lambda file: cut(file, 0)]
)
def test_table_missing_or_cut_is_refused(copy, kind, act):
    """Catches a store that opens without some of its keys."""
    path = copy(kind)
    act(max(files(path, "*.sst"), key=lambda file: file.stat().st_size))
    assert check(path) == "refused"


@pytest.mark.parametrize("part", [0, 0.3, 0.5, 0.8, 0.95, "records"])
def test_manifest_cut_is_refused(copy, part):
    """Catches an empty or an older store that opens without an error and deletes the files."""
    path = copy("clean")
    (manifest,) = files(path, "MANIFEST-*")
    whole = manifest.read_bytes()
    # A cut exactly between two records is the one that RocksDB does not notice.
    ends = record_ends(whole) if part == "records" else [int(len(whole) * part)]
    assert ends
    for n, end in enumerate(ends):
        path = copy("clean", f"cut-{n}")
        (manifest,) = files(path, "MANIFEST-*")
        os.truncate(manifest, end)
        assert check(path) == "refused"


def record_ends(data):
    """Return where each record of a log of RocksDB ends, but for the last."""
    ends, at = [], 0
    while at + 7 <= len(data):
        at += 7 + int.from_bytes(data[at + 4 : at + 6], "little")
        ends.append(at)
    assert ends[-1] == len(data)
    return ends[:-1]


def test_manifest_cut_after_a_kill_is_refused(copy):
    """Catches the same where the store was not closed: the last flush is then remembered."""
    path = copy("killed")
    (manifest,) = files(path, "MANIFEST-*")
    for n, end in enumerate(record_ends(manifest.read_bytes())):
        path = copy("killed", f"cut-{n}")
        (manifest,) = files(path, "MANIFEST-*")
        os.truncate(manifest, end)
        assert check(path) == "refused"


def test_manifest_cut_and_no_sentinel_is_never_silently_empty(copy):
    """Catches an opening that deletes the files of a store it takes for empty."""
    path = copy("clean")
    (manifest,) = files(path, "MANIFEST-*")
    for n, end in enumerate(record_ends(manifest.read_bytes())[:2]):
        path = copy("clean", f"cut-{n}")
        Path(f"{path}.frys").unlink()
        (manifest,) = files(path, "MANIFEST-*")
        os.truncate(manifest, end)
        assert check(path) == "refused"


@pytest.mark.parametrize("kind", ["clean", "killed"])
@pytest.mark.parametrize("name", ["MANIFEST-*", "CURRENT"])
@pytest.mark.parametrize("garbage", [b"", b"\xff\x00" * 500, None])
def test_head_of_the_store_garbage_or_gone_is_refused(copy, kind, name, garbage):
    """Catches a store that is created anew over the files of the old one."""
    path = copy(kind)
    (file,) = files(path, name)
    if garbage is None:
        file.unlink()
    else:
        file.write_bytes(garbage)
    assert check(path) == "refused"


@pytest.mark.parametrize("sentinel", [True, False])
@pytest.mark.parametrize("kind", ["clean", "killed"])
def test_current_gone_is_refused_with_and_without_a_sentinel(copy, kind, sentinel):
    """Catches create-if-missing, which would begin a new store among the old files."""
    path = copy(kind)
    if not sentinel:
        Path(f"{path}.frys").unlink()
    for file in files(path, "CURRENT") + files(path, "*.log"):
        file.unlink()
    assert check(path) == "refused"


@pytest.mark.parametrize("how", ["gone", "emptied"])
@pytest.mark.parametrize("kind", ["clean", "killed"])
def test_directory_gone_or_emptied_is_said(copy, kind, how):
    """Catches a lost store that looks like a new one."""
    path = copy(kind)
    shutil.rmtree(path)
    if how == "emptied":
        path.mkdir()
    assert check(path) == "refused"
    assert not list(path.parent.glob("*quarantine*"))


@pytest.mark.parametrize("lost", [1, 7, 100])
def test_log_tail_cut_after_a_kill_loses_the_tail_only(copy, lost):
    """Catches a torn last record that makes the store unreadable: no kill may do that."""
    path = copy("killed")
    log = max(files(path, "*.log"), key=lambda file: file.stat().st_size)
    os.truncate(log, log.stat().st_size - lost)
    store = open_store(path, on_corrupt="raise")
    found = [store.rocks.get_data(key) for key in KEYS]
    first = [value(key, 1) for key in KEYS]
    second = [value(key, 2) for key in KEYS]
    assert found[:-1] == second[:-1]
    assert found[-1] in (first[-1], second[-1])
    usable(store)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_log_damaged_in_its_middle_is_refused(copy, part):
    """Catches a recovery that stops at the damage and drops what was acknowledged after it."""
    path = copy("killed")
    log = max(files(path, "*.log"), key=lambda file: file.stat().st_size)
    flip(log, int(log.stat().st_size * part))
    assert check(path) == "refused"


def test_log_gone_after_a_kill_is_refused(copy):
    """Catches the loss of the newest writes, with older values in their place."""
    path = copy("killed")
    for log in files(path, "*.log"):
        log.unlink()
    assert check(path) == "refused"


@pytest.mark.parametrize("seed", range(6))
def test_any_file_overwritten_at_random_is_never_a_wrong_value(copy, seed):
    """Catches damage that nobody thought of."""
    draw = random.Random(seed)
    for n, kind in enumerate(["clean", "killed"]):
        path = copy(kind, f"db-{n}")
        # A log's last record may be torn: what damages that is another test.
        names = [file for file in files(path, "*") if file.suffix != ".log"]
        for file in draw.sample(names, 2):
            data = bytearray(file.read_bytes() or b"x")
            start = draw.randrange(len(data))
            junk = draw.randbytes(draw.randrange(1, 200))
            data[start : start + len(junk)] = junk
            file.write_bytes(data)
        check(path)


def test_foreign_files_among_ours_do_no_harm(copy):
    """Catches an alarm at what is only litter."""
    path = copy("clean")
    for name in ("notes.txt", "009999.sst", "MANIFEST-009999", "000001.dbtmp", ".nfs000"):
        (path / name).write_bytes(b"garbage" * 10)
    assert check(path, opens=True) == "whole"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b'{"format": 99}',
        b'{"format": 1, "clean": "yes"}',
        b'{"format": 1, "tables": {"a.sst": "x"}}',
        b'{"format": 1, "more": 1}',
        b"[" * 100_000,
        None,
    ],
)
def test_sentinel_garbage_is_as_if_nothing_were_known(copy, text):
    """Catches a good store that is refused because of the file beside it."""
    path = copy("clean")
    sentinel = Path(f"{path}.frys")
    if text is None:
        sentinel.unlink()
    else:
        sentinel.write_bytes(text)
    assert check(path, opens=True) == "whole"
    assert not list(path.parent.glob("*quarantine*"))


def test_sentinel_left_by_a_newer_life_is_noticed(copy, tmp_path):
    """Catches an older copy of the directory that is put back: it has values since replaced."""
    path = copy("clean")
    shutil.copytree(path, tmp_path / "older")
    store = open_store(path)
    store.rocks.put_data(KEYS[0], b"newer")
    store.close()
    shutil.rmtree(path)
    (tmp_path / "older").rename(path)
    assert check(path) == "refused"


def test_quarantine_names_do_not_collide_and_the_log_says_so(copy, caplog):
    """Catches a second damage in the same second that overwrites the first, in silence."""
    found = set()
    path = copy("clean")
    for _ in range(3):
        for file in files(path, "CURRENT"):
            file.write_bytes(b"x")
        store = open_store(path)
        found.add(store.quarantined)
        store.rocks.put_data(b"a", b"1")
        store.close()
    assert len(found) == 3
    assert all(Path(name).is_dir() for name in found)
    warnings = [record for record in caplog.records if record.name == "frys_cache"]
    assert len(warnings) == 3
    assert all(str(path) in record.getMessage() for record in warnings)
