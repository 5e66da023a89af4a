"""A process that is killed at any moment loses nothing it was told is written, and rings no alarm.

What the operating system has taken survives the process; a power cut is another matter.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  (what is tested needs it)

import frys_cache
from frys_cache.tiers.store import open_store

# Writes for ever, and names on stdout every key once it is written; a pair is one batch.
WRITER = """
import random, sys
from frys_cache.tiers.store import open_store
draw = random.Random(int(sys.argv[2]))
out = open(1, "wb", 0)
store = open_store(sys.argv[1], on_corrupt="raise")
n = int(sys.argv[2])
while True:
    key = b"%09d" % n
    if n % 5:
        store.rocks.put_data(key, key * 30)
    else:
        store.rocks.write([("data", key, key * 30), ("journal", key, b"1")])
    out.write(b"%d\\n" % n)
    n += 1
    luck = draw.random()
    if luck < 0.010:
        store.rocks.flush()
    elif luck < 0.012:
        store.rocks.compact()
    elif luck < 0.020:
        store.note()
    elif luck < 0.022:
        store.close()
        store = open_store(sys.argv[1], on_corrupt="raise")
"""


@pytest.mark.parametrize("writes", [1, 37, 400])
def test_kill_at_any_moment_loses_nothing_and_opens_without_an_alarm(tmp_path, writes):
    """Catches an acknowledged write that is gone, half a batch, and damage seen where none is."""
    path, first = tmp_path / "db", 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path, str(first)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(frys_cache.__file__).parents[1])},
        ) as writer:
            for _ in range(writes):
                if not writer.stdout.readline():
                    break
            writer.kill()
            rest, errors = writer.communicate(timeout=30)
        assert (writer.returncode, errors) == (-9, b"")
        first += writes + rest.count(b"\n")
    store = open_store(path, on_corrupt="raise")
    assert store.damage is None
    for n in range(first):
        assert store.rocks.get_data(b"%09d" % n) == b"%09d" % n * 30
    # Those that were written but not yet named may be there too, whole.
    for n in range(0, first + 100, 5):
        whole = store.rocks.get_data(b"%09d" % n) is not None
        assert (store.rocks.get("journal", b"%09d" % n) is not None) == whole
    store.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["db", "db.frys", "db.frys.lock"]
