"""A cache that writes back loses nothing it has acknowledged, killed, forked, forgotten or full.

The process under test names on stdout what has been acknowledged; the backend is a file to which
lines are appended, so it outlives the process too.
"""

import os
import random
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from child import run, run_quietly
from tiered import full_disk, open_cache

import frys_cache
from frys_cache import (
    MISSING,
    Backpressure,
    CacheClosed,
    ConfigurationError,
    ConsistencyManager,
)

SOAK, BRIEF = os.environ.get("FRYS_SOAK") == "1", os.environ.get("FRYS_BRIEF") == "1"
ROUNDS = 20 if SOAK else 2 if BRIEF else 5

START = """
import os, random, sys, threading, time
from frys_cache import MISSING, ConsistencyManager, FrysCache

class Appended:
    def __init__(self, path):
        self.file = open(path, "ab", 0)
    def load(self, key):
        return MISSING
    def store(self, key, value):
        self.file.write(b"%s %d\\n" % (key.encode(), value))
    def delete(self, key):
        self.file.write(b"%s -1\\n" % key.encode())

path = sys.argv[1]
def opened(backend=None, **rules):
    backend = backend or Appended(path + ".backend")
    rules = ConsistencyManager("write-back", backend, **{"max_delay": 0.02, **rules})
    return FrysCache(100, persistent=path, consistency=rules)
out = open(1, "wb", 0)
"""

# Puts, deletes and counts for ever, and names each once it is acknowledged.
WRITER = (
    START
    + """
draw = random.Random(int(sys.argv[2]))
cache = opened(durability=sys.argv[3], max_delay=float(sys.argv[4]))
out.write(b"ready\\n")
n = int(sys.argv[2]) * 1_000_000
while True:
    n += 1
    key = "k%d" % draw.randrange(300)
    luck = draw.random()
    if luck < 0.7:
        cache.put(key, n)
        out.write(b"%s %d\\n" % (key.encode(), n))
    elif luck < 0.8:
        cache.delete(key)
        out.write(b"%s -1\\n" % key.encode())
    elif luck < 0.9:
        out.write(b"count %d\\n" % cache.incr("count"))
    else:
        keys = ["k%d" % draw.randrange(300) for _ in range(5)]
        cache.put_many(dict.fromkeys(keys, n))
        out.write(b"".join(b"%s %d\\n" % (key.encode(), n) for key in keys))
"""
)


class Table:
    """A backend of rows that can be down."""

    def __init__(self):
        self.rows = {}
        self.down = False

    def load(self, key):
        return self.rows.get(key, MISSING)

    def store(self, key, value):
        if self.down:
            raise ConnectionError
        self.rows[key] = value

    def delete(self, key):
        if self.down:
            raise ConnectionError
        self.rows.pop(key, None)


def child(source, *args):
    """Start an interpreter; its stdout says what it has acknowledged."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", source, *map(str, args)],
        bufsize=0,  # `communicate` reads past what `readline` has buffered
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(frys_cache.__file__).parents[1])},
    )


def killed(source, *args, after):
    """Let a child write for so many seconds, kill it, and return what it had acknowledged."""
    with child(source, *args) as writer:
        assert writer.stdout.readline() == b"ready\n"
        timer = threading.Timer(after, writer.kill)
        timer.start()
        said, errors = writer.communicate(timeout=60)
        timer.join()
    assert (writer.returncode, errors) == (-9, b"")
    return lines_of(said)


def lines_of(text):
    """Return pairs of a key and a number, of whole lines."""
    pairs = (line.split() for line in text.decode().split("\n")[:-1])
    return [(key, int(number)) for key, number in pairs]


def reopened(tmp_path, **rules):
    """Return the cache over what was left, and the rows of its backend, begun from the file."""
    table = Table()
    file = tmp_path / "db.backend"
    for key, number in lines_of(file.read_bytes() if file.exists() else b""):
        if number < 0:
            table.rows.pop(key, None)
        else:
            table.rows[key] = number
    rules = ConsistencyManager("write-back", table, **rules)
    return open_cache(tmp_path, consistency=rules), table


@pytest.mark.parametrize("level", ["process", "host"])
def test_killed_cache_has_all_that_it_acknowledged(tmp_path, level):
    """Catch an acknowledged put, removal or count that is not read back, or never sent."""
    draw = random.Random(level)
    latest = {}
    for number in range(ROUNDS if level == "process" else 2):
        after = draw.uniform(0.05, 0.5)
        said = killed(WRITER, tmp_path / "db", number + 1, level, 0.02, after=after)
        latest.update(said)
        cache, table = reopened(tmp_path, durability=level)
        uncertain = unsure(cache, latest)
        for key, value in latest.items():
            assert cache.get(key, -1) in uncertain.get(key, (value,)), key
        cache.flush(20)
        for key in latest:
            assert table.rows.get(key, -1) == cache.get(key, -1), key
        for key in uncertain:
            latest[key] = cache.get(key, -1)
        write_back_to_file(tmp_path, table)
        cache.close()


def unsure(cache, latest):
    """Return what keys may have had for another value: those of the operation that was cut off.

    A put or removal that was in the journal and not yet named: at most five keys are affected.
    """
    wrong = [key for key, value in latest.items() if cache.get(key, -1) != value]
    assert len(wrong) <= 5, wrong
    found = {cache.get(key, -1) for key in wrong}
    assert len(found) <= 1, "these are not of one operation"
    assert all(cache.get(key, -1) == -1 or cache.get(key) > latest[key] for key in wrong)
    return {key: found | {latest[key]} for key in wrong}


def write_back_to_file(tmp_path, table):
    """Have the file of the next child say what the table says."""
    lines = [b"%s %d\n" % (key.encode(), value) for key, value in table.rows.items()]
    (tmp_path / "db.backend").write_bytes(b"".join(lines))


def test_host_level_survives_the_loss_of_what_was_not_on_the_disk(tmp_path):
    """Catch a put that is acknowledged before its journal record is on the disk (C-2)."""
    source = (
        START
        + """
