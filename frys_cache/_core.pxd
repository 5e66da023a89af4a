"""What other Cython code may use: `from frys_cache._core cimport MemoryCache`.

Keys and values are passed as `PyObject *`, so that nothing is counted which need not be.
"""

from cpython.object cimport PyObject

cdef extern from *:
    "typedef struct fc_cache fc_cache;"
    ctypedef struct fc_cache


cdef class MemoryCache:
    cdef object __weakref__
    cdef fc_cache *c          # owned
    cdef object listener      # on_evict, or None
    cdef object clock         # the user's, or None
    cdef object weigher       # the user's sizeof, or None
    cdef bint by_subclass     # weighed by a subclass's getsizeof(value)
    cdef object bound         # max_entries as given or reached, or None
    cdef object bound_bytes   # max_size_bytes as given or reached, or None
    cdef bint by_bytes        # made with max_size_bytes: entries are weighed, bounded so or not
    cdef object ttl_given     # ttl and idle as given, or None
    cdef object idle_given
    cdef object policy_name
    cdef tuple rules          # (TtlRule, nanoseconds) of each, in the order given; None: no rules
    cdef tuple predicates     # (predicate, nanoseconds) of those that have one; None: no such
    cdef unsigned int watch   # hooks that are on, and whether there is a listener
    cdef unsigned long long listener_errors
    cdef object flights       # the loads that are under way; None until the first
    cdef object below         # the chain of tiers that the hooks hand on to, or None
    cdef object descent       # the straight path of a miss, or None
    cdef object deposit       # the straight path of a put that only has to wait, or None
    cdef dict prefixes        # of memoized functions, each with whom it belongs to; None: no such

    # A hit: find, let the policy know, return a new reference.  NULL without an exception: absent.
    cdef PyObject *read(self, PyObject *key) except? NULL
    # As cache[key] = value.
    cdef int write(self, PyObject *key, PyObject *value) except -1
    # Between pin and unpin, on the same thread: find_pinned works without the GIL, writers of other
    # threads wait, and a write of this thread is a RuntimeError.  May be nested.
    cdef int pin(self) except -1
    # 1 and a value borrowed until unpin, 0 absent, -1 when only a foreign __eq__ could tell (keys
    # that are not exact str, bytes or int).  The hash is that of the key.
    cdef int find_pinned(self, PyObject *key, Py_hash_t hash, PyObject **value) noexcept nogil
    cdef int unpin(self) except -1
