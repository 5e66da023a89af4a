/* fc_access.h - single operations on a store of Python objects: get, put, remove, clear.
 *
 * Nothing is released here: what leaves is pushed to an fc_exits, and the caller lets go of it when
 * the operation is over (fc_release).  Every function that may fail reserves first; after FC_ERROR
 * nothing has changed. */
#ifndef FC_ACCESS_H
#define FC_ACCESS_H

#include "fc_python.h"

/* How many places share a fill token; see fc_token. */
#define FC_GENERATIONS 1024
/* ---- read --------------------------------------------------------------------------------- */

/* Let the policy know of a hit.  The commonest one is inlined: 1 ns. */
FC_INLINE void
fc_touch(fc_cache *c, uint32_t at)
{
    if (FC_LIKELY(c->store.on_hit == lru_on_hit)) {
        lru_on_hit(&c->store, at);
    }
    else {
        c->store.on_hit(&c->store, at);
    }
}

/* A hit: count it, let the policy know, take a reference. */
FC_INLINE PyObject *
fc_hit(fc_cache *c, uint32_t at)
{
    PyObject *value = c->store.slab.entries[at].value;
    Py_INCREF(value);
    c->store.hits++;
    fc_touch(c, at);
    return value;
}

/* A new reference; NULL on a miss, or with an exception set. */
FC_INLINE PyObject *
fc_get(fc_cache *c, PyObject *key)
{
    PyObject *value = NULL;
    uint32_t at;
    int found;
    Py_hash_t hash = fc_hash(key);
    if (FC_UNLIKELY(hash == -1)) {
        return NULL;
    }
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    if (FC_LIKELY(found == FC_HIT)) {
        value = fc_hit(c, at);
    }
    else {
        c->store.misses += found == FC_MISS;
    }
    FC_UNLOCK(c);
    return value;
}

/* The same without counting or touching. */
static inline PyObject *
fc_peek(fc_cache *c, PyObject *key)
{
    PyObject *value = NULL;
    uint32_t at;
    Py_hash_t hash = fc_hash(key);
    if (hash == -1) {
        return NULL;
    }
    FC_LOCK(c);
    if (fc_find(c, key, hash, &at) == FC_HIT) {
        value = c->store.slab.entries[at].value;
        Py_INCREF(value);
    }
    FC_UNLOCK(c);
    return value;
}

FC_INLINE int
fc_contains(fc_cache *c, PyObject *key)
{
    uint32_t at;
    int found;
    Py_hash_t hash = fc_hash(key);
    if (FC_UNLIKELY(hash == -1)) {
        return FC_ERROR;
    }
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    FC_UNLOCK(c);
    return found;
}

/* ---- iterate ------------------------------------------------------------------------------ */

/* Note where all entries are, in order; the caller frees it with PyMem_Free.  NULL: no memory. */
static inline fc_ref *
fc_snapshot(fc_cache *c, Py_ssize_t *count)
{
    const fc_entry *entries;
    fc_ref *refs;
    FC_LOCK(c);
    *count = c->store.count;
    entries = c->store.slab.entries;
    refs = PyMem_Malloc((size_t)(*count + 1) * sizeof *refs);
    if (refs != NULL) {
        /* The order goes into the upper half, and is spread out from there. */
        uint32_t *order = (uint32_t *)refs + *count;
        fc_store_order(&c->store, order);
        for (Py_ssize_t i = 0; i < *count; i++) {
            fc_ref ref = {order[i], entries[order[i]].serial};
            refs[i] = ref;
        }
    }
    FC_UNLOCK(c);
    return refs;
}

/* New references to what such an entry holds, if it is still there; NULL asks for neither. */
static inline bool
fc_fetch(fc_cache *c, fc_ref ref, PyObject **key, PyObject **value)
{
    bool there;
    FC_LOCK(c);
    there = fc_slab_holds(&c->store.slab, ref.index, ref.serial);
    if (there) {
        const fc_entry *e = &c->store.slab.entries[ref.index];
        if (key != NULL) {
            *key = e->key;
            Py_INCREF(*key);
        }
        if (value != NULL) {
            *value = e->value;
            Py_INCREF(*value);
        }
    }
    FC_UNLOCK(c);
    return there;
}

