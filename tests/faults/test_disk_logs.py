"""A write ahead log that was cut or removed after a kill: no older value is served in silence."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rocksdict  # noqa: F401 - what is tested needs it
from child import run

import frys_cache
from frys_cache.errors import IntegrityError
from frys_cache.tiers.store import open_store

# Every key twice; what has been written is then noted; the log is all there is of the second turn.
WRITER = """
    import os, signal, sys
    from frys_cache.tiers.store import open_store
    store = open_store(sys.argv[1])
    for turn in (b"old", b"new"):
        for n in range(1000):
            store.rocks.put_data(b"%05d" % n, turn * 20)
        if turn == b"old" and sys.argv[2] == "flushed":
            store.rocks.flush()
    store.note()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with two stores whose processes were killed."""
    folder = tmp_path_factory.mktemp("made")
    for kind in ("flushed", "logged"):
        assert run(WRITER, folder / kind, kind).returncode == -signal.SIGKILL
    return folder


@pytest.fixture
def killed(made, tmp_path, request):
    """Return a copy of such a store and its newest log."""
    target = tmp_path / "db"
    shutil.copytree(made / request.param, target)
    shutil.copy(f"{made / request.param}.frys", f"{target}.frys")
    return target, max(target.glob("*.log"))


def zero(log, start):
    data = log.read_bytes()
    begin = int(len(data) * start)
    log.write_bytes(data[:begin] + bytes(len(data) - begin))


@pytest.mark.parametrize("killed", ["flushed", "logged"], indirect=True)
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9, 0.99, "gone", "zero"])
def test_log_cut_emptied_zeroed_or_gone_is_refused(killed, part):
    """Catch a cut log that opens as an older state: its values have been replaced since."""
    path, log = killed
    if part == "gone":
        log.unlink()
        log.with_name("000001.log").write_bytes(b"")  # an older one is no excuse
    elif part == "zero":
        zero(log, 0.5)
    else:
        os.truncate(log, int(log.stat().st_size * part))
    with pytest.raises(IntegrityError, match=r"log|changes"):
        open_store(path, on_corrupt="raise")
    store = open_store(path)
    assert store.damage
    assert store.quarantined
    assert store.rocks.get_data(b"00000") is None
    store.close()


@pytest.mark.parametrize("killed", ["flushed"], indirect=True)
@pytest.mark.parametrize("boot", ["another", ""])
def test_log_cut_by_a_loss_of_power_opens(killed, boot):
    """Catch a store thrown away because the machine lost power before the log was synced."""
    path, log = killed
    sentinel = Path(f"{path}.frys")
    seen = sentinel.read_text("ascii")
    here = Path("/proc/sys/kernel/random/boot_id")
    if here.exists():
        assert here.read_text("ascii").strip() in seen
        sentinel.write_text(seen.replace(here.read_text("ascii").strip(), boot), "ascii")
    os.truncate(log, log.stat().st_size // 2)
    store = open_store(path, on_corrupt="raise")
    assert store.rocks.get_data(b"00000") == b"new" * 20
    store.close()


# Rolls over logs and notes all the time, from two threads.
ROLLER = """
import random, sys, threading
from frys_cache.tiers.store import open_store
store = open_store(sys.argv[1], on_corrupt="raise")
def note():
    while True:
        store.note()
threading.Thread(target=note, daemon=True).start()
print("ready", flush=True)
n = int(sys.argv[2])
draw = random.Random(n)
while True:
    n += 1
    store.rocks.write([(draw.choice(["data", "meta", "order"]), b"%d" % n, bytes(100))])
    if draw.random() < 0.05:
        store.rocks._view(draw.choice(["data", "meta", "order"])).flush(draw.random() < 0.5)
"""


def test_kill_while_logs_are_replaced_and_noted_rings_no_alarm(tmp_path):
    """Catch an alarm at a log that RocksDB itself has removed."""
    rounds = int(os.environ.get("FRYS_KILL_ROUNDS", "5"))
    for n in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-c", ROLLER, tmp_path / "db", str(n * 100_000)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(frys_cache.__file__).parents[1])},
        ) as writer:
            assert writer.stdout.readline() == b"ready\n", writer.stderr.read()
            time.sleep(0.02 + n % 7 * 0.05)
            writer.kill()
            assert writer.communicate(timeout=30) == (b"", b"")
    store = open_store(tmp_path / "db", on_corrupt="raise")
    assert store.damage is None
    store.close()
