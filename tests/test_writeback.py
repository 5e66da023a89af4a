"""Write-back: what is acknowledged is read, sent in order and within bounds, never dropped."""

import asyncio
import gc
import random
import signal
import sys
import threading
import time
import weakref

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from written import SYNC, Backend, Desk

from frys_cache import Backpressure, CacheClosed, CacheTimeout, ConfigurationError
from frys_cache.codec.compression import Compressor
from frys_cache.codec.entry import Codec
from frys_cache.codec.pickles import Pickle
from frys_cache.errors import DeadlockError
from frys_cache.tiers.bound import BoundedTier
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.face import AsyncFace, run_sync
from frys_cache.tiers.store import open_store
from frys_cache.types import MISSING
from frys_cache.writeback.dirty import Op
from frys_cache.writeback.writeback import FlushReport, WriteBack


@pytest.fixture
def desk(tmp_path):
    """Give a write-back over a disk that sends nothing by itself."""
    desk = Desk(tmp_path)
    yield desk
    desk.backend.go.set()
    desk.backend.down = False
    desk.backend.poison.clear()
    desk.close()


def until(true, seconds=20):
    """Wait until something is true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


class Lottery:
    """Draws that the test knows: always nothing, so that nobody waits before the next try."""

    def __call__(self):
        return 0.0


# --- reading what was written ---------------------------------------------------------------------


def test_put_is_read_before_it_is_sent(desk):
    """Catch a write that its own writer does not see."""
    desk.put("a", [1, 2])
    assert desk.dirty("a") == [1, 2]
    assert desk.backend.calls == 0
    assert desk.writes.entries == 1
    assert desk.writes.size_bytes > 20


def test_value_is_what_it_was_when_it_was_put(desk):
    """Catch a list that is changed after the put and sent as it is by then."""
    value = [1]
    desk.put("a", value)
    value.append(2)
    assert desk.dirty("a") == [1]
    desk.flush()
    assert desk.backend.values == {"a": [1]}


def test_delete_hides_what_is_below(desk):
    """Catch a deleted entry that is read from the tier until the delete is sent."""
    desk.put("a", 1)
    desk.flush()
    assert desk.get("a") == 1
    desk.delete("a")
    assert desk.dirty("a") is MISSING
    desk.flush()
    assert desk.backend.values == {}
    assert desk.writes.find(desk.code("a")) is None
    assert desk.tier.read_one(desk.code("a")) is None


def test_flush_moves_from_the_journal_to_the_data(desk):
    """Catch a journal that grows, or data that is never written."""
    for n in range(300):
        desk.put(n, "x" * 100)
    assert len(desk.journal()) == 300
    assert desk.flush() == FlushReport(300, 0, 0)
    assert desk.journal() == []
    assert desk.writes.entries == desk.writes.size_bytes == 0
    assert [desk.get(n) for n in range(300)] == ["x" * 100] * 300
    assert len(list(desk.tier.scan())) == 300


def test_data_is_compressed_and_the_journal_is_not(tmp_path):
    """Catch a put that compresses, or data that never is."""
    desk = Desk(tmp_path, codec=Codec(compressor=Compressor(3)))
    desk.put("a", "x" * 10_000)
    assert len(desk.tier.rocks.get("journal", desk.code("a"))) > 10_000
    desk.flush()
    assert len(desk.tier.read_one(desk.code("a"))) < 1_000
    assert desk.get("a") == "x" * 10_000
    desk.close()


def test_signed_values_come_back(tmp_path):
    """Catch a record that is compressed and keeps the signature of another."""
    codec = Codec(serializer=Pickle(secret=b"s" * 32), compressor=Compressor(3))
    desk = Desk(tmp_path, codec=codec)
    desk.put("a", {1: "x" * 5_000})
    desk.delete("b")
    assert desk.dirty("a") == {1: "x" * 5_000}
    desk.flush()
    assert desk.get("a") == {1: "x" * 5_000}
    desk.close()


def test_expiry_goes_with_the_record(tmp_path):
    """Catch an entry that lives for ever since it went through the journal."""
    desk = Desk(tmp_path)
    desk.put("a", 1, expires_ms=desk.tier.wall() + 3_600_000)
    desk.put("b", 1, expires_ms=1)
    desk.flush()
    assert desk.get("a") == 1
    assert desk.get("b") is MISSING
    assert len(desk.tier.rocks.keys("expiry", b"", None, 9)) == 2
    desk.delete("a")
    desk.flush()
    assert len(desk.tier.rocks.keys("expiry", b"", None, 9)) <= 1
    desk.close()


def test_bounded_tier_keeps_its_count(tmp_path):
    """Catch a bound that does not know what a flush has written."""
    tier = BoundedTier(open_store(tmp_path / "db"), 50_000)
    desk = Desk(tmp_path, tier=tier)
    for n in range(500):
        desk.put(n, b"x" * 500)
    for n in range(0, 500, 3):
        desk.delete(n)
    desk.flush()
    counted = sum(len(key) + len(tier.read_one(key)) for key in tier.scan())
    assert 0 < tier.total_size() == counted <= 50_000
    assert len(desk.backend.values) == 333
    assert desk.journal() == []
    desk.put("large", b"x" * 60_000)
    desk.flush()
    assert len(desk.backend.values["large"]) == 60_000
    assert desk.get("large") is MISSING
    assert desk.journal() == []
    desk.close()


def test_put_now_is_the_short_way(desk):
    """Catch a straight path that differs from the long one."""
    code = desk.code("a")
    assert desk.writes.put_now(code, "a", 1, desk.version(), 0)
    assert desk.dirty("a") == 1
    old = desk.version()
    assert desk.writes.put_now(code, "a", 2, desk.version(), 0)
    assert not desk.writes.put_now(code, "a", "late", old, 0)
    assert desk.dirty("a") == 2
    assert desk.writes.entries == 1
    assert desk.tier.rocks.get("journal", code) == desk.writes.find(code).record


def test_without_codec_values_stay_objects():
    """Catch a write-back in memory that wants to encode."""
    desk = Desk()
    value = object()
    desk.put(("any", 1), value)
    desk.put("b", 1)
    desk.delete("b")
    assert desk.dirty(("any", 1)) is value
    assert desk.dirty("b") is MISSING
    assert desk.flush() == FlushReport(2, 0, 0)
    assert desk.backend.values == {("any", 1): value}
    desk.close()


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "disk"},
        {"durability": "process", "tier": None},
        {"durability": "host", "codec": None},
        {"max_dirty_entries": 0},
        {"max_dirty_bytes": 1.5},
        {"max_batch": 0},
        {"max_attempts": True},
    ],
)
def test_what_cannot_be_is_refused(tmp_path, options):
    """Catch a level that is promised and cannot be kept."""
    tier = DiskTier(open_store(tmp_path / "db"))
    with pytest.raises(ConfigurationError):
        WriteBack(**{"codec": Codec(), "tier": tier, "send": None, **options})
    tier.close()


# --- order ----------------------------------------------------------------------------------------


def test_latest_write_of_a_key_is_the_one_that_is_sent(desk):
    """Catch a queue that grows with every write of one key."""
    for n in range(100):
        desk.put("a", n)
    assert desk.writes.entries == 1
    assert desk.writes.size_bytes == desk.writes.find(desk.code("a")).size
    desk.flush()
    assert desk.backend.batches == [(1, 0)]
    assert desk.backend.values == {"a": 99}


def test_older_write_is_late(desk):
    """Catch a slow thread that overwrites what came after it, dirty or sent."""
    versions = [desk.version() for _ in range(6)]
    assert desk.put("a", "new", versions[3])
    assert not desk.put("a", "old", versions[2])
    assert desk.dirty("a") == "new"
    assert desk.put("other", "old, and welcome", versions[1])
    desk.flush()
    assert not desk.put("a", "old", versions[2])
    assert not desk.delete("a", versions[2])
    assert desk.get("a") == "new"
    assert desk.put("a", "newer", versions[4])
    assert run_sync(
        desk.writes.put_many(
            SYNC,
            [
                (desk.code("a"), "a", "old", versions[3] - 1, 0),
                (desk.code("b"), "b", 1, versions[5], 0),
            ],
        )
    ) == [desk.code("a")]
    assert desk.dirty("a") == "newer"
    assert desk.dirty("b") == 1


def test_put_while_its_key_is_being_sent_is_what_is_read_and_kept(desk):
    """Catch C-17: removing by key after a batch, which hides and loses what came meanwhile."""
    code = desk.code("k")
    desk.put("k", 1)
    wrong = []
    reading = threading.Event()

    def read():
        while not reading.is_set():
            found = desk.get("k")
            if found != 2:
                wrong.append(found)

    with desk.backend.held():
        desk.writes._flusher.hurry()
        flushing = threading.Thread(target=desk.flush)
        flushing.start()
        assert desk.backend.began.wait(10)
        desk.put("k", 2)
        reader = threading.Thread(target=read)
        reader.start()
    flushing.join(10)
    op = desk.writes.find(code)
    assert desk.writes.value_of(op) == 2
    assert desk.backend.values == {"k": 1}
    assert desk.tier.rocks.get("journal", code) == op.record
    desk.flush()
    reading.set()
    reader.join(10)
    assert wrong == []
    assert desk.backend.values == {"k": 2}
    assert desk.get("k") == 2
    assert desk.journal() == []


def test_many_threads_keep_the_order_of_each_key(tmp_path):
    """Catch a batch that overtakes another, a lost write, and a reader that goes back in time."""
    desk = Desk(tmp_path, max_delay=0.0, max_batch=20)
    back = []
    stop = threading.Event()

    def write(worker):
        for n in range(400):
            key = (worker + n) % 7
            while not desk.put(key, n):
                pass
            if n % 13 == 0:
                desk.delete(key)

    def read():
        last = {}
        while not stop.is_set():
            for key in range(7):
                op = desk.writes.find(desk.code(key))
                if op is not None:
                    if op.version < last.get(key, 0):
                        back.append(key)
                    last[key] = op.version

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    reader = threading.Thread(target=read)
    for thread in [*threads, reader]:
        thread.start()
    for thread in threads:
        thread.join(60)
    stop.set()
    reader.join(10)
    desk.flush()
    assert (back, desk.backend.disorder) == ([], [])
    for key in range(7):
        below = desk.get(key)
        assert below == desk.backend.values.get(key, MISSING)
    assert desk.writes.size_bytes == desk.writes.entries == 0
    assert desk.journal() == []
    desk.close()


def test_swap_takes_only_what_was_seen(desk):
    """Catch a lost update between a reader and the flusher or another writer."""
    code = desk.code("n")

    def swap(seen, record, value):
        return run_sync(desk.writes.change(SYNC, code, "n", seen, record, value, desk.version(), 0))

    assert swap(None, None, 1)
    assert not swap(None, None, 2)
    seen = desk.writes.find(code)
    assert swap(seen, None, 2)
    assert not swap(seen, None, 3)
    desk.flush()
    assert not swap(seen, None, 3)
    assert not swap(None, None, 3)
    record = desk.tier.read_one(code)
    assert swap(None, record, MISSING)
    assert desk.dirty("n") is MISSING


def test_swap_by_many_threads_loses_no_update(tmp_path):
    """Catch two threads that add to the same number, beside a flusher that moves it about."""
    desk = Desk(tmp_path, max_delay=0.0)
    code = desk.code("n")

    def add():
        for _ in range(100):
            while True:
                seen = desk.writes.find(code)
                record = None
                if seen is not None:
                    value = desk.writes.value_of(seen)
                else:
                    record = desk.tier.read_one(code)
                    value = 0 if record is None else desk.codec.decode(code, record)[0]
                if run_sync(
                    desk.writes.change(
                        *(SYNC, code, "n", seen, record, value + 1, desk.version(), 0)
                    )
                ):
                    break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    desk.flush()
    assert desk.get("n") == desk.backend.values["n"] == 400
    desk.close()


def test_clear_is_a_barrier(desk):
    """Catch a cleared entry that comes back, from the queue, the journal, or a slow thread."""
    old = desk.version()
    desk.put("user:1", 1)
    desk.put("user:2", 2)
    desk.put("other", 3)
    late = desk.version()
    assert desk.writes.clear(desk.codec.prefix("user:")) is None
    assert desk.dirty("user:1") is None
    assert desk.dirty("other") == 3
    assert not desk.put("user:1", "late", late)
    assert not desk.put("user:9", "late", old)
    assert desk.put("another", 1, late)
    assert len(desk.journal()) == desk.writes.entries == 2
    assert desk.put("user:1", "new")
    desk.flush()
    assert desk.backend.values == {"other": 3, "another": 1, "user:1": "new"}
    desk.put("x", 1)
    desk.writes.clear()
    assert desk.journal() == []
    assert desk.writes.entries == desk.writes.size_bytes == 0


def test_clear_tells_of_the_batch_on_its_way(desk):
    """Catch a clear of the tiers below that a batch overtakes without anybody knowing."""
    desk.put("a", 1)
    with desk.backend.held():
        desk.writes._flusher.hurry()
        desk.writes._dirty.waiting.append(waiting := type("W", (), {"left": {}})())
        desk.writes._flusher.turns.ring()
        assert desk.backend.began.wait(10)
        desk.writes._dirty.waiting.remove(waiting)
        landing = desk.writes.clear()
        assert not landing.wait(0)
    assert landing.wait(10)
    assert desk.tier.read_one(desk.code("a")) is None
    assert desk.journal() == []


# --- when it is sent ------------------------------------------------------------------------------


def test_sent_after_max_delay(tmp_path):
    """Catch a write that waits for company."""
    desk = Desk(tmp_path, max_delay=0.05)
    desk.put("a", 1)
    until(lambda: desk.backend.values == {"a": 1})
    desk.close()


def test_sent_when_there_is_a_batch(tmp_path):
    """Catch a full batch that waits for its time."""
    desk = Desk(tmp_path, max_batch=10)
    for n in range(9):
        desk.put(n, n)
    assert desk.backend.calls == 0
    desk.put(9, 9)
    until(lambda: len(desk.backend.values) == 10)
    assert desk.backend.batches == [(10, 0)]
    desk.close()


@pytest.mark.parametrize("bound", [{"max_dirty_entries": 10}, {"max_dirty_bytes": 4_000}])
def test_sent_when_a_bound_is_near(tmp_path, bound):
    """Catch a queue that is full before anything is sent."""
    desk = Desk(tmp_path, **bound)
    for n in range(8):
        desk.put(n, b"x" * 380)
    until(lambda: desk.writes.entries < 8)
    desk.close()


def test_no_write_no_thread(tmp_path):
    """Catch a thread for a cache that is only read."""
    desk = Desk(tmp_path)
    assert desk.writes._flusher.turns._thread is None
    desk.put("a", 1)
    thread = desk.writes._flusher.turns._thread
    assert thread.daemon
    desk.close()
    thread.join(10)
    assert not thread.is_alive()


def test_forgotten_write_back_sends_and_ends_its_thread():
    """Catch a thread that keeps a forgotten cache for ever, or what it had not sent yet."""
    desk = Desk()
    desk.put("a", 1)
    backend, gone = desk.backend, weakref.ref(desk.writes)
    thread = desk.writes._flusher.turns._thread
    backend.writes = type("Values", (), {"value_of": staticmethod(lambda op: op.value)})
    del desk
    gc.collect()
    until(lambda: backend.values == {"a": 1})
    thread.join(10)
    assert not thread.is_alive()
    gc.collect()
    until(lambda: gone() is None)


# --- what fails -----------------------------------------------------------------------------------


def test_outage_is_retried_and_loses_nothing(tmp_path):
    """Catch a batch that is dropped, or blamed, because the backend was away."""
    desk = Desk(tmp_path, max_delay=0.0, draw=Lottery(), max_attempts=2)
    desk.backend.down = True
    desk.put_many({n: n for n in range(50)})
    until(lambda: desk.backend.calls > 40)
    assert desk.writes.entries == 50
    assert desk.writes.dead_letters() == []
    with pytest.raises(CacheTimeout, match="50 writes are still to be sent"):
        desk.flush(0.05)
    desk.backend.down = False
    desk.flush()
    assert len(desk.backend.values) == 50
    assert desk.events == ["outage", "recovered"]
    desk.close()


def test_one_poison_of_a_hundred_is_set_aside(tmp_path):
    """Catch C-18: one write that is always refused, and takes others along or holds them up."""
    letters = []
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=3, on_dead_letter=letters.append)
    desk.backend.poison = {"key:57"}
    for n in range(100):
        desk.put(f"key:{n}", n)
    report = desk.flush()
    assert report == FlushReport(99, 1, 0)
    assert len(desk.backend.values) == 99
    (letter,) = letters
    assert (letter.key, letter.value, letter.attempts) == ("key:57", 57, 3)
    assert letter.error == "ValueError: the backend refuses this key"
    assert desk.writes.dead_letters() == letters
    assert desk.writes.entries == 0
    assert desk.journal() == [desk.code("key:57")]
    assert desk.backend.disorder == []
    desk.backend.poison.clear()
    assert desk.writes.retry_dead_letters() == 1
    assert desk.writes.dead_letters() == []
    assert desk.dirty("key:57") == 57
    desk.flush()
    assert desk.backend.values["key:57"] == 57
    assert desk.journal() == []
    desk.close()


@pytest.mark.parametrize("count", [2, 5, 30])
def test_many_poisons_never_look_like_an_outage_for_long(tmp_path, count):
    """Catch refused writes, one in each half, that hold everybody up."""
    desk = Desk(tmp_path, max_attempts=2)
    desk.backend.poison = {n * 3 for n in range(count)}
    for n in range(100):
        desk.put(n, n)
    assert desk.flush() == FlushReport(100 - count, count, 0)
    desk.close()


def test_only_write_in_an_outage_is_never_set_aside(tmp_path):
    """Catch a dead letter of a backend that was away and took nothing from anybody."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=2)
    desk.backend.down = True
    desk.put("a", 1)
    with pytest.raises(CacheTimeout):
        desk.flush(0.2)
    until(lambda: desk.backend.calls > 10)
    assert desk.writes.dead_letters() == []
    desk.backend.down = False
    desk.flush()
    assert desk.backend.values == {"a": 1}
    desk.close()


