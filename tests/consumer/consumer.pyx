# cython: language_level=3, boundscheck=False, wraparound=False
"""A consumer of the C interface: reads, writes, and lookups without the GIL.

What another Cython package would write.  tests/test_cimport.py builds it against the installed
_core.pxd and tests it; benchmarks/gate.py times the same loops.
"""

from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc

from frys_cache._core cimport MemoryCache


cdef extern from "Python.h":
    # By pointer: the declarations of cpython.ref would take a reference to call them with.
    void Py_DECREF(PyObject *) noexcept
    PyObject *PyList_GET_ITEM(list, Py_ssize_t) noexcept
    Py_hash_t PyObject_Hash(object) except? -1


def walk_all(MemoryCache cache, list keys, value):
    """Touch every key and nothing else: the loop itself, to be taken off."""
    cdef Py_ssize_t at, seen = 0
    for at in range(len(keys)):
        seen += PyList_GET_ITEM(keys, at) is not NULL
    return seen


def read_all(MemoryCache cache, list keys, unused=None):
    """Read every key and drop the reference; return the number of hits."""
    cdef Py_ssize_t at, hits = 0
    cdef PyObject *value
    for at in range(len(keys)):
        value = cache.read(PyList_GET_ITEM(keys, at))
        if value is not NULL:
            Py_DECREF(value)
            hits += 1
    return hits


def write_all(MemoryCache cache, list keys, value):
    """Put `value` under every key."""
    cdef Py_ssize_t at
    for at in range(len(keys)):
        cache.write(PyList_GET_ITEM(keys, at), <PyObject *>value)


def read(MemoryCache cache, key, default=None):
    """Return the value of one key, or `default`."""
    cdef PyObject *value = cache.read(<PyObject *>key)
    if value is NULL:
        return default
    found = <object>value
    Py_DECREF(value)  # `found` holds its own
    return found


def write(MemoryCache cache, key, value):
    """Put one value."""
    cache.write(<PyObject *>key, <PyObject *>value)


def pin(MemoryCache cache):
    """Keep the structures as they are until `unpin`."""
    cache.pin()


def unpin(MemoryCache cache):
    """Let writers go on."""
    cache.unpin()


def find_pinned(MemoryCache cache, key):
    """Look one key up in a pinned cache without the GIL; return (answer, value or None)."""
    cdef Py_hash_t hashed = PyObject_Hash(key)
    cdef PyObject *wanted = <PyObject *>key
    cdef PyObject *value = NULL
    cdef int answer
    with nogil:
        answer = cache.find_pinned(wanted, hashed, &value)
    return answer, <object>value if answer == 1 else None


def count_pinned(MemoryCache cache, list keys):
    """Look all keys up in a pinned cache, one release of the GIL for all of them.

    Return how many were hit, missed, and left undecided.
    """
    cdef Py_ssize_t at, count = len(keys)
    cdef Py_ssize_t[3] answers = [0, 0, 0]
    cdef PyObject *value
    cdef PyObject **wanted = <PyObject **>malloc(count * sizeof(PyObject *) + 1)
    cdef Py_hash_t *hashes = <Py_hash_t *>malloc(count * sizeof(Py_hash_t) + 1)
    try:
        if wanted is NULL or hashes is NULL:
            raise MemoryError
        for at in range(count):
            wanted[at] = PyList_GET_ITEM(keys, at)
            hashes[at] = PyObject_Hash(keys[at])
        with nogil:
            for at in range(count):
                answers[cache.find_pinned(wanted[at], hashes[at], &value) + 1] += 1
    finally:
        free(wanted)
        free(hashes)
    return answers[2], answers[1], answers[0]
