"""A cache over a disk through its life: admission, warming, pickles, forks, exits, closing."""

import contextlib
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
import rocksdict  # noqa: F401  left out where it is not installed
from tiered import disk_of, open_cache

from frys_cache import (
    CacheBuilder,
    CacheClosed,
    CacheConfig,
    ConfigurationError,
    FrysCache,
    PersistentCache,
    TierLockedError,
)


def run(code, *arguments, **options):
    """Run a program in a process of its own; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


# ---- admission ----------------------------------------------------------------------------------


def test_on_evict_writes_what_memory_evicts(tmp_path):
    """Catch an eviction that loses a value, or a put that writes it twice."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(2, policy="lru", persistent=disk)
        cache.update(a=1, b=2)
        assert len(disk) == 0
        cache["c"] = 3
        assert dict(disk.items()) == {"a": 1}
        assert cache["a"] == 1
        cache.close()
        assert dict(disk.items()) == {"a": 1, "b": 2, "c": 3}


def test_on_evict_overwrite_leaves_no_old_value_below(tmp_path):
    """Catch an old value on disk that comes back when the new one is gone."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(2, policy="lru", persistent=disk)
        cache.update(a="old", b=2, c=3)
        assert disk["a"] == "old"
        cache["a"] = "new"
        assert "a" not in disk
        assert cache["a"] == "new"
        del cache["a"]
        assert cache.get("a") is None


def test_on_evict_of_what_was_overwritten_writes_the_new_value(tmp_path):
    """Catch an eviction that is told late and writes what is no longer true."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(2, policy="lru", persistent=disk)
        cache["b"] = "old"
        cache["x"] = 1
        cache.update([("a", 1), ("b", "new")])
        for key in "yzw":
            cache[key] = 1
        assert cache["b"] == "new"
        del cache["a"]
        cache.close()
        assert disk["b"] == "new"
        assert "a" not in disk


def test_on_evict_beside_threads_brings_nothing_back(tmp_path):
    """Catch a deleted key that an eviction writes below."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(4, policy="lru", persistent=disk)
        stop = threading.Event()

        def churn():
            number = 0
            while not stop.is_set():
                number += 1
                cache[("noise", number % 20)] = number

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for number in range(2_000):
                cache["k"] = number
                assert cache.get("k", number) == number
                del cache["k"]
                assert cache.get("k") is None
        except KeyError:
            pytest.fail("acknowledged and gone")
        finally:
            stop.set()
            thread.join()
        assert "k" not in disk


def test_on_evict_entry_with_a_ttl_keeps_it_below(tmp_path):
    """Catch a value that memory evicts and that lives for ever below."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(1, persistent=disk)
        cache.put("a", 1, ttl=50)
        cache["b"] = 2
        assert 49 < disk.ttl_of("a") <= 50
        assert 49 < cache.ttl_of("a") <= 50


WAYS = {
    "put": lambda cache, value: cache.put("big", value),
    "put_many": lambda cache, value: cache.put_many({"big": value}),
    "add": lambda cache, value: cache.add("big", value),
    "get_or_set": lambda cache, value: cache.get_or_set("big", lambda: value),
}