def test_refused_alone_is_set_aside_once_another_got_through(tmp_path):
    """Catch a refused write that is tried for ever, since it mostly is the only one."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=2)
    desk.backend.poison = {"a"}
    desk.put("a", 1)
    with pytest.raises(CacheTimeout):
        desk.flush(0.2)
    desk.put("b", 1)
    desk.flush()
    (letter,) = desk.writes.dead_letters()
    assert letter.key == "a"
    assert letter.attempts >= 2
    desk.close()


def test_reader_finds_what_was_set_aside(tmp_path):
    """Catch an acknowledged write that its readers lose to an older value when it is refused."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=1)
    desk.put("a", 1)
    desk.put("gone", 1)
    desk.flush()
    desk.backend.poison = {"a", "gone"}
    desk.put("a", 2)
    desk.delete("gone")
    desk.put("b", 1)
    assert desk.flush() == FlushReport(1, 2, 0)
    assert (desk.get("a"), desk.get("gone")) == (2, MISSING)
    assert desk.writes.find(desk.code("b")) is None
    desk.close()
    again = Desk(tmp_path, backend=desk.backend, draw=Lottery())
    again.writes.replay()
    assert (again.get("a"), again.get("gone")) == (2, MISSING)
    again.backend.poison = set()
    assert again.writes.retry_dead_letters() == 2
    assert again.get("a") == 2
    again.flush()
    assert again.backend.values == {"a": 2, "b": 1}
    assert again.writes.find(again.code("a")) is None
    again.close()


