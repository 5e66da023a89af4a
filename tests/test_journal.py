"""The journal: what a process leaves is taken up by the next, and nothing is acknowledged without.

What needs a process that dies is in faults/test_writeback_kill.py.
"""

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from child import run_quietly
from written import SYNC, Backend, Desk

from frys_cache import Backpressure, CacheClosed
from frys_cache.codec.entry import Codec
from frys_cache.codec.pickles import Pickle
from frys_cache.tiers.face import AsyncFace, run_sync
from frys_cache.types import MISSING
from frys_cache.writeback.journal import GroupCommit
from frys_cache.writeback.writeback import FlushReport


def leave(desk):
    """End as a process that is killed does: nothing is sent, nothing is said."""
    desk.backend.down = True
    run_sync(desk.writes.close(SYNC, 0))
    desk.tier.close()


# --- what the next one finds ----------------------------------------------------------------------


def test_replay_brings_back_puts_deletes_and_their_versions(tmp_path):
    """Catch a journal that is written and never read, or read as something else."""
    desk = Desk(tmp_path)
    desk.put("gone", 1)
    desk.flush()
    desk.put("a", {"x": [1, 2]}, expires_ms=desk.tier.wall() + 3_600_000)
    desk.put("b", 1)
    desk.put("b", 2)
    desk.delete("gone")
    ops = {key: desk.writes.find(desk.code(key)) for key in ("a", "b", "gone")}
    leave(desk)
    again = Desk(tmp_path)
    assert again.writes.replay() == 3
    for key, op in ops.items():
        found = again.writes.find(again.code(key))
        assert (found.key, found.version, found.expires_ms) == (key, op.version, op.expires_ms)
        assert (found.record, found.size, found.is_delete) == (op.record, op.size, op.is_delete)
    assert again.dirty("a") == {"x": [1, 2]}
    assert again.dirty("b") == 2
    assert again.dirty("gone") is MISSING
    assert again.version() > max(op.version for op in ops.values())
    assert not again.put("b", "older", ops["b"].version - 1)
    again.flush()
    assert again.backend.values == {"a": {"x": [1, 2]}, "b": 2}
    assert again.get("gone") is MISSING
    assert again.journal() == []
    again.close()


def test_replay_is_of_one_namespace(tmp_path):
    """Catch a cache that sends the writes of another to its own backend."""
    desk = Desk(tmp_path, codec=Codec(namespace="one"))
    other = Desk(tmp_path, codec=Codec(namespace="two"), tier=desk.tier)
    desk.put("a", 1)
    other.put("b", 2)
    other.backend.down = True
    run_sync(other.writes.close(SYNC, 0))
    leave(desk)
    again = Desk(tmp_path, codec=Codec(namespace="two"))
    assert again.writes.replay() == 1
    again.flush()
    assert again.backend.values == {"b": 2}
    again.writes.clear()
    assert len(again.journal()) == 1
    again.close()


def test_replay_of_more_than_a_slice_goes_beyond_the_bound(tmp_path):
    """Catch a replay that ends after the first slice, or drops what is above the bound."""
    desk = Desk(tmp_path, max_batch=5_000)
    desk.put_many(dict.fromkeys(range(1_234), "x" * 10))
    leave(desk)
    again = Desk(tmp_path, max_dirty_entries=100)
    assert again.writes.replay() == 1_234
    again.put("more", 1)
    again.flush()
    assert len(again.backend.values) == 1_235
    again.close()


def test_dead_letters_outlive_the_process(tmp_path):
    """Catch a dead letter that is sent again by itself, or forgotten."""
    desk = Desk(tmp_path, max_attempts=1, draw=lambda: 0.0)
    desk.backend.poison = {"bad", "worse"}
    desk.put_many({"bad": [1], "good": 1})
    desk.flush()
    desk.delete("worse")
    desk.put("good", 2)
    desk.flush()
    letters = desk.writes.dead_letters()
    leave(desk)
    again = Desk(tmp_path)
    assert again.writes.replay() == 0
    assert again.writes.dead_letters() == letters
    bad, worse = sorted(letters, key=lambda letter: letter.key)
    assert (bad.value, bad.attempts, worse.value) == ([1], 1, MISSING)
    assert "refuses" in bad.error
    assert again.writes.retry_dead_letters() == 2
    again.flush()
    assert again.backend.values == {"bad": [1]}
    assert again.journal() == []
    again.close()


