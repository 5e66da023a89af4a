"""A backend that does as it is told, and write-backs in front of it, for the tests of both."""

import contextlib
import threading

from frys_cache.codec.entry import Codec
from frys_cache.tiers.disk import DiskTier
from frys_cache.tiers.face import SyncFace, run_sync
from frys_cache.tiers.store import open_store
from frys_cache.types import MISSING
from frys_cache.writeback.writeback import WriteBack

SYNC = SyncFace()
# More than any file system has free.
ALL_OF_IT = 1 << 62


class Backend:
    """What writes are brought to: a dict, which may be down, refuse keys, or be held."""

    def __init__(self):
        self.values = {}
        self.versions = {}
        self.batches = []
        self.down = False
        self.poison = set()
        self.calls = 0
        self.disorder = []
        self.began = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.writes = None

    def send(self, puts, deletes):
        self.calls += 1
        self.began.set()
        assert self.go.wait(30)
        if self.down:
            raise ConnectionError("the backend is down")
        if any(op.key in self.poison for op in puts + deletes):
            raise ValueError("the backend refuses this key")
        self.batches.append((len(puts), len(deletes)))
        for op in puts + deletes:
            if self.versions.get(op.key, 0) > op.version:
                self.disorder.append(op.key)
            self.versions[op.key] = op.version
        for op in puts:
            self.values[op.key] = self.writes.value_of(op)
        for op in deletes:
            self.values.pop(op.key, None)

    @contextlib.contextmanager
    def held(self):
        """Let the next batch wait inside of the backend, until the end of this."""
        self.began.clear()
        self.go.clear()
        try:
            yield
        finally:
            self.go.set()


class Desk:
    """A write-back, with its tier and its backend, and the short way to write."""

    def __init__(self, folder=None, *, backend=None, tier=None, codec=None, **options):
        self.backend = backend or Backend()
        self.codec = codec if codec is not None or folder is None else Codec()
        self.tier = tier
        if tier is None and folder is not None:
            self.tier = DiskTier(open_store(folder / "db"))
        self.number = 0
        self.events = []
        options.setdefault("max_delay", 3600.0)
        options.setdefault("send", self.backend.send)
        if self.tier is None:
            options["durability"] = "memory"
        self.writes = WriteBack(
            codec=self.codec,
            tier=self.tier,
            on_event=lambda kind, detail: self.events.append(kind),
            **options,
        )
        self.backend.writes = self.writes

    def code(self, key):
        return self.codec.key(key) if self.codec is not None else key

    def version(self):
        if self.tier is not None:
            return self.tier.versions.next()
        self.number += 1
        return self.number

    def put(self, key, value, version=0, expires_ms=0):
        arguments = self.code(key), key, value, version or self.version(), expires_ms
        return run_sync(self.writes.put(SYNC, *arguments))

    def put_many(self, entries):
        many = [(self.code(key), key, value, self.version(), 0) for key, value in entries.items()]
        return run_sync(self.writes.put_many(SYNC, many))

    def delete(self, key, version=0):
        return run_sync(self.writes.delete(SYNC, self.code(key), key, version or self.version()))

    def dirty(self, key):
        """Return what a reader finds before it looks below: a value, MISSING, or None."""
        op = self.writes.find(self.code(key))
        return None if op is None else self.writes.value_of(op)

    def get(self, key):
        """Return what a reader finds: what is dirty, else what is on the disk."""
        found = self.dirty(key)
        if found is None:
            record = self.tier.read_one(self.code(key))
            found = MISSING if record is None else self.codec.decode(self.code(key), record)[0]
        return found

    def journal(self):
        """Return the codes in the journal."""
        return self.tier.rocks.keys("journal", b"", None, 1_000_000)

    def flush(self, timeout=20):
        return run_sync(self.writes.flush(SYNC, timeout))

    def close(self, timeout=10):
        report = run_sync(self.writes.close(SYNC, timeout))
        if self.tier is not None:
            self.tier.close()
        return report

    @contextlib.contextmanager
    def full_disk(self):
        """Have no space left, for a while."""
        reserve = self.tier.store._reserve
        before = reserve._min_free_bytes
        try:
            reserve._min_free_bytes, reserve._asked_at = ALL_OF_IT, None
            self.tier._budget = -1
            yield
        finally:
            reserve._min_free_bytes, reserve._asked_at = before, None
            self.tier._budget = -1