def test_decision_is_about_what_was_set_aside(tmp_path):
    """Catch a decision on an older value, or one that never finds what it compares with."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=1)
    desk.backend.poison = {"a"}
    desk.put_many({"a": 1, "b": 1})
    assert desk.flush() == FlushReport(1, 1, 0)
    code = desk.code("a")
    seen = desk.writes.find(code)
    assert desk.writes.value_of(seen) == 1
    assert not run_sync(desk.writes.change(SYNC, code, "a", None, None, 2, desk.version(), 0))
    assert run_sync(desk.writes.change(SYNC, code, "a", seen, None, 2, desk.version(), 0))
    assert desk.dirty("a") == 2
    assert desk.writes.dead_letters() == []
    desk.backend.poison = set()
    desk.flush()
    assert desk.backend.values == {"a": 2, "b": 1}
    desk.close()


def test_older_write_does_not_replace_a_dead_letter(desk):
    """Catch a slow thread whose older write supersedes what was set aside."""
    desk.writes._flusher._max_attempts = 1
    desk.backend.poison = {"a"}
    old = desk.version()
    desk.put_many({"a": 2, "b": 1})
    desk.flush()
    assert not desk.put("a", 1, old)
    assert desk.dirty("a") == 2


def test_interrupted_writer_leaves_no_lock_behind(tmp_path):
    """Catch an interrupt in a put after which nothing is ever sent."""

    class Interrupt(BaseException):
        pass

    armed = False

    def handle(*_):
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    desk = Desk(tmp_path, max_delay=0.0)
    before = signal.signal(signal.SIGALRM, handle)
    count = 0
    end = time.monotonic() + 2
    try:
        while time.monotonic() < end:
            try:
                armed = True
                signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 1e-4))
                while armed:
                    count += 1
                    arguments = desk.code(count % 50), count % 50, count, desk.version(), 0
                    desk.writes.put_now(*arguments)
            except Interrupt:
                pass
            armed = False
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    until(lambda: desk.writes.entries == 0, 10)
    assert desk.put("a", 1)
    until(lambda: desk.backend.values.get("a") == 1, 10)
    desk.close()


def test_next_one_sends_after_the_batch_that_a_close_has_given_up_on(tmp_path):
    """Catch an old batch that lands on newer writes, in the backend or in the journal."""
    desk = Desk(tmp_path, max_delay=0.0)
    with desk.backend.held():
        desk.put("a", 1)
        assert desk.backend.began.wait(10)
        assert run_sync(desk.writes.close(SYNC, 0.05)) == FlushReport(0, 0, 1)
        again = Desk(tmp_path, tier=desk.tier, backend=desk.backend, max_delay=0.0)
        assert again.writes.replay() == 1
        again.put("a", 2)
        assert again.dirty("a") == 2
        with pytest.raises(CacheTimeout):
            again.flush(0.2)
        other = Desk(tmp_path, tier=desk.tier, codec=Codec(namespace="other"))
        other.put("b", 1)
        other.flush()
        assert desk.backend.calls == 1
        assert again.journal() == [again.code("a")]
    again.flush()
    assert desk.backend.batches == [(1, 0), (1, 0)]
    assert desk.backend.values == {"a": 2}
    assert again.get("a") == 2
    assert again.journal() == []
    again.close()


def test_clear_in_the_thread_that_sends_has_nothing_to_wait_for(tmp_path):
    """Catch a backend that clears its cache and waits for itself."""
    said = []
    desk = Desk(tmp_path, send=lambda puts, deletes: said.append(desk.writes.clear()))
    desk.put("a", 1)
    desk.flush()
    assert said == [None]
    desk.close()


@pytest.mark.parametrize("longest", [float("inf"), 1e10])
def test_time_without_end_is_waited_for(tmp_path, longest):
    """Catch an OverflowError of a lock for a time that no clock can count."""
    desk = Desk(tmp_path, max_dirty_entries=1, put_timeout=longest)
    desk.put("a", 1)
    desk.put("b", 1)
    desk.flush(longest)
    desk.put("c", 1)
    assert desk.close(longest).left == 0
    assert sorted(desk.backend.values) == ["a", "b", "c"]


def test_dead_letters_are_listed_after_the_end(tmp_path):
    """Catch a closed cache that cannot say what it has set aside."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=1)
    desk.backend.poison = {"a"}
    desk.put_many({"a": 2, "b": 1})
    desk.flush()
    letters = desk.writes.dead_letters()
    desk.close()
    assert desk.writes.dead_letters() == letters
    assert letters[0].value == 2


