"""Fork, exit and sub-interpreters: a cache neither hangs nor crashes the process it lives in."""

import gc
import os
import sys
import time

import pytest
from child import run, run_quietly
from kinds import every_class

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="NOTICE: no fork here")
not_sanitized = pytest.mark.skipif(
    os.environ.get("FRYS_SANITIZED") == "1",
    reason="NOTICE: sanitized: time and size mean nothing",
)
CLASSES = ["MemoryCache", "FrysCache"]


@needs_fork
@pytest.mark.parametrize("cls", CLASSES)
def test_fork_beside_a_large_batch_leaves_a_child_that_works(cls):
    """Catch a child that waits for a reader which only its parent has."""
    run_quietly(
        """
        import os, signal, sys, threading
        import frys_cache

        cache = getattr(frys_cache, sys.argv[1])(60_000)
        keys = [f"key-{number}" for number in range(50_000)]
        cache.put_many((key, key) for key in keys)
        stop = threading.Event()

        def read():
            while not stop.is_set():
                assert cache.get_many(keys)[7] in ("key-7", None)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        failed = 0
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                signal.alarm(30)
                status = 1
                try:
                    cache["new"] = 1
                    cache["key-1"] = "again"
                    assert cache["new"] == 1 and cache["key-1"] == "again"
                    assert cache.get_many(keys)[2:5] == keys[2:5]
                    assert cache.delete_many(keys[:100]) == 100
                    cache.put_many((number, number) for number in range(70_000))
                    assert len(cache) == 60_000
                    cache._check()
                    cache.clear()
                    cache._check()
                    status = 0
                finally:
                    os._exit(status)
            failed += os.waitpid(pid, 0)[1] != 0
        stop.set()
        for reader in readers:
            reader.join()
        cache._check()
        sys.exit(failed)
        """,
        cls,
    )


@needs_fork
@pytest.mark.parametrize("cls", CLASSES)
def test_fork_beside_a_listener_leaves_a_child_that_is_told(cls):
    """Catch a child whose events wait for a listener which only its parent runs."""
    run_quietly(
        """
        import os, signal, sys, threading
        import frys_cache

        inside, leave = threading.Event(), threading.Event()
        told = []

        def listen(key, value, cause):
            told.append(key)
            if key == "block":
                inside.set()
                leave.wait(60)

        cache = getattr(frys_cache, sys.argv[1])(2, policy="lru", on_evict=listen)

        def evict():
            cache["block"] = 1
            del cache["block"]

        thread = threading.Thread(target=evict)
        thread.start()
        inside.wait(60)
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            status = 1
            try:
                told.clear()
                cache.update(a=1, b=2, c=3)
                cache.clear()
                cache._check()
                status = told != ["a", "b", "c"]
            finally:
                os._exit(status)
        status = os.waitpid(pid, 0)[1]
        leave.set()
        thread.join()
        assert told == ["block"], told
        sys.exit(status != 0)
        """,
        cls,
    )


@needs_fork
@pytest.mark.parametrize("cls", CLASSES)
def test_fork_inside_a_listener_tells_both_sides_the_rest(cls):
    """Catch a queue that the child of its own listener loses or tells for ever."""
    run_quietly(
        """
        import os, signal, sys
        import frys_cache

        told, pids = [], []

        def listen(key, value, cause):
            told.append(key)
            if key == 1:
                pids.append(os.fork())
                if not pids[0]:
                    signal.alarm(30)

        cache = getattr(frys_cache, sys.argv[1])(5, policy="lru", on_evict=listen)
        cache.put_many((number, number) for number in range(5))
        cache.clear()
        cache.put_many((number, number) for number in range(5, 12))
        cache._check()
        assert told == [0, 1, 2, 3, 4, 5, 6], told
        if not pids[0]:
            os._exit(0)
        sys.exit(os.waitpid(pids[0], 0)[1] != 0)
        """,
        cls,
    )


