"""One database per path and process: who shares it, who is refused, and when it is given back."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  (what is tested needs it)
from child import run, run_quietly

import frys_cache
from frys_cache.errors import ConfigurationError, TierLockedError, TierUnavailable
from frys_cache.tiers.reserve import MIB, Reserve
from frys_cache.tiers.store import open_store

GIB = 1024 * MIB


@pytest.fixture
def path(tmp_path):
    """Return a path where no database is yet."""
    return str(tmp_path / "db")


def seen(path):
    """Return what the sentinel beside a database says."""
    return json.loads(Path(path + ".frys").read_text())


def test_open_store_same_path_shares_one_handle(path, tmp_path):
    """Catches two handles on one path, or a close by one cache that takes it from the other."""
    first, second = open_store(path), open_store(tmp_path / "." / "db")
    assert first.rocks is second.rocks
    assert (first.mode, first.writable, first.path) == ("primary", True, path)
    first.close()
    first.close()
    assert (first.mode, first.writable, first.rocks) == ("closed", False, None)
    second.rocks.put_data(b"a", b"1")
    second.close()
    again = open_store(path)
    assert again.rocks.get_data(b"a") == b"1"
    again.close()


def test_open_store_through_a_link_shares_too(path, tmp_path):
    """Catches a registry that knows names instead of places."""
    first = open_store(path)
    (tmp_path / "link").symlink_to(path)
    second = open_store(tmp_path / "link")
    assert second.rocks is first.rocks
    first.close()
    second.close()


def test_open_store_threads_at_once_share_one_handle(path):
    """Catches a race in which a second thread finds the lock of the first."""
    for _ in range(5):
        start, found = threading.Barrier(8), []

        def opener(start=start, found=found):
            start.wait()
            found.append(open_store(path))

        threads = [threading.Thread(target=opener) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 8
        assert len({id(store.rocks) for store in found}) == 1
        closers = [threading.Thread(target=store.close) for store in (*found, *found)]
        for thread in closers:
            thread.start()
        for thread in closers:
            thread.join(30)
            assert not thread.is_alive()
        assert seen(path)["clean"]


def test_pid_in_a_path_is_replaced(tmp_path):
    """Catches workers that fight for one directory although each should have its own."""
    store = open_store(tmp_path / "db-{pid}")
    assert store.path == str(tmp_path / f"db-{os.getpid()}")
    store.close()


OTHER = """
    import sys, time
    from frys_cache.errors import TierLockedError
    from frys_cache.tiers.store import open_store
"""


def test_second_process_is_refused_soon_and_told_the_ways_out(path):
    """Catches a wait for the owner, and a message that leaves the user alone."""
    store = open_store(path)
    out = run_quietly(
        OTHER
        + """
    started = time.perf_counter()
    try:
        open_store(sys.argv[1])
    except TierLockedError as error:
        print(time.perf_counter() - started)
        print(error)
    """,
        path,
    )
    seconds, _, text = out.partition("\n")
    assert float(seconds) < 0.2
    for word in (path, str(os.getpid()), "memory-only", "secondary", "{pid}", "Redis"):
        assert word in text
    store.close()


def test_second_process_memory_only_stores_nothing(path):
    """Catches a fallback that opens the files after all."""
    store = open_store(path)
    out = run_quietly(
        OTHER
        + """
    store = open_store(sys.argv[1], on_locked="memory-only")
    print(store.mode, store.rocks, store.writable, store.generation)
    store.close()
    print(store.mode)
    """,
        path,
    )
    assert out == "memory-only None False 0\nclosed\n"
    store.rocks.put_data(b"a", b"1")
    store.close()


READER = """
import os, sys
from frys_cache.tiers.store import open_store
now = 0.0
reader = open_store(sys.argv[1], on_locked="secondary", clock=lambda: now)
shared = open_store(sys.argv[1], on_locked="secondary")
assert reader.rocks is shared.rocks
scratch = reader._database.scratch
assert os.path.isdir(scratch)
print(reader.mode, reader.writable, reader.generation, flush=True)
caught, count = reader.rocks.catch_up, 0
def catch_up():
    global count
    count += 1
    caught()