/* ---- change ------------------------------------------------------------------------------- */

typedef enum fc_mode { FC_PUT, FC_PUT_NEW, FC_PUT_OLD } fc_mode;

/* A write, removal or clear makes the fill tokens of its key worthless. */
FC_INLINE void
fc_outdate(fc_cache *c, Py_hash_t hash)
{
    if (FC_UNLIKELY(c->generations != NULL)) {
        c->generations[fc_store_tag(&c->store, hash) % FC_GENERATIONS]++;
    }
}

FC_INLINE bool
fc_is_container(PyObject *o)
{
    return PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HAVE_GC);
}

FC_INLINE uint8_t
fc_flags(PyObject *key, PyObject *value)
{
    return fc_is_container(key) || fc_is_container(value) ? FC_ENTRY_CONTAINER : 0;
}

/* Take an entry out of the store, and queue what it held. */
static inline void
fc_evict(fc_cache *c, uint32_t at, fc_cause cause, fc_exits *out)
{
    fc_entry *e = &c->store.slab.entries[at];
    fc_exits_push(out, e->key, e->value, cause);
    c->containers -= e->flags & FC_ENTRY_CONTAINER;
    fc_store_remove(&c->store, at, cause);
}

/* Whether letting go of one reference is certain to run no foreign code. */
FC_INLINE bool
fc_is_shared(PyObject *o)
{
#ifdef Py_GIL_DISABLED
    return false;
#else
    return Py_REFCNT(o) > 1;
#endif
}

/* Put another value into an entry; room in out is reserved. */
FC_INLINE void
fc_overwrite(fc_cache *c, uint32_t at, PyObject *value, fc_exits *out)
{
    fc_entry *e = &c->store.slab.entries[at];
    PyObject *old = e->value;
    if (old != value) {
        if (FC_UNLIKELY(Py_TYPE(old) != Py_TYPE(value))) {
            uint8_t flags = fc_flags(e->key, value);
            c->containers += (uint64_t)(flags & FC_ENTRY_CONTAINER);
            c->containers -= (uint64_t)(e->flags & FC_ENTRY_CONTAINER);
            e->flags = flags;
        }
        Py_INCREF(value);
        e->value = value;
        if (FC_UNLIKELY(out->audience)) {
            Py_INCREF((PyObject *)e->key);
            fc_exits_push(out, e->key, old, FC_REPLACED);
        }
        else if (fc_is_shared(old)) {
            Py_DECREF(old);
        }
        else {
            fc_exits_push(out, NULL, old, FC_REPLACED);
        }
    }
    fc_touch(c, at);
}

FC_INLINE int
fc_insert_under(fc_cache *c, const fc_policy *policy, PyObject *key, Py_hash_t hash, uint32_t slot,
                PyObject *value, fc_exit *gone)
{
    fc_store *s = &c->store;
    fc_incoming incoming = {.hash = hash};
    uint8_t flags = fc_flags(key, value);
    gone->key = gone->value = NULL;
    if (FC_LIKELY(fc_store_excess(s) == 1)) {
        uint32_t at = policy->victim(s, &incoming);
        const fc_entry *e = &s->slab.entries[at];
        gone->key = e->key;
        gone->value = e->value;
        c->containers -= e->flags & FC_ENTRY_CONTAINER;
        fc_store_replace(s, policy, at, slot, key, value, hash, flags);
    }
    else {
        const fc_slot *slots = s->table.slots;
        if (fc_store_reserve(s) != FC_OK) {
            PyErr_NoMemory();
            return FC_ERROR;
        }
        if (FC_UNLIKELY(slots != s->table.slots)) {
            slot = fc_table_free_slot(&s->table, fc_store_tag(s, hash));
        }
        fc_store_add(s, slot, key, value, hash, flags);
    }
    Py_INCREF(key);
    Py_INCREF(value);
    c->containers += flags;
    return FC_OK;
}

