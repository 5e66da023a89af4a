"""A forked child has no persistent tier and does no harm to that of its parent.

Without the guard a child's writes are lost, its flush hangs, and of 500 writes that the parent was
told are safe 458 were gone once it was killed.
"""

import time

import pytest
import rocksdict  # noqa: F401  (what is tested needs it)
from child import run, run_quietly

from frys_cache.tiers.store import open_store

PARENT = """
    import multiprocessing, os, signal, sys, threading, time
    from frys_cache.errors import CacheClosed, TierLockedError, TierUnavailable
    from frys_cache.tiers.store import open_store

    class Tier:
        def __init__(self, store):
            self.store, self.read = store, store.rocks.get_data
            store.on_detach(self.miss)
        def miss(self):
            self.read = lambda key: None

    store = open_store(sys.argv[1])
    tier = Tier(store)
    put = store.rocks.put_data
    for n in range(500):
        put(b"%d" % n, b"before")
    store.rocks.flush()
    store.rocks.compact()

    def in_child():
        signal.alarm(30)
        assert store.rocks is None and store.mode == "detached" and not store.writable
        assert tier.read(b"1") is None
        store.refresh(); store.note(); store.check_space()

    def wait(pid, expected=0):
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == expected, code

    def put_more_and_die():
        for n in range(500):
            put(b"after-%d" % n, b"x")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def check_nothing_lost(path, done):
    """Check that the parent was killed, and that all it had written is there."""
    assert (done.stderr, done.returncode) == ("", -9)
    store = open_store(path, on_corrupt="raise")
    assert store.damage is None
    for n in range(500):
        assert store.rocks.get_data(b"%d" % n) == b"before"
        assert store.rocks.get_data(b"after-%d" % n) == b"x"
    assert store.rocks.get_data(b"child") is None
    store.close()


@pytest.mark.parametrize(
    "end",
    [
        "os._exit(0)",
        "sys.exit(0)",
        "store.close(); store.close(); sys.exit(0)",
        "del store, tier; import gc; gc.collect(); sys.exit(0)",
        "rocks.close(); sys.exit(0)",
    ],
)
def test_fork_child_ends_in_any_way_parent_loses_nothing(tmp_path, end):
    """Catches a destructor that hangs at the child's end, or closes the parent's files."""
    done = run(
        PARENT
        + f"""
    rocks = store.rocks
    pid = os.fork()
    if not pid:
        in_child()
        for call in (lambda: rocks.put_data(b"child", b"1"), rocks.flush):
            try:
                call()
                os._exit(9)
            except CacheClosed:
                pass
        {end}
    wait(pid)
    put_more_and_die()
    """,
        tmp_path / "db",
        leaks=False,
    )
    check_nothing_lost(tmp_path / "db", done)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_children_leave_the_parent_alone(tmp_path, method):
    """Catches a pool of workers, made after the opening, that hangs or writes into the files."""
    script = tmp_path / "script.py"
    script.write_text(
        """
import multiprocessing, os, signal, sys
from frys_cache.errors import TierLockedError, TierUnavailable
from frys_cache.tiers.store import open_store

store = None

def work(n):
    signal.alarm(30)
    assert store is None or store.rocks is None
    try:
        open_store(sys.argv[1])
    except TierLockedError as error:
        assert str(os.getppid()) in str(error) or sys.argv[2] == "forkserver"
    own = os.path.join(os.path.dirname(sys.argv[1]), "own-{pid}")
    try:
        mine = open_store(own)
        mine.rocks.put_data(b"a", b"1")
        mine.rocks.flush()
        mine.close()
        return "own"
    except TierUnavailable:
        return "none"

if __name__ == "__main__":
    store = open_store(sys.argv[1])
    for n in range(500):
        store.rocks.put_data(b"%d" % n, b"before")
    store.rocks.flush()
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        print(set(pool.map(work, range(4))))
    one = context.Process(target=work, args=[1])
    one.start()
    one.join()
    assert one.exitcode == 0
    for n in range(500):
        store.rocks.put_data(b"after-%d" % n, b"x")
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = run(
        "import os, sys\nos.execv(sys.executable, [sys.executable, '-P', *sys.argv[1:]])",
        script,
        tmp_path / "db",
        method,
        leaks=False,
    )
    assert done.stdout == ("{'none'}\n" if method == "fork" else "{'own'}\n"), done.stderr
    # The helper processes of multiprocessing may complain of their killed parent.
    done.stderr = ""
    check_nothing_lost(tmp_path / "db", done)


