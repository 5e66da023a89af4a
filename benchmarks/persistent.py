"""The persistent tier, alone and below memory, beside raw RocksDB, diskcache, sqlite3 and lmdb.

    python benchmarks/persistent.py [--entries 30000] [--rounds 10] [--folder DIR]

All stores hold the same entries, JSON text of 1 KiB as bytes under str keys, and take turns: each
round runs a slice of each question for each store, so that a busy machine is busy for all.  Every
call is timed; what is printed is the median and the 99th percentile of all calls, less what the
clock itself takes, and the ratios that are promised, each against what was measured beside it.
`raw rocks` is RocksDB with our options, and zstd with our dictionary, in two plain statements: the
least that a compressed get can cost.  `FrysCache` stands over the tier of the first column, with a
memory of 10 entries, which misses.  A store that is not installed is left out.
The status is 1 when a promised ratio is broken; microseconds are only reported.
"""

import argparse
import json
import random
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

import zstandard

from frys_cache import FrysCache, PersistentCache
from frys_cache.tiers.rocks import open_rocks

BATCH = 100


def make_values(count):
    """Return JSON records of about 1 KiB as bytes."""
    rnd = random.Random(7)
    words = [f"{rnd.randrange(1 << 24):x}" for _ in range(400)]
    values = []
    for n in range(count):
        record = {
            "id": n,
            "name": " ".join(rnd.choices(words, k=3)),
            "active": rnd.random() < 0.5,
            "score": round(rnd.random() * 1000, 3),
            "tags": rnd.choices(words, k=8),
            "text": "",
        }
        while len(json.dumps(record)) < 1_000:
            record["text"] += rnd.choice(words) + " "
        values.append(json.dumps(record).encode())
    return values


class Ours:
    name = "PersistentCache"

    def __init__(self, folder):
        self.cache = PersistentCache(folder / "ours")
        self.get, self.put = self.cache.get, self.cache.put
        self.get_many = self.cache.get_many

    def settle(self):
        for compressor in self.cache.tier.compressors.values():
            compressor.settle(60)
        self.cache.tier.rocks.flush()

    def size(self):
        return self.cache.tier.size_on_disk()

    def close(self):
        self.cache.close()


class Below:
    """The same tier, below a memory that has nothing of it."""

    name = "FrysCache"

    def __init__(self, ours):
        self.cache = FrysCache(10, persistent=ours.cache)
        self.get, self.put = self.cache.get, self.cache.put
        self.get_many = self.cache.get_many
        self.settle, self.size = ours.settle, ours.size

    def close(self):
        self.cache.close()


class Raw:
    """Two statements, and nothing else that a cache needs."""

    name = "raw rocks + zstd"

    def __init__(self, folder, dictionary):
        self.rocks = open_rocks(str(folder / "raw"))
        data = zstandard.ZstdCompressionDict(dictionary)
        data.precompute_compress(level=3)
        read = self.rocks.get_data
        write = self.rocks.put_data
        decompress = zstandard.ZstdDecompressor(dict_data=data).decompress
        compress = zstandard.ZstdCompressor(
            level=3, dict_data=data, write_checksum=False, write_dict_id=False
        ).compress

        def get(key):
            return decompress(read(key.encode()))

        def put(key, value):
            write(key.encode(), compress(value))

        self.get, self.put, self.get_many = get, put, None

    def settle(self):
        self.rocks.flush()

    def size(self):
        return self.rocks.live_bytes()

    def close(self):
        self.rocks.close()


class Diskcache:
    name = "diskcache"

    def __init__(self, folder):
        import diskcache

        self.cache = diskcache.Cache(str(folder / "diskcache"), size_limit=1 << 40)
        self.get, self.put, self.get_many = self.cache.get, self.cache.set, None
        self.folder = folder / "diskcache"

    def settle(self):
        pass

    def size(self):
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def close(self):
        self.cache.close()