@pytest.mark.parametrize("store", WAYS.values(), ids=list(WAYS))
def test_on_evict_value_too_heavy_for_memory_goes_below(tmp_path, store):
    """Catch a value that is acknowledged and is nowhere, or that is held for ever."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(max_size_bytes=1_000, persistent=disk)
        value = b"x" * 5_000
        store(cache, value)
        assert len(cache) == 0
        assert disk["big"] == value
        assert cache["big"] == value
        assert len(cache.manager._held) == 0


def test_on_evict_load_beside_a_write_leaves_the_write(tmp_path):
    """Catch a loaded value that takes the place of what was stored while it was loaded."""
    with PersistentCache(tmp_path / "db", admission="on-evict") as disk:
        cache = FrysCache(2, policy="lru", persistent=disk)
        cache.get_or_set("a", lambda: cache.put("a", "put") or "loaded")
        cache.get_or_set("b", lambda: cache.put("b", "put", ttl=60) or "loaded")
        cache.get_or_set("c", lambda: cache.put("c", "put") or cache.delete("c") or "loaded")
        cache.close()
        assert dict(disk.items()) == {"a": "put", "b": "put"}


def test_second_hit_overwrites_what_is_below_in_any_case(tmp_path):
    """Catch a new value that is not admitted, and takes the old one from the disk."""
    with PersistentCache(tmp_path / "db", admission="second-hit") as disk:
        cache = FrysCache(10, persistent=disk)
        cache["a"] = cache["a"] = 1
        assert disk["a"] == 1
        disk.admission._young = bytearray(len(disk.admission._young))
        disk.admission._old = bytearray(len(disk.admission._old))
        cache["a"] = 2
        assert disk["a"] == 2


def test_second_hit_writes_what_is_stored_again(tmp_path):
    """Catch an admission that the chain does not ask, or that hides a newer value."""
    with PersistentCache(tmp_path / "db", admission="second-hit") as disk:
        cache = FrysCache(10, persistent=disk)
        cache["a"] = 1
        assert "a" not in disk
        cache["a"] = 2
        assert disk["a"] == 2
        cache["a"] = 3
        assert disk["a"] == 3


# ---- warm restart -------------------------------------------------------------------------------


def test_warm_on_open_fills_memory_with_the_newest(tmp_path):
    """Catch a warming that takes any entries, evicts what it read, or reports nothing."""
    told = []
    with open_cache(tmp_path, 10) as cache:
        cache.update({number: number for number in range(500)})
        cache[0] = "newest"
    with PersistentCache(
        tmp_path / "db", warm_on_open=lambda done, total: told.append((done, total))
    ) as disk:
        cache = FrysCache(300, persistent=disk)
        assert set(cache) == {0, *range(201, 500)}
        assert cache.peek(0) == "newest"
        assert told == [(200, 300), (300, 300)]
        assert cache.stats().evictions == 0
        small = FrysCache(max_size_bytes=1_000, persistent=disk)
        assert 0 < len(small) < 300
        assert small.peek(0) == "newest" or small.stats().evictions


def test_warm_on_open_whose_progress_raises_passes_it_on(tmp_path):
    """Catch a progress bar that cannot stop the warming."""

    def stop(done, total):
        raise KeyboardInterrupt

    with open_cache(tmp_path) as cache:
        cache["a"] = 1
    with (
        PersistentCache(tmp_path / "db", warm_on_open=stop) as disk,
        pytest.raises(KeyboardInterrupt),
    ):
        FrysCache(10, persistent=disk)


# ---- configuration and pickles ------------------------------------------------------------------


def test_builder_and_config_and_arguments_make_the_same(tmp_path):
    """Catch a way of making a cache that forgets what another remembers."""
    builder = CacheBuilder().with_memory_lru(10).with_persistent(tmp_path / "db").with_ttl(60)
    config = CacheConfig(10, policy="lru", persistent=tmp_path / "db", ttl=60)
    assert builder.config() == config
    for make in (builder.build, lambda: FrysCache.from_config(config)):
        with make() as cache:
            cache["a"] = 1
            assert (cache.maxsize, cache.policy) == (10, "lru")
            assert 59 < disk_of(cache).ttl_of("a") <= 60
            assert cache.manager.config == config


def test_pickled_cache_opens_its_tiers_at_first_use(tmp_path):
    """Catch a pickle that carries entries, opens files when loaded, or forgets its options."""
    cache = open_cache(tmp_path, 20, policy="lru", ttl=60, name="users")
    cache["a"] = 1
    state = pickle.dumps(cache)
    cache.close()
    twin = pickle.loads(state)
    assert (twin.maxsize, twin.policy, twin.name, len(twin)) == (20, "lru", "users", 0)
    # Nothing is open yet: another process could have the path.
    run(
        "import sys; from frys_cache import PersistentCache as P; P(sys.argv[1]).close()",
        tmp_path / "db",
    )
    assert twin["a"] == 1
    twin["b"] = 2
    assert 59 < disk_of(twin).ttl_of("b") <= 60
    again = pickle.loads(pickle.dumps(twin))
    twin.close()
    assert again.get_many(["a", "b"]) == [1, 2]
    again.close()
    with pytest.raises(CacheClosed):
        pickle.dumps(again)


def test_pickled_cache_used_by_many_threads_opens_once(tmp_path):
    """Catch two threads that open the tiers of one cache, and leave one open for ever."""
    with open_cache(tmp_path) as cache:
        cache["a"] = 1
        twin = pickle.loads(pickle.dumps(cache))
    found = []
    threads = [threading.Thread(target=lambda: found.append(twin["a"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8
    twin.close()
    run(
        "import sys; from frys_cache import PersistentCache as P; P(sys.argv[1]).close()",
        tmp_path / "db",
    )


class Named(FrysCache):
    """A subclass with an attribute of its own."""

    def __init__(self, path):
        super().__init__(10, persistent=path)
        self.colour = "red"


def test_pickled_subclass_keeps_its_attributes(tmp_path):
    """Catch attributes that only a cache in memory keeps."""
    with Named(tmp_path / "db") as cache:
        cache["a"] = 1
        twin = pickle.loads(pickle.dumps(cache))
        assert (type(twin), twin.colour, twin["a"]) == (Named, "red", 1)
        twin.close()
        assert copy.copy(cache).colour == "red"
        assert copy.copy(cache).tiers == {}


# ---- who holds the path -------------------------------------------------------------------------


def test_second_process_is_refused_in_time_and_told_the_ways_out(tmp_path):
    """Catch an error that only says LOCK, or that comes after a long wait."""
    with open_cache(tmp_path) as cache:
        cache["a"] = 1
        told = run(
            """