/* Add a key that a search has not found, ending at slot, where at most one entry has to go, which
 * is *gone.  FC_ERROR: no memory, nothing changed.  Under lru nothing is called: 3 ns of 45. */
FC_INLINE int
fc_insert_one(fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t slot, PyObject *value,
              fc_exit *gone)
{
    const fc_policy *policy = c->store.policy;
    return FC_LIKELY(policy == &FC_LRU) ? fc_insert_under(c, &FC_LRU, key, hash, slot, value, gone)
                                        : fc_insert_under(c, policy, key, hash, slot, value, gone);
}

/* The same, and queue what goes; room for it in out is reserved. */
FC_INLINE int
fc_insert(fc_cache *c, PyObject *key, Py_hash_t hash, uint32_t slot, PyObject *value, fc_exits *out)
{
    fc_exit gone;
    if (fc_insert_one(c, key, hash, slot, value, &gone) != FC_OK) {
        return FC_ERROR;
    }
    if (gone.value != NULL) {
        fc_exits_push(out, gone.key, gone.value, FC_EVICTED);
    }
    return FC_OK;
}

/* Store a value: 1 stored, 0 refused, FC_BUSY, FC_ERROR with nothing changed.  FC_PUT_OLD with an
 * expected value stores only over that very object. */
FC_INLINE int
fc_put_if(fc_cache *c, PyObject *key, Py_hash_t hash, PyObject *expected, PyObject *value,
          fc_mode mode, fc_exits *out)
{
    uint32_t at;
    int found, done = 0;
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    if (FC_UNLIKELY(found == FC_ERROR)) {
        done = FC_ERROR;
    }
    else if (FC_UNLIKELY(c->readers != NULL)) {
        done = FC_BUSY;
    }
    else if (FC_UNLIKELY(fc_exits_reserve(out, &c->alloc, 1) != FC_OK)) {
        PyErr_NoMemory();
        done = FC_ERROR;
    }
    else if (FC_LIKELY(found)) {
        if (mode != FC_PUT_NEW &&
            (expected == NULL || expected == c->store.slab.entries[at].value)) {
            fc_overwrite(c, at, value, out);
            fc_outdate(c, hash);
            done = 1;
        }
    }
    else if (mode != FC_PUT_OLD) {
        done = fc_insert(c, key, hash, at, value, out) == FC_OK ? 1 : FC_ERROR;
        fc_outdate(c, hash);
    }
    FC_UNLOCK(c);
    return done;
}

static inline int
fc_put(fc_cache *c, PyObject *key, Py_hash_t hash, PyObject *value, fc_mode mode, fc_exits *out)
{
    return fc_put_if(c, key, hash, NULL, value, mode, out);
}

/* Store over a value that must still be the one given. */
static inline int
fc_swap(fc_cache *c, PyObject *key, Py_hash_t hash, PyObject *expected, PyObject *value,
        fc_exits *out)
{
    return fc_put_if(c, key, hash, expected, value, FC_PUT_OLD, out);
}

/* Remove a key; what it held is the last of out.  1 removed, 0 absent, FC_BUSY, FC_ERROR. */
static inline int
fc_remove(fc_cache *c, PyObject *key, Py_hash_t hash, fc_exits *out)
{
    uint32_t at;
    int found;
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    if (found != FC_ERROR && c->readers != NULL) {
        found = FC_BUSY;
    }
    else if (found == FC_HIT && fc_exits_reserve(out, &c->alloc, 1) != FC_OK) {
        PyErr_NoMemory();
        found = FC_ERROR;
    }
    else if (found != FC_ERROR) {
        if (found == FC_HIT) {
            fc_evict(c, at, FC_DELETED, out);
        }
        fc_outdate(c, hash); /* also when absent: a load of it may be under way */
    }
    FC_UNLOCK(c);
    return found;
}

