/* fc_memo.h - looking up the result of a call without making its key.
 *
 * The key of a call is its one argument, or a tuple of parts, perhaps behind a prefix.  A tuple is
 * hashed and compared here part by part, as CPython would hash and compare it, so that a hit
 * allocates nothing: 20 to 30 ns.  Where a part is not a plain object or the very one in the entry,
 * these functions find nothing, and the caller makes the key and looks it up.
 *
 * Not chosen: a table of its own per function, which would need eviction and expiry once more. */
#ifndef FC_MEMO_H
#define FC_MEMO_H

#include "fc_quick.h"

#include <math.h>

#define FC_PARTS_MAX 12   /* in a tuple that is looked up without being made */
#define FC_PARTS_DEPTH 4 /* of tuples in tuples */

typedef PyObject *(*fc_vectorcall)(PyObject *, PyObject **, size_t, PyObject *);

/* ---- one argument that is its own key ------------------------------------------------------- */

/* A hit of an equal plain argument, or of one not at home. */
FC_NOINLINE static PyObject *
fc_memo_else(fc_cache *c, PyObject *self, PyObject **args, size_t nargsf, uint64_t *hits,
             fc_vectorcall slow)
{
    PyObject *value = NULL;
    if (fc_is_plain(args[0]) && fc_hash_cached(args[0]) != -1) {
        value = fc_hit_equal(c, fc_place_quick(c, args[0]), args[0]);
    }
    else {
        FC_UNLOCK(c);
    }
    if (value == NULL) {
        return slow(self, args, nargsf, NULL);
    }
    ++*hits;
    return value;
}

/* A call with one argument, by position.  Only what carries its hash stands for itself: any other
 * object could be the very one in an entry, as the wrapping of something else. */
FC_INLINE PyObject *
fc_memo_quick(fc_cache *c, PyObject *self, PyObject **args, size_t nargsf, uint64_t *hits,
              fc_vectorcall slow)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_glance(c, args[0]);
    if (FC_LIKELY(at != FC_NIL) && FC_LIKELY(fc_is_plain(args[0])) && fc_is_quick(c, at)) {
        ++*hits;
        return fc_hit_quick(c, at);
    }
    return fc_memo_else(c, self, args, nargsf, hits, slow);
}

/* ---- a tuple of parts ----------------------------------------------------------------------- */

/* The hash of a tuple, item by item: xxHash as CPython has used it since 3.8.  Whoever uses these
 * checks them against a real tuple first. */
#define FC_PARTS_START 2870177450012600261ULL

FC_INLINE uint64_t
fc_parts_mix(uint64_t sum, Py_hash_t hash)
{
    sum += (uint64_t)hash * 14029467366897019727ULL;
    sum = sum << 31 | sum >> 33;
    return sum * 11400714785074694791ULL;
}

FC_INLINE Py_hash_t
fc_parts_hash(uint64_t sum, Py_ssize_t count)
{
    sum += (uint64_t)count ^ (FC_PARTS_START ^ 3527539ULL);
    return sum == (uint64_t)-1 ? 1546275796 : (Py_hash_t)sum;
}

/* The hash that the part of an object would have, if that needs no foreign code and nothing made:
 * plain objects, None, bool, float, and small tuples of such.  False: make the part. */
static bool
fc_part_hash(PyObject *o, Py_hash_t *hash, int depth)
{
    PyTypeObject *kind = Py_TYPE(o);
    uint64_t sum = FC_PARTS_START;
    Py_hash_t inner;
    if (fc_is_plain(o) || o == Py_None) {
        *hash = fc_hash(o);
        return true;
    }
    if (kind == &PyTuple_Type) {
        Py_ssize_t size = PyTuple_GET_SIZE(o);
        if (depth == 0 || size > FC_PARTS_MAX) {
            return false;
        }
        sum = fc_parts_mix(sum, PyObject_Hash((PyObject *)kind));
        for (Py_ssize_t i = 0; i < size; i++) {
            if (!fc_part_hash(PyTuple_GET_ITEM(o, i), &inner, depth - 1)) {
                return false;
            }
            sum = fc_parts_mix(sum, inner);
        }
        *hash = fc_parts_hash(sum, size + 1);
        return true;
    }
    if (kind == &PyFloat_Type && PyFloat_AS_DOUBLE(o) == 0 && signbit(PyFloat_AS_DOUBLE(o))) {
        return false; /* -0.0 has a part of its own */
    }
    if (kind == &PyFloat_Type || kind == &PyBool_Type) {
        sum = fc_parts_mix(sum, PyObject_Hash((PyObject *)kind));
        *hash = fc_parts_hash(fc_parts_mix(sum, PyObject_Hash(o)), 2);
        return true;
    }
    return false;
}

