/* fc_quick.h - get and overwrite without a stack frame, for what nearly every hit is.
 *
 * Nearly every hit is of a str or bytes that carries its hash and is the very object in the entry,
 * under lru.  For it these functions have no frame and no call but the last one, which is worth 3
 * of 15 ns.  For anything else they say so, and have done nothing. */
#ifndef FC_QUICK_H
#define FC_QUICK_H

#include "fc_access.h"

/* The place of that object, or FC_NIL. */
FC_INLINE uint32_t
fc_probe_quick(const fc_cache *c, PyObject *key)
{
    const fc_table *t = &c->store.table;
    Py_hash_t hash = fc_hash_cached(key);
    uint32_t tag = fc_store_tag(&c->store, hash);
    uint32_t at = fc_table_home(t, tag);
    fc_slot slot = t->slots[at];
    while (FC_UNLIKELY(slot.tag != tag && slot.index != FC_NIL)) {
        at = fc_table_next(t, at);
        slot = t->slots[at];
    }
    if (FC_LIKELY(slot.index != FC_NIL && hash != -1) &&
        FC_LIKELY(c->store.slab.entries[slot.index].key == key)) {
        return slot.index;
    }
    return FC_NIL;
}

FC_NOINLINE FC_NONNULL static PyObject *
fc_hit_called(fc_cache *c, uint32_t at)
{
    PyObject *value = fc_hit(c, at);
    FC_UNLOCK(c);
    return value;
}

/* A new reference, or NULL.  The commonest policy is inlined, 1 ns. */
FC_INLINE PyObject *
fc_get_quick(fc_cache *c, PyObject *key)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_probe_quick(c, key);
    if (FC_LIKELY(at != FC_NIL)) {
        PyObject *value;
        if (FC_UNLIKELY(c->store.on_hit != lru_on_hit)) {
            return fc_hit_called(c, at);
        }
        value = c->store.slab.entries[at].value;
        Py_INCREF(value);
        c->store.hits++;
        lru_on_hit(&c->store, at);
        FC_UNLOCK(c);
        return value;
    }
    FC_UNLOCK(c);
    return NULL;
}

/* A new reference to the value of a plain key, or NULL for anything but a hit. */
static inline PyObject *
fc_get_plain(fc_cache *c, PyObject *key)
{
    PyObject *value = NULL;
    uint32_t at;
    if (fc_is_plain(key)) {
        Py_hash_t hash = fc_hash(key);
        FC_LOCK(c);
        if (fc_probe(c, key, hash, &at) == FC_HIT) {
            value = fc_hit(c, at);
        }
        FC_UNLOCK(c);
    }
    return value;
}

/* What comes next, kept out of line so that the quick ways have no frame: a plain key, and then what
 * Cython generated. */
FC_NOINLINE static PyObject *
fc_item_else(fc_cache *c, PyObject *self, PyObject *key, binaryfunc generated)
{
    PyObject *value = fc_get_plain(c, key);
    return value != NULL ? value : generated(self, key);
}

FC_NOINLINE static PyObject *
fc_get_else(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count,
            PyObject *(*generated)(PyObject *, PyObject **, Py_ssize_t, PyObject *))
{
    PyObject *value = fc_get_plain(c, args[0]);
    return value != NULL ? value : generated(self, args, count, NULL);
}

/* The old value, which is the caller's to release, or NULL. */
FC_INLINE PyObject *
fc_put_quick(fc_cache *c, PyObject *key, PyObject *value)
{
    PyObject *old = NULL;
    uint32_t at;
    FC_LOCK(c);
    at = fc_probe_quick(c, key);
    if (FC_LIKELY(at != FC_NIL && c->readers == NULL && c->generations == NULL)) {
        fc_entry *e = &c->store.slab.entries[at];
        if (FC_LIKELY(Py_TYPE((PyObject *)e->value) == Py_TYPE(value))) {
            old = e->value;
            Py_INCREF(value);
            e->value = value;
            if (FC_LIKELY(c->store.on_hit == lru_on_hit)) {
                lru_on_hit(&c->store, at);
            }
            else {
                c->store.on_hit(&c->store, at);
            }
        }
    }
    FC_UNLOCK(c);
    return old;
}

#endif