/* Remove the policy's next victim, as fc_remove. */
static inline int
fc_pop(fc_cache *c, fc_exits *out)
{
    int found = c->store.count > 0;
    FC_LOCK(c);
    if (found && c->readers != NULL) {
        found = FC_BUSY;
    }
    else if (found && fc_exits_reserve(out, &c->alloc, 1) != FC_OK) {
        PyErr_NoMemory();
        found = FC_ERROR;
    }
    else if (found) {
        uint32_t at = c->store.policy->victim(&c->store, NULL);
        fc_outdate(c, c->store.slab.entries[at].hash);
        fc_evict(c, at, FC_DELETED, out);
    }
    FC_UNLOCK(c);
    return found;
}

/* The key that fc_pop would remove, as a new reference; NULL when there is none. */
static inline PyObject *
fc_victim_key(fc_cache *c)
{
    PyObject *key = NULL;
    FC_LOCK(c);
    if (c->store.count > 0) {
        key = c->store.slab.entries[c->store.policy->victim(&c->store, NULL)].key;
        Py_INCREF(key);
    }
    FC_UNLOCK(c);
    return key;
}

/* Leave an empty store; old holds all that was there, for fc_release_store, unless it is queued for
 * an audience.  FC_OK, FC_BUSY, or FC_ERROR. */
static inline int
fc_clear(fc_cache *c, fc_store *old, fc_exits *out)
{
    fc_store fresh, *s = &c->store;
    uint32_t *order = NULL;
    int done = FC_ERROR;
    FC_LOCK(c);
    if (c->readers != NULL) {
        FC_UNLOCK(c);
        return FC_BUSY;
    }
    if (out->audience) {
        order = PyMem_Malloc((s->count + 1) * sizeof *order);
    }
    if ((out->audience && (order == NULL || fc_exits_reserve(out, s->alloc, s->count) != FC_OK)) ||
        fc_store_init(&fresh, s->alloc, s->policy, s->max_entries, s->seed) != FC_OK) {
        PyErr_NoMemory();
    }
    else {
        if (out->audience) {
            fc_store_order(s, order);
            for (uint32_t i = 0; i < s->count; i++) {
                fc_entry *e = &s->slab.entries[order[i]];
                fc_exits_push(out, e->key, e->value, FC_CLEARED);
                e->key = NULL;
            }
        }
        fresh.version = s->version + 1;
        fresh.hits = s->hits;
        fresh.misses = s->misses;
        fresh.inserts = s->inserts;
        fresh.evictions = s->evictions;
        fresh.expirations = s->expirations;
        *old = *s;
        *s = fresh;
        c->containers = 0;
        c->epoch++;
        done = FC_OK;
    }
    FC_UNLOCK(c);
    PyMem_Free(order);
    return done;
}

/* Let go of all that a store holds which nobody can reach any more. */
static inline void
fc_release_store(fc_store *s)
{
    for (uint32_t at = FC_LISTS; at < s->slab.used; at++) {
        fc_entry *e = &s->slab.entries[at];
        if (e->key != NULL) {
            Py_DECREF((PyObject *)e->key);
            Py_DECREF((PyObject *)e->value);
        }
    }
    fc_store_free(s);
}

/* Let go of what is queued; foreign code may run. */
FC_INLINE void
fc_let_go(fc_exits *x)
{
    for (size_t i = 0; i < x->count; i++) {
        Py_XDECREF((PyObject *)x->items[i].key);
        Py_DECREF((PyObject *)x->items[i].value);
    }
    x->count = 0;
}

FC_INLINE void
fc_release(fc_exits *x, fc_alloc *alloc)
{
    fc_let_go(x);
    fc_exits_free(x, alloc);
}

#endif
