"""The C interface: another Cython module cimports the class from the installed _core.pxd.

tests/consumer/consumer.pyx is that module.  It reads and writes, pins a cache, looks up without the
GIL, and unpins.
"""

import os
import runpy
import sys
import threading
from pathlib import Path

import pytest

from frys_cache import EvictionCause, FrysCache, MemoryCache

pytest.importorskip("Cython")
BUILD = Path(__file__).parent / "consumer" / "build.py"
PATIENCE = 30  # seconds that nothing should take

HIT, MISS, UNDECIDED = 1, 0, -1


@pytest.fixture(scope="module")
def consumer(tmp_path_factory):
    """Build the consumer once; the compiler must not inherit our sanitizers."""
    ours = {"LD_PRELOAD", "PYTHONMALLOC", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"}
    env = {name: value for name, value in os.environ.items() if name not in ours}
    return runpy.run_path(str(BUILD))["build"](tmp_path_factory.mktemp("consumer"), env)


@pytest.fixture(params=[MemoryCache, FrysCache])
def cache(request):
    """Return a cache of three entries that has room for four; whole again when the test ends."""
    made = request.param(4, policy="lru")
    made.update(a=[1], b=[2], c=[3])
    yield made
    made._check()


class Opaque:
    """A key that only its own `__eq__` can compare."""

    def __init__(self, name):
        self.name = name

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return isinstance(other, Opaque) and self.name == other.name


def in_thread(function, *args):
    """Start a thread that cannot keep the test process alive."""
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


class TestReadAndWrite:
    def test_read_hit_is_the_same_object_and_counts(self, consumer, cache):
        assert consumer.read(cache, "a") is cache.peek("a")
        assert cache.stats().hits == 1

    def test_read_hit_refreshes_recency(self, consumer, cache):
        consumer.read(cache, "a")
        assert list(cache) == ["b", "c", "a"]

    def test_read_miss_is_no_error(self, consumer, cache):
        assert consumer.read(cache, "x", "nothing") == "nothing"
        assert cache.stats().misses == 1

    def test_read_unhashable_raises(self, consumer, cache):
        with pytest.raises(TypeError):
            consumer.read(cache, [])

    def test_read_eq_raises_passes_the_exception(self, consumer):
        class Rude(Opaque):
            __hash__ = Opaque.__hash__

            def __eq__(self, other):
                raise ZeroDivisionError

        cache = MemoryCache(4)
        cache[Rude("a")] = 1
        with pytest.raises(ZeroDivisionError):
            consumer.read(cache, Rude("a"))

    def test_read_all_gives_back_every_reference(self, consumer, cache):
        value = object()
        cache["a"] = value
        before = sys.getrefcount(value)
        assert consumer.read_all(cache, ["a", "x", "a"]) == 2
        assert sys.getrefcount(value) == before

    def test_write_new_and_old_keys_keeps_the_bound(self, consumer, cache):
        consumer.write(cache, "a", "other")
        consumer.write_all(cache, ["d", "e"], "new")
        assert dict(cache) == {"c": [3], "a": "other", "d": "new", "e": "new"}

    def test_write_tells_the_listener(self, consumer):
        told = []
        cache = MemoryCache(1, on_evict=lambda *event: told.append(event))
        consumer.write(cache, "a", 1)
        consumer.write(cache, "b", 2)
        assert told == [("a", 1, EvictionCause.EVICTED)]


class TestPinned:
    def test_find_pinned_without_the_gil_hits_and_misses(self, consumer, cache):
        consumer.pin(cache)
        found = consumer.find_pinned(cache, "a")
        assert found == (HIT, [1])
        assert found[1] is cache.peek("a")
        assert consumer.find_pinned(cache, "x") == (MISS, None)
        consumer.unpin(cache)

    @pytest.mark.parametrize("make", [str, lambda n: b"%d" % n, int], ids=["str", "bytes", "int"])
    def test_find_pinned_equal_keys_of_every_exact_kind(self, consumer, make):
        """An equal key that is another object is compared without the GIL."""
        count = 5_000
        cache = MemoryCache(count)
        cache.put_many([(make(n + 10**6), n) for n in range(count)])
        asked = [make(n + 10**6) for n in range(2 * count)]
        consumer.pin(cache)
        assert consumer.count_pinned(cache, asked) == (count, count, 0)
        consumer.unpin(cache)

    def test_find_pinned_foreign_key_is_left_undecided(self, consumer):
        """Only the key's own __eq__ could tell, and that needs the GIL."""
        cache = MemoryCache(4)
        kept = Opaque("a")
        cache[kept] = 1
        consumer.pin(cache)
        assert consumer.find_pinned(cache, Opaque("a")) == (UNDECIDED, None)
        assert consumer.find_pinned(cache, kept) == (HIT, 1)
        assert consumer.find_pinned(cache, Opaque("b")) == (MISS, None)
        consumer.unpin(cache)

    def test_find_pinned_changes_neither_order_nor_counters(self, consumer, cache):
        consumer.pin(cache)
        consumer.count_pinned(cache, ["a", "x"])
        consumer.unpin(cache)
        assert list(cache) == ["a", "b", "c"]
        assert cache.stats().requests == 0

    def test_find_pinned_from_several_threads(self, consumer):
        """Lookups only read: one pin holds for the lookups of every thread."""
        cache = MemoryCache(1_000)
        keys = [str(n) for n in range(1_000)]
        cache.put_many(dict.fromkeys(keys, 1))
        answers = []
        consumer.pin(cache)
        threads = [
            in_thread(lambda: answers.append(consumer.count_pinned(cache, keys * 20)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.join(PATIENCE)
        consumer.unpin(cache)
        assert answers == [(20_000, 0, 0)] * 4

    def test_get_while_pinned_answers_without_a_policy_step(self, consumer, cache):
        consumer.pin(cache)
        assert cache["a"] == cache.get("a") == consumer.read(cache, "a") == [1]
        assert cache.get_many(["a", "x"]) == [[1], None]
        assert "a" in cache
        consumer.unpin(cache)
        assert list(cache) == ["a", "b", "c"]
        cache["a"]
        assert list(cache) == ["b", "c", "a"]

    @pytest.mark.parametrize(
        "write",
        [
            lambda c: c.put("a", 0),
            lambda c: c.put("new", 0),
            lambda c: c.put_many({"a": 0}),
            lambda c: c.pop("a"),
            lambda c: c.delete("a"),
            lambda c: c.popitem(),
            lambda c: c.clear(),
        ],
        ids=["overwrite", "insert", "put_many", "pop", "delete", "popitem", "clear"],
    )
    def test_write_on_the_pinning_thread_raises_and_changes_nothing(self, consumer, cache, write):
        """Waiting for oneself would be a hang."""
        before = dict(cache)
        consumer.pin(cache)
        with pytest.raises(RuntimeError):
            write(cache)
        consumer.unpin(cache)
        assert dict(cache) == before
        write(cache)

    def test_write_of_another_thread_waits_until_unpin(self, consumer, cache):
        started, done = threading.Event(), threading.Event()

        def write():
            started.set()
            cache["a"] = "other"
            done.set()

        consumer.pin(cache)
        thread = in_thread(write)
        assert started.wait(PATIENCE)
        assert not done.wait(0.05)
        assert consumer.find_pinned(cache, "a") == (HIT, [1])
        consumer.unpin(cache)
        assert done.wait(PATIENCE)
        thread.join(PATIENCE)
        assert cache["a"] == "other"

    def test_pins_nest(self, consumer, cache):
        consumer.pin(cache)
        consumer.pin(cache)
        consumer.unpin(cache)
        with pytest.raises(RuntimeError):
            cache["a"] = 0
        consumer.unpin(cache)
        cache["a"] = 0

    def test_unpin_without_pin_raises(self, consumer, cache):
        with pytest.raises(RuntimeError):
            consumer.unpin(cache)
        cache["a"] = 0

    def test_pinned_by_two_threads_writer_waits_for_both(self, consumer, cache):
        """The first unpin must not let a writer in under the second reader."""
        pinned, leave, done = threading.Event(), threading.Event(), threading.Event()

        def reader():
            consumer.pin(cache)
            pinned.set()
            leave.wait(PATIENCE)
            consumer.unpin(cache)

        def write():
            cache["d"] = 4
            done.set()

        threads = [in_thread(reader)]
        assert pinned.wait(PATIENCE)
        consumer.pin(cache)
        consumer.unpin(cache)
        threads.append(in_thread(write))
        assert not done.wait(0.05)
        leave.set()
        assert done.wait(PATIENCE)
        for thread in threads:
            thread.join(PATIENCE)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_fork_while_another_thread_has_pinned_clears_the_pin(self, consumer, cache):
        """The reader does not exist in the child: nobody would ever unpin."""
        pinned, leave = threading.Event(), threading.Event()

        def reader():
            consumer.pin(cache)
            pinned.set()
            leave.wait(PATIENCE)
            consumer.unpin(cache)

        thread = in_thread(reader)
        assert pinned.wait(PATIENCE)
        child = os.fork()
        if child == 0:
            try:
                cache["d"] = 4
                cache._check()
                os._exit(0 if cache["d"] == 4 else 1)
            finally:
                os._exit(2)
        try:
            assert exit_code(child) == 0
        finally:
            leave.set()
            thread.join(PATIENCE)
        cache["d"] = 5

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
    def test_fork_by_the_pinning_thread_keeps_the_pin_in_the_child(self, consumer, cache):
        """The thread that forks goes on in the child, in the middle of its reading."""
        consumer.pin(cache)
        child = os.fork()
        if child == 0:
            try:
                found = consumer.find_pinned(cache, "a")
                consumer.unpin(cache)
                cache["d"] = 4
                cache._check()
                os._exit(0 if found == (HIT, [1]) and cache["d"] == 4 else 1)
            finally:
                os._exit(2)
        code = exit_code(child)
        consumer.unpin(cache)
        assert code == 0


def exit_code(child):
    """Wait for a forked child, but not for ever; a child that hangs is killed."""
    watch = threading.Timer(PATIENCE, os.kill, (child, 9))
    watch.start()
    try:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        watch.cancel()