def test_garbage_in_the_journal_is_set_aside_and_told(tmp_path):
    """Catch a damaged or forged record that is sent, dropped, or stops the opening."""
    codec = Codec(serializer=Pickle(secret=b"s" * 32))
    desk = Desk(tmp_path, codec=codec)
    desk.put("good", 1)
    genuine = desk.writes.find(desk.code("good")).record
    garbage = {
        "forged": genuine,
        "short": b"\xf1",
        "empty": b"",
        "dead": b"\x02\x00",
        "other": b"\x77garbage",
        "tomb": Codec().tombstone(desk.code("tomb"), 5, 0),
    }
    for key, value in garbage.items():
        desk.tier.rocks.write([("journal", desk.code(key), value)])
    desk.tier.rocks.write([("journal", codec.prefix() + b"\xff\xffno key", genuine)])
    leave(desk)
    again = Desk(tmp_path, codec=codec)
    assert again.writes.replay() == 1
    letters = again.writes.dead_letters()
    assert len(letters) == 7
    assert all(letter.value is MISSING for letter in letters)
    assert again.events.count("dead-letter") >= 6
    assert again.writes.retry_dead_letters() == 0
    again.flush()
    assert again.backend.values == {"good": 1}
    again.put("forged", "mended")
    again.flush()
    assert len(again.writes.dead_letters()) == 6
    again.close()