class Sqlite:
    name = "sqlite3"

    def __init__(self, folder):
        self.path = folder / "sqlite.db"
        self.db = sqlite3.connect(self.path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("CREATE TABLE t (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID")
        execute = self.db.execute

        def get(key):
            row = execute("SELECT v FROM t WHERE k = ?", (key,)).fetchone()
            return None if row is None else row[0]

        def put(key, value):
            execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (key, value))

        self.get, self.put, self.get_many = get, put, None

    def settle(self):
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def size(self):
        return sum(path.stat().st_size for path in self.path.parent.glob("sqlite.db*"))

    def close(self):
        self.db.close()


class Lmdb:
    name = "lmdb"

    def __init__(self, folder):
        import lmdb

        self.folder = folder / "lmdb"
        self.env = lmdb.open(str(self.folder), map_size=4 << 30, sync=False)
        env = self.env

        def get(key):
            with env.begin() as transaction:
                return transaction.get(key.encode())

        def put(key, value):
            with env.begin(write=True) as transaction:
                transaction.put(key.encode(), value)

        self.get, self.put, self.get_many = get, put, None

    def settle(self):
        pass

    def size(self):
        return (self.folder / "data.mdb").stat().st_blocks * 512

    def close(self):
        self.env.close()


def clock_cost():
    """Return the nanoseconds between two readings with an empty call in between."""
    now, call = time.perf_counter_ns, (lambda key: None)
    costs = []
    for key in range(20_000):
        begin = now()
        call(key)
        costs.append(now() - begin)
    return statistics.median(costs)


def timed(call, arguments):
    """Return the nanoseconds of each call."""
    now, costs = time.perf_counter_ns, []
    for argument in arguments:
        begin = now()
        call(*argument)
        costs.append(now() - begin)
    return costs


