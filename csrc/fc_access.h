/* fc_access.h - reading a store of Python objects: get, peek, contains, iterate.
 *
 * An entry that is over is as good as absent, and stays until a write, a removal or a sweep comes by:
 * reading removes nothing. */
#ifndef FC_ACCESS_H
#define FC_ACCESS_H

#include "fc_python.h"

/* Let the policy know of a hit.  The commonest two are inlined: 1 ns. */
FC_INLINE void
fc_touch(fc_cache *c, uint32_t at)
{
    if (FC_LIKELY(c->store.on_hit == lru_on_hit)) {
        lru_on_hit(&c->store, at);
    }
    else if (FC_LIKELY(c->store.on_hit == fc_store_mark)) {
        fc_store_mark(&c->store, at);
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

/* The same for an entry with a deadline; NULL when it is over. */
FC_INLINE PyObject *
fc_hit_timed(fc_cache *c, uint32_t at)
{
    int64_t now = fc_now(c);
    if (fc_deadline_over(&c->store.slab.entries[at], now)) {
        return NULL;
    }
    fc_deadline_use(&c->store, at, now);
    return fc_hit(c, at);
}

/* A hit if the entry is not over. */
FC_INLINE PyObject *
fc_hit_live(fc_cache *c, uint32_t at)
{
    return FC_LIKELY(!(c->store.slab.entries[at].flags & FC_ENTRY_TIMED)) ? fc_hit(c, at)
                                                                          : fc_hit_timed(c, at);
}

/* A new reference; NULL on a miss, or with an exception set.  The hash is that of the key. */
FC_INLINE PyObject *
fc_get_hashed(fc_cache *c, PyObject *key, Py_hash_t hash)
{
    PyObject *value = NULL;
    uint32_t at;
    int found;
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    if (FC_LIKELY(found == FC_HIT)) {
        value = fc_hit_live(c, at);
    }
    c->store.misses += value == NULL && found != FC_ERROR;
    FC_UNLOCK(c);
    return value;
}

FC_INLINE PyObject *
fc_get(fc_cache *c, PyObject *key)
{
    Py_hash_t hash = fc_hash(key);
    return FC_UNLIKELY(hash == -1) ? NULL : fc_get_hashed(c, key, hash);
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
    if (fc_find(c, key, hash, &at) == FC_HIT && fc_is_live(c, at)) {
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
    if (found == FC_HIT) {
        found = fc_is_live(c, at);
    }
    FC_UNLOCK(c);
    return found;
}

/* What an entry has left of its life: FC_HIT and nanoseconds, or FC_NEVER; FC_MISS; FC_ERROR. */
static inline int
fc_time_left(fc_cache *c, PyObject *key, Py_hash_t hash, int64_t *left)
{
    uint32_t at;
    int found;
    FC_LOCK(c);
    found = fc_find(c, key, hash, &at);
    if (found == FC_HIT && !fc_is_live(c, at)) {
        found = FC_MISS;
    }
    if (found == FC_HIT) {
        const fc_entry *e = &c->store.slab.entries[at];
        *left = e->flags & FC_ENTRY_TIMED ? e->expiry - fc_now(c) : FC_NEVER;
    }
    FC_UNLOCK(c);
    return found;
}

/* ---- iterate ------------------------------------------------------------------------------ */

/* Note where all entries are, in order, or in the order of a copy; the caller frees it with
 * PyMem_Free.  NULL: no memory. */
static inline fc_ref *
fc_snapshot(fc_cache *c, bool copy, Py_ssize_t *count)
{
    const fc_entry *entries;
    fc_ref *refs;
    FC_LOCK(c);
    *count = c->store.count;
    entries = c->store.slab.entries;
    refs = PyMem_Malloc((size_t)(*count + 1) * sizeof *refs);
    if (refs != NULL) {
        /* The order goes into the lower half, and is spread out from its end on. */
        uint32_t *order = (uint32_t *)refs;
        if (copy) {
            fc_store_line(&c->store, order);
        }
        else {
            fc_store_order(&c->store, order);
        }
        for (Py_ssize_t i = *count; i-- > 0;) {
            fc_ref ref = {order[i], entries[order[i]].serial};
            refs[i] = ref;
        }
    }
    FC_UNLOCK(c);
    return refs;
}

/* How many entries are not over. */
static inline uint32_t
fc_count_live(const fc_cache *c)
{
    uint32_t count = 0;
    for (uint32_t at = fc_slab_live(&c->store.slab, FC_LISTS); at != FC_NIL;
         at = fc_slab_live(&c->store.slab, at + 1)) {
        count += fc_is_live(c, at);
    }
    return count;
}

/* What a copy takes over of an entry beside key and value. */
typedef struct fc_standing {
    uint64_t weight;
    int64_t end,
        left; /* nanoseconds until its ttl is over, and until it is over at all; FC_NEVER */
    fc_memo memo;
} fc_standing;

/* Read it, if the entry is still there. */
static inline bool
fc_fetch_standing(fc_cache *c, fc_ref ref, fc_standing *standing)
{
    fc_store *s = &c->store;
    bool there;
    memset(standing, 0, sizeof *standing);
    FC_LOCK(c);
    there = fc_slab_holds(&s->slab, ref.index, ref.serial);
    if (there) {
        const fc_entry *e = &s->slab.entries[ref.index];
        int64_t now = fc_now(c), end = fc_deadline_end(s, ref.index);
        standing->weight = fc_store_weight(s, ref.index);
        standing->end = end == FC_NEVER ? end : end - now;
        standing->left = e->flags & FC_ENTRY_TIMED ? e->expiry - now : FC_NEVER;
        if (s->policy->save != NULL) {
            s->policy->save(s, ref.index, &standing->memo);
        }
    }
    FC_UNLOCK(c);
    return there;
}

/* New references to what such an entry holds, if it is still there; NULL asks for neither. */
static inline bool
fc_fetch(fc_cache *c, fc_ref ref, PyObject **key, PyObject **value)
{
    bool there;
    FC_LOCK(c);
    there = fc_slab_holds(&c->store.slab, ref.index, ref.serial) && fc_is_live(c, ref.index);
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

#endif
