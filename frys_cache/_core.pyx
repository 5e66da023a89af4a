# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, binding=False, auto_pickle=False, autotestdict=False
# cython: embedsignature=True, embedsignature.format=clinic
"""The memory tier: a bounded mapping whose hits never leave C.

Long because a class cannot be split, and this one is mostly docstrings.
The store, the policies and all that a hit touches are in csrc/.  Here is the mapping; beside it
`_core_csrc.pxi` (what of csrc/ is used), `_core_events.pxi` (listeners, hooks, readers),
`_core_expiry.pxi` (time), `_core_weights.pxi` (bytes), `_core_access.pxi` (single operations),
`_core_descent.pxi` (a read of the tiers where they are all there is),
`_core_batch.pxi` (many keys at once), `_core_views.pxi` (iterators and views), `_core_state.pxi`
(configuration, statistics), `_core_policies.pxi` (bounds, ttl and rules at run time),
`_core_copy.pxi` (copies and pickles), `_core_type.pxi` (what Cython cannot say of a type),
`_core_memo.pxi` (loading, and memoized functions), `_core_simulate.pxi` (traces),
`_core_record.pxi` (recordings), and for what lies below memory `_core_keys.pxi` (keys as bytes),
`_core_record_head.pxi` (heads of records), `_core_codec.pxi` (values as bytes) and
`_core_dirty.pxi` (writes that are still to be sent).
Three conventions run through them:

- `PyObject *` is a borrowed pointer, `object` an owned reference.
- A change is made by one C function that runs no foreign code.  What it pushes out is queued in
  an `fc_exits`, and `leave` tells and releases it when the structures are whole again.
- `watch` is 0 for a cache without hooks and listener, which thus pays one branch per write.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals, PyErr_WriteUnraisable
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject, visitproc
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

import os
import sys
from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from numbers import Real
from types import GenericAlias, MappingProxyType, MethodType

from frys_cache.errors import (ConfigurationError, KeyNotStable, KeyTooLarge,
                                ValueTooLarge)
from frys_cache.types import (DEFAULT, MISSING, CacheInfo, CacheStats, EvictionCause, TierStats,
                              TtlRule)

__all__ = ["HOOK_DECIDE", "HOOK_EVICT", "HOOK_MISS", "HOOK_REMOVE", "HOOK_WRITE", "POLICIES",
           "MemoryCache", "PolicyManager", "memoize"]


include "_core_csrc.pxi"


# What `watch` may hold: the hooks that a subclass has turned on, and a listener.
cpdef enum:
    HOOK_MISS = 1
    HOOK_WRITE = 2
    HOOK_REMOVE = 4
    HOOK_EVICT = 8
    HOOK_DECIDE = 16  # what depends on whether a key is there is decided below
cdef enum:
    HOOKS = 31
    WATCH_LISTENER = 32
    WATCH_UNMADE = 64  # __init__ has not run

POLICIES = tuple([FC_POLICIES[i].name.decode() for i in range(<int>FC_POLICIES_COUNT)])

cdef uint64_t seeds = int.from_bytes(os.urandom(8), "little")


def _fix_seeds(number):
    """Draw the seeds of caches made from now on from this number, for runs that can be repeated."""
    global seeds
    seeds = number


@cython.trashcan(True)
cdef class MemoryCache:
    """MemoryCache(max_entries=None, *, max_size_bytes=None, policy='lru', ttl=None, idle=None,
    sizeof=None, on_evict=None, clock=None)\n--\n
    A mapping bounded by entries, by bytes, or both, that evicts by `policy` when it is full.

    It is a complete `MutableMapping`; a hit costs about as much as one of a `dict`.  Every method
    is safe to call from any thread, from tasks, and from the `__eq__`, `__hash__` and `__del__` of
    keys and values and the listener of this very cache.

    max_entries: a positive int.  max_size_bytes: a positive int; each entry weighs what
    `sizeof(key, value)` says, by default the bytes of data in both (`len` of bytes, `nbytes`, ...,
    else `sys.getsizeof`); a subclass may define `getsizeof(value)` instead.  One that is heavier
    than the whole bound raises `ValueTooLarge`.  policy: an `EvictionPolicy` or its name, or a policy
    object, which may bring a ttl (`TtlPolicy(3600)`, `CompositePolicy.lru_with_ttl(1800)`).
    ttl: seconds (or a timedelta) that an entry lives after it was stored; idle: that it lives after
    it was last used; None: for ever.  Both are exact to 10 ms on Linux, 16 ms elsewhere, and follow
    a monotonic clock; an entry whose time is over is absent at once, and leaves the memory with one
    of the next writes.  on_evict: a callable `(key, value, cause)` with an `EvictionCause`, called
    after each operation that made entries leave, once for each; what it raises goes to
    `sys.unraisablehook` and is counted.  What it puts back may push out more, of which it hears in
    turn: one that puts back all it hears of never ends.  clock: a callable that returns seconds, in
    place of the system's, for tests; it may not use the cache.
    Raises `ConfigurationError` for a bound, a policy or a time that cannot be, TypeError for one of
    another type.

    >>> cache = MemoryCache(2)
    >>> cache["a"] = 1; cache["b"] = 2; cache["c"] = 3
    >>> cache
    MemoryCache({'b': 2, 'c': 3})
    """

    _default_policy = "lru"  # where `policy=` names a ttl alone

    def __cinit__(self):
        self.watch = WATCH_UNMADE
        self.c = fc_cache_new(fc_policy_find("lru"), fc_hash_next(&seeds))
        if self.c is NULL:
            raise MemoryError

    def __init__(self, max_entries=None, *, max_size_bytes=None, policy="lru", ttl=None,
                 idle=None, on_evict=None, clock=None, **weigher):
        configure(self, max_entries, max_size_bytes, policy, ttl, idle,
                  only_sizeof("__init__", weigher), on_evict, clock, self.c.store.seed)

    def __dealloc__(self):
        if self.c is not NULL:
            fc_record_end(self.c)
            fc_release_store(&self.c.store)
            fc_cache_free(self.c)

    # ---- for other Cython code; _core.pxd says what each does -----------------------------------

    cdef PyObject *read(self, PyObject *key) except? NULL:
        tick(self)
        return fc_get(self.c, key)

    cdef int write(self, PyObject *key, PyObject *value) except -1:
        cdef int done = 0
        if self.watch == 0:
            done = fc_assign_quick(self.c, key, value)
        return done if done else put_value(self, key, value, FC_PUT)

    cdef int pin(self) except -1:
        tick(self)
        return begin_reading(self)

    cdef int find_pinned(self, PyObject *key, Py_hash_t hash, PyObject **value) noexcept nogil:
        cdef uint32_t at
        cdef int found = fc_probe(self.c, key, hash, &at)
        if found == FC_HIT and not fc_is_live(self.c, at):
            return FC_MISS
        if found == FC_HIT:
            value[0] = self.c.store.slab.entries[at].value
        return found if found >= 0 else -1

    cdef int unpin(self) except -1:
        return end_reading(self)

    # ---- read -----------------------------------------------------------------------------------

    def __getitem__(self, key):
        cdef PyObject *value
        tick(self)
        value = fc_get(self.c, <PyObject *>key)
        if value is not NULL:
            return fc_steal(value)
        return missed(self, key)

    def get(self, key, default=None):
        """The value of a key, or `default`.  Raises TypeError for an unhashable key.

        >>> MemoryCache(10).get("absent", 0)
        0
        """
        cdef PyObject *value
        tick(self)
        value = fc_get(self.c, <PyObject *>key)
        if value is not NULL:
            return fc_steal(value)
        return absent(self, key, default)

    def peek(self, key, default=None):
        """The value of a key in memory, or `default`; changes neither recency nor counters.

        >>> MemoryCache(10).peek("absent", 0)
        0
        """
        cdef PyObject *value
        tick(self)
        value = fc_peek(self.c, <PyObject *>key)
        return fc_steal(value) if value is not NULL else default

    def __contains__(self, key):
        tick(self)
        if fc_contains(self.c, <PyObject *>key):
            return True
        return bool(self._on_decide("contains", key)) if self.watch & HOOK_DECIDE else False

    def __len__(self):
        return count_live(self) if self.c.store.wheel.count else self.c.store.count

    def __iter__(self):
        return iterate(self, KEYS, False)

    def __reversed__(self):
        return iterate(self, KEYS, True)

    def keys(self):
        """A view of the keys, the policy's next victim first.  Iterating never raises."""
        return CacheKeys(self)

    def values(self):
        """A view of the values, in the order of `keys`."""
        return CacheValues(self)

    def items(self):
        """A view of the (key, value) pairs, in the order of `keys`."""
        return CacheItems(self)

    def get_many(self, keys, default=None):
        """The values of many keys, in their order, with `default` for those absent.

        Takes about half the time of as many `get`; from 20,000 str, bytes or int keys on other
        threads run meanwhile.

        >>> cache = MemoryCache.fromkeys("ab", 1)
        >>> cache.get_many(["a", "x"])
        [1, None]
        """
        return get_many(self, keys, default)

    # ---- write ----------------------------------------------------------------------------------

    def __setitem__(self, key, value):
        put_value(self, <PyObject *>key, <PyObject *>value, FC_PUT)

    def __delitem__(self, key):
        if not remove(self, key, NULL):
            raise KeyError(key)

    def put(self, key, value, *, ttl=DEFAULT, cost=1.0, version=None):
        """Store a value, as `cache[key] = value` does.

        ttl: seconds or a timedelta that it lives, None for ever, by default the cache's own.  cost:
        of making the value again, a number in any unit; the policy "size" weighs it.  version: what
        `begin` gave; nothing is stored if the key was stored or removed since.  Raises
        `ValueTooLarge` for an entry heavier than the cache may be, ValueError and TypeError for a
        ttl or cost that cannot be; then what was there stays.

        >>> cache = MemoryCache(10); cache.put("a", 1, ttl=60); cache["a"]
        1
        """
        if version is not None:
            put_versioned(self, key, value, ttl, cost, version)
        else:
            put_with(self, key, value, ttl, cost, FC_PUT)

    def set(self, key, value, *, ttl=DEFAULT, cost=1.0, version=None):
        """The same as `put`.

        >>> cache = MemoryCache(10); cache.set("a", 1); cache["a"]
        1
        """
        self.put(key, value, ttl=ttl, cost=cost, version=version)

    def begin(self, key):
        """The version of what is now read elsewhere to be stored here: `put(..., version=it)`.

        Who changes his own store calls `delete` afterwards; what was read there before the change
        is then refused, however late it comes.  An int that means nothing else.

        >>> cache = MemoryCache(10); version = cache.begin("a")
        >>> cache["a"] = "new"; cache.put("a", "old", version=version); cache["a"]
        'new'
        """
        if self.watch & HOOK_DECIDE:
            return self._on_decide("begin", key)
        return self._token(key)

    def add(self, key, value, *, ttl=DEFAULT, cost=1.0):
        """Store a value, as `put` does, if the key is absent; whether it was stored.

        >>> MemoryCache.fromkeys("a").add("a", 1)
        False
        """
        if self.watch & HOOK_DECIDE:
            return self._on_decide("add", key, value, ttl, cost)
        return put_with(self, key, value, ttl, cost, FC_PUT_NEW) != 0

    def replace(self, key, value, *, ttl=DEFAULT, cost=1.0):
        """Store a value, as `put` does, if the key is present; whether it was stored.

        >>> MemoryCache(10).replace("a", 1)
        False
        """
        if self.watch & HOOK_DECIDE:
            return self._on_decide("replace", key, value, ttl, cost)
        return put_with(self, key, value, ttl, cost, FC_PUT_OLD) != 0

    def incr(self, key, delta=1):
        """Add an int to an int value, in one step for all threads; the new value.

        An absent key counts from 0.  A present one keeps the end of its life.  Raises TypeError when either is no int.

        >>> cache = MemoryCache(10); cache.incr("hits"); cache.incr("hits", 10)
        1
        11
        """
        if self.watch & HOOK_DECIDE:
            return self._on_decide("incr", key, delta)
        return increment(self, key, delta)

    def touch(self, key, ttl=DEFAULT):
        """Let a key live for another ttl from now on, without reading it; whether it was there.

        ttl as in `put`.  It counts as a use for the policy and the idle time.

        >>> MemoryCache.fromkeys("a").touch("a", 60)
        True
        """
        if self.watch & HOOK_DECIDE:
            return self._on_decide("touch", key, ttl)
        return touch(self, key, ttl)

    def ttl_of(self, key):
        """The seconds that a key has left, None when it has no end; KeyError when it is absent.

        Where there is an idle time, this is until that is over, or the ttl, whichever comes first.

        >>> MemoryCache.fromkeys("a").ttl_of("a") is None
        True
        """
        left = time_left(self, key)
        if self.watch & HOOK_DECIDE:
            left = self._on_decide("ttl_of", key, left)
        if left is MISSING:
            raise KeyError(key)
        return left

    def setdefault(self, key, default=None):
        """The value of a key, which becomes `default` if it is absent.

        >>> MemoryCache(10).setdefault("a", 1)
        1
        """
        cdef PyObject *value
        while True:
            tick(self)
            value = fc_get(self.c, <PyObject *>key)
            if value is not NULL:
                return fc_steal(value)
            if self.watch & HOOK_DECIDE:
                return self._on_decide("setdefault", key, default)
            if put_value(self, <PyObject *>key, <PyObject *>default, FC_PUT_NEW):
                return default

    @cython.embedsignature(False)  # the default is no literal
    def get_or_set(self, key, factory, *, ttl=DEFAULT, stale=None, timeout=None):
        """get_or_set(key, factory, *, ttl=DEFAULT, stale=None, timeout=None)

        The value of a key, or what factory() returns.

        Of all threads that ask for an absent key one calls its factory; the others wait and get
        the same value or exception.  It is kept unless the key was stored, deleted or cleared
        meanwhile; an exception is not kept.  Raises TypeError for an unhashable key or a factory
        that is not callable, and DeadlockError when a factory asks for its own key.

        stale, timeout: seconds or timedeltas, for a `FrysCache`.  How long after its time is over
        the value may still be given where the factory is slow or fails; and how long the factory
        may take, after which `CacheTimeout` is raised and what it brings later is kept.

        >>> MemoryCache(10).get_or_set("a", lambda: 1)
        1
        """
        return get_or_set(self, key, factory, ttl, stale, timeout)

    @cython.embedsignature(False)
    def memoize(self, fn=None, /, *, ttl=DEFAULT, name=None, key=None, ignore=()):
        """memoize(fn=None, /, *, ttl=DEFAULT, name=None, key=None, ignore=())

        Keep the results of a function here: `@cache.memoize` or `@cache.memoize(...)`.

        Its entries share the bound with all others; their keys are tuples that begin with the name
        of the function, "module.qualname", made unique within this cache by "#2" and so on.
        name: a name to use as given.  Everything else, and what it raises, as the function
        `frys_cache.memoize` says; ConfigurationError too for a name that another function has.

        >>> cache = MemoryCache(10)
        >>> cache.memoize(abs)(-1), len(cache)
        (1, 1)
        """
        if fn is None:
            return partial(self.memoize, ttl=ttl, name=name, key=key, ignore=ignore)
        return memoize_in(self, fn, ttl, name, key, ignore, True)

    def delete(self, key):
        """Remove a key; whether it was there.

        >>> MemoryCache.fromkeys("a").delete("a")
        True
        """
        return remove(self, key, NULL) != 0

    @cython.embedsignature(False)  # the default is no literal
    def pop(self, key, default=MISSING):
        """pop(key[, default]): remove a key and return its value.

        When it is absent: `default`, or KeyError when there is none.

        >>> MemoryCache.fromkeys("a", 1).pop("a")
        1
        """
        cdef PyObject *value = NULL
        if self.watch & HOOK_DECIDE:
            found = self._on_decide("pop", key)
            if found is not MISSING:
                return found
        elif remove(self, key, &value):
            return fc_steal(value)
        if default is MISSING:
            raise KeyError(key)
        return default

    def popitem(self):
        """Remove the policy's next victim and return it as (key, value); KeyError when empty.

        >>> MemoryCache.fromkeys("ab", 1).popitem()
        ('a', 1)
        """
        return pop_victim(self)

    def clear(self):
        """Remove everything; the counters go on."""
        clear(self)

    def put_many(self, items, /, *, ttl=DEFAULT):
        """Store many entries, from a mapping or from (key, value) pairs; ttl as in `put`.

        >>> cache = MemoryCache(10); cache.put_many({"a": 1}); cache["a"]
        1
        """
        put_many(self, items, ttl)

    def delete_many(self, keys, /):
        """Remove many keys; how many were there.

        >>> MemoryCache.fromkeys("abc").delete_many("abx")
        2
        """
        return remove_many(self, keys)

    def update(self, other=(), /, **more):
        """Store what another mapping, pairs, or keywords hold, as `dict.update` does."""
        if type(self).__setitem__ is not MemoryCache.__setitem__:
            MutableMapping.update(self, other, **more)  # a subclass wants to see each one
            return
        put_many(self, other, DEFAULT)
        if more:
            put_many(self, more, DEFAULT)

    def __ior__(self, other):
        self.update(other)
        return self

    def __or__(self, other):
        if not isinstance(self, MemoryCache) or not isinstance(other, Mapping):
            return NotImplemented
        return duplicate(self, [self, other])

    def __ror__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        return duplicate(self, [other, self])

    # ---- the whole -------------------------------------------------------------------------------

    def __eq__(self, other):
        if self is other:
            return True
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and dict(self.items()) == dict(other.items())

    def __repr__(self):
        return represent(self)

    def copy(self):
        """A cache of its own with the same options, entries and attributes; counters at 0.

        Entries keep weight, remaining time, and their standing with the policy, so that both pop
        alike.  What s3fifo, arc and tinylfu remember of keys that have left stays here.
        """
        return duplicate(self, [self])

    def __copy__(self):
        return self.copy()

    def __reduce__(self):
        return _remake, (type(self),), self.__getstate__()

    def __getstate__(self):
        return get_state(self, True)

    def __setstate__(self, state):
        set_state(self, state)

    @classmethod
    def fromkeys(cls, keys, value=None, **options):
        """A cache with these keys and one value; its bound is their number unless one is given.

        >>> MemoryCache.fromkeys("ab", 0)
        MemoryCache({'a': 0, 'b': 0})
        """
        return from_keys(cls, keys, value, options)

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    @property
    def maxsize(self):
        """The bound, in entries, or in bytes where only these are bounded."""
        return self.bound_bytes if self.bound is None else self.bound

    @property
    def currsize(self):
        """What is held now, in the unit of `maxsize`."""
        sweep(self)
        return self.c.store.weight if self.bound is None else count_live(self)

    @property
    def policy(self):
        """The name of the policy."""
        return self.policy_name

    @property
    def policies(self):
        """Bounds, ttl and rules of this cache, to be changed while it is at work: a `PolicyManager`.

        >>> cache = MemoryCache(100)
        >>> cache.policies.max_entries = 50
        >>> cache.policies.set_ttl("session:", 60)
        >>> cache.maxsize
        50
        """
        return manage(self)

    def stats(self):
        """What the cache has done and holds, as `CacheStats`; a pure read.

        Without `max_size_bytes`, `total_size` is summed over the entries at each call.

        >>> MemoryCache(10).stats().hit_ratio
        0.0
        """
        return get_stats(self)

    def cache_info(self):
        """(hits, misses, maxsize, currsize), as `functools.lru_cache` gives them."""
        return CacheInfo(self.c.store.hits, self.c.store.misses, self.maxsize, self.currsize)

    def record(self, path):
        """Write the requests from now on to a file, for `frys simulate`: `with cache.record(path):`.

        What is written is what the policy sees, in order: each hit, each overwrite and each insert,
        as one 64-bit number, the hash of its key mixed with a random number of this recording: equal
        keys are equal numbers, and no key can be told from its number.  A miss that nothing is stored
        after is not seen.  The file is a `.npy` of uint64; an existing one is overwritten.  At most
        64 Ki requests wait in memory (512 KiB); when they are written, the operation whose turn it
        is waits for it.  A killed process leaves all but these in a readable file.

        It ends with the `with` block, or with the process, and keeps the cache alive till then.  It
        outlives `clear()`, and neither a copy of the cache nor a forked child records.
        `recording.requests` counts.  Raises OSError at once where the file cannot be written,
        RuntimeError if the cache is recording already; a write that fails later ends the recording,
        and the block ends with its OSError.

        >>> import os, tempfile
        >>> cache = MemoryCache.fromkeys("ab", 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with cache.record(os.path.join(folder, "trace.npy")) as recording:
        ...         cache["a"], cache["a"], cache["b"]
        (1, 1, 1)
        >>> recording.requests
        3
        """
        return Recording.__new__(Recording, self, path)

    # ---- for subclasses --------------------------------------------------------------------------

    @property
    def _hooks(self):
        """The hooks that are on: the sum of HOOK_MISS and so on."""
        return self.watch & HOOKS

    @_hooks.setter
    def _hooks(self, unsigned int hooks):
        set_hooks(self, hooks)

    def _token(self, key):
        """An int that `_fill` takes: it holds until the key is written, removed, or all cleared."""
        cdef uint64_t token
        fc_token(self.c, fc_hash(<PyObject *>key), &token)
        return token

    def _begin_writing(self, key):
        """Note that a key is being written below, as a put does by itself; what `_end_writing` takes.

        Until then nothing that is read there is kept, and of two writers neither keeps its value.
        """
        cdef uint64_t token
        cdef uint32_t place = 0
        fc_writing_begin(self.c, &place, fc_hash(<PyObject *>key), &token)
        fc_writing_crosses(self.c, place)
        return place

    def _end_writing(self, uint32_t place):
        """Note it no more."""
        fc_writing_end(self.c, place)

    def _is_writing(self, key):
        """Whether a key, or one that shares its place, is being written below."""
        return fc_is_writing(self.c, fc_hash(<PyObject *>key))

    def _fill(self, key, value, deadline, version, token):
        """Insert what a slow read brought if the token still holds and the key is absent.

        Whether it was inserted.  deadline: seconds on the cache's clock (time.monotonic() by
        default) at which it is over, or None; version: None until entries can have one.
        """
        if version is not None:
            raise TypeError("_fill takes no version yet: pass None")
        if self.c.tellers is not NULL and is_telling(self):
            return False  # a listener that reads what was evicted would evict without end
        return fill(self, key, value, span_until(self, deadline), token) != 0

    def _refill(self, key, value, deadline, token):
        """Put what a slow read brought in the place of what is there, if the token still holds.

        Whether it was stored; where not, what is there stays.  deadline: as `_fill` takes it.
        """
        return fill_over(self, key, value, span_until(self, deadline), token) != 0

    def _keep(self, key, value, life, cost, token):
        """Take over what has been written below; if the token no longer holds, or the value is too
        heavy for memory, remove what is there instead.

        life: the seconds it has, or None for ever.
        """
        keep(self, key, value, FC_NEVER if life is None else nanoseconds(life, "life", False),
             cost_of(cost), token)

    def _swap(self, key, old, value, life):
        """Replace exactly this value (MISSING: none) in memory alone; whether it was there."""
        return swap(self, key, old, value,
                    FC_NEVER if life is None else nanoseconds(life, "life", False)) != 0

    def _forget(self, key):
        """Remove a key from memory alone and return its value, or MISSING."""
        cdef PyObject *value = NULL
        return fc_steal(value) if take(self, key, &value) else MISSING

    def _empty(self):
        """Remove everything from memory alone."""
        empty(self)

    def _touch(self, key, life):
        """Let a key live for so many seconds, or for ever, in memory alone; whether it is there."""
        return touch(self, key, life)

    def _life(self, key, ttl):
        """The seconds that an entry stored now with such a ttl lives, or None for ever."""
        return life_of(self, <PyObject *>key, span_of(self, ttl))

    def _left(self, key):
        """The seconds that a key has left in memory, or None for ever; None too when it is absent."""
        return life_of(self, <PyObject *>key, FC_KEEP)

    def _get_or_set(self, key, factory, ttl, stale, timeout):
        """What `get_or_set` does where something is below, or where stale or timeout is given."""
        if stale is not None or timeout is not None:
            raise ConfigurationError("stale= and timeout= need a FrysCache")
        return load(self, None, key, ttl, factory, NULL, 0, NULL)

    @property
    def _flights(self):
        """The loads that are under way here: a `Flights`."""
        return flights_of(self)

    @property
    def _below(self):
        """What the hooks hand on to: a `CacheManager`, or None.  A copy does not have it."""
        return self.below

    @_below.setter
    def _below(self, below):
        self.below = below

    @property
    def _descent(self):
        """The straight path of a miss, a `Descent`, or None."""
        return self.descent

    @_descent.setter
    def _descent(self, Descent descent):
        self.descent = descent

    @property
    def _deposit(self):
        """The straight path of a put that only has to wait, a `Deposit`, or None."""
        return self.deposit

    @_deposit.setter
    def _deposit(self, Deposit deposit):
        self.deposit = deposit

    # ---- for tests -------------------------------------------------------------------------------

    def _check(self):
        """Recount all structures; AssertionError says what is wrong."""
        cdef const char *wrong = fc_cache_check(self.c)
        if wrong is not NULL:
            raise AssertionError(wrong.decode())

    def _fail_allocation_after(self, long long count):
        """Let `count` more allocations succeed and all later ones fail; -1: none fails."""
        self.c.alloc.fail_after = count


include "_core_events.pxi"
include "_core_expiry.pxi"
include "_core_weights.pxi"
include "_core_access.pxi"
include "_core_descent.pxi"
include "_core_batch.pxi"
include "_core_views.pxi"
include "_core_state.pxi"
include "_core_policies.pxi"
include "_core_copy.pxi"
include "_core_type.pxi"
include "_core_memo.pxi"
include "_core_simulate.pxi"
include "_core_record.pxi"
include "_core_keys.pxi"
include "_core_record_head.pxi"
include "_core_codec.pxi"
include "_core_dirty.pxi"