import sys, time
from frys_cache import FrysCache, PersistentCache, TierLockedError
PersistentCache(sys.argv[1] + ".other").close()
started = time.perf_counter()
try:
    FrysCache(10, persistent=sys.argv[1])
except TierLockedError as error:
    print(time.perf_counter() - started)
    print(error)
for on_locked in "memory-only", "secondary":
    disk = PersistentCache(sys.argv[1], on_locked=on_locked)
    cache = FrysCache(10, persistent=disk)
    print(cache.get("a"))
    cache["b"] = 2
    print(cache["b"], cache.peek("b"))
    cache.close()
    disk.close()
""",
            tmp_path / "db",
        )
        seconds, message, *answers = told.splitlines()
        assert float(seconds) < 0.2
        for way in ("memory-only", "secondary", "{pid}", "Redis", str(os.getpid())):
            assert way in message
        assert answers == ["None", "2 2", "1", "2 2"]
        assert dict(disk_of(cache).items()) == {"a": 1}


def test_path_of_a_process_of_its_own(tmp_path):
    """Catch a {pid} that is taken literally."""
    with FrysCache(10, persistent=tmp_path / "db-{pid}") as cache:
        cache["a"] = 1
    assert (tmp_path / f"db-{os.getpid()}").is_dir()


def test_caches_of_one_path_share_it_and_stay_apart(tmp_path):
    """Catch a second cache that is locked out, or that closes the first one's database."""
    with open_cache(tmp_path, namespace="a") as one, open_cache(tmp_path, namespace="b") as two:
        one["k"], two["k"] = 1, 2
        one._forget("k"), two._forget("k")
        assert (one["k"], two["k"]) == (1, 2)
        two.clear()
        two.close()
        one._forget("k")
        assert one["k"] == 1


def test_forgotten_cache_gives_its_path_back(tmp_path):
    """Catch a cache that was never closed and holds its path until the process ends."""
    cache = open_cache(tmp_path)
    cache["a"] = 1
    del cache
    gc.collect()
    run(
        "import sys; from frys_cache import FrysCache as F; c = F(1, persistent=sys.argv[1]);"
        "assert c['a'] == 1; c.close()",
        tmp_path / "db",
    )


def test_process_without_a_registered_type_leaves_its_objects_alone(tmp_path):
    """Catch a reader that deletes what it does not know."""
    write = """
import sys
from dataclasses import dataclass
from frys_cache import FrysCache, register_type

@dataclass
class Point:
    x: int

cache = FrysCache(10, persistent=sys.argv[1])
if sys.argv[2] != "unregistered":
    register_type(Point, name="point")
if sys.argv[2] == "write":
    cache["a"] = Point(1)
    cache._forget("a")
print(cache.get("a"), cache.get_many(["a"]), cache.tiers["persistent"].stats().corrupt)
"""
    for how, answer in (
        ("write", "Point(x=1) [Point(x=1)] 0\n"),
        ("unregistered", "None [None] 0\n"),
        ("registered", "Point(x=1) [Point(x=1)] 0\n"),
    ):
        assert run(write, tmp_path / "db", how) == answer


@pytest.mark.parametrize("missing", ["rocksdict", "zstandard", "msgspec"])
def test_cache_without_an_optional_package(tmp_path, missing):
    """Catch an import that needs an extra, or an error that does not say what to install."""
    told = run(
        """
import sys
sys.modules[sys.argv[2]] = None
from frys_cache import ConfigurationError, FrysCache, PersistentCache
cache = FrysCache(10)
cache["a"] = 1
for options in {}, {"compression": False}:
    try:
        with FrysCache(10, persistent=sys.argv[1], **options) as cache:
            cache["a"] = {"b": (1,)}
            cache._forget("a")
            print(cache["a"])
    except ConfigurationError as error:
        print(error)
""",
        tmp_path / "db",
        missing,
    ).splitlines()
    fails = {"rocksdict": [True, True], "zstandard": [True, False], "msgspec": [False, False]}
    assert ["pip install 'frys-cache[persistent]'" in line for line in told] == fails[missing]
    assert all(line == "{'b': (1,)}" for line in told if "pip" not in line)


