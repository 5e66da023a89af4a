/* fc_quick.h - get and overwrite without a stack frame, for what nearly every hit is.
 *
 * Nearly every hit is of a str or bytes that carries its hash and is the very object in the entry,
 * under lru.  For it these functions have no frame and no call but the last one, which is worth 3
 * of 15 ns.  For anything else they say so, and have done nothing. */
#ifndef FC_QUICK_H
#define FC_QUICK_H

#include "fc_access.h"

/* The first slot from home on that has the tag, or is free. */
FC_INLINE uint32_t
fc_probe_quick(const fc_table *t, uint32_t tag)
{
    uint32_t at = fc_table_home(t, tag);
    while (FC_UNLIKELY(t->slots[at].tag != tag && t->slots[at].index != FC_NIL)) {
        at = fc_table_next(t, at);
    }
    return at;
}

/* The first place with the tag of a str or bytes that carries its hash, or FC_NIL. */
FC_INLINE uint32_t
fc_place_quick(const fc_cache *c, PyObject *key)
{
    const fc_table *t = &c->store.table;
    Py_hash_t hash = fc_hash_cached(key);
    uint32_t slot = fc_probe_quick(t, fc_store_tag(&c->store, hash));
    return FC_LIKELY(hash != -1) ? t->slots[slot].index : FC_NIL;
}

/* Whether the entry there has a key equal to one that carries its hash. */
static inline bool
fc_equals(const fc_cache *c, uint32_t at, PyObject *key)
{
    const fc_entry *e = &c->store.slab.entries[at];
    return e->hash == fc_hash_cached(key) && fc_same(e->key, key) == FC_HIT;
}

FC_NOINLINE FC_NONNULL static PyObject *
fc_hit_called(fc_cache *c, uint32_t at)
{
    PyObject *value = fc_hit(c, at);
    FC_UNLOCK(c);
    return value;
}

/* A hit of the very object: a new reference.  Under lru nothing is called. */
FC_INLINE PyObject *
fc_hit_quick(fc_cache *c, uint32_t at)
{
    PyObject *value;
    if (FC_UNLIKELY(c->store.on_hit != lru_on_hit)) {
        return fc_hit_called(c, at);
    }
    value = fc_hit(c, at);
    FC_UNLOCK(c);
    return value;
}

/* A hit of an equal object, or NULL. */
static inline PyObject *
fc_hit_equal(fc_cache *c, uint32_t at, PyObject *key)
{
    PyObject *value = at != FC_NIL && fc_equals(c, at, key) ? fc_hit(c, at) : NULL;
    FC_UNLOCK(c);
    return value;
}

/* Out of line, so that the quick ways have no frame: an equal object, then what Cython generated. */
FC_NOINLINE static PyObject *
fc_item_else(fc_cache *c, uint32_t at, PyObject *self, PyObject *key, binaryfunc generated)
{
    PyObject *value = fc_hit_equal(c, at, key);
    return value != NULL ? value : generated(self, key);
}

typedef PyObject *(*fc_fastcall)(PyObject *, PyObject **, Py_ssize_t, PyObject *);

FC_NOINLINE static PyObject *
fc_call_else(fc_cache *c, uint32_t at, PyObject *self, PyObject **args, Py_ssize_t count,
             fc_fastcall generated)
{
    PyObject *value = fc_hit_equal(c, at, args[0]);
    return value != NULL ? value : generated(self, args, count, NULL);
}

/* The same for get, whose miss is as frequent: a free slot before any entry of that tag is one. */
FC_NOINLINE static PyObject *
fc_get_else(fc_cache *c, uint32_t at, PyObject *self, PyObject **args, Py_ssize_t count,
            fc_fastcall generated)
{
    if (at == FC_NIL && fc_hash_cached(args[0]) != -1 && !c->chained) {
        PyObject *absent = count == 2 ? args[1] : Py_None;
        c->store.misses++;
        FC_UNLOCK(c);
        Py_INCREF(absent);
        return absent;
    }
    return fc_call_else(c, at, self, args, count, generated);
}

/* c[key] */
FC_INLINE PyObject *
fc_item_quick(fc_cache *c, PyObject *self, PyObject *key, binaryfunc generated)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_place_quick(c, key);
    if (FC_LIKELY(at != FC_NIL) && FC_LIKELY(c->store.slab.entries[at].key == key)) {
        return fc_hit_quick(c, at);
    }
    return fc_item_else(c, at, self, key, generated);
}

/* c.get(key) and c.get(key, default), or with what a miss means c.setdefault. */
FC_INLINE PyObject *
fc_get_quick(fc_cache *c, PyObject *self, PyObject **args, Py_ssize_t count, fc_fastcall generated,
             bool sets)
{
    uint32_t at;
    FC_LOCK(c);
    at = fc_place_quick(c, args[0]);
    if (FC_LIKELY(at != FC_NIL) && FC_LIKELY(c->store.slab.entries[at].key == args[0])) {
        return fc_hit_quick(c, at);
    }
    return sets ? fc_call_else(c, at, self, args, count, generated)
                : fc_get_else(c, at, self, args, count, generated);
}

FC_NOINLINE static int
fc_insert_called(fc_cache *c, PyObject *key, uint32_t slot, PyObject *value)
{
    fc_exits few;
    int done;
    fc_exits_init(&few, false);
    done = fc_insert(c, key, fc_hash_cached(key), slot, value, &few);
    FC_UNLOCK(c);
    fc_release(&few, &c->alloc);
    return done == FC_OK ? 1 : FC_ERROR;
}

/* Overwrite by a value of the same type; 0: not done.  The old value's end may run foreign code. */
FC_INLINE int
fc_overwrite_quick(fc_cache *c, uint32_t at, PyObject *value)
{
    fc_entry *e = &c->store.slab.entries[at];
    PyObject *old = e->value;
    if (FC_UNLIKELY(Py_TYPE(old) != Py_TYPE(value))) {
        FC_UNLOCK(c);
        return 0;
    }
    Py_INCREF(value);
    e->value = value;
    fc_touch(c, at);
    FC_UNLOCK(c);
    Py_DECREF(old);
    return 1;
}

FC_NOINLINE static int
fc_assign_else(fc_cache *c, uint32_t slot, uint32_t at, PyObject *key, PyObject *value)
{
    if (at == FC_NIL) {
        return fc_insert_called(c, key, slot, value);
    }
    if (fc_equals(c, at, key)) {
        return fc_overwrite_quick(c, at, value);
    }
    FC_UNLOCK(c);
    return 0;
}

/* c[key] = value without hooks and listener: 1 done, 0 not done, FC_ERROR. */
FC_INLINE int
fc_assign_quick(fc_cache *c, PyObject *key, PyObject *value)
{
    const fc_table *t = &c->store.table;
    Py_hash_t hash = fc_hash_cached(key);
    uint32_t slot, at;
    FC_LOCK(c);
    slot = fc_probe_quick(t, fc_store_tag(&c->store, hash));
    at = t->slots[slot].index;
    if (FC_UNLIKELY(hash == -1 || c->readers != NULL || c->generations != NULL)) {
        FC_UNLOCK(c);
        return 0;
    }
    if (FC_LIKELY(at != FC_NIL) && FC_LIKELY(c->store.slab.entries[at].key == key)) {
        return fc_overwrite_quick(c, at, value);
    }
    return fc_assign_else(c, slot, at, key, value);
}

#endif
