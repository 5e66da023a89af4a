"""A process that is killed while it writes: every write it acknowledged is there afterwards."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rocksdict  # noqa: F401 - the cache cannot do without it
import zstandard  # noqa: F401

import frys_cache
from frys_cache.tiers.persistent import PersistentCache

CHILD = """
import os, sys
from frys_cache.tiers.persistent import PersistentCache
path, first, bound = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or None
cache = PersistentCache(path, max_size_bytes=bound)
n = first
while True:
    cache.put(n, ("value", n, "x" * (n % 300)), ttl=None if n % 3 else 3600)
    if n % 7 == 0:
        cache.put_many({("many", n, k): n for k in range(5)})
    os.write(1, b"%d\\n" % n)
    n += 1
"""


def killed_while_writing(path, first, milliseconds, bound=0):
    """Start a process that puts from a number on, kill it, and return the last acknowledged one."""
    home = str(Path(frys_cache.__file__).parents[1])
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", CHILD, str(path), str(first), str(bound)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": home},
    )
    told = b""
    end = None
    try:
        while end is None or time.monotonic() < end:
            if select.select([child.stdout], [], [], 0.005)[0]:
                told += os.read(child.stdout.fileno(), 1 << 16)
                end = end or time.monotonic() + milliseconds / 1000
            assert child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        while more := os.read(child.stdout.fileno(), 1 << 16):
            told += more
        child.stdout.close()
    return int(told[: told.rindex(b"\n")].split()[-1])


def test_killed_while_writing_loses_nothing_acknowledged(tmp_path):
    """Catch a put that returns before it outlives the process, and half a batch."""
    rnd = random.Random(1)
    first = 0
    for _ in range(10):
        last = killed_while_writing(tmp_path / "db", first, rnd.randrange(5, 250))
        with PersistentCache(tmp_path / "db") as cache:
            missing = [
                n for n in range(first, last + 1) if cache.get(n) != ("value", n, "x" * (n % 300))
            ]
            assert missing == []
            for n in range(first, last + 2):
                if n % 7 == 0:
                    found = sum(("many", n, k) in cache for k in range(5))
                    assert found == 5 or (found == 0 and n > last)
        first = last + 2
    assert first > 100


@pytest.mark.parametrize("bound", [200_000])
def test_killed_bounded_cache_counts_right_afterwards(tmp_path, bound):
    """Catch a bound that is passed after a death, since what was there is not known."""
    first = 0
    for milliseconds in (100, 300, 200):
        first = killed_while_writing(tmp_path / "db", first, milliseconds, bound) + 2
        with PersistentCache(tmp_path / "db", max_size_bytes=bound) as cache:
            found = cache.tier.rocks.items("data", b"", None, 1 << 30)
            assert cache.tier.total == sum(len(key) + len(record) for key, record in found)
            assert cache.tier.total <= bound
            assert cache.get(first - 2) is not None
