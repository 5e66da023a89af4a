"""A write-back's put against RocksDB's own, in the same process, with 1 KiB values.

    python benchmarks/writeback.py [rounds]

Rounds of each kind take turns.  "at rest": the flusher waits; "at work": it sends, compresses and
moves all the time.  The version is drawn beforehand, as is the code of the key: the manager has
both.  Prints the median and the mean of a put, and both as a multiple of the raw one.
"""

import os
import statistics
import sys
import tempfile
import time

import rocksdict

from frys_cache.codec.compression import Compressor
from frys_cache.codec.entry import Codec
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.face import SyncFace, run_sync
from frys_cache.tiers.store import open_store
from frys_cache.writeback.writeback import WriteBack

PUTS = 2_000
VALUE = os.urandom(512) + bytes(512)
SYNC = SyncFace()


def measure(put):
    """Return the nanoseconds that each of so many puts takes."""
    clock = time.perf_counter_ns
    times = []
    for n in range(PUTS):
        begin = clock()
        put(n)
        times.append(clock() - begin)
    return times


class Kind:
    """One way to put, and what it took."""

    def __init__(self, tier, name, **options):
        self.codec = Codec(namespace=name, compressor=Compressor(3))
        self.tier = tier
        self.writes = WriteBack(codec=self.codec, tier=tier, **options)
        self.medians, self.means = [], []

    def run(self, turn, now):
        keys = [b"key:%d:%08d" % (now, turn * PUTS + n) for n in range(PUTS)]
        codes = [self.codec.key(key) for key in keys]
        versions = [self.tier.versions.next() for _ in keys]
        put, put_now = self.writes.put, self.writes.put_now
        if now:
            times = measure(lambda n: put_now(codes[n], keys[n], VALUE, versions[n], 0))
        else:
            times = measure(lambda n: run_sync(put(SYNC, codes[n], keys[n], VALUE, versions[n], 0)))
        run_sync(self.writes.flush(SYNC))
        return times


def main(rounds):
    folder = tempfile.mkdtemp()
    raw = rocksdict.Rdict(folder + "/raw", rocksdict.Options(raw_mode=True))
    tier = DiskTier(open_store(folder + "/db"))
    rest = Kind(tier, "rest", send=None, max_delay=3_600.0, max_batch=1 << 30)
    work = Kind(tier, "work", send=lambda puts, deletes: None, max_delay=0.0)
    times = {"raw": [], "put, at rest": [], "put_now, at rest": []}
    times |= {"put, at work": [], "put_now, at work": []}
    for turn in range(rounds):
        codes = [b"\x04rest" + b"bkey:0:%08d" % (turn * PUTS + n) for n in range(PUTS)]
        times["raw"].append(measure(lambda n, codes=codes: raw.put(codes[n], VALUE)))
        times["put, at rest"].append(rest.run(turn, 0))
        times["put_now, at rest"].append(rest.run(turn, 1))
        times["put, at work"].append(work.run(turn, 0))
        times["put_now, at work"].append(work.run(turn, 1))
    base = None
    for name, rows in times.items():
        median = statistics.median(statistics.median(row) for row in rows) / 1_000
        mean = statistics.median(statistics.fmean(row) for row in rows) / 1_000
        base = base or (median, mean)
        print(
            f"{name:17} median {median:6.2f} us = {median / base[0]:.2f} x raw"
            f"   mean {mean:6.2f} us = {mean / base[1]:.2f} x raw"
        )
    for kind in (rest, work):
        run_sync(kind.writes.close(SYNC))
    tier.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