reader.rocks.catch_up = catch_up
for line in sys.stdin:
    now = float(line)
    reader.refresh()
    print(count, reader.rocks.get_data(b"k").decode(), flush=True)
reader.close()
shared.close()
assert not os.path.exists(scratch)
"""


def test_second_process_secondary_sees_what_the_owner_writes(path):
    """Catches a reader that is stuck at its opening, asks at every read, or leaves files."""
    store = open_store(path)
    store.rocks.put_data(b"k", b"0")
    with subprocess.Popen(
        [sys.executable, "-c", READER, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(frys_cache.__file__).parents[1])},
    ) as reader:

        def ask(now):
            reader.stdin.write(f"{now}\n")
            reader.stdin.flush()
            return reader.stdout.readline().split()

        assert reader.stdout.readline() == "secondary False 1\n"
        assert ask(0.0) == ["1", "0"]
        store.rocks.put_data(b"k", b"1")
        assert ask(0.09) == ["1", "0"]
        assert ask(0.1) == ["2", "1"]
        assert ask(0.3) == ["2", "1"]  # nothing was written
        store.rocks.put_data(b"k", b"2")
        store.rocks.flush()
        assert ask(0.5) == ["3", "2"]
        reader.stdin.close()
        assert reader.wait(30) == 0
    assert store.rocks.get_data(b"k") == b"2"
    store.close()


def test_first_process_killed_leaves_the_lock_free_and_everything_there(path):
    """Catches a lock that outlives its owner, and acknowledged writes that do not."""
    done = run(
        OTHER
        + """
    import os, signal
    store = open_store(sys.argv[1])
    for n in range(2000):
        store.rocks.put_data(b"%d" % n, b"x" * 100)
    os.kill(os.getpid(), signal.SIGKILL)
    """,
        path,
    )
    assert done.returncode == -9
    assert not seen(path)["clean"]
    store = open_store(path, on_corrupt="raise")
    assert store.damage is None
    assert all(store.rocks.get_data(b"%d" % n) == b"x" * 100 for n in range(2_000))
    store.close()


@pytest.mark.parametrize(
    "end",
    [
        "",  # the interpreter ends beside an open store
        "sys.exit(3)",
        "del store",
        "store.close(); store.close()",
        "at = store.rocks._view('data').iter(); at.seek(b''); store.close(); at.valid()",
        "threading.Thread(target=forever, daemon=True).start()",
        "other = open_store(sys.argv[1]); del store",
        "cycle = [store]; cycle.append(cycle); del store, cycle",
        (
            "Owner = type('Owner', (), {'__del__': lambda self: self.store.close()}); "
            "sys.owner = Owner(); sys.owner.store = store; del store"
        ),
    ],
)
def test_interpreter_end_leaves_a_clean_store(path, end):
    """Catches a hang or a crash at the end, a lock that stays, and writes that are lost."""
    done = run(
        OTHER
        + f"""
    import threading
    from frys_cache.errors import CacheClosed
    store = open_store(sys.argv[1])
    def forever(rocks=store.rocks):
        try:
            while True:
                rocks.keys("data", b"", None, 10)
                rocks.write([("data", b"busy", b"1")])
        except CacheClosed:
            pass
    store.rocks.put_data(b"a", b"1")
    {end}
    """,
        path,
        seconds=20,
        leaks=False,
    )
    assert (done.returncode, done.stderr) == (3 if "exit" in end else 0, "")
    assert seen(path)["clean"]
    store = open_store(path, on_corrupt="raise")
    assert store.rocks.get_data(b"a") == b"1"
    store.close()


def test_store_forgotten_is_closed(path):
    """Catches a dropped cache that keeps the files until the process ends."""
    store = open_store(path)
    store.rocks.put_data(b"a", b"1")
    del store
    gc.collect()
    assert seen(path)["clean"]


def test_generation_rises_with_each_opening(path):
    """Catches a count that a reader cannot tell two lives of the store by."""
    found = []
    for _ in range(3):
        store = open_store(path)
        found.append(store.generation)
        store.close()
    assert found == [1, 2, 3]


def test_sentinel_and_lock_are_for_the_owner_only_and_say_what_is_there(path):
    """Catches a sentinel others may write, which could make us throw a good store away."""
    store = open_store(path)
    for n in range(100):
        store.rocks.put_data(b"%d" % n, b"x")
    before = seen(path)
    assert not before["clean"]
    store.rocks.flush()
    store.check_space()
    assert seen(path)["manifest_size"] > before["manifest_size"]
    store.close()
    after = seen(path)
    assert (after["clean"], after["entries"], after["empty"]) == (True, 100, False)
    assert after["tables"]
    for end in (".frys", ".frys.lock"):
        assert Path(path + end).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"on_locked": "wait"}, "on_locked"),
        ({"on_corrupt": "ignore"}, "on_corrupt"),
        ({"min_free_bytes": -1}, "min_free_bytes"),
        ({"min_free_bytes": 1.5}, "min_free_bytes"),
        ({"min_free_bytes": True}, "min_free_bytes"),
    ],
)
def test_open_store_wrong_option_is_named(path, options, word):
    """Catches a misspelt option that is taken for the default."""
    with pytest.raises(ConfigurationError, match=word):
        open_store(path, **options)
    assert not Path(path).exists()


def test_open_store_in_a_directory_of_other_things_is_refused(tmp_path):
    """Catches a home directory that is filled with tables, or renamed as damaged."""
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "to-mother.txt").write_text("dear")
    with pytest.raises(ConfigurationError, match="to-mother"):
        open_store(tmp_path / "letters")
    with pytest.raises(ConfigurationError, match="is a file"):
        open_store(tmp_path / "letters" / "to-mother.txt")
    with pytest.raises(ConfigurationError):
        open_store("")


def test_open_store_that_failed_leaves_no_lock(path, tmp_path):
    """Catches an opening that fails once and for ever."""
    Path(path).mkdir()
    (tmp_path / "db" / "other").touch()
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            open_store(path)
    (tmp_path / "db" / "other").unlink()
    open_store(path).close()


def test_check_space_refuses_while_there_is_too_little_room(path):
    """Catches writes that go on until the disk is full and then not even deletes work."""
    store = open_store(path, min_free_bytes=1 << 62)
    with pytest.raises(TierUnavailable, match=r"no space.*min_free_bytes"):
        store.check_space(10)
    with pytest.raises(TierUnavailable, match="no space"):
        store.check_space(10)
    other = open_store(path, min_free_bytes=0)
    other.check_space(10)
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("size", "least"),
    [
        (GIB, GIB // 20),
        (2 * GIB, 256 * MIB),
        (100 * GIB, GIB),
    ],
)
def test_reserve_default_follows_the_size(size, least):
    """Catches a reserve that fills a small disk or wastes a large one."""
    Reserve("/", room=lambda path: (least, size)).check()
    with pytest.raises(TierUnavailable):
        Reserve("/", room=lambda path: (least - 1, size)).check()


def test_reserve_asks_once_a_second_or_per_4_mib_and_lets_writes_resume():
    """Catches a system call per write, and a refusal that stays when room was made."""
    now, free, asked = 0.0, 10 * GIB, 0

    def room(path):
        nonlocal asked
        asked += 1
        return free, 100 * GIB

    reserve = Reserve("/", clock=lambda: now, room=room)
    answers = [reserve.check(MIB) for _ in range(9)]
    assert answers == [True, *[False] * 3, True, *[False] * 3, True]
    free, now = 0, 1.5
    for _ in range(3):
        with pytest.raises(TierUnavailable):
            reserve.check(1)
    free, now = 10 * GIB, 2.6
    reserve.check(1)
    assert asked == 5


def test_locked_error_also_where_rocksdb_itself_holds_the_lock(path):
    """Catches an owner that came past our lock, say by an older release."""
    from frys_cache.tiers.rocks import open_rocks

    rocks = open_rocks(path)
    started = time.perf_counter()
    with pytest.raises(TierLockedError, match="memory-only"):
        open_store(path)
    assert time.perf_counter() - started < 0.2
    rocks.close()
    open_store(path).close()