def test_fork_child_that_opens_is_told_why_it_cannot(tmp_path):
    """Catches a child that opens a database in which the first flush never ends."""
    done = run(
        PARENT
        + """
    pid = os.fork()
    if not pid:
        in_child()
        try:
            open_store(sys.argv[1])
            os._exit(9)
        except TierLockedError as error:
            assert str(os.getppid()) in str(error)
        try:
            open_store(sys.argv[1] + "-{pid}")
            os._exit(8)
        except TierUnavailable as error:
            assert "fork" in str(error)
        assert open_store(sys.argv[1], on_locked="memory-only").mode == "memory-only"
        sys.exit(0)
    wait(pid)
    put_more_and_die()
    """,
        tmp_path / "db",
        leaks=False,
    )
    check_nothing_lost(tmp_path / "db", done)


def test_fork_before_the_first_opening_each_has_its_own(tmp_path):
    """Catches a guard that forbids the usual case: workers forked by a parent that opened none."""
    out = run_quietly(
        """
    import os, sys
    from frys_cache.tiers.store import open_store
    pids = []
    for n in range(2):
        pid = os.fork()
        if not pid:
            store = open_store(sys.argv[1] + "-{pid}")
            store.rocks.put_data(b"a", b"1")
            store.rocks.flush()
            store.close()
            again = open_store(sys.argv[1] + "-{pid}", on_corrupt="raise")
            assert again.rocks.get_data(b"a") == b"1"
            sys.exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitpid(pid, 0)[1] == 0
    print("fine")
    """,
        tmp_path / "db",
        leaks=False,
    )
    assert out == "fine\n"


def test_fork_beside_busy_threads_child_ends_as_it_wants(tmp_path):
    """Catches a lock held at the fork by a thread, and an exit that waits for RocksDB's threads."""
    done = run(
        PARENT
        + """
    stop = False
    rocks = store.rocks
    def busy(n):
        while not stop:
            rocks.keys("data", b"", None, 50)
            rocks.get_data_list([b"1", b"2"] * 20)
            rocks.write([("data", b"busy", b"1")])
            if n == 0:
                rocks.flush()
            open_store(sys.argv[1]).close()
    threads = [threading.Thread(target=busy, args=[n], daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    for n in range(20):
        pid = os.fork()
        if not pid:
            in_child()
            store.close()
            sys.stdout.write(f"{n} ")
            sys.exit(n)
        wait(pid, n)
    stop = True
    for thread in threads:
        thread.join()
    put_more_and_die()
    """,
        tmp_path / "db",
        leaks=False,
    )
    check_nothing_lost(tmp_path / "db", done)
    assert done.stdout.split() == [str(n) for n in range(20)]


def test_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path):
    """Catches a lock inherited by the child: after a crash nobody could open the store."""
    done = run(
        PARENT
        + """
    import subprocess
    reader, writer = os.pipe()
    if not os.fork():
        in_child()
        os.close(reader)
        parent = os.getppid()
        for name in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), name)
        os.write(writer, b"x")
        while os.getppid() == parent:
            time.sleep(0.01)
        try:
            open_store(sys.argv[1])
        except TierUnavailable as error:
            open(sys.argv[1] + "-said", "w").write(str(error))
        while not os.path.exists(sys.argv[1] + "-done"):
            time.sleep(0.01)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    put_more_and_die()
    """,
        tmp_path / "db",
        leaks=False,
    )
    try:
        until = time.monotonic() + 20
        while not (tmp_path / "db-said").exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        check_nothing_lost(tmp_path / "db", done)
        assert "fork" in (tmp_path / "db-said").read_text()
    finally:
        (tmp_path / "db-done").touch()