class Board:
    """What was measured: nanoseconds by question and store."""

    def __init__(self):
        self.costs = {}
        self.clock = clock_cost()

    def add(self, question, store, costs):
        self.costs.setdefault((question, store.name), []).extend(costs)

    def median(self, question, name):
        return (statistics.median(self.costs[question, name]) - self.clock) / 1_000

    def p99(self, question, name):
        costs = sorted(self.costs[question, name])
        return (costs[len(costs) * 99 // 100] - self.clock) / 1_000

    def show(self, questions, stores):
        print(f"{'us, p50 / p99':<18}" + "".join(f"{store.name:>20}" for store in stores))
        for question in questions:
            row = f"{question:<18}"
            for store in stores:
                if (question, store.name) not in self.costs:
                    row += f"{'-':>20}"
                    continue
                p50, p99 = self.median(question, store.name), self.p99(question, store.name)
                row += f"{p50:>11.2f} / {p99:>6.1f}"
            print(row)


def opened(folder):
    """Return the stores, ours first; those that are not installed are left out."""
    ours = Ours(folder)
    # The dictionary is learned from what is written: it is the same for the raw contender.
    for n, value in enumerate(make_values(2_500)):
        ours.put(f"warm:{n}", value)
    ours.settle()
    compressor = next(iter(ours.cache.tier.compressors.values()))
    name = b"dictionary:" + compressor.dictionary_id.to_bytes(4, "big")
    ours.cache.delete_many([f"warm:{n}" for n in range(2_500)])
    stores = [ours, Below(ours), Raw(folder, ours.cache.tier.rocks.get("meta", name))]
    for kind in (Diskcache, Sqlite, Lmdb):
        try:
            stores.append(kind(folder))
        except ModuleNotFoundError as error:
            print(f"NOTICE: {kind.name} left out: {error}")
    return stores


def measure(folder, entries, rounds):
    """Print the table and the ratios."""
    values = make_values(5_000)
    keys = [f"user:{n:07d}" for n in range(entries)]
    stores = opened(folder)
    board = Board()
    step = entries // rounds

    def value(n):
        return values[n % len(values)]

    for at in range(0, step * rounds, step):
        for store in stores:
            pairs = [(keys[n], value(n)) for n in range(at, at + step)]
            board.add("put new", store, timed(store.put, pairs))
    for store in stores:
        store.settle()
        for key in keys[: step * rounds]:
            store.get(key)
    order = keys[: step * rounds]
    random.Random(3).shuffle(order)
    questions = ["put new", "get", "get absent", "put over", "get 100 (each)", "get_many 100"]
    for at in range(0, step * rounds, step):
        mine = order[at : at + step]
        batches = [(mine[n : n + BATCH],) for n in range(0, len(mine) - BATCH + 1, BATCH)]
        for store in stores:
            board.add("get", store, timed(store.get, [(key,) for key in mine]))
        for store in stores:
            if store.name != "raw rocks + zstd":
                absent = [("no" + key,) for key in mine]
                board.add("get absent", store, timed(store.get, absent))
        for store in stores:
            get = store.get
            one_by_one = timed(lambda keys, get=get: [get(key) for key in keys], batches)
            board.add("get 100 (each)", store, one_by_one)
            if store.get_many is not None:
                board.add("get_many 100", store, timed(store.get_many, batches))
    for at in range(0, step * rounds, step):
        for store in stores:
            pairs = [(order[n], value(n + 11)) for n in range(at, at + step)]
            board.add("put over", store, timed(store.put, pairs))
    board.show(questions, stores)
    kept = report(board, stores)
    for store in stores:
        store.settle()
    # What was overwritten is there until RocksDB has compacted its files, as it does by itself.
    stores[0].cache.compact()
    sizes = {store.name: store.size() / (1 << 20) for store in stores}
    print("MiB on disk: " + ", ".join(f"{name} {size:.1f}" for name, size in sizes.items()))
    for store in reversed(stores):
        store.close()
    return settled(sizes) and kept


def settled(sizes):
    """Print the promise on sizes and return whether it is kept."""
    if Diskcache.name not in sizes:
        return True
    return promised("bytes on disk / diskcache", sizes[Ours.name] / sizes[Diskcache.name], 0.5)


def promised(what, figure, most):
    """Print a figure beside its bound and return whether it is kept."""
    print(f"{what:<32} {figure:>8.2f}   at most {most:<6} {'' if figure <= most else 'MISSED'}")
    return figure <= most


def report(board, stores):
    """Print each promise and what was found; return whether all ratios are kept."""
    me, names = Ours.name, {store.name for store in stores}
    many, single = board.median("get_many 100", me), board.median("get 100 (each)", me)
    found = [
        ("get / (raw get + decode)", board.median("get", me) / board.median("get", Raw.name), 1.5),
        ("get_many of 100 / 100 gets", many / single, 0.6),
        (
            "get, memory missed / tier alone",
            board.median("get", Below.name) / board.median("get", me),
            1.3,
        ),
    ]
    if "diskcache" in names:
        for question, most in (("get", 1.3), ("put new", 0.6), ("put over", 0.6)):
            ratio = board.median(question, me) / board.median(question, "diskcache")
            found.append((f"{question} / diskcache", ratio, most))
    broken = [row for row in found if not promised(*row)]
    for question, percentile, most in (
        ("get", board.median, 10),
        ("get", board.p99, 30),
        ("put new", board.median, 20),
        ("put over", board.median, 20),
        ("put new", board.p99, 100),
        ("put over", board.p99, 100),
        ("get absent", board.median, 1),
    ):
        name = "p99" if percentile == board.p99 else "p50"
        promised(f"{question} {name}, us", percentile(question, me), most)
    return not broken


def main():
    parser = argparse.ArgumentParser(description="The persistent tier beside other stores.")
    parser.add_argument("--entries", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where to write; by default a temporary one")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="frys-bench-", dir=options.folder))
    try:
        kept = measure(folder, options.entries, options.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