from pathlib import Path
cache = opened(durability="host", max_delay=3600)
def log():
    return max(Path(path).glob("*.log"), key=lambda file: file.name)
out.write(b"ready\\n")
n = 0
while True:
    n += 1
    cache.put("k%d" % (n % 50), n)
    out.write(b"k%d %d\\n" % (n % 50, n))
    if n % 10 == 0:
        out.write(b"size %d\\n" % log().stat().st_size)
"""
    )
    said = killed(source, tmp_path / "db", after=0.5)
    sizes = [at for at, (key, _) in enumerate(said) if key == "size"]
    said = said[: sizes[-1] + 1]
    (log,) = sorted((tmp_path / "db").glob("*.log"), key=lambda file: file.name)[-1:]
    os.truncate(log, said[-1][1])
    cache, table = reopened(tmp_path, durability="host")
    latest = {key: value for key, value in said if key != "size"}
    assert {key: cache.get(key) for key in latest} == latest
    cache.flush(20)
    assert table.rows == latest
    cache.close()


def test_memory_level_loses_no_more_than_it_may_and_says_so(tmp_path):
    """Catch a loss that nobody is told of, or one beyond what had waited for longer (C-3)."""
    source = (
        START
        + """
cache = opened(durability="memory", max_delay=0.1)
out.write(b"ready\\n")
n = 0
while True:
    n += 1
    cache.put("k%d" % n, n)
    out.write(b"k%d %d\\n" % (n, int(time.monotonic() * 1000)))
    time.sleep(0.001)
