"""Keys, values and listeners that misbehave on purpose, shared by the tests of foreign code."""

import contextlib
import gc
import itertools

import pytest


class SameHash:
    """A key that hashes as every other of its kind and runs `on_compare` before it is compared.

    An answer of "no" makes the table probe on, so that one lookup compares many of them.  Whichever
    side is asked, the actions of both run; but none inside another: what an action does is quiet.
    """

    busy = False

    def __init__(self, name, on_compare=None, on_hash=None):
        self.name = name
        self.on_compare = on_compare
        self.on_hash = on_hash

    def __hash__(self):
        self._run(self.on_hash)
        return 7

    def __eq__(self, other):
        if not isinstance(other, SameHash):
            return NotImplemented
        self._run(self.on_compare)
        self._run(other.on_compare)
        return self.name == other.name

    def __repr__(self):
        return f"SameHash({self.name!r})"

    def _run(self, action):
        if action is not None and not SameHash.busy:
            SameHash.busy = True
            try:
                action()
            finally:
                SameHash.busy = False


class OnDelete:
    """A value that runs `action` when its last reference goes."""

    def __init__(self, action):
        self.action = action

    def __del__(self):
        self.action()


class Recorder:
    """A listener that writes down every event and then runs `action(key, value, cause)`."""

    def __init__(self, action=None):
        self.events = []
        self.action = action
        self.depth = self.deepest = 0

    def __call__(self, key, value, cause):
        self.events.append((key, value, cause))
        self.depth += 1
        self.deepest = max(self.deepest, self.depth)
        try:
            if self.action is not None:
                self.action(key, value, cause)
        finally:
            self.depth -= 1


class Untold(type):
    """A metaclass that raises whatever it is asked."""

    def __getattribute__(cls, name):
        raise LookupError(name)

    def __eq__(cls, other):
        raise LookupError("__eq__")

    __hash__ = None


def single_key_operations():
    """Return name -> function(cache, key, value): every method that looks one key up.

    A KeyError of a miss is swallowed; everything else passes.
    """

    def quiet(operation):
        def run(cache, key, value):
            try:
                return operation(cache, key, value)
            except KeyError:
                return None

        return run

    return {
        "getitem": quiet(lambda c, k, v: c[k]),
        "get": lambda c, k, v: c.get(k, v),
        "peek": lambda c, k, v: c.peek(k, v),
        "contains": lambda c, k, v: k in c,
        "setitem": lambda c, k, v: c.__setitem__(k, v),
        "put": lambda c, k, v: c.put(k, v),
        "set": lambda c, k, v: c.set(k, v),
        "add": lambda c, k, v: c.add(k, v),
        "replace": lambda c, k, v: c.replace(k, v),
        "incr": lambda c, k, v: c.incr(k, 1),
        "setdefault": lambda c, k, v: c.setdefault(k, v),
        "delete": lambda c, k, v: c.delete(k),
        "delitem": quiet(lambda c, k, v: c.__delitem__(k)),
        "pop": lambda c, k, v: c.pop(k, v),
        "get_many": lambda c, k, v: c.get_many([k], v),
        "put_many": lambda c, k, v: c.put_many([(k, v)]),
        "put_many of a dict": lambda c, k, v: c.put_many({k: v}),
        "update": lambda c, k, v: c.update([(k, v)]),
        "delete_many": lambda c, k, v: c.delete_many([k]),
        "in keys": lambda c, k, v: k in c.keys(),  # noqa: SIM118 - the view is what is asked
        "in items": lambda c, k, v: (k, v) in c.items(),
    }


OPERATIONS = single_key_operations()
READING = ("getitem", "get", "peek", "contains", "get_many", "in keys", "in items")

turns = itertools.count()
MEDDLING = {
    "get": lambda cache: cache.get("plain"),
    "get a hostile key": lambda cache: cache.get(SameHash(0)),
    "put": lambda cache: cache.put("new", 1),
    "put a hostile key": lambda cache: cache.put(SameHash("new"), 1),
    "overwrite all": lambda cache: cache.update(dict.fromkeys(cache, 0)),
    "delete first": lambda cache: cache and cache.popitem(),
    "delete hostile keys": lambda cache: cache.delete_many([SameHash(n) for n in range(4)]),
    "delete and put back": lambda cache: [cache.put(*cache.popitem()) for _ in range(len(cache))],
    "clear": lambda cache: cache.clear(),
    "clear and fill": lambda cache: (cache.clear(), cache.update(dict.fromkeys("abcdefgh", 0))),
    "fill": lambda cache: cache.put_many((number, number) for number in range(100)),
    "iterate": lambda cache: (list(cache), list(cache.items()), repr(cache)),
    "copy": lambda cache: cache.copy(),
    "collect": lambda cache: next(turns) % 8 or gc.collect(0),
}
# What a lookup answers when every comparison has changed the cache: it gives up instead of hanging.
GIVES_UP = contextlib.suppress(RuntimeError)
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))
every_meddling = pytest.mark.parametrize("meddle", MEDDLING.values(), ids=list(MEDDLING))


def hostile_cache(make, bound=8):
    """Return a cache with four keys of one hash and three plain ones."""
    cache = make(bound)
    cache.put_many((SameHash(number), number) for number in range(4))
    cache.update(plain=1, other=2, third=3)
    return cache