def test_next_put_supersedes_a_dead_letter(tmp_path):
    """Catch a dead letter beside a newer put."""
    desk = Desk(tmp_path, draw=Lottery(), max_attempts=2)
    desk.backend.poison = {"a"}
    desk.put_many({"a": 1, "b": 1})
    assert desk.flush() == FlushReport(1, 1, 0)
    desk.backend.poison = set()
    desk.put("a", 2)
    assert desk.writes.dead_letters() == []
    assert desk.writes.retry_dead_letters() == 0
    desk.flush()
    assert desk.backend.values == {"a": 2, "b": 1}
    assert desk.journal() == []
    desk.close()


def test_poison_does_not_hold_up_others(tmp_path):
    """Catch a refused write whose next try the others wait for."""
    desk = Desk(tmp_path, max_delay=0.0, draw=lambda: 0.999, max_attempts=50)
    desk.backend.poison = {"bad"}
    desk.put("bad", 1)
    for n in range(20):
        desk.put(n, n)
    until(lambda: len(desk.backend.values) == 20)
    desk.put("later", 1)
    until(lambda: "later" in desk.backend.values)
    assert desk.dirty("bad") == 1
    desk.backend.poison = set()
    desk.flush()
    assert desk.backend.values["bad"] == 1
    desk.close()