/* Whether a part is that of an object, which fc_part_hash has accepted, or an identity. */
static bool
fc_part_match(PyObject *have, PyObject *o)
{
    PyTypeObject *kind = Py_TYPE(o);
    PyObject *inner;
    if (fc_is_plain(o)) {
        return have == o || fc_same(have, o) == FC_HIT;
    }
    if (kind != &PyTuple_Type && kind != &PyFloat_Type && kind != &PyBool_Type) {
        return have == o;
    }
    if (!PyTuple_CheckExact(have) || PyTuple_GET_SIZE(have) < 1 ||
        PyTuple_GET_ITEM(have, 0) != (PyObject *)kind) {
        return false;
    }
    if (kind == &PyTuple_Type) {
        Py_ssize_t size = PyTuple_GET_SIZE(o);
        bool same = PyTuple_GET_SIZE(have) == size + 1;
        for (Py_ssize_t i = 0; same && i < size; i++) {
            same = fc_part_match(PyTuple_GET_ITEM(have, i + 1), PyTuple_GET_ITEM(o, i));
        }
        return same;
    }
    inner = PyTuple_GET_SIZE(have) == 2 ? PyTuple_GET_ITEM(have, 1) : NULL;
    return inner == o || (inner != NULL && kind == &PyFloat_Type && PyFloat_CheckExact(inner) &&
                          PyFloat_AS_DOUBLE(inner) == PyFloat_AS_DOUBLE(o));
}

/* Whether a key is the one part, or the tuple of the parts. */
FC_INLINE bool
fc_parts_match(PyObject *key, PyObject **parts, Py_ssize_t count, bool lone)
{
    if (lone) {
        return fc_part_match(key, parts[0]);
    }
    if (!PyTuple_CheckExact(key) || PyTuple_GET_SIZE(key) != count) {
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!fc_part_match(PyTuple_GET_ITEM(key, i), parts[i])) {
            return false;
        }
    }
    return true;
}

/* A hit of the tuple of these parts, or of the lone one, as a new reference; NULL: it may be there
 * all the same.  Runs no foreign code. */
static inline PyObject *
fc_parts_get(fc_cache *c, PyObject **parts, Py_ssize_t count, bool lone, Py_hash_t hash)
{
    const fc_table *t = &c->store.table;
    uint32_t tag = fc_store_tag(&c->store, hash);
    FC_LOCK(c);
    for (uint32_t at = fc_table_home(t, tag);; at = fc_table_next(t, at)) {
        fc_slot slot = t->slots[at];
        if (slot.index == FC_NIL) {
            break;
        }
        if (slot.tag == tag) {
            const fc_entry *e = &c->store.slab.entries[slot.index];
            if (e->hash == hash && fc_parts_match(e->key, parts, count, lone)) {
                return fc_hit_called(c, slot.index);
            }
        }
    }
    FC_UNLOCK(c);
    return NULL;
}

/* ---- objects -------------------------------------------------------------------------------- */

/* Whether a weak reference is to this object, which is alive. */
FC_INLINE bool
fc_refers(PyObject *ref, PyObject *o)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *found = NULL;
    bool same = PyWeakref_GetRef(ref, &found) == 1 && found == o;
    Py_XDECREF(found);
    return same;
#else
    return PyWeakref_GET_OBJECT(ref) == o;
#endif
}

typedef enum fc_rule { FC_BY_VALUE, FC_BY_IDENTITY, FC_UNHASHABLE } fc_rule;

/* By what an object is known that is neither plain nor says so itself. */
FC_INLINE fc_rule
fc_rule_of(PyObject *o)
{
    hashfunc hash = Py_TYPE(o)->tp_hash;
    if (hash == PyBaseObject_Type.tp_hash) {
        return Py_TYPE(o)->tp_weaklistoffset != 0 ? FC_BY_IDENTITY : FC_BY_VALUE;
    }
    return hash == NULL || hash == PyObject_HashNotImplemented ? FC_UNHASHABLE : FC_BY_VALUE;
}

/* ---- calling -------------------------------------------------------------------------------- */

/* function(self, *args), with room on the stack for a few arguments and names. */
static inline PyObject *
fc_call_bound(PyObject *function, PyObject *self, PyObject **args, size_t nargsf, PyObject *names)
{
    PyObject *few[8], **all = few, *result;
    size_t count = (size_t)PyVectorcall_NARGS(nargsf);
    size_t total = count + (names != NULL ? (size_t)PyTuple_GET_SIZE(names) : 0);
    if (nargsf & PY_VECTORCALL_ARGUMENTS_OFFSET) {
        PyObject *before = args[-1];
        args[-1] = self;
        result = PyObject_Vectorcall(function, args - 1, count + 1, names);
        args[-1] = before;
        return result;
    }
    if (total + 1 > sizeof few / sizeof *few) {
        all = PyMem_Malloc((total + 1) * sizeof *all);
        if (all == NULL) {
            return PyErr_NoMemory();
        }
    }
    all[0] = self;
    if (total > 0) {
        memcpy(all + 1, args, total * sizeof *all);
    }
    result = PyObject_Vectorcall(function, all, count + 1, names);
    if (all != few) {
        PyMem_Free(all);
    }
    return result;
}

#endif