"""
    )
    said = killed(source, tmp_path / "db", after=1.0)
    with pytest.warns(RuntimeWarning, match="in its memory alone"):
        cache, table = reopened(tmp_path, durability="memory")
    assert cache.health()["persistent"].unknown_writes
    old = [key for key, at in said if at < said[-1][1] - 500]
    assert len(old) > 20
    assert [key for key in old if key not in table.rows] == []
    cache.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reopened(tmp_path, durability="memory")[0].close()


def test_journal_that_waits_is_told_of_without_write_back(tmp_path):
    """Catch acknowledged writes that stay in a journal for ever, silently."""
    source = START + "cache = opened(max_delay=3600)\ncache.update(a=1, b=2)\nos._exit(0)\n"
    run_quietly(source, tmp_path / "db")
    with pytest.raises(ConfigurationError, match="2 writes wait in the journal"):
        open_cache(tmp_path)
    cache, table = reopened(tmp_path)
    cache.flush(10)
    assert table.rows == {"a": 1, "b": 2}
    cache.close()


# ---- a full disk, a backend that is down --------------------------------------------------------


def test_write_back_to_a_full_disk_is_refused_and_resumes(tmp_path):
    """Catch a put that is acknowledged without a journal, or a cache that never recovers (C-11)."""
    table = Table()
    rules = ConsistencyManager("write-back", table, max_delay=3600, put_timeout=0.2)
    with open_cache(tmp_path, consistency=rules) as cache:
        cache.update(a=1, b=2)
        with full_disk(cache):
            for write in (
                lambda: cache.put("a", 9),
                lambda: cache.put_many({"a": 9, "new": 9}),
                lambda: cache.incr("a", 8),
                lambda: cache.add("new", 9),
            ):
                with pytest.raises(Backpressure):
                    write()
            cache._empty()
            assert cache.get_many(["a", "b", "new"]) == [1, 2, None]
            assert cache["a"] == 1
        end = time.monotonic() + 10
        while True:
            try:
                cache.put("a", 3)
                break
            except Backpressure:
                assert time.monotonic() < end
                time.sleep(0.05)
        cache.flush(10)
        assert table.rows == {"a": 3, "b": 2}


def test_full_of_writes_that_wait_says_so_in_time(tmp_path):
    """Catch a put that blocks for ever, or is dropped, while the backend is down (C-19)."""
    table = Table()
    table.down = True
    rules = ConsistencyManager(
        "write-back", table, max_dirty_entries=10, put_timeout=0.2, max_delay=0.01
    )
    with open_cache(tmp_path, consistency=rules) as cache:
        for n in range(10):
            cache.put(f"k{n}", n)
        began = time.monotonic()
        with pytest.raises(Backpressure, match="10 entries"):
            cache.put("one more", 1)
        assert 0.15 < time.monotonic() - began < 5
        assert cache.get("one more") is None
        cache.put("k3", 33)  # has its place already
        assert cache.health()["persistent"].dirty == 10
        table.down = False
        cache.flush(20)
        cache.put("one more", 1)
        cache.flush(20)
        assert table.rows == {f"k{n}": n for n in range(10)} | {"k3": 33, "one more": 1}


# ---- fork ---------------------------------------------------------------------------------------


def test_fork_with_writes_that_wait_loses_none_of_either(tmp_path):
    """Catch a child that sends what is its parent's, hangs, or keeps its puts to itself (C-15)."""
    source = (
        START
        + """
import signal
cache = opened(max_delay=3600)
cache.update({"k%d" % n: n for n in range(100)})
pid = os.fork()
if pid == 0:
    signal.alarm(30)
    cache.put("child", 1)
    assert cache["child"] == 1
    cache.delete("k5")
    assert cache.incr("counted") == 1
    assert cache.incr("counted") == 2
    cache.flush(5)
    cache.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
cache._empty()
assert cache.get_many(["k%d" % n for n in range(100)]) == list(range(100))
cache.put("parent", 2)
os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    done = run(source, tmp_path / "db", leaks=False)
    assert (done.returncode, done.stderr) == (-9, "")
    sent = lines_of((tmp_path / "db.backend").read_bytes())
    assert sent == [("child", 1), ("k5", -1), ("counted", 1), ("counted", 2)]
    cache, table = reopened(tmp_path)
    assert cache.get_many([f"k{n}" for n in range(100)]) == list(range(100))
    assert cache["parent"] == 2
    cache.flush(20)
    assert table.rows["child"] == 1
    assert table.rows["k99"] == 99
    cache.close()


# ---- ends ---------------------------------------------------------------------------------------


def test_close_with_writes_that_wait_twice_and_from_two_threads(tmp_path):
    """Catch a close that hangs, sends twice, or raises for whoever comes second (C-28)."""
    table = Table()
    rules = ConsistencyManager("write-back", table, max_delay=3600)
    cache = open_cache(tmp_path, consistency=rules)
    cache.update({f"k{n}": n for n in range(200)})
    gate, reports = threading.Barrier(2), []

    def close():
        gate.wait()
        reports.append(cache.close())

    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    (report,) = [one for one in reports if one is not None]
    assert (report.written, report.left) == (200, 0)
    assert cache.close() is None
    assert table.rows == {f"k{n}": n for n in range(200)}
    with pytest.raises(CacheClosed):
        cache.put("a", 1)


def test_close_while_threads_write_leaves_all_that_was_acknowledged(tmp_path):
    """Catch a put that is acknowledged while the cache closes, and is then nowhere."""
    table = Table()
    cache = open_cache(tmp_path, consistency=ConsistencyManager("write-back", table))
    said = [[] for _ in range(4)]

    def write(name):
        n = 0
        while True:
            try:
                cache.put(f"{name}:{n % 50}", n)
            except CacheClosed:
                return
            said[name].append((f"{name}:{n % 50}", n))
            n += 1

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    cache.close()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_cache(tmp_path).close()  # nothing waits
    for name in range(4):
        for key, value in dict(said[name]).items():
            assert table.rows[key] >= value


ENDS = {
    "exit": "",
    "exit, backend down": "down = True",
    "forgotten": "del cache; import gc; gc.collect()",
    "forgotten in a cycle": "cache.it = cache; del cache; import gc; gc.collect()",
    "sys.exit in a thread": "threading.Thread(target=sys.exit).start()",
    "exception": "sys.excepthook = lambda *_: None\nraise SystemExit(0)",
}


@pytest.mark.parametrize("end", ENDS)
def test_end_without_close_leaves_all_in_the_journal_or_the_backend(tmp_path, end):
    """Catch writes that are lost since nobody closed the cache (C-28)."""
    source = (
        START
        + """
down = False
class Perhaps(Appended):
    def store(self, key, value):
        if down:
            raise ConnectionError
        super().store(key, value)
class Cache(FrysCache):
    pass
rules = ConsistencyManager("write-back", Perhaps(path + ".backend"), max_delay=3600)
cache = Cache(100, persistent=path, consistency=rules)
cache.update({"k%d" % n: n for n in range(100)})
"""
        + ENDS[end]
    )
    began = time.monotonic()
    run_quietly(source, tmp_path / "db", seconds=40, leaks=False)
    assert time.monotonic() - began < 20
    cache, table = reopened(tmp_path)
    assert cache.get_many([f"k{n}" for n in range(100)]) == list(range(100))
    cache.flush(20)
    assert table.rows == {f"k{n}": n for n in range(100)}
    cache.close()