def test_reader_beside_the_owner_takes_nothing_and_acknowledges_nothing(tmp_path, monkeypatch):
    """Catch a second process that sends the writes of the first, or takes some of its own."""
    desk = Desk(tmp_path)
    desk.put("a", 1)
    source = """
        import sys
        from frys_cache import Backpressure
        from frys_cache.tiers.secondary import SecondaryTier
        from frys_cache.tiers.disk import DiskTier
        from frys_cache.tiers.store import open_store
        from frys_cache.codec.entry import Codec
        from written import Desk
        for kind, mode in ((SecondaryTier, "secondary"), (DiskTier, "memory-only")):
            desk = Desk(tier=kind(open_store(sys.argv[1], on_locked=mode)), codec=Codec())
            print(desk.writes.replay())
            try:
                desk.put("b", 1)
            except Backpressure:
                print("refused")
            desk.close()
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert run_quietly(source, tmp_path / "db", seconds=30) == "0\nrefused\n" * 2
    assert desk.journal() == [desk.code("a")]
    desk.close()


# --- what cannot be written -----------------------------------------------------------------------


def test_full_disk_refuses_and_acknowledges_nothing(tmp_path, monkeypatch):
    """Catch C-11: a write that is acknowledged though no journal has it."""
    desk = Desk(tmp_path)
    desk.put("before", 1)
    seen = desk.writes.find(desk.code("before"))
    size = desk.writes.size_bytes
    with desk.full_disk():
        for write in (
            lambda: desk.put("before", 2),
            lambda: desk.put("new", 1),
            lambda: desk.writes.put_now(desk.code("new"), "new", 1, desk.version(), 0),
            lambda: desk.put_many({"x": 1, "y": 2}),
            lambda: desk.delete("before"),
            lambda: run_sync(
                desk.writes.change(
                    SYNC, desk.code("before"), "before", seen, None, 3, desk.version(), 0
                )
            ),
        ):
            desk.tier._budget = -1
            with pytest.raises(Backpressure, match="no space"):
                write()
        assert desk.writes.find(desk.code("before")) is seen
        assert (desk.writes.entries, desk.writes.size_bytes) == (1, size)
        assert desk.dirty("new") is None
    assert desk.journal() == [desk.code("before")]
    desk.put("new", 1)
    desk.flush()
    assert desk.backend.values == {"before": 1, "new": 1}
    desk.close()


def test_sent_on_a_full_disk_is_not_sent_again_when_there_is_room(tmp_path):
    """Catch a batch that is sent for ever since the journal cannot be told."""
    desk = Desk(tmp_path, draw=lambda: 0.01)
    desk.put_many({n: n for n in range(100)})
    with desk.full_disk():
        writing = threading.Thread(target=desk.flush)
        writing.start()
        end = time.monotonic() + 10
        while len(desk.backend.values) < 100:
            assert time.monotonic() < end
            time.sleep(0.001)
        time.sleep(0.05)
        desk.tier._budget = -1
        assert [desk.get(n) for n in range(100)] == list(range(100))
    writing.join(20)
    assert not writing.is_alive()
    assert desk.backend.batches == [(100, 0)]
    assert desk.journal() == []
    desk.close()


def test_closed_tier_says_closed(tmp_path):
    """Catch a write after the end that is told to try later."""
    desk = Desk(tmp_path)
    desk.tier.close()
    with pytest.raises(CacheClosed):
        desk.put("a", 1)
    run_sync(desk.writes.close(SYNC))


# --- fork -----------------------------------------------------------------------------------------


def in_child(check):
    """Run a check in a forked child; fail unless it ends well within 30 s."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(30)
            check()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_has_no_dirty_writes_and_acknowledges_none(tmp_path):
    """Catch C-15: a child that sends what is its parent's, writes its journal, or says it has."""
    desk = Desk(tmp_path)
    desk.put("parent", 1)
    with desk.backend.held():
        desk.writes._flusher.hurry()
        flushing = threading.Thread(target=desk.flush)
        flushing.start()
        assert desk.backend.began.wait(10)

        def check():
            desk.backend.go.set()
            assert desk.writes.entries == 0
            assert desk.dirty("parent") is None
            for write in (lambda: desk.put("child", 1), lambda: desk.delete("parent")):
                with pytest.raises(Backpressure, match="no journal"):
                    write()
            with pytest.raises(Backpressure):
                desk.put_many({"child": 1})
            assert desk.dirty("child") is None
            assert desk.flush() == FlushReport(0, 0, 0)
            assert desk.backend.values == {}
            assert run_sync(desk.writes.close(SYNC)) == FlushReport(0, 0, 0)

        with desk.writes._dirty.lock:
            in_child(check)
    flushing.join(10)
    desk.put("parent", 2)
    desk.flush()
    assert desk.backend.values == {"parent": 2}
    assert desk.tier.rocks.get("journal", desk.code("child")) is None
    desk.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_in_memory_sends_its_own(tmp_path):
    """Catch a child whose writes wait for a thread that only its parent has."""
    desk = Desk()
    desk.put("parent", 1)

    def check():
        desk.put("child", 1)
        assert desk.flush() == FlushReport(1, 0, 0)
        assert desk.backend.values == {"child": 1}

    in_child(check)
    desk.flush()
    assert desk.backend.values == {"parent": 1}
    desk.close()


# --- levels ---------------------------------------------------------------------------------------