def test_callbacks_that_raise_stop_nothing(tmp_path, monkeypatch):
    """Catch a flusher that dies of the user's callback."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))

    def wrong(*_):
        raise ZeroDivisionError

    desk = Desk(tmp_path, draw=Lottery(), max_attempts=1, on_dead_letter=wrong)
    desk.writes._flusher.on_event = wrong
    desk.backend.poison = {"a"}
    desk.put("a", 1)
    desk.put("b", 1)
    assert desk.flush() == FlushReport(1, 1, 0)
    assert set(told) == {ZeroDivisionError}
    desk.close()


# --- bounds ---------------------------------------------------------------------------------------


def test_full_put_waits_and_then_says_so(tmp_path):
    """Catch C-19: a write that is dropped, taken without a bound, or waits for ever."""
    desk = Desk(tmp_path, max_dirty_entries=5, put_timeout=0.2, draw=Lottery())
    desk.backend.down = True
    for n in range(5):
        desk.put(n, n)
    began = time.monotonic()
    with pytest.raises(Backpressure, match=r"5 writes .* at most 5 entries"):
        desk.put("more", 1)
    assert 0.15 < time.monotonic() - began < 2
    assert desk.dirty("more") is None
    assert desk.journal() == sorted(desk.code(n) for n in range(5))
    assert "backpressure" in desk.events
    assert desk.put(3, "the same key needs no room")
    with pytest.raises(Backpressure):
        desk.put_many({"x": 1, "y": 1})
    with pytest.raises(Backpressure):
        run_sync(desk.writes.change(SYNC, desk.code("z"), "z", None, None, 1, desk.version(), 0))
    desk.backend.down = False
    desk.put("more", 1)
    desk.flush()
    assert desk.backend.values == {
        0: 0,
        1: 1,
        2: 2,
        3: "the same key needs no room",
        4: 4,
        "more": 1,
    }
    desk.close()


def test_full_put_suspends_and_the_loop_goes_on(tmp_path):
    """Catch an event loop that stands still while a put waits for room."""
    desk = Desk(tmp_path, max_dirty_entries=5, put_timeout=0.3, draw=lambda: 0.1)
    desk.backend.down = True
    face = AsyncFace()
    for n in range(5):
        desk.put(n, n)

    async def put(n):
        try:
            await desk.writes.put(face, desk.code(n), n, n, desk.version(), 0)
        except Backpressure:
            return "refused"
        return "taken"

    async def main():
        lags = []
        stop = asyncio.Event()

        async def beat():
            while not stop.is_set():
                at = time.perf_counter()
                await asyncio.sleep(0.001)
                lags.append(time.perf_counter() - at - 0.001)

        beating = asyncio.create_task(beat())
        began = time.perf_counter()
        answers = await asyncio.gather(*(put(n) for n in range(10, 20)))
        took = time.perf_counter() - began
        waiting = asyncio.create_task(put(99))
        await asyncio.sleep(0.02)
        desk.backend.down = False
        assert await waiting == "taken"
        stop.set()
        await beating
        return answers, took, sorted(lags)

    answers, took, lags = asyncio.run(main())
    assert answers == ["refused"] * 10
    assert took < 2
    # All but what a busy machine does to any loop; and never as long as a put waits.
    assert lags[len(lags) * 95 // 100] < 0.02
    assert lags[-1] < 0.2
    desk.close()


def test_larger_than_the_bound_is_taken_alone(tmp_path):
    """Catch an entry that can never be written since it is larger than what may wait."""
    desk = Desk(tmp_path, max_dirty_bytes=1_000, put_timeout=0.1, draw=lambda: 0.5)
    desk.backend.down = True
    desk.put("large", b"x" * 5_000)
    desk.put("large", b"y" * 6_000)
    with pytest.raises(Backpressure):
        desk.put("small", 1)
    desk.backend.down = False
    desk.put("small", 1)
    desk.flush()
    desk.put_many(dict.fromkeys(range(5), b"x" * 400))
    desk.flush()
    assert len(desk.backend.values) == 7
    desk.close()


# --- the end --------------------------------------------------------------------------------------


def test_closed_takes_no_more_and_reports_what_is_left(tmp_path):
    """Catch a close that forgets what it could not send."""
    desk = Desk(tmp_path)
    desk.backend.down = True
    for n in range(3):
        desk.put(n, n)
    began = time.monotonic()
    assert run_sync(desk.writes.close(SYNC, 0.2)) == FlushReport(0, 0, 3)
    assert time.monotonic() - began < 5
    with pytest.raises(CacheClosed):
        desk.put("a", 1)
    with pytest.raises(CacheClosed):
        desk.put_many({"a": 1})
    with pytest.raises(CacheClosed):
        desk.delete(1)
    assert desk.dirty(1) == 1
    assert len(desk.journal()) == 3
    assert run_sync(desk.writes.close(SYNC, 0.2)) == FlushReport(0, 0, 3)
    desk.tier.close()
    again = Desk(tmp_path)
    assert again.writes.replay() == 3
    assert again.close() == FlushReport(3, 0, 0)
    assert again.backend.values == {0: 0, 1: 1, 2: 2}


def test_close_from_two_threads_at_once(tmp_path):
    """Catch two closes that wait for each other, or send twice."""
    desk = Desk(tmp_path)
    for n in range(50):
        desk.put(n, n)
    reports = []
    threads = [
        threading.Thread(target=lambda: reports.append(run_sync(desk.writes.close(SYNC))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert reports == [FlushReport(50, 0, 0)] * 4
    assert desk.backend.batches == [(50, 0)]
    assert desk.journal() == []
    desk.tier.close()


def test_close_under_the_async_face(tmp_path):
    """Catch a close that blocks the loop it is awaited on."""
    desk = Desk(tmp_path)
    desk.put("a", 1)
    assert asyncio.run(desk.writes.close(AsyncFace())) == FlushReport(1, 0, 0)
    desk.tier.close()


def test_close_and_flush_in_the_thread_that_sends(tmp_path):
    """Catch a backend that closes its cache and waits for itself."""
    said = []

    def send(puts, deletes):
        try:
            desk.flush()
        except DeadlockError as error:
            said.append(error)
        said.append(run_sync(desk.writes.close(SYNC)).left)

    desk = Desk(tmp_path, send=send, max_delay=0.0)
    desk.put("a", 1)
    until(lambda: len(said) == 2)
    assert isinstance(said[0], DeadlockError)
    until(lambda: not desk.writes._flusher._busy)
    desk.close()


def test_put_from_a_destructor_inside_of_a_put_leaves_all_whole(desk):
    """Catch a finalizer that the collector runs inside of a put, and which puts itself."""
    count = 0

    class Loop:
        def __init__(self, n):
            self.me, self.n = self, n

        def __del__(self):
            nonlocal count
            count += 1
            desk.put(self.n % 10, f"from a destructor {self.n}")

    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for n in range(300):
            Loop(n)
            while not desk.put(n % 10, n):
                pass
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert count == 300
    assert sorted(desk.journal()) == sorted(desk.code(n) for n in range(10))
    ops = [desk.writes.find(desk.code(n)) for n in range(10)]
    assert all(isinstance(op, Op) for op in ops)
    for op in ops:
        assert desk.tier.rocks.get("journal", op.code) == op.record
    assert desk.writes.size_bytes == sum(op.size for op in ops)
    desk.flush()
    assert desk.backend.disorder == []
    assert {key: desk.get(key) for key in range(10)} == desk.backend.values


def test_backend_of_nothing_still_moves_to_the_data(tmp_path):
    """Catch a write-back without anything below, whose journal is never emptied."""
    desk = Desk(tmp_path, send=None)
    desk.put("a", 1)
    desk.flush()
    assert desk.get("a") == 1
    assert desk.journal() == []
    desk.close()


def test_waiting_is_the_age_of_the_oldest(tmp_path):
    """Catch an age that a second write of the same key makes young."""
    now = 100.0
    desk = Desk(tmp_path, steady=lambda: now, backend=Backend())
    assert desk.writes.waiting == 0.0
    desk.put("a", 1)
    now = 130.0
    desk.put("a", 2)
    desk.put("b", 2)
    assert desk.writes.waiting == 30.0
    desk.close()