# ---- fork, exit, kill ---------------------------------------------------------------------------


def test_forked_child_works_in_memory_and_costs_the_parent_nothing(tmp_path):
    """Catch a child that writes into its parent's files, or hangs, or cannot use its memory."""
    with open_cache(tmp_path) as cache:
        cache.update(a=1, b=2)
        cache._forget("b")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                signal.alarm(20)
                told = [cache["a"], cache.get("b"), "b" in cache]
                cache["c"] = 3
                told += [cache["c"], cache.incr("n"), cache.incr("n"), cache["n"]]
                told += [cache.add("n", 9), cache.replace("n", 7), cache.pop("n"), cache.touch("c")]
                told += [cache.delete("a"), cache.get_or_set("d", lambda: 4), sorted(cache)]
                os.write(writer, repr(told).encode())
                cache.close()
            os._exit(0)
        os.close(writer)
        told = os.read(reader, 1_000).decode()
        assert os.waitpid(child, 0)[1] == 0
        assert told == repr([1, None, False, 3, 1, 2, 2, False, True, 7, True, True, 4, ["c", "d"]])
        assert cache.get_many(["a", "b", "c"]) == [1, 2, None]
        cache["d"] = 4
    with open_cache(tmp_path) as cache:
        assert cache.get_many(["a", "b", "c", "d"]) == [1, 2, None, 4]


def test_exit_without_close_loses_nothing(tmp_path):
    """Catch a value that is only written when somebody closes, or an exit that hangs."""
    run(
        """
import sys
from frys_cache import FrysCache
cache = FrysCache(10, persistent=sys.argv[1])
cache.update({number: number for number in range(1000)})
""",
        tmp_path / "db",
    )
    with open_cache(tmp_path) as cache:
        assert cache.get_many(range(1000)) == list(range(1000))


def test_killed_process_loses_no_acknowledged_write(tmp_path):
    """Catch a put that returns before it would outlive the process."""
    acknowledged = -1
    for _ in range(3):
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                """
import sys, itertools
from frys_cache import FrysCache
cache = FrysCache(100, persistent=sys.argv[1])
for number in itertools.count(int(sys.argv[2])):
    cache[number] = {"number": number}
    print(number, flush=True)
""",
                str(tmp_path / "db"),
                str(acknowledged + 1),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 0.5
        for line in child.stdout:
            acknowledged = int(line)
            if time.monotonic() > deadline:
                break
        child.kill()
        acknowledged = max([acknowledged, *map(int, child.stdout.read().split("\n")[:-1])])
        child.stdout.close()
        child.wait()
    with open_cache(tmp_path) as cache:
        numbers = range(acknowledged + 1)
        assert cache.get_many(numbers) == [{"number": number} for number in numbers]


@pytest.mark.parametrize("again", [False, True])
def test_close_beside_working_threads_hangs_nobody(tmp_path, again):
    """Catch a close that waits for readers, or that leaves the path locked."""
    cache = open_cache(tmp_path)
    cache.update({number: number for number in range(1_000)})
    errors = []

    def work():
        try:
            for number in range(10**9):
                cache.get(number % 2_000)
                cache[number % 1_000] = number
        except CacheClosed:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    closers = [threading.Thread(target=cache.close) for _ in range(1 + again)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    for thread in closers:
        thread.start()
    for thread in [*threads, *closers]:
        thread.join(10)
        assert not thread.is_alive()
    assert errors == []
    with open_cache(tmp_path) as cache:
        assert cache.get(1_500) is None


def test_error_while_opening_leaves_nothing_open(tmp_path):
    """Catch a path that stays locked because a cache could not be made."""
    with pytest.raises(ConfigurationError):
        FrysCache(0, persistent=tmp_path / "db")
    with pytest.raises(ConfigurationError):
        open_cache(tmp_path, compression_level=99)
    assert not (tmp_path / "db").exists()
    with open_cache(tmp_path) as cache, pytest.raises(TierLockedError):
        cache["a"] = 1
        raise TierLockedError("any error leaves through the context manager")
    with open_cache(tmp_path) as cache:
        assert cache["a"] == 1
