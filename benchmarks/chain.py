"""What the chain costs beside its tiers, its journal and its backend.

    python benchmarks/chain.py [--quick] [--folder DIR]

Each figure is a ratio or a difference of two things that take turns within one run: a round of one,
a round of the other, many times over; what is printed is the median of the rounds and their middle
half.  What one call takes is CPU time of its thread, so that neighbours on the machine do not
count.  Values are JSON text of 1 KiB as bytes.  The status is 1 when a promised ratio is broken;
microseconds are only reported.
"""

import argparse
import gc
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from persistent import make_values

from frys_cache import MISSING, ConsistencyManager, FrysCache, PersistentCache
from frys_cache.manager import CacheManager
from frys_cache.testing import FaultyTier
from frys_cache.tiers.rocks import open_rocks
from frys_cache.tiers.standin import StandInCache

FAILED = []


def say(what, bound, values, unit, promised=True):
    """Print a figure, and note it where it is beyond its bound."""
    values = sorted(values)
    middle = statistics.median(values)
    low, high = values[len(values) // 4], values[-1 - len(values) // 4]
    broken = middle > bound
    mark = "ok" if not broken else "BROKEN" if promised else "beyond"
    print(f"{what:58} {middle:8.3f} {unit:2} ({low:.3f}-{high:.3f})  at most {bound:<6} {mark}")
    if broken and promised:
        FAILED.append(what)


def per_call(act, *arguments):
    """Return the microseconds that a call takes, in the mean over these arguments."""
    keys = arguments[0]
    calls = list(zip(*arguments, strict=False))
    gc.disable()
    began = time.thread_time_ns()
    for call in calls:
        act(*call)
    took = time.thread_time_ns() - began
    gc.enable()
    return took / len(keys) / 1000


def over(tiers, **options):
    """Return a cache of 10 entries over these tiers."""
    cache = FrysCache(10)
    manager = CacheManager(tiers, **options)
    cache._attach(None, manager)
    return cache


def stand_in(rounds):
    """Measure a miss of memory that an in-memory tier answers."""
    tier = StandInCache()
    cache = over([tier])
    keys = [f"key:{n}" for n in range(1_000)]
    for key in keys:
        cache[key] = b"value"
    empty = per_call(lambda key: None, keys)
    times = [per_call(cache.get, keys) - empty for _ in range(rounds)]
    say("miss through memory to a stand-in tier, promoted", 3.0, times, "us", False)
    codes = [tier.codec.key(key) for key in keys]
    alone = [
        per_call(lambda code: tier.codec.decode(code, tier.tier.read([code])[0]), codes) - empty
        for _ in range(rounds)
    ]
    print(f"{'':4}of these its own read and decode: {statistics.median(alone):.2f} us")
    cache.close()


def hit_in_tiers(folder, rounds, values):
    """Measure hits in the second and third level against the sum of what is asked."""
    disk = PersistentCache(folder / "hits")
    keys = [f"key:{n}" for n in range(len(values))]
    for key, value in zip(keys, values, strict=True):
        disk[key] = value
    for compressor in disk.tier.compressors.values():
        compressor.settle(60)
    for key, value in zip(keys, values, strict=True):
        disk[key] = value
    disk.tier.rocks.flush()
    cache = over([disk])
    codes = [disk.codec.key(key) for key in keys]
    empty = per_call(lambda key: None, keys[:1000])
    ratios = []
    for at in range(rounds):
        part = slice(at * 500 % (len(keys) - 500), at * 500 % (len(keys) - 500) + 500)
        alone = per_call(
            lambda code: disk.codec.decode(code, disk.tier.read([code])[0]), codes[part]
        )
        ratios.append((per_call(cache.get, keys[part]) - empty) / (alone - empty))
    say("a hit in the persistent tier against its read + decode", 1.3, ratios, "x")
    lower = StandInCache()
    upper = PersistentCache(folder / "misses")
    cache = over([upper, lower])
    for key, value in zip(keys, values, strict=True):
        code = lower.codec.key(key)
        lower.tier.put_one(code, lower.codec.encode(code, value, 1, 0), 1, 0)
    names = [lower.codec.key(key) for key in keys]
    ratios = []
    for at in range(min(rounds, len(keys) // 500)):
        part = slice(at * 500, at * 500 + 500)

        def both(code):
            upper.tier.read([code])
            lower.codec.decode(code, lower.tier.read([code])[0])

        alone = per_call(both, names[part])
        ratios.append((per_call(cache.get, keys[part]) - empty) / (alone - empty))
        time.sleep(0.05)  # what is handed up has its own time
    say("a hit in a third level against both reads + decode", 1.3, ratios, "x")
    cache.close()
    disk.close()
    upper.close()


def write_back(folder, rounds, values):
    """Measure an acknowledged put against RocksDB's own."""

    class Sink:
        def load(self, key):
            return MISSING

        def store(self, key, value):
            pass

        def delete(self, key):
            pass

        def store_many(self, values):
            pass

    raw = open_rocks(str(folder / "raw"))
    rules = ConsistencyManager(
        "write-back",
        Sink(),
        max_delay=3600,
        max_dirty_entries=1_000_000,
        max_dirty_bytes=1 << 40,
        max_batch=1_000_000,
    )
    cache = FrysCache(1000, policy="lru", persistent=folder / "back", consistency=rules)
    ratios, times, number = [], [], 0
    for _ in range(rounds):
        names = [b"key:%d" % n for n in range(number, number + 1000)]
        texts = [f"key:{n}" for n in range(number, number + 1000)]
        number += 1000
        plain = per_call(raw.put_data, names, values)
        ours = per_call(cache.__setitem__, texts, values)
        ratios.append(ours / plain)
        times.append(ours)
    say("write-back put (process) against a raw rocksdict put", 2.0, ratios, "x")
    print(f"{'':4}{statistics.median(times):.2f} us a put")
    cache.close(timeout=60)
    raw.close()


def sustained(folder, seconds):
    """Measure puts over seconds to a backend that takes 5 ms a batch, both ways."""

    class Slow:
        rows = 0

        def load(self, key):
            return MISSING

        def store(self, key, value):
            time.sleep(0.005)
            Slow.rows += 1

        def store_many(self, values):
            time.sleep(0.005)
            Slow.rows += len(values)

        def delete(self, key):
            pass

    value = make_values(1)[0]
    through = FrysCache(1000, persistent=folder / "through", backend=Slow())
    count, end = 0, time.perf_counter() + min(seconds, 3)
    began = time.perf_counter()
    while time.perf_counter() < end:
        through[f"key:{count}"] = value
        count += 1
    slow = (time.perf_counter() - began) / count
    through.close()
    back = FrysCache(
        1000, persistent=folder / "sustained", backend=Slow(), consistency="write-back"
    )
    count, longest, end = 0, 0.0, time.perf_counter() + seconds
    began = time.perf_counter()
    while time.perf_counter() < end:
        before = time.perf_counter()
        back[f"key:{count}"] = value
        longest = max(longest, time.perf_counter() - before)
        count += 1
    fast = (time.perf_counter() - began) / count
    back.close(timeout=60)
    say(f"write-back put over {seconds} s against write-through", 0.02, [fast / slow], "x")
    print(f"{'':4}{fast * 1e6:.1f} us against {slow * 1e6:.0f}; the longest {longest * 1e3:.0f} ms")


def open_breaker(rounds):
    """Measure what a tier costs that is left alone, on a get that finds nothing."""
    tier, broken = StandInCache(), StandInCache(name="broken")
    faulty = broken.tier = FaultyTier(broken.tier)
    without, beside = over([tier]), over([broken, tier])
    level = beside.manager._levels[0]
    faulty.break_down()
    for _ in range(10):
        beside.get("x")
    differences = []
    keys = [f"key:{n}" for n in range(1000)]
    for _ in range(rounds):
        level.breaker._until = time.monotonic() + 3600  # no probe meanwhile
        assert not level.breaker.closed
        differences.append(per_call(beside.get, keys) - per_call(without.get, keys))
    say("a get with an open breaker, above one without that tier", 0.3, differences, "us", False)


def main():
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--folder", help="where the stores are made; by default a new one")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    rounds = 15 if options.quick else 41
    values = make_values(3_000 if options.quick else 20_000)
    try:
        stand_in(rounds)
        hit_in_tiers(folder, rounds, values)
        write_back(folder, rounds, values[:1000])
        sustained(folder, 3 if options.quick else 10)
        open_breaker(rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