EXITS = {
    "a full cache": """
        cache = cls(1000)
        cache.put_many((number, [number]) for number in range(2000))
    """,
    "a cache in a cycle with its module": """
        cache = cls(10)
        cache["self"] = cache
        cache["module"] = sys.modules[__name__]
    """,
    "values whose destructors use the cache": """
        class Last:
            def __del__(self):
                if cache is not None:
                    cache.get("a")
                    cache["again"] = 1
                    cache.clear()
        cache = cls(10)
        for number in range(30):
            cache[number] = Last()
    """,
    "destructors that hold the cache": """
        class Last:
            def __init__(self, cache): self.cache = cache
            def __del__(self): self.cache.put("x", len(self.cache)); list(self.cache.items())
        cache = cls(10)
        for number in range(30):
            cache[number] = Last(cache)
    """,
    "a listener": """
        cache = cls(10, on_evict=lambda key, value, cause: str(key))
        cache.put_many((number, number) for number in range(30))
    """,
    "live iterators and views": """
        cache = cls(10)
        cache.put_many((number, number) for number in range(10))
        iterators = [iter(cache), reversed(cache.items()), cache.keys(), iter(cache.values())]
        next(iterators[0])
        sys.keep = iterators
    """,
    "a cache kept by the interpreter": """
        sys.keep = cls(10)
        sys.keep["self"] = sys.keep
        import atexit
        atexit.register(sys.keep.clear)
    """,
    "daemon threads that hammer": """
        cache = cls(50_000)
        keys = [f"key-{number}" for number in range(50_000)]
        cache.put_many(dict.fromkeys(keys, 1))
        def read():
            while True: cache.get_many(keys)
        def write():
            while True: cache.put_many(dict.fromkeys(keys[:500], 2)); cache.pop("key-3", None)
        for work in (read, write, read):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
    """,
    "a daemon thread inside a listener": """
        inside = threading.Event()
        def listen(key, value, cause):
            inside.set()
            while True: time.sleep(0.01)
        cache = cls(1, on_evict=listen)
        threading.Thread(target=lambda: cache.update(a=1, b=2), daemon=True).start()
        inside.wait(60)
    """,
}


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("body", EXITS.values(), ids=list(EXITS))
def test_interpreter_exits_quietly_with(cls, body):
    """Catch a crash, a hang or a complaint while the interpreter takes itself apart."""
    head = f"""
        import sys, threading, time
        import frys_cache
        cls = frys_cache.{cls}
    """
    run_quietly(head + body, seconds=60, leaks="daemon=True" not in body)


def test_sub_interpreter_imports_or_says_why_not():
    """Catch a second interpreter that crashes on the module's state."""
    done = run(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import frys_cache

        ours = frys_cache.MemoryCache(5)
        ours["a"] = 1
        CODE = '''
        try:
            import frys_cache
        except ImportError as error:
            assert str(error), "no reason given"
        else:
            cache = frys_cache.FrysCache(3)
            cache.update(a=1, b=2, c=3, d=4)
            assert list(cache) == ["b", "c", "d"]
            cache._check()
        '''
        import textwrap
        for _ in range(3):
            interpreter = interpreters.create()
            failure = getattr(interpreters, "exec", interpreters.run_string)(
                interpreter, textwrap.dedent(CODE)
            )
            assert failure is None, failure
            interpreters.destroy(interpreter)
        ours["b"] = 2
        ours._check()
        print("done")
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"


@every_class
def test_collector_is_shown_no_atoms(cls):
    """Catch a collector that walks entries which no cycle can run through."""
    cache = cls(10**6)
    nothing = len(gc.get_referents(cache))
    cache.put_many((f"key-{number}", number) for number in range(100_000))
    assert len(gc.get_referents(cache)) == nothing
    cache["container"] = [cache]
    assert any(one is cache["container"] for one in gc.get_referents(cache))


@not_sanitized
@every_class
def test_collection_beside_a_million_atoms_takes_no_longer(cls):
    """Catch a collection that is slow for another reason; the benchmark has the tight bound."""

    def full_collection():
        times = []
        for _ in range(5):
            start = time.perf_counter()
            gc.collect()
            times.append(time.perf_counter() - start)
        return min(times)

    cache = cls(10**6)
    measured = []
    for _ in range(6):  # on a busy machine one quiet moment will do
        cache.clear()
        empty = full_collection()
        cache.put_many((number, None) for number in range(10**6))
        full = full_collection()
        measured.append((empty, full))
        if full < 1.3 * empty + 0.003:
            return
    pytest.fail(f"seconds of a full collection (empty, full): {measured}")


def test_importing_the_package_imports_little():
    """Catch an import that drags optional packages in."""
    names = run_quietly(
        """
        import sys
        before = set(sys.modules)
        import frys_cache
        print(*sorted(name.partition(".")[0] for name in set(sys.modules) - before))
        """
    )
    optional = {"rocksdict", "redis", "msgspec", "zstandard", "rich", "numpy", "cachetools"}
    assert not optional & set(names.split())


if sys.platform == "linux":

    @not_sanitized
    @every_class
    def test_dropped_caches_give_their_memory_back(cls):
        """Catch a store, a table or a queue that is never freed."""
        run_quietly(
            """
            import resource, sys
            import frys_cache

            cls = getattr(frys_cache, sys.argv[1])

            def use():
                cache = cls(30_000, on_evict=lambda *event: None)
                cache.put_many((number, None) for number in range(40_000))
                cache._token("a")
                cache.clear()
                cache.put_many((number, None) for number in range(40_000))
                cache.__init__(10)
                cache.copy()

            def resident():
                return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

            for _ in range(10):
                use()
            before = resident()
            for _ in range(40):
                use()
            grown = resident() - before
            assert grown < 20_000_000, grown
            """,
            cls.__name__,
        )