def test_host_waits_for_the_disk_and_shares_the_wait(tmp_path):
    """Catch an fsync per put, or an acknowledgement before it."""
    desk = Desk(tmp_path, durability="host")
    assert not desk.writes.put_now(desk.code("a"), "a", 1, desk.version(), 0)
    flushes = []
    rocks, flush_wal = desk.tier.rocks, desk.tier.rocks.flush_wal
    hold = threading.Event()

    def counted():
        flushes.append(len(desk.journal()))
        assert hold.wait(20)
        flush_wal()

    rocks.flush_wal = counted
    done = []

    def put(n):
        desk.put(n, n)
        done.append(n)

    threads = [threading.Thread(target=put, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while len(desk.journal()) < 20:
        assert time.monotonic() < end
    assert done == []
    hold.set()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == list(range(20))
    assert len(flushes) <= 4

    async def many():
        face = AsyncFace()
        await asyncio.gather(
            *(desk.writes.put(face, desk.code(n), n, n, desk.version(), 0) for n in range(200))
        )

    before = len(flushes)
    asyncio.run(many())
    assert len(flushes) - before <= 3
    assert run_sync(desk.writes.change(SYNC, desk.code("s"), "s", None, None, 1, desk.version(), 0))
    del rocks.flush_wal
    desk.flush()
    assert len(desk.backend.values) == 201
    desk.close()


def test_host_whose_disk_fails_is_told(tmp_path):
    """Catch a write that is acknowledged though its fsync has failed, or that waits for ever."""
    desk = Desk(tmp_path, durability="host")

    def fails():
        raise Backpressure("the disk is gone")

    desk.tier.rocks.flush_wal = fails
    with pytest.raises(Exception, match="perhaps not to the disk"):
        desk.put("a", 1)
    del desk.tier.rocks.flush_wal
    desk.put("b", 1)
    desk.close()


def test_group_commit_ends_what_waits_when_it_is_stopped(tmp_path):
    """Catch a put that waits for a thread that has ended."""
    desk = Desk(tmp_path)
    commit = GroupCommit(desk.tier)
    commit._turns.stop()
    joined = commit.join()
    commit.stop()
    with pytest.raises(CacheClosed):
        joined.result()
    desk.close()


def test_memory_keeps_no_journal_and_says_whether_it_lost_something(tmp_path):
    """Catch a level that writes what it need not, or a loss that nobody hears of."""
    desk = Desk(tmp_path, durability="memory")
    assert desk.writes.unknown is False
    desk.put("a", 1)
    assert desk.journal() == []
    desk.flush()
    assert desk.get("a") == 1
    desk.put("b", 1)
    leave(desk)
    again = Desk(tmp_path)
    assert again.writes.unknown is True
    assert again.writes.replay() == 0
    again.close()
    clean = Desk(tmp_path, durability="memory")
    assert clean.writes.unknown is False
    clean.put("b", 1)
    assert clean.close() == FlushReport(1, 0, 0)
    last = Desk(tmp_path, durability="memory", backend=Backend())
    assert last.writes.unknown is False
    last.close()


# --- the end of the interpreter -------------------------------------------------------------------

AT_EXIT = """
    import pathlib, sys
    from written import Desk
    def send(puts, deletes):
        print(len(puts), "sent")
    desk = Desk(pathlib.Path(sys.argv[1]), durability=sys.argv[2], send=send)
    for n in range(50):
        desk.put(n, n)
"""


@pytest.mark.parametrize("durability", ["process", "memory", "host"])
def test_what_is_pending_at_exit_is_sent(tmp_path, durability, monkeypatch):
    """Catch C-28: an interpreter that ends without sending, hangs, or crashes."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    assert run_quietly(AT_EXIT, tmp_path, durability, seconds=30) == "50 sent\n"
    desk = Desk(tmp_path)
    assert desk.journal() == []
    assert desk.writes.unknown is False
    desk.close()


HANGS = """
    import pathlib, sys, threading
    from written import Desk
    never = threading.Event()
    desk = Desk(pathlib.Path(sys.argv[1]), send=lambda puts, deletes: never.wait())
    for n in range(50):
        desk.put(n, n)
"""


def test_backend_that_never_answers_does_not_hold_the_exit(tmp_path, monkeypatch):
    """Catch an interpreter that never ends since a backend hangs; the journal has the rest."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    began = time.monotonic()
    run_quietly(HANGS, tmp_path, seconds=30)
    assert time.monotonic() - began < 15
    desk = Desk(tmp_path)
    assert desk.writes.replay() == 50
    desk.close()


FROM_DEL = """
    import pathlib, sys
    from written import SYNC, Desk
    from frys_cache.tiers.face import run_sync
    class Owner:
        def __init__(self):
            self.desk = Desk(pathlib.Path(sys.argv[1]))
            self.me = self
        def __del__(self):
            print(self.desk.close())
    owner = Owner()
    for n in range(50):
        owner.desk.put(n, n)
    if sys.argv[2] == "now":
        del owner
        import gc; gc.collect()
"""


@pytest.mark.parametrize("when", ["now", "at exit"])
def test_close_from_a_destructor(tmp_path, when, monkeypatch):
    """Catch a close that hangs in a destructor or at the end of everything, or forgets something.

    The collector may end the tier first: then the journal has what could not be moved.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    began = time.monotonic()
    said = run_quietly(FROM_DEL, tmp_path, when, seconds=30)
    assert time.monotonic() - began < 8
    desk = Desk(tmp_path)
    left = desk.writes.replay()
    if when == "now":
        assert said.startswith(f"FlushReport(written={50 - left}, dead=0, left=")
    else:
        assert left == 0
    desk.close()
