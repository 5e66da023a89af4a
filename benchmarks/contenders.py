"""One small adapter per library, so that every contender answers the same questions.

An adapter is data: how to make a bounded cache, and for each operation the statement a user of
that library would write.  The statements are compiled into the timed loops (see timing.py), so
nobody pays for a wrapper; an operation a library does not have natively is not in its table.  A
package that is not installed is left out with a notice.

In a statement `c` is the cache, `k` a key, `v` a value, `b` a batch: a list of keys for `get_many`,
a mapping for `put_many`, a list of pairs for `put_pairs`.
"""

import dataclasses
import functools
import importlib
import operator
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Contender:
    """Describe one library: `make(capacity)` gives an empty cache, `ops` its statements by name."""

    name: str
    make: Callable[[int], Any]
    ops: dict[str, str] = field(hash=False)
    package: str | None = None
    # A TinyLFU cache may refuse a new key: it gets twice the room where all lookups have to hit.
    spare: int = 1

    def filled(self, keys, values, capacity=None):
        """Return a cache that holds `keys`, all of them when `capacity` is not given."""
        cache = self.make(capacity or self.spare * len(keys))
        scope: dict[str, Any] = {}
        exec(f"def fill(c, pairs):\n    for k, v in pairs:\n        {self.ops['set']}", scope)
        scope["fill"](cache, zip(keys, values, strict=True))
        return cache

    @property
    def version(self):
        """Return the installed version, or an empty string for what comes with Python."""
        return metadata.version(self.package) if self.package else ""


MAPPING = {
    "getitem": "c[k]",
    "get": "c.get(k)",
    "set": "c[k] = v",
    "contains": "k in c",
    "setdefault": "c.setdefault(k, v)",
    "delete": "del c[k]; c[k] = v",
    "put_many": "c.update(b)",
    "put_pairs": "c.update(b)",
    "iterate": "list(c)",
}
OURS = MAPPING | {
    "get_many": "c.get_many(b)",
    "put_many": "c.put_many(b)",
    "put_pairs": "c.put_many(b)",
}
CALL = "c(k)"


def _dict(module):
    return Contender("dict", lambda capacity: {}, MAPPING)


def _lru_cache(module):
    # It decorates a function, here the cheapest one there is; a hit and an insert are both a call.
    ops = {"get": CALL, "set": CALL}
    return Contender("lru_cache", lambda n: functools.lru_cache(n)(operator.truth), ops)


def _cachetools(module):
    return Contender("cachetools", module.LRUCache, MAPPING, "cachetools")


def _cachebox(module):
    return Contender("cachebox", module.LRUCache, MAPPING, "cachebox")


def _lru_dict(module):
    # It has no __iter__, and its update() silently ignores a list of pairs.
    ops = {name: statement for name, statement in MAPPING.items() if name != "put_pairs"}
    return Contender("lru-dict", module.LRU, ops | {"iterate": "c.keys()"}, "lru-dict")


def _theine(module):
    ops = {"get": "c.get(k)", "set": "c.set(k, v)", "delete": "c.delete(k); c.set(k, v)"}
    return Contender("theine", module.Cache, ops, "theine", spare=2)


def _moka(module):
    ops = {"get": "c.get(k)", "set": "c.set(k, v)", "delete": "c.remove(k); c.set(k, v)"}
    return Contender("moka-py", lambda n: module.Moka(n, policy="lru"), ops, "moka-py", spare=2)


def _memory(module):
    return Contender("MemoryCache", module.MemoryCache, OURS, "frys-cache")


def _moka_tinylfu(module):
    make = lambda n: module.Moka(n, policy="tiny_lfu")  # noqa: E731
    return dataclasses.replace(_moka(module), name="moka-py tiny_lfu", make=make)


def _options(name, *, spare=1, **options):
    """Return the adapter of a FrysCache with further options."""

    def adapter(module):
        # The bound by bytes is one that is never reached.
        make = lambda n: module.FrysCache(n, **{"policy": "lru"} | options)  # noqa: E731
        return Contender(name, make, OURS, "frys-cache", spare)

    return ("frys_cache", adapter)


def _recording(module):
    """Return the adapter of a FrysCache that records, into a file that has lost its name."""

    def make(capacity):
        handle, path = tempfile.mkstemp()
        os.close(handle)
        cache = module.FrysCache(capacity, policy="lru")
        cache.record(path).__enter__()
        Path(path).unlink()
        return cache

    return Contender("recording", make, OURS, "frys-cache")


def _frys(module):
    return Contender("FrysCache", lambda n: module.FrysCache(n, policy="lru"), OURS, "frys-cache")


ADAPTERS = {
    "dict": ("builtins", _dict),
    "lru_cache": ("functools", _lru_cache),
    "cachetools": ("cachetools", _cachetools),
    "cachebox": ("cachebox", _cachebox),
    "lru-dict": ("lru", _lru_dict),
    "theine": ("theine", _theine),
    "moka-py": ("moka_py", _moka),
    "MemoryCache": ("frys_cache", _memory),
    "FrysCache": ("frys_cache", _frys),
}
# Those that admit by frequency, as the policy auto does.
TINYLFU = ("theine", "moka-py tiny_lfu")
POLICIES = ("fifo", "sieve", "s3fifo", "lfu", "slru", "arc", "size")
# The same cache with options, measured against it or against dict; not in the table of contenders.
VARIANTS = {
    "moka-py tiny_lfu": ("moka_py", _moka_tinylfu),
    "auto": _options("auto", policy="auto"),
    "auto, four times the room": _options("auto, four times the room", policy="auto", spare=4),
    "recording": ("frys_cache", _recording),
    "ttl": _options("ttl", ttl=3600),
    "idle": _options("idle", idle=3600),
    "bytes": _options("bytes", max_size_bytes=1 << 40),
    **{policy: _options(policy, policy=policy) for policy in POLICIES},
}
PEERS = ("cachebox", "lru-dict", "theine", "moka-py")  # the compiled ones the gate compares with


@functools.cache
def contender(name):
    """Return one contender, importing nothing but its package.

    >>> contender("dict").ops["getitem"]
    'c[k]'
    """
    module, adapter = (ADAPTERS | VARIANTS)[name]
    return adapter(importlib.import_module(module))


@functools.cache
def contenders():
    """Return the installed contenders by name, telling on stderr which ones are left out."""
    found = {}
    for name in ADAPTERS:
        try:
            found[name] = contender(name)
        except ImportError as error:
            print(f"left out: {name} ({error})", file=sys.stderr)
    return found


def peers_with(operation):
    """Return the compiled peers that have `operation` natively."""
    found = contenders()
    return [found[name] for name in PEERS if name in found and operation in found[name].ops]
